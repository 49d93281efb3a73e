//! The pure core: leases and instants in, decisions out.
//!
//! A lease has a deadline; a renewal sets it anew. Now and then what is left is noted in the state, so that
//! the next leader goes on from there; a lease of which less than all is noted is not renewed before that note is
//! cleared, or the next leader could end it before the time that the renewal promised.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use trireme_mvcc::types::{Lease, LeaseChange};

use crate::limits;

/// All leases, as the leader sees them.
#[derive(Debug, Default)]
pub(crate) struct Lessor {
    leases: BTreeMap<i64, Held>,
    /// When leases expire, or their revocation is to be tried again.
    expiries: BTreeSet<(Instant, i64)>,
    /// When what is left of leases is to be noted.
    checkpoints: BTreeSet<(Instant, i64)>,
}

#[derive(Debug)]
struct Held {
    ttl_s: i64,
    deadline: Instant,
    /// Its place in `expiries`; `None` while its revocation is under way.
    expiry: Option<Instant>,
    /// Its place in `checkpoints`.
    checkpoint: Option<Instant>,
    /// It has been found to have expired: nothing saves it any more.
    revoking: bool,
    /// A note of what is left is under way.
    checkpointing: bool,
    /// The state says that less than all of its time is left.
    noted: bool,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// There is no such lease.
    Unknown,
    /// Something is under way that must end first.
    Busy,
    /// The state notes less than its whole time: that must be cleared first.
    Noted,
    /// It has its whole time again, in seconds.
    Renewed(i64),
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Leases to end.
    pub(crate) expired: Vec<i64>,
    /// Leases, and the seconds that they have left, to be noted.
    pub(crate) checkpoints: Vec<(i64, i64)>,
    /// When to look again, if nothing happens before.
    pub(crate) next: Option<Instant>,
}

impl Lessor {
    /// Takes up a lease from the state, as a new leader: it has what is noted of it, or all of its time.
    pub(crate) fn load(&mut self, id: i64, lease: Lease, now: Instant) {
        self.remove(id);
        let Lease {
            granted_ttl_s,
            remaining_ttl_s,
        } = lease;
        let noted = remaining_ttl_s > 0;
        let left_s = if noted { remaining_ttl_s } else { granted_ttl_s };
        let held = Held {
            ttl_s: granted_ttl_s,
            deadline: now,
            expiry: None,
            checkpoint: None,
            revoking: false,
            checkpointing: false,
            noted,
        };
        self.leases.insert(id, held);
        self.set_deadline(id, left_s, now);
    }

    /// Takes in what an entry did.
    pub(crate) fn note(&mut self, change: LeaseChange, now: Instant) {
        match change {
            LeaseChange::Set { id, lease, granted } => match self.leases.get_mut(&id) {
                Some(held) if !granted => held.noted = lease.remaining_ttl_s > 0,
                _ => self.load(id, lease, now),
            },
            LeaseChange::Revoked { id } => self.remove(id),
        }
    }

    /// Gives a lease its whole time again, if nothing is in the way.
    pub(crate) fn renew(&mut self, id: i64, now: Instant) -> Renewal {
        match self.leases.get(&id) {
            None => Renewal::Unknown,
            Some(held) if held.revoking || held.checkpointing => Renewal::Busy,
            Some(held) if held.noted => Renewal::Noted,
            Some(held) => {
                let ttl_s = held.ttl_s;
                self.set_deadline(id, ttl_s, now);
                Renewal::Renewed(ttl_s)
            }
        }
    }

    /// How many leases there are.
    pub(crate) fn count(&self) -> usize {
        self.leases.len()
    }

    /// A lease's whole time and what is left of it, in seconds, rounded up; `None` if there is no such lease.
    pub(crate) fn remaining(&self, id: i64, now: Instant) -> Option<(i64, i64)> {
        self.leases
            .get(&id)
            .map(|held| (held.ttl_s, seconds(held.deadline.saturating_duration_since(now))))
    }

    /// What is to be done now; it counts as being under way from here on. At most so many of each.
    pub(crate) fn due(&mut self, now: Instant, expired_max: usize, checkpoints_max: usize) -> Due {
        let mut due = Due::default();
        while due.expired.len() < expired_max
            && let Some(&(at, id)) = self.expiries.first()
            && at <= now
        {
            self.expiries.pop_first();
            if let Some(held) = self.leases.get_mut(&id) {
                held.expiry = None;
                held.revoking = true;
                due.expired.push(id);
            }
        }
        while due.checkpoints.len() < checkpoints_max
            && let Some(&(at, id)) = self.checkpoints.first()
            && at <= now
        {
            self.checkpoints.pop_first();
            let Some(held) = self.leases.get_mut(&id) else { continue };
            held.checkpoint = None;
            if held.revoking {
                continue;
            }
            held.checkpointing = true;
            // From here on the state may say so.
            held.noted = true;
            // At least a second: no time left would mean all of it.
            let left_s = seconds(held.deadline.saturating_duration_since(now)).max(1);
            due.checkpoints.push((id, left_s));
        }
        let next = [self.expiries.first(), self.checkpoints.first()];
        due.next = next.into_iter().flatten().map(|(at, _)| *at).min();
        due
    }

    /// A lease could not be ended, or nobody knows whether it was: tried again at `at`, unless it goes before.
    pub(crate) fn retry(&mut self, id: i64, at: Instant) {
        if let Some(held) = self.leases.get_mut(&id)
            && held.expiry.is_none()
        {
            held.expiry = Some(at);
            self.expiries.insert((at, id));
        }
    }

    /// The note about a lease has come to its end, this way or that.
    pub(crate) fn checkpoint_ended(&mut self, id: i64, now: Instant) {
        if let Some(held) = self.leases.get_mut(&id) {
            held.checkpointing = false;
            self.plan_checkpoint(id, now);
        }
    }

    /// A lease is gone.
    pub(crate) fn remove(&mut self, id: i64) {
        if let Some(held) = self.leases.remove(&id) {
            if let Some(at) = held.expiry {
                self.expiries.remove(&(at, id));
            }
            if let Some(at) = held.checkpoint {
                self.checkpoints.remove(&(at, id));
            }
        }
    }

    fn set_deadline(&mut self, id: i64, left_s: i64, now: Instant) {
        let Some(held) = self.leases.get_mut(&id) else { return };
        let left = Duration::from_secs(u64::try_from(left_s).unwrap_or(0));
        // A time that the clock cannot express never comes.
        let far = || now + limits::LEASE_HORIZON;
        held.deadline = now.checked_add(left).unwrap_or_else(far);
        if let Some(at) = held.expiry.replace(held.deadline) {
            self.expiries.remove(&(at, id));
        }
        self.expiries.insert((held.deadline, id));
        self.plan_checkpoint(id, now);
    }

    /// What is left is noted when half of it is over, but at least every few minutes: whoever renews in good time
    /// never causes a note, and a change of the leader never adds more than it had left.
    fn plan_checkpoint(&mut self, id: i64, now: Instant) {
        let Some(held) = self.leases.get_mut(&id) else { return };
        if let Some(at) = held.checkpoint.take() {
            self.checkpoints.remove(&(at, id));
        }
        let half = held.deadline.saturating_duration_since(now) / 2;
        if half >= limits::LEASE_CHECKPOINT_PERIOD_MIN && !held.checkpointing && !held.revoking {
            let at = now + half.min(limits::LEASE_CHECKPOINT_PERIOD_MAX);
            held.checkpoint = Some(at);
            self.checkpoints.insert((at, id));
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    fn lease(ttl_s: i64, remaining_ttl_s: i64) -> Lease {
        Lease {
            granted_ttl_s: ttl_s,
            remaining_ttl_s,
        }
    }

    fn granted(id: i64, ttl_s: i64) -> LeaseChange {
        LeaseChange::Set {
            id,
            lease: lease(ttl_s, 0),
            granted: true,
        }
    }

    fn noted(id: i64, ttl_s: i64, remaining_ttl_s: i64) -> LeaseChange {
        LeaseChange::Set {
            id,
            lease: lease(ttl_s, remaining_ttl_s),
            granted: false,
        }
    }

    fn due(lessor: &mut Lessor, at: Instant) -> (Vec<i64>, Vec<(i64, i64)>) {
        let due = lessor.due(at, 100, 100);
        (due.expired, due.checkpoints)
    }

    #[test]
    fn a_lease_expires_once_unless_it_is_renewed() {
        let start = Instant::now();
        let mut lessor = Lessor::default();
        lessor.note(granted(1, 10), start);
        lessor.note(granted(2, 1), start);
        assert_eq!(due(&mut lessor, after(start, 0.9)), (vec![], vec![]));
        assert_eq!(due(&mut lessor, after(start, 1.0)), (vec![2], vec![]));
        assert_eq!(due(&mut lessor, after(start, 2.0)), (vec![], vec![]), "it is under way");
        assert_eq!(lessor.renew(2, after(start, 2.0)), Renewal::Busy);
        lessor.note(LeaseChange::Revoked { id: 2 }, after(start, 2.0));
        assert_eq!(lessor.renew(2, after(start, 2.0)), Renewal::Unknown);

        assert_eq!(lessor.renew(1, after(start, 4.0)), Renewal::Renewed(10));
        assert_eq!(lessor.remaining(1, after(start, 4.5)), Some((10, 10)));
        assert_eq!(lessor.remaining(1, after(start, 6.0)), Some((10, 8)));
        // The renewal has put off the note, too.
        assert_eq!(due(&mut lessor, after(start, 8.9)), (vec![], vec![]));
        assert_eq!(due(&mut lessor, after(start, 9.0)), (vec![], vec![(1, 5)]));
        assert_eq!(due(&mut lessor, after(start, 14.0)), (vec![1], vec![]));
        assert_eq!(lessor.remaining(1, after(start, 15.0)), Some((10, 0)));
    }

    #[test]
    fn a_revocation_that_failed_is_tried_again() {
        let start = Instant::now();
        let mut lessor = Lessor::default();
        lessor.note(granted(1, 1), start);
        assert_eq!(due(&mut lessor, after(start, 1.0)).0, [1]);
        lessor.retry(1, after(start, 2.0));
        lessor.retry(1, after(start, 2.5));
        assert_eq!(
            lessor.renew(1, after(start, 1.5)),
            Renewal::Busy,
            "nobody knows whether it still lives"
        );
        assert_eq!(due(&mut lessor, after(start, 1.9)).0, [0i64; 0]);
        assert_eq!(due(&mut lessor, after(start, 3.0)).0, [1]);
        lessor.remove(1);
        lessor.retry(1, start);
        assert_eq!(due(&mut lessor, after(start, 9.0)).0, [0i64; 0]);
    }

    #[test]
    fn what_is_noted_is_cleared_before_a_renewal() {
        let start = Instant::now();
        let mut lessor = Lessor::default();
        lessor.note(granted(1, 100), start);
        assert_eq!(due(&mut lessor, after(start, 50.0)).1, [(1, 50)]);
        assert_eq!(
            lessor.renew(1, after(start, 50.0)),
            Renewal::Busy,
            "the note is under way"
        );
        lessor.note(noted(1, 100, 50), after(start, 50.1));
        lessor.checkpoint_ended(1, after(start, 50.1));
        assert_eq!(lessor.renew(1, after(start, 51.0)), Renewal::Noted);
        lessor.note(noted(1, 100, 0), after(start, 51.1));
        assert_eq!(lessor.renew(1, after(start, 51.1)), Renewal::Renewed(100));
        // A note of which nobody knows whether it was made counts as made.
        assert_eq!(due(&mut lessor, after(start, 101.1)).1, [(1, 50)]);
        lessor.checkpoint_ended(1, after(start, 111.0));
        assert_eq!(lessor.renew(1, after(start, 111.0)), Renewal::Noted);
        // The next note comes at half of what is left.
        let at = lessor.due(after(start, 111.0), 1, 1).next.expect("there is more to do");
        assert_eq!(at, after(start, 111.0 + (151.1 - 111.0) / 2.0));
    }

    #[test]
    fn a_new_leader_goes_on_from_what_is_noted() {
        let start = Instant::now();
        let mut lessor = Lessor::default();
        lessor.load(1, lease(100, 30), start);
        lessor.load(2, lease(100, 0), start);
        assert_eq!(lessor.remaining(1, start), Some((100, 30)));
        assert_eq!(lessor.remaining(2, start), Some((100, 100)));
        assert_eq!(lessor.renew(1, start), Renewal::Noted);
        assert_eq!(due(&mut lessor, after(start, 30.0)).0, [1]);
    }

    #[test]
    fn long_lives_are_noted_every_few_minutes_and_short_ones_never() {
        let start = Instant::now();
        let mut lessor = Lessor::default();
        lessor.note(granted(1, trireme_mvcc::limits::LEASE_TTL_MAX_S), start);
        let first = lessor.due(start, 9, 9).next.expect("a note");
        assert_eq!(first, start + limits::LEASE_CHECKPOINT_PERIOD_MAX);
        lessor.remove(1);
        assert_eq!(lessor.due(start, 9, 9).next, None);
        lessor.note(granted(2, 1), start);
        assert_eq!(lessor.due(start, 9, 9).next, Some(after(start, 1.0)), "only its end");
    }

    #[test]
    fn work_comes_in_pieces() {
        let start = Instant::now();
        let mut lessor = Lessor::default();
        for id in 1..=10 {
            lessor.note(granted(id, 1), start);
        }
        let one = lessor.due(after(start, 5.0), 4, 4);
        assert_eq!((one.expired, one.next), (vec![1, 2, 3, 4], Some(after(start, 1.0))));
        assert_eq!(lessor.due(after(start, 5.0), 100, 4).expired.len(), 6);
    }
}
