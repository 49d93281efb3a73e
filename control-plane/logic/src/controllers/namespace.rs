//! Empties a namespace that is being deleted, then lets it go.
//!
//! Pods go first and alone, so that nothing that protects or restricts them vanishes before they do. The
//! namespace itself stays, in phase `Terminating` and closed to new objects, until nothing is left in it.

use std::collections::BTreeSet;

use trireme_proto::api::core::v1::{Namespace, NamespaceStatus, Pod};

use super::{conditions, owners};
use crate::{
    controller::{Context, Controller, Outcome, Write},
    kind::{Kind, metadata_of},
    limits::WRITES_PER_RECONCILE,
    object::{Object, ObjectKey},
    world::{Change, TypeKey, World},
};

/// The finalizer in a namespace's spec that this controller answers for.
const FINALIZER: &str = "kubernetes";
/// The condition that says what is left.
const CONTENT_REMAINING: &str = "NamespaceContentRemaining";

/// The controller of namespaces that are being deleted.
pub struct NamespaceController;

impl Controller for NamespaceController {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn keys_for(&self, change: &Change, world: &World, keys: &mut BTreeSet<ObjectKey>) {
        let name = if change.of::<Namespace>().is_some() {
            &change.key.name
        } else {
            &change.key.namespace
        };
        let key = ObjectKey::new("", name.as_str());
        if !name.is_empty() && world.get::<Namespace>(&key).is_some_and(owners::is_terminating) {
            keys.insert(key);
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        world
            .list::<Namespace>("")
            .filter(|namespace| owners::is_terminating(*namespace))
            .map(owners::key_of)
            .collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, context: &Context) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(namespace) = world
            .get::<Namespace>(key)
            .filter(|namespace| owners::is_terminating(*namespace))
        else {
            return outcome;
        };
        let left = remaining(world, &key.name);
        if left.is_empty() && world.has_unreadable_in(&key.name) {
            return outcome;
        }
        if left.is_empty() {
            outcome.writes.extend(release(namespace));
            return outcome;
        }
        for object in &left {
            if object.metadata().deletion_timestamp.is_none() && outcome.writes.len() < WRITES_PER_RECONCILE {
                outcome.writes.push(Write::Delete {
                    info: object.info(),
                    key: object.key(),
                    uid: object.metadata().uid.clone(),
                    grace_period_seconds: None,
                });
            }
        }
        outcome.writes.extend(report(namespace, &left, context));
        outcome
    }
}

/// What is to go now: the pods, or if there are none, everything.
fn remaining<'a>(world: &'a World, namespace: &'a str) -> Vec<&'a dyn Object> {
    let pods: Vec<&dyn Object> = world
        .list_objects(&Pod::INFO, namespace)
        .map(|object| &**object)
        .collect();
    if !pods.is_empty() {
        return pods;
    }
    let tables = world
        .tables()
        .filter(|table| table.info().namespaced && TypeKey::of(table.info()) != TypeKey::of(&Pod::INFO));
    tables
        .flat_map(|table| table.list(namespace))
        .map(|object| &**object)
        .collect()
}

/// Removes the finalizer, upon which the registry removes the namespace.
fn release(namespace: &Namespace) -> Option<Write> {
    let spec = namespace
        .spec
        .as_ref()
        .filter(|spec| spec.finalizers.iter().any(|name| name == FINALIZER))?;
    let mut spec = spec.clone();
    spec.finalizers.retain(|name| name != FINALIZER);
    let mut namespace = namespace.clone();
    namespace.spec = Some(spec);
    Some(Write::Update(Box::new(namespace)))
}

/// Says in the status what is left: the kinds and finalizers, not the counts, which would change all the time.
fn report(namespace: &Namespace, left: &[&dyn Object], context: &Context) -> Option<Write> {
    let kinds: BTreeSet<&str> = left.iter().map(|object| object.info().plural).collect();
    let finalizers: BTreeSet<&str> = left
        .iter()
        .flat_map(|object| &object.metadata().finalizers)
        .map(String::as_str)
        .collect();
    let mut message = format!(
        "Some resources are remaining: {}",
        kinds.into_iter().collect::<Vec<_>>().join(", ")
    );
    if !finalizers.is_empty() {
        message.push_str("; held by finalizers: ");
        message.push_str(&finalizers.into_iter().collect::<Vec<_>>().join(", "));
    }
    let mut namespace = namespace.clone();
    debug_assert!(metadata_of(&namespace).deletion_timestamp.is_some());
    let status = namespace.status.get_or_insert_with(NamespaceStatus::default);
    let changed = conditions::set(
        &mut status.conditions,
        CONTENT_REMAINING,
        "True",
        "SomeResourcesRemain",
        &message,
        context.now,
    );
    changed.then(|| Write::UpdateStatus(Box::new(namespace)))
}
