//! How a server does, as far as its own answers say: pure.
//!
//! A server that is behind and makes no progress is stalled, however little it is behind. That takes two looks: a server
//! that has had nothing to do for long is behind, too, for the moment in which it is told of something new.

use std::collections::BTreeMap;

use trireme_proto::v1::ServerStatusResponse;
use trireme_store::Member;

use crate::limits;

/// What a server, asked, answers.
pub(super) type Answer = Result<ServerStatusResponse, String>;

/// How a server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// It does what it should.
    Healthy,
    /// It is new and does not have everything yet.
    CatchingUp { behind: u64 },
    /// It is far behind, but makes progress.
    Lagging { behind: u64 },
    /// It is behind and makes no progress.
    Stalled { behind: u64, idle_ms: u64 },
    /// Its data is damaged.
    Quarantined { cause: String },
    /// It does not answer.
    Unreachable { why: String },
}

impl Health {
    /// The word for it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::CatchingUp { .. } => "CatchingUp",
            Self::Lagging { .. } => "Lagging",
            Self::Stalled { .. } => "Stalled",
            Self::Quarantined { .. } => "Quarantined",
            Self::Unreachable { .. } => "Unreachable",
        }
    }

    /// What is to be said about it; empty if nothing is.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Healthy => String::new(),
            Self::CatchingUp { behind } | Self::Lagging { behind } => format!("{behind} log entries behind"),
            Self::Stalled { behind, idle_ms } => format!(
                "{behind} log entries behind, and no progress for {} s; \
                 is its disk full or slow, and can the leader reach its peer address?",
                idle_ms / 1_000
            ),
            Self::Quarantined { cause } => cause.clone(),
            Self::Unreachable { why } => why.clone(),
        }
    }
}

/// Judges a server by its first answer, and its second one, if it was asked again.
pub(super) fn judge(member: &Member, first: Option<&Answer>, again: Option<&Answer>, furthest: u64) -> Health {
    let answer = match first {
        Some(Ok(answer)) => answer,
        Some(Err(why)) => return Health::Unreachable { why: why.clone() },
        None => {
            let why = "it was not asked".to_owned();
            return Health::Unreachable { why };
        }
    };
    if !answer.quarantine.is_empty() {
        let cause = answer.quarantine.clone();
        return Health::Quarantined { cause };
    }
    if is_suspect(answer, furthest)
        && let Some(Ok(second)) = again
        && second.applied_index == answer.applied_index
        && second.idle_ms >= answer.idle_ms
    {
        return Health::Stalled {
            behind: furthest - second.applied_index,
            idle_ms: second.idle_ms,
        };
    }
    let behind = furthest.saturating_sub(answer.applied_index);
    if !member.voter && (answer.applied_index == 0 || behind > limits::CATCHING_UP_ENTRIES) {
        Health::CatchingUp { behind }
    } else if behind > limits::LAGGING_ENTRIES {
        Health::Lagging { behind }
    } else {
        Health::Healthy
    }
}

/// The log entry that the furthest server has applied.
pub(super) fn furthest(answers: &BTreeMap<u64, Answer>) -> u64 {
    let applied = answers.values().flatten().map(|answer| answer.applied_index);
    applied.max().unwrap_or(0)
}

/// Whether a server, by its first answer, may be stalled: it is behind and has had time to do something about it.
pub(super) fn is_suspect(answer: &ServerStatusResponse, furthest: u64) -> bool {
    let patience = u64::try_from(limits::STALLED_AFTER.as_millis()).unwrap_or(u64::MAX);
    answer.applied_index < furthest && answer.idle_ms >= patience
}

#[cfg(test)]
mod tests {
    use super::*;

    const FURTHEST: u64 = 50_000;

    fn answer(applied_index: u64, idle_s: u64) -> Answer {
        Ok(ServerStatusResponse {
            applied_index,
            idle_ms: idle_s * 1_000,
            ..ServerStatusResponse::default()
        })
    }

    fn check(voter: bool, first: &Answer, again: Option<&Answer>) -> Health {
        let member = Member {
            id: 4,
            name: "s4".to_owned(),
            api_address: String::new(),
            peer_address: String::new(),
            voter,
        };
        judge(&member, Some(first), again, FURTHEST)
    }

    #[test]
    fn a_learner_says_how_far_behind_it_is_until_it_has_caught_up() {
        let near = FURTHEST - limits::CATCHING_UP_ENTRIES;
        assert_eq!(
            check(false, &answer(0, 0), None),
            Health::CatchingUp { behind: FURTHEST }
        );
        let behind = limits::CATCHING_UP_ENTRIES + 1;
        assert_eq!(check(false, &answer(near - 1, 0), None), Health::CatchingUp { behind });
        assert_eq!(check(false, &answer(near, 0), None), Health::Healthy);
        assert_eq!(
            check(false, &answer(near - 1, 0), None).message(),
            format!("{behind} log entries behind")
        );
    }

    #[test]
    fn a_voter_is_lagging_only_when_it_is_far_behind() {
        let near = FURTHEST - limits::LAGGING_ENTRIES;
        assert_eq!(check(true, &answer(near, 0), None), Health::Healthy);
        let behind = limits::LAGGING_ENTRIES + 1;
        assert_eq!(check(true, &answer(near - 1, 0), None), Health::Lagging { behind });
    }

    #[test]
    fn no_progress_while_behind_is_a_stall_however_small_the_lag() {
        for voter in [false, true] {
            let (first, again) = (answer(FURTHEST - 1, 20), answer(FURTHEST - 1, 21));
            let stalled = Health::Stalled {
                behind: 1,
                idle_ms: 21_000,
            };
            assert_eq!(check(voter, &first, Some(&again)), stalled);
            assert!(stalled.message().contains("no progress for 21 s"));
        }
        // It had nothing to do until a moment ago, or receives a snapshot: that is progress.
        assert_eq!(
            check(true, &answer(FURTHEST - 1, 20), Some(&answer(FURTHEST, 0))),
            Health::Healthy
        );
        assert!(matches!(
            check(false, &answer(0, 20), Some(&answer(0, 0))),
            Health::CatchingUp { .. }
        ));
        // Nobody has looked again, or it does not answer any more.
        assert_eq!(check(true, &answer(FURTHEST - 1, 20), None), Health::Healthy);
        assert_eq!(
            check(true, &answer(FURTHEST, 3_600), Some(&answer(FURTHEST, 3_600))),
            Health::Healthy
        );
    }

    #[test]
    fn only_who_is_behind_for_long_is_asked_again() {
        let patience = limits::STALLED_AFTER.as_secs();
        let suspect = |answer: Answer| is_suspect(&answer.expect("an answer"), FURTHEST);
        assert!(suspect(answer(FURTHEST - 1, patience)));
        assert!(!suspect(answer(FURTHEST - 1, patience - 1)));
        assert!(!suspect(answer(FURTHEST, patience)));
    }

    #[test]
    fn who_does_not_answer_is_unreachable_and_damage_is_told() {
        let gone = check(true, &Err("connection refused".to_owned()), None);
        assert_eq!(
            (gone.word(), gone.message()),
            ("Unreachable", "connection refused".to_owned())
        );
        let mut damaged = answer(0, 100).expect("an answer");
        damaged.quarantine = "its log is damaged".to_owned();
        let damaged = check(true, &Ok(damaged), Some(&answer(0, 100)));
        assert_eq!(
            (damaged.word(), damaged.message()),
            ("Quarantined", "its log is damaged".to_owned())
        );
    }
}
