//! What a connection writes, put together before it is sent.
//!
//! HTTP/2 writes and flushes each frame for itself. An event that goes to twenty streams of a connection would so be twenty
//! records of TLS and twenty calls of the system, which cost more than all else that is done for it. Here it is kept, within a
//! bound, and sent once the connection has nothing more to write. If several answers are open, the others have their turn
//! before that: on a machine with nothing else to do this takes no time, and the more there is to do, the more is sent at once.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits;

/// A stream as the connection on it has it. A flush of it sends nothing: [`Sender::drive`] does.
pub(super) struct Gathering<S>(Arc<Mutex<Gathered<S>>>);

/// The other end of it, which sends what was written.
pub(super) struct Sender<S>(Arc<Mutex<Gathered<S>>>);

struct Gathered<S> {
    inner: S,
    written: Vec<u8>,
    /// How much of it is sent.
    sent: usize,
    /// Something was written since the last flush.
    is_unsent: bool,
}

/// The turn of others. While it lasts, nothing wakes the connection's task, since it looks at everything afterwards.
#[derive(Default)]
struct Turn {
    lasts: AtomicBool,
    task: AtomicWaker,
}

/// Wakes the task for the connection.
struct ForConnection(Arc<Turn>);

/// Ends the turn.
struct AtTheEnd(Arc<Turn>);

/// Both ends for a stream.
pub(super) fn gather<S>(inner: S) -> (Gathering<S>, Sender<S>) {
    let gathered = Arc::new(Mutex::new(Gathered {
        inner,
        written: Vec::new(),
        sent: 0,
        is_unsent: false,
    }));
    (Gathering(Arc::clone(&gathered)), Sender(gathered))
}

impl<S: AsyncWrite + Unpin> Sender<S> {
    /// Drives the connection to its end, and sends what it writes. `others_write` tells whether it is worth a turn to wait for
    /// what others write on it.
    pub(super) async fn drive<C, E>(
        &self,
        mut connection: Pin<&mut C>,
        others_write: impl Fn() -> bool,
    ) -> Result<(), E>
    where
        C: Future<Output = Result<(), E>>,
        E: From<io::Error>,
    {
        let turn = Arc::<Turn>::default();
        let for_connection = Waker::from(Arc::new(ForConnection(Arc::clone(&turn))));
        let at_the_end = Waker::from(Arc::new(AtTheEnd(Arc::clone(&turn))));
        let mut was_given = false;
        poll_fn(move |task| {
            turn.task.register(task.waker());
            if turn.lasts.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            let is_after = std::mem::take(&mut was_given);
            let context = &mut Context::from_waker(&for_connection);
            let outcome = connection.as_mut().poll(context);
            let mut gathered = lock(&self.0);
            if !gathered.is_unsent {
                return outcome;
            }
            if outcome.is_pending() && !is_after && others_write() {
                was_given = true;
                turn.give(&at_the_end);
                return Poll::Pending;
            }
            match (outcome, gathered.poll_send(context)) {
                (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
                (outcome, _) => outcome,
            }
        })
        .await
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Sends all that was written.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.written.len() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(context, &self.written[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        // A connection on which nothing happens keeps no room.
        give_back(std::mem::take(&mut self.written));
        self.sent = 0;
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.is_unsent = false;
        Poll::Ready(Ok(()))
    }

    /// How much may be written. Waits for the other end if that is nothing.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.written.len() >= limits::GATHERED_BYTES {
            ready!(self.poll_send(context))?;
        }
        if self.written.capacity() == 0 {
            self.written = take_room();
        }
        self.is_unsent = true;
        Poll::Ready(Ok(limits::GATHERED_BYTES - self.written.len()))
    }
}

impl Turn {
    /// Lets others run until the runtime has no more of them, or finds that it was long enough.
    fn give(&self, end: &Waker) {
        self.lasts.store(true, Ordering::Release);
        // The runtime comes back to the waker with which it is asked, whether or not the future still is.
        let yielded = pin!(tokio::task::yield_now());
        let _ = yielded.poll(&mut Context::from_waker(end));
    }
}

impl Wake for ForConnection {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Read by a change, so that either this sees the end of the turn, or the end sees all that this is about.
        if !self.0.lasts.fetch_and(true, Ordering::AcqRel) {
            self.0.task.wake();
        }
    }
}

impl Wake for AtTheEnd {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.lasts.swap(false, Ordering::AcqRel);
        self.0.task.wake();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = lock(&self.0);
        let room = ready!(gathered.poll_room(context))?;
        let mut left = room;
        for bytes in all {
            let taken = bytes.len().min(left);
            gathered.written.extend_from_slice(&bytes[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(room - left))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = lock(&self.0);
        ready!(gathered.poll_send(context))?;
        Pin::new(&mut gathered.inner).poll_shutdown(context)
    }
}

thread_local! {
    /// Room that no connection has at present. Mostly one writes and sends before the next one of the thread does, so that few
    /// have room at once, and each would else have to find some anew.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Room for what a connection writes.
fn take_room() -> Vec<u8> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| Vec::with_capacity(limits::GATHERED_BYTES))
}

fn give_back(mut room: Vec<u8>) {
    room.clear();
    SPARE.with_borrow_mut(|spare| {
        if room.capacity() > 0 && spare.len() < limits::GATHERED_SPARE {
            spare.push(room);
        }
    });
}

/// Only one task has both ends, so nobody ever waits for the lock.
fn lock<S>(gathered: &Mutex<Gathered<S>>) -> MutexGuard<'_, Gathered<S>> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A peer that counts what it is sent; with `takes` unset, it takes nothing.
    #[derive(Default)]
    struct Peer {
        writes: Vec<Vec<u8>>,
        takes: bool,
    }

    impl Peer {
        fn taking() -> Self {
            Self {
                takes: true,
                ..Self::default()
            }
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if !self.takes {
                return Poll::Pending;
            }
            self.writes.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_thread_keeps_little_room() {
        let rooms: Vec<_> = (0..=limits::GATHERED_SPARE).map(|_| take_room()).collect();
        rooms.into_iter().for_each(give_back);
        assert_eq!(SPARE.with_borrow(Vec::len), limits::GATHERED_SPARE);
        let room = take_room();
        assert!(room.is_empty() && room.capacity() >= limits::GATHERED_BYTES);
    }

    /// A connection that writes and flushes a frame whenever it is polled, and never ends.
    async fn frames(mut stream: Gathering<Peer>) -> io::Result<()> {
        loop {
            stream.write_all(b"frame ").await?;
            stream.flush().await?;
            let mut is_woken = false;
            poll_fn(|_| {
                if std::mem::replace(&mut is_woken, true) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
    }

    fn writes(sender: &Sender<Peer>) -> Vec<String> {
        let writes = lock(&sender.0).inner.writes.clone();
        writes
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    #[tokio::test]
    async fn the_only_answer_is_sent_at_once() {
        let (stream, sender) = gather(Peer::taking());
        let mut connection = pin!(frames(stream));
        let mut driven = pin!(sender.drive(connection.as_mut(), || false));
        assert!(futures::poll!(driven.as_mut()).is_pending());
        assert_eq!(writes(&sender), ["frame "]);
        assert!(futures::poll!(driven.as_mut()).is_pending());
        assert_eq!(writes(&sender), ["frame ", "frame "]);
    }

    #[tokio::test]
    async fn what_several_write_is_sent_together_after_a_turn() {
        let (stream, sender) = gather(Peer::taking());
        let mut connection = pin!(frames(stream));
        let mut driven = pin!(sender.drive(connection.as_mut(), || true));
        for _ in 0..3 {
            assert!(futures::poll!(driven.as_mut()).is_pending());
            assert!(writes(&sender).is_empty(), "the others have their turn");
        }
        // The runtime comes back to it by itself.
        let sent = poll_fn(|context| {
            let _ = driven.as_mut().poll(context);
            if writes(&sender).is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        tokio::time::timeout(std::time::Duration::from_secs(10), sent)
            .await
            .expect("sent");
        assert_eq!(writes(&sender), ["frame frame "], "one turn, one call");
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_stops_the_connection_at_the_bound() {
        let (mut stream, sender) = gather(Peer::default());
        let mut writing = pin!(async {
            loop {
                stream.write_all(&[7; 1_000]).await.expect("it waits");
            }
        });
        assert!(futures::poll!(writing.as_mut()).is_pending());
        assert_eq!(lock(&sender.0).written.len(), limits::GATHERED_BYTES);
    }

    #[tokio::test]
    async fn nothing_is_lost_and_the_end_comes_last() {
        let (inner, mut peer) = tokio::io::duplex(777);
        let (mut stream, sender) = gather(inner);
        let sent: Vec<u8> = (0..300_000_u32)
            .map(|number| number as u8 ^ (number >> 8) as u8)
            .collect();
        let written = sent.clone();
        let mut connection = Box::pin(async move {
            let mut rest = written.as_slice();
            let mut length = 1;
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(length.min(rest.len()));
                stream.write_all(piece).await?;
                stream.flush().await?;
                if length % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                (rest, length) = (behind, length * 7 % 10_007);
            }
            stream.shutdown().await
        });
        let mut received = Vec::new();
        let (outcome, read) = tokio::join!(
            sender.drive(connection.as_mut(), || true),
            peer.read_to_end(&mut received)
        );
        outcome.expect("written");
        read.expect("read");
        assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
    }
}
