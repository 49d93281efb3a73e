//! Reads of the past: whatever member answers, at a revision there is one truth.

use super::{history::PastRead, model::KeyValue, replay::Replay};

/// What is wrong with reads of the past, judged by the order of all writes.
pub fn check(reads: &[PastRead], replay: &Replay) -> Vec<String> {
    reads.iter().filter_map(|read| judge(read, replay)).collect()
}

fn judge(read: &PastRead, replay: &Replay) -> Option<String> {
    let revision = if read.asked > 0 { read.asked } else { read.header };
    if read.asked > read.header {
        return Some(format!("a read at {} was answered at {}", read.asked, read.header));
    }
    // What was written after the last revision that the order covers cannot be judged.
    let state = replay.state_at(revision)?;
    let due: Vec<&KeyValue> = state.values().filter(|kv| read.range.contains(&kv.key)).collect();
    let same = due.iter().copied().eq(&read.kvs);
    (!same).then(|| format!("at revision {revision} there was {due:?}, and {:?} was read", read.kvs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::{
        history::{Call, Outcome},
        model::{KeyOp, KeyRange, Op, State},
    };

    #[test]
    fn another_past_is_found() {
        let calls: Vec<Call> = ["1", "2"]
            .map(|value| Call {
                client: 0,
                op: Op::One(KeyOp::Put {
                    key: "a".to_owned(),
                    value: value.to_owned(),
                    lease: 0,
                }),
                invoked: 0,
                returned: 0,
                outcome: Outcome::Unknown,
            })
            .to_vec();
        let replay = Replay::of(&calls, &[0, 1], &State::default());
        let first = KeyValue {
            key: "a".to_owned(),
            value: "1".to_owned(),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            lease: 0,
        };
        let read = |asked: i64, header: i64, kvs: &[KeyValue]| PastRead {
            range: KeyRange::all(),
            asked,
            header,
            kvs: kvs.to_vec(),
            invoked: 0,
        };
        let sound = [
            read(2, 3, std::slice::from_ref(&first)),
            read(0, 1, &[]),
            read(0, 9, &[]),
        ];
        assert_eq!(check(&sound, &replay), Vec::<String>::new());
        for broken in [
            read(3, 3, std::slice::from_ref(&first)),
            read(0, 2, &[]),
            read(3, 2, &[]),
        ] {
            assert_eq!(check(std::slice::from_ref(&broken), &replay).len(), 1, "{broken:?}");
        }
    }
}
