//! When a container may start again: restart policy and exponential back-off. Pure.

use crate::journal::{ContainerEnd, ContainerJournal};
use crate::limits;
use crate::time::Moment;
use std::time::Duration;

/// A pod's or a container's restart policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    /// Reads the policy of an object; the empty text is the default.
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "OnFailure" => Self::OnFailure,
            "Never" => Self::Never,
            // Validation at the API admits nothing else.
            _ => Self::Always,
        }
    }

    /// True if a run that ended so is followed by another.
    pub(crate) fn wants_restart(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// The delay between the end of a run and the next start, after `short_runs` runs in a row that
/// ended early. The first restart is immediate.
pub(crate) fn restart_delay(short_runs: u32) -> Duration {
    match short_runs {
        0 | 1 => Duration::ZERO,
        many => exponential(limits::RESTART_BACKOFF_BASE, many - 2, limits::RESTART_BACKOFF_MAX),
    }
}

/// `base` doubled `doublings` times, at most `max`.
pub(crate) fn exponential(base: Duration, doublings: u32, max: Duration) -> Duration {
    // 2^20 times any base of ours is beyond its maximum.
    base.saturating_mul(1 << doublings.min(20)).min(max)
}

/// The earliest moment of the next start after `end`.
pub(crate) fn next_start(journal: &ContainerJournal, end: &ContainerEnd) -> Moment {
    end.finished_at.plus(restart_delay(journal.short_runs))
}

/// Counts a run that ended into the back-off.
pub(crate) fn count_end(journal: &mut ContainerJournal, end: ContainerEnd) {
    let ran_for = end.finished_at.since(end.started_at);
    journal.short_runs = if ran_for >= limits::RESTART_BACKOFF_RESET {
        1
    } else {
        journal.short_runs.saturating_add(1)
    };
    journal.previous = journal.last.replace(end);
}

/// Notes a run that was taken away with all traces, by a cleaned up machine or a cluster that was stopped. That is no fault
/// of the container's, so its back-off starts anew.
pub(crate) fn note_loss(journal: &mut ContainerJournal, end: ContainerEnd) {
    journal.short_runs = 0;
    journal.previous = journal.last.replace(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(started: i64, finished: i64) -> ContainerEnd {
        ContainerEnd {
            started_at: Moment::from_seconds(started),
            finished_at: Moment::from_seconds(finished),
            ..ContainerEnd::default()
        }
    }

    #[test]
    fn the_delay_doubles_up_to_five_minutes() {
        let delays: Vec<u64> = (1..=9).map(|runs| restart_delay(runs).as_secs()).collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(restart_delay(u32::MAX), limits::RESTART_BACKOFF_MAX);
    }

    #[test]
    fn ten_minutes_of_running_reset_the_delay() {
        let mut journal = ContainerJournal::default();
        for _ in 0..5 {
            count_end(&mut journal, end(0, 1));
        }
        assert_eq!(journal.short_runs, 5);
        count_end(&mut journal, end(0, 600));
        assert_eq!(restart_delay(journal.short_runs), Duration::ZERO);
        count_end(&mut journal, end(600, 601));
        assert_eq!(next_start(&journal, &end(600, 601)), Moment::from_seconds(611));
    }

    #[test]
    fn a_run_that_was_taken_away_is_not_held_against_the_container() {
        let mut journal = ContainerJournal::default();
        for _ in 0..5 {
            count_end(&mut journal, end(0, 1));
        }
        note_loss(&mut journal, end(2, 2));
        assert_eq!(restart_delay(journal.short_runs), Duration::ZERO);
        assert_eq!(journal.previous, Some(end(0, 1)));
    }

    #[test]
    fn policies() {
        assert!(RestartPolicy::parse("").wants_restart(0));
        assert!(RestartPolicy::parse("OnFailure").wants_restart(1));
        assert!(!RestartPolicy::parse("OnFailure").wants_restart(0));
        assert!(!RestartPolicy::parse("Never").wants_restart(1));
    }
}
