//! How long the history is kept: a pure decision, and the clock that it needs.
//!
//! Every server notes when it stood at which revision, so that a new leader knows the age of revisions that it did not make.
//! What a server has not seen, because it was started later, counts from its start.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::kv::Revision;
use crate::limits;

/// How much of the history is kept at least. Both hold: a revision goes when it is old enough and enough came after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Changes younger than this are kept.
    pub min_age: Duration,
    /// This many of the latest revisions are kept.
    pub min_revisions: i64,
}

impl Retention {
    /// How often it is considered what may go: often enough for the least age to mean something.
    pub(crate) fn look_period(self) -> Duration {
        (self.min_age / 2).clamp(limits::COMPACTION_PERIOD_MIN, limits::COMPACTION_PERIOD)
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            min_age: limits::HISTORY_MIN_AGE,
            min_revisions: limits::HISTORY_MIN_REVISIONS,
        }
    }
}

/// When this server stood at which revision, as far back as the history reaches.
#[derive(Debug, Default)]
pub(crate) struct HistoryClock {
    /// Ascending in both. Each says: at this time, everything up to this revision was there.
    samples: VecDeque<(Instant, Revision)>,
}

impl HistoryClock {
    /// Notes that the store stands at `revision`, and that its history begins at `compacted`.
    pub(crate) fn note(&mut self, now: Instant, revision: Revision, compacted: Revision) {
        // Of two samples of one revision, the earlier says more.
        if self.samples.back().is_none_or(|(_, last)| *last < revision) {
            self.samples.push_back((now, revision));
        }
        // The last one that the history does not reach back behind tells when it began.
        while self.samples.get(1).is_some_and(|(_, revision)| *revision <= compacted) {
            self.samples.pop_front();
        }
        if self.samples.len() > limits::HISTORY_SAMPLES_MAX {
            // What is kept for so long need not be known so exactly.
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Up to which revision the history may go; `None` if nothing may.
    pub(crate) fn expendable(&self, now: Instant, revision: Revision, retention: Retention) -> Option<Revision> {
        let young = |at: &Instant| now.saturating_duration_since(*at) < retention.min_age;
        let old = self.samples.iter().rev().find(|(at, _)| !young(at))?;
        let target = old.1.min(revision.saturating_sub(retention.min_revisions));
        (target > 0).then_some(target)
    }

    /// The age of the oldest change in the history, as far as this server knows.
    pub(crate) fn age(&self, now: Instant, revision: Revision, compacted: Revision) -> Duration {
        match self.samples.front() {
            Some((at, _)) if revision > compacted => now.saturating_duration_since(*at),
            Some(_) | None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Feeds (minute, revision) samples and collects what may go after each.
    fn check(retention: Retention, samples: &[(u32, Revision)], want: &[Option<Revision>]) {
        let start = Instant::now();
        let mut clock = HistoryClock::default();
        let got: Vec<_> = samples
            .iter()
            .map(|(minute, revision)| {
                let now = start + *minute * MINUTE;
                clock.note(now, *revision, 0);
                clock.expendable(now, *revision, retention)
            })
            .collect();
        assert_eq!(got, want, "{retention:?} {samples:?}");
    }

    fn keep(minutes: u32, min_revisions: i64) -> Retention {
        Retention {
            min_age: minutes * MINUTE,
            min_revisions,
        }
    }

    #[test]
    fn nothing_young_goes() {
        let default = Retention::default();
        check(default, &[(0, 1_000_000), (4, 2_000_000)], &[None, None]);
        check(
            default,
            &[(0, 1_000_000), (5, 2_000_000), (9, 3_000_000)],
            &[None, Some(1_000_000), Some(1_000_000)],
        );
        check(
            default,
            &[(0, 1_000_000), (5, 2_000_000), (10, 3_000_000)],
            &[None, Some(1_000_000), Some(2_000_000)],
        );
    }

    #[test]
    fn the_latest_revisions_stay_however_old() {
        let default = Retention::default();
        check(default, &[(0, 50_000), (600, 50_000)], &[None, None]);
        check(default, &[(0, 150_000), (600, 150_000)], &[None, Some(50_000)]);
    }

    #[test]
    fn age_and_number_are_whatever_is_asked_for() {
        check(
            keep(1, 10),
            &[(0, 100), (1, 200), (2, 300)],
            &[None, Some(100), Some(200)],
        );
        check(
            keep(1, 150),
            &[(0, 100), (1, 200), (2, 300)],
            &[None, Some(50), Some(150)],
        );
        check(keep(60, 10), &[(0, 100), (30, 200), (59, 300)], &[None, None, None]);
        check(keep(60, 10), &[(0, 100), (60, 300)], &[None, Some(100)]);
        check(keep(1, 1_000), &[(0, 100), (60, 300)], &[None, None]);
        // Neither kept: only what is not there yet stays.
        check(keep(0, 0), &[(0, 100), (1, 200)], &[Some(100), Some(200)]);
        check(keep(0, i64::MAX), &[(0, 100)], &[None]);
    }

    #[test]
    fn a_short_age_is_looked_at_more_often() {
        let period = |age: Duration| {
            let retention = Retention {
                min_age: age,
                min_revisions: 0,
            };
            retention.look_period()
        };
        assert_eq!(Retention::default().look_period(), limits::COMPACTION_PERIOD);
        assert_eq!(period(limits::COMPACTION_PERIOD), limits::COMPACTION_PERIOD / 2);
        assert_eq!(period(Duration::ZERO), limits::COMPACTION_PERIOD_MIN);
    }

    #[test]
    fn the_age_of_the_history_is_that_of_its_oldest_change() {
        let start = Instant::now();
        let at = |minute: u32| start + minute * MINUTE;
        let mut clock = HistoryClock::default();
        assert_eq!(clock.age(at(9), 5, 0), Duration::ZERO, "nothing is known");
        clock.note(at(0), 10, 0);
        clock.note(at(1), 10, 0);
        clock.note(at(2), 20, 0);
        clock.note(at(3), 30, 0);
        assert_eq!(clock.age(at(4), 30, 0), 4 * MINUTE);
        clock.note(at(4), 40, 20);
        assert_eq!(clock.age(at(5), 40, 20), 3 * MINUTE, "revision 21 came after minute 2");
        clock.note(at(5), 40, 25);
        assert_eq!(clock.age(at(5), 40, 25), 3 * MINUTE);
        clock.note(at(6), 40, 40);
        assert_eq!(clock.age(at(9), 40, 40), Duration::ZERO, "there is none");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let start = Instant::now();
        let mut clock = HistoryClock::default();
        let samples = 3 * limits::HISTORY_SAMPLES_MAX as u32;
        for second in 0..samples {
            clock.note(start + Duration::from_secs(second.into()), second.into(), 0);
            assert!(clock.samples.len() <= limits::HISTORY_SAMPLES_MAX);
        }
        let end = start + Duration::from_secs(samples.into());
        assert_eq!(clock.age(end, samples.into(), 0), end - start, "the first is kept");
    }
}
