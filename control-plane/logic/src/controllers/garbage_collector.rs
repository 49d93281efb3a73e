//! Deletes what its owners leave behind, and holds owners until their dependents are dealt with.
//!
//! A key is the uid of an owner, in the name of an [`ObjectKey`] without namespace. An owner counts as gone
//! only if its kind is one that the world knows; a reference to anything else is never a reason to delete:
//! missing knowledge must not destroy data.

use std::collections::BTreeSet;

use trireme_proto::api::meta::v1::OwnerReference;

use crate::{
    controller::{Context, Controller, Outcome, Write},
    kinds,
    limits::WRITES_PER_RECONCILE,
    object::{Object, ObjectKey},
    world::{Change, World},
};

/// Finalizer of an owner whose dependents are to be deleted first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner whose dependents are to stay.
pub const ORPHAN: &str = "orphan";

/// The controller of owner references.
pub struct GarbageCollector;

/// What an owner reference stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The owner is there, or may be: its kind is not known here.
    Solid,
    /// The owner waits for its dependents to be deleted.
    Waiting,
    /// The owner is gone.
    Gone,
}

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn keys_for(&self, change: &Change, world: &World, keys: &mut BTreeSet<ObjectKey>) {
        for object in [&change.old, &change.new].into_iter().flatten() {
            // As an owner: it went, or is going.
            let meta = object.metadata();
            let going = change.new.is_none() || meta.deletion_timestamp.is_some();
            if going && (holds(&**object) || world.owned_by(&meta.uid).next().is_some()) {
                keys.insert(ObjectKey::new("", meta.uid.as_str()));
            }
            // As a dependent: an owner that is not simply there has to know.
            for owner in &meta.owner_references {
                if state_of(owner, &**object, world) != Owner::Solid || is_orphaning(owner, world) {
                    keys.insert(ObjectKey::new("", owner.uid.as_str()));
                }
            }
        }
        // An object that took the place of another of the same name: the other one is gone.
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && old.metadata().uid != new.metadata().uid
        {
            keys.insert(ObjectKey::new("", old.metadata().uid.as_str()));
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        let with_dependents = world.owner_uids().filter(|uid| {
            world
                .by_uid(uid)
                .is_none_or(|owner| owner.metadata().deletion_timestamp.is_some())
        });
        let held = world
            .tables()
            .flat_map(|table| table.list(""))
            .filter(|object| object.metadata().deletion_timestamp.is_some() && holds(&***object));
        let held = held.map(|object| object.metadata().uid.as_str());
        with_dependents.chain(held).map(|uid| ObjectKey::new("", uid)).collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, _context: &Context) -> Outcome {
        let uid = key.name.as_str();
        let mut outcome = Outcome::default();
        match world.by_uid(uid) {
            None => collect(world, uid, &mut outcome),
            Some(owner) if owner.metadata().deletion_timestamp.is_none() => {}
            Some(owner) if has_finalizer(&**owner, ORPHAN) => orphan(world, &**owner, &mut outcome),
            Some(owner) if has_finalizer(&**owner, FOREGROUND) => delete_first(world, &**owner, &mut outcome),
            Some(_) => {}
        }
        outcome
    }
}

/// Deletes the dependents of an owner that is gone; those that another owner keeps only lose the reference.
fn collect(world: &World, uid: &str, outcome: &mut Outcome) {
    for dependent in world.owned_by(uid) {
        if outcome.writes.len() >= WRITES_PER_RECONCILE {
            break;
        }
        let states: Vec<(&OwnerReference, Owner)> = dependent
            .metadata()
            .owner_references
            .iter()
            .map(|owner| (owner, state_of(owner, &**dependent, world)))
            .collect();
        let is_gone = states
            .iter()
            .any(|(owner, state)| owner.uid == uid && *state == Owner::Gone);
        if !is_gone {
            continue;
        }
        if states.iter().any(|(_, state)| *state == Owner::Solid) {
            outcome.writes.push(without_owners(&**dependent, |owner| {
                state_of(owner, &**dependent, world) == Owner::Gone
            }));
        } else if dependent.metadata().deletion_timestamp.is_none() {
            outcome.writes.push(delete(&**dependent));
        }
    }
}

/// Takes the reference from every dependent, then lets the owner go.
fn orphan(world: &World, owner: &dyn Object, outcome: &mut Outcome) {
    let uid = owner.metadata().uid.as_str();
    for dependent in world.owned_by(uid).take(WRITES_PER_RECONCILE) {
        outcome
            .writes
            .push(without_owners(&**dependent, |reference| reference.uid == uid));
    }
    if outcome.writes.is_empty() {
        outcome.writes.push(without_finalizer(owner, ORPHAN));
    }
}

/// Deletes the dependents that hold the owner, then lets the owner go. The others follow when it is gone.
fn delete_first(world: &World, owner: &dyn Object, outcome: &mut Outcome) {
    let uid = owner.metadata().uid.as_str();
    let mut blocked = false;
    for dependent in world.owned_by(uid) {
        let references = &dependent.metadata().owner_references;
        let blocks = references
            .iter()
            .any(|reference| reference.uid == uid && reference.block_owner_deletion == Some(true));
        if !blocks {
            continue;
        }
        blocked = true;
        if outcome.writes.len() >= WRITES_PER_RECONCILE {
            break;
        }
        if references
            .iter()
            .any(|reference| state_of(reference, &**dependent, world) == Owner::Solid)
        {
            outcome
                .writes
                .push(without_owners(&**dependent, |reference| reference.uid == uid));
        } else if dependent.metadata().deletion_timestamp.is_none() {
            // A dependent with dependents of its own waits for them in turn.
            if world.owned_by(&dependent.metadata().uid).next().is_some() && !has_finalizer(&**dependent, FOREGROUND) {
                let mut held = dependent.clone_object();
                held.metadata_mut().finalizers.push(FOREGROUND.to_owned());
                outcome.writes.push(Write::UpdateOwnership(held));
            }
            outcome.writes.push(delete(&**dependent));
        }
    }
    if !blocked {
        outcome.writes.push(without_finalizer(owner, FOREGROUND));
    }
}

/// What a reference of `dependent` stands for.
fn state_of(reference: &OwnerReference, dependent: &dyn Object, world: &World) -> Owner {
    match world.by_uid(&reference.uid) {
        Some(owner) => {
            let waiting = owner.metadata().deletion_timestamp.is_some() && has_finalizer(&**owner, FOREGROUND);
            if waiting { Owner::Waiting } else { Owner::Solid }
        }
        None if is_surely_gone(reference, dependent, world) => Owner::Gone,
        None => Owner::Solid,
    }
}

/// True if the reference's owner gives its dependents away before it goes.
fn is_orphaning(reference: &OwnerReference, world: &World) -> bool {
    world
        .by_uid(&reference.uid)
        .is_some_and(|owner| owner.metadata().deletion_timestamp.is_some() && has_finalizer(&**owner, ORPHAN))
}

/// True if an owner that the world does not have is not there either: its kind is one that the world knows,
/// and nothing unreadable is stored in its place.
fn is_surely_gone(reference: &OwnerReference, dependent: &dyn Object, world: &World) -> bool {
    let Some(kind) = kinds::by_api_version(&reference.api_version, &reference.kind) else {
        return false;
    };
    let namespace = if kind.info().namespaced {
        dependent.metadata().namespace.as_str()
    } else {
        ""
    };
    !world.is_unreadable(
        kind.stored().info(),
        &ObjectKey::new(namespace, reference.name.as_str()),
    )
}

fn holds(object: &dyn Object) -> bool {
    has_finalizer(object, ORPHAN) || has_finalizer(object, FOREGROUND)
}

fn has_finalizer(object: &dyn Object, finalizer: &str) -> bool {
    object.metadata().finalizers.iter().any(|name| name == finalizer)
}

fn delete(object: &dyn Object) -> Write {
    Write::Delete {
        info: object.info(),
        key: object.key(),
        uid: object.metadata().uid.clone(),
        grace_period_seconds: None,
    }
}

fn without_owners(object: &dyn Object, gone: impl Fn(&OwnerReference) -> bool) -> Write {
    let mut object = object.clone_object();
    object
        .metadata_mut()
        .owner_references
        .retain(|reference| !gone(reference));
    Write::UpdateOwnership(object)
}

fn without_finalizer(object: &dyn Object, finalizer: &str) -> Write {
    let mut object = object.clone_object();
    object.metadata_mut().finalizers.retain(|name| name != finalizer);
    Write::UpdateOwnership(object)
}
