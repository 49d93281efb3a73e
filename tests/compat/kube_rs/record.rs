//! What a watcher was told, in a form in which it can be compared with what happened.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{WatchEvent, WatchParams},
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::oneshot;

/// The object that is made last: whoever was told of it was told of all.
pub(super) const END: &str = "the-end";

/// How long the server may keep a watch of the history open, in seconds.
const REPLAY_SECONDS: u32 = 60;

/// One change of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) name: String,
    pub(super) is_deletion: bool,
}

/// All that a watcher was told.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// How often it began from a list: more than once means that it lost its place.
    pub(super) beginnings: usize,
    pub(super) changes: Vec<Change>,
}

/// How long a client waits before it tries again: shorter than the crate's own, for servers that come back soon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Soon;

impl Iterator for Soon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}

impl Backoff for Soon {
    fn reset(&mut self) {}
}

impl Change {
    fn of(object: &ConfigMap, is_deletion: bool) -> Result<Self> {
        let revision = object.resource_version().context("an object has a resourceVersion")?;
        Ok(Self {
            revision: revision.parse()?,
            name: object.name_any(),
            is_deletion,
        })
    }

    fn is_end(&self) -> bool {
        self.name == END
    }
}

/// Follows what happens from now on until the end, over whatever interruptions; tells `begun` when it has its list.
///
/// # Errors
/// If an object has no revision.
pub(super) async fn follow(api: Api<ConfigMap>, begun: oneshot::Sender<()>) -> Result<Record> {
    let mut begun = Some(begun);
    let mut record = Record::default();
    let mut events = pin!(watcher(api, watcher::Config::default()).backoff(Soon));
    while let Some(event) = events.next().await {
        let change = match event {
            // Its server is away, and the watcher will try again.
            Err(_) => continue,
            Ok(Event::Init) => {
                record.beginnings += 1;
                continue;
            }
            Ok(Event::InitApply(_)) => continue,
            Ok(Event::InitDone) => {
                // Nobody waits for a second time.
                let _ = begun.take().map(|begun| begun.send(()));
                continue;
            }
            Ok(Event::Apply(object)) => Change::of(&object, false)?,
            Ok(Event::Delete(object)) => Change::of(&object, true)?,
        };
        let is_end = change.is_end();
        record.changes.push(change);
        if is_end {
            return Ok(record);
        }
    }
    bail!("a watcher goes on for ever")
}

/// What the history has after a revision, until the end.
///
/// # Errors
/// If it cannot be read.
pub(super) async fn replay(api: &Api<ConfigMap>, after: &str) -> Result<Vec<Change>> {
    let params = WatchParams::default().timeout(REPLAY_SECONDS);
    let mut events = pin!(api.watch(&params, after).await?);
    let mut changes = Vec::new();
    while let Some(event) = events.next().await {
        let change = match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Change::of(&object, false)?,
            WatchEvent::Deleted(object) => Change::of(&object, true)?,
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(status) => bail!("the history is not there: {status:?}"),
        };
        let is_end = change.is_end();
        changes.push(change);
        if is_end {
            return Ok(changes);
        }
    }
    bail!("the history ends before the end: {:?}", changes.last())
}

/// Whether changes are told once each, in order.
///
/// # Errors
/// If two are not; with both.
pub(super) fn in_order(changes: &[Change]) -> Result<()> {
    for pair in changes.windows(2) {
        ensure!(
            pair[0].revision < pair[1].revision,
            "{:?} before {:?}",
            pair[0],
            pair[1]
        );
    }
    Ok(())
}

/// Which objects are left after changes, and at which revision.
pub(super) fn outcome(changes: &[Change]) -> BTreeMap<String, u64> {
    let mut left = BTreeMap::new();
    for change in changes {
        if change.is_deletion {
            left.remove(&change.name);
        } else {
            left.insert(change.name.clone(), change.revision);
        }
    }
    left
}
