//! What Kubernetes puts around its protobuf: four bytes by which it is known, and what kind is inside. Pure.
//!
//! The messages are `k8s.io/apimachinery/pkg/runtime.Unknown` and `meta/v1.WatchEvent`, with their field numbers.

use bytes::{BufMut, Bytes};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

use crate::status::ApiError;

/// With this begins everything that is protobuf.
const MAGIC: &[u8; 4] = b"k8s\0";
/// The field of the object's bytes.
const RAW_TAG: u32 = 2;

/// An object of any kind, not decoded.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Unknown {
    /// What it says that it is.
    #[prost(message, optional, tag = "1")]
    pub(super) type_meta: Option<TypeMeta>,
    /// The kind's own message.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) raw: Bytes,
    /// How `raw` is packed; nothing but empty is known.
    #[prost(string, tag = "3")]
    pub(super) content_encoding: String,
    /// In which form `raw` is; empty for protobuf.
    #[prost(string, tag = "4")]
    pub(super) content_type: String,
}

/// What kind an object is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TypeMeta {
    /// `group/version`.
    #[prost(string, tag = "1")]
    pub(super) api_version: String,
    /// Kind.
    #[prost(string, tag = "2")]
    pub(super) kind: String,
}

/// An event of a watch.
#[derive(Clone, PartialEq, Message)]
struct WatchEvent {
    #[prost(string, tag = "1")]
    event: String,
    #[prost(message, optional, tag = "2")]
    object: Option<RawExtension>,
}

/// An object within another.
#[derive(Clone, PartialEq, Message)]
struct RawExtension {
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
}

/// What stands before an object's bytes, of which there will be `length`.
pub(super) fn head(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let unknown = Unknown {
        type_meta: Some(TypeMeta {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        }),
        ..Unknown::default()
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&unknown.encode_to_vec());
    encode_key(RAW_TAG, WireType::LengthDelimited, &mut bytes);
    encode_varint(length as u64, &mut bytes);
    bytes
}

/// A whole object.
pub(super) fn wrap(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let mut bytes = head(api_version, kind, object.len());
    bytes.extend_from_slice(object);
    bytes
}

/// Takes the envelope off.
///
/// # Errors
/// `BadRequest` if there is none.
pub(super) fn unwrap(body: &Bytes) -> Result<Unknown, ApiError> {
    let Some(inner) = body.strip_prefix(MAGIC.as_slice()) else {
        return Err(ApiError::bad_request(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        ));
    };
    let unknown = Unknown::decode(body.slice_ref(inner))
        .map_err(|error| ApiError::bad_request(format!("the protobuf envelope is not readable: {error}")))?;
    if !unknown.content_encoding.is_empty()
        || !matches!(
            unknown.content_type.as_str(),
            "" | "application/vnd.kubernetes.protobuf"
        )
    {
        return Err(ApiError::bad_request(format!(
            "the protobuf envelope holds {:?} packed as {:?}, which is not read",
            unknown.content_type, unknown.content_encoding
        )));
    }
    Ok(unknown)
}

/// One event of a watch, with its length before it. `object` has its envelope.
pub(super) fn frame(event: &str, object: Vec<u8>) -> Vec<u8> {
    let event = WatchEvent {
        event: event.to_owned(),
        object: Some(RawExtension { raw: object.into() }),
    };
    let length = event.encoded_len();
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&event.encode_to_vec());
    bytes
}

#[cfg(test)]
pub(super) mod testing {
    //! Reading back what was sent.

    use super::*;

    /// The events of a stream: type, kind and bytes of each.
    pub(in super::super) fn events(mut stream: &[u8]) -> Vec<(String, String, Bytes)> {
        let mut events = Vec::new();
        while let Some((length, rest)) = stream.split_at_checked(4) {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            let (frame, rest) = rest.split_at(length);
            stream = rest;
            let event = WatchEvent::decode(frame).expect("an event");
            let object = unwrap(&event.object.unwrap_or_default().raw).expect("an envelope");
            events.push((event.event, object.type_meta.unwrap_or_default().kind, object.raw));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_go_on_and_come_off() {
        for object in [&b""[..], b"abc", &[7; 300]] {
            let read = unwrap(&wrap("apps/v1", "Deployment", object).into()).expect("an envelope");
            let named = read.type_meta.expect("named");
            assert_eq!(
                (named.api_version.as_str(), named.kind.as_str()),
                ("apps/v1", "Deployment")
            );
            assert_eq!(read.raw, object);
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let packed = Unknown {
            content_encoding: "gzip".to_owned(),
            ..Unknown::default()
        };
        let packed = [MAGIC.as_slice(), &packed.encode_to_vec()].concat();
        for body in [&b""[..], b"{}", b"k8s", b"k8s\0\xff", &packed] {
            let error = unwrap(&Bytes::copy_from_slice(body)).expect_err("refused");
            assert_eq!(error.reason(), crate::status::Reason::BadRequest);
        }
    }

    #[test]
    fn events_have_their_length_before_them() {
        let mut stream = frame("ADDED", wrap("v1", "Pod", b"one"));
        stream.extend(frame("DELETED", wrap("v1", "Pod", b"")));
        let events = testing::events(&stream);
        let event = |name: &str, raw: &'static [u8]| (name.to_owned(), "Pod".to_owned(), Bytes::from_static(raw));
        assert_eq!(events, [event("ADDED", b"one"), event("DELETED", b"")]);
    }
}
