//! Kinds that are served in more than one version.
//!
//! Objects of a kind are stored, defaulted, checked and decided about in one version, that of its
//! [`Kind`]. A further version is one [`Version`] in the kind's file and one line in
//! [`KINDS`](crate::kinds::KINDS). It is met only at the edges: what a client sends in it is converted when it is
//! decoded, and what a client reads in it is converted when it is encoded. Everything between sees the stored form.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use trireme_proto::{
    TypedObject,
    json::{TypeMeta, decode, decode_value, encode},
    schema::{self, MessageSchema},
};

use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo},
    object::{JsonError, KindOps, Object, OpsOf, check_type, type_meta_of, with_metadata},
};

/// A further version of a kind.
pub trait Version: TypedObject + prost::Message + Default + Serialize + DeserializeOwned + 'static {
    /// The version that is stored.
    type Stored: Kind;

    /// The constant facts. Columns and selectable fields are of the stored version, whose functions answer for them.
    const INFO: KindInfo;

    /// The object in this version. Nothing is lost: what the version has no field for goes into annotations.
    fn from_stored(stored: &Self::Stored) -> Self;

    /// The object in the stored version.
    fn into_stored(self) -> Self::Stored;

    /// Checks what only a new object that came in this version must be, beside what all must be.
    fn validate_create(_stored: &Self::Stored, _errors: &mut FieldErrors) {}
}

/// The one implementation of [`KindOps`] for versions.
pub struct VersionOf<V>(PhantomData<fn() -> V>);

impl<V> VersionOf<V> {
    /// The functions of `V`.
    #[expect(clippy::new_without_default, reason = "used in statics only")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<V: Version> KindOps for VersionOf<V> {
    fn info(&self) -> &'static KindInfo {
        const { &V::INFO }
    }

    fn stored(&self) -> &'static dyn KindOps {
        const { &OpsOf::<V::Stored>::new() }
    }

    fn from_protobuf(&self, bytes: Bytes) -> Result<Box<dyn Object>, prost::DecodeError> {
        V::decode(bytes).map(|object| with_metadata(object.into_stored()))
    }

    fn from_json_value(&self, json: serde_json::Value) -> Result<Box<dyn Object>, serde_json::Error> {
        let decoded = check_type(self.info(), &type_meta_of(&json))
            .and_then(|()| decode_value::<V>(&json).map_err(JsonError::from));
        decoded
            .map(|decoded| with_metadata(decoded.value.into_stored()))
            .map_err(serde::de::Error::custom)
    }

    fn from_json(&self, json: &[u8], unknown: &mut dyn FnMut(String)) -> Result<Box<dyn Object>, JsonError> {
        check_type(self.info(), &TypeMeta::peek(json)?)?;
        let decoded = decode::<V>(json)?;
        decoded.unknown_fields.into_iter().for_each(unknown);
        Ok(with_metadata(decoded.value.into_stored()))
    }

    fn json_of(&self, object: &dyn Object) -> Result<Vec<u8>, serde_json::Error> {
        match object.downcast_ref() {
            Some(stored) => encode(&V::from_stored(stored)),
            None => object.to_json(),
        }
    }

    fn protobuf_of(&self, object: &dyn Object) -> Bytes {
        match object.downcast_ref() {
            Some(stored) => V::from_stored(stored).encode_to_vec().into(),
            None => object.to_protobuf(),
        }
    }

    fn validate_create_in_version(&self, object: &dyn Object, errors: &mut FieldErrors) {
        if let Some(stored) = object.downcast_ref() {
            V::validate_create(stored, errors);
        }
    }

    fn schema(&self) -> Option<&'static MessageSchema> {
        schema::kind(V::INFO.group, V::INFO.version, V::INFO.kind)
    }
}
