//! How far this replica must have applied before it may serve a linearizable read.
//!
//! The leader's commit position, taken after the read began, and after a majority has confirmed that
//! the leader still leads. All reads that are waiting when a round begins share it; those that come
//! while it runs share the next one. No clock is trusted (D5).

use std::sync::Arc;

use openraft::ReadPolicy;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::read_index_response::Outcome;

use super::node::{Node, WaitError};
use super::pace::Pace;
use super::pool::Purpose;
use super::view::Role;
use crate::kv::KvError;
use crate::limits;

/// A read that waits for its index.
pub(crate) type ReadWaiter = oneshot::Sender<Result<u64, KvError>>;

/// The task that makes the rounds.
pub(crate) struct ReadIndexer {
    node: Arc<Node>,
    waiters: mpsc::UnboundedReceiver<ReadWaiter>,
}

impl ReadIndexer {
    pub(crate) fn new(node: Arc<Node>, waiters: mpsc::UnboundedReceiver<ReadWaiter>) -> Self {
        Self { node, waiters }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut sharing = Vec::new();
        let mut earliest = Instant::now();
        loop {
            let next = async {
                tokio::time::sleep_until(earliest).await;
                self.waiters.recv_many(&mut sharing, usize::MAX).await
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                count = next => if count == 0 { return },
            }
            earliest = Instant::now() + Pace::READS.after(sharing.len());
            self.node.read_metrics.rounds.add(1);
            self.node.read_metrics.reads.add(sharing.len() as u64);
            let result = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                result = self.node.find_read_index() => result,
            };
            for waiter in sharing.drain(..) {
                // The read may have been cancelled.
                let _ = waiter.send(result.clone());
            }
        }
    }
}

impl Node {
    /// Waits until this replica may serve a linearizable read that begins now.
    pub(crate) async fn linearizable(&self) -> Result<(), KvError> {
        let faults = self.config.faults();
        if faults.reads_own_replica() && self.view().role == Role::Follower {
            return Ok(());
        }
        let deadline = Instant::now() + limits::READ_DEADLINE;
        let index = self.read_index().await?;
        match self.wait_applied_index(index, deadline).await {
            Ok(()) => Ok(()),
            Err(WaitError::Deadline) => Err(KvError::Unavailable("this server has not caught up".into())),
            Err(WaitError::Stopped) => Err(stopped()),
        }
    }

    /// The read index for a read that begins now, from a round shared with others.
    pub(crate) async fn read_index(&self) -> Result<u64, KvError> {
        let _counted = self.read_metrics.waiting.hold();
        let (waiter, answered) = oneshot::channel();
        self.reads.send(waiter).map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// One round, tried again as long as nobody leads.
    async fn find_read_index(&self) -> Result<u64, KvError> {
        let start = Instant::now();
        let mut why = "none is known".to_owned();
        while start.elapsed() < limits::READ_DEADLINE {
            if let Some(stopped) = self.stopped() {
                return Err(stopped);
            }
            let asked = match self.leader() {
                Some((id, _)) if id == self.config.server_id => self.own_read_index().await,
                Some((id, address)) => self.ask_read_index(id, &address).await,
                None => Err("none is known".into()),
            };
            match asked {
                Ok(index) => return Ok(index),
                Err(reason) => why = reason,
            }
            self.pause(limits::LEADER_RETRY_PAUSE).await;
        }
        Err(KvError::Unavailable(why))
    }

    /// As the leader: asks consensus, which asks a majority.
    pub(crate) async fn own_read_index(&self) -> Result<u64, String> {
        if self.config.faults().trusts_its_lease() && self.views.leadership.borrow().is_some() {
            return Ok(self.applied_index());
        }
        let round = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match tokio::time::timeout(limits::READ_INDEX_TIMEOUT, round).await {
            Ok(Ok(linearizer)) => Ok(linearizer.read_log_id().index()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("a majority did not confirm the leader in time".into()),
        }
    }

    /// As a follower: asks the leader, but no longer than it leads.
    async fn ask_read_index(&self, leader: u64, address: &str) -> Result<u64, String> {
        let mut pick = self
            .pool
            .get(leader, address, Purpose::Forward)
            .map_err(|error| error.to_string())?;
        let mut cluster = self.views.cluster.clone();
        let deposed = cluster.wait_for(|view| view.leader != Some(leader));
        let answer = tokio::select! {
            answer = pick.client.read_index(proto::ReadIndexRequest {}) => answer,
            _ = deposed => return Err("the leader changed".into()),
            () = tokio::time::sleep(limits::READ_INDEX_TIMEOUT) => {
                return Err(format!("server {leader} did not answer in time"));
            }
        };
        match answer {
            Ok(response) => match response.into_inner().outcome {
                Some(Outcome::LogIndex(index)) => Ok(index),
                Some(Outcome::NotLeader(proto::NotLeader { leader_id: _, reason })) => Err(reason),
                None => Err("the leader's answer is empty".into()),
            },
            Err(status) => {
                self.pool.discard(leader, Purpose::Forward, &pick);
                Err(format!("server {leader} cannot be asked: {}", status.message()))
            }
        }
    }
}

fn stopped() -> KvError {
    KvError::Stopped("the store has been shut down".into())
}
