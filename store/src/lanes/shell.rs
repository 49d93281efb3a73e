//! Lets tasks wait for what the core decides. Whoever goes away while it waits, or while it works, leaves nothing behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::core::{Arrival, Ask, Core};
use super::{Answer, Asker, Flow, Full, Lane, LaneSizes, LanesUse, Refused};
use crate::kv::KvError;
use crate::limits;

/// Flows from here on are not connections.
const OWN_FLOWS: u64 = 1 << 63;

/// How one who waits is told.
pub(super) type Waiter = oneshot::Sender<Result<(), Refused>>;

/// The lanes of one server. See the module `lanes`.
#[derive(Debug)]
pub struct Lanes {
    core: Mutex<Core<Waiter>>,
    next_answer: AtomicU64,
}

/// Leave to work, until it is dropped.
#[derive(Debug)]
#[must_use = "who drops the seat may not work any more"]
pub struct Seat {
    lanes: Arc<Lanes>,
    lane: Lane,
    seats: u32,
}

impl Lanes {
    /// Lanes of these sizes.
    #[must_use]
    pub fn new(sizes: LaneSizes) -> Arc<Self> {
        Arc::new(Self {
            core: Mutex::new(Core::new(sizes)),
            next_answer: AtomicU64::new(0),
        })
    }

    /// Waits for a seat of somebody's lane, for what is expected to read and write so many bytes.
    ///
    /// # Errors
    /// [`Refused`]: nothing must be done.
    pub async fn admit(self: &Arc<Self>, asker: Asker, bytes: usize) -> Result<Seat, Refused> {
        let Asker { lane, flow } = asker;
        self.enter(Ask {
            lane,
            flow,
            seats: seats_for(bytes),
            growth: None,
            patient: false,
        })
        .await
    }

    /// Waits for a seat for one slice of large work, in its turn.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn slice(self: &Arc<Self>, flow: Flow) -> Result<Seat, Refused> {
        let lane = Lane::Bulk;
        self.admit(Asker { lane, flow }, limits::BULK_SLICE_BYTES).await
    }

    /// The same, however long it takes: for work that cannot be refused, and of which there is no more than there are flows.
    ///
    /// # Errors
    /// None; the type is that of the others.
    pub async fn patient_slice(self: &Arc<Self>, flow: Flow) -> Result<Seat, Refused> {
        self.enter(Ask {
            patient: true,
            ..slice_of(flow)
        })
        .await
    }

    /// Whether a slice of large work would have to wait if it came now.
    #[must_use]
    pub fn is_bulk_busy(&self) -> bool {
        self.core().would_wait(&slice_of(Flow::default()))
    }

    /// Refuses what could not even wait now, before anything is done for it.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check_room_to_wait(&self, asker: Asker) -> Result<(), Refused> {
        self.core().check_room_to_wait(asker.lane, asker.flow)
    }

    /// An answer that is about to be put together for a flow.
    #[must_use]
    pub fn answer(self: &Arc<Self>, flow: Flow) -> Answer {
        let id = self.next_answer.fetch_add(1, Ordering::Relaxed);
        Answer::new(Arc::clone(self), id, flow)
    }

    /// A flow that no connection has.
    fn own_flow(&self) -> Flow {
        Flow(OWN_FLOWS | self.next_answer.fetch_add(1, Ordering::Relaxed))
    }

    /// How full the lanes are.
    #[must_use]
    pub fn usage(&self) -> LanesUse {
        self.core().usage()
    }

    /// Counts what is refused elsewhere for a lane's sake.
    pub(crate) fn refuse(&self, lane: Lane, full: Full) -> Refused {
        self.core().refuse(lane, full)
    }

    /// Waits until it is let in.
    pub(super) async fn enter(self: &Arc<Self>, ask: Ask) -> Result<Seat, Refused> {
        let (mut waiting, deadline) = match self.arrive(ask)? {
            Arrived::Admitted(seat) => return Ok(seat),
            Arrived::Waits(waiting, deadline) => (waiting, deadline),
        };
        let too_late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            told = &mut waiting.told => return waiting.settle(told),
            () = too_late => {}
        }
        // All who have waited too long are told, this one too.
        self.tick(Instant::now());
        let told = (&mut waiting.told).await;
        waiting.settle(told)
    }

    fn arrive(self: &Arc<Self>, mut ask: Ask) -> Result<Arrived, Refused> {
        let mut receiver = None;
        let mut core = self.core();
        ask.seats = core.clamp(ask.lane, ask.seats);
        let arrival = core.arrive(ask, Instant::now, || {
            let (teller, told) = oneshot::channel();
            receiver = Some(told);
            teller
        })?;
        let (Arrival::Waits(ticket, deadline), Some(told)) = (arrival, receiver) else {
            return Ok(Arrived::Admitted(self.seat(ask)));
        };
        let lanes = Arc::clone(self);
        let waiting = Waiting {
            lanes,
            ask,
            ticket,
            told,
            is_settled: false,
        };
        // It may go at once, past others who wait for something that it does not need.
        wake(&mut core);
        Ok(Arrived::Waits(waiting, deadline))
    }

    fn seat(self: &Arc<Self>, ask: Ask) -> Seat {
        Seat {
            lanes: Arc::clone(self),
            lane: ask.lane,
            seats: ask.seats,
        }
    }

    fn tick(&self, now: Instant) {
        let mut core = self.core();
        for (waiter, refused) in core.tick(now) {
            tell(waiter, Err(refused));
        }
        wake(&mut core);
    }

    /// Changes what is held or in use, and lets in whoever can be for it.
    pub(super) fn with_core<T>(&self, change: impl FnOnce(&mut Core<Waiter>) -> T) -> T {
        let mut core = self.core();
        let outcome = change(&mut core);
        wake(&mut core);
        outcome
    }

    fn core(&self) -> MutexGuard<'_, Core<Waiter>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of large work that has begun, each of whose pieces is made in its turn. Between them, while the client has not
/// come for the next one, it has no seat. It takes turns with others as a flow of its own.
pub fn in_turns<T: Send + 'static>(
    lanes: &Arc<Lanes>,
    pieces: BoxStream<'static, Result<T, KvError>>,
) -> BoxStream<'static, Result<T, KvError>> {
    let flow = lanes.own_flow();
    let turns = (Arc::clone(lanes), pieces);
    let made = stream::unfold(Some(turns), move |turns| async move {
        let (lanes, mut pieces) = turns?;
        let _seat = match lanes.patient_slice(flow).await {
            Ok(seat) => seat,
            Err(refused) => return Some((Err(refused.into()), None)),
        };
        let piece = pieces.next().await?;
        Some((piece, Some((lanes, pieces))))
    });
    made.boxed()
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lanes.with_core(|core| core.finish(self.lane, self.seats));
    }
}

/// One slice of large work.
fn slice_of(flow: Flow) -> Ask {
    Ask {
        lane: Lane::Bulk,
        flow,
        seats: limits::BULK_SLICE_SEATS,
        growth: None,
        patient: false,
    }
}

/// Seats for what is expected to read and write so many bytes.
fn seats_for(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(limits::SEAT_BYTES)).unwrap_or(u32::MAX)
}

fn wake(core: &mut Core<Waiter>) {
    while let Some(waiter) = core.admit_next() {
        tell(waiter, Ok(()));
    }
}

/// Tells one who waits. It cannot be gone: it leaves the queue before it goes, and under the same lock.
fn tell(waiter: Waiter, outcome: Result<(), Refused>) {
    let was_heard = waiter.send(outcome).is_ok();
    debug_assert!(was_heard, "who waits leaves the queue before it goes");
}

enum Arrived {
    Admitted(Seat),
    Waits(Waiting, Option<Instant>),
}

/// A place in a queue, given up when it is dropped.
struct Waiting {
    lanes: Arc<Lanes>,
    ask: Ask,
    ticket: u64,
    told: oneshot::Receiver<Result<(), Refused>>,
    is_settled: bool,
}

impl Waiting {
    fn settle(&mut self, told: Result<Result<(), Refused>, oneshot::error::RecvError>) -> Result<Seat, Refused> {
        self.is_settled = true;
        let told = told.expect("the queue holds the other end until it has told");
        told.map(|()| self.lanes.seat(self.ask))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let Ask {
            lane,
            flow,
            seats,
            growth,
            ..
        } = self.ask;
        let (ticket, told) = (self.ticket, &mut self.told);
        self.lanes.with_core(|core| {
            let was_let_in = !core.leave(lane, flow, ticket) && matches!(told.try_recv(), Ok(Ok(())));
            if was_let_in {
                core.finish(lane, seats);
                core.shrink(lane, flow, growth.map_or(0, |growth| growth.bytes));
            }
        });
    }
}
