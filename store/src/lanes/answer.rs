//! An answer that is put together or waits for its client, and the room that it takes.

use std::sync::Arc;

use super::core::{Ask, Growth};
use super::{Flow, Lane, Lanes, Refused, Seat};
use crate::limits;

/// Room for an answer, given back when it is dropped. Nothing is taken before it is asked for.
#[derive(Debug)]
pub struct Answer {
    lanes: Arc<Lanes>,
    id: u64,
    flow: Flow,
    held: Option<Held>,
}

/// What is held, and on whose account. It moves once, if at all: from the users' to the bulk's.
#[derive(Debug, Clone, Copy)]
struct Held {
    lane: Lane,
    bytes: u64,
}

impl Answer {
    pub(super) fn new(lanes: Arc<Lanes>, id: u64, flow: Flow) -> Self {
        Self {
            lanes,
            id,
            flow,
            held: None,
        }
    }

    /// Waits for a seat to add one slice to the answer, with room for it. What the slice came to is told to
    /// [`keep`](Self::keep).
    ///
    /// # Errors
    /// [`Refused`]: the answer cannot be finished.
    pub async fn slice(&mut self) -> Result<Seat, Refused> {
        let before = self.held.filter(|held| held.lane == Lane::Bulk);
        // What was read as small work is large work now.
        let moved = self
            .held
            .filter(|held| held.lane != Lane::Bulk)
            .map_or(0, |held| held.bytes);
        let bytes = limits::BULK_SLICE_BYTES as u64 + moved;
        let ask = Ask {
            lane: Lane::Bulk,
            flow: self.flow,
            seats: limits::BULK_SLICE_SEATS,
            growth: Some(Growth {
                answer: self.id,
                bytes,
                is_first: before.is_none(),
            }),
            // What was begun holds room already, so there are few of them, and to refuse one would throw away what was done
            // for it: under a flood nothing would ever be finished.
            patient: before.is_some(),
        };
        let seat = self.lanes.enter(ask).await?;
        if before.is_none() {
            self.release();
        }
        let bytes = bytes + before.map_or(0, |held| held.bytes);
        self.held = Some(Held {
            lane: Lane::Bulk,
            bytes,
        });
        Ok(seat)
    }

    /// The answer has so many bytes now: gives back what the last slice did not need.
    pub fn keep(&mut self, bytes: usize) {
        let Some(held) = &mut self.held else { return };
        let bytes = bytes as u64;
        let (lane, flow, before) = (held.lane, self.flow, held.bytes);
        held.bytes = bytes;
        self.lanes.with_core(|core| {
            if bytes < before {
                core.shrink(lane, flow, before - bytes);
            } else {
                core.overrun(lane, flow, bytes - before);
            }
        });
    }

    /// Takes room for an answer that is there already, on the account of a lane. Small ones take none.
    ///
    /// # Errors
    /// [`Refused`]: the answer must be dropped.
    pub fn hold(&mut self, lane: Lane, bytes: usize) -> Result<(), Refused> {
        self.release();
        if bytes <= limits::SMALL_ANSWER_BYTES {
            return Ok(());
        }
        let bytes = bytes as u64;
        let flow = self.flow;
        self.lanes.with_core(|core| core.hold(lane, flow, bytes))?;
        self.held = Some(Held { lane, bytes });
        Ok(())
    }

    /// The answer grows no more.
    pub fn complete(&self) {
        if let Some(Held { lane, .. }) = self.held {
            self.lanes.with_core(|core| core.complete(lane, self.id));
        }
    }

    /// Whether it takes any room.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Gives all room back.
    pub fn release(&mut self) {
        let Some(Held { lane, bytes }) = self.held.take() else {
            return;
        };
        let (flow, id) = (self.flow, self.id);
        self.lanes.with_core(|core| {
            core.shrink(lane, flow, bytes);
            core.complete(lane, id);
        });
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.release();
    }
}
