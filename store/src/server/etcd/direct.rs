//! The calls that are made by the ten thousand a second: one key read, one written, one small transaction.
//!
//! A general service takes a call through routes, interceptors and streams of messages, each with memory of its own, which costs
//! more than the call. Here a request whose one message is there as a whole is answered at once. Whatever is unusual about a
//! request, or wrong with it, is left to the general services, so that there is one place that knows what to say of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use prost::Message;
use tonic::codegen::http::{self, HeaderMap, HeaderValue, Method, header, request};
use tonic::{Response, Status};
use trireme_proto::etcd::server as pb;

use super::kv::KvService;
use super::whole::PREFIX_BYTES;
use super::{Etcd, NEEDS_LEADER, limits};
use crate::lanes::Flow;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_ENCODING: &str = "grpc-encoding";

/// See the module.
#[derive(Clone)]
pub struct DirectKv(Arc<Etcd>);

/// What became of a request.
pub enum Direct<B: Body> {
    /// It was answered.
    Answered(http::Response<DirectBody>),
    /// It is for the general services, untouched.
    Passed(http::Request<Replayed<B>>),
}

/// A call that is served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Range,
    Put,
    Txn,
}

/// What a body gave first.
type Seen<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// A body that gave something already, which is given again.
pub struct Replayed<B: Body> {
    first: Option<Seen<B>>,
    inner: B,
}

/// An answer: one message, and that all is well.
#[derive(Debug)]
pub struct DirectBody {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl DirectKv {
    pub(super) fn new(etcd: Arc<Etcd>) -> Self {
        Self(etcd)
    }

    /// Answers a request, or gives it back. Who asks must have been let in.
    pub async fn call<B>(&self, flow: Flow, request: http::Request<B>) -> Direct<B>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, mut body) = request.into_parts();
        let Some(call) = self.call_of(&head) else {
            return pass(head, None, body);
        };
        let first = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let message = match &first {
            Some(Ok(frame)) => frame.data_ref().and_then(whole_message),
            Some(Err(_)) | None => None,
        };
        let answer = match message.filter(|_| body.is_end_stream()) {
            Some(message) => self.answer(call, flow, message).await,
            None => None,
        };
        match answer {
            Some(Ok(answer)) => Direct::Answered(answered(answer)),
            Some(Err(status)) => Direct::Answered(refused(status)),
            None => pass(head, first, body),
        }
    }

    /// The call that a request makes, if there is nothing unusual about it.
    fn call_of(&self, head: &request::Parts) -> Option<Call> {
        let call = match head.uri.path() {
            "/etcdserverpb.KV/Range" => Call::Range,
            "/etcdserverpb.KV/Put" => Call::Put,
            "/etcdserverpb.KV/Txn" => Call::Txn,
            _ => return None,
        };
        let (name, wanted) = NEEDS_LEADER;
        let headers = &head.headers;
        let is_usual = head.method == Method::POST
            && headers.get(header::CONTENT_TYPE) == Some(&GRPC)
            && !headers.contains_key(GRPC_ENCODING)
            && (headers.get(name).is_none_or(|value| value != wanted) || self.0.has_leader());
        is_usual.then_some(call)
    }

    /// The encoded answer to a message, with the room that it takes; `None` if it is not for here.
    async fn answer(&self, call: Call, flow: Flow, message: Bytes) -> Option<Result<Response<Bytes>, Status>> {
        let kv = KvService(Arc::clone(&self.0));
        let answer = match call {
            Call::Range => {
                let request = pb::RangeRequest::decode(message).ok()?;
                if !request.range_end.is_empty() {
                    return None;
                }
                let answer = kv.one_key(flow, request).await;
                answer.map(|answer| answer.map(|answer| framed(&answer)))
            }
            Call::Put => {
                let request = pb::PutRequest::decode(message).ok()?;
                let answer = kv.put_key(flow, request).await;
                answer.map(|answer| Response::new(framed(&answer)))
            }
            Call::Txn => {
                let request = pb::TxnRequest::decode(message).ok()?;
                let answer = kv.run_txn(flow, request).await;
                answer.map(|answer| Response::new(framed(&answer)))
            }
        };
        Some(answer)
    }
}

/// The message, if the frame is just that: not compressed, and no larger than may be.
pub(super) fn whole_message(frame: &Bytes) -> Option<Bytes> {
    let prefix = frame.first_chunk::<PREFIX_BYTES>()?;
    let [0, length @ ..] = prefix else { return None };
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let fits = length <= limits::MESSAGE_BYTES && frame.len() - PREFIX_BYTES == length;
    fits.then(|| frame.slice(PREFIX_BYTES..))
}

fn framed<M: Message>(message: &M) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).expect("answers of single keys and transactions are bounded far below 4 GiB"));
    message.encode_raw(&mut out);
    out.freeze()
}

fn pass<B: Body>(head: request::Parts, first: Option<Seen<B>>, inner: B) -> Direct<B> {
    Direct::Passed(http::Request::from_parts(head, Replayed { first, inner }))
}

fn answered(answer: Response<Bytes>) -> http::Response<DirectBody> {
    let (_, message, extensions) = answer.into_parts();
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let mut response = http::Response::new(DirectBody {
        message: Some(message),
        trailers: Some(trailers),
    });
    *response.extensions_mut() = extensions;
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

fn refused(status: Status) -> http::Response<DirectBody> {
    status.into_http::<()>().map(|()| DirectBody {
        message: None,
        trailers: None,
    })
}

impl Body for DirectBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }
}

impl<B: Body<Data = Bytes, Error: Unpin> + Unpin> Body for Replayed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Seen<B>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_frame_that_is_one_message_is_taken() {
        let frame = |bytes: &'static [u8]| whole_message(&Bytes::from_static(bytes));
        assert_eq!(frame(b"\0\0\0\0\x02ab"), Some(Bytes::from_static(b"ab")));
        assert_eq!(frame(b"\0\0\0\0\0"), Some(Bytes::new()));
        for unusual in [
            &b""[..],
            b"\0\0\0\0",
            b"\x01\0\0\0\x02ab",
            b"\x02\0\0\0\x02ab",
            b"\0\0\0\0\x02a",
            b"\0\0\0\0\x02abc",
            b"\0\xff\xff\xff\xff",
        ] {
            assert_eq!(frame(unusual), None, "{}", unusual.escape_ascii());
        }
        let large = vec![0; limits::MESSAGE_BYTES + 1];
        let mut whole = BytesMut::from(&[0][..]);
        whole.put_u32(u32::try_from(large.len()).unwrap());
        whole.extend_from_slice(&large);
        assert_eq!(whole_message(&whole.freeze()), None);
    }

    /// A body that fails at once.
    struct Failing(Option<&'static str>);

    impl Body for Failing {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Seen<Self>>> {
            Poll::Ready(self.0.take().map(Err))
        }
    }

    #[tokio::test]
    async fn what_was_seen_of_a_body_is_seen_again() {
        let next = async |body: &mut Replayed<Failing>| {
            std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
        };
        let head = http::Request::new(()).into_parts().0;
        let Direct::Passed(request) = pass(head, Some(Err("broken")), Failing(None)) else {
            panic!("it is passed");
        };
        let mut body = request.into_body();
        assert!(!body.is_end_stream());
        assert!(matches!(next(&mut body).await, Some(Err("broken"))));
        assert!(next(&mut body).await.is_none());
    }
}
