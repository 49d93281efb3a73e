//! A small cluster in memory: a store that does what the registry does, the controllers and the scheduler,
//! and agents that start and end pods. Time is a number that tests move.
//!
//! The loops see the store through a view that may lag behind it, in steps chosen by the seed. Like the real
//! shell, the harness asks a controller about a key again only when the view shows that key's own writes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use trireme_proto::api::{
    core::v1::{Namespace, Node, Pod},
    meta::v1::Time,
};

use crate::{
    controller::{Context, Controller, EventRecord, Outcome, Write},
    controllers::{self, conditions, names, owners, pods, times},
    field_error::FieldErrors,
    kind::{Kind, KindInfo},
    object::{Object, ObjectKey},
    scheduler,
    testing::{at, mk_namespace, mk_node},
    world::{Mutation, World, take_excerpt},
};

/// Image of a container that never becomes ready.
pub(crate) const NEVER_READY: &str = "never-ready:1";
/// Image of a container that fails at once and for good.
pub(crate) const FAILING: &str = "failing:1";
/// More steps than any test needs; a loop that writes for ever ends here.
const STEPS_LIMIT: usize = 200_000;

/// What is looked at after every write.
type Invariant = Box<dyn Fn(&World)>;

/// The cluster.
pub(crate) struct Harness {
    /// The truth.
    pub(crate) store: World,
    /// What the loops see.
    pub(crate) view: World,
    /// The present.
    pub(crate) now: Time,
    /// Everything that was told.
    pub(crate) events: Vec<EventRecord>,
    /// Objects made, by plural name.
    pub(crate) created: BTreeMap<&'static str, usize>,
    /// Objects deleted by controllers, by plural name.
    pub(crate) deleted: BTreeMap<&'static str, usize>,
    /// Nodes whose agents live.
    pub(crate) alive: BTreeSet<String>,
    /// True if the view lags.
    pub(crate) lags: bool,
    /// True if passes now and then end in the middle of their writes, as when a leader falls.
    pub(crate) stumbles: bool,
    controllers: Vec<Box<dyn Controller>>,
    queues: Vec<Queue>,
    pending: VecDeque<(Mutation, i64)>,
    invariant: Option<Invariant>,
    schedules: bool,
    bindings: BTreeMap<String, usize>,
    random: u64,
    revision: i64,
    monotonic_ms: u64,
}

#[derive(Default)]
struct Queue {
    due: BTreeSet<ObjectKey>,
    timers: BTreeMap<ObjectKey, Time>,
    /// The view must have got so far before the key is reconciled again.
    gates: BTreeMap<ObjectKey, i64>,
}

/// A refused write.
#[derive(Debug)]
struct Refused;

impl Harness {
    /// A cluster of some nodes, with the namespace `default`, all controllers and the scheduler.
    pub(crate) fn new(nodes: usize, seed: u64) -> Self {
        let mut harness = Self::with(controllers::all(), seed);
        harness.schedules = true;
        for index in 0..nodes {
            harness.add_node(&format!("node-{index}"));
        }
        harness
    }

    /// A cluster without nodes, with the namespace `default` and some controllers.
    pub(crate) fn with(controllers: Vec<Box<dyn Controller>>, seed: u64) -> Self {
        let queues = controllers.iter().map(|_| Queue::default()).collect();
        let mut harness = Self {
            store: World::new(),
            view: World::new(),
            now: at(0),
            events: Vec::new(),
            created: BTreeMap::new(),
            deleted: BTreeMap::new(),
            alive: BTreeSet::new(),
            lags: false,
            stumbles: false,
            controllers,
            queues,
            pending: VecDeque::new(),
            invariant: None,
            schedules: false,
            bindings: BTreeMap::new(),
            random: seed,
            revision: 0,
            monotonic_ms: 0,
        };
        harness.put(Box::new(mk_namespace("default")));
        harness
    }

    /// Adds a node whose agent lives.
    pub(crate) fn add_node(&mut self, name: &str) {
        self.put(Box::new(mk_node(name)));
        self.alive.insert(name.to_owned());
        self.beat();
    }

    /// Checks something after every write.
    pub(crate) fn always(&mut self, invariant: impl Fn(&World) + 'static) {
        self.invariant = Some(Box::new(invariant));
    }

    /// Stores an object as a user would create it.
    pub(crate) fn create(&mut self, object: impl Kind) {
        self.insert(Box::new(object))
            .expect("the test's object is new and its namespace open");
    }

    /// Changes an object as a user would.
    pub(crate) fn change<K: Kind>(&mut self, namespace: &str, name: &str, change: impl FnOnce(&mut K)) {
        let mut object = self
            .store
            .get::<K>(&ObjectKey::new(namespace, name))
            .expect("the test's object")
            .clone();
        change(&mut object);
        self.replace(Box::new(object), false)
            .expect("the version is the present one");
    }

    /// Deletes an object as a user would.
    pub(crate) fn delete<K: Kind>(&mut self, namespace: &str, name: &str, grace: Option<i64>) {
        let key = ObjectKey::new(namespace, name);
        let uid = owners::uid_of(self.get::<K>(namespace, name)).to_owned();
        self.remove(&K::INFO, &key, &uid, grace);
    }

    /// An object of the store.
    pub(crate) fn get<K: Kind>(&self, namespace: &str, name: &str) -> &K {
        self.store
            .get(&ObjectKey::new(namespace, name))
            .expect("the test's object")
    }

    /// All objects of a kind.
    pub(crate) fn list<K: Kind>(&self) -> Vec<&K> {
        self.store.list("").collect()
    }

    /// Unfinished pods that are not being deleted.
    pub(crate) fn active_pods(&self) -> Vec<&Pod> {
        self.store.list::<Pod>("").filter(|pod| pods::is_active(pod)).collect()
    }

    /// The messages of all events of a reason.
    pub(crate) fn messages(&self, reason: &str) -> Vec<&str> {
        self.events
            .iter()
            .filter(|event| event.reason == reason)
            .map(|event| event.message.as_str())
            .collect()
    }

    /// Runs every loop until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..STEPS_LIMIT {
            if !self.step() {
                return;
            }
        }
        panic!(
            "the loops do not come to an end; last events: {:#?}",
            self.events.iter().rev().take(5).collect::<Vec<_>>()
        );
    }

    /// Lets time pass in steps of a second, with everything that is due on the way.
    pub(crate) fn pass_seconds(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now = times::plus_seconds(self.now, 1);
            self.monotonic_ms += 1_000;
            self.beat();
            self.view.node_health.now_ms = self.monotonic_ms;
            for queue in &mut self.queues {
                let due: Vec<ObjectKey> = queue
                    .timers
                    .extract_if(.., |_, time| !times::is_after(*time, self.now))
                    .map(|(key, _)| key)
                    .collect();
                queue.due.extend(due);
            }
            self.settle();
        }
    }

    /// A new leader: every key is looked at once more.
    pub(crate) fn full_pass(&mut self) {
        for (controller, queue) in self.controllers.iter().zip(&mut self.queues) {
            queue.due.extend(controller.all_keys(&self.view));
        }
    }

    /// A new leader that has not heard of any node yet.
    pub(crate) fn new_leader(&mut self) {
        self.view.node_health.start();
        self.monotonic_ms = 0;
        self.full_pass();
    }

    fn beat(&mut self) {
        for name in &self.alive {
            self.view.node_health.heard(name, self.monotonic_ms, true, "");
        }
        for (controller, queue) in self.controllers.iter().zip(&mut self.queues) {
            if controller.name() == "node-lifecycle-controller" {
                queue
                    .due
                    .extend(self.alive.iter().map(|name| ObjectKey::new("", name.as_str())));
            }
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(1);
        names::mix(self.random)
    }

    /// One step of something. False if there is nothing to do.
    fn step(&mut self) -> bool {
        let holds_back = self.lags && self.next_random().is_multiple_of(3);
        if !holds_back && self.deliver_one() {
            return true;
        }
        if self.reconcile_one() {
            return true;
        }
        if self.deliver_one() {
            return true;
        }
        self.schedule() || self.run_agents()
    }

    fn deliver_one(&mut self) -> bool {
        let Some((mutation, revision)) = self.pending.pop_front() else {
            return false;
        };
        if let Some(change) = self.view.apply(excerpt(mutation), revision) {
            for (controller, queue) in self.controllers.iter().zip(&mut self.queues) {
                controller.keys_for(&change, &self.view, &mut queue.due);
            }
        }
        true
    }

    fn reconcile_one(&mut self) -> bool {
        let revision = self.view.revision();
        let ready: Vec<(usize, ObjectKey)> = self
            .queues
            .iter()
            .enumerate()
            .flat_map(|(index, queue)| {
                let open = |key: &&ObjectKey| queue.gates.get(*key).is_none_or(|gate| *gate <= revision);
                queue.due.iter().filter(open).map(move |key| (index, key.clone()))
            })
            .take(64)
            .collect();
        if ready.is_empty() {
            return false;
        }
        let choice = usize::try_from(self.next_random()).unwrap_or(0) % ready.len();
        let (index, key) = ready[choice].clone();
        let context = Context {
            now: self.now,
            seed: self.next_random(),
        };
        let outcome = self.controllers[index].reconcile(&self.view, &key, &context);
        self.queues[index].due.remove(&key);
        match outcome.requeue_at {
            Some(time) => self.queues[index].timers.insert(key.clone(), time),
            None => self.queues[index].timers.remove(&key),
        };
        let failed = self.execute(outcome);
        let queue = &mut self.queues[index];
        queue.gates.insert(key.clone(), self.revision);
        if failed {
            queue.due.insert(key);
        }
        true
    }

    fn schedule(&mut self) -> bool {
        if !self.schedules || self.view.revision() != self.store.revision() {
            return false;
        }
        let options = scheduler::Options {
            limit: 1_000,
            seed: self.next_random(),
            now: self.now,
        };
        let mut decisions = scheduler::schedule(&self.view, &options);
        let outcome = decisions.outcome(&self.view, &options);
        let before = self.revision;
        self.execute(outcome);
        self.revision > before
    }

    /// Carries out writes in order. True if one was refused.
    fn execute(&mut self, outcome: Outcome) -> bool {
        self.events.extend(outcome.events);
        for write in outcome.writes {
            if self.stumbles && self.next_random().is_multiple_of(4) {
                return true;
            }
            let done = match write {
                Write::Create(object) => {
                    *self.created.entry(object.info().plural).or_default() += 1;
                    self.insert(object)
                }
                Write::Update(object) => {
                    assert_ne!(
                        object.info().kind,
                        "Pod",
                        "the world has excerpts of pods, not what would replace one"
                    );
                    self.replace(object, false)
                }
                Write::UpdateStatus(object) => self.replace(object, true),
                Write::UpdateOwnership(object) => self.replace_ownership(&*object),
                Write::Bind { pod, uid, node } => self.bind(&pod, &uid, &node),
                Write::Delete {
                    info,
                    key,
                    uid,
                    grace_period_seconds,
                } => {
                    *self.deleted.entry(info.plural).or_default() += 1;
                    self.remove(info, &key, &uid, grace_period_seconds);
                    Ok(())
                }
            };
            if done.is_err() {
                return true;
            }
        }
        false
    }

    fn insert(&mut self, mut object: Box<dyn Object>) -> Result<(), Refused> {
        let info = object.info();
        if info.namespaced && owners::namespace_closed(&self.store, &object.metadata().namespace) {
            return Err(Refused);
        }
        if let Some(stored) = self.store.get_object(info, &object.key()) {
            let same_owner = owners::controller_of(stored.metadata()) == owners::controller_of(object.metadata());
            return if same_owner { Ok(()) } else { Err(Refused) };
        }
        object.set_defaults();
        object.prepare_create();
        let mut errors = FieldErrors::default();
        object.validate(&mut errors);
        assert!(
            errors.is_empty(),
            "{} is invalid: {:?}",
            object.key(),
            errors.into_errors()
        );
        let uid = format!("uid-{}", self.revision + 1);
        let now = self.now;
        let meta = object.metadata_mut();
        meta.uid = uid;
        meta.creation_timestamp = Some(now);
        self.put(object);
        Ok(())
    }

    fn replace(&mut self, mut object: Box<dyn Object>, is_status: bool) -> Result<(), Refused> {
        let Some(stored) = self.store.get_object(object.info(), &object.key()).cloned() else {
            return Err(Refused);
        };
        if stored.metadata().resource_version != object.metadata().resource_version {
            return Err(Refused);
        }
        if is_status {
            object.prepare_status_update(&*stored);
            object.metadata_mut().clone_from(stored.metadata());
        } else {
            // A namespace's own finalizers go by the namespace controller's updates, as in the registry.
            let finalizers = object
                .downcast_ref::<Namespace>()
                .and_then(|namespace| namespace.spec.clone());
            object.prepare_update(&*stored);
            if let Some(namespace) = object.downcast_mut::<Namespace>() {
                namespace.spec = finalizers;
            }
        }
        if is_released(&*object) {
            self.erase(object.info(), object.key());
        } else {
            self.put(object);
        }
        Ok(())
    }

    fn replace_ownership(&mut self, wanted: &dyn Object) -> Result<(), Refused> {
        let stored = self.store.get_object(wanted.info(), &wanted.key()).ok_or(Refused)?;
        let mut object = stored.clone_object();
        let (meta, wanted) = (object.metadata_mut(), wanted.metadata());
        meta.resource_version.clone_from(&wanted.resource_version);
        meta.owner_references.clone_from(&wanted.owner_references);
        meta.finalizers.clone_from(&wanted.finalizers);
        self.replace(object, false)
    }

    fn bind(&mut self, key: &ObjectKey, uid: &str, node: &str) -> Result<(), Refused> {
        let pod = self
            .store
            .get::<Pod>(key)
            .filter(|pod| owners::uid_of(*pod) == uid && !pods::is_bound(pod) && !owners::is_terminating(*pod));
        let mut pod = pod.ok_or(Refused)?.clone();
        *self.bindings.entry(uid.to_owned()).or_default() += 1;
        assert_eq!(self.bindings[uid], 1, "I4: {key} is bound twice");
        pod.spec.get_or_insert_default().node_name = node.to_owned();
        let status = pod.status.get_or_insert_default();
        conditions::set(&mut status.conditions, "PodScheduled", "True", "", "", self.now);
        self.put(Box::new(pod));
        Ok(())
    }

    fn remove(&mut self, info: &'static KindInfo, key: &ObjectKey, uid: &str, grace: Option<i64>) {
        let Some(stored) = self
            .store
            .get_object(info, key)
            .filter(|stored| stored.metadata().uid == uid)
            .cloned()
        else {
            return;
        };
        let seconds = stored.graceful_deletion_seconds(grace).filter(|seconds| *seconds > 0);
        let mut object = stored.clone_object();
        let now = self.now;
        let meta = object.metadata_mut();
        let was_terminating = meta.deletion_timestamp.is_some();
        meta.deletion_timestamp.get_or_insert(now);
        meta.deletion_grace_period_seconds = Some(seconds.unwrap_or(0));
        if let Some(namespace) = object.as_any_mut().downcast_mut::<Namespace>() {
            namespace.status.get_or_insert_default().phase = "Terminating".to_owned();
        }
        if seconds.is_none() && is_released(&*object) {
            self.erase(info, key.clone());
        } else if !was_terminating {
            self.put(object);
        }
    }

    /// Stores an object as it is, under a new version.
    pub(crate) fn put(&mut self, mut object: Box<dyn Object>) {
        self.revision += 1;
        object.metadata_mut().resource_version = self.revision.to_string();
        self.record(Mutation::Put(Arc::from(object)));
    }

    fn erase(&mut self, info: &'static KindInfo, key: ObjectKey) {
        self.revision += 1;
        self.record(Mutation::Remove { info, key });
    }

    fn record(&mut self, mutation: Mutation) {
        self.store.apply(mutation.clone(), self.revision);
        self.pending.push_back((mutation, self.revision));
        if let Some(invariant) = &self.invariant {
            invariant(&self.store);
        }
    }

    /// Lets one pod come forward. False if there is none to do so.
    fn run_agents(&mut self) -> bool {
        let on_living = |pod: &&Pod| {
            let node = pods::spec(pod).node_name.as_str();
            self.alive.contains(node) && self.store.get::<Node>(&ObjectKey::new("", node)).is_some()
        };
        let wants =
            |pod: &&Pod| owners::is_terminating(*pod) || pods::status(pod).phase == "Pending" || stale_readiness(pod);
        let waiting: Vec<ObjectKey> = self
            .store
            .list::<Pod>("")
            .filter(on_living)
            .filter(wants)
            .map(owners::key_of)
            .take(16)
            .collect();
        if waiting.is_empty() {
            return false;
        }
        let choice = usize::try_from(self.next_random()).unwrap_or(0) % waiting.len();
        let mut pod = self.store.get::<Pod>(&waiting[choice]).expect("just listed").clone();
        if owners::is_terminating(&pod) {
            let mut meta = pod.metadata.clone().unwrap_or_default();
            meta.deletion_grace_period_seconds = Some(0);
            pod.metadata = Some(meta);
            self.erase(&Pod::INFO, owners::key_of(&pod));
            return true;
        }
        let (image, address) = (
            image_of(&pod).to_owned(),
            format!("10.1.{}.{}", self.revision / 250, self.revision % 250),
        );
        let now = self.now;
        let status = pod.status.get_or_insert_default();
        if image == FAILING {
            status.phase = "Failed".to_owned();
        } else {
            status.phase = "Running".to_owned();
            status.pod_ip = address;
            let ready = conditions::text(image != NEVER_READY);
            conditions::set(&mut status.conditions, "Ready", ready, "", "", now);
        }
        self.put(Box::new(pod));
        true
    }
}

/// True if nothing holds an object that was deleted.
fn is_released(object: &dyn Object) -> bool {
    let meta = object.metadata();
    let spec_holds = object
        .downcast_ref::<Namespace>()
        .is_some_and(|namespace| namespace.spec.as_ref().is_some_and(|spec| !spec.finalizers.is_empty()));
    meta.deletion_timestamp.is_some()
        && meta.finalizers.is_empty()
        && !spec_holds
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
}

fn image_of(pod: &Pod) -> &str {
    pods::spec(pod)
        .containers
        .first()
        .map_or("", |container| &container.image)
}

/// True if a running pod was marked as not ready by someone other than its agent.
fn stale_readiness(pod: &Pod) -> bool {
    let marked = pods::condition(pod, "Ready").is_some_and(|ready| ready.reason == "NodeNotReady");
    pods::status(pod).phase == "Running" && marked && image_of(pod) != NEVER_READY
}

/// A mutation as a server's world sees it.
fn excerpt(mutation: Mutation) -> Mutation {
    match mutation {
        Mutation::Put(object) => {
            let mut object = object.clone_object();
            take_excerpt(&mut *object);
            Mutation::Put(Arc::from(object))
        }
        other => other,
    }
}
