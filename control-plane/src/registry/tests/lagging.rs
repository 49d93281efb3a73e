//! The registry on a server whose replica is behind: what it answers is as if it were not.

use std::sync::atomic::{AtomicI64, Ordering};

use trireme_proto::api::core::v1::Namespace;
use trireme_store::kv::{
    Consistency, HashKv, KvError, Leadership, RangeRequest, RangeResponse, Revision, Txn, TxnResponse, WatchBatch,
    WatchRequest, Watcher,
};

use super::{
    quotas::{quota_of_pods, sum_up_pods},
    *,
};
use crate::{
    pipeline::admit::{QuotaState, Surroundings},
    registry::DeleteOptions,
};

/// A replica that stays where it was told to, until a linearizable read brings it up to date. Its watchers it leaves behind.
struct LaggingKv {
    inner: Arc<LocalKv>,
    /// 0 for no lag.
    frozen_at: Arc<AtomicI64>,
}

/// Hears nothing any more once its replica lags.
struct LaggingWatcher {
    inner: Box<dyn Watcher>,
    frozen_at: Arc<AtomicI64>,
}

#[async_trait::async_trait]
impl Watcher for LaggingWatcher {
    async fn next(&mut self) -> Result<WatchBatch, KvError> {
        let batch = self.inner.next().await?;
        if self.frozen_at.load(Ordering::SeqCst) == 0 {
            return Ok(batch);
        }
        std::future::pending().await
    }
}

#[async_trait::async_trait]
impl Kv for LaggingKv {
    async fn range(&self, mut request: RangeRequest, consistency: Consistency) -> Result<RangeResponse, KvError> {
        let frozen_at = self.frozen_at.load(Ordering::SeqCst);
        if consistency == Consistency::Serializable && request.revision == 0 {
            request.revision = frozen_at;
        }
        let answer = self.inner.range(request, consistency).await?;
        if consistency == Consistency::Linearizable && frozen_at != 0 {
            self.frozen_at.store(answer.revision, Ordering::SeqCst);
        }
        Ok(answer)
    }

    async fn txn(&self, txn: Txn, fence: Option<Leadership>) -> Result<TxnResponse, KvError> {
        self.inner.txn(txn, fence).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<Box<dyn Watcher>, KvError> {
        Ok(Box::new(LaggingWatcher {
            inner: self.inner.watch(request).await?,
            frozen_at: self.frozen_at.clone(),
        }))
    }

    async fn compact(&self, revision: Revision) -> Result<(), KvError> {
        self.inner.compact(revision).await
    }

    async fn hash_kv(&self, revision: Revision) -> Result<HashKv, KvError> {
        self.inner.hash_kv(revision).await
    }

    fn applied_revision(&self) -> Revision {
        self.inner.applied_revision()
    }

    async fn wait_applied(&self, revision: Revision) -> Result<(), KvError> {
        self.inner.wait_applied(revision).await
    }
}

/// A server that is current, and one that lags from now on.
struct Pair {
    current: Harness,
    behind: Arc<Registry>,
    lag: Arc<LaggingKv>,
}

impl Pair {
    async fn new() -> Self {
        let current = Harness::new().await;
        let lag = Arc::new(LaggingKv {
            inner: current.kv.clone(),
            frozen_at: Arc::default(),
        });
        let behind = Registry::start(lag.clone(), current.registry.environment().clone());
        Self { current, behind, lag }
    }

    /// Waits until the one behind has at hand, of a namespace, what holds.
    async fn at_hand(&self, namespace: &str, holds: impl Fn(&Surroundings) -> bool) {
        let policies = &self.behind.policies;
        until(|| policies.at_hand(namespace).is_some_and(|found| holds(&found))).await;
    }

    fn freeze(&self) {
        self.lag.frozen_at.store(self.current.revision(), Ordering::SeqCst);
    }

    /// Settings of one colour, a replica frozen there, and another colour since.
    async fn with_changed_settings() -> (Self, ConfigMap, ConfigMap) {
        let pair = Self::new().await;
        let mut settings = mk_config_map("settings");
        settings.data.insert("color".to_owned(), "red".to_owned());
        let red: ConfigMap = typed(&pair.current.create(settings).await.expect("created"));
        pair.freeze();
        let mut blue = red.clone();
        blue.data.insert("color".to_owned(), "blue".to_owned());
        let changed = pair
            .current
            .registry
            .update(&system(), Decoded::internal(Box::new(blue)), false)
            .await;
        let blue = typed(&changed.expect("updated").stored);
        (pair, red, blue)
    }

    async fn color(&self) -> String {
        let stored = self
            .current
            .get("", "configmaps", &in_default("settings"))
            .await
            .expect("there");
        typed::<ConfigMap>(&stored).data["color"].clone()
    }
}

fn decoded(object: &ConfigMap) -> Decoded {
    Decoded::internal(Box::new(object.clone()))
}

#[tokio::test]
async fn no_news_in_an_old_reading_is_news() {
    let (pair, mut red, _) = Pair::with_changed_settings().await;
    // To the old reading this changes nothing; in truth it does.
    red.metadata.as_mut().expect("present").resource_version.clear();
    let changed = pair
        .behind
        .update(&system(), decoded(&red), false)
        .await
        .expect("the last write wins");
    assert_eq!(typed::<ConfigMap>(&changed.stored).data["color"], "red");
    assert_eq!(pair.color().await, "red");
}

#[tokio::test]
async fn a_version_that_has_not_arrived_yet_is_no_conflict() {
    let (pair, _, mut blue) = Pair::with_changed_settings().await;
    blue.data.insert("color".to_owned(), "green".to_owned());
    pair.behind
        .update(&system(), decoded(&blue), false)
        .await
        .expect("it is the latest");
    assert_eq!(pair.color().await, "green");
}

#[tokio::test]
async fn an_old_version_is_a_conflict_though_the_replica_shows_it() {
    let (pair, mut red, _) = Pair::with_changed_settings().await;
    red.data.insert("color".to_owned(), "green".to_owned());
    assert_eq!(
        reason(pair.behind.update(&system(), decoded(&red), false).await),
        Reason::Conflict
    );
    assert_eq!(pair.color().await, "blue");
}

#[tokio::test]
async fn what_has_not_arrived_yet_is_found() {
    let pair = Pair::new().await;
    pair.freeze();
    pair.current.create(mk_pod("web")).await.expect("created");
    let key = in_default("web");
    pair.behind
        .get(&system(), ops_of("", "pods"), &key, ReadFrom::Latest)
        .await
        .expect("read through the leader");
    pair.behind.bind(&system(), &key, "", "n1").await.expect("bound");
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    assert!(
        pair.behind
            .delete(&system(), ops_of("", "pods"), &key, &now)
            .await
            .expect("deleted")
            .gone
    );
    assert_eq!(reason(pair.current.get_pod("web").await), Reason::NotFound);
}

#[tokio::test]
async fn what_is_gone_is_not_found_though_the_replica_shows_it() {
    let pair = Pair::new().await;
    pair.current.create(mk_pod("web")).await.expect("created");
    pair.freeze();
    let (ops, key) = (ops_of("", "pods"), in_default("web"));
    pair.current
        .registry
        .delete(&system(), ops, &key, &DeleteOptions::default())
        .await
        .expect("deleted");
    assert_eq!(
        reason(pair.behind.bind(&system(), &key, "", "n1").await),
        Reason::NotFound
    );
    let again = pair
        .behind
        .delete(&system(), ops, &key, &DeleteOptions::default())
        .await;
    assert_eq!(reason(again), Reason::NotFound);
    let old = pair.behind.get(&system(), ops, &key, ReadFrom::Anything).await;
    old.expect("whoever asks for anything gets it");
}

#[tokio::test]
async fn what_had_no_room_is_refused_only_if_there_is_none_now() {
    let pair = Pair::new().await;
    quota_of_pods(&pair.current, "1", "1").await;
    let is_full = |state: &QuotaState| state.quota.status.is_some();
    pair.at_hand("default", |found| found.quotas.iter().any(is_full)).await;
    pair.freeze();
    let create = async |name: &str| {
        let pod = Decoded::internal(Box::new(mk_pod(name)));
        pair.behind.create(&system(), pod, false).await
    };
    assert_eq!(reason(create("web-0").await), Reason::Forbidden);
    sum_up_pods(&pair.current, "1", "0").await;
    create("web-0").await.expect("there is room now");
    assert_eq!(reason(create("web-1").await), Reason::Forbidden);
}

#[tokio::test]
async fn a_namespace_that_was_ending_takes_objects_once_it_is_made_anew() {
    let pair = Pair::new().await;
    let (ops, key) = (ops_of("", "namespaces"), ObjectKey::new("", "shop"));
    let shop = Namespace {
        metadata: Some(ObjectMeta {
            name: key.name.clone(),
            ..ObjectMeta::default()
        }),
        ..Namespace::default()
    };
    pair.current.create(shop.clone()).await.expect("created");
    let deleted = pair
        .current
        .registry
        .delete(&system(), ops, &key, &DeleteOptions::default())
        .await
        .expect("marked");
    pair.at_hand("shop", |found| {
        found.namespace.as_ref().is_some_and(|state| state.terminating)
    })
    .await;
    pair.freeze();
    let create = async || {
        let mut settings = mk_config_map("settings");
        settings.metadata.as_mut().expect("present").namespace = "shop".to_owned();
        pair.behind.create(&system(), decoded(&settings), false).await
    };
    assert_eq!(reason(create().await), Reason::Forbidden);
    let mut ended: Namespace = typed(&deleted.stored);
    ended.spec.as_mut().expect("present").finalizers.clear();
    let ended = pair
        .current
        .registry
        .update(&system(), Decoded::internal(Box::new(ended)), false)
        .await;
    assert!(ended.expect("ended").gone);
    pair.current.create(shop).await.expect("made anew");
    create().await.expect("it takes objects again");
}
