//! Between the contract's scalars and the agent's: times and quantities.

use crate::time::Moment;
use trireme_proto::api::meta::v1::{Quantity, Time};
use trireme_proto::quantity::{Amount, Format};

/// A moment as objects have it: whole seconds.
pub(crate) fn time(moment: Moment) -> Time {
    Time {
        seconds: moment.seconds(),
        nanos: 0,
    }
}

/// A moment that may be unset, as an optional field.
pub(crate) fn optional_time(moment: Moment) -> Option<Time> {
    (!moment.is_unset()).then(|| time(moment))
}

/// A quantity in thousandths of its unit; none if it is not well formed.
pub(crate) fn quantity_value(quantity: &Quantity) -> Option<i128> {
    quantity.amount().ok().map(|amount| i128::from(amount.milli_value()))
}

/// A number of bytes.
pub(crate) fn bytes(count: i64) -> Quantity {
    Quantity::from(Amount::from_units(count, Format::BinarySi))
}

/// A plain count.
pub(crate) fn count(count: i64) -> Quantity {
    Quantity::from(Amount::from_units(count, Format::DecimalSi))
}

/// Processor time in thousandths of one processor.
pub(crate) fn cpu_millis(millis: i64) -> Quantity {
    Quantity::from(Amount::from_milli(millis))
}
