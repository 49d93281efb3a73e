//! Whether anything goes on on a connection.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// The requests of a connection: how many there were, and how many have ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request that has begun; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Open(Arc<Counts>);

impl Activity {
    /// Counts a request.
    pub(super) fn begin(&self) -> Open {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Open(self.0.clone())
    }

    /// How many have begun and not ended.
    pub(super) fn open(&self) -> u64 {
        // In this order, so that none is counted that ends meanwhile.
        let begun = self.0.begun.load(Ordering::Relaxed);
        begun.saturating_sub(self.0.ended.load(Ordering::Acquire))
    }

    /// Ends when there has been no request for `first` from now on, or later for `idle`; it may notice that as much later.
    pub(super) async fn ceases(&self, first: Duration, idle: Duration) {
        let (mut before, mut patience) = (0, first);
        loop {
            tokio::time::sleep(patience).await;
            let ended = self.0.ended.load(Ordering::Acquire);
            let begun = self.0.begun.load(Ordering::Acquire);
            if begun == ended && begun == before {
                return;
            }
            (before, patience) = (begun, idle);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
    }
}

/// The body of an answer, with which its request ends.
pub(super) struct Answer {
    body: Body,
    _open: Open,
}

impl Answer {
    pub(super) fn new(body: Body, open: Open) -> Self {
        Self { body, _open: open }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
