//! Watches over a window that is too small, over a database, and across the replacement of the state.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;

use super::topics::tests::Values;
use super::window::WindowLimits;
use super::{About, Delivery, Hub, WatchSet};
use crate::engine::limits::WATCH_ROUND_EVENTS;
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
        self.put_value(key, "v")
    }

    fn put_value(&self, key: &str, value: &str) -> Revision {
        let op = Op::put(key.to_owned(), value.to_owned());
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

/// A watch of `a/` that is about one value of its keys.
fn watch_about(stage: &Stage, value: &'static str) -> Box<dyn Watcher> {
    let request = WatchRequest {
        range: KeyRange::prefix("a/"),
        start_revision: 0,
    };
    let about = About {
        topics: &Values,
        topic: value.into(),
    };
    stage.hub.watch_about(request, about).unwrap()
}

/// What is about a topic is told, however much else comes between and whenever it is read; and progress is told of all.
#[tokio::test]
async fn who_watches_a_topic_loses_nothing_of_it() {
    for window in [1, 5, 50] {
        let stage = Stage::new(Engine::in_memory(), window);
        let (mut fast, mut slow) = (watch_about(&stage, "red"), watch_about(&stage, "red"));
        let mut expected = Vec::new();
        let (mut fast_saw, mut slow_saw) = (Vec::new(), Vec::new());
        let mut is_red = [false; 7];
        for n in 0..200 {
            let (key, red) = (n * 5 % 7, n % 11 == 0);
            let revision = stage.put_value(&format!("a/{key}"), if red { "red" } else { "green" });
            // It is about what the key was, too.
            if red || is_red[key] {
                expected.push(revision);
                fast_saw.extend(revisions(&mut *fast, revision).await);
            }
            is_red[key] = red;
            if n == 100 {
                slow_saw.extend(revisions(&mut *slow, revision).await);
            }
        }
        for (watcher, mut saw) in [(&mut fast, fast_saw), (&mut slow, slow_saw)] {
            saw.extend(revisions(&mut **watcher, stage.engine.revision()).await);
            assert_eq!(saw, expected, "window {window}");
        }
    }
}

#[tokio::test]
async fn who_watches_a_topic_is_not_woken_for_others() {
    let stage = Stage::new(Engine::in_memory(), 10);
    let mut watcher = watch_about(&stage, "red");
    let waiting = tokio::spawn(async move {
        loop {
            let batch = watcher.next().await.unwrap();
            // Progress is told meanwhile.
            if !batch.events.is_empty() {
                return (batch, watcher);
            }
        }
    });
    tokio::task::yield_now().await;
    for n in 0..100 {
        stage.put_value(&format!("a/{n}"), "green");
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    let revision = stage.put_value("a/x", "red");
    let (batch, watcher) = waiting.await.unwrap();
    let told: Vec<_> = batch.events.iter().map(|event| event.kv.mod_revision).collect();
    assert_eq!(told, [revision]);
    drop(watcher);
    assert_eq!(stage.hub.metrics().watchers.get(), 0);
}

#[tokio::test]
async fn a_hub_that_closes_ends_all_watches() {
    let stage = Stage::new(Engine::in_memory(), 100);
    let mut waiting = stage.watch("a/", 0);
    let waiting = tokio::spawn(async move { waiting.next().await });
    let mut idle = stage.watch("b/", 0);
    let mut about = watch_about(&stage, "red");
    let about = tokio::spawn(async move { about.next().await });
    tokio::task::yield_now().await;
    stage.hub.close();
    let deadline = std::time::Duration::from_secs(10);
    let ended = tokio::time::timeout(deadline, waiting).await.unwrap().unwrap();
    assert!(matches!(ended, Err(KvError::Stopped(_))), "{ended:?}");
    let ended = tokio::time::timeout(deadline, about).await.unwrap().unwrap();
    assert!(matches!(ended, Err(KvError::Stopped(_))), "{ended:?}");
    let ended = tokio::time::timeout(deadline, idle.next()).await.unwrap();
    assert!(matches!(ended, Err(KvError::Stopped(_))), "{ended:?}");
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

/// What a set told its watchers: their events' revisions, and how it ended for them.
#[derive(Default)]
struct Told {
    events: std::collections::BTreeMap<u64, Vec<Revision>>,
    lost: Vec<(u64, Revision)>,
}

impl Told {
    fn take(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            match delivery {
                Delivery::Events { id, events, progress } => {
                    let told = self.events.entry(id).or_default();
                    told.extend(events.iter().map(|event| event.event().kv.mod_revision));
                    assert!(told.last() <= Some(&progress));
                }
                Delivery::Compacted { id, oldest } => self.lost.push((id, oldest)),
            }
        }
    }

    /// Takes what there is until everybody has been told of everything up to `revision`; answers how far that was.
    async fn follow(&mut self, set: &mut WatchSet, revision: Revision) -> Revision {
        loop {
            set.informed(revision).await;
            if let Some(synced) = set.synced().filter(|synced| *synced >= revision) {
                return synced;
            }
            self.take(set.deliver().await.unwrap());
        }
    }
}

fn key_range(start: &'static str, end: Option<&'static str>) -> KeyRange {
    KeyRange {
        start: start.into(),
        end: end.map(Into::into),
    }
}

/// Watchers with many ranges and starts, added at any time, with a reader that is fast or slow.
#[tokio::test]
async fn a_set_tells_each_watcher_its_changes_once_and_in_order() {
    let ranges = [
        key_range("a/1", None),
        KeyRange::prefix("a/"),
        KeyRange::prefix("b/"),
        key_range("a/2", Some("b/2")),
        KeyRange::prefix(""),
        key_range("z", Some("a")),
    ];
    for (window, pace) in [(1, 1), (3, 7), (5, 20), (1_000, 1), (1_000, 30)] {
        let stage = Stage::new(Engine::in_memory(), window);
        let mut set = WatchSet::new(&stage.hub);
        let (mut told, mut keys) = (Told::default(), Vec::new());
        let mut wanted = Vec::new();
        for n in 0..200_u64 {
            if n % 9 == 0 {
                let range = ranges[(n / 9) as usize % ranges.len()].clone();
                let now = stage.engine.revision();
                let start = [0, 1, now / 2, now, now + 1, now + 5][(n as usize * 7) % 6];
                set.add(n, range.clone(), start);
                wanted.push((n, range, if start == 0 { now + 1 } else { start }));
            }
            let key = format!("{}/{}", ["a", "b", "c"][(n * n) as usize % 3], n % 4);
            keys.push((stage.put(&key), key));
            if n % pace == 0 {
                let deliveries = tokio::time::timeout(std::time::Duration::from_millis(1), set.deliver());
                if let Ok(deliveries) = deliveries.await {
                    told.take(deliveries.unwrap());
                }
            }
        }
        told.follow(&mut set, stage.engine.revision()).await;
        for (id, range, start) in wanted {
            let expected: Vec<Revision> = keys
                .iter()
                .filter(|(revision, key)| *revision >= start && range.contains(key.as_bytes()))
                .map(|(revision, _)| *revision)
                .collect();
            let seen = told.events.remove(&id).unwrap_or_default();
            assert_eq!(
                seen, expected,
                "watcher {id} of {range:?} from {start}, window {window}"
            );
        }
        assert_eq!(told.lost, []);
    }
}

#[tokio::test]
async fn a_set_passes_over_what_others_change() {
    let stage = Stage::new(Engine::in_memory(), 3);
    let mut set = WatchSet::new(&stage.hub);
    set.add(1, KeyRange::prefix("a/"), 0);
    let mut told = Told::default();
    assert!(set.deliver().await.unwrap().is_empty(), "it has caught up");
    for _ in 0..100 {
        let revision = stage.put("b/x");
        set.informed(revision).await;
    }
    let revision = stage.engine.revision();
    assert_eq!(set.synced(), Some(revision));
    // Had it looked at the others' changes one by one, it would now have to read history that is gone.
    stage.apply(&Command::Compact { revision });
    let own = stage.put("a/x");
    told.follow(&mut set, own).await;
    assert_eq!((told.events[&1].clone(), told.lost), (vec![own], vec![]));
}

#[tokio::test]
async fn a_set_has_caught_up_only_when_all_have() {
    let stage = Stage::new(Engine::in_memory(), 2);
    for _ in 0..20 {
        stage.put("a/x");
    }
    let mut set = WatchSet::new(&stage.hub);
    assert_eq!(set.add(1, KeyRange::prefix("a/"), 0), 21);
    set.add(2, KeyRange::prefix("a/"), 5);
    set.add(3, KeyRange::prefix("a/"), 24);
    assert_eq!(set.synced(), None);
    let mut told = Told::default();
    while told.events.get(&2).is_none_or(|told| told.len() < 17) {
        told.take(set.deliver().await.unwrap());
    }
    set.informed(21).await;
    assert_eq!(set.synced(), None, "one waits for revision 24");
    for _ in 0..3 {
        stage.put("b/x");
    }
    assert_eq!(told.follow(&mut set, 24).await, 24);
    assert_eq!(told.events.keys().copied().collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_set_tells_whose_start_is_gone() {
    let stage = Stage::new(Engine::in_memory(), 2);
    for _ in 0..20 {
        stage.put("a/x");
    }
    stage.apply(&Command::Compact { revision: 10 });
    let mut set = WatchSet::new(&stage.hub);
    for (id, start) in [(1, 9), (2, 10), (3, 1), (4, 0)] {
        set.add(id, KeyRange::prefix("a/"), start);
    }
    let mut told = Told::default();
    told.follow(&mut set, 21).await;
    told.lost.sort_unstable();
    assert_eq!(told.lost, [(1, 10), (3, 10)]);
    assert_eq!(told.events[&2], (10..=21).collect::<Vec<_>>());
    assert!(!set.remove(1) && set.remove(2) && set.remove(4));

    // One that does not read falls behind the window and the watermark.
    set.add(5, KeyRange::prefix("a/"), 0);
    for _ in 0..20 {
        stage.put("a/x");
    }
    stage.apply(&Command::Compact { revision: 30 });
    told.take(set.deliver().await.unwrap());
    assert_eq!(told.lost.last(), Some(&(5, 30)));
}

#[tokio::test]
async fn a_set_leaves_nothing_behind() {
    let stage = Stage::new(Engine::in_memory(), 2);
    let mut set = WatchSet::new(&stage.hub);
    for id in 0..4 {
        set.add(id, KeyRange::prefix("a/"), 0);
    }
    set.add(4, KeyRange::key("b"), 0);
    assert_eq!(stage.hub.groups(), 2);
    set.remove(4);
    set.remove(0);
    assert_eq!(stage.hub.groups(), 1);
    drop(set);
    assert_eq!(stage.hub.groups(), 0);
}

/// Ten thousand watchers on one server: an event is encoded once for all of them, and those of other keys are not even
/// woken.
#[tokio::test]
async fn an_event_is_encoded_once_for_all() {
    let stage = Stage::new(Engine::in_memory(), 1_000);
    let mut sets: Vec<WatchSet> = (0..100).map(|_| WatchSet::new(&stage.hub)).collect();
    for (number, set) in sets.iter_mut().enumerate() {
        for id in 0..100 {
            let prefix = if number < 50 { "a/" } else { "b/" };
            set.add(id, KeyRange::prefix(prefix), 0);
        }
        assert!(set.deliver().await.unwrap().is_empty(), "it has caught up");
    }
    assert_eq!(stage.hub.groups(), 2);
    let revision = stage.put("a/x");
    let mut encoded = std::collections::BTreeSet::new();
    for set in &mut sets[..50] {
        let deliveries = set.deliver().await.unwrap();
        assert_eq!(deliveries.len(), 100);
        for delivery in deliveries {
            let Delivery::Events { events, .. } = delivery else {
                panic!("{delivery:?}")
            };
            let bytes = events[0].encoded(false, stage.hub.metrics());
            assert_eq!(events.len(), 1);
            encoded.insert(bytes.as_ptr());
        }
    }
    assert_eq!(encoded.len(), 1);
    assert_eq!(stage.hub.metrics().encoded.get(), 1);
    assert_eq!(stage.hub.metrics().watchers.get(), 10_000);
    sets[50].informed(revision).await;
    for set in &mut sets[50..] {
        assert_eq!(set.synced(), Some(revision), "nothing concerned it");
    }
}

/// A reader that has much to catch up with does so in rounds of bounded size.
#[tokio::test]
async fn rounds_are_bounded() {
    let stage = Stage::new(Engine::in_memory(), 10_000);
    let mut set = WatchSet::new(&stage.hub);
    let watchers = 100;
    for id in 0..watchers {
        set.add(id, KeyRange::prefix("a/"), 0);
    }
    let puts = 1_000;
    for _ in 0..puts {
        stage.put("a/x");
    }
    let (mut told, mut rounds) = (0, 0);
    while told < watchers as usize * puts {
        let round = set.deliver().await.unwrap();
        let events = round.iter().map(|delivery| match delivery {
            Delivery::Events { events, .. } => events.len(),
            Delivery::Compacted { .. } => panic!("{delivery:?}"),
        });
        let events: usize = events.sum();
        assert!(events < WATCH_ROUND_EVENTS + watchers as usize, "{events}");
        told += events;
        rounds += 1;
    }
    assert!(rounds >= told / WATCH_ROUND_EVENTS);
}

/// A watcher that does not look costs nothing, and is known to be behind once the window has moved past it.
#[tokio::test]
async fn those_who_are_behind_are_counted() {
    let stage = Stage::new(Engine::in_memory(), 10);
    let mut set = WatchSet::new(&stage.hub);
    for id in 0..3 {
        set.add(id, KeyRange::prefix("a/"), 0);
    }
    let mut quiet = WatchSet::new(&stage.hub);
    quiet.add(0, KeyRange::prefix("b/"), 0);
    for set in [&mut set, &mut quiet] {
        assert!(set.deliver().await.unwrap().is_empty(), "it has caught up");
    }
    for _ in 0..20 {
        let revision = stage.put("a/x");
        set.informed(revision).await;
    }
    assert_eq!(stage.hub.behind(), 3, "nothing has happened to the fourth");
    let mut told = 0;
    while told < 3 * 20 {
        for delivery in set.deliver().await.unwrap() {
            let Delivery::Events { events, .. } = delivery else {
                panic!("{delivery:?}")
            };
            told += events.len();
        }
    }
    assert_eq!(stage.hub.behind(), 0);
    assert!(stage.hub.metrics().history_reads.get() > 0);
    drop((set, quiet));
    assert_eq!(stage.hub.metrics().watchers.get(), 0);
}
