//! How soon the next turn of something follows that many share.
//!
//! A turn costs the same, whether it is for one or for a hundred, and where many come, many more come while one waits a little.
//! So one that is alone is never made to wait, and each of a crowd waits for a moment that is far below what it takes anyway.

use std::time::Duration;

use crate::limits;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// So many in one turn are a crowd.
    crowd: usize,
    /// How long after the turn of a crowd the next one begins.
    spacing: Duration,
}

impl Pace {
    /// Of batches of commands, each of which costs every server a write and a sync, a message and an answer.
    pub(crate) const PROPOSALS: Self = Self {
        crowd: limits::PROPOSAL_CROWD,
        spacing: limits::PROPOSAL_SPACING,
    };

    /// Of questions for a read index, each of which costs a message to every server.
    pub(crate) const READS: Self = Self {
        crowd: limits::READ_ROUND_CROWD,
        spacing: limits::READ_ROUND_SPACING,
    };

    /// How long after the beginning of a turn of `many` the next one may begin.
    pub(crate) fn after(self, many: usize) -> Duration {
        if many >= self.crowd {
            self.spacing
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crowds_are_made_to_wait() {
        for pace in [Pace::PROPOSALS, Pace::READS] {
            for few in [1, pace.crowd - 1] {
                assert_eq!(pace.after(few), Duration::ZERO, "{pace:?}, {few}");
            }
            assert_eq!(pace.after(pace.crowd), pace.spacing);
            // Far below what a heartbeat takes to be missed, or a person to notice.
            assert!(pace.spacing.as_millis() < u128::from(limits::HEARTBEAT_PERIOD_MS) / 10);
        }
    }
}
