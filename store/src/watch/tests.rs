//! Watches over a window that is too small, over a database, and across the replacement of the state.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;

use super::Hub;
use super::window::WindowLimits;
use crate::engine::{AppliedPosition, Command, Engine, EngineOptions, Entry};
use crate::kv::{KeyRange, KvError, Op, Revision, Txn, WatchRequest, Watcher};

struct Stage {
    engine: Arc<Engine>,
    hub: Arc<Hub>,
}

impl Stage {
    fn new(engine: Engine, window_events: usize) -> Self {
        let engine = Arc::new(engine);
        let limits = WindowLimits {
            bytes: usize::MAX,
            events: window_events,
        };
        Self {
            hub: Hub::with_limits(Arc::clone(&engine), limits),
            engine,
        }
    }

    fn apply(&self, command: &Command) -> Revision {
        let index = self.engine.applied_position().map_or(1, |position| position.index + 1);
        let position = AppliedPosition {
            term: 1,
            index,
            opaque: Bytes::new(),
        };
        let applied = self
            .engine
            .apply_chunk([Entry {
                position,
                command: Some(command.encode()),
            }])
            .unwrap();
        self.hub.publish(&applied);
        applied.revision
    }

    fn put(&self, key: &str) -> Revision {
        let op = Op::Put {
            key: key.to_owned().into(),
            value: "v".into(),
            lease: 0,
            prev_kv: false,
        };
        self.apply(&Command::Txn {
            txn: Txn {
                success: vec![op],
                ..Txn::default()
            },
            fence_term: None,
        })
    }

    fn watch(&self, prefix: &str, start_revision: Revision) -> Box<dyn Watcher> {
        let range = KeyRange::prefix(prefix.to_owned());
        self.hub.watch(WatchRequest { range, start_revision }).unwrap()
    }
}

async fn revisions(watcher: &mut dyn Watcher, until: Revision) -> Vec<Revision> {
    let (mut all, mut progress) = (Vec::new(), 0);
    while progress < until {
        let batch = watcher.next().await.unwrap();
        all.extend(batch.events.iter().map(|event| event.kv.mod_revision));
        progress = batch.progress;
    }
    all
}

/// A watcher that reads rarely sees the same as one that reads always, whatever of it is still in the window.
async fn slow_and_fast_see_the_same(engine: Engine) {
    for window in [1, 5, 50] {
        let stage = Stage::new(Engine::in_memory(), window);
        let (mut fast, mut slow) = (stage.watch("a/", 0), stage.watch("a/", 0));
        let mut seen = Vec::new();
        let mut expected = Vec::new();
        for n in 0..60 {
            if n % 3 == 0 {
                stage.put("b/x");
            } else {
                expected.push(stage.put(&format!("a/{}", n % 7)));
                seen.extend(revisions(&mut *fast, stage.engine.revision()).await);
            }
        }
        assert_eq!(seen, expected);
        assert_eq!(revisions(&mut *slow, stage.engine.revision()).await, expected);
    }
    let stage = Stage::new(engine, 3);
    let mut slow = stage.watch("a/", 0);
    let expected: Vec<_> = (0..50).map(|n| stage.put(&format!("a/{n}"))).collect();
    assert_eq!(revisions(&mut *slow, stage.engine.revision()).await, expected);
}

#[tokio::test]
async fn slow_watchers_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    slow_and_fast_see_the_same(Engine::in_memory()).await;
    slow_and_fast_see_the_same(Engine::open(dir.path(), EngineOptions::default()).unwrap()).await;
}

#[tokio::test]
async fn a_watcher_that_waits_is_woken_only_for_its_keys() {
    let stage = Stage::new(Engine::in_memory(), 100);
    let mut watcher = stage.watch("a/", 0);
    let waiting = tokio::spawn(async move { watcher.next().await });
    tokio::task::yield_now().await;
    let revision = stage.put("a/x");
    let batch = waiting.await.unwrap().unwrap();
    assert_eq!((batch.events.len(), batch.progress), (1, revision));
}

#[tokio::test]
async fn falling_below_the_watermark_is_told() {
    let stage = Stage::new(Engine::in_memory(), 2);
    let mut slow = stage.watch("a/", 0);
    for _ in 0..10 {
        stage.put("a/x");
    }
    stage.apply(&Command::Compact { revision: 8 });
    assert_eq!(
        slow.next().await,
        Err(KvError::Compacted {
            requested: 2,
            oldest: 8
        })
    );
    let refused = stage.hub.watch(WatchRequest {
        range: KeyRange::prefix("a/"),
        start_revision: 7,
    });
    assert!(matches!(
        refused,
        Err(KvError::Compacted {
            requested: 7,
            oldest: 8
        })
    ));
}

#[tokio::test]
async fn watches_go_on_when_the_state_is_replaced() {
    let (ahead, behind) = (
        Stage::new(Engine::in_memory(), 100),
        Stage::new(Engine::in_memory(), 100),
    );
    let mut expected = Vec::new();
    for n in 0..20 {
        let revision = ahead.put("a/x");
        if n < 5 {
            assert_eq!(behind.put("a/x"), revision);
        }
        expected.push(revision);
    }
    let mut watcher = behind.watch("a/", 2);
    assert_eq!(revisions(&mut *watcher, 6).await, expected[..5]);
    let mut waiting = behind.watch("a/", 0);
    let waited = tokio::spawn(async move { waiting.next().await });
    tokio::task::yield_now().await;

    let mut snapshot = Vec::new();
    ahead.engine.export(&mut snapshot).unwrap();
    behind.engine.install(&mut &snapshot[..]).unwrap();
    behind.hub.reset();
    assert_eq!(behind.hub.applied_revision(), 21);
    assert_eq!(waited.await.unwrap().unwrap().events.len(), 15);
    assert_eq!(revisions(&mut *watcher, 21).await, expected[5..]);
    assert_eq!(behind.put("a/x"), 22);
    assert_eq!(revisions(&mut *watcher, 22).await, [22]);
}

#[tokio::test]
async fn nothing_is_left_of_watchers_that_have_gone() {
    let stage = Stage::new(Engine::in_memory(), 100);
    let watchers = [stage.watch("a/", 0), stage.watch("a/", 0), stage.watch("b/", 0)];
    assert_eq!(stage.hub.groups(), 2);
    drop(watchers);
    assert_eq!(stage.hub.groups(), 0);
}

#[tokio::test]
async fn waits_end_when_the_revision_is_applied() {
    let stage = Stage::new(Engine::in_memory(), 100);
    let hub = Arc::clone(&stage.hub);
    let waiting = tokio::spawn(async move { hub.wait_applied(3).await });
    stage.put("a");
    assert!(!waiting.is_finished());
    stage.put("a");
    waiting.await.unwrap().unwrap();
    assert_eq!(stage.hub.applied_revision(), 3);
}
