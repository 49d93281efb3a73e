//! The stored form of a set of fields: nested JSON objects whose keys are path elements.
//!
//! `f:name` is a field, `k:{..}` an item by its keys, `v:..` an item by its value, `i:3` an item by its place; `.` says
//! that the path that ends here is in the set as well. An empty object is the path itself. The order of keys is that of
//! path elements, with `.` first, so that one set has one form. Elements of another kind are dropped, as Kubernetes does.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

use super::{
    field_set::{FieldSet, Node},
    path::{PathElement, Scalar},
};

/// Says that the path that ends here is in the set.
pub(super) const SELF: &str = ".";

/// Text that is no set of fields.
#[derive(Debug, thiserror::Error)]
#[error("not a set of fields: {0}")]
pub struct InvalidFields(#[source] serde_json::Error);

/// Why one key is no path element.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidElement {
    #[error("missing colon: {0}")]
    NoColon(String),
    #[error("{0} does not name an item of a list")]
    NotAnItem(String),
}

/// The stored form of a set.
pub fn to_json(set: &FieldSet) -> Vec<u8> {
    // Most elements are fields of about a dozen letters.
    let mut text = Vec::with_capacity(2 + 24 * set.nodes().len());
    write_set(set, false, &mut text);
    text
}

/// Reads the stored form. Nothing at all is the empty set.
///
/// # Errors
/// If it is not JSON, or names something in no known way.
pub fn from_json(text: &[u8]) -> Result<FieldSet, InvalidFields> {
    if text.is_empty() {
        return Ok(FieldSet::default());
    }
    let read: ReadNode = serde_json::from_slice(text).map_err(InvalidFields)?;
    Ok(read.node.children)
}

pub(super) fn write_set(set: &FieldSet, with_self: bool, text: &mut Vec<u8>) {
    text.push(b'{');
    let mut is_first = true;
    if with_self && !set.is_empty() {
        text.extend_from_slice(b"\".\":{}");
        is_first = false;
    }
    for (element, node) in set.nodes() {
        if !is_first {
            text.push(b',');
        }
        is_first = false;
        write_element(element, text);
        text.push(b':');
        write_set(&node.children, node.member, text);
    }
    text.push(b'}');
}

/// The element as a key of a JSON object.
pub(super) fn write_element(element: &PathElement, text: &mut Vec<u8>) {
    match element {
        PathElement::Field(name) if name.bytes().all(is_plain) => {
            text.extend_from_slice(b"\"f:");
            text.extend_from_slice(name.as_bytes());
            text.push(b'"');
        }
        PathElement::Field(name) => write_text(&format!("f:{name}"), text),
        PathElement::Key(fields) => {
            text.extend_from_slice(b"\"k:{");
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                write_text_in_text(name, text);
                text.push(b':');
                write_scalar_in_text(value, text);
            }
            text.extend_from_slice(b"}\"");
        }
        PathElement::Value(value) => {
            text.extend_from_slice(b"\"v:");
            write_scalar_in_text(value, text);
            text.push(b'"');
        }
        PathElement::Index(place) => write_text(&format!("i:{place}"), text),
    }
}

/// Whether a byte stands for itself in JSON text.
fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

fn write_text(unquoted: &str, text: &mut Vec<u8>) {
    text.push(b'"');
    write_escaped(unquoted, text);
    text.push(b'"');
}

/// What stands between the quotes.
fn write_escaped(unquoted: &str, text: &mut Vec<u8>) {
    for byte in unquoted.bytes() {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => text.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => text.push(byte),
        }
    }
}

/// JSON text within the text that a key is.
fn write_text_in_text(unquoted: &str, text: &mut Vec<u8>) {
    if unquoted.bytes().all(is_plain) {
        text.extend_from_slice(b"\\\"");
        text.extend_from_slice(unquoted.as_bytes());
        text.extend_from_slice(b"\\\"");
    } else {
        write_escaped(&Value::from(unquoted).to_string(), text);
    }
}

fn write_scalar_in_text(value: &Scalar, text: &mut Vec<u8>) {
    match value {
        Scalar::Text(unquoted) => write_text_in_text(unquoted, text),
        other => write_escaped(&other.to_json().to_string(), text),
    }
}

/// The element that a key names; `None` for a kind of element that is not known.
pub(super) fn parse_element(key: &str) -> Result<Option<PathElement>, InvalidElement> {
    let (Some(kind), Some(b':')) = (key.as_bytes().first(), key.as_bytes().get(1)) else {
        return Err(InvalidElement::NoColon(key.to_owned()));
    };
    let rest = key.get(2..).unwrap_or_default();
    let no_item = || InvalidElement::NotAnItem(key.to_owned());
    Ok(Some(match kind {
        b'f' => PathElement::Field(rest.to_owned().into()),
        b'k' => {
            let Ok(Value::Object(fields)) = serde_json::from_str(rest) else {
                return Err(no_item());
            };
            let field = |(name, value): (String, Value)| Some((name.into(), Scalar::of(&value)?));
            let fields: Option<Vec<_>> = fields.into_iter().map(field).collect();
            PathElement::Key(fields.ok_or_else(no_item)?)
        }
        b'v' => {
            let value = serde_json::from_str(rest).map_err(|_| no_item())?;
            PathElement::Value(Scalar::of(&value).ok_or_else(no_item)?)
        }
        b'i' => PathElement::Index(rest.parse().map_err(|_| no_item())?),
        _ => return Ok(None),
    }))
}

/// A key of a node.
enum Key {
    /// The path that ends here is in the set.
    Here,
    /// One step further.
    Element(PathElement),
    /// A kind of element that is not known.
    Unknown,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a path element")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        if key == SELF {
            return Ok(Key::Here);
        }
        let element = parse_element(key).map_err(E::custom)?;
        Ok(element.map_or(Key::Unknown, Key::Element))
    }
}

/// A node as it is read: an empty object is the path itself.
struct ReadNode {
    node: Node,
}

impl<'de> Deserialize<'de> for ReadNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = ReadNode;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of path elements")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ReadNode, A::Error> {
        let mut member = false;
        let mut nodes = Vec::new();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Here => {
                    member = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Element(element) => nodes.push((element, map.next_value::<ReadNode>()?.node)),
                Key::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let children = FieldSet::from_nodes(nodes);
        let member = member || children.is_empty();
        Ok(ReadNode {
            node: Node { member, children },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_round_trip(text: &str) {
        let set = from_json(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(String::from_utf8_lossy(&to_json(&set)), text);
    }

    #[test]
    fn canonical_forms_are_kept() {
        for text in [
            "{}",
            r#"{"f:spec":{"f:replicas":{}}}"#,
            r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}}}"#,
            r#"{"f:spec":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}"#,
            r#"{"f:metadata":{"f:finalizers":{"v:\"example.com/a\"":{},"v:\"example.com/b\"":{}}}}"#,
            r#"{"f:list":{"v:1":{},"v:2":{},"v:10":{},"v:true":{},"v:null":{}}}"#,
            r#"{"f:a":{},"k:{\"name\":\"x\"}":{},"v:\"x\"":{},"i:2":{},"i:10":{}}"#,
            r#"{"f:data":{"f:a\"b\\c":{},"f:ü":{}}}"#,
        ] {
            check_round_trip(text);
        }
    }

    #[test]
    fn other_forms_become_canonical() {
        for (text, expected) in [
            ("", "{}"),
            (r#"{"f:b":{},"f:a":{}}"#, r#"{"f:a":{},"f:b":{}}"#),
            (r#"{"f:a":{".":{}}}"#, r#"{"f:a":{}}"#),
            (r#"{"f:a":{},"z:new":{"f:x":{}}}"#, r#"{"f:a":{}}"#),
            (r#"{"k:{\"b\":1,\"a\":2}":{}}"#, r#"{"k:{\"a\":2,\"b\":1}":{}}"#),
        ] {
            let set = from_json(text.as_bytes()).expect("readable");
            assert_eq!(String::from_utf8_lossy(&to_json(&set)), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "[]",
            "{",
            r#"{"spec":{}}"#,
            r#"{"f":{}}"#,
            r#"{"f:a":1}"#,
            r#"{"k:1":{}}"#,
            r#"{"k:{\"a\":[]}":{}}"#,
            r#"{"v:{}":{}}"#,
            r#"{"v:":{}}"#,
            r#"{"i:x":{}}"#,
            r#"{"é:x":{}}"#,
        ] {
            assert!(from_json(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!("{}{}", r#"{"f:a":"#.repeat(10_000), "}".repeat(10_000));
        assert!(from_json(deep.as_bytes()).is_err());
    }
}
