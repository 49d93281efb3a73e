//! This server's [`World`], kept up to date from its own replica of the store.
//!
//! Every server has one, leader or not, so that a new leader starts warm. It is written by one task and
//! read under a lock that is held only for pure computation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock, Mutex, RwLock},
};

use tokio::sync::{Notify, mpsc, watch};
use trireme_logic::{
    kind::{Kind, KindInfo},
    kinds,
    object::{Object, ObjectKey},
    world::{Change, Mutation, World, take_excerpt},
};
use trireme_proto::{api::core::v1::Pod, parts, schema};
use trireme_store::kv::{
    Consistency, Event, EventKind, KeyRange, KeyValue, Kv, KvError, RangeRequest, Revision, WatchRequest,
};

use crate::{
    limits::{FINDER_WAIT, WORLD_LIST_PAGE},
    registry::{Finder, Found, Selection, Stored},
    status::ApiError,
};

/// The cache.
pub struct WorldCache {
    world: RwLock<World>,
    revision: watch::Sender<Revision>,
    subscribers: Mutex<Vec<mpsc::UnboundedSender<Arc<Change>>>>,
    node_wakeups: Mutex<BTreeMap<String, Arc<Notify>>>,
}

impl WorldCache {
    /// An empty cache; [`WorldCache::follow`] fills it.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            world: RwLock::new(World::new()),
            revision: watch::Sender::new(0),
            subscribers: Mutex::default(),
            node_wakeups: Mutex::default(),
        })
    }

    /// Computes something from the world.
    pub fn read<R>(&self, compute: impl FnOnce(&World) -> R) -> R {
        compute(&self.world.read().expect("no code panics while it holds the world"))
    }

    /// Changes what is not stored: the health of nodes.
    pub fn update<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        change(&mut self.world.write().expect("no code panics while it holds the world"))
    }

    /// The revision that the world shows.
    pub fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Watches the revision that the world shows.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Waits until the world shows `revision`.
    ///
    /// # Errors
    /// If this server stops.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), ApiError> {
        let mut revisions = self.revision.subscribe();
        match revisions.wait_for(|present| *present >= revision).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ApiError::unavailable("this server is stopping")),
        }
    }

    /// Receives every change from now on. The receiver must drain it promptly: nothing bounds it.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Arc<Change>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.subscribers
            .lock()
            .expect("no code panics while it holds the subscribers")
            .push(sender);
        receiver
    }

    /// What is notified when the assignments of `node` may have changed.
    pub fn node_wakeup(&self, node: &str) -> Arc<Notify> {
        let mut wakeups = self
            .node_wakeups
            .lock()
            .expect("no code panics while it holds the wakeups");
        wakeups.retain(|_, notify| Arc::strong_count(notify) > 1);
        wakeups.entry(node.to_owned()).or_default().clone()
    }

    /// Lists everything, then follows the store for ever. Starts over if it falls out of the history.
    ///
    /// # Errors
    /// If the store stops.
    pub async fn follow(self: Arc<Self>, kv: Arc<dyn Kv>) -> Result<(), KvError> {
        loop {
            match self.list_and_watch(&*kv).await {
                Err(KvError::Compacted { requested, oldest }) => {
                    tracing::warn!(requested, oldest, "the world fell out of the history; listing again");
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn list_and_watch(&self, kv: &dyn Kv) -> Result<(), KvError> {
        let range = KeyRange::prefix(kinds::REGISTRY_PREFIX);
        let (listed, revision) = list_all(kv, &range).await?;
        self.replace_all(listed, revision);
        let mut watcher = kv
            .watch(WatchRequest {
                range,
                start_revision: revision + 1,
            })
            .await?;
        loop {
            let batch = watcher.next().await?;
            let mut changes = Vec::with_capacity(batch.events.len());
            {
                let mut world = self.world.write().expect("no code panics while it holds the world");
                for event in &batch.events {
                    let mutation = match event.kind {
                        EventKind::Put => with_spec_as_it_was(&world, event).or_else(|| observed(&event.kv)),
                        EventKind::Delete => removal(&event.kv),
                    };
                    let change = mutation.and_then(|mutation| world.apply(mutation, event.kv.mod_revision));
                    changes.extend(change.map(Arc::new));
                }
                world.advance(batch.progress);
            }
            self.publish(&changes, batch.progress);
        }
    }

    /// Makes the world show exactly what is `listed`, by the same changes that a watch would have brought.
    fn replace_all(&self, listed: Vec<Mutation>, revision: Revision) {
        let mut changes = Vec::new();
        {
            let mut world = self.world.write().expect("no code panics while it holds the world");
            let present: BTreeSet<(&str, &str, ObjectKey)> = listed.iter().map(identity).collect();
            let gone: Vec<Mutation> = world
                .tables()
                .flat_map(|table| table.list("").map(|object| (table.info(), object.key())))
                .filter(|(info, key)| !present.contains(&(info.group, info.plural, key.clone())))
                .map(|(info, key)| Mutation::Remove { info, key })
                .collect();
            for mutation in gone.into_iter().chain(listed) {
                changes.extend(world.apply(mutation, revision).map(Arc::new));
            }
            world.advance(revision);
        }
        self.publish(&changes, revision);
    }

    fn publish(&self, changes: &[Arc<Change>], revision: Revision) {
        if !changes.is_empty() {
            self.wake_nodes(changes);
            let mut subscribers = self
                .subscribers
                .lock()
                .expect("no code panics while it holds the subscribers");
            subscribers.retain(|subscriber| changes.iter().all(|change| subscriber.send(change.clone()).is_ok()));
            subscribers.retain(|subscriber| !subscriber.is_closed());
        }
        self.revision.send_if_modified(|present| {
            let advanced = revision > *present;
            *present = revision.max(*present);
            advanced
        });
    }

    /// Pods wake their nodes; secrets and configuration wake every node, since any pod may name them and
    /// they change rarely.
    fn wake_nodes(&self, changes: &[Arc<Change>]) {
        let wakeups = self
            .node_wakeups
            .lock()
            .expect("no code panics while it holds the wakeups");
        for change in changes {
            match change.info.plural {
                "pods" => {
                    for pod in change
                        .old
                        .iter()
                        .chain(&change.new)
                        .filter_map(|object| object.downcast_ref::<Pod>())
                    {
                        let node = pod.spec.as_ref().map_or("", |spec| &spec.node_name);
                        if let Some(notify) = wakeups.get(node) {
                            notify.notify_waiters();
                        }
                    }
                }
                "configmaps" | "secrets" => wakeups.values().for_each(|notify| notify.notify_waiters()),
                _ => {}
            }
        }
    }
}

#[async_trait::async_trait]
impl Finder for WorldCache {
    async fn find(
        &self,
        info: &KindInfo,
        namespace: &str,
        selection: &Selection,
        revision: Revision,
        most: usize,
    ) -> Option<Found> {
        let shown = tokio::time::timeout(FINDER_WAIT, self.wait_for(revision)).await;
        if !matches!(shown, Ok(Ok(()))) {
            return None;
        }
        self.read(|world| {
            let keys = world.candidates(info, namespace, selection.labels(), selection.fields(), most)?;
            Some(Found {
                revision: world.revision(),
                keys,
            })
        })
    }
}

async fn list_all(kv: &dyn Kv, range: &KeyRange) -> Result<(Vec<Mutation>, Revision), KvError> {
    let mut listed = Vec::new();
    let mut request = RangeRequest {
        limit: WORLD_LIST_PAGE,
        ..RangeRequest::latest(range.clone())
    };
    loop {
        let page = kv.range(request.clone(), Consistency::Serializable).await?;
        if request.revision == 0 {
            // All pages show the revision of the first.
            request.revision = page.revision;
        }
        listed.extend(page.kvs.iter().filter_map(observed));
        let Some(last) = page.kvs.last().filter(|_| page.more) else {
            return Ok((listed, request.revision));
        };
        let mut next = last.key.to_vec();
        next.push(0);
        request.range.start = next.into();
    }
}

/// What a stored value is to the world. An object that does not decode is there all the same: a later version of
/// Trireme may have stored it, and what it owns must not be taken for orphaned.
fn observed(kv: &KeyValue) -> Option<Mutation> {
    match Stored::of_key_value(kv)?.decode() {
        Ok(mut object) => {
            take_excerpt(&mut *object);
            // A copy has room for just what it holds. Decoding leaves room for four of whatever may come more than once,
            // which for containers and volumes is more than the rest of a pod.
            Some(Mutation::Put(Arc::from(object.clone_object())))
        }
        Err(error) => {
            tracing::error!(key = %String::from_utf8_lossy(&kv.key), %error, "a stored object does not decode");
            let (info, key) = named(kv)?;
            Some(Mutation::Unreadable { info, key })
        }
    }
}

/// What a change of a pod is to the world, if its spec is as it was: most of a pod is not decoded again then, and of its spec
/// the world has what it keeps.
fn with_spec_as_it_was(world: &World, event: &Event) -> Option<Mutation> {
    let before = event.prev_kv.as_ref()?;
    let stored = Stored::of_key_value(&event.kv).filter(|stored| kinds::is_same(stored.kind(), &Pod::INFO))?;
    let old = world.get::<Pod>(stored.key())?;
    let shown: Result<Revision, _> = Object::metadata(old).resource_version.parse();
    if shown != Ok(before.mod_revision) {
        return None;
    }
    let rest = parts::without_same(&event.kv.value, &before.value, *SPEC_NUMBER)?;
    let mut pod = stored.decode_part(rest.into()).ok()?;
    take_excerpt(&mut *pod);
    let mut pod = pod.clone_object();
    pod.downcast_mut::<Pod>()?.spec.clone_from(&old.spec);
    Some(Mutation::Put(Arc::from(pod)))
}

/// The number of the field that is a pod's spec.
static SPEC_NUMBER: LazyLock<u32> = LazyLock::new(|| {
    let pod = schema::kind("", "v1", "Pod");
    let spec = pod.and_then(|pod| pod.field("spec"));
    spec.map(|spec| spec.number).expect("pods have specs")
});

/// Group, plural and key of what a mutation is about.
fn identity(mutation: &Mutation) -> (&'static str, &'static str, ObjectKey) {
    match mutation {
        Mutation::Put(object) => (object.info().group, object.info().plural, object.key()),
        Mutation::Remove { info, key } | Mutation::Unreadable { info, key } => (info.group, info.plural, key.clone()),
    }
}

fn removal(kv: &KeyValue) -> Option<Mutation> {
    let (info, key) = named(kv)?;
    Some(Mutation::Remove { info, key })
}

fn named(kv: &KeyValue) -> Option<(&'static KindInfo, ObjectKey)> {
    let (ops, key) = kinds::parse_storage_key(std::str::from_utf8(&kv.key).ok()?)?;
    Some((ops.info(), key))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trireme_proto::json::{decode_value, encode_value};

    use super::*;

    fn version(pod: &Value, mod_revision: Revision) -> KeyValue {
        let pod: Pod = decode_value(pod).expect("a pod").value;
        KeyValue {
            key: kinds::storage_key(&Pod::INFO, &ObjectKey::new("shop", "web")).into(),
            value: pod.to_protobuf(),
            create_revision: 1,
            mod_revision,
            version: mod_revision,
            lease: 0,
        }
    }

    fn json_of(mutation: Mutation) -> Value {
        let Mutation::Put(object) = mutation else {
            panic!("a pod is there")
        };
        encode_value(object.downcast_ref::<Pod>().expect("a pod")).expect("JSON")
    }

    /// Whether the pod takes over the spec that the world has; either way it is what decoding all of it gives.
    fn check(changed: &Value, shown: Revision, takes_over: bool) {
        let (before, after) = (version(&pod(), 7), version(changed, 8));
        let mut world = World::new();
        world.apply(observed(&version(&pod(), shown)).expect("a pod"), shown);
        let event = Event {
            kind: EventKind::Put,
            kv: after.clone(),
            prev_kv: Some(before),
        };
        let taken = with_spec_as_it_was(&world, &event);
        assert_eq!(taken.is_some(), takes_over, "{changed}");
        if let Some(taken) = taken {
            assert_eq!(json_of(taken), json_of(observed(&after).expect("a pod")), "{changed}");
        }
    }

    fn pod() -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "managedFields": [{"manager": "m"}]},
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": "main", "image": "web:1", "ports": [{"containerPort": 80}]}],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
            "status": {"phase": "Pending"},
        })
    }

    #[test]
    fn a_spec_that_did_not_change_is_taken_over() {
        let changed = |pointer: &str, value: Value| {
            let mut changed = pod();
            *changed.pointer_mut(pointer).expect("a value") = value;
            changed
        };
        check(&pod(), 7, true);
        check(&changed("/metadata/labels/app", "shop".into()), 7, true);
        check(&changed("/metadata/managedFields", json!([])), 7, true);
        check(
            &changed("/status", json!({"phase": "Running", "podIP": "10.0.0.1"})),
            7,
            true,
        );
        check(&changed("/spec/nodeName", "n2".into()), 7, false);
        check(&changed("/spec/containers/0/image", "web:2".into()), 7, false);
        check(&changed("/spec", json!(null)), 7, false);
        // The world shows another version than the one that the change was made from.
        check(&changed("/status/phase", "Running".into()), 6, false);
    }
}
