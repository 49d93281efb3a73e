//! The KV service: reading and changing keys.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use tonic::{Request, Response, Status};
use trireme_proto::etcd::server as pb;
use trireme_proto::etcd::server::kv_server;

use super::{Etcd, convert, errors, limits};
use crate::kv::{Consistency, Kv, Op, OpResponse, Order, RangeRequest, Revision, RevisionFilter, Txn};

/// See the module.
pub(super) struct KvService(pub(super) Arc<Etcd>);

#[async_trait::async_trait]
impl kv_server::Kv for KvService {
    type RangeStreamStream = BoxStream<'static, Result<pb::RangeStreamResponse, Status>>;

    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let request = request.into_inner();
        let consistency = consistency(&request);
        let range = convert::range_request(request)?;
        let response = self.0.store.range(range, consistency).await.map_err(errors::status)?;
        let header = self.0.header(response.revision);
        Ok(Response::new(convert::range_response(response, Some(header))))
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let request = request.into_inner();
        let consistency = consistency(&request);
        let range = convert::range_request(request)?;
        if range.order != Order::default() {
            return Err(Status::unimplemented("RangeStream does not support custom sort orders"));
        }
        if range.filter != RevisionFilter::default() {
            return Err(Status::unimplemented("RangeStream does not support revision filters"));
        }
        let pieces = RangePieces::new(Arc::clone(&self.0), range, consistency);
        let pieces = stream::unfold(Some(pieces), |pieces| async {
            let mut pieces = pieces?;
            match pieces.next().await {
                Ok((piece, true)) => Some((Ok(piece), Some(pieces))),
                Ok((piece, false)) => Some((Ok(piece), None)),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(pieces.boxed()))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let request = request.into_inner();
        convert::check_size(&request)?;
        match self.one(convert::put(request)?).await? {
            (OpResponse::Put(prev_kv), revision) => Ok(Response::new(pb::PutResponse {
                header: Some(self.0.header(revision)),
                prev_kv: prev_kv.map(convert::key_value),
            })),
            _ => Err(convert::wrong_answer()),
        }
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        match self.one(convert::delete(request.into_inner())?).await? {
            (OpResponse::Delete { deleted, prev_kvs }, revision) => Ok(Response::new(pb::DeleteRangeResponse {
                header: Some(self.0.header(revision)),
                deleted: i64::try_from(deleted).unwrap_or(i64::MAX),
                prev_kvs: prev_kvs.into_iter().map(convert::key_value).collect(),
            })),
            _ => Err(convert::wrong_answer()),
        }
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let request = request.into_inner();
        convert::check_size(&request)?;
        let txn = convert::txn(request)?;
        let response = self.0.store.txn(txn, None).await.map_err(errors::status)?;
        let header = self.0.header(response.revision);
        Ok(Response::new(convert::txn_response(response, Some(header))))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let pb::CompactionRequest { revision, physical } = request.into_inner();
        self.0.store.compact(revision).await.map_err(errors::status)?;
        if physical {
            self.0.store.remove_compacted().await.map_err(errors::status)?;
        }
        Ok(Response::new(pb::CompactionResponse {
            header: Some(self.0.header_now()),
        }))
    }
}

impl KvService {
    /// A transaction of one operation; its answer and the revision.
    async fn one(&self, op: Op) -> Result<(OpResponse, Revision), Status> {
        let txn = Txn {
            success: vec![op],
            ..Txn::default()
        };
        let mut response = self.0.store.txn(txn, None).await.map_err(errors::status)?;
        let answer = response.responses.pop().ok_or_else(convert::wrong_answer)?;
        Ok((answer, response.revision))
    }
}

fn consistency(request: &pb::RangeRequest) -> Consistency {
    if request.serializable {
        Consistency::Serializable
    } else {
        Consistency::Linearizable
    }
}

/// A range that is read in pieces of bounded size, all at one revision.
struct RangePieces {
    etcd: Arc<Etcd>,
    request: RangeRequest,
    consistency: Consistency,
    /// The store's revision when the first piece was read.
    revision: Revision,
    /// Keys in the pieces so far.
    told: u64,
    /// How many keys are wanted; 0 for all.
    wanted: usize,
}

impl RangePieces {
    fn new(etcd: Arc<Etcd>, request: RangeRequest, consistency: Consistency) -> Self {
        let wanted = request.limit;
        let request = RangeRequest {
            bytes_max: limits::RANGE_PIECE_BYTES,
            count_total: false,
            ..request
        };
        Self {
            etcd,
            request,
            consistency,
            revision: 0,
            told: 0,
            wanted,
        }
    }

    /// The next piece, and whether there are more.
    async fn next(&mut self) -> Result<(pb::RangeStreamResponse, bool), Status> {
        let mut response = self.read(self.request.clone()).await?;
        if self.revision == 0 {
            self.revision = response.revision;
            if self.request.revision == 0 {
                self.request.revision = response.revision;
            }
            self.consistency = Consistency::Serializable;
        }
        let found = response.kvs.len();
        self.told += found as u64;
        let full = self.wanted > 0 && found >= self.request.limit;
        let last = !response.more || full || self.request.count_only;
        let mut header = None;
        if last {
            header = Some(self.etcd.header(self.revision));
            if !self.request.count_only {
                response.count = Some(self.told);
            }
            if response.more
                && let Some(kv) = response.kvs.last()
            {
                response.count = Some(self.told + self.count_after(&kv.key).await?);
            }
        } else {
            if let Some(kv) = response.kvs.last() {
                self.request.range.start = after(&kv.key);
            }
            self.request.limit = self.request.limit.saturating_sub(found);
            response.more = false;
            response.count = Some(0);
        }
        let range_response = Some(convert::range_response(response, header));
        Ok((pb::RangeStreamResponse { range_response }, !last))
    }

    /// How many keys of the range come after `key`.
    async fn count_after(&self, key: &[u8]) -> Result<u64, Status> {
        let mut request = self.request.clone();
        request.range.start = after(key);
        request.count_only = true;
        request.limit = 0;
        request.bytes_max = 0;
        Ok(self.read(request).await?.count.unwrap_or(0))
    }

    async fn read(&self, request: RangeRequest) -> Result<crate::kv::RangeResponse, Status> {
        let read = self.etcd.store.range(request, self.consistency);
        read.await.map_err(errors::status)
    }
}

/// The first key after `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
