//! I1: what was acknowledged is there, on every server, under the revision that was told.

use super::{Acknowledged, Record};
use crate::linear::{
    history::{History, Outcome},
    model::{Answer, KeyOp, Op},
};

pub(super) const NAME: &str = "acknowledged writes";

pub(super) fn of(history: &History) -> Vec<Acknowledged> {
    let mut writes = Vec::new();
    for call in &history.calls {
        let Outcome::Done { revision, answer } = &call.outcome else {
            continue;
        };
        let done: &[KeyOp] = match (&call.op, answer) {
            (Op::One(op), _) => std::slice::from_ref(op),
            (Op::Txn(txn), Answer::Txn { succeeded: true, .. }) => &txn.success,
            (Op::Txn(txn), Answer::Txn { .. }) => &txn.failure,
            _ => &[],
        };
        writes.extend(done.iter().filter_map(|op| match op {
            KeyOp::Put { key, value, .. } => Some(Acknowledged {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            }),
            KeyOp::Range { .. } | KeyOp::Delete { .. } => None,
        }));
    }
    writes
}

pub(super) fn judge(record: &Record) -> Vec<String> {
    let mut found = Vec::new();
    for (machine, kept) in &record.kept {
        for (write, kv) in kept {
            let there = kv
                .as_ref()
                .is_some_and(|kv| kv.value == write.value.as_bytes() && kv.mod_revision == write.revision);
            if !there {
                found.push(format!(
                    "{} = {} was acknowledged at revision {}; machine {machine} has {kv:?} there",
                    write.key, write.value, write.revision
                ));
            }
        }
    }
    found
}
