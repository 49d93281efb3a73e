//! The Watch service on the wire, with answers whose events are encoded already.
//!
//! An encoded event is shared by all watchers, so the service cannot be the generated one, which would encode it
//! again for each. An answer is the same on the wire: a message in a field is its bytes.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use tonic::codegen::{Body, BoxFuture, Context, Poll, Service, StdError, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use trireme_proto::etcd::server as pb;

use super::lanes::{self, Call};
use super::watch;
use super::{Etcd, limits};

/// A `WatchResponse` whose events are encoded.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<pb::ResponseHeader>,
    #[prost(int64, tag = "2")]
    pub(super) watch_id: i64,
    #[prost(bool, tag = "3")]
    pub(super) created: bool,
    #[prost(bool, tag = "4")]
    pub(super) canceled: bool,
    #[prost(int64, tag = "5")]
    pub(super) compact_revision: i64,
    #[prost(string, tag = "6")]
    pub(super) cancel_reason: String,
    #[prost(bool, tag = "7")]
    pub(super) fragment: bool,
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub(super) events: Vec<Bytes>,
}

/// The service.
#[derive(Clone)]
pub(super) struct WatchServer(pub(super) Arc<Etcd>);

impl NamedService for WatchServer {
    const NAME: &'static str = "etcdserverpb.Watch";
}

/// Its one method.
struct WatchMethod(Arc<Etcd>);

impl StreamingService<pb::WatchRequest> for WatchMethod {
    type Response = Answer;
    type ResponseStream = BoxStream<'static, Result<Answer, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<pb::WatchRequest>>) -> Self::Future {
        let etcd = Arc::clone(&self.0);
        Box::pin(async move {
            let _seat = etcd.admit(lanes::flow(&request), Call::WatchStream).await?;
            Ok(Response::new(watch::answers(etcd, request)))
        })
    }
}

impl<B> Service<http::Request<B>> for WatchServer
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let etcd = Arc::clone(&self.0);
        Box::pin(async move {
            if request.uri().path() != "/etcdserverpb.Watch/Watch" {
                return Ok(Status::unimplemented("the Watch service has no such method").into_http());
            }
            let codec: ProstCodec<Answer, pb::WatchRequest> = ProstCodec::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(limits::MESSAGE_BYTES);
            Ok(grpc.streaming(WatchMethod(etcd), request).await)
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use trireme_proto::etcd::kv as mvccpb;

    use super::*;

    #[test]
    fn an_answer_is_a_watch_response_on_the_wire() {
        let event = |revision: i64| mvccpb::Event {
            r#type: mvccpb::event::EventType::Delete.into(),
            kv: Some(mvccpb::KeyValue {
                key: "k".into(),
                mod_revision: revision,
                ..mvccpb::KeyValue::default()
            }),
            prev_kv: Some(mvccpb::KeyValue::default()),
        };
        let response = pb::WatchResponse {
            header: Some(pb::ResponseHeader {
                cluster_id: 1,
                member_id: 2,
                revision: 3,
                raft_term: 4,
            }),
            watch_id: -1,
            created: true,
            canceled: true,
            compact_revision: 5,
            cancel_reason: "why".into(),
            fragment: true,
            events: vec![event(6), event(7)],
        };
        let answer = Answer {
            header: response.header,
            watch_id: response.watch_id,
            created: response.created,
            canceled: response.canceled,
            compact_revision: response.compact_revision,
            cancel_reason: response.cancel_reason.clone(),
            fragment: response.fragment,
            events: response
                .events
                .iter()
                .map(|event| event.encode_to_vec().into())
                .collect(),
        };
        assert_eq!(answer.encode_to_vec(), response.encode_to_vec());
    }
}
