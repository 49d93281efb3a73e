//! Prev-kv: the key before the change, if asked for, is what was there, unless it was compacted.

use super::record::{Watch, describe};
use crate::linear::replay::Replay;

pub(super) fn check(watch: &Watch, replay: &Replay) -> Vec<String> {
    let mut found = Vec::new();
    for event in watch.events() {
        let written = replay.at(event.kv.mod_revision);
        let Some(written) = written.iter().find(|written| written.kv.key == event.kv.key) else {
            continue;
        };
        let due = if watch.prev_kv { &written.previous } else { &None };
        // A compaction keeps what is the latest at its revision, so older predecessors may be gone.
        let gone = event.previous.is_none() && event.kv.mod_revision <= replay.compacted;
        if event.previous != *due && !gone {
            found.push(format!(
                "{}: before it was {due:?}, sent {:?}",
                describe(event),
                event.previous
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::model::Event;
    use crate::watch_rules::{
        Body,
        sample::{assert_sound, replay, watch},
    };

    fn with(change: impl FnOnce(&mut Event)) -> Watch {
        let mut planted = watch();
        let Body::Events(events) = &mut planted.messages[2].body else {
            panic!("the sample's third message holds the transaction");
        };
        change(&mut events[0]);
        planted
    }

    #[test]
    fn a_wrong_predecessor_is_found() {
        assert_sound(check);
        let other = with(|event| {
            if let Some(previous) = &mut event.previous {
                previous.version += 1;
            }
        });
        assert_eq!(check(&other, &replay()).len(), 1);
        let none = with(|event| event.previous = None);
        assert_eq!(check(&none, &replay()).len(), 1);
        let mut compacted = replay();
        compacted.compacted = 4;
        assert!(check(&none, &compacted).is_empty(), "it may be gone");
        let mut unasked = watch();
        unasked.prev_kv = false;
        assert!(!check(&unasked, &replay()).is_empty());
    }
}
