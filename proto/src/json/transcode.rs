//! From an object's protobuf to its JSON without the object: what is stored is written as it is read, field by field, as
//! the schema table has them. The text is the same, byte for byte, that [`encode`](super::encode) writes of the decoded
//! object, at a fraction of the work.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::canonical::is_canonical;
use super::value::{JsonValue, Written};
use crate::InvalidTime;
use crate::api::authentication::v1::ExtraValue;
use crate::api::meta::v1::{IntOrString, MicroTime, RawExtension, Time};
use crate::limits::JSON_DEPTH_MAX;
use crate::schema::{FieldSchema, JsonForm, Kind, MessageSchema, Scalar, Shape, ValueType};

/// Protobuf that is not of the message, or that has no JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {why}")]
pub struct TranscodeError {
    /// Name of the message that it was found in.
    pub message: &'static str,
    /// What is wrong.
    pub why: String,
}

/// Writes the JSON of a message behind what `text` holds. Of a kind, `apiVersion` and `kind` come first, unless the
/// outermost object is to be written without them, as in a list. A field that comes twice counts as every reader of
/// protobuf has it: messages are merged, and of scalars the last one stands.
///
/// # Errors
/// If the bytes are not such a message, or a value has no JSON. Then `text` has half a message behind it.
pub fn transcode(
    message: &'static MessageSchema,
    protobuf: &[u8],
    has_type: bool,
    text: &mut Vec<u8>,
) -> Result<(), TranscodeError> {
    let mut transcoder = Transcoder {
        text,
        parts: Vec::new(),
        depth: 0,
    };
    transcoder.object(message, protobuf, has_type)
}

struct Transcoder<'t> {
    text: &'t mut Vec<u8>,
    /// The fields of the messages that are being written, the innermost last.
    parts: Vec<Part>,
    depth: usize,
}

/// One field as it stands in a message.
#[derive(Debug, Clone)]
struct Part {
    number: u32,
    value: Wire,
}

/// The value of a field.
#[derive(Debug, Clone)]
enum Wire {
    /// A varint.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Where in its message the bytes stand.
    Bytes(Range<usize>),
}

impl Transcoder<'_> {
    fn object(&mut self, message: &'static MessageSchema, bytes: &[u8], has_type: bool) -> Result<(), TranscodeError> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(bad(message, "it nests too deep"));
        }
        self.depth += 1;
        self.text.push(b'{');
        let start = self.text.len();
        if let Some(kind) = message.kind.filter(|_| has_type) {
            self.type_of(kind);
        }
        self.fields(message, bytes, start)?;
        self.text.push(b'}');
        self.depth -= 1;
        Ok(())
    }

    fn type_of(&mut self, kind: Kind) {
        self.text.extend_from_slice(b"\"apiVersion\":\"");
        if !kind.group.is_empty() {
            self.text.extend_from_slice(kind.group.as_bytes());
            self.text.push(b'/');
        }
        self.text.extend_from_slice(kind.version.as_bytes());
        self.text.extend_from_slice(b"\",\"kind\":\"");
        self.text.extend_from_slice(kind.kind.as_bytes());
        self.text.push(b'"');
    }

    /// The fields of a message, into the JSON object that begins at `start`.
    fn fields(&mut self, message: &'static MessageSchema, bytes: &[u8], start: usize) -> Result<(), TranscodeError> {
        let first = self.parts.len();
        let mut written = self.split(message, bytes)? | message.always;
        while written != 0 {
            let field = &message.fields[written.trailing_zeros() as usize];
            self.field(message, field, bytes, first, start)?;
            written &= written - 1;
        }
        self.parts.truncate(first);
        Ok(())
    }

    /// Takes a message apart into `parts`. A bit of the answer is set for the place of each field that is there.
    fn split(&mut self, message: &'static MessageSchema, bytes: &[u8]) -> Result<u64, TranscodeError> {
        let mut present = 0_u64;
        let mut at = 0;
        while at < bytes.len() {
            let tag = varint(message, bytes, &mut at)?;
            let number = u32::try_from(tag >> 3).map_err(|_| bad(message, "a field has too great a number"))?;
            let value = match tag & 7 {
                0 => Wire::Varint(varint(message, bytes, &mut at)?),
                1 => Wire::Fixed64(fixed64(message, bytes, &mut at)?),
                2 => {
                    let length = usize::try_from(varint(message, bytes, &mut at)?).unwrap_or(usize::MAX);
                    let end = at.checked_add(length).filter(|end| *end <= bytes.len());
                    let range = at..end.ok_or_else(|| bad(message, "it is cut off"))?;
                    at = range.end;
                    Wire::Bytes(range)
                }
                wire_type => return Err(bad(message, format!("a field is of the wire type {wire_type}"))),
            };
            if let Some(place @ 1..) = message.places.get(number as usize) {
                present |= 1 << (place - 1);
            }
            self.parts.push(Part { number, value });
        }
        Ok(present)
    }

    /// One field, if it is to be written.
    fn field(
        &mut self,
        message: &'static MessageSchema,
        field: &'static FieldSchema,
        bytes: &[u8],
        first: usize,
        start: usize,
    ) -> Result<(), TranscodeError> {
        let last = self.parts.len();
        let mut values = (first..last).filter(|index| self.parts[*index].number == field.number);
        match field.shape {
            Shape::Single => {
                let Some(one) = values.next_back() else {
                    return self.absent(field, start);
                };
                let several = values.next().is_some();
                match field.value {
                    ValueType::Scalar(scalar) => {
                        self.name(field, start);
                        let value = self.parts[one].value.clone();
                        self.scalar(message, scalar, &value, bytes)
                    }
                    ValueType::Message(inner) => {
                        if several {
                            let merged = self.merged(message, field, bytes, first..last)?;
                            return self.message(field, inner, &merged, start);
                        }
                        let range = self.range(message, one)?;
                        self.message(field, inner, &bytes[range], start)
                    }
                }
            }
            Shape::List => {
                let Some(one) = values.next() else {
                    return self.absent(field, start);
                };
                self.name(field, start);
                self.list(message, field, bytes, one..last)
            }
            Shape::Map => {
                if values.next().is_none() {
                    return self.absent(field, start);
                }
                self.name(field, start);
                self.map(message, field, bytes, first..last)
            }
        }
    }

    /// A message that is there, once.
    fn message(
        &mut self,
        field: &'static FieldSchema,
        inner: &'static MessageSchema,
        bytes: &[u8],
        start: usize,
    ) -> Result<(), TranscodeError> {
        if field.inline {
            return self.fields(inner, bytes, start);
        }
        if inner.form == JsonForm::Object {
            self.name(field, start);
            return self.object(inner, bytes, true);
        }
        let before = self.text.len();
        self.name(field, start);
        if !self.value(inner, bytes, field.always)? {
            self.text.truncate(before);
        }
        Ok(())
    }

    /// All messages that are there of one field, as one.
    fn merged(
        &self,
        message: &'static MessageSchema,
        field: &FieldSchema,
        bytes: &[u8],
        parts: Range<usize>,
    ) -> Result<Vec<u8>, TranscodeError> {
        let mut merged = Vec::new();
        for index in parts.filter(|index| self.parts[*index].number == field.number) {
            merged.extend_from_slice(&bytes[self.range(message, index)?]);
        }
        Ok(merged)
    }

    fn list(
        &mut self,
        message: &'static MessageSchema,
        field: &'static FieldSchema,
        bytes: &[u8],
        parts: Range<usize>,
    ) -> Result<(), TranscodeError> {
        self.text.push(b'[');
        let start = self.text.len();
        for index in parts {
            if self.parts[index].number != field.number {
                continue;
            }
            match (field.value, self.parts[index].value.clone()) {
                (ValueType::Message(inner), _) => {
                    let range = self.range(message, index)?;
                    self.comma(start);
                    self.any_message(inner, &bytes[range])?;
                }
                (ValueType::Scalar(scalar), Wire::Bytes(range))
                    if !matches!(scalar, Scalar::String | Scalar::Bytes) =>
                {
                    self.packed(message, scalar, &bytes[range], start)?;
                }
                (ValueType::Scalar(scalar), one) => {
                    self.comma(start);
                    self.scalar(message, scalar, &one, bytes)?;
                }
            }
        }
        self.text.push(b']');
        Ok(())
    }

    /// Numbers that stand side by side in one value, into the list that begins at `start`.
    fn packed(
        &mut self,
        message: &'static MessageSchema,
        scalar: Scalar,
        packed: &[u8],
        start: usize,
    ) -> Result<(), TranscodeError> {
        let mut at = 0;
        while at < packed.len() {
            let one = match scalar {
                Scalar::Double => Wire::Fixed64(fixed64(message, packed, &mut at)?),
                _ => Wire::Varint(varint(message, packed, &mut at)?),
            };
            self.comma(start);
            self.scalar(message, scalar, &one, packed)?;
        }
        Ok(())
    }

    /// The entries of a map, by key. Of two with one key the last stands.
    fn map(
        &mut self,
        message: &'static MessageSchema,
        field: &'static FieldSchema,
        bytes: &[u8],
        parts: Range<usize>,
    ) -> Result<(), TranscodeError> {
        let mut entries: Vec<(&str, Option<Wire>, &[u8])> = Vec::new();
        for index in parts {
            if self.parts[index].number != field.number {
                continue;
            }
            let entry = &bytes[self.range(message, index)?];
            let first = self.parts.len();
            self.split(message, entry)?;
            let (mut key, mut value) = ("", None);
            for part in self.parts.drain(first..) {
                match (part.number, part.value) {
                    (1, Wire::Bytes(range)) => key = utf8(message, &entry[range])?,
                    (2, wire) => value = Some(wire),
                    _ => {}
                }
            }
            entries.push((key, value, entry));
        }
        if !entries.is_sorted_by(|one, next| one.0 < next.0) {
            // Stable, so that the last of equal keys stays last.
            entries.sort_by(|one, other| one.0.cmp(other.0));
            entries.reverse();
            entries.dedup_by(|one, other| one.0 == other.0);
            entries.reverse();
        }
        self.text.push(b'{');
        let start = self.text.len();
        for (key, value, entry) in entries {
            self.comma(start);
            self.string(key);
            self.text.push(b':');
            match (field.value, value) {
                (ValueType::Scalar(scalar), Some(wire)) => self.scalar(message, scalar, &wire, entry)?,
                (ValueType::Scalar(scalar), None) => self.zero(scalar),
                (ValueType::Message(inner), Some(Wire::Bytes(range))) => self.any_message(inner, &entry[range])?,
                (ValueType::Message(inner), None) => self.any_message(inner, &[])?,
                (ValueType::Message(_), Some(_)) => return Err(bad(message, "a message is a number")),
            }
        }
        self.text.push(b'}');
        Ok(())
    }

    /// A message that stands where one must stand.
    fn any_message(&mut self, inner: &'static MessageSchema, bytes: &[u8]) -> Result<(), TranscodeError> {
        match inner.form {
            JsonForm::Object => self.object(inner, bytes, true),
            _ => self.value(inner, bytes, true).map(drop),
        }
    }

    /// A message whose JSON is no object of its fields. False if nothing was written, since it is the same as none and none
    /// must be.
    fn value(&mut self, inner: &'static MessageSchema, bytes: &[u8], always: bool) -> Result<bool, TranscodeError> {
        match inner.form {
            JsonForm::DateTime if inner.name == "Time" => {
                let time: Time = read(inner, bytes)?;
                self.time(inner, time.is_zero(), always, |text| time.write_rfc3339(text))
            }
            JsonForm::DateTime => {
                let time: MicroTime = read(inner, bytes)?;
                self.time(inner, time.is_zero(), always, |text| time.write_rfc3339(text))
            }
            JsonForm::Quantity => {
                let quantity = utf8(inner, self.content(inner, bytes)?)?;
                self.string(if quantity.is_empty() { "0" } else { quantity });
                Ok(true)
            }
            JsonForm::IntOrString => self.typed::<IntOrString>(inner, bytes, always),
            JsonForm::Any => {
                let raw = self.content(inner, bytes)?;
                if is_canonical(raw) {
                    self.text.extend_from_slice(raw);
                    return Ok(true);
                }
                // The others of their form have the same fields.
                self.typed::<RawExtension>(inner, bytes, always)
            }
            JsonForm::Strings => self.typed::<ExtraValue>(inner, bytes, always),
            JsonForm::Object => Err(bad(inner, "it is an object")),
        }
    }

    fn typed<T: JsonValue + prost::Message + Default>(
        &mut self,
        inner: &'static MessageSchema,
        bytes: &[u8],
        always: bool,
    ) -> Result<bool, TranscodeError> {
        let value: T = read(inner, bytes)?;
        if value.is_null() && !always {
            return Ok(false);
        }
        Written(&value)
            .serialize(&mut serde_json::Serializer::new(&mut *self.text))
            .map_err(|error| bad(inner, error.to_string()))?;
        Ok(true)
    }

    /// A point in time, which is the same as none if it was never set.
    fn time(
        &mut self,
        inner: &'static MessageSchema,
        is_zero: bool,
        always: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), InvalidTime>,
    ) -> Result<bool, TranscodeError> {
        if is_zero && !always {
            return Ok(false);
        }
        self.text.push(b'"');
        write(self.text).map_err(|error| bad(inner, error.to_string()))?;
        self.text.push(b'"');
        Ok(true)
    }

    /// The value of a message that has one field, of number 1 and of bytes; empty if it is not there.
    fn content<'b>(&mut self, inner: &'static MessageSchema, bytes: &'b [u8]) -> Result<&'b [u8], TranscodeError> {
        let first = self.parts.len();
        self.split(inner, bytes)?;
        let last = self.parts.drain(first..).rfind(|part| part.number == 1);
        match last.map(|part| part.value) {
            None => Ok(&[]),
            Some(Wire::Bytes(range)) => Ok(&bytes[range]),
            Some(Wire::Varint(_) | Wire::Fixed64(_)) => Err(bad(inner, "a field is of another type")),
        }
    }

    /// What stands for a field that is not there.
    fn absent(&mut self, field: &'static FieldSchema, start: usize) -> Result<(), TranscodeError> {
        if !field.always || field.inline {
            return Ok(());
        }
        self.name(field, start);
        match (field.shape, field.value) {
            (Shape::List, _) => self.text.extend_from_slice(b"[]"),
            (Shape::Map, _) => self.text.extend_from_slice(b"{}"),
            (Shape::Single, ValueType::Scalar(scalar)) => self.zero(scalar),
            (Shape::Single, ValueType::Message(inner)) => {
                let text: &[u8] = match inner.form {
                    JsonForm::Object | JsonForm::Any => b"{}",
                    JsonForm::DateTime => b"null",
                    JsonForm::Quantity => b"\"0\"",
                    JsonForm::IntOrString => b"0",
                    JsonForm::Strings => b"[]",
                };
                self.text.extend_from_slice(text);
            }
        }
        Ok(())
    }

    fn zero(&mut self, scalar: Scalar) {
        let text: &[u8] = match scalar {
            Scalar::Bool => b"false",
            Scalar::Double => b"0.0",
            Scalar::Int32 | Scalar::Int64 => b"0",
            Scalar::String | Scalar::Bytes => b"\"\"",
        };
        self.text.extend_from_slice(text);
    }

    fn scalar(
        &mut self,
        message: &'static MessageSchema,
        scalar: Scalar,
        value: &Wire,
        bytes: &[u8],
    ) -> Result<(), TranscodeError> {
        match (scalar, value) {
            (Scalar::Bool, Wire::Varint(value)) => {
                let text: &[u8] = if *value == 0 { b"false" } else { b"true" };
                self.text.extend_from_slice(text);
            }
            // As protobuf has it, the upper half of a longer number is cut off.
            #[expect(clippy::cast_possible_truncation, reason = "that is what protobuf says")]
            (Scalar::Int32, Wire::Varint(value)) => self.json(&(*value as i32)),
            (Scalar::Int64, Wire::Varint(value)) => self.json(&value.cast_signed()),
            (Scalar::Double, Wire::Fixed64(value)) => self.json(&f64::from_bits(*value)),
            (Scalar::String, Wire::Bytes(range)) => self.string(utf8(message, &bytes[range.clone()])?),
            (Scalar::Bytes, Wire::Bytes(range)) => {
                let encoded = BASE64.encode(&bytes[range.clone()]);
                self.string(&encoded);
            }
            _ => return Err(bad(message, "a field is of another type")),
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        if has_escapes(text.as_bytes()) {
            return self.json(text);
        }
        self.text.push(b'"');
        self.text.extend_from_slice(text.as_bytes());
        self.text.push(b'"');
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut *self.text, value).expect("texts and numbers have JSON, and memory takes it");
    }

    /// The name of a field, behind what its object has already.
    fn name(&mut self, field: &FieldSchema, start: usize) {
        self.comma(start);
        self.text.push(b'"');
        self.text.extend_from_slice(field.json_name.as_bytes());
        self.text.extend_from_slice(b"\":");
    }

    /// Between two values of what begins at `start`.
    fn comma(&mut self, start: usize) {
        if self.text.len() > start {
            self.text.push(b',');
        }
    }

    fn range(&self, message: &'static MessageSchema, part: usize) -> Result<Range<usize>, TranscodeError> {
        match &self.parts[part].value {
            Wire::Bytes(range) => Ok(range.clone()),
            Wire::Varint(_) | Wire::Fixed64(_) => Err(bad(message, "a message is a number")),
        }
    }
}

fn varint(message: &'static MessageSchema, bytes: &[u8], at: &mut usize) -> Result<u64, TranscodeError> {
    // Nearly all are of one byte.
    if let Some(byte @ ..0x80) = bytes.get(*at) {
        *at += 1;
        return Ok(u64::from(*byte));
    }
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or_else(|| bad(message, "it is cut off"))?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(bad(message, "a number is too long"))
}

fn fixed64(message: &'static MessageSchema, bytes: &[u8], at: &mut usize) -> Result<u64, TranscodeError> {
    let eight = bytes[*at..]
        .first_chunk()
        .ok_or_else(|| bad(message, "it is cut off"))?;
    *at += 8;
    Ok(u64::from_le_bytes(*eight))
}

fn utf8<'b>(message: &'static MessageSchema, bytes: &'b [u8]) -> Result<&'b str, TranscodeError> {
    std::str::from_utf8(bytes).map_err(|error| bad(message, error.to_string()))
}

/// Whether anything of a text is escaped in JSON. It is not left early, so that many bytes are looked at in one.
fn has_escapes(text: &[u8]) -> bool {
    let is_escaped = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    text.iter().fold(false, |found, byte| found | is_escaped(*byte))
}

fn read<T: prost::Message + Default>(message: &'static MessageSchema, bytes: &[u8]) -> Result<T, TranscodeError> {
    T::decode(bytes).map_err(|error| bad(message, error.to_string()))
}

fn bad(message: &'static MessageSchema, why: impl Into<String>) -> TranscodeError {
    TranscodeError {
        message: message.full_name,
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::api::core::v1::{ConfigMap, Pod};
    use crate::api::meta::v1::{FieldsV1, ManagedFieldsEntry};
    use crate::json;
    use crate::schema;

    fn pod(metadata: &[u8]) -> Vec<u8> {
        [&[10, u8::try_from(metadata.len()).unwrap()][..], metadata].concat()
    }

    fn transcoded(kind: &str, protobuf: &[u8]) -> Result<String, TranscodeError> {
        let mut text = Vec::new();
        transcode(schema::kind("", "v1", kind).unwrap(), protobuf, true, &mut text)?;
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn what_comes_twice_is_read_as_any_reader_does() {
        // Metadata that is said in two parts, the second with a name again; and a map with a key given twice, out of order.
        let parts = [pod(b"\x0a\x03web\x1a\x07default"), pod(b"\x0a\x03api\x32\x0242")].concat();
        let data = [
            &b"\x12\x06\x0a\x01b\x12\x011"[..],
            b"\x12\x06\x0a\x01a\x12\x011",
            b"\x12\x06\x0a\x01b\x12\x012",
            b"\x12\x03\x0a\x01c",
        ]
        .concat();
        let read = Pod::decode(parts.as_slice()).unwrap();
        assert_eq!(
            transcoded("Pod", &parts).unwrap().into_bytes(),
            json::encode(&read).unwrap()
        );
        let read = ConfigMap::decode(data.as_slice()).unwrap();
        assert_eq!(read.data["b"], "2");
        assert_eq!(
            transcoded("ConfigMap", &data).unwrap().into_bytes(),
            json::encode(&read).unwrap()
        );
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let unknown = b"\xa0\x3e\x01\xa9\x3e\x01\x02\x03\x04\x05\x06\x07\x08\xb2\x3e\x02hi";
        let all = [unknown.as_slice(), &pod(b"\x0a\x03web")].concat();
        assert_eq!(transcoded("Pod", &all), transcoded("Pod", &pod(b"\x0a\x03web")));
    }

    #[test]
    fn what_is_no_such_message_is_an_error() {
        for (bytes, why) in [
            (&b"\x0a\x05\x0a"[..], "it is cut off"),
            (b"\x0a", "it is cut off"),
            (b"\x09\x00", "it is cut off"),
            (b"\x0b", "wire type 3"),
            (b"\x08\x01", "a message is a number"),
            (b"\x0a\x03\x0a\x01\xff", "utf-8"),
            (b"\x0a\x02\x08\x01", "another type"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "too long"),
        ] {
            let error = transcoded("Pod", bytes).expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn what_is_kept_as_json_is_written_in_the_order_of_its_keys() {
        for (raw, expected) in [
            (r#"{"f:a":{},"f:b":{"k:{\"name\":\"x\"}":{}}}"#, None),
            (r#"{ "b": 1.50, "a": "\u0041\n" }"#, Some(r#"{"a":"A\n","b":1.5}"#)),
            (r#"[1, {"b": 1, "a": 2, "b": 3}]"#, Some(r#"[1,{"a":2,"b":3}]"#)),
            ("null", None),
        ] {
            let mut pod = Pod::default();
            let fields = FieldsV1 {
                raw: raw.as_bytes().to_vec().into(),
            };
            pod.metadata.get_or_insert_default().managed_fields = vec![ManagedFieldsEntry {
                fields_v1: Some(fields),
                ..ManagedFieldsEntry::default()
            }];
            let text = transcoded("Pod", &pod.encode_to_vec()).unwrap();
            let expected = format!("\"fieldsV1\":{}", expected.unwrap_or(raw));
            assert!(text.contains(&expected), "{text}");
            assert_eq!(text.into_bytes(), json::encode(&pod).unwrap());
        }
    }

    #[test]
    fn texts_are_escaped_where_they_must_be() {
        for text in [
            "",
            "plain and longer than sixteen",
            "ä\u{7f}\u{2028}",
            "a\"b",
            "a\\b",
            "\u{1f}",
            "tab\tand\nline\0",
        ] {
            let mut map = ConfigMap::default();
            map.data.insert(text.to_owned(), text.to_owned());
            let written = transcoded("ConfigMap", &map.encode_to_vec()).unwrap();
            assert_eq!(written.into_bytes(), json::encode(&map).unwrap(), "{text}");
        }
    }

    #[test]
    fn a_list_has_its_objects_without_their_type() {
        let mut text = b"[".to_vec();
        transcode(schema::kind("", "v1", "Pod").unwrap(), &pod(b""), false, &mut text).unwrap();
        let whole = transcoded("Pod", &pod(b"")).unwrap();
        let expected = whole.replace("\"apiVersion\":\"v1\",\"kind\":\"Pod\",", "");
        assert_ne!(whole, expected);
        assert_eq!(String::from_utf8(text).unwrap(), format!("[{expected}"));
    }
}
