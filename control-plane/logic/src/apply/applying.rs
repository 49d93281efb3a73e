//! Applying a configuration: the part of an object that one manager wants.
//!
//! The configuration is merged into the object, its fields become the manager's, and what the manager applied before and no
//! longer says goes, unless somebody else owns it. What others own is changed only by force.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use trireme_proto::api::meta::v1::ManagedFieldsEntry;

use super::{
    client_side,
    conflict::Conflicts,
    extract::{InvalidConfig, check_config, fields_of},
    field_set::FieldSet,
    managers::{InvalidEntry, Managed, Managers, Operation},
    merge::merge,
    new_fields::new_fields,
    remove::{remove, with_fields_above},
    types::Type,
    update::Change,
};

/// Owns what an object had before anybody applied to it, if nobody is known to own anything of it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// A configuration, and how it is applied.
#[derive(Debug, Clone, Copy)]
pub struct Config<'a> {
    /// The configuration: JSON of an object, whose values are of the types of their fields.
    pub json: &'a Map<String, Value>,
    /// Who applies it.
    pub manager: &'a str,
    /// Take over what others own.
    pub force: bool,
}

/// What applying came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object's JSON, without managed fields and not yet defaulted.
    pub object: Value,
    /// Who owns its fields now. The same as before, with their times, if nothing changed.
    pub managers: Vec<ManagedFieldsEntry>,
}

/// Why a configuration was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It says itself who owns what.
    #[error("metadata.managedFields must be nil")]
    HasManagedFields,
    /// It has fields that the schema does not know, or items that cannot be told apart.
    #[error("{0}")]
    Invalid(#[source] InvalidConfig),
    /// Others own fields that it would change.
    #[error("{0}")]
    Conflict(Conflicts),
    /// The object's own entries are not understood.
    #[error("failed to decode managed fields")]
    UnreadableManagers(#[source] InvalidEntry),
    /// The object has no JSON.
    #[error("the object has no JSON")]
    Unwritable(#[source] serde_json::Error),
}

/// Applies a configuration to an object, whose JSON is without managed fields; to an empty one if there is none yet.
///
/// # Errors
/// See [`ApplyError`].
pub fn apply(
    change: &Change<'_>,
    config: Config<'_>,
    live: Option<&Value>,
    entries: &[ManagedFieldsEntry],
) -> Result<Applied, ApplyError> {
    if managed_fields_of(config.json).is_some_and(|entries| !entries.is_null()) {
        return Err(ApplyError::HasManagedFields);
    }
    let of_type = Type::root(change.schema);
    check_config(of_type, config.json).map_err(ApplyError::Invalid)?;
    let mut managers = Managers::decode(entries).map_err(ApplyError::UnreadableManagers)?;
    if let Some(live) = live
        && managers.entries.is_empty()
    {
        own_all(change, live, &mut managers)?;
    }
    let empty = Value::Object(Map::new());
    let applying = Applying {
        change,
        config,
        of_type,
        live: live.unwrap_or(&empty),
        managers: &managers,
    };
    let (mut object, managers) = match applying.merged(config.force) {
        Err(conflicts) if config.manager == client_side::APPLIER => {
            let allowed = client_side::allowed_conflicts(change, applying.live).unwrap_or_default();
            let conflicts = conflicts.except(&allowed);
            if conflicts.is_empty() {
                applying.merged(true)
            } else {
                Err(conflicts)
            }
        }
        merged => merged,
    }
    .map_err(ApplyError::Conflict)?;
    if config.manager == client_side::APPLIER {
        client_side::follow(&mut object, config.json);
    }
    let id = change.entry_of(config.manager, Operation::Apply);
    Ok(Applied {
        managers: settle_time(change, live, entries, &object, managers, &id),
        object,
    })
}

/// Keeps the entries as they are if nothing changed, so that applying again writes nothing.
fn settle_time(
    change: &Change<'_>,
    live: Option<&Value>,
    before: &[ManagedFieldsEntry],
    object: &Value,
    mut managers: Managers,
    id: &super::managers::ManagerId,
) -> Vec<ManagedFieldsEntry> {
    if live == Some(object) && super::managers::same_but_times(&managers.encode(), before) {
        return before.to_vec();
    }
    if let Some(managed) = managers.entries.get_mut(id) {
        managed.time = Some(change.now);
    }
    managers.encode()
}

fn managed_fields_of(config: &Map<String, Value>) -> Option<&Value> {
    config.get("metadata")?.get("managedFields")
}

/// Gives all that an object has to a manager of its own, so that the first who applies meets no less than later ones.
fn own_all(change: &Change<'_>, live: &Value, managers: &mut Managers) -> Result<(), ApplyError> {
    let fields = new_fields(change.schema, live).map_err(ApplyError::Unwritable)?;
    let fields = change.part.ownable(fields);
    if !fields.is_empty() {
        let id = change.entry_of(BEFORE_FIRST_APPLY, Operation::Update);
        managers.win(id, change.managed(fields));
    }
    Ok(())
}

/// One configuration, about to be applied.
struct Applying<'a> {
    change: &'a Change<'a>,
    config: Config<'a>,
    of_type: Type,
    live: &'a Value,
    managers: &'a Managers,
}

impl Applying<'_> {
    /// The object with the configuration in it, and who owns what then.
    fn merged(&self, force: bool) -> Result<(Value, Managers), Conflicts> {
        let config = Value::Object(self.config.json.clone());
        let id = self.change.entry_of(self.config.manager, Operation::Apply);
        let mut managers = self.managers.clone();
        let wanted = self.change.part.reach(fields_of(self.of_type, &config));
        let last = managers.entries.get(&id).cloned();
        let managed = Managed {
            time: last.as_ref().and_then(|last| last.time),
            ..self.change.managed(wanted.clone())
        };
        managers.entries.insert(id.clone(), managed);

        let merged = merge(self.of_type, self.live, &config);
        let object = match last {
            Some(last) if last.api_version == self.change.api_version => self.prune(&merged, &last.fields, &managers),
            // What was applied in another version stays, and is nobody's if it is no longer said.
            Some(_) | None => merged,
        };

        managers.entries.remove(&id);
        let comparison = self.change.compare(self.live, &object);
        let by_version = self.change.in_versions(comparison, &managers, self.live, &object);
        let changed: BTreeMap<&str, FieldSet> = by_version
            .iter()
            .map(|(version, comparison)| (version.as_str(), comparison.set()))
            .collect();
        let conflicts = managers
            .entries
            .iter()
            .filter_map(|(owner, managed)| {
                let changed = changed.get(managed.api_version.as_str())?;
                Some((owner.clone(), managed.fields.intersection(changed)))
            })
            .collect();
        let conflicts = Conflicts::of(conflicts);
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        managers.lose(&by_version);
        let owned = self.change.part.ownable(wanted);
        if !owned.is_empty() {
            let time = self.managers.entries.get(&id).and_then(|last| last.time);
            let managed = Managed {
                time,
                ..self.change.managed(owned)
            };
            managers.entries.insert(id, managed);
        }
        Ok((object, managers))
    }

    /// Takes out what the manager applied last time and no longer says, and nobody else owns. What is below a field that
    /// goes, and was not the manager's, keeps the field.
    fn prune(&self, merged: &Value, last: &FieldSet, managers: &Managers) -> Value {
        let of_type = self.of_type;
        let last = with_fields_above(of_type, last);
        let all = with_fields_above(of_type, &fields_of(of_type, merged));
        let owned = managers
            .entries
            .values()
            .filter(|managed| managed.api_version == self.change.api_version)
            .fold(FieldSet::default(), |owned, managed| owned.union(&managed.fields));
        let owned = with_fields_above(of_type, &owned);
        let left_by = |value: &Value| with_fields_above(of_type, &fields_of(of_type, value));

        let pruned = remove(of_type, merged, &last);
        let pruned = remove(of_type, merged, &all.difference(&left_by(&pruned).union(&owned)));
        remove(of_type, merged, &all.difference(&left_by(&pruned)).intersection(&last))
    }
}
