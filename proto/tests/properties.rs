//! Properties of the scalars over arbitrary input: reading never panics, and canonical forms are stable.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use trireme_proto::api::meta::v1::{IntOrString, MicroTime, Quantity, Time};
use trireme_proto::quantity::{Amount, Format};
use trireme_proto::selector::{FieldSelector, LabelSelector};

proptest! {
    #[test]
    fn canonical_quantities_are_stable(text in "[+-]?[0-9]{0,12}(\\.[0-9]{0,12})?(n|u|m|k|M|G|T|P|Ki|Mi|Gi|Ti|e3|E-2|)") {
        if let Ok(amount) = text.parse::<Amount>() {
            let canonical = amount.to_string();
            let again: Amount = canonical.parse().unwrap();
            prop_assert_eq!(&again.to_string(), &canonical);
            // Only a binary amount that is no whole number is rounded when it is written.
            if amount.format() != Format::BinarySi {
                prop_assert_eq!(again, amount);
            }
        }
    }

    #[test]
    fn quantities_add_and_compare_as_numbers(a in any::<i32>(), b in any::<i32>()) {
        let (x, y) = (Amount::from_milli(a.into()), Amount::from_milli(b.into()));
        prop_assert_eq!((x + y).milli_value(), i64::from(a) + i64::from(b));
        prop_assert_eq!((x - y).milli_value(), i64::from(a) - i64::from(b));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
    }

    #[test]
    fn readers_never_panic(text in "\\PC*") {
        let _ = text.parse::<Amount>();
        let _ = text.parse::<Time>();
        let _ = text.parse::<MicroTime>();
        let _ = text.parse::<LabelSelector>();
        let _ = text.parse::<FieldSelector>();
    }

    #[test]
    fn label_selectors_survive_their_text(text in "[a-c!=,() <>n1]{0,24}") {
        if let Ok(selector) = text.parse::<LabelSelector>() {
            prop_assert_eq!(selector.to_string().parse::<LabelSelector>().unwrap(), selector);
        }
    }

    #[test]
    fn field_selectors_survive_their_text(text in "[a-c!=,. \\\\]{0,24}") {
        if let Ok(selector) = text.parse::<FieldSelector>() {
            prop_assert_eq!(selector.to_string().parse::<FieldSelector>().unwrap(), selector);
        }
    }

    #[test]
    fn times_survive_json(seconds in -62_135_596_800_i64..253_402_207_200) {
        prop_assume!(seconds != 0);
        let time = Time::from_unix_seconds(seconds);
        let text = serde_json::to_string(&time).unwrap();
        prop_assert_eq!(serde_json::from_str::<Time>(&text).unwrap(), time);
    }

    #[test]
    fn micro_times_survive_json(nanos in any::<i64>()) {
        let time = MicroTime::from_unix_nanos(nanos);
        let text = serde_json::to_string(&time).unwrap();
        let again: MicroTime = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(again.unix_nanos(), nanos.div_euclid(1_000) * 1_000);
    }

    #[test]
    fn ints_and_strings_survive_json(int in any::<i32>(), text in "\\PC*") {
        for value in [IntOrString::from(int), IntOrString::from(text)] {
            let json = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<IntOrString>(&json).unwrap(), value);
        }
    }

    #[test]
    fn quantities_survive_json(milli in any::<i64>()) {
        let quantity = Quantity::from(Amount::from_milli(milli));
        let json = serde_json::to_string(&quantity).unwrap();
        let again: Quantity = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(again.amount().unwrap(), Amount::from_milli(milli));
    }
}
