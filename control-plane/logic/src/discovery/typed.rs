//! A message with the name of its kind, and its two encodings.

use prost::Message;
use serde::Serialize;

/// What Kubernetes' protobuf begins with.
pub const PROTOBUF_MAGIC: &[u8] = b"k8s\0";

/// A message that says what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Typed<T> {
    /// Kind.
    pub kind: &'static str,
    /// `group/version`; the two oldest documents have none.
    #[serde(rename = "apiVersion", skip_serializing_if = "str::is_empty")]
    pub api_version: &'static str,
    /// The message.
    #[serde(flatten)]
    pub body: T,
}

/// What protobuf wraps every message in; `runtime.Unknown` in Kubernetes.
#[derive(Clone, PartialEq, Eq, Message)]
struct Envelope {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

impl<T: Message + Serialize> Typed<T> {
    /// The message as JSON.
    ///
    /// # Panics
    /// Never: texts, lists and messages of them always have JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a document of texts has JSON")
    }

    /// The message as Kubernetes' protobuf.
    pub fn to_protobuf(&self) -> Vec<u8> {
        let envelope = Envelope {
            type_meta: Some(TypeMeta {
                // In protobuf, even the oldest documents name their version.
                api_version: if self.api_version.is_empty() {
                    "v1".to_owned()
                } else {
                    self.api_version.to_owned()
                },
                kind: self.kind.to_owned(),
            }),
            raw: self.body.encode_to_vec(),
        };
        let mut bytes = PROTOBUF_MAGIC.to_vec();
        envelope
            .encode(&mut bytes)
            .expect("a vector takes as much as it is given");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::messages::GroupVersionKind;

    #[test]
    fn protobuf_is_wrapped() {
        let body = GroupVersionKind {
            group: "g".to_owned(),
            version: "v".to_owned(),
            kind: "K".to_owned(),
        };
        let typed = Typed {
            kind: "Name",
            api_version: "meta/v1",
            body: body.clone(),
        };
        let bytes = typed.to_protobuf();
        let envelope = Envelope::decode(bytes.strip_prefix(PROTOBUF_MAGIC).expect("magic")).expect("an envelope");
        let names = envelope.type_meta.expect("names");
        assert_eq!((names.api_version.as_str(), names.kind.as_str()), ("meta/v1", "Name"));
        assert_eq!(
            GroupVersionKind::decode(envelope.raw.as_slice()).expect("decodes"),
            body
        );
        let json = String::from_utf8(typed.to_json()).expect("text");
        assert_eq!(
            json,
            r#"{"kind":"Name","apiVersion":"meta/v1","group":"g","version":"v","kind":"K"}"#
        );
    }
}
