//! How large the lanes are: the constants of `limits`, for a machine with so many processors.

use std::time::Duration;

use crate::limits;

/// The size of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneSize {
    /// Seats that nobody else gets.
    pub seats: u32,
    /// How many may wait.
    pub waiting: usize,
    /// How many of one flow may wait.
    pub waiting_of_flow: usize,
    /// How long.
    pub patience: Duration,
    /// When those come back who were refused.
    pub retry_after: Duration,
    /// Bytes of answers that are held for clients.
    pub answer_bytes: u64,
    /// Of these, what one flow may hold before it is given another answer.
    pub answer_bytes_of_flow: u64,
}

/// The sizes of all lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneSizes {
    /// Of [`Lane::System`](super::Lane::System).
    pub system: LaneSize,
    /// Of [`Lane::Users`](super::Lane::Users).
    pub users: LaneSize,
    /// Of [`Lane::Bulk`](super::Lane::Bulk).
    pub bulk: LaneSize,
    /// Seats of all lanes together up to which large work may take more than its own.
    pub spare_seats: u32,
    /// What one large answer at a time may hold beyond the bound, so that it gets finished.
    pub senior_answer_bytes: u64,
}

impl LaneSizes {
    /// For this machine.
    #[must_use]
    pub fn of_machine() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::of_processors(u32::try_from(processors).unwrap_or(u32::MAX))
    }

    /// For so many processors. An idle machine does a slice of large work on each; a busy one does one slice at a time.
    #[must_use]
    pub fn of_processors(processors: u32) -> Self {
        let slices = processors.clamp(1, limits::BULK_SLICES_AT_ONCE_MAX);
        let lane = |seats, waiting: usize, patience, retry_after, answer_bytes| LaneSize {
            seats,
            waiting,
            waiting_of_flow: waiting / limits::LANE_FLOW_SHARE,
            patience,
            retry_after,
            answer_bytes,
            answer_bytes_of_flow: answer_bytes / limits::LANE_FLOW_SHARE as u64,
        };
        Self {
            system: lane(
                limits::SYSTEM_SEATS,
                limits::SYSTEM_WAITING,
                limits::SYSTEM_PATIENCE,
                limits::OVERLOAD_RETRY,
                limits::SYSTEM_ANSWER_BYTES,
            ),
            users: lane(
                limits::USERS_SEATS,
                limits::USERS_WAITING,
                limits::USERS_PATIENCE,
                limits::OVERLOAD_RETRY,
                limits::USERS_ANSWER_BYTES,
            ),
            bulk: lane(
                limits::BULK_SLICE_SEATS,
                limits::BULK_WAITING,
                limits::BULK_PATIENCE,
                limits::BULK_RETRY,
                limits::BULK_ANSWER_BYTES,
            ),
            spare_seats: slices * limits::BULK_SLICE_SEATS + limits::QUIET_SEATS,
            senior_answer_bytes: limits::BULK_SENIOR_ANSWER_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_machine_does_a_slice_on_each_processor() {
        for (processors, slices) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (16, 16),
            (1_000, limits::BULK_SLICES_AT_ONCE_MAX),
        ] {
            let sizes = LaneSizes::of_processors(processors);
            let room = sizes.spare_seats - limits::QUIET_SEATS;
            assert_eq!(room / limits::BULK_SLICE_SEATS, slices, "{processors} processors");
        }
    }

    #[test]
    fn every_lane_takes_the_largest_of_its_requests() {
        let sizes = LaneSizes::of_processors(1);
        for lane in [sizes.system, sizes.users] {
            assert!(lane.seats as usize * limits::SEAT_BYTES >= limits::COMMAND_BYTES);
            assert!(lane.waiting_of_flow > 0 && lane.answer_bytes_of_flow > 0);
        }
        let largest = trireme_mvcc::limits::RANGE_BYTES_MAX + trireme_mvcc::limits::VALUE_BYTES_MAX;
        let with_slice = (largest + limits::BULK_SLICE_BYTES) as u64;
        assert!(
            sizes.senior_answer_bytes >= with_slice,
            "the senior answer can always be finished"
        );
        assert!(sizes.bulk.answer_bytes > limits::BULK_SLICE_BYTES as u64);
    }
}
