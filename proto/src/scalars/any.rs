//! What is kept as the raw JSON it came as: sets of fields, and objects that only their owner understands.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::serde_by_json_value;
use crate::api::meta::v1::{FieldsV1, RawExtension};
use crate::json::{Context, JsonValue};

macro_rules! any_json {
    ($scalar:ident) => {
        impl JsonValue for $scalar {
            fn read<'de, D: Deserializer<'de>>(deserializer: D, _: &mut Context) -> Result<Self, D::Error> {
                let value = Value::deserialize(deserializer)?;
                Ok(Self {
                    raw: Bytes::from(value.to_string()),
                })
            }

            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let value: Value = serde_json::from_slice(&self.raw).map_err(serde::ser::Error::custom)?;
                value.serialize(serializer)
            }

            fn is_null(&self) -> bool {
                self.raw.is_empty()
            }
        }

        serde_by_json_value!($scalar);
    };
}

any_json!(FieldsV1);
any_json!(RawExtension);
