//! The KV service: reading and changing keys.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use prost::Message;
use tonic::{Request, Response, Status};
use trireme_proto::etcd::server as pb;
use trireme_proto::etcd::server::kv_server;
use trireme_proto::etcd::server::request_op::Request as WireOp;

use super::lanes::{self, Call, classify};
use super::whole::whole;
use super::{Etcd, convert, errors, limits};
use crate::kv::{
    Consistency, KeyRange, KeyValue, Kv, Op, OpResponse, Order, RangeRequest, RangeResponse, Revision, RevisionFilter,
    Txn, TxnResponse,
};
use crate::lanes::{Answer, Asker, Flow, Lane, carry};

/// See the module.
pub(super) struct KvService(pub(super) Arc<Etcd>);

#[async_trait::async_trait]
impl kv_server::Kv for KvService {
    type RangeStreamStream = BoxStream<'static, Result<pb::RangeStreamResponse, Status>>;

    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let flow = lanes::flow(&request);
        let request = request.into_inner();
        if request.range_end.is_empty() {
            return self.one_key(flow, request).await;
        }
        let consistency = consistency(&request);
        let range = convert::range_request(request)?;
        let (lane, _) = classify(Call::Range(&range));
        let asker = Asker { lane, flow };
        let room = self.0.lanes().check_room_to_wait(asker);
        room.map_err(|refused| errors::status(refused.into()))?;
        self.0.store.fresh(consistency).await.map_err(errors::status)?;
        let read = self.0.store.node().engine.read_sliced(asker, range, encode_kvs).await;
        let (gathered, answer) = read.map_err(errors::status)?;
        let found = i64::try_from(gathered.found).unwrap_or(i64::MAX);
        let rest = pb::RangeResponse {
            header: Some(self.0.header(gathered.revision)),
            kvs: Vec::new(),
            more: gathered.more,
            count: gathered
                .count
                .map_or(found, |count| i64::try_from(count).unwrap_or(i64::MAX)),
        };
        let mut response = whole(&rest, gathered.pieces)?;
        carry(&mut response, answer);
        Ok(response)
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let flow = lanes::flow(&request);
        let request = request.into_inner();
        let consistency = consistency(&request);
        let range = convert::range_request(request)?;
        if range.order != Order::default() {
            return Err(Status::unimplemented("RangeStream does not support custom sort orders"));
        }
        if range.filter != RevisionFilter::default() {
            return Err(Status::unimplemented("RangeStream does not support revision filters"));
        }
        let pieces = RangePieces::new(Arc::clone(&self.0), flow, range, consistency);
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
        let flow = lanes::flow(&request);
        self.put_key(flow, request.into_inner()).await.map(Response::new)
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let flow = lanes::flow(&request);
        match self.one(flow, convert::delete(request.into_inner())?).await? {
            (OpResponse::Delete { deleted, prev_kvs }, revision) => Ok(Response::new(pb::DeleteRangeResponse {
                header: Some(self.0.header(revision)),
                deleted: i64::try_from(deleted).unwrap_or(i64::MAX),
                prev_kvs: prev_kvs.into_iter().map(convert::key_value).collect(),
            })),
            _ => Err(convert::wrong_answer()),
        }
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let flow = lanes::flow(&request);
        self.run_txn(flow, request.into_inner()).await.map(Response::new)
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let _seat = self.0.admit(lanes::flow(&request), Call::Small).await?;
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
    /// A put.
    pub(super) async fn put_key(&self, flow: Flow, request: pb::PutRequest) -> Result<pb::PutResponse, Status> {
        convert::check_size(&request)?;
        match self.one(flow, convert::put(request)?).await? {
            (OpResponse::Put(prev_kv), revision) => Ok(pb::PutResponse {
                header: Some(self.0.header(revision)),
                prev_kv: prev_kv.map(convert::key_value),
            }),
            _ => Err(convert::wrong_answer()),
        }
    }

    /// A transaction.
    pub(super) async fn run_txn(&self, flow: Flow, request: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        convert::check_size(&request)?;
        let reads_here = only_reads_here(&request);
        let txn = convert::txn(request)?;
        let response = if reads_here {
            let _seat = self.0.admit(flow, Call::Txn(&txn)).await?;
            let looked = self.0.store.look(txn, Consistency::Serializable).await;
            looked.map_err(errors::status)?
        } else {
            self.carry_out(flow, txn).await?
        };
        let header = self.0.header(response.revision);
        Ok(convert::txn_response(response, Some(header)))
    }

    /// A transaction of one operation; its answer and the revision.
    async fn one(&self, flow: Flow, op: Op) -> Result<(OpResponse, Revision), Status> {
        let txn = Txn {
            success: vec![op],
            ..Txn::default()
        };
        let mut response = self.carry_out(flow, txn).await?;
        let answer = response.responses.pop().ok_or_else(convert::wrong_answer)?;
        Ok((answer, response.revision))
    }

    async fn carry_out(&self, flow: Flow, txn: Txn) -> Result<TxnResponse, Status> {
        let call = Call::Txn(&txn);
        let (lane, _) = classify(call);
        let _seat = self.0.admit(flow, call).await?;
        self.0.store.txn_in(lane, txn, None).await.map_err(errors::status)
    }

    /// A range of one key.
    pub(super) async fn one_key(
        &self,
        flow: Flow,
        request: pb::RangeRequest,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let consistency = consistency(&request);
        let range = convert::range_request(request)?;
        let call = Call::Range(&range);
        let (lane, _) = classify(call);
        let _seat = self.0.admit(flow, call).await?;
        let read = self.0.store.range(range, consistency).await;
        let read = read.map_err(errors::status)?;
        let bytes = read.kvs.iter().map(KeyValue::bytes).sum();
        let mut answer = self.0.lanes().answer(flow);
        answer
            .hold(lane, bytes)
            .map_err(|refused| errors::status(refused.into()))?;
        let header = self.0.header(read.revision);
        let mut response = Response::new(convert::range_response(read, Some(header)));
        carry(&mut response, answer);
        Ok(response)
    }
}

/// Keys, as they stand in an answer to a range.
fn encode_kvs(kvs: Vec<KeyValue>) -> Bytes {
    let part = pb::RangeResponse {
        kvs: kvs.into_iter().map(convert::key_value).collect(),
        ..pb::RangeResponse::default()
    };
    part.encode_to_vec().into()
}

fn consistency(request: &pb::RangeRequest) -> Consistency {
    if request.serializable {
        Consistency::Serializable
    } else {
        Consistency::Linearizable
    }
}

/// Whether a transaction does nothing but ranges that may all be answered by this replica alone. One that only compares asks
/// for the latest.
fn only_reads_here(request: &pb::TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure).peekable();
    ops.peek().is_some() && ops.all(|op| matches!(&op.request, Some(WireOp::RequestRange(range)) if range.serializable))
}

/// A range that is read in pieces of bounded size, all at one revision.
struct RangePieces {
    etcd: Arc<Etcd>,
    flow: Flow,
    /// The room of the piece that is under way.
    room: Answer,
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
    fn new(etcd: Arc<Etcd>, flow: Flow, request: RangeRequest, consistency: Consistency) -> Self {
        let room = etcd.lanes().answer(flow);
        let wanted = request.limit;
        let request = RangeRequest {
            bytes_max: limits::RANGE_PIECE_BYTES,
            count_total: false,
            ..request
        };
        Self {
            etcd,
            flow,
            room,
            request,
            consistency,
            revision: 0,
            told: 0,
            wanted,
        }
    }

    /// The next piece, and whether there are more.
    async fn next(&mut self) -> Result<(pb::RangeStreamResponse, bool), Status> {
        let mut response = self.read_piece().await?;
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
        let range = KeyRange {
            start: after(key),
            ..self.request.range.clone()
        };
        let counted = self.etcd.store.count_in(self.asker(), range, self.request.revision);
        counted.await.map_err(errors::status)
    }

    /// Reads a piece, in its turn. Its room is held until the client has come for the next one.
    async fn read_piece(&mut self) -> Result<RangeResponse, Status> {
        self.etcd.store.fresh(self.consistency).await.map_err(errors::status)?;
        if self.request.count_only {
            let (range, revision) = (self.request.range.clone(), self.request.revision);
            let count = self.etcd.store.count_in(self.asker(), range, revision).await;
            return Ok(RangeResponse {
                count: Some(count.map_err(errors::status)?),
                revision: self.etcd.store.applied_revision(),
                ..RangeResponse::default()
            });
        }
        // The last piece is with the client, or nearly so.
        self.room.release();
        let seat = self.room.slice().await;
        let _seat = seat.map_err(|refused| errors::status(refused.into()))?;
        let read = self
            .etcd
            .store
            .range(self.request.clone(), Consistency::Serializable)
            .await;
        let read = read.map_err(errors::status)?;
        self.room.keep(read.kvs.iter().map(KeyValue::bytes).sum());
        self.room.complete();
        Ok(read)
    }

    fn asker(&self) -> Asker {
        let (lane, flow) = (Lane::Bulk, self.flow);
        Asker { lane, flow }
    }
}

/// The first key after `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
