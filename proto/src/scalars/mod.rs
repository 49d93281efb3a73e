//! Messages whose JSON is not an object of their fields: times, quantities, integers that may be
//! percentages, lists of values, and what is kept as the JSON it came as.

mod any;
mod extra_value;
mod int_or_string;
mod quantity;
mod time;

pub use int_or_string::{InvalidIntOrPercent, Rounding};
pub use time::InvalidTime;

/// Gives a scalar serde's traits from its [`crate::json::JsonValue`].
macro_rules! serde_by_json_value {
    ($scalar:ty) => {
        impl serde::Serialize for $scalar {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::json::JsonValue::write(self, serializer)
            }
        }
        impl<'de> serde::Deserialize<'de> for $scalar {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut context = crate::json::Context::default();
                crate::json::JsonValue::read(deserializer, &mut context)
            }
        }
    };
}
use serde_by_json_value;
