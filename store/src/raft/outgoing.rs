//! The snapshots that this server sends, and the log that their receivers will need afterwards.
//!
//! A receiver that has its snapshot goes on with the log from there. If the log were cut meanwhile, it would need another
//! snapshot, and under steady writes another one for ever. So while a snapshot is on its way, and until its receiver has
//! caught up, this server's log is not cut; but it may not grow without bound for that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::snapshot::PinnedExport;
use super::types::SnapshotMeta;
use crate::limits;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    sent: Mutex<Vec<Sent>>,
}

#[derive(Debug)]
struct Sent {
    meta: SnapshotMeta,
    export: Arc<PinnedExport>,
    since: Instant,
    /// What had been appended to the log at the first review, in bytes.
    log_bytes: Option<u64>,
}

/// How things stand when it is decided what is still held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    /// Up to where each other server has the log; `None` if this server does not lead.
    pub(crate) matched: Option<&'a BTreeMap<u64, u64>>,
    /// The last entry of the log.
    pub(crate) last_index: u64,
    /// What has been appended to the log so far, in bytes.
    pub(crate) log_bytes: u64,
    /// How much may be appended while the log is held, in bytes.
    pub(crate) log_bytes_max: u64,
}

impl Outgoing {
    /// A snapshot whose transfer to some server is not over, so that it can go on.
    pub(crate) fn wanted(&self) -> Option<(SnapshotMeta, Arc<PinnedExport>)> {
        let sent = self.lock();
        let found = sent.iter().find(|sent| sent.export.is_wanted())?;
        Some((found.meta.clone(), found.export.clone()))
    }

    /// The last entry in the newest snapshot whose transfer has begun and is not over, even to a server that is away.
    pub(crate) fn sending_index(&self) -> Option<u64> {
        let sent = self.lock();
        let wanted = sent.iter().filter(|sent| sent.export.is_wanted());
        wanted.map(|sent| sent.meta.last_log_id.map_or(0, |id| id.index)).max()
    }

    /// Takes in a snapshot that is about to be sent.
    pub(crate) fn add(&self, meta: SnapshotMeta, export: Arc<PinnedExport>) {
        self.lock().push(Sent {
            meta,
            export,
            since: Instant::now(),
            log_bytes: None,
        });
    }

    /// Whether the log must not be cut now.
    pub(crate) fn holds_log(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Lets go of what need not be held any more. To be called now and then.
    pub(crate) fn review(&self, standing: Standing<'_>, now: Instant) {
        self.lock().retain_mut(|sent| {
            let begun_at = *sent.log_bytes.get_or_insert(standing.log_bytes);
            let grown = standing.log_bytes.saturating_sub(begun_at);
            let age = now.saturating_duration_since(sent.since);
            if age >= limits::SNAPSHOT_TIMEOUT || grown >= standing.log_bytes_max {
                return false;
            }
            let young = age < limits::SNAPSHOT_BEGIN_PATIENCE;
            is_needed(&sent.export.targets(), standing, young) || sent.export.is_wanted()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether some server that has got the snapshot still needs the log behind it.
fn is_needed(targets: &BTreeMap<u64, bool>, standing: Standing<'_>, young: bool) -> bool {
    let Some(matched) = standing.matched else {
        // Another server leads, and sends what is needed.
        return false;
    };
    if targets.is_empty() {
        // Its transfer has yet to begin.
        return young;
    }
    targets.iter().filter(|(_, done)| **done).any(|(target, _)| {
        matched
            .get(target)
            .is_some_and(|index| index + limits::PROMOTE_LAG_ENTRIES < standing.last_index)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::types::{StoredMembership, log_id};
    use super::*;
    use crate::engine::Engine;

    fn check(targets: &[(u64, bool)], matched: Option<&[(u64, u64)]>, young: bool) -> bool {
        let matched: Option<BTreeMap<u64, u64>> = matched.map(|matched| matched.iter().copied().collect());
        let standing = Standing {
            matched: matched.as_ref(),
            last_index: 100_000,
            log_bytes: 0,
            log_bytes_max: 1,
        };
        is_needed(&targets.iter().copied().collect(), standing, young)
    }

    #[test]
    fn the_log_is_needed_until_every_receiver_has_caught_up() {
        let behind = 100_000 - limits::PROMOTE_LAG_ENTRIES - 1;
        assert!(check(&[], Some(&[]), true), "nobody has asked for its bytes yet");
        assert!(!check(&[], Some(&[]), false), "nobody has for long");
        assert!(check(&[(2, true)], Some(&[(2, behind)]), false));
        assert!(
            !check(&[(2, true)], Some(&[(2, behind + 1)]), false),
            "it has caught up"
        );
        assert!(check(&[(2, true), (3, true)], Some(&[(2, 100_000), (3, 5)]), false));
        assert!(!check(&[(2, true)], Some(&[(3, 5)]), false), "it is no member any more");
        assert!(!check(&[(2, true)], None, false), "another server leads");
    }

    #[tokio::test]
    async fn what_is_held_is_bounded_in_time_and_size() {
        let matched = BTreeMap::from([(2, 1)]);
        let standing = |log_bytes: u64| Standing {
            matched: Some(&matched),
            last_index: 100_000,
            log_bytes,
            log_bytes_max: 50,
        };
        let outgoing = Outgoing::default();
        let begin = async || {
            let export = Arc::new(PinnedExport::start(Arc::new(Engine::in_memory())).await.unwrap());
            let meta = SnapshotMeta {
                last_log_id: Some(log_id(3, 70)),
                last_membership: StoredMembership::default(),
            };
            outgoing.add(meta, export.clone());
            assert_eq!(outgoing.sending_index(), None, "it has yet to begin");
            export.set_begun(2);
            export
        };
        let now = Instant::now();
        let export = begin().await;
        assert_eq!(outgoing.sending_index(), Some(70));
        outgoing.review(standing(1_000), now);
        assert!(outgoing.holds_log() && outgoing.wanted().is_some());
        outgoing.review(standing(1_049), now);
        assert!(outgoing.holds_log());
        outgoing.review(standing(1_050), now);
        assert!(!outgoing.holds_log(), "the log has grown too much");
        drop(export);

        begin().await.set_done(2);
        assert_eq!(outgoing.sending_index(), None, "it has come over");
        let late = Instant::now() + limits::SNAPSHOT_TIMEOUT;
        outgoing.review(standing(0), late - Duration::from_secs(1));
        assert!(outgoing.holds_log());
        outgoing.review(standing(0), late);
        assert!(!outgoing.holds_log(), "it has taken too long");
    }
}
