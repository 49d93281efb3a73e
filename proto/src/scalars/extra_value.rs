//! Several values of one key, such as what else is known of a user: a list of strings in JSON.
//!
//! Protobuf has no maps of lists, so each group of the API that needs one has a message for the list.

use serde::{Deserializer, Serializer};

use super::serde_by_json_value;
use crate::api::{authentication, authorization, certificates};
use crate::json::{Context, JsonValue};

macro_rules! list_in_json {
    ($($message:ty),*) => {$(
        impl JsonValue for $message {
            fn read<'de, D: Deserializer<'de>>(deserializer: D, context: &mut Context) -> Result<Self, D::Error> {
                Vec::read(deserializer, context).map(|items| Self { items })
            }

            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.items.write(serializer)
            }

            fn write_absent<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
                Self::default().write(serializer)
            }
        }

        serde_by_json_value!($message);
    )*};
}

list_in_json!(
    authentication::v1::ExtraValue,
    authorization::v1::ExtraValue,
    certificates::v1::ExtraValue
);
