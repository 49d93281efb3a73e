//! What probe results mean: thresholds, and the verdict on a container. Pure.

use crate::time::Moment;
use std::time::Duration;
use trireme_proto::api::core::v1::{Container, Probe};

const PERIOD_DEFAULT_SECONDS: i32 = 10;
const TIMEOUT_DEFAULT_SECONDS: i32 = 1;
const SUCCESS_THRESHOLD_DEFAULT: i32 = 1;
const FAILURE_THRESHOLD_DEFAULT: i32 = 3;

/// What the probes say of one running container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It may serve.
    pub(crate) ready: bool,
    /// It is up.
    pub(crate) started: bool,
    /// It is to be restarted.
    pub(crate) must_restart: bool,
}

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

/// The results of one probe so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    successes: i32,
    failures: i32,
    /// The last result that reached its threshold.
    settled: Option<bool>,
    last_at: Option<Moment>,
}

impl Tally {
    fn record(&mut self, probe: &Probe, succeeded: bool, now: Moment) {
        self.last_at = Some(now);
        if succeeded {
            self.successes = self.successes.saturating_add(1);
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.successes = 0;
        }
        if self.successes >= or_default(probe.success_threshold, SUCCESS_THRESHOLD_DEFAULT) {
            self.settled = Some(true);
        } else if self.failures >= or_default(probe.failure_threshold, FAILURE_THRESHOLD_DEFAULT) {
            self.settled = Some(false);
        }
    }
}

/// The probes of one run of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProbeState {
    startup: Tally,
    readiness: Tally,
    liveness: Tally,
}

impl ProbeState {
    /// Takes in one result.
    pub(crate) fn record(&mut self, container: &Container, kind: ProbeKind, succeeded: bool, now: Moment) {
        if let Some(probe) = probe_of(container, kind) {
            self.tally_mut(kind).record(probe, succeeded, now);
        }
    }

    /// What follows from the results so far.
    pub(crate) fn verdict(&self, container: &Container) -> Verdict {
        let has = |kind| probe_of(container, kind).is_some();
        Verdict {
            started: !has(ProbeKind::Startup) || self.startup.settled == Some(true),
            ready: !has(ProbeKind::Readiness) || self.readiness.settled == Some(true),
            must_restart: self.liveness.settled == Some(false) || self.startup.settled == Some(false),
        }
    }

    /// The probe to run next and when; none if the container has no probes to run now. Until the
    /// startup probe has succeeded the others wait.
    pub(crate) fn next(&self, container: &Container, started_at: Moment) -> Option<(Moment, ProbeKind)> {
        let starting = probe_of(container, ProbeKind::Startup).is_some() && self.startup.settled != Some(true);
        let kinds: &[ProbeKind] = if starting {
            &[ProbeKind::Startup]
        } else {
            &[ProbeKind::Liveness, ProbeKind::Readiness]
        };
        let due = |kind: &ProbeKind| {
            let probe = probe_of(container, *kind)?;
            let at = match self.tally(*kind).last_at {
                Some(last) => last.plus(seconds(or_default(probe.period_seconds, PERIOD_DEFAULT_SECONDS))),
                None => started_at.plus(seconds(probe.initial_delay_seconds)),
            };
            Some((at, *kind))
        };
        kinds.iter().filter_map(due).min()
    }

    fn tally(&self, kind: ProbeKind) -> &Tally {
        match kind {
            ProbeKind::Startup => &self.startup,
            ProbeKind::Readiness => &self.readiness,
            ProbeKind::Liveness => &self.liveness,
        }
    }

    fn tally_mut(&mut self, kind: ProbeKind) -> &mut Tally {
        match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Readiness => &mut self.readiness,
            ProbeKind::Liveness => &mut self.liveness,
        }
    }
}

/// A container's probe of one kind.
pub(crate) fn probe_of(container: &Container, kind: ProbeKind) -> Option<&Probe> {
    match kind {
        ProbeKind::Startup => container.startup_probe.as_deref(),
        ProbeKind::Readiness => container.readiness_probe.as_deref(),
        ProbeKind::Liveness => container.liveness_probe.as_deref(),
    }
}

/// How long one run of a probe may take.
pub(crate) fn timeout(probe: &Probe) -> Duration {
    seconds(or_default(probe.timeout_seconds, TIMEOUT_DEFAULT_SECONDS))
}

fn or_default(value: i32, default: i32) -> i32 {
    if value > 0 { value } else { default }
}

fn seconds(value: i32) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Container {
        let probe = |failure_threshold| {
            Some(Box::new(Probe {
                period_seconds: 5,
                failure_threshold,
                success_threshold: 1,
                ..Probe::default()
            }))
        };
        Container {
            startup_probe: probe(2),
            readiness_probe: probe(1),
            liveness_probe: probe(3),
            ..Container::default()
        }
    }

    fn at(second: i64) -> Moment {
        Moment::from_seconds(second)
    }

    #[test]
    fn startup_comes_first_then_the_others() {
        let container = container();
        let mut state = ProbeState::default();
        assert_eq!(state.next(&container, at(0)), Some((at(0), ProbeKind::Startup)));
        assert_eq!(state.verdict(&container), Verdict::default());
        state.record(&container, ProbeKind::Startup, true, at(1));
        assert_eq!(state.next(&container, at(0)), Some((at(0), ProbeKind::Readiness)));
        state.record(&container, ProbeKind::Readiness, true, at(2));
        state.record(&container, ProbeKind::Liveness, true, at(3));
        assert_eq!(
            state.verdict(&container),
            Verdict {
                ready: true,
                started: true,
                must_restart: false
            }
        );
        assert_eq!(state.next(&container, at(0)), Some((at(7), ProbeKind::Readiness)));
    }

    #[test]
    fn thresholds_decide() {
        let container = container();
        let mut state = ProbeState::default();
        state.record(&container, ProbeKind::Startup, true, at(1));
        for (second, must_restart) in [(2, false), (3, false), (4, true)] {
            state.record(&container, ProbeKind::Liveness, false, at(second));
            assert_eq!(state.verdict(&container).must_restart, must_restart, "at {second}");
        }
        state.record(&container, ProbeKind::Readiness, true, at(5));
        assert!(state.verdict(&container).ready);
        state.record(&container, ProbeKind::Readiness, false, at(6));
        assert!(!state.verdict(&container).ready);
    }

    #[test]
    fn a_container_without_probes_is_ready_at_once() {
        let verdict = ProbeState::default().verdict(&Container::default());
        assert_eq!(
            verdict,
            Verdict {
                ready: true,
                started: true,
                must_restart: false
            }
        );
        assert_eq!(ProbeState::default().next(&Container::default(), at(0)), None);
    }
}
