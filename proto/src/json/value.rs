//! How each type of value looks in Kubernetes JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Context;

/// A value that a field of a message may have.
pub trait JsonValue: Sized + Default {
    /// Reads the value.
    ///
    /// # Errors
    /// If it is not of this type; the message says what was expected.
    fn read<'de, D: Deserializer<'de>>(deserializer: D, context: &mut Context) -> Result<Self, D::Error>;

    /// Writes the value.
    ///
    /// # Errors
    /// Those of the serializer.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Writes what stands for an absent value that must be written: an empty object, unless it is no message.
    ///
    /// # Errors
    /// Those of the serializer.
    fn write_absent<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }

    /// Whether a plain field of this value is left out.
    fn is_empty(&self) -> bool {
        false
    }

    /// Whether even a set optional field of this value is left out.
    fn is_null(&self) -> bool {
        false
    }
}

/// Values that serde already reads and writes the right way.
macro_rules! plain {
    ($($type:ty: $empty:expr;)*) => {$(
        impl JsonValue for $type {
            fn read<'de, D: Deserializer<'de>>(
                deserializer: D,
                _: &mut Context,
            ) -> Result<Self, D::Error> {
                <$type>::deserialize(deserializer)
            }

            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }

            fn is_empty(&self) -> bool {
                $empty(self)
            }
        }
    )*};
}

plain! {
    String: String::is_empty;
    bool: |value: &bool| !*value;
    i32: |value: &i32| *value == 0;
    i64: |value: &i64| *value == 0;
    f64: |value: &f64| *value == 0.0;
}

impl JsonValue for Bytes {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, _: &mut Context) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_str(Base64Visitor)?;
        Ok(Self::from(text))
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(self))
    }

    fn is_empty(&self) -> bool {
        Bytes::is_empty(self)
    }
}

struct Base64Visitor;

impl Visitor<'_> for Base64Visitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a base64 string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        // Kubernetes' clients break long lines, and its decoder skips the breaks.
        let joined: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        BASE64
            .decode(joined)
            .map_err(|error| E::custom(format_args!("expected base64: {error}")))
    }
}

impl<T: JsonValue> JsonValue for Option<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, context: &mut Context) -> Result<Self, D::Error> {
        NullableSeed::new(context).deserialize(deserializer)
    }

    /// An absent value that must be written is shown as an empty one.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(serializer),
            None => T::write_absent(serializer),
        }
    }

    fn is_empty(&self) -> bool {
        self.as_ref().is_none_or(T::is_null)
    }
}

impl<T: JsonValue> JsonValue for Box<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, context: &mut Context) -> Result<Self, D::Error> {
        T::read(deserializer, context).map(Self::new)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        T::write(self, serializer)
    }

    fn write_absent<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        T::write_absent(serializer)
    }
}

impl<T: JsonValue> JsonValue for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, context: &mut Context) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor {
            context,
            item: PhantomData,
        })
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for item in self {
            list.serialize_element(&Written(item))?;
        }
        list.end()
    }

    fn is_empty(&self) -> bool {
        Vec::is_empty(self)
    }
}

struct ListVisitor<'c, T> {
    context: &'c mut Context,
    item: PhantomData<T>,
}

impl<'de, T: JsonValue> Visitor<'de> for ListVisitor<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        loop {
            self.context.enter_index(list.len());
            let Some(item) = items.next_element_seed(NullableSeed::new(self.context))? else {
                self.context.leave();
                return Ok(list);
            };
            self.context.leave();
            list.push(item.unwrap_or_default());
        }
    }
}

impl<T: JsonValue> JsonValue for BTreeMap<String, T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, context: &mut Context) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor {
            context,
            value: PhantomData,
        })
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self {
            map.serialize_entry(key, &Written(value))?;
        }
        map.end()
    }

    fn is_empty(&self) -> bool {
        BTreeMap::is_empty(self)
    }
}

struct MapVisitor<'c, T> {
    context: &'c mut Context,
    value: PhantomData<T>,
}

impl<'de, T: JsonValue> Visitor<'de> for MapVisitor<'_, T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            let depth = self.context.depth();
            let result = if map.contains_key(&key) {
                Err(A::Error::custom("duplicate key"))
            } else {
                entries.next_value_seed(NullableSeed::new(self.context))
            };
            match result {
                Ok(value) => map.insert(key, value.unwrap_or_default()),
                Err(error) => {
                    self.context.insert_key(depth, key);
                    return Err(error);
                }
            };
        }
        Ok(map)
    }
}

/// Reads a value or `null`.
pub(super) struct NullableSeed<'c, T> {
    context: &'c mut Context,
    value: PhantomData<T>,
}

impl<'c, T> NullableSeed<'c, T> {
    pub(super) fn new(context: &'c mut Context) -> Self {
        Self {
            context,
            value: PhantomData,
        }
    }
}

impl<'de, T: JsonValue> DeserializeSeed<'de> for NullableSeed<'_, T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T: JsonValue> Visitor<'de> for NullableSeed<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        T::read(deserializer, self.context).map(Some)
    }
}

/// A value on its way to a serde serializer.
pub(super) struct Written<'a, T>(pub(super) &'a T);

impl<T: JsonValue> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}
