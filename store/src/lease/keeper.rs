//! [`Keeper`]: the lessor, shared. It holds one only while this server leads.
//!
//! Whoever applies tells it what happened to leases, before anybody hears of it; so whoever was granted a lease can renew
//! it at once. While a new leader reads the leases out of the state, what is applied meanwhile waits.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use trireme_mvcc::types::{Lease, LeaseChange};

use super::lessor::Lessor;

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    leading: Mutex<Option<Leading>>,
    /// Rings whenever something has happened.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Leading {
    term: u64,
    lessor: Lessor,
    /// What was applied since loading began; `None` once all is loaded.
    pending: Option<Vec<LeaseChange>>,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            leading: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Keeper {
    /// Takes in what was applied.
    pub(crate) fn applied(&self, changes: &[LeaseChange]) {
        if changes.is_empty() {
            return;
        }
        if let Some(leading) = &mut *self.lock() {
            match &mut leading.pending {
                Some(pending) => pending.extend_from_slice(changes),
                None => leading.take_in(changes),
            }
        }
        self.changed.send_replace(());
    }

    /// This server has begun to lead, in `term`. To be followed by [`load`](Self::load).
    pub(crate) fn begin(&self, term: u64) {
        *self.lock() = Some(Leading {
            term,
            lessor: Lessor::default(),
            pending: Some(Vec::new()),
        });
    }

    /// The leases of the state, read after [`begin`](Self::begin) of this term.
    pub(crate) fn load(&self, term: u64, leases: &[(i64, Lease)]) {
        if let Some(leading) = self.lock().as_mut().filter(|leading| leading.term == term) {
            let now = Instant::now();
            for (id, lease) in leases {
                leading.lessor.load(*id, *lease, now);
            }
            // What was read may already hold some of these; told twice, they come to the same.
            let pending = leading.pending.take().unwrap_or_default();
            leading.take_in(&pending);
        }
        self.changed.send_replace(());
    }

    /// This server leads no more in `term`.
    pub(crate) fn end(&self, term: u64) {
        self.lock().take_if(|leading| leading.term == term);
        self.changed.send_replace(());
    }

    /// The term that this server leads in and has loaded the leases for.
    pub(crate) fn term(&self) -> Option<u64> {
        let leading = self.lock();
        let leading = leading.as_ref().filter(|leading| leading.pending.is_none())?;
        Some(leading.term)
    }

    /// Asks or tells the lessor of `term`; `None` if this server does not lead in it, or not yet.
    pub(crate) fn with<T>(&self, term: u64, work: impl FnOnce(&mut Lessor) -> T) -> Option<T> {
        let mut leading = self.lock();
        let leading = leading
            .as_mut()
            .filter(|leading| leading.term == term && leading.pending.is_none())?;
        Some(work(&mut leading.lessor))
    }

    /// How many leases there are; 0 if this server does not lead.
    pub(crate) fn count(&self) -> usize {
        self.lock().as_ref().map_or(0, |leading| leading.lessor.count())
    }

    /// Tells everybody who waits to look again.
    pub(crate) fn ring(&self) {
        self.changed.send_replace(());
    }

    /// Changes from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Leading>> {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leading {
    fn take_in(&mut self, changes: &[LeaseChange]) {
        let now = Instant::now();
        for change in changes {
            self.lessor.note(*change, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lessor::Renewal;
    use super::*;

    fn granted(id: i64) -> LeaseChange {
        let lease = Lease {
            granted_ttl_s: 60,
            remaining_ttl_s: 0,
        };
        LeaseChange::Set {
            id,
            lease,
            granted: true,
        }
    }

    fn renew(keeper: &Keeper, id: i64) -> Option<Renewal> {
        keeper.with(7, |lessor| lessor.renew(id, Instant::now()))
    }

    #[test]
    fn what_is_applied_while_the_leases_are_read_is_not_lost() {
        let keeper = Keeper::default();
        keeper.applied(&[granted(9)]);
        keeper.begin(7);
        assert_eq!((keeper.term(), renew(&keeper, 1)), (None, None), "nothing is known yet");
        keeper.applied(&[granted(2), LeaseChange::Revoked { id: 1 }]);
        let lease = Lease {
            granted_ttl_s: 30,
            remaining_ttl_s: 0,
        };
        keeper.load(6, &[(5, lease)]);
        keeper.load(7, &[(1, lease), (3, lease)]);
        let renewals = [1, 2, 3, 5, 9].map(|id| renew(&keeper, id));
        let (unknown, renewed) = (Some(Renewal::Unknown), |ttl_s| Some(Renewal::Renewed(ttl_s)));
        assert_eq!(renewals, [unknown, renewed(60), renewed(30), unknown, unknown]);
        keeper.end(6);
        assert_eq!(keeper.term(), Some(7));
        keeper.end(7);
        assert_eq!((keeper.term(), renew(&keeper, 2)), (None, None));
    }
}
