//! Parts of a message, found in its bytes by its schema and without decoding it: what a document names of it, and what two
//! versions of it differ in.
//!
//! Readers of protobuf merge a message that comes in pieces, so pieces are put together by laying them end to end. Of a
//! scalar that is in two of them the last one stands.

use std::cmp::Ordering;

use prost::bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};

use crate::schema::{FieldSchema, MessageSchema, Shape};
use crate::wire::{WireField, field_of, object_of};

/// Begins the name of a directive in a strategic merge patch, which is about the object that it stands in.
const DIRECTIVE: char = '$';

/// A message in two pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// What is named of it. A message of which anything is named is there, even if it is empty.
    pub named: Vec<u8>,
    /// The rest.
    pub rest: Vec<u8>,
}

/// Two versions of a message, without what is the same in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Of the old version.
    pub old: Vec<u8>,
    /// Of the new one.
    pub new: Vec<u8>,
}

/// Takes out of a message what a document, such as a merge patch, names of it. A field is named with all it holds, unless it
/// is a message and the document has an object for it: then what that names of it. An object with a directive of a strategic
/// merge patch names all of its message.
///
/// `None` if the bytes are no such message, or the document is about the whole of it.
pub fn named_by(schema: &MessageSchema, mut bytes: &[u8], document: &Map<String, Value>) -> Option<Pieces> {
    if !names_fields(schema, document) {
        return None;
    }
    let mut pieces = Pieces::default();
    while !bytes.is_empty() {
        let field = WireField::take(&mut bytes)?;
        let known = field_of(schema, field.number);
        let named = known.and_then(|known| Some((known, document.get(known.json_name)?)));
        let Some((known, value)) = named else {
            pieces.rest.extend_from_slice(field.raw);
            continue;
        };
        let parted = match (one_message(known), value, field.content) {
            (Some(inner), Value::Object(value), Some(content)) if !known.replace && names_fields(inner, value) => {
                named_by(inner, content, value)?
            }
            _ => {
                pieces.named.extend_from_slice(field.raw);
                continue;
            }
        };
        put_message(&mut pieces.named, field.number, &parted.named);
        if !parted.rest.is_empty() {
            put_message(&mut pieces.rest, field.number, &parted.rest);
        }
    }
    Some(pieces)
}

/// What two versions of a message differ in: fields with all they hold, or, of a message that is in both, what differs in it.
/// What is encoded differently counts as different.
///
/// `None` if either is no such message as an encoder writes it, its fields in the order of their numbers.
pub fn difference(schema: &MessageSchema, old: &[u8], new: &[u8]) -> Option<Difference> {
    let mut difference = Difference::default();
    let (mut old, mut new) = (Runs::of(old), Runs::of(new));
    let (mut one, mut other) = (old.next()?, new.next()?);
    while one.number.min(other.number) < Run::END {
        match one.number.cmp(&other.number) {
            Ordering::Less => difference.old.extend_from_slice(one.raw),
            Ordering::Greater => difference.new.extend_from_slice(other.raw),
            Ordering::Equal if one.raw == other.raw => {}
            Ordering::Equal => {
                let inner = field_of(schema, one.number).and_then(one_message);
                match (inner, one.single, other.single) {
                    (Some(inner), Some(before), Some(after)) => {
                        let within = self::difference(inner, before, after)?;
                        put_message(&mut difference.old, one.number, &within.old);
                        put_message(&mut difference.new, one.number, &within.new);
                    }
                    _ => {
                        difference.old.extend_from_slice(one.raw);
                        difference.new.extend_from_slice(other.raw);
                    }
                }
            }
        }
        let order = one.number.cmp(&other.number);
        if order.is_le() {
            one = old.next()?;
        }
        if order.is_ge() {
            other = new.next()?;
        }
    }
    Some(difference)
}

/// A message without one of its fields, if that is as it is in another version of it; `None` if it is not.
pub fn without_same(mut bytes: &[u8], mut other: &[u8], number: u32) -> Option<Vec<u8>> {
    let mut rest = Vec::with_capacity(bytes.len());
    let mut next_of_other = || {
        std::iter::from_fn(|| WireField::take(&mut other))
            .find(|field| field.number == number)
            .map(|field| field.raw)
    };
    while !bytes.is_empty() {
        let field = WireField::take(&mut bytes)?;
        if field.number != number {
            rest.extend_from_slice(field.raw);
        } else if next_of_other() != Some(field.raw) {
            return None;
        }
    }
    next_of_other().is_none().then_some(rest)
}

/// The text that a field holds, found by the numbers of the fields that lead to it; empty if it is not there.
pub fn text_at<'b>(mut bytes: &'b [u8], numbers: &[u32]) -> &'b [u8] {
    let Some((number, inner)) = numbers.split_first() else {
        return bytes;
    };
    let mut found: &[u8] = b"";
    while let Some(field) = WireField::take(&mut bytes) {
        if field.number == *number {
            found = field.content.unwrap_or_default();
        }
    }
    text_at(found, inner)
}

/// Whether a document tells by the names of its fields which of the message's it is about.
fn names_fields(schema: &MessageSchema, document: &Map<String, Value>) -> bool {
    // The names of inlined fields are those of other messages.
    let has_inlined = schema.fields.iter().any(|field| field.inline);
    !has_inlined && !document.keys().any(|name| name.starts_with(DIRECTIVE))
}

/// The message that a field holds, if it holds one that is an object in JSON.
fn one_message(field: &'static FieldSchema) -> Option<&'static MessageSchema> {
    object_of(field).filter(|_| field.shape == Shape::Single)
}

fn put_message(bytes: &mut Vec<u8>, number: u32, content: &[u8]) {
    encode_key(number, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.put_slice(content);
}

/// All values of a field, which stand together.
struct Run<'b> {
    number: u32,
    raw: &'b [u8],
    /// What the only one of them holds.
    single: Option<&'b [u8]>,
}

impl Run<'_> {
    /// Greater than the number of any field: there are no more.
    const END: u32 = u32::MAX;
}

/// Reads a message run by run, in the order of their numbers.
struct Runs<'b> {
    bytes: &'b [u8],
    last: u32,
}

impl<'b> Runs<'b> {
    fn of(bytes: &'b [u8]) -> Self {
        Self { bytes, last: 0 }
    }

    /// The next; `None` if it cannot be read, or is not in order.
    fn next(&mut self) -> Option<Run<'b>> {
        let start = self.bytes;
        if start.is_empty() {
            return Some(Run {
                number: Run::END,
                raw: start,
                single: None,
            });
        }
        let first = WireField::take(&mut self.bytes)?;
        if first.number <= self.last {
            return None;
        }
        self.last = first.number;
        let mut single = first.content;
        loop {
            let mut rest = self.bytes;
            if rest.is_empty() || WireField::take(&mut rest)?.number != first.number {
                break;
            }
            self.bytes = rest;
            single = None;
        }
        Some(Run {
            number: first.number,
            raw: &start[..start.len() - self.bytes.len()],
            single,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use prost::Message;
    use serde_json::json;

    use super::*;
    use crate::api::core::v1::Pod;
    use crate::{json, schema};

    fn pod_schema() -> &'static MessageSchema {
        schema::kind("", "v1", "Pod").unwrap()
    }

    fn pod(document: &Value) -> Pod {
        json::decode_value(document).unwrap().value
    }

    fn web() -> Value {
        json!({
            "metadata": {"name": "web", "labels": {"a": "1", "b": "2"}, "annotations": {"note": "x"}},
            "spec": {
                "nodeName": "node-1",
                "containers": [{"name": "main", "image": "web:1"}],
                "securityContext": {"runAsUser": 7, "fsGroup": 8},
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
            "status": {"phase": "Running"},
        })
    }

    fn parted(document: &Value) -> Option<Pieces> {
        named_by(
            pod_schema(),
            &pod(&web()).encode_to_vec(),
            document.as_object().unwrap(),
        )
    }

    /// Nothing but messages of nothing, and what every pod has.
    fn is_nothing(value: &Value) -> bool {
        match value {
            Value::Object(fields) => fields
                .iter()
                .all(|(name, value)| name == "apiVersion" || name == "kind" || is_nothing(value)),
            Value::Array(items) => items.is_empty(),
            other => other.is_null(),
        }
    }

    /// Whatever is named, the pieces make the message again.
    fn check_named(document: &Value, expected: &Value) {
        let pieces = parted(document).unwrap();
        assert_eq!(Pod::decode(&*pieces.named).unwrap(), pod(expected), "{document}");
        for order in [[&pieces.named, &pieces.rest], [&pieces.rest, &pieces.named]] {
            let whole = Pod::decode(&*order.map(Vec::as_slice).concat()).unwrap();
            assert_eq!(whole, pod(&web()), "{document}");
        }
        let again = named_by(pod_schema(), &pieces.rest, document.as_object().unwrap()).unwrap();
        let left = Pod::decode(&*again.named).unwrap();
        assert!(
            is_nothing(&json::encode_value(&left).unwrap()),
            "{document} leaves {left:?}"
        );
    }

    #[test]
    fn a_document_names_what_it_has_values_for() {
        check_named(&json!({}), &json!({}));
        check_named(&json!({"no such field": 1}), &json!({}));
        check_named(
            &json!({"metadata": {"annotations": {"other": "y"}}}),
            &json!({"metadata": {"annotations": {"note": "x"}}}),
        );
        check_named(&json!({"metadata": {"uid": "1"}}), &json!({"metadata": {}}));
        check_named(&json!({"metadata": null}), &json!({"metadata": web()["metadata"]}));
        check_named(&json!({"status": 7}), &json!({"status": web()["status"]}));
        check_named(
            &json!({"spec": {"securityContext": {"fsGroup": null}, "containers": []}}),
            &json!({"spec": {"securityContext": {"fsGroup": 8}, "containers": web()["spec"]["containers"]}}),
        );
        check_named(
            &json!({"spec": {"securityContext": {"fsGroup": 9, "$patch": "replace"}}}),
            &json!({"spec": {"securityContext": web()["spec"]["securityContext"]}}),
        );
        assert_eq!(parted(&json!({"$patch": "replace"})), None);
    }

    #[test]
    fn what_cannot_be_taken_apart_is_not() {
        let document = json!({"spec": {"nodeName": "x"}});
        for bytes in [&b"\xff"[..], b"\x12\x05\x0a", b"\x12\x02\x0a\x05"] {
            assert_eq!(
                named_by(pod_schema(), bytes, document.as_object().unwrap()),
                None,
                "{bytes:?}"
            );
        }
        for bytes in [&b"\xff"[..], b"\x12\x05\x0a"] {
            assert_eq!(difference(pod_schema(), bytes, b""), None, "{bytes:?}");
        }
        // The fields of a volume's source stand beside its name.
        let volume = schema::message("kubernetes.core.v1.Volume").unwrap();
        assert_eq!(named_by(volume, b"", json!({"name": "x"}).as_object().unwrap()), None);
        // The spec before the metadata.
        assert_eq!(difference(pod_schema(), b"\x12\x00\x0a\x00", b""), None);
    }

    #[test]
    fn texts_are_found() {
        let spec = pod_schema().field("spec").unwrap();
        let node = spec.message().unwrap().field("nodeName").unwrap();
        let numbers = [spec.number, node.number];
        let of = |document: &Value| text_at(&pod(document).encode_to_vec(), &numbers).to_vec();
        assert_eq!(of(&web()), b"node-1");
        assert_eq!(of(&json!({"spec": {"hostname": "x"}})), b"");
        assert_eq!(of(&json!({})), b"");
        assert_eq!(text_at(b"\xff", &numbers), b"");
    }

    #[test]
    fn a_field_is_left_out_if_it_is_the_same() {
        let number = pod_schema().field("spec").unwrap().number;
        let bytes = |document: &Value| pod(document).encode_to_vec();
        let left = |new: &Value, old: &Value| {
            let rest = without_same(&bytes(new), &bytes(old), number)?;
            Some(Pod::decode(&*rest).unwrap())
        };
        let mut changed = web();
        changed["status"]["phase"] = "Failed".into();
        let mut rest = changed.clone();
        rest.as_object_mut().unwrap().remove("spec");
        assert_eq!(left(&changed, &web()), Some(pod(&rest)));
        assert_eq!(left(&rest, &json!({})), Some(pod(&rest)), "neither has it");
        assert_eq!(left(&changed, &rest), None, "it is new");
        assert_eq!(left(&rest, &changed), None, "it is gone");
        changed["spec"]["nodeName"] = "node-2".into();
        assert_eq!(left(&changed, &web()), None);
        let twice = [bytes(&web()), bytes(&web())].concat();
        assert_eq!(without_same(&bytes(&web()), &twice, number), None);
        assert_eq!(without_same(b"\xff", b"", number), None);
    }

    fn check_difference(new: &Value, expected: [&Value; 2]) {
        let (old, new) = (pod(&web()).encode_to_vec(), pod(new).encode_to_vec());
        let difference = difference(pod_schema(), &old, &new).unwrap();
        let decoded = [&difference.old, &difference.new].map(|bytes| Pod::decode(&**bytes).unwrap());
        assert_eq!(decoded, expected.map(pod));
    }

    #[test]
    fn only_what_differs_is_told() {
        check_difference(&web(), [&json!({}), &json!({})]);
        let mut new = web();
        new["metadata"]["labels"]["b"] = json!("3");
        check_difference(
            &new,
            [
                &json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
                &json!({"metadata": {"labels": {"a": "1", "b": "3"}}}),
            ],
        );
        let mut new = web();
        new["spec"]["securityContext"] = json!({"runAsUser": 7});
        new["status"] = Value::Null;
        new["spec"]["hostname"] = json!("web");
        check_difference(
            &new,
            [
                &json!({"spec": {"securityContext": {"fsGroup": 8}}, "status": {"phase": "Running"}}),
                &json!({"spec": {"securityContext": {}, "hostname": "web"}}),
            ],
        );
        check_difference(&json!({}), [&web(), &json!({})]);
    }
}
