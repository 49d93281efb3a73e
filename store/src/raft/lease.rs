//! The replicated side of leases: the driver runs while this server leads, and whoever does not lead asks the leader.
//!
//! What is asked of the leader, to renew a lease and how long it still has, may be asked again without harm, so it is,
//! until a leader has been waited for long enough.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};
use trireme_mvcc::command::Command;
use trireme_mvcc::outcome::Outcome;
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::lease_response::Outcome as Wire;

use super::node::Node;
use super::pool::Purpose;
use crate::kv::{KvError, Leadership};
use crate::lease::Keeper;
use crate::lease::driver::{self, Host, NotDone};
use crate::limits;

/// What is asked of the leader about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseQuestion {
    /// Give it its whole time again.
    KeepAlive,
    /// Say how long it has.
    TimeToLive,
}

/// How long a lease has, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseTime {
    /// In all.
    pub(crate) granted_ttl_s: i64,
    /// From now on.
    pub(crate) remaining_ttl_s: i64,
}

#[async_trait]
impl Host for Node {
    fn keeper(&self) -> &Keeper {
        self.engine.leases()
    }

    async fn confirm(&self, term: u64) -> Result<(), KvError> {
        // The round is shared with reads, and asks whoever leads. If that was another server, then this one has known it
        // by its term before it asked.
        self.read_index().await?;
        let view = self.view();
        if view.term == term && view.leader == Some(self.config.server_id) {
            Ok(())
        } else {
            Err(KvError::Unavailable("this server does not lead any more".into()))
        }
    }

    async fn propose(&self, command: Command) -> Result<Outcome, KvError> {
        Node::propose(self, command.check_and_encode()?).await
    }
}

/// Runs the driver whenever this server leads, until `stop`.
pub(crate) async fn run(node: Arc<Node>, stop: CancellationToken) {
    let mut leadership = node.views.leadership.clone();
    loop {
        let current = *leadership.borrow_and_update();
        let work = async {
            match current {
                Some(Leadership { term }) => lead(&node, term).await,
                None => std::future::pending().await,
            }
        };
        let goes_on = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            changed = leadership.changed() => changed.is_ok(),
            () = work => false,
        };
        if let Some(Leadership { term }) = current {
            node.engine.leases().end(term);
        }
        if !goes_on {
            return;
        }
    }
}

/// Takes up the leases, and keeps them until it is dropped.
async fn lead(node: &Arc<Node>, term: u64) {
    let keeper = node.engine.leases();
    keeper.begin(term);
    loop {
        match node.engine.read_leases().await {
            Ok(leases) => {
                keeper.load(term, &leases);
                break;
            }
            // A failure of the disk ends the process or this server's part, elsewhere.
            Err(error) => tracing::warn!(%error, "the leases could not be read"),
        }
        tokio::time::sleep(limits::LEASE_RETRY_PAUSE).await;
    }
    driver::run(&**node, term).await;
}

impl Node {
    /// Asks the leader about a lease, whoever that is; `None` if there is no such lease. Must run on the consensus
    /// runtime.
    pub(crate) async fn ask_about_lease(&self, id: i64, question: LeaseQuestion) -> Result<Option<LeaseTime>, KvError> {
        let start = Instant::now();
        let mut why = "none is known".to_owned();
        while start.elapsed() < limits::READ_DEADLINE {
            if let Some(stopped) = self.stopped() {
                return Err(stopped);
            }
            let asked = match self.leader() {
                Some((leader, _)) if leader == self.config.server_id => self.answer_here(id, question).await,
                Some((leader, address)) => self.ask_there(leader, &address, id, question).await,
                None => Err("none is known".into()),
            };
            match asked {
                Ok(answer) => return Ok(answer),
                Err(reason) => why = reason,
            }
            self.pause(limits::LEADER_RETRY_PAUSE).await;
        }
        Err(KvError::Unavailable(why))
    }

    /// As the leader.
    async fn answer_here(&self, id: i64, question: LeaseQuestion) -> Result<Option<LeaseTime>, String> {
        let answer = async {
            match question {
                LeaseQuestion::KeepAlive => {
                    let renewed = driver::keep_alive(self, id).await?;
                    Ok(renewed.map(|ttl_s| LeaseTime {
                        granted_ttl_s: ttl_s,
                        remaining_ttl_s: ttl_s,
                    }))
                }
                LeaseQuestion::TimeToLive => {
                    let remaining = driver::remaining(self, id).await?;
                    Ok(remaining.map(|(granted_ttl_s, remaining_ttl_s)| LeaseTime {
                        granted_ttl_s,
                        remaining_ttl_s,
                    }))
                }
            }
        };
        match tokio::time::timeout(limits::READ_DEADLINE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(NotDone(reason))) => Err(reason),
            Err(_) => Err("the lease's revocation is under way, and does not end".into()),
        }
    }

    /// As a follower: asks the leader, but no longer than it leads.
    async fn ask_there(
        &self,
        leader: u64,
        address: &str,
        id: i64,
        question: LeaseQuestion,
    ) -> Result<Option<LeaseTime>, String> {
        let mut pick = self
            .pool
            .get(leader, address, Purpose::Forward)
            .map_err(|error| error.to_string())?;
        let request = proto::LeaseRequest { id };
        let answer = async {
            match question {
                LeaseQuestion::KeepAlive => pick.client.keep_lease_alive(request).await,
                LeaseQuestion::TimeToLive => pick.client.lease_time_to_live(request).await,
            }
        };
        let mut cluster = self.views.cluster.clone();
        let deposed = cluster.wait_for(|view| view.leader != Some(leader));
        let answer = tokio::select! {
            answer = answer => answer.map(Response::into_inner),
            _ = deposed => return Err("the leader changed".into()),
            () = tokio::time::sleep(limits::READ_DEADLINE) => {
                return Err(format!("server {leader} did not answer in time"));
            }
        };
        answer.map_or_else(
            |status| {
                self.pool.discard(leader, Purpose::Forward, &pick);
                Err(format!("server {leader} cannot be asked: {}", status.message()))
            },
            from_wire,
        )
    }

    /// Answers another server's question, as the leader.
    pub(crate) async fn handle_lease(
        &self,
        request: proto::LeaseRequest,
        question: LeaseQuestion,
    ) -> Result<proto::LeaseResponse, Status> {
        let view = self.view();
        let answer = if view.leader == Some(self.config.server_id) {
            self.answer_here(request.id, question).await
        } else {
            Err("this server does not lead".into())
        };
        let outcome = match answer {
            Ok(Some(LeaseTime {
                granted_ttl_s,
                remaining_ttl_s,
            })) => Wire::Time(proto::LeaseTime {
                granted_ttl_s,
                remaining_ttl_s,
            }),
            Ok(None) => Wire::NotFound(proto::Unit {}),
            Err(reason) => Wire::NotLeader(proto::NotLeader {
                leader_id: view.leader.unwrap_or(0),
                reason,
            }),
        };
        Ok(proto::LeaseResponse { outcome: Some(outcome) })
    }
}

pub(super) fn from_wire(response: proto::LeaseResponse) -> Result<Option<LeaseTime>, String> {
    match response.outcome {
        Some(Wire::Time(proto::LeaseTime {
            granted_ttl_s,
            remaining_ttl_s,
        })) => Ok(Some(LeaseTime {
            granted_ttl_s,
            remaining_ttl_s,
        })),
        Some(Wire::NotFound(proto::Unit {})) => Ok(None),
        Some(Wire::NotLeader(proto::NotLeader { leader_id: _, reason })) => Err(reason),
        None => Err("the leader's answer is empty".into()),
    }
}
