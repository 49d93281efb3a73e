//! Filter: only events that were asked for are sent: of the range, not filtered out, not before the start.

use super::record::{Watch, describe};
use crate::linear::replay::Replay;

pub(super) fn check(watch: &Watch, _: &Replay) -> Vec<String> {
    let first = watch.first_revision().unwrap_or(watch.start);
    let unwanted = watch
        .events()
        .filter(|event| !watch.wants(event) || event.kv.mod_revision < first);
    unwanted
        .map(|event| format!("{} was not asked for", describe(event)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch_rules::sample::{assert_sound, replay, watch};

    #[test]
    fn what_was_not_asked_for_is_found() {
        assert_sound(check);
        let mut early = watch();
        early.start = 4;
        let mut elsewhere = watch();
        elsewhere.range = crate::linear::model::KeyRange::one("a");
        let mut deletes = watch();
        deletes.no_delete = true;
        let mut puts = watch();
        puts.no_put = true;
        for planted in [early, elsewhere, deletes, puts] {
            assert!(!check(&planted, &replay()).is_empty(), "{planted:?}");
        }
    }
}
