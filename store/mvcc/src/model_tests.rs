//! The state machine against a naive reference that keeps every revision's whole content.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::check;
use crate::command::Command;
use crate::compact::{backlog, compact_step, compact_step_of};
use crate::execute::look;
use crate::hash_kv::hash_kv;
use crate::history::{HistoryBudget, history};
use crate::lease;
use crate::limits::{FEW_KEYS, KEPT_BYTES, RANGE_BYTES_MAX, TXN_ANSWER_BYTES_MAX, VALUE_BYTES_MAX};
use crate::machine::{AppliedPosition, ApplyError, Change, Entry, StateMachine};
use crate::memory::MemoryStorage;
use crate::meta::{Live, State};
use crate::outcome::{Outcome, Refusal};
use crate::range::{ReadError, range};
use crate::recall::Recall;
use crate::snapshot::{Exporter, Importer, SnapshotError};
use crate::storage::{Access, Cursor, Storage, StorageRead, Table, WriteBatch};
use crate::testing::{any_lease_command, any_range, any_request, any_txn, delete, delete_prefix, entry, put, txn};
use crate::types::{
    Compare, CompareResult, CompareTarget, Event, EventKind, KeyRange, KeyValue, Lease, LeaseChange, Op, OpResponse,
    Order, RangeRequest, RangeResponse, Revision, SortBy, Txn, TxnResponse,
};

type Content = BTreeMap<Bytes, KeyValue>;

/// The reference: contents and events of every revision there ever was.
struct Model {
    contents: Vec<Content>,
    events: Vec<Vec<Event>>,
    compacted: Revision,
    leases: BTreeMap<i64, Lease>,
}

impl Model {
    fn new() -> Self {
        // Revisions 0 and 1 are empty.
        Self {
            contents: vec![Content::new(); 2],
            events: vec![Vec::new(); 2],
            compacted: 0,
            leases: BTreeMap::new(),
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
            Command::LeaseGrant { id, .. } if self.leases.contains_key(id) => {
                Outcome::Refused(Refusal::LeaseExists { id: *id })
            }
            Command::LeaseGrant { id, ttl_s } => {
                let lease = Lease {
                    granted_ttl_s: *ttl_s,
                    remaining_ttl_s: 0,
                };
                self.leases.insert(*id, lease);
                Outcome::LeaseGranted {
                    id: *id,
                    ttl_s: *ttl_s,
                    revision: self.revision(),
                }
            }
            Command::LeaseRevoke { id, .. } if !self.leases.contains_key(id) => {
                Outcome::Refused(Refusal::LeaseNotFound { id: *id })
            }
            Command::LeaseRevoke { id, .. } => {
                let (mut content, mut events) = (self.latest().clone(), Vec::new());
                for victim in self.latest().values().filter(|kv| kv.lease == *id) {
                    self.remove(victim, &mut content, &mut events);
                }
                self.commit(content, events);
                self.leases.remove(id);
                Outcome::LeaseRevoked {
                    revision: self.revision(),
                }
            }
            Command::LeaseCheckpoint { entries, .. } => {
                for (id, remaining) in entries {
                    if let Some(lease) = self.leases.get_mut(id) {
                        lease.remaining_ttl_s = (*remaining).clamp(0, lease.granted_ttl_s);
                    }
                }
                Outcome::LeaseCheckpointed
            }
            Command::RaiseAlarm(_) | Command::ClearAlarm { .. } => panic!("the model knows no alarms"),
        }
    }

    fn remove(&self, victim: &KeyValue, content: &mut Content, events: &mut Vec<Event>) {
        content.remove(&victim.key);
        let kv = KeyValue {
            key: victim.key.clone(),
            mod_revision: self.revision() + 1,
            ..KeyValue::default()
        };
        events.push(Event {
            kind: EventKind::Delete,
            kv,
            prev_kv: Some(victim.clone()),
        });
    }

    fn commit(&mut self, content: Content, events: Vec<Event>) {
        if !events.is_empty() {
            self.contents.push(content);
            self.events.push(events);
        }
    }

    fn txn(&mut self, txn: &Txn) -> Result<TxnResponse, Refusal> {
        check::txn_shape(txn).map_err(|error| Refusal::Invalid(error.to_string()))?;
        // What is refused for its revisions is refused first.
        self.check(txn, &|op| match op {
            Op::Range(request) => self.readable(request.revision),
            _ => Ok(()),
        })?;
        self.check(txn, &|op| match op {
            Op::Put {
                key,
                lease,
                ignore_value,
                ignore_lease,
                ..
            } => {
                if (*ignore_value || *ignore_lease) && !self.latest().contains_key(key) {
                    return Err(Refusal::KeyNotFound);
                }
                if *lease != 0 && !ignore_lease && !self.leases.contains_key(lease) {
                    return Err(Refusal::LeaseNotFound { id: *lease });
                }
                Ok(())
            }
            _ => Ok(()),
        })?;
        let mut content = self.latest().clone();
        let mut events = Vec::new();
        let mut response = self.run(txn, &mut content, &mut events)?;
        if !events.is_empty() {
            let mut keys: Vec<_> = events.iter().map(|event| event.kv.key.clone()).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), events.len(), "a key changed twice in one revision");
        }
        self.commit(content, events);
        finish(&mut response, self.revision());
        Ok(response)
    }

    /// Checks each operation of the branches taken.
    fn check(&self, txn: &Txn, each: &dyn Fn(&Op) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let succeeded = txn.compares.iter().all(|compare| holds(self.latest(), compare));
        for op in if succeeded { &txn.success } else { &txn.failure } {
            match op {
                Op::Txn(nested) => self.check(nested, each)?,
                other => each(other)?,
            }
        }
        Ok(())
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
                ignore_value,
                ignore_lease,
            } => {
                let before = content.get(key).cloned();
                let (mut value, mut lease) = (value.clone(), *lease);
                if *ignore_value {
                    value = before.as_ref().unwrap().value.clone();
                }
                if *ignore_lease {
                    lease = before.as_ref().unwrap().lease;
                }
                let kv = KeyValue {
                    key: key.clone(),
                    value,
                    create_revision: before.as_ref().map_or(next, |kv| kv.create_revision),
                    mod_revision: next,
                    version: before.as_ref().map_or(0, |kv| kv.version) + 1,
                    lease,
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
                    self.remove(victim, content, events);
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

/// The transaction without what it changes.
fn reads_of(txn: &Txn) -> Txn {
    let reads = |ops: &[Op]| {
        let kept = ops.iter().filter_map(|op| match op {
            Op::Range(_) => Some(op.clone()),
            Op::Txn(nested) => Some(Op::Txn(Box::new(reads_of(nested)))),
            Op::Put { .. } | Op::Delete { .. } => None,
        });
        kept.collect()
    };
    Txn {
        compares: txn.compares.clone(),
        success: reads(&txn.success),
        failure: reads(&txn.failure),
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
    kvs.retain(|kv| request.filter.lets_through(kv.mod_revision, kv.create_revision));
    let Order { by, descending } = request.order;
    kvs.sort_by(|a, b| {
        let order = match by {
            SortBy::Key => a.key.cmp(&b.key),
            SortBy::Version => a.version.cmp(&b.version),
            SortBy::CreateRevision => a.create_revision.cmp(&b.create_revision),
            SortBy::ModRevision => a.mod_revision.cmp(&b.mod_revision),
            SortBy::Value => a.value.cmp(&b.value),
        };
        let order = if descending { order.reverse() } else { order };
        order.then(a.key.cmp(&b.key))
    });
    let passed = kvs.len();
    if request.limit > 0 {
        kvs.truncate(request.limit);
    }
    if request.keys_only && by != SortBy::Value {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    if request.bytes_max > 0 {
        let mut bytes = 0;
        let fit = kvs.iter().take_while(|kv| {
            bytes += kv.bytes();
            bytes <= request.bytes_max
        });
        let fit = fit.count().max(1);
        kvs.truncate(fit);
    }
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    let more = kvs.len() < passed;
    // An order of its own is only known once all was looked at.
    let whole = !more || request.count_total || request.order != Order::default();
    RangeResponse {
        kvs,
        more,
        count: whole.then_some(count),
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
        3 => any_lease_command(),
        1 => (0i64..25).prop_map(|revision| Command::Compact { revision }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![9 => any_command().prop_map(Step::Apply), 1 => (1usize..4).prop_map(Step::Remove)]
}

fn machine() -> StateMachine<MemoryStorage> {
    StateMachine::open(Arc::new(MemoryStorage::new())).unwrap()
}

/// One whose index is not filled, so that it asks the storage for every range.
fn machine_without_index() -> StateMachine<MemoryStorage> {
    let recall = Arc::new(Recall::new(KEPT_BYTES));
    StateMachine::open_with(Arc::new(MemoryStorage::new()), recall).unwrap()
}

fn as_refusal(error: ReadError) -> Refusal {
    match error {
        ReadError::Compacted { requested, oldest } => Refusal::Compacted { requested, oldest },
        ReadError::FutureRevision { requested, current } => Refusal::FutureRevision { requested, current },
        ReadError::TooLarge { max } => panic!("an answer of more than {max} bytes"),
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
        has_index in any::<bool>(),
    ) {
        let mut machine = if has_index { machine() } else { machine_without_index() };
        let mut model = Model::new();
        let mut index = 0;
        for step in steps {
            match step {
                Step::Remove(events) => {
                    compact_step_of(&**machine.storage(), events).unwrap();
                }
                Step::Apply(command) => {
                    index += 1;
                    if let Command::Txn { txn, .. } = &command {
                        let txn = reads_of(txn);
                        prop_assert!(txn.is_read_only());
                        prop_assert_eq!(look(&machine.storage().snapshot(), &txn).unwrap(), model.txn(&txn));
                    }
                    let before = model.revision();
                    let expected = model.apply(&command);
                    let applied = machine.apply([entry(index, Some(command))]).unwrap();
                    prop_assert_eq!(&applied.outcomes, &[expected]);
                    prop_assert_eq!(applied.revision, model.revision());
                    prop_assert_eq!(applied.compacted, model.compacted);
                    prop_assert_eq!(applied.changes, model.history(&KeyRange::prefix(""), before + 1));
                    let changed: BTreeMap<_, _> = applied.lease_changes.into_iter().map(|change| match change {
                        LeaseChange::Set { id, lease, .. } => (id, Some(lease)),
                        LeaseChange::Revoked { id } => (id, None),
                    }).collect();
                    for (id, lease) in changed {
                        prop_assert_eq!(model.leases.get(&id).copied(), lease);
                    }
                }
            }
            let snapshot = machine.storage().snapshot();
            let leases: Vec<_> = model.leases.iter().map(|(id, lease)| (*id, *lease)).collect();
            prop_assert_eq!(lease::leases(&snapshot).unwrap(), leases);
            for id in [-1, 1, 2] {
                let keys: Vec<_> = model.latest().values().filter(|kv| kv.lease == id).map(|kv| kv.key.clone()).collect();
                prop_assert_eq!(lease::attached_keys(&snapshot, id).unwrap(), keys);
            }
            let mut live = Live::default();
            model.latest().values().for_each(|kv| live.add(&kv.key, &kv.value));
            prop_assert_eq!(machine.state().live, Some(live));
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

    /// The hash over the content is the same wherever physical compaction has come to, and tells contents apart.
    #[test]
    fn the_hash_over_the_content_does_not_see_physical_compaction(
        commands in vec(any_command(), 1..30), part in 1usize..5, at in any::<prop::sample::Index>(),
    ) {
        let (mut one, mut model) = (machine(), Model::new());
        for (index, command) in (1..).zip(commands) {
            model.apply(&command);
            one.apply([entry(index, Some(command))]).unwrap();
        }
        let storage = one.storage();
        let first = model.compacted.max(1);
        let revision = first + at.index((model.revision() - first + 1) as usize) as Revision;
        let expected = hash_kv(&storage.snapshot(), revision).unwrap();
        prop_assert_eq!((expected.hash_revision, expected.compact_revision), (revision, model.compacted));
        loop {
            let more = compact_step_of(&**storage, part).unwrap().more;
            prop_assert_eq!(hash_kv(&storage.snapshot(), revision).unwrap(), expected);
            if !more {
                break;
            }
        }
        let latest = hash_kv(&storage.snapshot(), 0).unwrap();
        prop_assert_eq!(latest.hash_revision, model.revision());
        let next = one.hash().0 + 1;
        one.apply([entry(next, Some(txn(vec![put("hash", "v")])))]).unwrap();
        prop_assert_eq!(hash_kv(&one.storage().snapshot(), revision).unwrap(), expected, "later changes do not matter");
        prop_assert_ne!(hash_kv(&one.storage().snapshot(), 0).unwrap().hash, latest.hash);
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

#[test]
fn a_lease_takes_its_keys_along_in_one_revision() {
    let mut machine = machine();
    let attached = |key: &str, lease| Op::Put {
        key: key.to_owned().into(),
        value: "v".into(),
        lease,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    };
    // All of it in one chunk: what earlier entries did to leases counts for the later ones.
    let applied = machine
        .apply([
            entry(1, Some(txn(vec![attached("early", 7)]))),
            entry(2, Some(Command::LeaseGrant { id: 7, ttl_s: 60 })),
            entry(3, Some(txn(vec![attached("a", 7), attached("b", 7), attached("c", 7)]))),
            entry(4, Some(txn(vec![attached("b", 0)]))),
            entry(5, Some(txn(vec![delete("c"), attached("d", 7)]))),
            entry(
                6,
                Some(Command::LeaseRevoke {
                    id: 7,
                    fence_term: None,
                }),
            ),
            entry(
                7,
                Some(Command::LeaseRevoke {
                    id: 7,
                    fence_term: None,
                }),
            ),
            entry(8, Some(txn(vec![attached("late", 7)]))),
        ])
        .unwrap();
    let missing = Outcome::Refused(Refusal::LeaseNotFound { id: 7 });
    assert_eq!(applied.outcomes[0], missing);
    assert_eq!(applied.outcomes[5], Outcome::LeaseRevoked { revision: 5 });
    assert_eq!(applied.outcomes[6..], [missing.clone(), missing]);
    let gone: Vec<_> = applied.changes[3]
        .events
        .iter()
        .map(|event| (event.kind, &event.kv.key[..]))
        .collect();
    assert_eq!(gone, [(EventKind::Delete, &b"a"[..]), (EventKind::Delete, b"d")]);
    let left = range(
        &machine.storage().snapshot(),
        &RangeRequest::latest(KeyRange::prefix("")),
    )
    .unwrap();
    assert_eq!(left.kvs.iter().map(|kv| &kv.key[..]).collect::<Vec<_>>(), [b"b"]);
}

#[test]
fn a_fence_holds_back_revocations_and_checkpoints_of_other_terms() {
    let mut machine = machine();
    let (past, now) = (Some(0), Some(1));
    let applied = machine
        .apply([
            entry(1, Some(Command::LeaseGrant { id: 7, ttl_s: 60 })),
            entry(
                2,
                Some(Command::LeaseRevoke {
                    id: 7,
                    fence_term: past,
                }),
            ),
            entry(
                3,
                Some(Command::LeaseCheckpoint {
                    entries: vec![(7, 20)],
                    fence_term: past,
                }),
            ),
            entry(
                4,
                Some(Command::LeaseCheckpoint {
                    entries: vec![(7, 30), (8, 1)],
                    fence_term: now,
                }),
            ),
        ])
        .unwrap();
    let deposed = Outcome::Refused(Refusal::Deposed { decided: 0, current: 1 });
    assert_eq!(
        applied.outcomes[1..],
        [deposed.clone(), deposed, Outcome::LeaseCheckpointed]
    );
    let lease = lease::lease(&machine.storage().snapshot(), 7).unwrap().unwrap();
    assert_eq!((lease.granted_ttl_s, lease.remaining_ttl_s), (60, 30));
}

#[test]
fn a_transaction_that_would_answer_too_much_leaves_no_trace() {
    let mut machine = machine();
    let value = "x".repeat(VALUE_BYTES_MAX);
    let keys: Vec<String> = (0..=TXN_ANSWER_BYTES_MAX / VALUE_BYTES_MAX)
        .map(|n| format!("big/{n}"))
        .collect();
    for (index, key) in (1..).zip(&keys) {
        machine
            .apply([entry(index, Some(txn(vec![put(key, &value)])))])
            .unwrap();
    }
    let next = keys.len() as u64 + 1;
    machine
        .apply([entry(next, Some(Command::LeaseGrant { id: 7, ttl_s: 60 }))])
        .unwrap();
    let (revision, live) = (machine.state().revision, machine.state().live);
    let read_all = Op::Range(RangeRequest::latest(KeyRange::prefix("big/")));
    let attached = Op::Put {
        key: "small".into(),
        value: "v".into(),
        lease: 7,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    };
    let too_much = |reads: Vec<Op>| txn([vec![attached.clone(), delete("big/0")], reads].concat());
    let applied = machine
        .apply([
            entry(next + 1, Some(too_much(vec![read_all.clone(), read_all]))),
            entry(next + 2, Some(too_much(vec![delete_prefix("big/")]))),
            entry(
                next + 3,
                Some(Command::LeaseRevoke {
                    id: 7,
                    fence_term: None,
                }),
            ),
        ])
        .unwrap();
    for outcome in &applied.outcomes[..2] {
        assert!(matches!(outcome, Outcome::Refused(Refusal::Invalid(_))), "{outcome:?}");
    }
    assert_eq!(applied.outcomes[2], Outcome::LeaseRevoked { revision });
    assert_eq!((applied.revision, applied.changes.len()), (revision, 0));
    assert_eq!(machine.state().live, live);
    let snapshot = machine.storage().snapshot();
    assert!(lease::attached_keys(&snapshot, 7).unwrap().is_empty());
    let kept = range(
        &snapshot,
        &RangeRequest {
            keys_only: true,
            ..RangeRequest::latest(KeyRange::prefix(""))
        },
    )
    .unwrap();
    assert_eq!(kept.kvs.len(), keys.len());
    assert!(kept.kvs.iter().all(|kv| kv.key.starts_with(b"big/") && kv.version == 1));
}

#[test]
fn an_answer_without_a_bound_of_its_own_is_refused_beyond_ours() {
    let mut machine = machine();
    let value = "x".repeat(VALUE_BYTES_MAX);
    let count = RANGE_BYTES_MAX / VALUE_BYTES_MAX + 2;
    for index in 1..=count as u64 {
        machine
            .apply([entry(index, Some(txn(vec![put(&index.to_string(), &value)])))])
            .unwrap();
    }
    let snapshot = machine.storage().snapshot();
    let all = || RangeRequest::latest(KeyRange::prefix(""));
    let by_version = || Order {
        by: SortBy::Version,
        descending: true,
    };
    for request in [
        all(),
        RangeRequest {
            order: by_version(),
            ..all()
        },
    ] {
        assert!(matches!(range(&snapshot, &request), Err(ReadError::TooLarge { .. })));
        // Whoever sets a bound can tell that it was cut.
        let bounded = RangeRequest {
            bytes_max: usize::MAX,
            ..request.clone()
        };
        let cut = range(&snapshot, &bounded).unwrap();
        assert!(cut.more && cut.kvs.len() < count);
        let few = RangeRequest {
            limit: 2,
            ..request.clone()
        };
        assert_eq!(range(&snapshot, &few).unwrap().kvs.len(), 2);
        let names = RangeRequest {
            keys_only: true,
            ..request
        };
        assert_eq!(range(&snapshot, &names).unwrap().kvs.len(), count);
    }
}

/// Around the number of keys up to which a range is looked at key by key, of keys that were stored and keys of the same chunk.
#[test]
fn ranges_of_few_keys_and_of_more_are_the_same() {
    for (stored, written) in [
        (0, 0),
        (FEW_KEYS, 1),
        (FEW_KEYS, FEW_KEYS),
        (FEW_KEYS + 1, 0),
        (1, FEW_KEYS + 1),
    ] {
        let key = |number: usize| format!("k{number:03}");
        let mut machine = machine();
        let before = (0..stored).map(|number| put(&key(number), "a")).collect();
        machine.apply([entry(1, Some(txn(before)))]).unwrap();
        // Every second of them anew, and as many others.
        let more = (0..written).map(|number| put(&key(number * 2 + 1), "b")).collect();
        let entries = [entry(2, Some(txn(more))), entry(3, Some(txn(vec![delete_prefix("k")])))];
        let applied = machine.apply(entries).unwrap();
        let keys: std::collections::BTreeSet<_> =
            (0..stored).chain((0..written).map(|number| number * 2 + 1)).collect();
        let deleted: Vec<_> = applied
            .changes
            .last()
            .map(|change| change.events.iter().map(|event| event.kv.key.clone()).collect())
            .unwrap_or_default();
        let expected: Vec<_> = keys.into_iter().map(|number| Bytes::from(key(number))).collect();
        assert_eq!(deleted, expected, "{stored} stored, {written} written");
    }
}

#[test]
fn a_large_revision_is_compacted_in_steps() {
    let mut machine = machine();
    let many = |from: usize| (from..from + 20).map(|n| put(&n.to_string(), "v")).collect::<Vec<_>>();
    machine
        .apply([
            entry(1, Some(txn(many(0)))),
            entry(2, Some(txn(many(0)))),
            entry(3, Some(txn(many(0)))),
        ])
        .unwrap();
    machine
        .apply([entry(4, Some(Command::Compact { revision: 4 }))])
        .unwrap();
    let mut steps = 0;
    while compact_step_of(&**machine.storage(), 3).unwrap().more {
        steps += 1;
        assert!(steps < 100, "every step makes progress");
    }
    assert!(steps > 10, "{steps}");
    assert_eq!(backlog(&machine.storage().snapshot()).unwrap(), 0);
}

#[test]
fn a_state_of_the_first_release_is_counted() {
    let mut one = machine();
    one.apply([
        entry(1, Some(txn(vec![put("a", "1"), put("b", "22")]))),
        entry(2, Some(txn(vec![delete("a")]))),
    ])
    .unwrap();
    let uncounted = State {
        live: None,
        ..one.state().clone()
    };
    let mut batch = WriteBatch::default();
    uncounted.store(&mut batch);
    one.storage().write(batch).unwrap();
    let again = StateMachine::open(Arc::clone(one.storage())).unwrap();
    assert_eq!(again.state(), one.state());
}

#[test]
fn a_lease_without_an_id_gets_one_that_is_free() {
    let mut machine = machine();
    let taken = (1 << 62) | 3;
    let grant = |id| Some(Command::LeaseGrant { id, ttl_s: 60 });
    let applied = machine
        .apply([
            entry(1, grant(taken)),
            entry(2, grant(0)),
            entry(3, grant(0)),
            entry(4, grant(0)),
        ])
        .unwrap();
    let ids: Vec<_> = applied
        .outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::LeaseGranted { id, .. } => *id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [taken, taken - 1, taken + 1, taken + 2]);
}
