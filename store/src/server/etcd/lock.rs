//! The Lock service: a lock is held by the oldest key below its name.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};
use trireme_proto::etcd::lock as pb;
use trireme_proto::etcd::lock::lock_server;

use super::session::prefix;
use super::{Etcd, convert, errors};
use crate::kv::{Consistency, KeyRange, Kv, Op, RangeRequest, Txn};

/// See the module.
pub(super) struct LockService(pub(super) Arc<Etcd>);

#[async_trait::async_trait]
impl lock_server::Lock for LockService {
    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let pb::LockRequest { name, lease } = request.into_inner();
        let prefix = prefix(&name)?;
        let lease = self.0.session(lease).await?;
        let entered = self.0.enter(&prefix, lease, Bytes::new()).await?;
        self.0.wait_for_older(&prefix, entered.claim.created).await?;
        // The lease may have ended meanwhile.
        let own = RangeRequest::latest(KeyRange::key(entered.claim.key.clone()));
        let own = self.0.store.range(own, Consistency::Linearizable).await;
        let own = own.map_err(errors::status)?;
        if own.kvs.first().map(|kv| kv.create_revision) != Some(entered.claim.created) {
            return Err(Status::unknown("mutex: session is expired"));
        }
        let (key, _) = entered.claim.keep();
        Ok(Response::new(pb::LockResponse {
            header: Some(self.0.header(own.revision)),
            key,
        }))
    }

    async fn unlock(&self, request: Request<pb::UnlockRequest>) -> Result<Response<pb::UnlockResponse>, Status> {
        let range = convert::key_range(request.into_inner().key, Bytes::new())?;
        let delete = Op::Delete { range, prev_kv: false };
        let txn = Txn {
            success: vec![delete],
            ..Txn::default()
        };
        let response = self.0.store.txn(txn, None).await.map_err(errors::status)?;
        Ok(Response::new(pb::UnlockResponse {
            header: Some(self.0.header(response.revision)),
        }))
    }
}
