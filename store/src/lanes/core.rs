//! What decides: who arrives, who has finished, whose time is over; and who is let in for it. Pure.
//!
//! It keeps these rules, whatever happens. System and users have seats of their own, which nobody else gets; bulk has one
//! slice's worth, and beyond it takes part in what is spare: seats up to a bound that all lanes' seats in use count towards.
//! No queue is longer than its bound. Flows take turns. Answers that are held never take more bytes than their bound, but for
//! one large answer at a time, the senior one, which is thereby always finished.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::queue::{Fit, Queue, Waiting};
use super::{Flow, Full, Lane, LaneSize, LaneSizes, LaneUse, LanesUse, Refused};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) lane: Lane,
    pub(super) flow: Flow,
    pub(super) seats: u32,
    /// An answer that grows by it.
    pub(super) growth: Option<Growth>,
    /// It waits as long as it takes, whatever the queue's length. For what is bounded in number in another way.
    pub(super) patient: bool,
}

/// How an answer grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Growth {
    /// Which answer.
    pub(super) answer: u64,
    /// By how many bytes.
    pub(super) bytes: u64,
    /// Nothing was done for it yet.
    pub(super) is_first: bool,
}

/// What became of an arrival.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It may work.
    Admitted,
    /// It waits, under this ticket, until then.
    Waits(u64, Option<Instant>),
}

#[derive(Debug)]
struct LaneState<W> {
    size: LaneSize,
    in_use: u32,
    queue: Queue<W>,
    answers: Answers,
    admitted: u64,
    refused: u64,
}

/// The answers that are held in a lane.
#[derive(Debug, Default)]
struct Answers {
    bytes: u64,
    by_flow: BTreeMap<Flow, u64>,
    /// The answer that may go beyond the bound.
    senior: Option<u64>,
}

/// See the module. A `W` is how one who waits is told.
#[derive(Debug)]
pub(super) struct Core<W> {
    lanes: [LaneState<W>; 3],
    spare_seats: u32,
    senior_answer_bytes: u64,
    next_ticket: u64,
}

impl<W> Core<W> {
    pub(super) fn new(sizes: LaneSizes) -> Self {
        let lane = |size| LaneState {
            size,
            in_use: 0,
            queue: Queue::new(),
            answers: Answers::default(),
            admitted: 0,
            refused: 0,
        };
        Self {
            lanes: [lane(sizes.system), lane(sizes.users), lane(sizes.bulk)],
            spare_seats: sizes.spare_seats,
            senior_answer_bytes: sizes.senior_answer_bytes,
            next_ticket: 0,
        }
    }

    /// How many seats something takes that would take `seats`: never more than its lane has.
    pub(super) fn clamp(&self, lane: Lane, seats: u32) -> u32 {
        seats.clamp(1, self.lane(lane).size.seats)
    }

    /// Somebody arrives. Whoever waits must then be looked at by [`admit_next`](Self::admit_next). Who is let in at once
    /// costs no look at the clock and no memory.
    pub(super) fn arrive(
        &mut self,
        ask: Ask,
        now: impl FnOnce() -> Instant,
        waiter: impl FnOnce() -> W,
    ) -> Result<Arrival, Refused> {
        let lane = self.lane(ask.lane);
        let patience = lane.size.patience;
        if lane.queue.is_empty() && self.fit(&ask) == Fit::Yes {
            self.let_in(&ask);
            return Ok(Arrival::Admitted);
        }
        if !ask.patient {
            self.check_room_to_wait(ask.lane, ask.flow)?;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let deadline = (!ask.patient).then(|| now() + patience);
        self.lane_mut(ask.lane).queue.push(Waiting {
            ticket,
            ask,
            deadline,
            waiter: waiter(),
        });
        Ok(Arrival::Waits(ticket, deadline))
    }

    /// Whether something would have to wait if it came now.
    pub(super) fn would_wait(&self, ask: &Ask) -> bool {
        !self.lane(ask.lane).queue.is_empty() || self.fit(ask) != Fit::Yes
    }

    /// Refuses what would have to wait where as many wait as may.
    pub(super) fn check_room_to_wait(&mut self, lane: Lane, flow: Flow) -> Result<(), Refused> {
        let LaneState { size, queue, .. } = self.lane(lane);
        if queue.len() >= size.waiting {
            return Err(self.refuse(lane, Full::Queue));
        }
        if queue.len_of(flow) >= size.waiting_of_flow {
            return Err(self.refuse(lane, Full::QueueOfFlow));
        }
        Ok(())
    }

    /// Lets in the next one who can be, if there is one.
    pub(super) fn admit_next(&mut self) -> Option<W> {
        Lane::ALL.into_iter().find_map(|lane| self.next_of(lane))
    }

    fn next_of(&mut self, lane: Lane) -> Option<W> {
        if self.lane(lane).queue.is_empty() {
            return None;
        }
        // Taken out meanwhile, since who fits depends on all the rest.
        let mut queue = std::mem::replace(&mut self.lane_mut(lane).queue, Queue::new());
        let taken = queue.take(|ask| self.fit(ask));
        self.lane_mut(lane).queue = queue;
        let taken = taken?;
        self.let_in(&taken.ask);
        Some(taken.waiter)
    }

    /// Seats come free.
    pub(super) fn finish(&mut self, lane: Lane, seats: u32) {
        let lane = self.lane_mut(lane);
        debug_assert!(lane.in_use >= seats, "seats are given back once");
        lane.in_use = lane.in_use.saturating_sub(seats);
    }

    /// Somebody waits no more. False if nobody waits under that ticket: it was let in or refused meanwhile.
    pub(super) fn leave(&mut self, lane: Lane, flow: Flow, ticket: u64) -> bool {
        self.lane_mut(lane).queue.remove(flow, ticket).is_some()
    }

    /// Time goes on: takes out those who have waited too long.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<(W, Refused)> {
        let mut over = Vec::new();
        for lane in Lane::ALL {
            for waiting in self.lane_mut(lane).queue.expire(now) {
                let full = if self.fits_bytes(&waiting.ask) {
                    Full::Waited
                } else {
                    Full::Answers
                };
                over.push((waiting.waiter, self.refuse(lane, full)));
            }
        }
        over
    }

    /// Holds bytes of an answer at once, or not at all.
    pub(super) fn hold(&mut self, lane: Lane, flow: Flow, bytes: u64) -> Result<(), Refused> {
        let LaneSize {
            answer_bytes,
            answer_bytes_of_flow,
            ..
        } = self.lane(lane).size;
        let answers = &mut self.lane_mut(lane).answers;
        let of_flow = answers.of(flow);
        if answers.bytes + bytes > answer_bytes || (of_flow > 0 && of_flow + bytes > answer_bytes_of_flow) {
            return Err(self.refuse(lane, Full::Answers));
        }
        answers.grow(flow, bytes);
        Ok(())
    }

    /// An answer has become larger than it was let in for: it is there already, so it counts.
    pub(super) fn overrun(&mut self, lane: Lane, flow: Flow, bytes: u64) {
        self.lane_mut(lane).answers.grow(flow, bytes);
    }

    /// Bytes of answers are not held any more.
    pub(super) fn shrink(&mut self, lane: Lane, flow: Flow, bytes: u64) {
        self.lane_mut(lane).answers.shrink(flow, bytes);
    }

    /// An answer grows no more.
    pub(super) fn complete(&mut self, lane: Lane, answer: u64) {
        let senior = &mut self.lane_mut(lane).answers.senior;
        if *senior == Some(answer) {
            *senior = None;
        }
    }

    /// Something of a lane is refused elsewhere, and counted here.
    pub(super) fn refuse(&mut self, lane: Lane, full: Full) -> Refused {
        let state = self.lane_mut(lane);
        state.refused += 1;
        Refused {
            lane,
            full,
            waiting: state.queue.len(),
            retry_after: state.size.retry_after,
        }
    }

    pub(super) fn usage(&self) -> LanesUse {
        let of = |lane: Lane| {
            let state = self.lane(lane);
            LaneUse {
                seats_in_use: state.in_use.into(),
                seats: state.size.seats.into(),
                waiting: state.queue.len() as u64,
                answer_bytes: state.answers.bytes,
                admitted: state.admitted,
                refused: state.refused,
            }
        };
        LanesUse {
            system: of(Lane::System),
            users: of(Lane::Users),
            bulk: of(Lane::Bulk),
        }
    }

    fn lane(&self, lane: Lane) -> &LaneState<W> {
        &self.lanes[lane.index()]
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneState<W> {
        &mut self.lanes[lane.index()]
    }

    /// Whether something can be let in. Bytes first: whoever waits for them holds up nobody else.
    fn fit(&self, ask: &Ask) -> Fit {
        if !self.fits_bytes(ask) {
            Fit::NotThis
        } else if self.fits_seats(ask) {
            Fit::Yes
        } else {
            Fit::NotYet
        }
    }

    fn fits_seats(&self, ask: &Ask) -> bool {
        let [system, users, bulk] = &self.lanes;
        let lane = self.lane(ask.lane);
        if lane.in_use + ask.seats <= lane.size.seats {
            return true;
        }
        let in_use = system.in_use + users.in_use + bulk.in_use;
        ask.lane == Lane::Bulk && in_use + ask.seats <= self.spare_seats
    }

    fn fits_bytes(&self, ask: &Ask) -> bool {
        let Some(growth) = ask.growth else { return true };
        let lane = self.lane(ask.lane);
        let (answers, size) = (&lane.answers, &lane.size);
        let of_flow = answers.of(ask.flow);
        if growth.is_first && of_flow > 0 && of_flow + growth.bytes > size.answer_bytes_of_flow {
            return false;
        }
        let bytes = answers.bytes + growth.bytes;
        let is_senior = !growth.is_first && answers.senior.is_none_or(|senior| senior == growth.answer);
        bytes <= size.answer_bytes || (is_senior && bytes <= size.answer_bytes + self.senior_answer_bytes)
    }

    fn let_in(&mut self, ask: &Ask) {
        let lane = self.lane_mut(ask.lane);
        lane.in_use += ask.seats;
        lane.admitted += 1;
        if let Some(growth) = ask.growth {
            lane.answers.grow(ask.flow, growth.bytes);
            if lane.answers.bytes > lane.size.answer_bytes {
                lane.answers.senior = Some(growth.answer);
            }
        }
    }
}

impl Answers {
    fn of(&self, flow: Flow) -> u64 {
        self.by_flow.get(&flow).copied().unwrap_or(0)
    }

    fn grow(&mut self, flow: Flow, bytes: u64) {
        self.bytes += bytes;
        *self.by_flow.entry(flow).or_default() += bytes;
    }

    fn shrink(&mut self, flow: Flow, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(of_flow) = self.by_flow.get_mut(&flow) {
            *of_flow = of_flow.saturating_sub(bytes);
            if *of_flow == 0 {
                self.by_flow.remove(&flow);
            }
        }
    }
}
