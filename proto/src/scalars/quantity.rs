//! The JSON of quantities: a string in canonical form. What the string means is in [`crate::quantity`].

use std::fmt;

use serde::de::Visitor;
use serde::{Deserializer, Serializer};

use super::serde_by_json_value;
use crate::api::meta::v1::Quantity;
use crate::json::{Context, JsonValue};
use crate::quantity::{Amount, InvalidQuantity};

impl Quantity {
    /// The amount it stands for; zero if it is empty, as a message that was never set is.
    ///
    /// # Errors
    /// If the string is not a quantity, which only protobuf from outside can bring about.
    pub fn amount(&self) -> Result<Amount, InvalidQuantity> {
        if self.string.is_empty() {
            return Ok(Amount::ZERO);
        }
        self.string.parse()
    }
}

impl From<Amount> for Quantity {
    fn from(amount: Amount) -> Self {
        Self {
            string: amount.to_string(),
        }
    }
}

impl std::str::FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        text.parse::<Amount>().map(Self::from)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.string.is_empty() { "0" } else { &self.string })
    }
}

impl JsonValue for Quantity {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, _: &mut Context) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }

    /// As Kubernetes has it: its zero is "0".
    fn write_absent<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Self::default())
    }
}

serde_by_json_value!(Quantity);

struct QuantityVisitor;

impl QuantityVisitor {
    fn parse<E: serde::de::Error>(text: &str) -> Result<Quantity, E> {
        text.trim().parse().map_err(E::custom)
    }
}

impl Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity such as 2, `500m` or `1Gi`")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Quantity, E> {
        Self::parse(&value.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Quantity, E> {
        Self::parse(&value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Quantity, E> {
        Self::parse(&value.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
        Self::parse(text)
    }
}
