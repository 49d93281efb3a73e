//! Objects of any kind behind one type, for code that treats all kinds alike.
//!
//! [`Object`] is an object, [`KindOps`] are the functions of a kind. Both are implemented once, for
//! every [`Kind`].

use std::{any::Any, fmt, marker::PhantomData};

use bytes::Bytes;
use trireme_proto::{
    api::meta::v1::{ObjectMeta, Time},
    json::{DecodeError, TypeMeta, decode, decode_value, encode, encode_value},
    schema::{self, MessageSchema},
};

use crate::{
    apply::{self, FieldSet},
    field_error::FieldErrors,
    kind::{Kind, KindInfo, Scale},
    kinds,
};

/// An object of any kind.
pub trait Object: Any + fmt::Debug + Send + Sync {
    /// The functions of its kind.
    fn ops(&self) -> &'static dyn KindOps;
    /// The constant facts of its kind.
    fn info(&self) -> &'static KindInfo;
    /// Its metadata. Decoding makes sure that there is one.
    fn metadata(&self) -> &ObjectMeta;
    /// Its metadata.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    /// Kubernetes protobuf.
    fn to_protobuf(&self) -> Bytes;
    /// Kubernetes JSON, with `apiVersion` and `kind`.
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error>;
    /// The same, not as text.
    fn to_json_value(&self) -> Result<serde_json::Value, serde_json::Error>;
    /// Its fields, as whoever creates it comes to own them. See [`new_fields`](crate::apply::new_fields()).
    fn new_fields(&self) -> Result<FieldSet, serde_json::Error>;
    /// A copy.
    fn clone_object(&self) -> Box<dyn Object>;
    /// See [`Kind::cells`].
    fn cells(&self, now: Time) -> Vec<String>;
    /// See [`Kind::selectable_field`].
    fn selectable_field(&self, path: &str) -> Option<String>;
    /// See [`Kind::scale`].
    fn scale(&self) -> Option<Scale>;
    /// See [`Kind::set_replicas`].
    fn set_replicas(&mut self, replicas: i32);
    /// See [`Kind::graceful_deletion_seconds`].
    fn graceful_deletion_seconds(&self, requested: Option<i64>) -> Option<i64>;
    /// See [`Kind::set_defaults`].
    fn set_defaults(&mut self);
    /// See [`Kind::prepare_create`].
    fn prepare_create(&mut self);
    /// See [`Kind::forget_identity`].
    fn forget_identity(&mut self);
    /// See [`Kind::prepare_update`]. `old` is of the same kind.
    fn prepare_update(&mut self, old: &dyn Object);
    /// See [`Kind::prepare_status_update`]. `old` is of the same kind.
    fn prepare_status_update(&mut self, old: &dyn Object);
    /// See [`Kind::prepare_part_update`]. `old` is of the same kind.
    fn prepare_part_update(&mut self, part: &str, old: &dyn Object);
    /// See [`Kind::stamp`]. `old` is of the same kind.
    fn stamp(&mut self, old: Option<&dyn Object>, now: Time);
    /// See [`Kind::validate`].
    fn validate(&self, errors: &mut FieldErrors);
    /// See [`Kind::validate_create`].
    fn validate_create(&self, errors: &mut FieldErrors);
    /// See [`Kind::validate_update`]. `old` is of the same kind.
    fn validate_update(&self, old: &dyn Object, errors: &mut FieldErrors);
    /// See [`Kind::validate_status_update`]. `old` is of the same kind.
    fn validate_status_update(&self, old: &dyn Object, errors: &mut FieldErrors);
    /// See [`Kind::validate_part_update`]. `old` is of the same kind.
    fn validate_part_update(&self, part: &str, old: &dyn Object, errors: &mut FieldErrors);
    /// For downcasts.
    fn as_any(&self) -> &dyn Any;
    /// For downcasts.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// The functions of a kind that need no object.
#[expect(
    clippy::wrong_self_convention,
    reason = "they make objects of the kind that `self` stands for"
)]
pub trait KindOps: Send + Sync {
    /// The constant facts.
    fn info(&self) -> &'static KindInfo;
    /// The functions of the version that objects are stored in: this one, unless it is one of the further
    /// [versions](crate::version). Every object that these functions take or give is of the stored version.
    fn stored(&self) -> &'static dyn KindOps;
    /// Decodes Kubernetes protobuf.
    fn from_protobuf(&self, bytes: Bytes) -> Result<Box<dyn Object>, prost::DecodeError>;
    /// Decodes Kubernetes JSON. Unknown fields are left to the caller's deserializer (see `serde_ignored`).
    fn from_json_value(&self, json: serde_json::Value) -> Result<Box<dyn Object>, serde_json::Error>;
    /// Decodes Kubernetes JSON text and calls `unknown` with the path of each unknown field.
    fn from_json(&self, json: &[u8], unknown: &mut dyn FnMut(String)) -> Result<Box<dyn Object>, JsonError>;
    /// The Kubernetes JSON of an object, in this version. `object` is of the stored version of the kind.
    fn json_of(&self, object: &dyn Object) -> Result<Vec<u8>, serde_json::Error> {
        object.to_json()
    }
    /// The Kubernetes protobuf of an object, in this version. `object` is of the stored version of the kind.
    fn protobuf_of(&self, object: &dyn Object) -> Bytes {
        object.to_protobuf()
    }
    /// Checks what only a new object that came in this version must be. `object` is of the stored version of the kind.
    fn validate_create_in_version(&self, _object: &dyn Object, _errors: &mut FieldErrors) {}
    /// The schema of the kind.
    fn schema(&self) -> Option<&'static MessageSchema>;
}

/// Why JSON was not an object of the kind.
#[derive(Debug, thiserror::Error)]
#[error("{path}{}{source}", if .path.is_empty() { "" } else { ": " })]
pub struct JsonError {
    /// JSON path of the field at fault; empty for the whole.
    pub path: String,
    /// What was wrong.
    #[source]
    pub source: serde_json::Error,
}

/// The one implementation of [`KindOps`].
pub struct OpsOf<K>(PhantomData<fn() -> K>);

impl<K> OpsOf<K> {
    /// The functions of `K`.
    #[expect(clippy::new_without_default, reason = "used in statics only")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<K: Kind> Object for K {
    fn ops(&self) -> &'static dyn KindOps {
        const { &OpsOf::<K>::new() }
    }

    fn info(&self) -> &'static KindInfo {
        const { &K::INFO }
    }

    fn metadata(&self) -> &ObjectMeta {
        crate::kind::metadata_of(self)
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        self.metadata_or_default()
    }

    fn to_protobuf(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        encode(self)
    }

    fn to_json_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        encode_value(self)
    }

    fn new_fields(&self) -> Result<FieldSet, serde_json::Error> {
        apply::new_fields(self.ops().schema(), self)
    }

    fn clone_object(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn cells(&self, now: Time) -> Vec<String> {
        Kind::cells(self, now)
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        Kind::selectable_field(self, path)
    }

    fn scale(&self) -> Option<Scale> {
        Kind::scale(self)
    }

    fn set_replicas(&mut self, replicas: i32) {
        Kind::set_replicas(self, replicas);
    }

    fn graceful_deletion_seconds(&self, requested: Option<i64>) -> Option<i64> {
        Kind::graceful_deletion_seconds(self, requested)
    }

    fn set_defaults(&mut self) {
        Kind::set_defaults(self);
    }

    fn prepare_create(&mut self) {
        Kind::prepare_create(self);
    }

    fn forget_identity(&mut self) {
        Kind::forget_identity(self);
    }

    fn prepare_update(&mut self, old: &dyn Object) {
        Kind::prepare_update(self, same_kind(old));
    }

    fn prepare_status_update(&mut self, old: &dyn Object) {
        Kind::prepare_status_update(self, same_kind(old));
    }

    fn prepare_part_update(&mut self, part: &str, old: &dyn Object) {
        Kind::prepare_part_update(self, part, same_kind(old));
    }

    fn stamp(&mut self, old: Option<&dyn Object>, now: Time) {
        Kind::stamp(self, old.map(same_kind), now);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        Kind::validate(self, errors);
    }

    fn validate_create(&self, errors: &mut FieldErrors) {
        Kind::validate_create(self, errors);
    }

    fn validate_update(&self, old: &dyn Object, errors: &mut FieldErrors) {
        Kind::validate_update(self, same_kind(old), errors);
    }

    fn validate_status_update(&self, old: &dyn Object, errors: &mut FieldErrors) {
        Kind::validate_status_update(self, same_kind(old), errors);
    }

    fn validate_part_update(&self, part: &str, old: &dyn Object, errors: &mut FieldErrors) {
        Kind::validate_part_update(self, part, same_kind(old), errors);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl<K: Kind> KindOps for OpsOf<K> {
    fn info(&self) -> &'static KindInfo {
        const { &K::INFO }
    }

    fn stored(&self) -> &'static dyn KindOps {
        const { &Self::new() }
    }

    fn from_protobuf(&self, bytes: Bytes) -> Result<Box<dyn Object>, prost::DecodeError> {
        K::decode(bytes).map(with_metadata)
    }

    fn from_json_value(&self, json: serde_json::Value) -> Result<Box<dyn Object>, serde_json::Error> {
        let decoded =
            check_type(&K::INFO, &type_meta_of(&json)).and_then(|()| decode_value::<K>(&json).map_err(JsonError::from));
        decoded
            .map(|decoded| with_metadata(decoded.value))
            .map_err(serde::de::Error::custom)
    }

    fn from_json(&self, json: &[u8], unknown: &mut dyn FnMut(String)) -> Result<Box<dyn Object>, JsonError> {
        check_type(&K::INFO, &TypeMeta::peek(json)?)?;
        let decoded = decode::<K>(json)?;
        decoded.unknown_fields.into_iter().for_each(unknown);
        Ok(with_metadata(decoded.value))
    }

    fn schema(&self) -> Option<&'static MessageSchema> {
        schema::kind(K::INFO.group, K::INFO.version, K::INFO.kind)
    }
}

impl From<DecodeError> for JsonError {
    fn from(error: DecodeError) -> Self {
        Self {
            path: error.path,
            source: serde::de::Error::custom(error.message),
        }
    }
}

/// Makes sure that an object has metadata, which everything else relies on.
pub(crate) fn with_metadata<K: Kind>(mut object: K) -> Box<dyn Object> {
    object.metadata_or_default();
    Box::new(object)
}

/// What a JSON object says that it is.
pub(crate) fn type_meta_of(json: &serde_json::Value) -> TypeMeta {
    let name = |field: &str| {
        let text = json.get(field).and_then(serde_json::Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    TypeMeta {
        api_version: name("apiVersion"),
        kind: name("kind"),
    }
}

/// An object that says what it is must say that it is of this kind.
pub(crate) fn check_type(info: &KindInfo, named: &TypeMeta) -> Result<(), JsonError> {
    let api_version = kinds::api_version(info);
    for (path, given, expected) in [
        ("apiVersion", &named.api_version, api_version.as_str()),
        ("kind", &named.kind, info.kind),
    ] {
        if !given.is_empty() && given != expected {
            let source = serde::de::Error::custom(format_args!("is {given:?}, expected {expected:?}"));
            return Err(JsonError {
                path: path.into(),
                source,
            });
        }
    }
    Ok(())
}

/// The older version of an object, which the registry reads under the same key and so is of the same kind.
fn same_kind<K: Kind>(old: &dyn Object) -> &K {
    old.downcast_ref().expect("two versions of one object are of one kind")
}

impl dyn Object {
    /// The object as a `K`, if that is its kind.
    pub fn downcast_ref<K: Kind>(&self) -> Option<&K> {
        self.as_any().downcast_ref()
    }

    /// The object as a `K`, if that is its kind.
    pub fn downcast_mut<K: Kind>(&mut self) -> Option<&mut K> {
        self.as_any_mut().downcast_mut()
    }

    /// `namespace/name`, or the name alone.
    pub fn key(&self) -> ObjectKey {
        let meta = self.metadata();
        ObjectKey {
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        }
    }
}

/// Names an object of a known kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectKey {
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// A key.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}
