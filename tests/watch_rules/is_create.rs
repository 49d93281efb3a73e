//! Is-create: a put says that it made the key exactly if the key was not there before.

use super::record::{Watch, describe};
use crate::linear::replay::Replay;

pub(super) fn check(watch: &Watch, replay: &Replay) -> Vec<String> {
    let mut found = Vec::new();
    for event in watch.events().filter(|event| !event.deleted) {
        let written = replay.at(event.kv.mod_revision);
        let Some(written) = written.iter().find(|written| written.kv.key == event.kv.key) else {
            continue;
        };
        let says = event.kv.create_revision == event.kv.mod_revision;
        let is = written.previous.is_none();
        if says != is || says != (event.kv.version == 1) {
            found.push(format!(
                "{} says that it made the key: {says}; it did: {is}",
                describe(event)
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch_rules::{
        Body,
        sample::{assert_sound, replay, watch},
    };

    #[test]
    fn a_change_that_poses_as_a_creation_is_found() {
        assert_sound(check);
        let mut planted = watch();
        let Body::Events(events) = &mut planted.messages[2].body else {
            panic!("the sample's third message holds the transaction");
        };
        events[0].kv.create_revision = events[0].kv.mod_revision;
        assert_eq!(check(&planted, &replay()).len(), 1);
    }

    #[test]
    fn a_creation_that_poses_as_a_change_is_found() {
        let mut planted = watch();
        let Body::Events(events) = &mut planted.messages[1].body else {
            panic!("the sample's second message holds the first event");
        };
        events[0].kv.create_revision = 1;
        assert_eq!(check(&planted, &replay()).len(), 1);
    }
}
