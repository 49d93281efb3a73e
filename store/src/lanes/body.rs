//! An answer on its way out: handed over piece by piece, as its client takes it, with its room held until the end.
//!
//! What is handed to HTTP/2 at once waits there, uncounted, until the client reads. So no more than a piece is. A client
//! that takes nothing at all for long is cut off, or a few of them could keep all the room for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::codegen::http::{Extensions, Response};

use super::Answer;
use crate::limits;

/// A response's extension that carries its answer's room to the body; `None` if the body holds the room by itself.
#[derive(Debug, Clone)]
struct Carried(#[expect(dead_code, reason = "it is held, not looked at")] Option<Arc<Answer>>);

/// Puts an answer's room onto a response, to be released once a [`HeldBody`] has given everything away.
pub fn carry<T>(response: &mut tonic::Response<T>, answer: Answer) {
    carry_extension(response.extensions_mut(), answer);
}

/// The same for a response of plain HTTP.
pub fn carry_http<B>(response: &mut Response<B>, answer: Answer) {
    carry_extension(response.extensions_mut(), answer);
}

/// Marks a response whose body takes its room by itself, slice by slice: its client is looked after like others.
pub fn look_after<B>(response: &mut Response<B>) {
    response.extensions_mut().insert(Carried(None));
}

fn carry_extension(extensions: &mut Extensions, answer: Answer) {
    answer.complete();
    if answer.is_held() {
        extensions.insert(Carried(Some(Arc::new(answer))));
    }
}

/// Whether a response holds room for its answer.
pub fn is_carried<B>(response: &Response<B>) -> bool {
    response.extensions().get::<Carried>().is_some()
}

/// Lets the body of a response hold its answer's room, if it takes any. `stalled` is cancelled if the client takes nothing
/// of it for [`limits::ANSWER_PATIENCE`] or a little longer. To be called within a tokio runtime.
pub fn release<B>(mut response: Response<B>, stalled: &CancellationToken) -> Response<HeldBody<B>> {
    let room = response.extensions_mut().remove::<Carried>();
    let taken = Arc::<AtomicU64>::default();
    let guard = room.is_some().then(|| {
        let guard = tokio::spawn(watch(Arc::clone(&taken), stalled.clone()));
        AbortOnDropHandle::new(guard)
    });
    response.map(|inner| HeldBody {
        inner,
        rest: Bytes::new(),
        room: room.zip(guard),
        taken,
    })
}

/// Looks from time to time whether anything was taken.
async fn watch(taken: Arc<AtomicU64>, stalled: CancellationToken) {
    let mut before = taken.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(limits::ANSWER_PATIENCE).await;
        let now = taken.load(Ordering::Relaxed);
        if now == before {
            return stalled.cancel();
        }
        before = now;
    }
}

/// A body in pieces, with the room that it takes.
#[derive(Debug)]
pub struct HeldBody<B> {
    inner: B,
    /// What of the last frame was not handed over yet.
    rest: Bytes,
    /// And who looks after its client.
    room: Option<(Carried, AbortOnDropHandle<()>)>,
    /// Pieces that were handed over.
    taken: Arc<AtomicU64>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for HeldBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => {
                    this.room = None;
                    return Poll::Ready(other);
                }
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        this.taken.fetch_add(1, Ordering::Relaxed);
        let piece = this.rest.len().min(limits::ANSWER_PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use super::*;
    use crate::lanes::{Flow, Lane, LaneSizes, Lanes};
    use futures::FutureExt;

    /// Frames that are there.
    struct Frames(VecDeque<Bytes>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    fn held(lanes: &Arc<Lanes>, frames: VecDeque<Bytes>) -> Response<Frames> {
        let mut answer = lanes.answer(Flow(1));
        let bytes = frames.iter().map(Bytes::len).sum();
        answer.hold(Lane::Users, bytes).expect("there is room");
        let mut response = tonic::Response::new(());
        carry(&mut response, answer);
        let mut http = Response::new(Frames(frames));
        *http.extensions_mut() = std::mem::take(response.extensions_mut());
        http
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_off_and_a_slow_one_is_not() {
        let lanes = Lanes::new(LaneSizes::of_processors(1));
        let frames: VecDeque<Bytes> = vec![Bytes::from(vec![7; limits::ANSWER_PIECE_BYTES]); 8].into();
        let (slow, still) = (CancellationToken::new(), CancellationToken::new());
        let mut slow_body = release(held(&lanes, frames.clone()), &slow).into_body();
        let still_body = release(held(&lanes, frames), &still).into_body();
        for _ in 0..4 {
            tokio::time::sleep(limits::ANSWER_PATIENCE / 2).await;
            let frame = std::future::poll_fn(|cx| Pin::new(&mut slow_body).poll_frame(cx)).await;
            assert!(frame.is_some());
        }
        assert!(still.is_cancelled() && !slow.is_cancelled());
        // Cut off, the connection drops its bodies.
        drop((slow_body, still_body));
        assert_eq!(lanes.usage().users.answer_bytes, 0);
        tokio::time::sleep(3 * limits::ANSWER_PATIENCE).await;
        assert!(!slow.is_cancelled(), "nobody looks after what is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_of_a_body_that_has_its_own_room_is_cut_off_too() {
        let frames: VecDeque<Bytes> = vec![Bytes::from_static(b"piece"); 3].into();
        let mut response = Response::new(Frames(frames));
        assert!(!is_carried(&response));
        look_after(&mut response);
        assert!(is_carried(&response));
        let stalled = CancellationToken::new();
        let mut body = release(response, &stalled).into_body();
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert!(frame.is_some());
        tokio::time::sleep(limits::ANSWER_PATIENCE / 2).await;
        assert!(!stalled.is_cancelled());
        tokio::time::sleep(2 * limits::ANSWER_PATIENCE).await;
        assert!(stalled.is_cancelled());
    }

    #[tokio::test]
    async fn room_is_held_until_everything_is_handed_over_in_pieces() {
        let lanes = Lanes::new(LaneSizes::of_processors(1));
        let bytes = 2 * limits::ANSWER_PIECE_BYTES + 1;
        let http = held(&lanes, [Bytes::from(vec![7; bytes]), Bytes::from_static(b"end")].into());
        let mut body = release(http, &CancellationToken::new()).into_body();
        let mut lengths = Vec::new();
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).now_or_never();
            let Some(frame) = frame.expect("it never waits") else {
                break;
            };
            assert_eq!(lanes.usage().users.answer_bytes, bytes as u64 + 3);
            lengths.push(frame.expect("no failure").into_data().expect("data").len());
        }
        assert_eq!(lengths, [limits::ANSWER_PIECE_BYTES, limits::ANSWER_PIECE_BYTES, 1, 3]);
        assert_eq!(lanes.usage().users.answer_bytes, 0);
    }
}
