//! The Election service: an election is won by the oldest key below its name.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tonic::{Request, Response, Status};
use trireme_proto::etcd::election as pb;
use trireme_proto::etcd::election::election_server;

use super::session::{delete_own, if_own, prefix};
use super::{Etcd, convert, errors};
use crate::kv::{EventKind, KeyRange, KeyValue, Kv, KvError, Op, Revision, RevisionFilter, WatchRequest, Watcher};

/// See the module.
pub(super) struct ElectionService(pub(super) Arc<Etcd>);

#[async_trait::async_trait]
impl election_server::Election for ElectionService {
    type ObserveStream = BoxStream<'static, Result<pb::LeaderResponse, Status>>;

    async fn campaign(&self, request: Request<pb::CampaignRequest>) -> Result<Response<pb::CampaignResponse>, Status> {
        let pb::CampaignRequest { name, lease, value } = request.into_inner();
        let prefix = prefix(&name)?;
        let lease = self.0.session(lease).await?;
        let entered = self.0.enter(&prefix, lease, value.clone()).await?;
        let mut revision = entered.revision;
        if entered.found.is_some_and(|found| found.value != value) {
            let proclaimed = self.0.proclaim(&entered.claim.key, entered.claim.created, lease, value);
            revision = proclaimed.await?;
        }
        self.0.wait_for_older(&prefix, entered.claim.created).await?;
        let (key, rev) = entered.claim.keep();
        Ok(Response::new(pb::CampaignResponse {
            header: Some(self.0.header(revision)),
            leader: Some(pb::LeaderKey { name, key, rev, lease }),
        }))
    }

    async fn proclaim(&self, request: Request<pb::ProclaimRequest>) -> Result<Response<pb::ProclaimResponse>, Status> {
        let pb::ProclaimRequest { leader, value } = request.into_inner();
        let leader = named(leader)?;
        let revision = self.0.proclaim(&leader.key, leader.rev, leader.lease, value).await?;
        Ok(Response::new(pb::ProclaimResponse {
            header: Some(self.0.header(revision)),
        }))
    }

    async fn leader(&self, request: Request<pb::LeaderRequest>) -> Result<Response<pb::LeaderResponse>, Status> {
        let prefix = prefix(&request.into_inner().name)?;
        match self
            .0
            .first_by_creation(&prefix, false, RevisionFilter::default())
            .await?
        {
            (Some(kv), revision) => Ok(Response::new(self.0.leader_response(kv, revision))),
            (None, _) => Err(Status::unknown("election: no leader")),
        }
    }

    async fn observe(&self, request: Request<pb::LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        let observer = Observer {
            etcd: Arc::clone(&self.0),
            prefix: prefix(&request.into_inner().name)?,
            following: None,
            ready: VecDeque::new(),
        };
        let stream = stream::unfold(Some(observer), |observer| async {
            let mut observer = observer?;
            match observer.next().await {
                Ok(response) => Some((Ok(response), Some(observer))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(stream.boxed()))
    }

    async fn resign(&self, request: Request<pb::ResignRequest>) -> Result<Response<pb::ResignResponse>, Status> {
        let leader = named(request.into_inner().leader)?;
        let response = self.0.store.txn(delete_own(&leader.key, leader.rev), None).await;
        let response = response.map_err(errors::status)?;
        Ok(Response::new(pb::ResignResponse {
            header: Some(self.0.header(response.revision)),
        }))
    }
}

/// The lead that a request must name.
fn named(leader: Option<pb::LeaderKey>) -> Result<pb::LeaderKey, Status> {
    let leader = leader.ok_or_else(|| Status::unknown("\"leader\" field must be provided"))?;
    convert::key_range(leader.key.clone(), Bytes::new())?;
    Ok(leader)
}

impl Etcd {
    /// Lets the leader of `key` show `value`; answers the revision.
    async fn proclaim(&self, key: &Bytes, created: Revision, lease: i64, value: Bytes) -> Result<Revision, Status> {
        let put = Op::Put {
            key: key.clone(),
            value,
            lease,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        };
        let response = self.store.txn(if_own(key, created, vec![put]), None).await;
        let response = response.map_err(errors::status)?;
        if !response.succeeded {
            return Err(Status::unknown("election: not leader"));
        }
        Ok(response.revision)
    }

    fn leader_response(&self, kv: KeyValue, revision: Revision) -> pb::LeaderResponse {
        pb::LeaderResponse {
            header: Some(self.header(revision)),
            kv: Some(convert::key_value(kv)),
        }
    }
}

/// Follows one leader after the other.
struct Observer {
    etcd: Arc<Etcd>,
    prefix: Bytes,
    /// The watch of the present leader's key; `None` while there is none.
    following: Option<Box<dyn Watcher>>,
    ready: VecDeque<pb::LeaderResponse>,
}

impl Observer {
    async fn next(&mut self) -> Result<pb::LeaderResponse, Status> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(ready);
            }
            match &mut self.following {
                None => self.find_leader().await?,
                Some(watcher) => match watcher.next().await {
                    Ok(batch) => {
                        for event in batch.events {
                            if event.kind == EventKind::Delete {
                                self.following = None;
                                break;
                            }
                            let told = self.etcd.leader_response(event.kv.clone(), event.kv.mod_revision);
                            self.ready.push_back(told);
                        }
                    }
                    // What was missed is not told, but the newest is.
                    Err(KvError::Compacted { .. }) => self.following = None,
                    Err(error) => return Err(errors::status(error)),
                },
            }
        }
    }

    /// Finds the leader, or waits for a change below the name.
    async fn find_leader(&mut self) -> Result<(), Status> {
        let none = RevisionFilter::default();
        let (leader, revision) = self.etcd.first_by_creation(&self.prefix, false, none).await?;
        let range = match &leader {
            Some(kv) => KeyRange::key(kv.key.clone()),
            None => KeyRange::prefix(self.prefix.clone()),
        };
        let start_revision = revision + 1;
        let watcher = self.etcd.store.watch(WatchRequest { range, start_revision }).await;
        let mut watcher = watcher.map_err(errors::status)?;
        match leader {
            Some(kv) => {
                self.ready.push_back(self.etcd.leader_response(kv, revision));
                self.following = Some(watcher);
            }
            None => loop {
                match watcher.next().await {
                    Ok(batch) if batch.events.is_empty() => {}
                    Ok(_) | Err(KvError::Compacted { .. }) => break,
                    Err(error) => return Err(errors::status(error)),
                }
            },
        }
        Ok(())
    }
}
