//! Carries out what the lessor decides, on the leader: revocations, notes for the next leader, renewals.
//!
//! Nothing is decided by a leader that has been deposed without knowing it: a majority confirms the leadership after a
//! lease was found to have expired and before it is revoked, and again before a renewal is answered; and all commands are
//! fenced by the term (I5).

use async_trait::async_trait;
use futures::StreamExt;
use tokio::time::Instant;
use trireme_mvcc::command::Command;
use trireme_mvcc::outcome::{Outcome, Refusal};

use super::keeper::Keeper;
use super::lessor::{Due, Renewal};
use crate::faults::{self, Failpoint};
use crate::kv::KvError;
use crate::limits;

/// Where leases are kept: a replicated store, or one without replication.
#[async_trait]
pub(crate) trait Host: Send + Sync {
    /// The lessor, shared.
    fn keeper(&self) -> &Keeper;

    /// Makes sure that this server has led, in `term`, at a moment after the call.
    async fn confirm(&self, term: u64) -> Result<(), KvError>;

    /// Carries out a command.
    async fn propose(&self, command: Command) -> Result<Outcome, KvError>;
}

/// Does what is due, until it is dropped: when this server does not lead in `term` any more.
pub(crate) async fn run(host: &impl Host, term: u64) {
    loop {
        let mut changed = host.keeper().subscribe();
        let now = Instant::now();
        let found = host.keeper().with(term, |lessor| {
            lessor.due(now, limits::LEASE_REVOKES_AT_ONCE, limits::LEASE_CHECKPOINTS_AT_ONCE)
        });
        let Due {
            expired,
            checkpoints,
            next,
        } = found.unwrap_or_default();
        if expired.is_empty() && checkpoints.is_empty() {
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                // The sender lives as long as the host.
                _ = changed.changed() => {}
            }
            continue;
        }
        checkpoint(host, term, checkpoints).await;
        revoke(host, term, expired).await;
        // Other work of this server has its turn, however many leases have expired.
        tokio::time::sleep_until(now + limits::LEASE_PACE).await;
    }
}

/// Notes what is left of leases.
async fn checkpoint(host: &impl Host, term: u64, entries: Vec<(i64, i64)>) {
    if entries.is_empty() {
        return;
    }
    let ids: Vec<i64> = entries.iter().map(|(id, _)| *id).collect();
    let fence_term = Some(term);
    if let Err(error) = host.propose(Command::LeaseCheckpoint { entries, fence_term }).await {
        tracing::debug!(%error, "what is left of leases could not be noted");
    }
    let now = Instant::now();
    host.keeper().with(term, |lessor| {
        ids.iter().for_each(|id| lessor.checkpoint_ended(*id, now));
    });
    host.keeper().ring();
}

/// Ends leases that have expired.
async fn revoke(host: &impl Host, term: u64, expired: Vec<i64>) {
    if expired.is_empty() {
        return;
    }
    let confirmed = host.confirm(term).await;
    if let Err(error) = &confirmed {
        tracing::debug!(%error, "leases have expired, but whether this server still leads is not known");
    }
    let one = async |id| {
        let ended = match &confirmed {
            Ok(()) => revoke_one(host, term, id).await,
            Err(_) => false,
        };
        host.keeper().with(term, |lessor| {
            if ended {
                lessor.remove(id);
            } else {
                lessor.retry(id, Instant::now() + limits::LEASE_RETRY_PAUSE);
            }
        });
    };
    futures::stream::iter(expired)
        .for_each_concurrent(limits::LEASE_REVOKES_IN_FLIGHT, one)
        .await;
    host.keeper().ring();
}

/// Ends one; true if it is gone for certain.
async fn revoke_one(host: &impl Host, term: u64, id: i64) -> bool {
    faults::point(Failpoint::LeaseRevoking);
    let fence_term = Some(term);
    match host.propose(Command::LeaseRevoke { id, fence_term }).await {
        Ok(Outcome::LeaseRevoked { .. } | Outcome::Refused(Refusal::LeaseNotFound { .. })) => true,
        Ok(other) => {
            tracing::debug!(id, ?other, "an expired lease was not revoked");
            false
        }
        Err(error) => {
            tracing::debug!(id, %error, "an expired lease could not be revoked");
            false
        }
    }
}

/// Why the leader's part was not done here, or not for certain. What is asked of the leader here may be asked again.
#[derive(Debug)]
pub(crate) struct NotDone(pub(crate) String);

/// Renews a lease, as the leader; answers its time in seconds, or `None` if there is no such lease.
pub(crate) async fn keep_alive(host: &impl Host, id: i64) -> Result<Option<i64>, NotDone> {
    loop {
        let mut changed = host.keeper().subscribe();
        let term = confirmed(host).await?;
        let renewal = host.keeper().with(term, |lessor| lessor.renew(id, Instant::now()));
        match renewal.ok_or_else(deposed)? {
            Renewal::Unknown => return Ok(None),
            Renewal::Renewed(ttl_s) => return Ok(Some(ttl_s)),
            Renewal::Busy => changed.changed().await.map_err(|_| deposed())?,
            Renewal::Noted => clear(host, term, id).await?,
        }
    }
}

/// Clears the note about a lease: from here on it has all of its time with any leader.
async fn clear(host: &impl Host, term: u64, id: i64) -> Result<(), NotDone> {
    let command = Command::LeaseCheckpoint {
        entries: vec![(id, 0)],
        fence_term: Some(term),
    };
    match host.propose(command).await {
        Ok(Outcome::LeaseCheckpointed) => Ok(()),
        Ok(other) => Err(NotDone(format!("a note about a lease was answered by {other:?}"))),
        Err(error) => Err(NotDone(error.to_string())),
    }
}

/// A lease's whole time and what is left of it, in seconds, as the leader; `None` if there is no such lease.
pub(crate) async fn remaining(host: &impl Host, id: i64) -> Result<Option<(i64, i64)>, NotDone> {
    let term = confirmed(host).await?;
    host.keeper()
        .with(term, |lessor| lessor.remaining(id, Instant::now()))
        .ok_or_else(deposed)
}

async fn confirmed(host: &impl Host) -> Result<u64, NotDone> {
    let not_leader = || NotDone("this server does not lead, or has only just begun to".into());
    let term = host.keeper().term().ok_or_else(not_leader)?;
    match host.confirm(term).await {
        Ok(()) => Ok(term),
        Err(error) => Err(NotDone(error.to_string())),
    }
}

fn deposed() -> NotDone {
    NotDone("this server does not lead any more".into())
}
