//! Owner references and other facts about metadata that all controllers share.

use trireme_proto::api::{
    core::v1::Namespace,
    meta::v1::{ObjectMeta, OwnerReference},
};

use crate::{
    controller::{EventRecord, EventType},
    kind::{Kind, metadata_of},
    kinds::api_version,
    object::{Object, ObjectKey},
    world::World,
};

/// Label that names the template of the pods of a ReplicaSet that a Deployment made.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// The key of an object.
pub fn key_of<K: Kind>(object: &K) -> ObjectKey {
    let meta = metadata_of(object);
    ObjectKey::new(meta.namespace.as_str(), meta.name.as_str())
}

/// The uid of an object.
pub fn uid_of<K: Kind>(object: &K) -> &str {
    &metadata_of(object).uid
}

/// The reference that marks the one controller of an object.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// The name of an object's controller, if that is a `K`.
pub fn controller_named<K: Kind>(meta: &ObjectMeta) -> Option<&OwnerReference> {
    controller_of(meta).filter(|owner| owner.kind == K::INFO.kind && owner.api_version == api_version(&K::INFO))
}

/// A reference that makes `owner` the controller of whatever carries it.
pub fn controller_reference<K: Kind>(owner: &K) -> OwnerReference {
    let meta = metadata_of(owner);
    OwnerReference {
        api_version: api_version(&K::INFO),
        kind: K::INFO.kind.to_owned(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// True if the object is being deleted.
pub fn is_terminating<K: Kind>(object: &K) -> bool {
    metadata_of(object).deletion_timestamp.is_some()
}

/// True if the namespace is being deleted or is not there: nothing may be made in it.
pub fn namespace_closed(world: &World, namespace: &str) -> bool {
    world
        .get::<Namespace>(&ObjectKey::new("", namespace))
        .is_none_or(is_terminating)
}

/// An event about an object of any kind.
pub fn event(object: &dyn Object, event_type: EventType, reason: &str, message: impl Into<String>) -> EventRecord {
    EventRecord {
        api_version: api_version(object.info()),
        kind: object.info().kind.to_owned(),
        key: object.key(),
        uid: object.metadata().uid.clone(),
        event_type,
        reason: reason.to_owned(),
        message: message.into(),
    }
}
