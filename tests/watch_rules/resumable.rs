//! Resumable: a watch from a revision on skips nothing at its beginning, unless it says that this was compacted.

use super::record::{Body, Watch, describe};
use crate::linear::replay::Replay;

pub(super) fn check(watch: &Watch, replay: &Replay) -> Vec<String> {
    let Some(first) = watch.first_revision() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if let Some(event) = watch.events().next() {
        let skipped = replay
            .between(first, event.kv.mod_revision.min(replay.last() + 1) - 1)
            .filter(|event| watch.wants(event));
        found.extend(skipped.map(|event| format!("the watch began at {first} and skipped {}", describe(event))));
    }
    let next = watch.events().last().map_or(first, |event| event.kv.mod_revision + 1);
    for message in &watch.messages {
        if let Body::Canceled { compact_revision } = message.body
            && compact_revision != 0
            && (compact_revision > replay.compacted.max(replay.last()) || compact_revision < next)
        {
            found.push(format!(
                "it was ended as compacted up to {compact_revision}, and was to go on at {next}"
            ));
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
    fn a_beginning_that_is_skipped_is_found() {
        assert_sound(check);
        let mut planted = watch();
        planted.messages.remove(1);
        assert_eq!(check(&planted, &replay()).len(), 1);
    }

    #[test]
    fn an_end_for_a_compaction_that_does_not_matter_is_found() {
        let mut planted = watch();
        planted.messages.push(Message {
            revision: 5,
            body: Body::Canceled { compact_revision: 3 },
        });
        assert_eq!(check(&planted, &replay()).len(), 1);
    }
}
