//! Who owns which fields of an object, as its metadata says it.
//!
//! A manager that applies has one entry, whatever version it applies in; one that updates has one for each version. What is
//! set through a subresource is apart.

use std::collections::BTreeMap;

use trireme_proto::api::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};

use super::{
    field_set::FieldSet,
    fields_v1::{self, InvalidFields},
};
use crate::limits;

/// The one form of sets that there is.
pub(super) const FIELDS_TYPE: &str = "FieldsV1";
/// Holds what the managers had whose updates are the oldest, once there are too many.
const ANCIENT: &str = "ancient-changes";

/// How a manager sets fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By applying: it says all that it wants, and gives up what it no longer says.
    Apply,
    /// By creates, updates and patches: it owns what it changed.
    Update,
}

/// What tells one entry from the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManagerId {
    /// The manager's name.
    pub name: String,
    /// How it sets fields.
    pub operation: Operation,
    /// The version that it updates in; empty for what it applies.
    pub api_version: String,
    /// The subresource; empty for the object itself.
    pub subresource: String,
}

/// What one entry says.
#[derive(Debug, Clone, PartialEq)]
pub struct Managed {
    /// The fields.
    pub fields: FieldSet,
    /// The version that the fields' names belong to.
    pub api_version: String,
    /// When the manager last changed something.
    pub time: Option<Time>,
}

/// The entries of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Managers {
    /// By what tells them apart; none of them without fields.
    pub entries: BTreeMap<ManagerId, Managed>,
}

/// Why entries are not understood.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEntry {
    /// Neither applied nor updated.
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    /// No version.
    #[error("apiVersion must not be empty")]
    NoVersion,
    /// Another form of sets.
    #[error("invalid fieldsType {0:?} in a managed fields entry")]
    FieldsType(String),
    /// Not a set.
    #[error("error decoding set")]
    Fields(#[source] InvalidFields),
}

impl Operation {
    /// As it stands in an entry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

impl ManagerId {
    /// Whether an entry is this manager's.
    pub(super) fn is_of(&self, entry: &ManagedFieldsEntry) -> bool {
        let api_version = match self.operation {
            Operation::Apply => "",
            Operation::Update => &entry.api_version,
        };
        self.name == entry.manager
            && self.operation.as_str() == entry.operation
            && self.api_version == api_version
            && self.subresource == entry.subresource
    }
}

impl Managers {
    /// Reads the entries of an object.
    ///
    /// # Errors
    /// The first that is not understood.
    pub fn decode(entries: &[ManagedFieldsEntry]) -> Result<Self, InvalidEntry> {
        entries
            .iter()
            .map(decode_entry)
            .collect::<Result<_, _>>()
            .map(|entries| Self { entries })
    }

    /// As they stand in the metadata: what is applied first, then by time and name.
    pub fn encode(&self) -> Vec<ManagedFieldsEntry> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, managed)| !managed.fields.is_empty())
            .map(|(id, managed)| encode_entry(id, managed))
            .collect();
        sort(&mut entries);
        entries
    }

    /// Merges the oldest updates until at most [`limits::UPDATE_MANAGERS`] are left of them.
    pub(super) fn cap_updates(&mut self) {
        let mut updates: Vec<(i64, ManagerId)> = self
            .entries
            .iter()
            .filter(|(id, _)| id.operation == Operation::Update)
            .map(|(id, managed)| (managed.time.map_or(0, |time| time.seconds), id.clone()))
            .collect();
        let mut count = updates.len();
        updates.sort();
        let mut first_of_version: BTreeMap<String, ManagerId> = BTreeMap::new();
        for (_, id) in updates {
            if count <= limits::UPDATE_MANAGERS {
                break;
            }
            let Some(first) = first_of_version.get(&id.api_version) else {
                first_of_version.insert(id.api_version.clone(), id);
                continue;
            };
            let bucket = ManagerId {
                name: ANCIENT.to_owned(),
                operation: Operation::Update,
                api_version: id.api_version.clone(),
                subresource: String::new(),
            };
            if id == bucket {
                continue;
            }
            if !self.entries.contains_key(&bucket)
                && let Some(managed) = self.entries.remove(first)
            {
                self.entries.insert(bucket.clone(), managed);
            }
            if let (Some(merged), Some(bucket)) = (self.entries.remove(&id), self.entries.get_mut(&bucket)) {
                bucket.fields.add(&merged.fields);
                // Of the two it is the more recent one.
                bucket.time = merged.time;
                count -= 1;
            }
        }
    }
}

/// Puts entries in the order in which they stand in the metadata.
pub(super) fn sort(entries: &mut [ManagedFieldsEntry]) {
    let seconds = |entry: &ManagedFieldsEntry| entry.time.map_or(0, |time| time.seconds);
    entries.sort_by(|one, two| {
        (
            &one.operation,
            seconds(one),
            &one.manager,
            &one.api_version,
            &one.subresource,
        )
            .cmp(&(
                &two.operation,
                seconds(two),
                &two.manager,
                &two.api_version,
                &two.subresource,
            ))
    });
}

/// Whether an entry is of a kind that is known, as all are that are stored.
pub(super) fn is_known(entry: &ManagedFieldsEntry) -> bool {
    operation_of(entry).is_ok() && entry.fields_type == FIELDS_TYPE
}

fn operation_of(entry: &ManagedFieldsEntry) -> Result<Operation, InvalidEntry> {
    [Operation::Apply, Operation::Update]
        .into_iter()
        .find(|operation| operation.as_str() == entry.operation)
        .ok_or(InvalidEntry::Operation)
}

/// The stored form of an entry's fields.
pub(super) fn stored_fields(entry: &ManagedFieldsEntry) -> &[u8] {
    let fields = entry.fields_v1.as_ref();
    fields.map_or(&[], |fields| &fields.raw)
}

fn decode_entry(entry: &ManagedFieldsEntry) -> Result<(ManagerId, Managed), InvalidEntry> {
    let operation = operation_of(entry)?;
    if entry.api_version.is_empty() {
        return Err(InvalidEntry::NoVersion);
    }
    if entry.fields_type != FIELDS_TYPE {
        return Err(InvalidEntry::FieldsType(entry.fields_type.clone()));
    }
    let fields = fields_v1::from_json(stored_fields(entry)).map_err(InvalidEntry::Fields)?;
    let id = ManagerId {
        name: entry.manager.clone(),
        operation,
        api_version: match operation {
            Operation::Apply => String::new(),
            Operation::Update => entry.api_version.clone(),
        },
        subresource: entry.subresource.clone(),
    };
    let managed = Managed {
        fields,
        api_version: entry.api_version.clone(),
        time: entry.time,
    };
    Ok((id, managed))
}

pub(super) fn encode_entry(id: &ManagerId, managed: &Managed) -> ManagedFieldsEntry {
    ManagedFieldsEntry {
        manager: id.name.clone(),
        operation: id.operation.as_str().to_owned(),
        api_version: managed.api_version.clone(),
        time: managed.time,
        fields_type: FIELDS_TYPE.to_owned(),
        fields_v1: Some(FieldsV1 {
            raw: fields_v1::to_json(&managed.fields).into(),
        }),
        subresource: id.subresource.clone(),
    }
}

/// Whether entries differ in nothing but their times.
pub fn same_but_times(one: &[ManagedFieldsEntry], two: &[ManagedFieldsEntry]) -> bool {
    let key = |entry: &ManagedFieldsEntry| ManagedFieldsEntry {
        time: None,
        ..entry.clone()
    };
    // Times decide the order, so it is not compared.
    one.len() == two.len()
        && one.iter().all(|entry| {
            let entry = key(entry);
            two.iter().any(|other| key(other) == entry)
        })
}
