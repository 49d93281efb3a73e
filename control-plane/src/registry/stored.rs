//! The stored form of an object, and what is made of it for an answer.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use serde_json::{Map, Value};
use trireme_logic::{
    kind::KindInfo,
    kinds,
    object::{KindOps, Object, ObjectKey},
};
use trireme_proto::{json::transcode, parts};
use trireme_store::kv::{KeyValue, Revision};

use crate::{limits, pipeline::Permit, status::ApiError};

/// Field number of `metadata` in every kind's message.
const METADATA_TAG: u32 = 1;
/// Most bytes of the tag and the length before the metadata.
const METADATA_HEAD_BYTES_MAX: usize = 11;
/// How long JSON is at most, of usual objects, for each byte of protobuf.
const JSON_BYTES_A_BYTE: usize = 3;
/// Field number of `resourceVersion` in the metadata's message.
const RESOURCE_VERSION_TAG: u32 = 6;

/// One version of an object. It is decoded only when somebody looks inside.
#[derive(Clone)]
pub struct Stored {
    /// Of the API version that it is shown in, which need not be the one it is stored in.
    ops: &'static dyn KindOps,
    key: ObjectKey,
    value: Bytes,
    revision: Revision,
    object: OnceLock<Arc<dyn Object>>,
}

/// An object in two pieces.
pub(super) struct Named {
    /// What is named of it, as JSON with its type.
    pub(super) json: Vec<u8>,
    /// The rest, as protobuf; empty if all is named.
    pub(super) rest: Vec<u8>,
}

impl Stored {
    pub(super) fn new(ops: &'static dyn KindOps, key: ObjectKey, value: Bytes, revision: Revision) -> Self {
        Self {
            ops,
            key,
            value,
            revision,
            object: OnceLock::new(),
        }
    }

    /// With the object at hand, which must be what `value` decodes to; it is given its revision here.
    pub(super) fn with_object(mut object: Box<dyn Object>, value: Bytes, revision: Revision) -> Self {
        object.metadata_mut().resource_version = revision_text(revision);
        let stored = Self::new(object.ops(), object.key(), value, revision);
        let _ = stored.object.set(Arc::from(object));
        stored
    }

    /// Shown in the API version of these functions, if they are of the same kind.
    pub(super) fn shown_by(self, ops: &'static dyn KindOps) -> Self {
        if kinds::is_same(ops.stored().info(), self.ops.stored().info()) {
            Self { ops, ..self }
        } else {
            self
        }
    }

    /// Shown in the API version that a request asks for, if it asks for this kind.
    pub(super) fn shown_to(self, permit: &Permit) -> Self {
        match permit.request_info() {
            Some(info) => self.shown_by(info.ops()),
            None => self,
        }
    }

    /// An object that is not stored anywhere, to be shown by `ops` like one that is.
    pub(crate) fn made_up(object: Box<dyn Object>, ops: &'static dyn KindOps, revision: Revision) -> Self {
        let value = object.to_protobuf();
        Self::with_object(object, value, revision).shown_by(ops)
    }

    /// `None` if the key is not one of an object.
    pub(crate) fn of_key_value(kv: &KeyValue) -> Option<Self> {
        let (ops, key) = kinds::parse_storage_key(std::str::from_utf8(&kv.key).ok()?)?;
        Some(Self::new(ops, key, kv.value.clone(), kv.mod_revision))
    }

    /// The facts of its kind.
    #[must_use]
    pub fn kind(&self) -> &'static KindInfo {
        self.ops.info()
    }

    /// The functions of its kind.
    #[must_use]
    pub fn ops(&self) -> &'static dyn KindOps {
        self.ops
    }

    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The store revision of this version. Of a deletion: the revision of the deletion.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn value(&self) -> &Bytes {
        &self.value
    }

    /// A copy of its own, in the stored API version, to be changed.
    ///
    /// # Errors
    /// `InternalError` if the stored bytes are not an object of the kind.
    pub fn decode(&self) -> Result<Box<dyn Object>, ApiError> {
        if let Some(object) = self.object.get() {
            return Ok(object.clone_object());
        }
        self.decode_part(self.value.clone())
    }

    /// The object that a part of its bytes makes.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub(crate) fn decode_part(&self, part: Bytes) -> Result<Box<dyn Object>, ApiError> {
        let decoded = self.ops.stored().from_protobuf(part);
        let mut object = decoded.map_err(|error| self.undecodable(&error))?;
        object.metadata_mut().resource_version = revision_text(self.revision);
        Ok(object)
    }

    /// The object in the stored API version, decoded once.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn object(&self) -> Result<&Arc<dyn Object>, ApiError> {
        if let Some(object) = self.object.get() {
            return Ok(object);
        }
        let object = Arc::from(self.decode()?);
        Ok(self.object.get_or_init(|| object))
    }

    /// Kubernetes protobuf, in the API version that it is shown in. That of the stored one is made without decoding.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn to_protobuf(&self) -> Result<Bytes, ApiError> {
        if self.is_shown_as_stored() {
            Ok(with_revision(&self.value, self.revision))
        } else {
            Ok(self.ops.protobuf_of(&**self.object()?))
        }
    }

    /// Kubernetes JSON, in the API version that it is shown in.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn to_json(&self) -> Result<Vec<u8>, ApiError> {
        let mut text = Vec::with_capacity(self.value.len() * JSON_BYTES_A_BYTE);
        self.write_json(true, &mut text)?;
        Ok(text)
    }

    /// What a document names of the object, and the rest of it. `None` if it cannot be taken apart: it is shown in another version
    /// than it is stored in, or the document is about the whole of it.
    pub(super) fn named_by(&self, document: &Map<String, Value>) -> Option<Result<Named, ApiError>> {
        let schema = self.ops.schema().filter(|_| self.is_shown_as_stored())?;
        let pieces = parts::named_by(schema, &with_revision(&self.value, self.revision), document)?;
        let mut json = Vec::new();
        let written = transcode(schema, &pieces.named, true, &mut json).map_err(|error| self.undecodable(&error));
        let rest = pieces.rest;
        Some(written.map(|()| Named { json, rest }))
    }

    /// Writes the same behind what `text` holds, as it stands in a list, where what its objects are is said once.
    ///
    /// # Errors
    /// As [`decode`](Self::decode). Then `text` may have half an object behind it.
    pub fn write_json_in_list(&self, text: &mut Vec<u8>) -> Result<(), ApiError> {
        self.write_json(false, text)
    }

    /// Of the stored version it is made without decoding.
    fn write_json(&self, has_type: bool, text: &mut Vec<u8>) -> Result<(), ApiError> {
        let schema = self.ops.schema();
        match schema.filter(|_| self.is_shown_as_stored()) {
            Some(schema) => transcode(schema, &with_revision(&self.value, self.revision), has_type, text)
                .map_err(|error| self.undecodable(&error)),
            None => {
                let json = self
                    .ops
                    .json_of(&**self.object()?)
                    .map_err(|error| self.undecodable(&error))?;
                text.extend(if has_type {
                    json
                } else {
                    without_type(self.kind(), json)
                });
                Ok(())
            }
        }
    }

    fn is_shown_as_stored(&self) -> bool {
        kinds::is_same(self.ops.info(), self.ops.stored().info())
    }

    fn undecodable(&self, error: &dyn std::fmt::Display) -> ApiError {
        let what = format!("the stored {} {} is not readable", self.kind().singular, self.key);
        ApiError::internal(what).context(format_args!("at revision {}: {error}", self.revision))
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} @{}", self.kind().kind, self.key, self.revision)
    }
}

/// Nothing for 0: what a dry run made is stored nowhere.
pub(super) fn revision_text(revision: Revision) -> String {
    if revision == 0 {
        String::new()
    } else {
        revision.to_string()
    }
}

fn without_type(info: &KindInfo, json: Vec<u8>) -> Vec<u8> {
    let head = format!(
        "{{\"apiVersion\":\"{}\",\"kind\":\"{}\",",
        kinds::api_version(info),
        info.kind
    );
    match json.strip_prefix(head.as_bytes()) {
        Some(rest) => [b"{", rest].concat(),
        None => json,
    }
}

/// The stored form of an object: without its revision, within the size limit.
pub(super) fn encode(object: &mut dyn Object) -> Result<Bytes, ApiError> {
    object.metadata_mut().resource_version.clear();
    let value = object.to_protobuf();
    if value.len() > limits::OBJECT_MAX_BYTES {
        let (info, limit) = (object.info(), limits::OBJECT_MAX_BYTES);
        return Err(ApiError::too_large(format!(
            "{} \"{}\" is too large: {} bytes are more than the limit of {limit}",
            info.plural,
            object.metadata().name,
            value.len()
        )));
    }
    Ok(value)
}

/// Adds the revision to a stored object without decoding it: as one more field of its metadata, which comes first in what we
/// store. Should it not, a second `metadata` with nothing else does: every protobuf reader merges the two.
fn with_revision(value: &Bytes, revision: Revision) -> Bytes {
    if revision == 0 {
        return value.clone();
    }
    let text = revision_text(revision);
    // A decimal revision has at most 19 digits, so its length takes one byte.
    let added = 2 + text.len();
    let (metadata, rest) = split_metadata(value).unwrap_or((&[], value));
    let mut bytes = BytesMut::with_capacity(value.len() + added + METADATA_HEAD_BYTES_MAX);
    encode_key(METADATA_TAG, WireType::LengthDelimited, &mut bytes);
    encode_varint((metadata.len() + added) as u64, &mut bytes);
    bytes.put_slice(metadata);
    encode_key(RESOURCE_VERSION_TAG, WireType::LengthDelimited, &mut bytes);
    encode_varint(text.len() as u64, &mut bytes);
    bytes.put_slice(text.as_bytes());
    bytes.put_slice(rest);
    bytes.freeze()
}

/// The metadata of a stored object and what follows it, if it begins with its metadata.
fn split_metadata(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = value;
    let (tag, wire_type) = decode_key(&mut rest).ok()?;
    if (tag, wire_type) != (METADATA_TAG, WireType::LengthDelimited) {
        return None;
    }
    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use trireme_logic::testing::mk_pod;
    use trireme_proto::api::core::v1::Pod;

    use super::*;

    #[test]
    fn the_revision_is_filled_in_without_decoding() {
        let mut pod = mk_pod("shop", "web");
        let value = encode(&mut pod).expect("encoded");
        for revision in [1, 12_345, i64::MAX] {
            let stored = Stored::new(
                crate::registry::ops_of("", "pods"),
                ObjectKey::new("shop", "web"),
                value.clone(),
                revision,
            );
            let read = Pod::decode(stored.to_protobuf().expect("stored so")).expect("decoded");
            let mut expected = pod.clone();
            expected.metadata.as_mut().expect("present").resource_version = revision.to_string();
            assert_eq!(read, expected);
            let shown = stored.to_json().expect("stored so");
            assert_eq!(shown, trireme_proto::json::encode(&expected).expect("JSON"));
            let decoded = stored.object().expect("decoded");
            assert_eq!(decoded.downcast_ref::<Pod>(), Some(&expected));
        }
    }

    #[test]
    fn the_revision_is_filled_in_wherever_the_metadata_stands() {
        // A status, then metadata: another order than ours; and no metadata at all.
        let apart = b"\x1a\x02\x0a\x00\x0a\x05\x0a\x03web";
        for (value, name) in [(&apart[..], "web"), (b"", ""), (b"\x0a\x00", "")] {
            let bytes = with_revision(&Bytes::copy_from_slice(value), 7);
            let metadata = Pod::decode(bytes).expect("decoded").metadata.expect("present");
            assert_eq!(
                (metadata.name.as_str(), metadata.resource_version.as_str()),
                (name, "7")
            );
        }
    }

    #[test]
    fn objects_have_a_size_limit() {
        let mut pod = mk_pod("shop", "web");
        let mut encoded = |length: usize| {
            let annotations = &mut pod.metadata.as_mut().expect("present").annotations;
            annotations.insert("note".into(), "x".repeat(length));
            encode(&mut pod)
        };
        let near = limits::OBJECT_MAX_BYTES - 10_000;
        let beside = encoded(near).expect("small enough").len() - near;
        let most = limits::OBJECT_MAX_BYTES - beside;
        assert_eq!(encoded(most).expect("at the limit").len(), limits::OBJECT_MAX_BYTES);
        let error = encoded(most + 1).expect_err("refused");
        assert_eq!(error.reason(), crate::status::Reason::RequestEntityTooLarge);
    }
}
