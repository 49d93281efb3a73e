//! What creates, updates and patches do to the owners of fields.
//!
//! Whoever changes a field owns it from then on, and everybody else loses it. A writer without a manager, such as the
//! control plane's own loops, owns nothing, but what it changes is taken from the others all the same.

use std::collections::BTreeMap;

use serde_json::Value;
use trireme_proto::{
    api::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta, Time},
    schema::MessageSchema,
};

use super::{
    compare::Comparison,
    edit,
    field_set::FieldSet,
    managers::{self, Managed, ManagerId, Managers, Operation, encode_entry, stored_fields},
    part::Part,
    types::Type,
};
use crate::limits;

/// The name of a manager that has none.
pub const UNKNOWN_MANAGER: &str = "unknown";

/// A request, as far as the owners of fields are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The schema of the kind.
    pub schema: Option<&'static MessageSchema>,
    /// The version that it is made in, such as `apps/v1`.
    pub api_version: &'a str,
    /// What of the object it changes.
    pub part: Part,
    /// The present.
    pub now: Time,
}

impl Change<'_> {
    /// The entry of a manager that makes this change.
    pub(super) fn entry_of(&self, manager: &str, operation: Operation) -> ManagerId {
        let name = if manager.is_empty() { UNKNOWN_MANAGER } else { manager };
        ManagerId {
            name: name.to_owned(),
            operation,
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => self.api_version.to_owned(),
            },
            subresource: self.part.subresource().to_owned(),
        }
    }

    /// The owners after a change, if all of them name fields in its version. `None` if that is not so, or if they must be read
    /// for another reason.
    pub(super) fn edited(
        &self,
        manager: Option<&str>,
        entries: &[ManagedFieldsEntry],
        comparison: &Comparison,
    ) -> Option<Vec<ManagedFieldsEntry>> {
        let set = comparison.set();
        let lost = set.union(&comparison.removed);
        let won = self.part.ownable(set);
        let winner = manager.filter(|_| !won.is_empty());
        let winner = winner.map(|manager| self.entry_of(manager, Operation::Update));
        let mut is_there = winner.is_none();
        let mut edited = Vec::with_capacity(entries.len() + 1);
        for entry in entries {
            if entry.api_version != self.api_version || !managers::is_known(entry) {
                return None;
            }
            let wins = winner.as_ref().is_some_and(|winner| winner.is_of(entry));
            let nothing = FieldSet::default();
            let before = stored_fields(entry);
            let fields = edit::edit(before, &lost, if wins { &won } else { &nothing })?;
            if fields == edit::EMPTY {
                continue;
            }
            let mut entry = entry.clone();
            if fields != before {
                entry.fields_v1 = Some(FieldsV1 { raw: fields.into() });
            }
            if wins {
                entry.time = Some(self.now);
                is_there = true;
            }
            edited.push(entry);
        }
        if let Some(winner) = winner.filter(|_| !is_there) {
            edited.push(encode_entry(&winner, &self.managed(won)));
        }
        let updates = edited
            .iter()
            .filter(|entry| entry.operation == Operation::Update.as_str());
        if updates.count() > limits::UPDATE_MANAGERS {
            return None;
        }
        managers::sort(&mut edited);
        Some(edited)
    }

    /// The owners after any change, for which all of them are read.
    pub(super) fn read_and_changed(
        &self,
        manager: Option<&str>,
        entries: &[ManagedFieldsEntry],
        comparison: Comparison,
        old: &Value,
        new: &Value,
    ) -> Vec<ManagedFieldsEntry> {
        let Ok(mut managers) = Managers::decode(entries) else {
            return Vec::new();
        };
        let won = self.part.ownable(comparison.set());
        managers.lose(&self.in_versions(comparison, &managers, old, new));
        if let Some(manager) = manager
            && !won.is_empty()
        {
            managers.win(self.entry_of(manager, Operation::Update), self.managed(won));
            managers.cap_updates();
        }
        managers.encode()
    }

    /// What changed between two versions, of what this change can reach.
    pub(super) fn compare(&self, old: &Value, new: &Value) -> Comparison {
        let comparison = Comparison::of(Type::root(self.schema), old, new);
        comparison.filtered(|set| self.part.reach(set))
    }

    pub(super) fn managed(&self, fields: FieldSet) -> Managed {
        Managed {
            fields,
            api_version: self.api_version.to_owned(),
            time: Some(self.now),
        }
    }
}

/// The owners of a new object whose fields are `fields`, as [`new_fields`](super::new_fields()) finds them: its creator alone.
pub fn owners_of_new(change: &Change<'_>, manager: &str, fields: FieldSet) -> Vec<ManagedFieldsEntry> {
    let fields = change.part.ownable(fields);
    if fields.is_empty() {
        return Vec::new();
    }
    vec![encode_entry(
        &change.entry_of(manager, Operation::Update),
        &change.managed(fields),
    )]
}

/// The owners that a change starts from: those that the new version names, unless it does not understand them or changes
/// only part of the object. None at all if the change asks to forget them, by one entry that says nothing.
pub fn owners_before(part: Part, old: &ObjectMeta, new: &ObjectMeta) -> Vec<ManagedFieldsEntry> {
    let (old, new) = (&old.managed_fields, &new.managed_fields);
    if !part.subresource().is_empty() || new.is_empty() || old == new {
        return old.clone();
    }
    if is_reset(new) {
        return Vec::new();
    }
    match (Managers::decode(old), Managers::decode(new)) {
        // Another program may have written the same in another order.
        (Ok(before), Ok(after)) if before == after => old.clone(),
        // Only what is understood is kept of them: nothing of a client's is stored as it came.
        (_, Ok(after)) => after.encode(),
        (_, Err(_)) => old.clone(),
    }
}

/// Whether the entries ask to forget who owns what: one that says nothing stands for an empty list, which protobuf cannot
/// tell from none.
pub fn is_reset(entries: &[ManagedFieldsEntry]) -> bool {
    matches!(entries, [entry] if *entry == ManagedFieldsEntry::default())
}

/// The owners after a change from `old` to `new`, both JSON without managed fields. An object whose owners are not known, or
/// are not understood, has none afterwards either.
pub fn owners_of_changed(
    change: &Change<'_>,
    manager: Option<&str>,
    entries: &[ManagedFieldsEntry],
    old: &Value,
    new: &Value,
) -> Vec<ManagedFieldsEntry> {
    if entries.is_empty() {
        return Vec::new();
    }
    let comparison = change.compare(old, new);
    if comparison.is_same() {
        return entries.to_vec();
    }
    change
        .edited(manager, entries, &comparison)
        .unwrap_or_else(|| change.read_and_changed(manager, entries, comparison, old, new))
}

impl Managers {
    /// Takes from everybody what was changed or removed, in the version of each. Entries of a version that the kind does
    /// not have go.
    pub(super) fn lose(&mut self, by_version: &BTreeMap<String, Comparison>) {
        let lost = |comparison: &Comparison| comparison.set().union(&comparison.removed);
        let lost: BTreeMap<&str, FieldSet> = by_version
            .iter()
            .map(|(version, comparison)| (version.as_str(), lost(comparison)))
            .collect();
        self.entries.retain(|_, managed| {
            let Some(lost) = lost.get(managed.api_version.as_str()) else {
                return false;
            };
            managed.fields.subtract(lost);
            !managed.fields.is_empty()
        });
    }

    /// Gives fields to a manager, beside what it has.
    pub(super) fn win(&mut self, id: ManagerId, mut won: Managed) {
        if let Some(before) = self.entries.remove(&id) {
            let gained = std::mem::replace(&mut won.fields, before.fields);
            won.fields.add(&gained);
        }
        self.entries.insert(id, won);
    }
}
