//! Unary answers that are encoded already: how they get into a response.
//!
//! The generated service encodes a message in one go, into one buffer, on the thread that serves others. A large answer
//! comes here in pieces instead, each encoded where it was read; together they are the bytes of the message.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{MapOk, TryFutureExt};
use http_body::{Body, Frame};
use prost::Message;
use tonic::codegen::Service;
use tonic::codegen::http::{self, HeaderMap, HeaderValue};
use tonic::server::NamedService;
use tonic::{Response, Status};

/// Bytes before a message of gRPC: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// The pieces of a message with its prefix, as a response's extension.
#[derive(Debug, Clone)]
struct Whole(Vec<Bytes>);

/// An answer whose message is what `rest` encodes to, with `pieces` behind: fields of the same message. [`Handing`] must
/// be around the service that gives it.
pub(super) fn whole<M: Message + Default>(rest: &M, pieces: Vec<Bytes>) -> Result<Response<M>, Status> {
    let length = rest.encoded_len() + pieces.iter().map(Bytes::len).sum::<usize>();
    let length =
        u32::try_from(length).map_err(|_| Status::out_of_range("the answer is larger than gRPC's messages"))?;
    let mut begin = BytesMut::with_capacity(PREFIX_BYTES + rest.encoded_len());
    begin.put_u8(0);
    begin.put_u32(length);
    rest.encode_raw(&mut begin);
    let mut all = Vec::with_capacity(1 + pieces.len());
    all.push(begin.freeze());
    all.extend(pieces);
    let mut response = Response::new(M::default());
    response.extensions_mut().insert(Whole(all));
    Ok(response)
}

/// Around a service: puts answers that are encoded already in the place of their bodies.
#[derive(Debug, Clone)]
pub(super) struct Handing<S>(pub(super) S);

type Answered = http::Response<tonic::body::Body>;

impl<S: NamedService> NamedService for Handing<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for Handing<S>
where
    S: Service<http::Request<B>, Response = Answered, Error = Infallible>,
{
    type Response = Answered;
    type Error = Infallible;
    type Future = MapOk<S::Future, fn(Answered) -> Answered>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.0.call(request).map_ok(hand_over)
    }
}

fn hand_over(mut response: Answered) -> Answered {
    if let Some(Whole(mut pieces)) = response.extensions_mut().remove::<Whole>() {
        pieces.reverse();
        let mut trailers = HeaderMap::new();
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        let body = WholeBody {
            pieces,
            trailers: Some(trailers),
        };
        response = response.map(|_| tonic::body::Body::new(body));
    }
    response
}

/// Pieces of a message, and the trailers of a call that went well.
struct WholeBody {
    /// The next is the last.
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for WholeBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let piece = self.pieces.pop().map(Frame::data);
        let frame = piece.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use trireme_proto::etcd::kv as mvccpb;
    use trireme_proto::etcd::server as pb;

    use super::*;

    #[test]
    fn pieces_make_the_message_that_one_encoding_would_make() {
        let kv = |key: &'static str| mvccpb::KeyValue {
            key: key.into(),
            value: vec![b'v'; 300].into(),
            ..mvccpb::KeyValue::default()
        };
        let piece = |kvs: Vec<mvccpb::KeyValue>| {
            let part = pb::RangeResponse {
                kvs,
                ..pb::RangeResponse::default()
            };
            Bytes::from(part.encode_to_vec())
        };
        let rest = pb::RangeResponse {
            header: Some(pb::ResponseHeader {
                revision: 7,
                ..pb::ResponseHeader::default()
            }),
            more: true,
            count: 9,
            ..pb::RangeResponse::default()
        };
        let response = whole(&rest, vec![piece(vec![kv("a"), kv("b")]), piece(vec![kv("c")])]).expect("small");
        let sent = response.extensions().get::<Whole>().expect("pieces").0.concat();
        assert_eq!(&sent[..1], [0]);
        assert_eq!(sent[1..5], u32::try_from(sent.len() - 5).expect("small").to_be_bytes());
        let read = pb::RangeResponse::decode(&sent[5..]).expect("a message");
        let expected = pb::RangeResponse {
            kvs: vec![kv("a"), kv("b"), kv("c")],
            ..rest
        };
        assert_eq!(read, expected);
    }
}
