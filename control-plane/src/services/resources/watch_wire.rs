//! The service as it is added to the routes, with watches whose events are encoded already.
//!
//! The frame of an event is shared by all who watch the object, so a watch cannot be answered by the generated service, which
//! would encode it again for each. On the wire it is the same.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes};
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderValue, header};
use hyper::body::{Body, Frame};
use prost::Message;
use tonic::{
    Request, Status, Streaming,
    codec::BufferSettings,
    codegen::{BoxFuture, Service, StdError},
    server::NamedService,
};
use tonic_prost::ProstDecoder;
use trireme_proto::v1::{WatchRequest, resources_server::ResourcesServer};

use super::{MESSAGE_MAX_BYTES, ResourcesService};
use crate::status::ApiError;

/// The method that is answered here.
const WATCH: &str = "/trireme.v1.Resources/Watch";
/// What stands before a message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// See the module.
#[derive(Clone)]
pub struct ResourcesRoute {
    generated: ResourcesServer<ResourcesService>,
    service: Arc<ResourcesService>,
}

impl ResourcesRoute {
    pub(super) fn new(service: ResourcesService) -> Self {
        let service = Arc::new(service);
        Self {
            generated: ResourcesServer::from_arc(Arc::clone(&service)).max_decoding_message_size(MESSAGE_MAX_BYTES),
            service,
        }
    }
}

impl NamedService for ResourcesRoute {
    const NAME: &'static str = <ResourcesServer<ResourcesService> as NamedService>::NAME;
}

impl<B> Service<http::Request<B>> for ResourcesRoute
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
        if request.uri().path() != WATCH {
            return self.generated.call(request);
        }
        let service = Arc::clone(&self.service);
        Box::pin(async move {
            Ok(match watch(&service, request).await {
                Ok(frames) => answer(frames),
                Err(status) => status.into_http(),
            })
        })
    }
}

async fn watch<B>(
    service: &ResourcesService,
    request: http::Request<B>,
) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status>
where
    B: Body + Send + 'static,
    B::Error: Into<StdError>,
{
    let (head, body) = request.into_parts();
    let decoder = ProstDecoder::<WatchRequest>::new(BufferSettings::default());
    let mut messages = pin!(Streaming::new_request(decoder, body, None, Some(MESSAGE_MAX_BYTES)));
    let wanted = messages.message().await?;
    let wanted = wanted.ok_or_else(|| Status::internal("there is no message in the request"))?;
    let request = Request::from_http(http::Request::from_parts(head, ()));
    service.begin_watch(&request.map(|()| wanted)).await
}

fn answer(frames: BoxStream<'static, Result<Bytes, Status>>) -> http::Response<tonic::body::Body> {
    let mut response = http::Response::new(tonic::body::Body::new(FramesBody(Some(frames))));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A message in its frame.
pub(super) fn frame(message: &impl Message) -> Result<Bytes, ApiError> {
    let length = message.encoded_len();
    let stated = u32::try_from(length).map_err(|_| ApiError::internal("a message has more than 4 GiB"))?;
    let mut frame = Vec::with_capacity(HEAD_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(stated);
    message.encode_raw(&mut frame);
    Ok(frame.into())
}

/// Frames as a body; behind the last one, how it ended.
struct FramesBody(Option<BoxStream<'static, Result<Bytes, Status>>>);

impl Body for FramesBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(frames) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let end = match ready!(frames.as_mut().poll_next(context)) {
            Some(Ok(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.0 = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(end.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use http_body_util::BodyExt;
    use trireme_proto::v1::{Item, WatchEvent};

    use super::*;

    fn event(name: &str) -> WatchEvent {
        WatchEvent {
            revision: 7,
            item: Some(Item {
                name: name.to_owned(),
                ..Item::default()
            }),
            ..WatchEvent::default()
        }
    }

    /// A client of gRPC reads what is sent, however many frames go together, and is told how it ended.
    #[tokio::test]
    async fn frames_are_messages_on_the_wire() {
        let framed = |name: &str| frame(&event(name)).expect("framed");
        let pieces = vec![
            Ok(framed("one")),
            Ok([framed("two"), framed("three")].concat().into()),
            Err(Status::out_of_range("too old")),
            Ok(framed("never")),
        ];
        let body = answer(stream::iter(pieces).boxed()).into_body();
        let decoder = ProstDecoder::<WatchEvent>::new(BufferSettings::default());
        let mut messages = Streaming::new_response(decoder, body, http::StatusCode::OK, None, None);
        for name in ["one", "two", "three"] {
            assert_eq!(messages.message().await.expect("sent"), Some(event(name)));
        }
        let end = messages.message().await.expect_err("it ended with an error");
        assert_eq!((end.code(), end.message()), (tonic::Code::OutOfRange, "too old"));

        let nothing = answer(stream::empty().boxed())
            .into_body()
            .collect()
            .await
            .expect("a body");
        assert_eq!(nothing.trailers().expect("trailers")["grpc-status"], "0");
    }
}
