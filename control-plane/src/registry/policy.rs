//! What creates depend on beside the object: namespaces, quotas, limit ranges, and classes of priority and storage, kept at
//! hand.
//!
//! A follower of the replica keeps them current, so that a create costs no read. Being a little behind
//! does no harm: every create makes the revisions it saw preconditions of its write, and asks the store itself when
//! they do not hold, something is missing here, or it would be refused by them.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use trireme_logic::{
    admission::{PriorityClasses, default_storage_class_of},
    kind::KindInfo,
    kinds,
    object::ObjectKey,
};
use trireme_proto::api::{
    core::v1::{LimitRange, Namespace, ResourceQuota},
    scheduling::v1::PriorityClass,
    storage::v1::StorageClass,
};
use trireme_store::kv::{
    Consistency, EventKind, KeyRange, KeyValue, Kv, KvError, RangeRequest, Revision, WatchRequest,
};

use super::{Stored, object_range, ops_of};
use crate::{
    pipeline::admit::{NamespaceState, QuotaState, Surroundings},
    status::ApiError,
};

/// How many namespaces' creates can be ordered independently of each other.
const TURNS: usize = 64;

/// Pause before a broken follower starts over.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// The cache and its follower.
pub(super) struct PolicyCache {
    kv: Arc<dyn Kv>,
    state: RwLock<State>,
    turns: [Mutex<()>; TURNS],
}

#[derive(Default)]
struct State {
    /// False until a kind has been read once, and while its follower starts over.
    following: [bool; Followed::ALL.len()],
    namespaces: BTreeMap<String, NamespaceState>,
    quotas: BTreeMap<ObjectKey, QuotaState>,
    limit_ranges: BTreeMap<ObjectKey, Arc<LimitRange>>,
    priority_classes: Arc<PriorityClasses>,
    storage_classes: BTreeMap<String, StorageClass>,
}

/// The kinds that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Followed {
    Namespaces,
    Quotas,
    LimitRanges,
    PriorityClasses,
    StorageClasses,
}

impl Followed {
    const ALL: [Self; 5] = [
        Self::Namespaces,
        Self::Quotas,
        Self::LimitRanges,
        Self::PriorityClasses,
        Self::StorageClasses,
    ];

    fn info(self) -> &'static KindInfo {
        match self {
            Self::Namespaces => ops_of("", "namespaces").info(),
            Self::Quotas => ops_of("", "resourcequotas").info(),
            Self::LimitRanges => ops_of("", "limitranges").info(),
            Self::PriorityClasses => ops_of("scheduling.k8s.io", "priorityclasses").info(),
            Self::StorageClasses => ops_of("storage.k8s.io", "storageclasses").info(),
        }
    }
}

impl PolicyCache {
    pub(super) fn start(kv: Arc<dyn Kv>, stop: &CancellationToken) -> Arc<Self> {
        let turns = std::array::from_fn(|_| Mutex::new(()));
        let cache = Arc::new(Self {
            kv,
            state: RwLock::default(),
            turns,
        });
        for followed in Followed::ALL {
            let (cache, stop) = (cache.clone(), stop.clone());
            tokio::spawn(async move { stop.run_until_cancelled(cache.follow_for_ever(followed)).await });
        }
        cache
    }

    /// What stands around a new object in `namespace` (empty for cluster-scoped kinds).
    pub(super) async fn surroundings(&self, namespace: &str) -> Result<Surroundings, ApiError> {
        if let Some(surroundings) = self.at_hand(namespace) {
            return Ok(surroundings);
        }
        self.read(namespace, Consistency::Linearizable).await
    }

    /// What stands around a change of an object of a kind: nothing, except for the classes of which one may be the default.
    pub(super) async fn around_change(&self, info: &KindInfo) -> Result<Surroundings, ApiError> {
        if info.kind == Followed::PriorityClasses.info().kind {
            self.read("", Consistency::Linearizable).await
        } else {
            Ok(Surroundings::default())
        }
    }

    /// The same as it is known here, perhaps a little late; `None` if it is not known.
    pub(super) fn at_hand(&self, namespace: &str) -> Option<Surroundings> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.following.contains(&false) {
            return None;
        }
        if namespace.is_empty() {
            return Some(Surroundings {
                priority_classes: state.priority_classes.clone(),
                ..Surroundings::default()
            });
        }
        let found = state.namespaces.get(namespace)?.clone();
        let first = ObjectKey::new(namespace, "");
        let quotas = state
            .quotas
            .range(&first..)
            .take_while(|(key, _)| key.namespace == namespace);
        let limit_ranges = state
            .limit_ranges
            .range(&first..)
            .take_while(|(key, _)| key.namespace == namespace);
        Some(Surroundings {
            namespace: Some(found),
            quotas: quotas.map(|(_, quota)| quota.clone()).collect(),
            limit_ranges: limit_ranges.map(|(_, limits)| limits.clone()).collect(),
            priority_classes: state.priority_classes.clone(),
            default_storage_class: state.default_storage_class(),
        })
    }

    /// The same from the store itself.
    pub(super) async fn read(&self, namespace: &str, consistency: Consistency) -> Result<Surroundings, ApiError> {
        let mut state = State::default();
        let mut consistency = consistency;
        for followed in Followed::ALL {
            let range = match followed {
                Followed::PriorityClasses => KeyRange::prefix(kinds::storage_prefix(followed.info())),
                // Nothing of a namespace stands around what is in none.
                _ if namespace.is_empty() => continue,
                Followed::Namespaces => object_range(followed.info(), &ObjectKey::new("", namespace)),
                Followed::Quotas | Followed::LimitRanges => {
                    KeyRange::prefix(kinds::namespace_prefix(followed.info(), namespace))
                }
                Followed::StorageClasses => KeyRange::prefix(kinds::storage_prefix(followed.info())),
            };
            let answer = self.kv.range(RangeRequest::latest(range), consistency).await?;
            // The first read brought this replica up to date.
            consistency = Consistency::Serializable;
            for kv in &answer.kvs {
                state.apply(followed, kv, EventKind::Put);
            }
        }
        Ok(Surroundings {
            default_storage_class: state.default_storage_class(),
            namespace: state.namespaces.remove(namespace),
            quotas: state.quotas.into_values().collect(),
            limit_ranges: state.limit_ranges.into_values().collect(),
            priority_classes: state.priority_classes,
        })
    }

    /// Waits until no other create on this server is charging this namespace's quotas.
    pub(super) async fn turn(&self, namespace: &str) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(namespace);
        self.turns[usize::try_from(hash % TURNS as u64).unwrap_or(0)]
            .lock()
            .await
    }

    /// Takes over what a create of this server wrote, ahead of the follower.
    pub(super) fn note_charges(&self, namespace: &str, charges: Vec<(String, ResourceQuota)>, revision: Revision) {
        if charges.is_empty() {
            return;
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (name, quota) in charges {
            let key = ObjectKey::new(namespace, name.as_str());
            // A quota that is not known here any more may have been deleted since.
            if let Some(known) = state.quotas.get_mut(&key).filter(|known| known.revision < revision) {
                *known = QuotaState {
                    name,
                    revision,
                    quota: Arc::new(quota),
                };
            }
        }
    }

    async fn follow_for_ever(&self, followed: Followed) {
        loop {
            let error = match self.follow(followed).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            tracing::debug!(%error, kind = followed.info().kind, "following starts over");
            self.state.write().unwrap_or_else(PoisonError::into_inner).following[followed as usize] = false;
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }

    async fn follow(&self, followed: Followed) -> Result<std::convert::Infallible, KvError> {
        let range = KeyRange::prefix(kinds::storage_prefix(followed.info()));
        let present = self
            .kv
            .range(RangeRequest::latest(range.clone()), Consistency::Serializable)
            .await?;
        let mut watcher = self
            .kv
            .watch(WatchRequest {
                range,
                start_revision: present.revision + 1,
            })
            .await?;
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.clear(followed);
            for kv in &present.kvs {
                state.apply(followed, kv, EventKind::Put);
            }
            state.following[followed as usize] = true;
        }
        loop {
            let batch = watcher.next().await?;
            if batch.events.is_empty() {
                continue;
            }
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            for event in &batch.events {
                state.apply(followed, &event.kv, event.kind);
            }
        }
    }
}

impl State {
    fn clear(&mut self, followed: Followed) {
        match followed {
            Followed::Namespaces => self.namespaces.clear(),
            Followed::Quotas => self.quotas.clear(),
            Followed::LimitRanges => self.limit_ranges.clear(),
            Followed::PriorityClasses => self.priority_classes = Arc::default(),
            Followed::StorageClasses => self.storage_classes.clear(),
        }
    }

    fn default_storage_class(&self) -> Option<String> {
        default_storage_class_of(self.storage_classes.values()).map(str::to_owned)
    }

    fn apply(&mut self, followed: Followed, kv: &KeyValue, kind: EventKind) {
        let Some(stored) = Stored::of_key_value(kv) else {
            return;
        };
        let (key, revision) = (stored.key().clone(), stored.revision());
        let object = match kind {
            EventKind::Put => stored.object().ok(),
            EventKind::Delete => None,
        };
        match followed {
            Followed::Namespaces => {
                let namespace = object.and_then(|object| object.downcast_ref::<Namespace>());
                match namespace {
                    Some(namespace) => {
                        let marked = namespace
                            .metadata
                            .as_ref()
                            .is_some_and(|meta| meta.deletion_timestamp.is_some());
                        let state = NamespaceState {
                            revision,
                            terminating: marked,
                        };
                        self.namespaces.insert(key.name, state);
                    }
                    None => drop(self.namespaces.remove(&key.name)),
                }
            }
            Followed::Quotas => match object.and_then(|object| object.downcast_ref::<ResourceQuota>()) {
                // What this server wrote itself may be noted already, and more.
                Some(_) if self.quotas.get(&key).is_some_and(|known| known.revision >= revision) => {}
                Some(quota) => {
                    let state = QuotaState {
                        name: key.name.clone(),
                        revision,
                        quota: Arc::new(quota.clone()),
                    };
                    self.quotas.insert(key, state);
                }
                None => drop(self.quotas.remove(&key)),
            },
            Followed::LimitRanges => match object.and_then(|object| object.downcast_ref::<LimitRange>()) {
                Some(limits) => drop(self.limit_ranges.insert(key, Arc::new(limits.clone()))),
                None => drop(self.limit_ranges.remove(&key)),
            },
            Followed::PriorityClasses => {
                let classes = Arc::make_mut(&mut self.priority_classes);
                match object.and_then(|object| object.downcast_ref::<PriorityClass>()) {
                    Some(class) => drop(classes.insert(key.name, Arc::new(class.clone()))),
                    None => drop(classes.remove(&key.name)),
                }
            }
            Followed::StorageClasses => match object.and_then(|object| object.downcast_ref::<StorageClass>()) {
                Some(class) => drop(self.storage_classes.insert(key.name, class.clone())),
                None => drop(self.storage_classes.remove(&key.name)),
            },
        }
    }
}
