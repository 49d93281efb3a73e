//! What the control plane must know of a kind, and how one kind is added.
//!
//! A kind is one `impl Kind` in one file of [`kinds`](crate::kinds) and one line in
//! [`kinds::KINDS`](crate::kinds::KINDS). From these follow its storage key, routes, discovery,
//! defaulting, validation, table columns, status subresource and field selectors.

use serde::{Serialize, de::DeserializeOwned};
use trireme_proto::{
    TypedObject,
    api::meta::v1::{ObjectMeta, Time},
};

use crate::field_error::FieldErrors;

/// The constant facts of a kind. Group, version and kind come from [`TypedObject`].
#[derive(Debug)]
pub struct KindInfo {
    /// API group; empty for core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind, such as `Pod`.
    pub kind: &'static str,
    /// Plural resource name, such as `pods`.
    pub plural: &'static str,
    /// Singular name, such as `pod`.
    pub singular: &'static str,
    /// Abbreviations, such as `po`.
    pub short_names: &'static [&'static str],
    /// Groups such as `all`.
    pub categories: &'static [&'static str],
    /// True if objects live in namespaces.
    pub namespaced: bool,
    /// Subresources served: `status`, `scale`, `binding`, `log`, `approval`.
    pub subresources: &'static [&'static str],
    /// Table columns: the cells of [`Kind::cells`] answer to these. The name comes before them, unless one of
    /// them is called `Name` itself.
    pub columns: &'static [ColumnDefinition],
    /// Field selector paths served beside `metadata.name` and `metadata.namespace`.
    pub selectable_fields: &'static [&'static str],
    /// How names are checked.
    pub name_rule: NameRule,
}

/// One table column.
#[derive(Debug)]
pub struct ColumnDefinition {
    /// Heading.
    pub name: &'static str,
    /// 0: always shown. Higher: only in the wide view.
    pub priority: i32,
    /// What it means.
    pub description: &'static str,
}

/// How the names of a kind's objects are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, at most 253 bytes.
    DnsSubdomain,
    /// RFC 1123 label, at most 63 bytes.
    DnsLabel,
    /// RFC 1035 label: as above, beginning with a letter.
    DnsLabel1035,
    /// A path segment: neither `.` nor `..`, without `/` or `%`.
    PathSegment,
}

/// One kind of object. All functions are pure; `now` and ids are handed in.
pub trait Kind:
    TypedObject
    + prost::Message
    + std::fmt::Debug
    + Default
    + Clone
    + PartialEq
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The constant facts.
    const INFO: KindInfo;

    /// Fills in what the user left out. Idempotent.
    fn set_defaults(&mut self) {}

    /// Prepares a new object: drops what clients may not set (status), sets the first generation.
    fn prepare_create(&mut self) {}

    /// Takes out what [`prepare_create`](Self::prepare_create) made of the object's name and uid, so that it can be
    /// given others.
    fn forget_identity(&mut self) {}

    /// Prepares a new version of `old`: keeps the status of `old`, bumps the generation if the spec changed.
    fn prepare_update(&mut self, _old: &Self) {}

    /// Prepares a status update of `old`: keeps everything of `old` but the status.
    fn prepare_status_update(&mut self, _old: &Self) {}

    /// Prepares an update of `old` through `part`, a subresource of its own kind such as `approval`: keeps
    /// everything of `old` that the subresource is not about.
    fn prepare_part_update(&mut self, _part: &str, _old: &Self) {}

    /// Fills in times that the server sets, in a new object or a change of `old`. Called after the preparations.
    fn stamp(&mut self, _old: Option<&Self>, _now: Time) {}

    /// Checks the object by itself. Metadata is checked for all kinds alike, elsewhere.
    fn validate(&self, _errors: &mut FieldErrors) {}

    /// Checks what only a new object must be; runs after [`validate`](Self::validate).
    fn validate_create(&self, _errors: &mut FieldErrors) {}

    /// Checks the change from `old`: immutable fields.
    fn validate_update(&self, _old: &Self, _errors: &mut FieldErrors) {}

    /// Checks a status update from `old`.
    fn validate_status_update(&self, _old: &Self, _errors: &mut FieldErrors) {}

    /// Checks an update from `old` through `part`.
    fn validate_part_update(&self, _part: &str, _old: &Self, _errors: &mut FieldErrors) {}

    /// The table row without the name: one cell for each of [`KindInfo::columns`].
    fn cells(&self, now: Time) -> Vec<String>;

    /// The value of one of [`KindInfo::selectable_fields`].
    fn selectable_field(&self, _path: &str) -> Option<String> {
        None
    }

    /// Number of replicas wanted, and at present, for the `scale` subresource.
    fn scale(&self) -> Option<Scale> {
        None
    }

    /// Sets the number of replicas wanted.
    fn set_replicas(&mut self, _replicas: i32) {}

    /// Seconds this object may go on after it was deleted, if its kind ends gracefully (pods); `None`
    /// deletes at once. `requested` is the client's wish.
    fn graceful_deletion_seconds(&self, _requested: Option<i64>) -> Option<i64> {
        None
    }
}

/// The state of a scalable object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Wanted.
    pub spec_replicas: i32,
    /// Present.
    pub status_replicas: i32,
    /// Label selector of its pods, as a string.
    pub selector: String,
}

/// The metadata of an object, which every stored object has.
pub fn metadata_of<K: Kind>(object: &K) -> &ObjectMeta {
    object
        .metadata()
        .expect("I9: every object is given metadata when it is decoded")
}
