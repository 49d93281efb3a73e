//! Atomic: the events of one revision are all in one message.

use std::collections::BTreeSet;

use super::record::{Body, Watch};
use crate::linear::replay::Replay;

pub(super) fn check(watch: &Watch, replay: &Replay) -> Vec<String> {
    let mut found = Vec::new();
    let mut previous: BTreeSet<i64> = BTreeSet::new();
    for message in &watch.messages {
        let Body::Events(events) = &message.body else {
            continue;
        };
        let revisions: BTreeSet<i64> = events.iter().map(|event| event.kv.mod_revision).collect();
        if watch.fragment {
            continue;
        }
        for revision in &revisions {
            if !previous.insert(*revision) {
                found.push(format!("revision {revision} was sent in more than one message"));
            }
            let sent = events.iter().filter(|event| event.kv.mod_revision == *revision).count();
            let whole = replay.at(*revision).iter().filter(|event| watch.wants(event)).count();
            if *revision <= replay.last() && sent < whole {
                found.push(format!(
                    "revision {revision} has {whole} events, and one message held {sent} of them"
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch_rules::{
        Message,
        sample::{assert_sound, replay, watch},
    };

    #[test]
    fn a_revision_in_two_messages_is_found() {
        assert_sound(check);
        let mut planted = watch();
        let Body::Events(events) = &mut planted.messages[2].body else {
            panic!("the sample's third message holds the transaction");
        };
        let rest = events.split_off(1);
        planted.messages.insert(
            3,
            Message {
                revision: 4,
                body: Body::Events(rest),
            },
        );
        assert!(!check(&planted, &replay()).is_empty());
        planted.fragment = true;
        assert!(check(&planted, &replay()).is_empty(), "fragments were asked for");
    }

    #[test]
    fn half_a_revision_is_found() {
        let mut planted = watch();
        let Body::Events(events) = &mut planted.messages[2].body else {
            panic!("the sample's third message holds the transaction");
        };
        events.pop();
        assert_eq!(check(&planted, &replay()).len(), 1);
    }
}
