//! The body of a request as it comes in, at a pace and in an amount that a client cannot choose freely (invariant I9).
//!
//! A message that has begun must be there in time, and what a connection and a port hold of messages has a bound: a client
//! that sends many messages nearly whole, and then waits, would fill the memory otherwise. How large one message may be is not
//! decided here, nor how long a stream may be silent between two.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, header};
use hyper::body::{Body, Frame, Incoming};
use tokio::time::Sleep;
use tonic::Status;

/// What a gRPC message has in front of it: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Bytes of messages that may be held at once.
#[derive(Debug)]
pub(super) struct Budget {
    held: AtomicUsize,
    most: usize,
}

impl Budget {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let held = AtomicUsize::new(0);
        Arc::new(Self { held, most })
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.checked_add(bytes).is_some_and(|held| held <= self.most);
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The budgets that the bytes of a request count against: its connection's and its port's.
#[derive(Debug, Clone)]
pub(super) struct Budgets(pub(super) [Arc<Budget>; 2]);

/// What of the last message of a request is held. Given back when it is dropped.
#[derive(Debug)]
struct Held {
    budgets: Budgets,
    bytes: usize,
}

impl Held {
    fn take(&mut self, bytes: usize) -> Result<(), Status> {
        let Budgets([connection, port]) = &self.budgets;
        let too_much = |whose: &str| {
            Status::resource_exhausted(format!(
                "{whose} has too many unfinished messages: send fewer at a time"
            ))
        };
        if !connection.take(bytes) {
            return Err(too_much("the connection"));
        }
        if !port.take(bytes) {
            connection.give_back(bytes);
            return Err(too_much("the server"));
        }
        self.bytes += bytes;
        Ok(())
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.budgets.0.iter().for_each(|budget| budget.give_back(bytes));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Where in its messages a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the prefix of a message, of which so many bytes are there, with the length as far as it is known.
    Prefix { bytes: usize, length: usize },
    /// In a message, of which so many bytes are missing.
    Message { missing: usize },
    /// In a body that is no gRPC and so one message, as long as it may be.
    Whole,
}

impl Place {
    const BETWEEN: Self = Self::Prefix { bytes: 0, length: 0 };
}

/// See the module.
pub(super) struct Paced {
    inner: Incoming,
    place: Place,
    held: Held,
    patience: Duration,
    /// When the message that has begun must be there.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(super) fn new(inner: Incoming, headers: &HeaderMap, budgets: Budgets, patience: Duration) -> Self {
        let grpc = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        Self {
            inner,
            place: if grpc { Place::BETWEEN } else { Place::Whole },
            held: Held { budgets, bytes: 0 },
            patience,
            deadline: None,
        }
    }

    /// Takes note of bytes that have come.
    fn note(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while data.has_remaining() {
            match &mut self.place {
                Place::Prefix { bytes, length } => {
                    if *bytes == 0 {
                        // A message has begun: the one before it has been read.
                        self.deadline = None;
                        self.held.give_back();
                    }
                    let byte = data.get_u8();
                    if *bytes > 0 {
                        *length = *length << 8 | usize::from(byte);
                    }
                    *bytes += 1;
                    if *bytes == PREFIX_BYTES {
                        self.place = Place::Message { missing: *length };
                    }
                }
                Place::Message { missing } => {
                    let here = data.len().min(*missing);
                    data.advance(here);
                    *missing -= here;
                    self.held.take(here)?;
                }
                Place::Whole => {
                    self.held.take(data.len())?;
                    data = &[];
                }
            }
            if self.place == (Place::Message { missing: 0 }) {
                self.place = Place::BETWEEN;
                self.deadline = None;
            }
        }
        Ok(())
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(match frame.data_ref().map(|data| this.note(data)) {
                Some(Err(status)) => Err(status.into()),
                Some(Ok(())) | None => Ok(frame),
            })),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if this.place == Place::BETWEEN => Poll::Pending,
            Poll::Pending => {
                let patience = this.patience;
                let deadline = this
                    .deadline
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                deadline.as_mut().poll(context).map(|()| {
                    let status = Status::deadline_exceeded("the request's message did not come in time");
                    Some(Err(status.into()))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.inner.size_hint()
    }
}
