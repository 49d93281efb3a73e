//! What the bytes of a message hold, found by its schema before anything is decoded (I9).

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::limits::MESSAGES_MAX;
use crate::schema::{FieldSchema, JsonForm, MessageSchema, Shape};

/// The number of the value in the entry of a map.
const MAP_VALUE: u32 = 2;

/// The deepest nesting that is looked into: that of the decoder, which refuses more.
const DEPTH_MAX: usize = 100;

/// A message holds too many others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {MESSAGES_MAX} objects in it")]
pub struct TooManyMessages;

/// Refuses a message that holds more than [`MESSAGES_MAX`] others. Bytes that are no message are left to the decoder.
///
/// # Errors
/// [`TooManyMessages`].
pub fn check_messages(schema: &'static MessageSchema, bytes: &[u8]) -> Result<(), TooManyMessages> {
    let mut counter = Counter { messages: 0 };
    // What cannot be read any further is not decoded any further either.
    let _ = counter.message(schema, bytes, DEPTH_MAX);
    if counter.messages > MESSAGES_MAX {
        Err(TooManyMessages)
    } else {
        Ok(())
    }
}

struct Counter {
    messages: usize,
}

impl Counter {
    /// Counts a message and all in it; `None` if it cannot be read, or need not be.
    fn message(&mut self, schema: &'static MessageSchema, mut bytes: &[u8], depth: usize) -> Option<()> {
        self.messages += 1;
        if depth == 0 || self.messages > MESSAGES_MAX {
            return None;
        }
        while !bytes.is_empty() {
            let WireField { number, content, .. } = WireField::take(&mut bytes)?;
            if let Some(value) = content
                && let Some(field) = field_of(schema, number)
                && let Some(inner) = object_of(field)
            {
                if field.shape == Shape::Map {
                    self.entry(inner, value, depth - 1)?;
                } else {
                    self.message(inner, value, depth - 1)?;
                }
            }
        }
        Some(())
    }

    /// Counts what the entry of a map has for its value.
    fn entry(&mut self, schema: &'static MessageSchema, mut bytes: &[u8], depth: usize) -> Option<()> {
        while !bytes.is_empty() {
            let WireField { number, content, .. } = WireField::take(&mut bytes)?;
            if let Some(value) = content.filter(|_| number == MAP_VALUE) {
                self.message(schema, value, depth)?;
            }
        }
        Some(())
    }
}

/// The field with a number.
pub(crate) fn field_of(schema: &MessageSchema, number: u32) -> Option<&'static FieldSchema> {
    let place = usize::from(*schema.places.get(number as usize)?);
    schema.fields.get(place.checked_sub(1)?)
}

/// The message of a field's values, if they have fields of their own.
pub(crate) fn object_of(field: &FieldSchema) -> Option<&'static MessageSchema> {
    field.message().filter(|message| message.form == JsonForm::Object)
}

/// One field as it stands in a message.
pub(crate) struct WireField<'b> {
    /// Its number.
    pub(crate) number: u32,
    /// All of it.
    pub(crate) raw: &'b [u8],
    /// What it holds, if it says how long that is.
    pub(crate) content: Option<&'b [u8]>,
}

impl<'b> WireField<'b> {
    /// The first of a message's fields; `bytes` are then the others.
    pub(crate) fn take(bytes: &mut &'b [u8]) -> Option<Self> {
        let start = *bytes;
        let (number, wire_type) = decode_key(bytes).ok()?;
        let content = if wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
            let (content, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Some(content)
        } else {
            skip_field(wire_type, number, bytes, DecodeContext::default()).ok()?;
            None
        };
        let raw = &start[..start.len() - bytes.len()];
        Some(Self { number, raw, content })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use prost::Message;

    use super::*;
    use crate::api::core::v1::{Container, Pod, PodSpec};
    use crate::json;
    use crate::schema;

    /// A pod of so many messages, itself and its spec among them.
    fn pod(messages: usize) -> Pod {
        let spec = PodSpec {
            containers: vec![Container::default(); messages - 2],
            ..PodSpec::default()
        };
        Pod {
            spec: Some(spec),
            ..Pod::default()
        }
    }

    fn text(messages: usize) -> String {
        let containers = vec!["{}"; messages - 2].join(",");
        format!(r#"{{"spec":{{"containers":[{containers}]}}}}"#)
    }

    fn check(bytes: &[u8]) -> Result<(), TooManyMessages> {
        check_messages(schema::kind("", "v1", "Pod").unwrap(), bytes)
    }

    #[test]
    fn the_bound_is_met_exactly_in_both_forms() {
        let (most, more) = (pod(MESSAGES_MAX), pod(MESSAGES_MAX + 1));
        assert_eq!(check(&most.encode_to_vec()), Ok(()));
        assert_eq!(check(&more.encode_to_vec()), Err(TooManyMessages));
        assert_eq!(json::decode::<Pod>(text(MESSAGES_MAX).as_bytes()).unwrap().value, most);
        let error = json::decode::<Pod>(text(MESSAGES_MAX + 1).as_bytes()).unwrap_err();
        assert!(error.message.starts_with(&TooManyMessages.to_string()), "{error}");
        assert_eq!(error.path, format!("spec.containers[{}]", MESSAGES_MAX - 2));
    }

    #[test]
    fn what_is_unknown_hides_nothing() {
        let many = pod(MESSAGES_MAX + 1).encode_to_vec();
        // Field 900: a group with a number in it, a number, eight bytes, four bytes, some text.
        let group = [0xa3, 0x38, 0x08, 0x01, 0xa4, 0x38];
        let others = [
            0xa0, 0x38, 0x07, 0xa1, 0x38, 1, 2, 3, 4, 5, 6, 7, 8, 0xa5, 0x38, 1, 2, 3, 4, 0xa2, 0x38, 1, b'x',
        ];
        assert_eq!(check(&[&group[..], &others, &many].concat()), Err(TooManyMessages));
        assert!(Pod::decode([&group[..], &others].concat().as_slice()).is_ok());
    }

    #[test]
    fn what_is_no_message_is_left_to_the_decoder() {
        for bytes in [
            &b""[..],
            b"\xff",
            b"\x12\xff\xff\xff\xff\x0f",
            b"\x12\x05\x0a",
            b"\x12\x80",
        ] {
            assert_eq!(check(bytes), Ok(()), "{bytes:?}");
        }
    }
}
