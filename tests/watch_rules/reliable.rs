//! Reliable: between the first and the last event that was sent none is missing, and each is what was written.

use std::collections::BTreeMap;

use super::record::{Watch, describe};
use crate::linear::{model::Event, replay::Replay};

pub(super) fn check(watch: &Watch, replay: &Replay) -> Vec<String> {
    let by_place = |event: &Event| (event.kv.mod_revision, event.kv.key.clone());
    let sent: BTreeMap<(i64, String), &Event> = watch.events().map(|event| (by_place(event), event)).collect();
    let (Some(((first, _), _)), Some(((last, _), _))) = (sent.first_key_value(), sent.last_key_value()) else {
        return Vec::new();
    };
    let due: BTreeMap<(i64, String), &Event> = replay
        .between(*first, (*last).min(replay.last()))
        .filter(|event| watch.wants(event))
        .map(|event| (by_place(event), event))
        .collect();
    let mut found = Vec::new();
    for (place, event) in &due {
        match sent.get(place) {
            None => found.push(format!("{} is missing", describe(event))),
            Some(sent) if sent.kv != event.kv || sent.deleted != event.deleted => {
                found.push(format!("sent {:?}, but {:?} was written", sent.kv, event.kv));
            }
            Some(_) => {}
        }
    }
    for (place, event) in &sent {
        if place.0 <= replay.last() && watch.wants(event) && !due.contains_key(place) {
            found.push(format!("{} never happened", describe(event)));
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
    fn a_gap_is_found() {
        assert_sound(check);
        let mut planted = watch();
        planted.messages.remove(2);
        assert_eq!(check(&planted, &replay()).len(), 2, "the transaction had two events");
    }

    #[test]
    fn what_nobody_wrote_is_found() {
        for (change, what) in [("9", "another value"), ("", "an empty one")] {
            let mut planted = watch();
            let Body::Events(events) = &mut planted.messages[1].body else {
                panic!("the sample's second message holds the first event");
            };
            events[0].kv.value = change.to_owned();
            assert_eq!(check(&planted, &replay()).len(), 1, "{what}");
        }
        let mut planted = watch();
        let Body::Events(events) = &mut planted.messages[1].body else {
            panic!("the sample's second message holds the first event");
        };
        events[0].kv.key = "phantom".to_owned();
        assert_eq!(
            check(&planted, &replay()).len(),
            2,
            "one is missing, one never happened"
        );
    }
}
