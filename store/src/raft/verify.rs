//! Whether log and state, each whole by itself, are of one server at one time.
//!
//! The state is led to by the log. So the log must know the entry that the state stands at, must go on right behind it, and
//! must have a vote if anything was ever applied. A log that ends before the state is no damage: entries are applied
//! once a majority has them, which need not include this server's disk.

use openraft::storage::{RaftLogReader, RaftLogStorage};

use super::log::LogStore;
use super::types::LogId;
use crate::engine::AppliedPosition;

/// What the log says about the place that the state stands at.
#[derive(Debug, Clone, Copy, Default)]
struct LogFacts {
    vote_term: Option<u64>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The entry with the state's index, if the log has it.
    at_state: Option<LogId>,
}

/// Compares the two.
///
/// # Errors
/// In words, how they contradict each other.
pub(crate) async fn agree(log: &mut LogStore, applied: Option<&AppliedPosition>) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("its log cannot be read: {error}");
    let state = log.get_log_state().await.map_err(unreadable)?;
    let vote = log.read_vote().await.map_err(unreadable)?;
    let at_state = match applied {
        None => None,
        Some(position) => {
            let range = position.index..position.index.saturating_add(1);
            let found = log.try_get_log_entries(range).await.map_err(unreadable)?;
            found.first().map(|entry| entry.log_id)
        }
    };
    let facts = LogFacts {
        vote_term: vote.map(|vote| vote.leader_id.term),
        purged: state.last_purged_log_id,
        last: state.last_log_id,
        at_state,
    };
    judge(facts, applied.map(|position| (position.term, position.index)))
}

fn judge(log: LogFacts, applied: Option<(u64, u64)>) -> Result<(), String> {
    let Some((term, index)) = applied else {
        return match log.purged {
            Some(purged) => Err(format!(
                "its state is empty, but its log begins behind index {}",
                purged.index
            )),
            None => Ok(()),
        };
    };
    match log.vote_term {
        None => {
            return Err(format!(
                "its state is at log index {index}, but its log is empty and knows no vote"
            ));
        }
        Some(vote) if vote < term => {
            return Err(format!(
                "its state is of term {term}, but its vote is of the older term {vote}"
            ));
        }
        Some(_) => {}
    }
    let known = log.at_state.or(log.purged.filter(|purged| purged.index == index));
    match (known, log.purged) {
        (Some(known), _) if known.leader_id.term != term => Err(format!(
            "its state is at log index {index} of term {term}, but its log has that index of term {}",
            known.leader_id.term
        )),
        (None, Some(purged)) if purged.index > index => Err(format!(
            "its state ends at log index {index}, but its log begins behind index {}",
            purged.index
        )),
        (None, _) if log.last.is_some_and(|last| last.index >= index && index > 0) => {
            Err(format!("its log has no entry at index {index}, where its state is"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::log_id;
    use super::*;

    fn facts(
        vote: Option<u64>,
        purged: Option<(u64, u64)>,
        last: Option<(u64, u64)>,
        at: Option<(u64, u64)>,
    ) -> LogFacts {
        let id = |(term, index): (u64, u64)| log_id(term, index);
        LogFacts {
            vote_term: vote,
            purged: purged.map(id),
            last: last.map(id),
            at_state: at.map(id),
        }
    }

    #[test]
    fn what_a_crash_can_leave_agrees() {
        let check = |log, applied| assert_eq!(judge(log, applied), Ok(()), "{log:?} {applied:?}");
        check(LogFacts::default(), None);
        check(facts(Some(3), None, Some((2, 9)), None), None);
        check(facts(Some(3), None, Some((2, 9)), Some((2, 5))), Some((2, 5)));
        check(facts(Some(3), Some((2, 5)), Some((2, 9)), None), Some((2, 5)));
        // The state is ahead: of entries that only the others' disks have, or by a snapshot.
        check(facts(Some(3), Some((2, 5)), Some((2, 9)), None), Some((2, 40)));
    }

    #[test]
    fn what_no_crash_leaves_does_not() {
        let check = |log, applied, words: &str| {
            let why = judge(log, applied).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        check(facts(Some(3), Some((2, 5)), Some((2, 9)), None), None, "state is empty");
        check(LogFacts::default(), Some((2, 5)), "knows no vote");
        check(
            facts(Some(1), None, Some((1, 9)), Some((2, 5))),
            Some((2, 5)),
            "older term 1",
        );
        check(
            facts(Some(3), None, Some((3, 9)), Some((1, 5))),
            Some((2, 5)),
            "of term 1",
        );
        check(
            facts(Some(3), Some((1, 5)), Some((3, 9)), None),
            Some((2, 5)),
            "of term 1",
        );
        check(
            facts(Some(3), Some((2, 7)), Some((3, 9)), None),
            Some((2, 5)),
            "begins behind index 7",
        );
        check(
            facts(Some(3), None, Some((3, 9)), None),
            Some((2, 5)),
            "no entry at index 5",
        );
    }
}
