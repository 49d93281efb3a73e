//! Objects from and to JSON text and JSON values.

use serde::Deserialize;
use serde_json::Value;

use super::{Context, JsonMessage, deserialize_message, serialize_message};
use crate::limits::JSON_DEPTH_MAX;

/// An object, and what of its JSON it has no place for.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<T> {
    /// The object.
    pub value: T,
    /// Paths of fields that the type does not have, such as `spec.containers[0].imagee`.
    pub unknown_fields: Vec<String>,
}

/// JSON that is not an object of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", self.path, if self.path.is_empty() { "" } else { ": " })]
pub struct DecodeError {
    /// Path of the field, such as `spec.replicas`; empty for the whole.
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
}

/// Reads an object from JSON text.
///
/// # Errors
/// If the text is not JSON, nests deeper than [`JSON_DEPTH_MAX`], is not an object of this type, or holds more than
/// [`MESSAGES_MAX`](crate::limits::MESSAGES_MAX) others.
pub fn decode<T: JsonMessage>(text: &[u8]) -> Result<Decoded<T>, DecodeError> {
    check_depth(text)?;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let mut context = Context::default();
    let result =
        deserialize_message(&mut deserializer, &mut context).and_then(|value| deserializer.end().map(|()| value));
    finish(result, context)
}

/// Reads an object from a JSON value.
///
/// # Errors
/// If the value is not an object of this type, or holds more than [`MESSAGES_MAX`](crate::limits::MESSAGES_MAX) others.
pub fn decode_value<T: JsonMessage>(value: &Value) -> Result<Decoded<T>, DecodeError> {
    let mut context = Context::default();
    let result = deserialize_message(value, &mut context);
    finish(result, context)
}

/// Writes an object as JSON text, with `apiVersion` and `kind` if it is a kind.
///
/// # Errors
/// If a time is outside the years that RFC 3339 can say.
pub fn encode<T: JsonMessage>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    serialize_message(message, &mut serde_json::Serializer::new(&mut text))?;
    Ok(text)
}

/// Writes an object as a JSON value, with `apiVersion` and `kind` if it is a kind.
///
/// # Errors
/// If a time is outside the years that RFC 3339 can say.
pub fn encode_value<T: JsonMessage>(message: &T) -> Result<Value, serde_json::Error> {
    serialize_message(message, serde_json::value::Serializer)
}

/// What JSON says an object is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TypeMeta {
    /// `group/version`, or just the version in the core group; empty if it does not say.
    pub api_version: String,
    /// Kind; empty if it does not say.
    pub kind: String,
}

impl TypeMeta {
    /// Reads only `apiVersion` and `kind` of an object.
    ///
    /// # Errors
    /// If the text is not a JSON object, or these two are not strings.
    pub fn peek(text: &[u8]) -> Result<Self, DecodeError> {
        check_depth(text)?;
        let result = serde_json::from_slice(text);
        result.map_err(|error| DecodeError {
            path: String::new(),
            message: error.to_string(),
        })
    }
}

fn finish<T>(result: Result<T, serde_json::Error>, context: Context) -> Result<Decoded<T>, DecodeError> {
    match result {
        Ok(value) => Ok(Decoded {
            value,
            unknown_fields: context.into_unknown_fields(),
        }),
        Err(error) => Err(DecodeError {
            path: context.path(),
            message: error.to_string(),
        }),
    }
}

/// Refuses deep nesting before anything recurses into it. Text that is not JSON is left to the parser.
fn check_depth(text: &[u8]) -> Result<(), DecodeError> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            let message = format!("nests deeper than {JSON_DEPTH_MAX} levels");
            return Err(DecodeError {
                path: String::new(),
                message,
            });
        }
    }
    Ok(())
}
