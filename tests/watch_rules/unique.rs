//! Unique: no event is sent twice on one watch.

use std::collections::BTreeSet;

use super::record::{Watch, describe};
use crate::linear::replay::Replay;

pub(super) fn check(watch: &Watch, _: &Replay) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let twice = watch
        .events()
        .filter(|event| !seen.insert((event.kv.mod_revision, &event.kv.key)));
    twice
        .map(|event| format!("{} was sent more than once", describe(event)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch_rules::sample::{assert_sound, replay, watch};

    #[test]
    fn a_message_sent_twice_is_found() {
        assert_sound(check);
        let mut planted = watch();
        let again = planted.messages[1].clone();
        planted.messages.insert(2, again);
        assert_eq!(check(&planted, &replay()).len(), 1);
    }
}
