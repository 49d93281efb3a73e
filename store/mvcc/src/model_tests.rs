//! The state machine against a naive reference that keeps every revision's whole content.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::check;
use crate::command::Command;
use crate::compact::{compact_step, compact_step_of};
use crate::history::{HistoryBudget, history};
use crate::machine::{AppliedPosition, ApplyError, Change, Entry, StateMachine};
use crate::memory::MemoryStorage;
use crate::meta::State;
use crate::outcome::{Outcome, Refusal};
use crate::range::{ReadError, range};
use crate::snapshot::{Exporter, Importer, SnapshotError};
use crate::storage::{Access, Cursor, Storage, StorageRead, Table};
use crate::testing::{any_range, any_request, any_txn, delete, entry, put, txn};
use crate::types::{
    Compare, CompareResult, CompareTarget, Event, EventKind, KeyRange, KeyValue, Op, OpResponse, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse,
};

type Content = BTreeMap<Bytes, KeyValue>;

/// The reference: contents and events of every revision there ever was.
struct Model {
    contents: Vec<Content>,
    events: Vec<Vec<Event>>,
    compacted: Revision,
}

impl Model {
    fn new() -> Self {
        // Revisions 0 and 1 are empty.
        Self {
            contents: vec![Content::new(); 2],
            events: vec![Vec::new(); 2],
            compacted: 0,
        }
    }

    fn revision(&self) -> Revision {
        self.contents.len() as Revision - 1
    }

    fn latest(&self) -> &Content {
        self.contents.last().unwrap()
    }

    fn readable(&self, revision: Revision) -> Result<(), Refusal> {
        if revision > self.revision() {
            return Err(Refusal::FutureRevision {
                requested: revision,
                current: self.revision(),
            });
        }
        if revision > 0 && revision < self.compacted {
            return Err(Refusal::Compacted {
                requested: revision,
                oldest: self.compacted,
            });
        }
        Ok(())
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Refusal> {
        self.readable(request.revision)?;
        let content = if request.revision > 0 {
            &self.contents[request.revision as usize]
        } else {
            self.latest()
        };
        Ok(select(content, request, self.revision()))
    }

    fn apply(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Compact { revision } if *revision <= self.compacted => Outcome::Refused(Refusal::Compacted {
                requested: *revision,
                oldest: self.compacted,
            }),
            Command::Compact { revision } if *revision > self.revision() => Outcome::Refused(Refusal::FutureRevision {
                requested: *revision,
                current: self.revision(),
            }),
            Command::Compact { revision } => {
                self.compacted = *revision;
                Outcome::Compacted
            }
            Command::Txn { txn, .. } => match self.txn(txn) {
                Ok(response) => Outcome::Txn(response),
                Err(refusal) => Outcome::Refused(refusal),
            },
        }
    }

    fn txn(&mut self, txn: &Txn) -> Result<TxnResponse, Refusal> {
        check::txn_shape(txn).map_err(|error| Refusal::Invalid(error.to_string()))?;
        let mut content = self.latest().clone();
        let mut events = Vec::new();
        let mut response = self.run(txn, &mut content, &mut events)?;
        if !events.is_empty() {
            let mut keys: Vec<_> = events.iter().map(|event| event.kv.key.clone()).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), events.len(), "a key changed twice in one revision");
            self.contents.push(content);
            self.events.push(events);
        }
        finish(&mut response, self.revision());
        Ok(response)
    }

    fn run(&self, txn: &Txn, content: &mut Content, events: &mut Vec<Event>) -> Result<TxnResponse, Refusal> {
        let succeeded = txn.compares.iter().all(|compare| holds(self.latest(), compare));
        let mut responses = Vec::new();
        for op in if succeeded { &txn.success } else { &txn.failure } {
            responses.push(self.op(op, content, events)?);
        }
        Ok(TxnResponse {
            succeeded,
            responses,
            revision: 0,
        })
    }

    fn op(&self, op: &Op, content: &mut Content, events: &mut Vec<Event>) -> Result<OpResponse, Refusal> {
        let next = self.revision() + 1;
        Ok(match op {
            Op::Put {
                key,
                value,
                lease,
                prev_kv,
            } => {
                let before = content.get(key).cloned();
                let kv = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: before.as_ref().map_or(next, |kv| kv.create_revision),
                    mod_revision: next,
                    version: before.as_ref().map_or(0, |kv| kv.version) + 1,
                    lease: *lease,
                };
                content.insert(key.clone(), kv.clone());
                events.push(Event {
                    kind: EventKind::Put,
                    kv,
                    prev_kv: before.clone(),
                });
                OpResponse::Put(before.filter(|_| *prev_kv))
            }
            Op::Delete { range, prev_kv } => {
                let victims: Vec<_> = content.values().filter(|kv| range.contains(&kv.key)).cloned().collect();
                for victim in &victims {
                    content.remove(&victim.key);
                    let kv = KeyValue {
                        key: victim.key.clone(),
                        mod_revision: next,
                        ..KeyValue::default()
                    };
                    events.push(Event {
                        kind: EventKind::Delete,
                        kv,
                        prev_kv: Some(victim.clone()),
                    });
                }
                let deleted = victims.len() as u64;
                OpResponse::Delete {
                    deleted,
                    prev_kvs: if *prev_kv { victims } else { Vec::new() },
                }
            }
            Op::Range(request) => {
                self.readable(request.revision)?;
                let current = self.revision() + Revision::from(!events.is_empty());
                let content = if request.revision > 0 {
                    &self.contents[request.revision as usize]
                } else {
                    &*content
                };
                OpResponse::Range(select(content, request, current))
            }
            Op::Txn(txn) => OpResponse::Txn(self.run(txn, content, events)?),
        })
    }

    fn history(&self, range: &KeyRange, start: Revision) -> Vec<Change> {
        let from = start.max(0) as usize;
        let changes = self
            .events
            .iter()
            .enumerate()
            .skip(from)
            .map(|(revision, events)| Change {
                revision: revision as Revision,
                events: events
                    .iter()
                    .filter(|event| range.contains(&event.kv.key))
                    .cloned()
                    .map(Arc::new)
                    .collect(),
            });
        changes.filter(|change| !change.events.is_empty()).collect()
    }
}

fn select(content: &Content, request: &RangeRequest, current: Revision) -> RangeResponse {
    let mut kvs: Vec<_> = content
        .values()
        .filter(|kv| request.range.contains(&kv.key))
        .cloned()
        .collect();
    let count = kvs.len() as u64;
    if request.count_only {
        return RangeResponse {
            kvs: Vec::new(),
            more: false,
            count: Some(count),
            revision: current,
        };
    }
    let more = request.limit > 0 && kvs.len() > request.limit;
    if more {
        kvs.truncate(request.limit);
    }
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    RangeResponse {
        kvs,
        more,
        count: (!more).then_some(count),
        revision: current,
    }
}

fn holds(content: &Content, compare: &Compare) -> bool {
    let absent = KeyValue::default();
    let mut found: Vec<_> = content.values().filter(|kv| compare.range.contains(&kv.key)).collect();
    if found.is_empty() {
        if matches!(compare.target, CompareTarget::Value(_)) {
            return false;
        }
        found.push(&absent);
    }
    found.into_iter().all(|kv| {
        let (actual, expected) = match &compare.target {
            CompareTarget::Value(value) => return related(compare.result, &kv.value, value),
            CompareTarget::Version(expected) => (kv.version, *expected),
            CompareTarget::CreateRevision(expected) => (kv.create_revision, *expected),
            CompareTarget::ModRevision(expected) => (kv.mod_revision, *expected),
            CompareTarget::Lease(expected) => (kv.lease, *expected),
        };
        related(compare.result, &actual, &expected)
    })
}

fn related<T: Ord>(result: CompareResult, actual: &T, expected: &T) -> bool {
    match result {
        CompareResult::Equal => actual == expected,
        CompareResult::Greater => actual > expected,
        CompareResult::Less => actual < expected,
        CompareResult::NotEqual => actual != expected,
    }
}

fn finish(response: &mut TxnResponse, revision: Revision) {
    response.revision = revision;
    for response in &mut response.responses {
        if let OpResponse::Txn(nested) = response {
            finish(nested, revision);
        }
    }
}

/// A command, or physical compaction of some events at this point.
#[derive(Debug, Clone)]
enum Step {
    Apply(Command),
    Remove(usize),
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        9 => any_txn().prop_map(|txn| Command::Txn { txn, fence_term: None }),
        1 => (0i64..25).prop_map(|revision| Command::Compact { revision }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![9 => any_command().prop_map(Step::Apply), 1 => (1usize..4).prop_map(Step::Remove)]
}

fn machine() -> StateMachine<MemoryStorage> {
    StateMachine::open(Arc::new(MemoryStorage::new())).unwrap()
}

fn as_refusal(error: ReadError) -> Refusal {
    match error {
        ReadError::Compacted { requested, oldest } => Refusal::Compacted { requested, oldest },
        ReadError::FutureRevision { requested, current } => Refusal::FutureRevision { requested, current },
        ReadError::Storage(error) => panic!("{error}"),
    }
}

/// The whole history from `start` on, put together from chunks of at most `events` events.
fn whole_history(
    reader: &impl StorageRead,
    range: &KeyRange,
    start: Revision,
    events: usize,
) -> Result<Vec<Change>, Refusal> {
    let budget = HistoryBudget {
        events,
        bytes: usize::MAX,
        scanned: events * 2,
    };
    let current = State::load(reader).unwrap().revision;
    let (mut all, mut next) = (Vec::new(), start);
    while next <= current {
        let chunk = history(reader, range, next, Revision::MAX, budget).map_err(as_refusal)?;
        assert!(chunk.next_revision > next, "every chunk makes progress");
        assert!(chunk.changes.iter().all(|change| change.revision < chunk.next_revision));
        next = chunk.next_revision;
        all.extend(chunk.changes);
    }
    Ok(all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Every answer, every readable revision and all of history are those of the reference.
    #[test]
    fn does_what_the_reference_does(
        steps in vec(any_step(), 1..30),
        requests in vec(any_request(), 1..10),
        watches in vec((any_range(), 0i64..25, 1usize..4), 1..4),
    ) {
        let (mut machine, mut model) = (machine(), Model::new());
        let mut index = 0;
        for step in steps {
            match step {
                Step::Remove(events) => {
                    compact_step_of(&**machine.storage(), events).unwrap();
                }
                Step::Apply(command) => {
                    index += 1;
                    let before = model.revision();
                    let expected = model.apply(&command);
                    let applied = machine.apply([entry(index, Some(command))]).unwrap();
                    prop_assert_eq!(&applied.outcomes, &[expected]);
                    prop_assert_eq!(applied.revision, model.revision());
                    prop_assert_eq!(applied.compacted, model.compacted);
                    prop_assert_eq!(applied.changes, model.history(&KeyRange::prefix(""), before + 1));
                }
            }
            let snapshot = machine.storage().snapshot();
            for request in &requests {
                prop_assert_eq!(range(&snapshot, request).map_err(as_refusal), model.range(request));
            }
        }
        let snapshot = machine.storage().snapshot();
        for (range, start, events) in watches {
            let start = start.min(model.revision());
            let expected = if start < model.compacted {
                Err(Refusal::Compacted { requested: start, oldest: model.compacted })
            } else {
                Ok(model.history(&range, start))
            };
            prop_assert_eq!(whole_history(&snapshot, &range, start, events), expected);
        }
    }

    /// However entries are cut into chunks, storage and hash come out byte for byte the same (I2), and so they do
    /// after a restart at any chunk and through a snapshot.
    #[test]
    fn chunks_make_no_difference(commands in vec(prop::option::weighted(0.9, any_command()), 1..30), cuts in vec(1usize..6, 30)) {
        let (mut one_by_one, mut chunked) = (machine(), machine());
        let entries: Vec<_> = (1..).zip(commands).map(|(index, command)| entry(index, command)).collect();
        let (mut single, mut together) = (Vec::new(), Vec::new());
        for entry in entries.clone() {
            let applied = one_by_one.apply([entry]).unwrap();
            single.extend(applied.outcomes);
        }
        let mut rest = &entries[..];
        for cut in cuts {
            let (chunk, others) = rest.split_at(cut.min(rest.len()));
            rest = others;
            together.extend(chunked.apply(chunk.to_vec()).unwrap().outcomes);
            chunked = StateMachine::open(Arc::clone(chunked.storage())).unwrap();
        }
        prop_assert_eq!(single, together);
        prop_assert_eq!(one_by_one.hash(), chunked.hash());
        prop_assert_eq!(one_by_one.storage().snapshot(), chunked.storage().snapshot());

        let snapshot = chunked.storage().snapshot();
        let copy = MemoryStorage::new();
        let header = import(&copy, &export(&snapshot)).unwrap();
        prop_assert_eq!(header.position, chunked.state().position.clone());
        let reopened = StateMachine::open(Arc::new(copy)).unwrap();
        prop_assert_eq!(reopened.state(), chunked.state());
    }

    /// Compaction removes all that it makes unreadable, and nothing else.
    #[test]
    fn compaction_leaves_only_what_is_readable(commands in vec(any_txn(), 1..30), part in 1usize..5, at in any::<prop::sample::Index>()) {
        let mut machine = machine();
        let mut model = Model::new();
        for (index, txn) in (1..).zip(commands) {
            let command = Command::Txn { txn, fence_term: None };
            model.apply(&command);
            machine.apply([entry(index, Some(command))]).unwrap();
        }
        let revision = 1 + at.index(model.revision() as usize) as Revision;
        let next = machine.hash().0 + 1;
        machine.apply([entry(next, Some(Command::Compact { revision }))]).unwrap();
        let storage = machine.storage();
        while compact_step_of(&**storage, part).unwrap().more {}
        prop_assert!(!compact_step(&**storage).unwrap().more);
        let rows = |table| {
            let snapshot = storage.snapshot();
            let mut cursor = snapshot.cursor(table, Access::Ordered { upper: None });
            cursor.seek(&[]).unwrap();
            let mut rows = 0;
            while cursor.entry().is_some() {
                rows += 1;
                cursor.next().unwrap();
            }
            rows
        };
        let kept: usize = model.events[revision as usize..].iter().map(Vec::len).sum();
        prop_assert_eq!(rows(Table::Events), kept);
        // One row each for what lived before the watermark, and one for each change since.
        let lived = model.contents[revision as usize - 1].len();
        prop_assert_eq!(rows(Table::Data), lived + kept);
    }

    /// A snapshot that is cut short, damaged or has something added is refused.
    #[test]
    fn damaged_snapshots_are_refused(values in vec(any::<u8>(), 1..20), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut machine = machine();
        for (index, value) in (1..).zip(values) {
            machine.apply([entry(index, Some(txn(vec![put(&value.to_string(), "value")])))]).unwrap();
        }
        let bytes = export(&machine.storage().snapshot());
        let at = at.index(bytes.len());
        let mut damaged = bytes.clone();
        damaged[at] ^= flip;
        let longer = [&bytes[..], &[0]].concat();
        for bad in [&bytes[..at], &damaged, &longer] {
            let storage = MemoryStorage::new();
            prop_assert!(import(&storage, bad).is_err());
            prop_assert_eq!(State::load(&storage.snapshot()).unwrap(), State::default());
        }
    }
}

fn export(snapshot: &impl StorageRead) -> Vec<u8> {
    let mut exporter = Exporter::new(snapshot).unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = exporter.next_chunk().unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

fn import(storage: &MemoryStorage, bytes: &[u8]) -> Result<crate::snapshot::SnapshotHeader, SnapshotError> {
    let mut importer = Importer::new(storage)?;
    for piece in bytes.chunks(7) {
        importer.push(piece)?;
    }
    importer.finish()
}

#[test]
fn a_snapshot_is_only_imported_into_nothing() {
    let mut machine = machine();
    machine.apply([entry(1, Some(txn(vec![put("k", "v")])))]).unwrap();
    assert!(matches!(
        Importer::new(&**machine.storage()),
        Err(SnapshotError::NotEmpty)
    ));
    let storage = MemoryStorage::new();
    assert!(matches!(
        import(&storage, b"something else"),
        Err(SnapshotError::NotASnapshot)
    ));
}

#[test]
fn a_fence_holds_back_other_terms() {
    let mut machine = machine();
    let fenced = |fence_term| {
        let txn = Txn {
            success: vec![put("k", "v")],
            ..Txn::default()
        };
        Some(Command::Txn {
            txn,
            fence_term: Some(fence_term),
        })
    };
    let at_term = |term, index, command| Entry {
        position: AppliedPosition {
            term,
            index,
            opaque: Bytes::new(),
        },
        command,
    };
    let applied = machine
        .apply([
            at_term(4, 1, fenced(4)),
            at_term(5, 2, fenced(4)),
            at_term(5, 3, fenced(6)),
        ])
        .unwrap();
    assert!(matches!(&applied.outcomes[0], Outcome::Txn(response) if response.revision == 2));
    assert_eq!(
        applied.outcomes[1],
        Outcome::Refused(Refusal::Deposed { decided: 4, current: 5 })
    );
    assert_eq!(
        applied.outcomes[2],
        Outcome::Refused(Refusal::Deposed { decided: 6, current: 5 })
    );
    assert_eq!((applied.revision, applied.changes.len()), (2, 1));
}

#[test]
fn entries_must_follow_each_other() {
    let mut machine = machine();
    machine.apply([entry(7, None), entry(8, None)]).unwrap();
    let before = machine.state().clone();
    for index in [8, 9, 11] {
        let refused = machine.apply([entry(9, Some(txn(vec![put("k", "v")]))), entry(index, None)]);
        assert!(
            matches!(refused, Err(ApplyError::OutOfOrder { after: 9, .. })),
            "{index}: {refused:?}"
        );
        assert_eq!(machine.state(), &before, "nothing of a refused chunk is applied");
    }
    assert!(
        range(&machine.storage().snapshot(), &RangeRequest::latest(KeyRange::key("k")))
            .unwrap()
            .kvs
            .is_empty()
    );
}

#[test]
fn the_hash_tells_states_apart() {
    let hash = |ops: Vec<Op>| {
        let mut machine = machine();
        machine.apply([entry(1, Some(txn(ops))), entry(2, None)]).unwrap();
        machine.hash()
    };
    assert_eq!(hash(vec![put("k", "v")]), hash(vec![put("k", "v")]));
    assert_ne!(hash(vec![put("k", "v")]), hash(vec![put("k", "w")]));
    assert_ne!(hash(vec![put("k", "v")]), hash(vec![put("kv", "")]));
    assert_ne!(hash(vec![put("k", "v")]), hash(vec![delete("k")]));
}

#[test]
fn deleting_nothing_changes_nothing() {
    let mut machine = machine();
    let applied = machine.apply([entry(1, Some(txn(vec![delete("absent")])))]).unwrap();
    assert_eq!((applied.revision, applied.changes.len()), (1, 0));
    let OpResponse::Delete { deleted: 0, prev_kvs } = (match &applied.outcomes[0] {
        Outcome::Txn(response) => response.responses[0].clone(),
        other => panic!("{other:?}"),
    }) else {
        panic!("a delete is answered as one")
    };
    assert!(prev_kvs.is_empty());
}
