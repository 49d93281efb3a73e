//! The Lease service.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use trireme_mvcc::limits::LEASE_TTL_MAX_S;
use trireme_proto::etcd::server as pb;
use trireme_proto::etcd::server::lease_server;

use super::lanes::{self, Call};
use super::{Etcd, errors};
use crate::kv::Leases;
use crate::lanes::Flow;

/// The time to live of a lease that is not there.
const GONE_TTL: i64 = -1;

/// See the module.
pub(super) struct LeaseService(pub(super) Arc<Etcd>);

#[async_trait::async_trait]
impl lease_server::Lease for LeaseService {
    type LeaseKeepAliveStream = BoxStream<'static, Result<pb::LeaseKeepAliveResponse, Status>>;

    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let _seat = self.0.admit(lanes::flow(&request), Call::Small).await?;
        let pb::LeaseGrantRequest { ttl, id } = request.into_inner();
        let granted = self.0.grant(id, ttl).await?;
        Ok(Response::new(pb::LeaseGrantResponse {
            header: Some(self.0.header_now()),
            id: granted.id,
            ttl: granted.ttl_s,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let _seat = self.0.admit(lanes::flow(&request), Call::Small).await?;
        let revoked = self.0.store.revoke(request.into_inner().id).await;
        let revision = revoked.map_err(errors::status)?;
        Ok(Response::new(pb::LeaseRevokeResponse {
            header: Some(self.0.header(revision)),
        }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let lost = self.0.needs_leader(request.metadata()).then(|| self.0.leader.lost());
        let flow = lanes::flow(&request);
        let requests = request.into_inner();
        let etcd = Arc::clone(&self.0);
        let answers = stream::unfold(Some((etcd, requests, lost)), move |state| async move {
            let (etcd, mut requests, mut lost) = state?;
            let lost_leader = async {
                match &mut lost {
                    Some(lost) => lost.await,
                    None => std::future::pending().await,
                }
            };
            let answer = tokio::select! {
                biased;
                () = lost_leader => Err(errors::NO_LEADER.into()),
                answer = keep_alive(&etcd, flow, &mut requests) => answer,
            };
            match answer {
                Ok(Some(answer)) => Some((Ok(answer), Some((etcd, requests, lost)))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let flow = lanes::flow(&request);
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let _seat = self.0.admit(flow, Call::TimeToLive { keys }).await?;
        let lease = self.0.store.time_to_live(id, keys).await.map_err(errors::status)?;
        let header = Some(self.0.header_now());
        Ok(Response::new(match lease {
            Some(lease) => pb::LeaseTimeToLiveResponse {
                header,
                id,
                ttl: lease.remaining_ttl_s,
                granted_ttl: lease.granted_ttl_s,
                keys: lease.keys,
            },
            None => pb::LeaseTimeToLiveResponse {
                header,
                id,
                ttl: GONE_TTL,
                ..pb::LeaseTimeToLiveResponse::default()
            },
        }))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let _seat = self.0.admit(lanes::flow(&request), Call::Everything).await?;
        let leases = self.0.store.leases().await.map_err(errors::status)?;
        Ok(Response::new(pb::LeaseLeasesResponse {
            header: Some(self.0.header_now()),
            leases: leases.into_iter().map(|id| pb::LeaseStatus { id }).collect(),
        }))
    }
}

impl Etcd {
    /// Makes a lease.
    pub(super) async fn grant(&self, id: i64, ttl_s: i64) -> Result<crate::kv::LeaseGranted, Status> {
        if ttl_s > LEASE_TTL_MAX_S {
            return Err(errors::LEASE_TTL_TOO_LARGE.into());
        }
        self.store.grant(id, ttl_s).await.map_err(errors::status)
    }
}

/// Takes the next request and answers it; `None` if there will be no more.
async fn keep_alive(
    etcd: &Etcd,
    flow: Flow,
    requests: &mut Streaming<pb::LeaseKeepAliveRequest>,
) -> Result<Option<pb::LeaseKeepAliveResponse>, Status> {
    let Some(pb::LeaseKeepAliveRequest { id }) = requests.message().await? else {
        return Ok(None);
    };
    let _seat = etcd.admit(flow, Call::KeepAlive).await?;
    // Before the lease is kept alive: its revocation can then not seem to lie before the answer.
    let header = etcd.header_now();
    let ttl = etcd.store.keep_alive(id).await.map_err(errors::status)?;
    Ok(Some(pb::LeaseKeepAliveResponse {
        header: Some(header),
        id,
        ttl: ttl.unwrap_or(0),
    }))
}
