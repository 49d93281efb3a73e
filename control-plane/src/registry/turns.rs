//! Who may work: a seat for what is done at once, and the turns that a read takes which may be large.

use std::sync::Arc;

use trireme_store::{
    kv::KvError,
    lanes::{Answer, Asker, Flow, Lane, Lanes, Seat},
    limits::SEAT_BYTES,
};

use super::Registry;
use crate::{pipeline::Permit, status::ApiError};

/// The turns of one read. The first chunk is done in the asker's lane, all that follow are large work.
#[derive(Debug)]
pub(super) struct Turns {
    lanes: Option<Arc<Lanes>>,
    asker: Asker,
    /// What the first chunk is expected to read, in bytes.
    expected_bytes: usize,
    room: Option<Answer>,
    has_begun: bool,
}

impl Registry {
    /// Waits for a seat for what a permit allows, which is expected to read and write so many bytes.
    ///
    /// # Errors
    /// `TooManyRequests`: nothing must be done.
    pub async fn admit(&self, permit: &Permit, bytes: usize) -> Result<Option<Seat>, ApiError> {
        match self.kv.lanes() {
            Some(lanes) => Ok(Some(lanes.admit(permit.asker(0), bytes).await.map_err(KvError::from)?)),
            None => Ok(None),
        }
    }

    /// Takes room for an answer that has so many bytes, until its client has taken it.
    ///
    /// # Errors
    /// `TooManyRequests`: the answer must be dropped.
    pub fn room(&self, permit: &Permit, bytes: usize) -> Result<Option<Answer>, ApiError> {
        let Some(lanes) = self.kv.lanes() else { return Ok(None) };
        let Asker { lane, flow } = permit.asker(0);
        let mut room = lanes.answer(flow);
        room.hold(lane, bytes).map_err(KvError::from)?;
        Ok(Some(room))
    }

    /// The turns of a read of at most so many objects; 0 for no bound.
    pub(super) fn turns(&self, permit: &Permit, limit: usize) -> Turns {
        self.turns_of(permit.asker(limit), limit)
    }

    /// The turns of what is large work from the beginning.
    pub(super) fn bulk_turns(&self, permit: &Permit) -> Turns {
        let Asker { flow, .. } = permit.asker(0);
        self.turns_of(bulk(flow), 0)
    }

    fn turns_of(&self, asker: Asker, limit: usize) -> Turns {
        let lanes = self.kv.lanes().cloned();
        Turns {
            room: lanes.as_ref().map(|lanes| lanes.answer(asker.flow)),
            lanes,
            asker,
            expected_bytes: limit.max(1) * SEAT_BYTES,
            has_begun: false,
        }
    }
}

/// Who asks for large work of a flow.
pub(super) fn bulk(flow: Flow) -> Asker {
    let lane = Lane::Bulk;
    Asker { lane, flow }
}

impl Turns {
    /// Waits for the next turn. What it came to is told to [`keep`](Self::keep).
    pub(super) async fn next(&mut self) -> Result<Option<Seat>, ApiError> {
        let is_in_own_lane = self.is_in_own_lane();
        let (Some(lanes), Some(room)) = (&self.lanes, &mut self.room) else {
            return Ok(None);
        };
        let seat = if is_in_own_lane {
            lanes.admit(self.asker, self.expected_bytes).await
        } else {
            room.slice().await
        };
        Ok(Some(seat.map_err(KvError::from)?))
    }

    /// The answer has so many bytes now.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), ApiError> {
        let is_in_own_lane = self.is_in_own_lane();
        self.has_begun = true;
        let Some(room) = &mut self.room else { return Ok(()) };
        if is_in_own_lane {
            room.hold(self.asker.lane, bytes).map_err(KvError::from)?;
        } else {
            room.keep(bytes);
        }
        Ok(())
    }

    /// Only so much of what was read still takes room.
    pub(super) fn shrink(&mut self, bytes: usize) {
        match &mut self.room {
            Some(room) if bytes > 0 => room.keep(bytes),
            _ => self.release(),
        }
    }

    /// What was read is with the client.
    pub(super) fn release(&mut self) {
        if let Some(room) = &mut self.room {
            room.release();
        }
    }

    /// The room of the answer, which is whole now.
    pub(super) fn into_room(self) -> Option<Answer> {
        self.room
    }

    /// As whose work the rest is done.
    pub(super) fn flow(&self) -> Flow {
        self.asker.flow
    }

    fn is_in_own_lane(&self) -> bool {
        !self.has_begun && self.asker.lane != Lane::Bulk
    }
}
