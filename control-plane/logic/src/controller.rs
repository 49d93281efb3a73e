//! What a controller is: a pure, level-triggered function from the world to writes.
//!
//! The shell in `trireme-control-plane` calls [`Controller::keys_for`] on each change and
//! [`Controller::reconcile`] for each key that is due, carries the writes out under the leadership they
//! were decided in, and does not call `reconcile` for that key again before the world shows them. So a
//! controller needs no expectations and no locks: whatever it sees is complete up to its own last
//! write (invariant I8).

use std::collections::BTreeSet;

use trireme_proto::api::{core::v1::Pod, meta::v1::Time};

use crate::{
    kind::{Kind, KindInfo},
    object::{Object, ObjectKey},
    world::{Change, World},
};

/// A reconciler of one kind of key.
pub trait Controller: Send + Sync {
    /// Its name, in logs, metrics and as the source of events: `deployment-controller`.
    fn name(&self) -> &'static str;

    /// Adds the keys that a change may concern. Called with the world after the change.
    fn keys_for(&self, change: &Change, world: &World, keys: &mut BTreeSet<ObjectKey>);

    /// Every key there is, for the full pass of a new leader.
    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey>;

    /// Decides what to do for one key. Idempotent; must not depend on why it was called.
    fn reconcile(&self, world: &World, key: &ObjectKey, context: &Context) -> Outcome;

    /// What to tell people when a write of the last pass was refused: events, and conditions. The key is tried again in
    /// any case, later each time.
    fn on_refusal(&self, _world: &World, _key: &ObjectKey, _refusal: &Refusal, _context: &Context) -> Outcome {
        Outcome::default()
    }
}

/// A write that was refused for what it is, rather than for the moment: a quota, a rule, a limit.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What it was to do.
    pub action: Action,
    /// The kind of the object that it was about.
    pub info: &'static KindInfo,
    /// The name of that object.
    pub name: String,
    /// Why it was refused.
    pub message: String,
}

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It makes an object.
    Create,
    /// It changes one.
    Update,
    /// It ends one.
    Delete,
}

impl Refusal {
    /// The reason, with the object's name cut to `prefix`, so that one cause reads the same however often names are made
    /// anew.
    pub fn message_about(&self, prefix: &str) -> String {
        if self.name.is_empty() {
            return self.message.clone();
        }
        self.message.replace(&self.name, prefix)
    }
}

impl Write {
    /// What the write does to which object: kind and name.
    pub fn target(&self) -> (Action, &'static KindInfo, &str) {
        match self {
            Self::Create(object) => (Action::Create, object.info(), &object.metadata().name),
            Self::Update(object) | Self::UpdateStatus(object) | Self::UpdateOwnership(object) => {
                (Action::Update, object.info(), &object.metadata().name)
            }
            Self::Bind { pod, .. } => (Action::Update, &Pod::INFO, &pod.name),
            Self::Delete { info, key, .. } => (Action::Delete, info, &key.name),
        }
    }
}

/// What a decision may depend on beside the world.
#[derive(Debug, Clone)]
pub struct Context {
    /// The present, for timestamps and deadlines.
    pub now: Time,
    /// Seed for names and ties; different for each call.
    pub seed: u64,
}

/// What a reconciler decided.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Writes, to be carried out in order; the first failure ends the rest, and the key is tried again.
    pub writes: Vec<Write>,
    /// Events for people.
    pub events: Vec<EventRecord>,
    /// Call again then even if nothing changes.
    pub requeue_at: Option<Time>,
}

/// One write.
#[derive(Debug)]
pub enum Write {
    /// Stores a new object. One that exists already under that name is not a failure if it has the same
    /// controller owner.
    Create(Box<dyn Object>),
    /// Replaces an object; refused if it changed since the `resourceVersion` it carries.
    Update(Box<dyn Object>),
    /// Replaces an object's status, likewise.
    UpdateStatus(Box<dyn Object>),
    /// Replaces what an object's metadata says of its owners and of its finalizers, likewise, and nothing else of it. For
    /// objects of any kind, of which the world may have no more than an excerpt.
    UpdateOwnership(Box<dyn Object>),
    /// Binds a pod to a node; refused unless it is this pod, unbound and not being deleted (I4).
    Bind {
        /// The pod.
        pod: ObjectKey,
        /// Its uid.
        uid: String,
        /// The node's name.
        node: String,
    },
    /// Deletes an object; an object that is gone, or another of the same name, is left alone.
    Delete {
        /// Its kind.
        info: &'static KindInfo,
        /// Its key.
        key: ObjectKey,
        /// Its uid.
        uid: String,
        /// Seconds to end; `None` for the object's own value; 0 at once.
        grace_period_seconds: Option<i64>,
    },
}

/// An event for people, stored as a core/v1 `Event`; repeats are counted in one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventRecord {
    /// `group/version` of the object that it is about.
    pub api_version: String,
    /// Kind of that object.
    pub kind: String,
    /// Key of that object.
    pub key: ObjectKey,
    /// Uid of that object.
    pub uid: String,
    /// Whether it is good or bad.
    pub event_type: EventType,
    /// One word in CamelCase.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// Whether an event is good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// As planned.
    Normal,
    /// Something a person should look at.
    Warning,
}
