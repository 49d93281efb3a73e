//! Bookmarkable: a progress message at a revision says that every event up to it was sent before.

use std::collections::BTreeSet;

use super::record::{Body, Watch, describe};
use crate::linear::replay::Replay;

pub(super) fn check(watch: &Watch, replay: &Replay) -> Vec<String> {
    let Some(first) = watch.first_revision() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut sent: BTreeSet<(i64, &str)> = BTreeSet::new();
    // Up to here all is said to have been sent.
    let mut promised = 0;
    for message in &watch.messages {
        match &message.body {
            Body::Events(events) => {
                for event in events {
                    if event.kv.mod_revision <= promised {
                        found.push(format!("{} came after the progress at {promised}", describe(event)));
                    }
                    sent.insert((event.kv.mod_revision, &event.kv.key));
                }
            }
            Body::Progress => {
                if message.revision < promised {
                    found.push(format!("progress went back from {promised} to {}", message.revision));
                }
                let due = replay.between(first.max(promised + 1), message.revision.min(replay.last()));
                let due = due.filter(|event| watch.wants(event));
                let missing = due.filter(|event| !sent.contains(&(event.kv.mod_revision, event.kv.key.as_str())));
                found
                    .extend(missing.map(|event| {
                        format!("progress at {}, and {} was not sent", message.revision, describe(event))
                    }));
                promised = promised.max(message.revision);
            }
            Body::Created | Body::Canceled { .. } => {}
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

    fn progress(revision: i64) -> Message {
        Message {
            revision,
            body: Body::Progress,
        }
    }

    #[test]
    fn progress_that_runs_ahead_is_found() {
        assert_sound(check);
        let mut planted = watch();
        planted.messages.insert(1, progress(4));
        assert!(!check(&planted, &replay()).is_empty());
    }

    #[test]
    fn progress_over_an_event_that_never_comes_is_found() {
        let mut planted = watch();
        planted.messages.remove(1);
        planted.messages.push(progress(5));
        assert_eq!(check(&planted, &replay()).len(), 1);
    }

    #[test]
    fn progress_that_goes_back_is_found() {
        let mut planted = watch();
        planted.messages.push(progress(3));
        assert_eq!(check(&planted, &replay()).len(), 1);
    }
}
