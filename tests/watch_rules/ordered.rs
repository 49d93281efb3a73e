//! Ordered: events come in the order of their revisions.

use super::record::{Watch, describe};
use crate::linear::replay::Replay;

pub(super) fn check(watch: &Watch, _: &Replay) -> Vec<String> {
    let mut newest = 0;
    let mut found = Vec::new();
    for event in watch.events() {
        if event.kv.mod_revision < newest {
            found.push(format!("{} came after revision {newest}", describe(event)));
        }
        newest = newest.max(event.kv.mod_revision);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch_rules::sample::{assert_sound, replay, watch};

    #[test]
    fn messages_that_changed_places_are_found() {
        assert_sound(check);
        let mut planted = watch();
        planted.messages.swap(1, 2);
        assert_eq!(check(&planted, &replay()).len(), 1);
    }
}
