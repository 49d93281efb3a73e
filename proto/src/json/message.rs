//! Reading and writing one message as a JSON object, driven by the generated list of its fields.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serializer};

use super::value::{NullableSeed, Written};
use super::{Context, JsonValue};
use crate::limits::MESSAGES_MAX;

/// A message whose JSON is an object of its fields. Implemented by generated code.
pub trait JsonMessage: Default {
    /// The message's name, without its package.
    const NAME: &'static str;
    /// `apiVersion` and `kind`, if its objects carry them.
    const KIND: Option<(&'static str, &'static str)>;
    /// The JSON names of its fields, with those of inlined messages in their place.
    const FIELDS: &'static [&'static str];

    /// Writes the fields that are to be written.
    ///
    /// # Errors
    /// Those of the serializer.
    fn write_fields<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;

    /// Reads the value of the field `FIELDS[index]`.
    ///
    /// # Errors
    /// If the value is not of the field's type.
    fn read_field<'de, A: MapAccess<'de>>(
        &mut self,
        index: usize,
        map: &mut A,
        context: &mut Context,
    ) -> Result<(), A::Error>;
}

/// Writes a message, with `apiVersion` and `kind` first if it is a kind.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_message<T: JsonMessage, S: Serializer>(message: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    if let Some((api_version, kind)) = T::KIND {
        map.serialize_entry("apiVersion", api_version)?;
        map.serialize_entry("kind", kind)?;
    }
    message.write_fields(&mut map)?;
    map.end()
}

/// Reads a message.
///
/// # Errors
/// If a field is of another type or given twice, or there are more than [`MESSAGES_MAX`] messages; the context then holds the path.
pub fn deserialize_message<'de, T: JsonMessage, D: Deserializer<'de>>(
    deserializer: D,
    context: &mut Context,
) -> Result<T, D::Error> {
    deserializer.deserialize_map(MessageVisitor::<T> {
        context,
        message: PhantomData,
    })
}

struct MessageVisitor<'c, T> {
    context: &'c mut Context,
    message: PhantomData<T>,
}

impl<'de, T: JsonMessage> Visitor<'de> for MessageVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", T::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        if !self.context.begin_message() {
            return Err(A::Error::custom(format_args!(
                "there are more than {MESSAGES_MAX} objects in it"
            )));
        }
        let mut message = T::default();
        let mut seen: u128 = 0;
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            if let Some(index) = T::FIELDS.iter().position(|name| *name == key) {
                let name = T::FIELDS[index];
                self.context.enter_field(name);
                if seen & (1 << index) != 0 {
                    return Err(A::Error::duplicate_field(name));
                }
                seen |= 1 << index;
                message.read_field(index, &mut map, self.context)?;
                self.context.leave();
            } else if T::KIND.is_some() && (key == "apiVersion" || key == "kind") {
                self.context
                    .enter_field(if key == "kind" { "kind" } else { "apiVersion" });
                map.next_value::<Option<String>>()?;
                self.context.leave();
            } else {
                self.context.unknown_field(&key);
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(message)
    }
}

/// An object's key, borrowed from the input if it can be.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(name.to_owned())))
    }

    fn visit_string<E>(self, name: String) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(name)))
    }
}

/// Writes a field unless it is empty.
pub(crate) fn write<M: SerializeMap, T: JsonValue>(map: &mut M, name: &'static str, value: &T) -> Result<(), M::Error> {
    if value.is_empty() {
        return Ok(());
    }
    write_always(map, name, value)
}

/// Writes a field, even an empty one.
pub(crate) fn write_always<M: SerializeMap, T: JsonValue>(
    map: &mut M,
    name: &'static str,
    value: &T,
) -> Result<(), M::Error> {
    map.serialize_entry(name, &Written(value))
}

/// Reads a field that is plain in Rust; `null` resets it.
pub(crate) fn read<'de, A: MapAccess<'de>, T: JsonValue + Default>(
    map: &mut A,
    field: &mut T,
    context: &mut Context,
) -> Result<(), A::Error> {
    *field = map.next_value_seed(NullableSeed::new(context))?.unwrap_or_default();
    Ok(())
}

/// Reads a field that is an `Option` in Rust; `null` resets it.
pub(crate) fn read_optional<'de, A: MapAccess<'de>, T: JsonValue>(
    map: &mut A,
    field: &mut Option<T>,
    context: &mut Context,
) -> Result<(), A::Error> {
    *field = map.next_value_seed(NullableSeed::new(context))?;
    Ok(())
}

/// Makes a generated message a JSON value, and gives it serde's traits.
macro_rules! impl_serde {
    ($message:ident) => {
        impl crate::json::JsonValue for $message {
            fn read<'de, D: serde::Deserializer<'de>>(
                deserializer: D,
                context: &mut crate::json::Context,
            ) -> Result<Self, D::Error> {
                crate::json::deserialize_message(deserializer, context)
            }

            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::json::serialize_message(self, serializer)
            }
        }
        impl serde::Serialize for $message {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::json::serialize_message(self, serializer)
            }
        }
        impl<'de> serde::Deserialize<'de> for $message {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::json::deserialize_message(deserializer, &mut crate::json::Context::default())
            }
        }
    };
}
pub(crate) use impl_serde;
