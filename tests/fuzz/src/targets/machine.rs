//! The state machine's encodings, and what applying them does.

use std::sync::Arc;

use bytes::Bytes;
use trireme_mvcc::alarm::{Alarm, AlarmKind, WHOLE_CLUSTER};
use trireme_mvcc::command::Command;
use trireme_mvcc::compact::compact_step;
use trireme_mvcc::hash_kv::hash_kv;
use trireme_mvcc::keys;
use trireme_mvcc::machine::{Applied, AppliedPosition, Entry, StateMachine};
use trireme_mvcc::memory::MemoryStorage;
use trireme_mvcc::meta::State;
use trireme_mvcc::outcome::{Outcome, Refusal};
use trireme_mvcc::record::Record;
use trireme_mvcc::storage::{Storage, Table, WriteBatch};
use trireme_mvcc::types::{
    Compare, CompareResult, CompareTarget, KeyRange, KeyValue, Op, OpResponse, RangeRequest, RangeResponse, Txn,
    TxnResponse,
};

use super::snapshot::{export, import};

/// Commands of one input that are applied.
const COMMANDS_MAX: usize = 64;
/// The row of the table `Meta` that holds the state.
const STATE_ROW: &[u8] = b"state";

/// What decodes means the same when it is encoded again, and its check says yes or no.
pub(super) fn command(input: &[u8]) -> bool {
    let Ok(command) = Command::decode(Bytes::copy_from_slice(input)) else {
        return false;
    };
    assert_eq!(Command::decode(command.encode()).as_ref(), Ok(&command));
    if let Ok(bytes) = command.check_and_encode() {
        assert_eq!(bytes, command.encode());
    }
    true
}

/// What decodes means the same when it is encoded again.
pub(super) fn outcome(input: &[u8]) -> bool {
    let Ok(outcome) = Outcome::decode(Bytes::copy_from_slice(input)) else {
        return false;
    };
    assert_eq!(Outcome::decode(outcome.encode()).as_ref(), Ok(&outcome));
    true
}

/// A row as a disk may give it back.
pub(super) fn stored_row(input: &[u8]) -> bool {
    let mut accepted = false;
    if let Ok(record) = Record::decode(input) {
        assert_eq!(Record::decode(&record.encode()).ok(), Some(record));
        accepted = true;
    }
    if let Ok((escaped, revision)) = keys::split_data_key(input) {
        let mut key = Vec::new();
        keys::unescape_into(escaped, &mut key);
        // Bytes that no key is escaped to may stand for one, too; it is then written in its one form.
        let again = keys::data_key(&key, revision);
        let (escaped, same) = keys::split_data_key(&again).expect("it was made of a key");
        let mut back = Vec::new();
        keys::unescape_into(escaped, &mut back);
        assert_eq!((back, same), (key, revision));
        accepted = true;
    }
    if let Ok((revision, sub)) = keys::split_event_key(input) {
        assert_eq!(keys::event_key(revision, sub), input);
        accepted = true;
    }
    if let Ok((id, key)) = keys::split_lease_key(input) {
        assert_eq!(keys::attachment_key(id, key), input);
        accepted = true;
    }
    accepted | state_row(input)
}

fn state_row(input: &[u8]) -> bool {
    let storage = MemoryStorage::new();
    let mut batch = WriteBatch::default();
    batch.put(Table::Meta, STATE_ROW.to_vec(), input.to_vec());
    storage.write(batch).expect("memory takes all");
    let Ok(state) = State::load(&storage.snapshot()) else {
        return false;
    };
    let mut batch = WriteBatch::default();
    state.store(&mut batch);
    storage.write(batch).expect("memory takes all");
    let again = State::load(&storage.snapshot()).expect("what was stored can be loaded");
    assert_eq!(again, state);
    true
}

/// Whatever decodes can be applied, on every replica with the same outcome, and leaves a state that can be read, compacted,
/// exported and taken up by another.
pub(super) fn apply(input: &[u8]) -> bool {
    let commands = commands_of(input);
    let (mut at_once, mut one_by_one) = (replica(), replica());
    let all = at_once.apply(entries(&commands)).expect("memory takes all");
    let mut singly = Vec::new();
    for entry in entries(&commands) {
        let Applied { outcomes, .. } = one_by_one.apply([entry]).expect("memory takes all");
        singly.extend(outcomes);
    }
    assert_eq!(all.outcomes, singly, "how entries are cut into chunks decides nothing");
    assert_eq!(at_once.state(), one_by_one.state());
    assert_eq!(at_once.storage().snapshot(), one_by_one.storage().snapshot());
    for outcome in &all.outcomes {
        assert_eq!(Outcome::decode(outcome.encode()).as_ref(), Ok(outcome));
    }
    let storage = at_once.storage();
    let exported = export(&**storage);
    let copy = MemoryStorage::new();
    import(&copy, &exported).expect("what was exported can be imported");
    assert_eq!(export(&copy), exported);
    let before = hash_kv(&storage.snapshot(), 0).expect("the latest revision is there");
    while compact_step(&**storage).expect("memory takes all").more {}
    let after = hash_kv(&storage.snapshot(), 0).expect("the latest revision is there");
    assert_eq!(after, before, "what compaction removes was no part of the hash");
    !commands.is_empty()
}

fn replica() -> StateMachine<MemoryStorage> {
    StateMachine::open(Arc::new(MemoryStorage::new())).expect("an empty storage")
}

/// `length (2) | command`, again and again; what does not decode is left out, as a leader leaves it out.
fn commands_of(mut rest: &[u8]) -> Vec<Command> {
    let mut commands = Vec::new();
    while let Some(([high, low], behind)) = rest.split_first_chunk::<2>()
        && commands.len() < COMMANDS_MAX
    {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (bytes, behind) = behind.split_at(length);
        commands.extend(Command::decode(Bytes::copy_from_slice(bytes)).ok());
        rest = behind;
    }
    commands
}

pub(super) fn entries(commands: &[Command]) -> impl Iterator<Item = Entry> {
    let entry = |(index, command): (u64, &Command)| Entry {
        position: AppliedPosition {
            term: 1,
            index,
            opaque: Bytes::from_static(b"membership"),
        },
        command: Some(command.clone()),
    };
    (1..).zip(commands).map(entry)
}

fn put(key: &'static str, value: &'static str, lease: i64) -> Op {
    Op::Put {
        key: key.into(),
        value: value.into(),
        lease,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: false,
    }
}

fn delete(range: KeyRange) -> Op {
    Op::Delete { range, prev_kv: true }
}

fn read(range: KeyRange) -> Op {
    Op::Range(RangeRequest {
        limit: 3,
        count_total: true,
        ..RangeRequest::latest(range)
    })
}

fn txn(success: Vec<Op>) -> Command {
    let txn = Txn {
        success,
        ..Txn::default()
    };
    Command::Txn { txn, fence_term: None }
}

/// Commands of each kind, in an order that makes sense.
pub(super) fn commands() -> Vec<Command> {
    let compares = [
        CompareTarget::Version(1),
        CompareTarget::ModRevision(2),
        CompareTarget::Lease(7),
        CompareTarget::Value("one".into()),
    ];
    let compare = |target| Compare {
        range: KeyRange::key("a"),
        result: CompareResult::Equal,
        target,
    };
    let nested = Txn {
        compares: compares.map(compare).into(),
        success: vec![put("b", "two", 0), read(KeyRange::prefix(""))],
        failure: vec![delete(KeyRange::prefix("b"))],
    };
    vec![
        Command::LeaseGrant { id: 7, ttl_s: 60 },
        txn(vec![put("a", "one", 7), put("c\0d", "", 0)]),
        Command::Txn {
            txn: Txn {
                success: vec![Op::Txn(Box::new(nested)), put("a", "three", 7)],
                ..Txn::default()
            },
            fence_term: Some(1),
        },
        Command::LeaseCheckpoint {
            entries: vec![(7, 30), (8, 1)],
            fence_term: None,
        },
        txn(vec![delete(KeyRange::key("c\0d")), read(KeyRange::prefix("a"))]),
        Command::Compact { revision: 3 },
        Command::RaiseAlarm(Alarm {
            kind: AlarmKind::NoSpace,
            member: WHOLE_CLUSTER,
            cause: "a full disk".into(),
        }),
        txn(vec![put("e", "refused", 0)]),
        Command::ClearAlarm {
            kind: AlarmKind::NoSpace,
            member: WHOLE_CLUSTER,
        },
        Command::LeaseRevoke {
            id: 7,
            fence_term: None,
        },
    ]
}

pub(super) fn command_seeds() -> Vec<Vec<u8>> {
    commands().iter().map(|command| command.encode().to_vec()).collect()
}

pub(super) fn apply_seeds() -> Vec<Vec<u8>> {
    let input = |commands: &[Command]| {
        let framed = commands.iter().flat_map(|command| {
            let bytes = command.encode();
            let length = u16::try_from(bytes.len()).expect("a seed is short").to_be_bytes();
            [&length[..], &bytes].concat()
        });
        framed.collect::<Vec<u8>>()
    };
    let all = commands();
    vec![input(&all), input(&all[..2]), input(&all[..6])]
}

pub(super) fn outcome_seeds() -> Vec<Vec<u8>> {
    let kv = KeyValue {
        key: "k".into(),
        value: "v".into(),
        create_revision: 2,
        mod_revision: 300,
        version: 4,
        lease: -5,
    };
    let range = OpResponse::Range(RangeResponse {
        kvs: vec![kv.clone()],
        more: true,
        count: Some(3),
        revision: 9,
    });
    let inner = TxnResponse {
        succeeded: false,
        responses: vec![range],
        revision: 9,
    };
    let responses = vec![
        OpResponse::Put(Some(kv.clone())),
        OpResponse::Delete {
            deleted: 1,
            prev_kvs: vec![kv],
        },
        OpResponse::Txn(inner),
    ];
    let outcomes = [
        Outcome::Txn(TxnResponse {
            succeeded: true,
            responses,
            revision: 9,
        }),
        Outcome::Compacted,
        Outcome::LeaseGranted {
            id: 7,
            ttl_s: 60,
            revision: 9,
        },
        Outcome::Refused(Refusal::Invalid("why".into())),
        Outcome::Refused(Refusal::FutureRevision {
            requested: 9,
            current: 7,
        }),
    ];
    outcomes.iter().map(|outcome| outcome.encode().to_vec()).collect()
}

pub(super) fn stored_row_seeds() -> Vec<Vec<u8>> {
    let record = Record {
        tombstone: false,
        create_revision: 2,
        version: 3,
        lease: 7,
        value: b"value",
    };
    let mut batch = WriteBatch::default();
    let mut machine = replica();
    machine.apply(entries(&commands())).expect("memory takes all");
    machine.state().store(&mut batch);
    let state = batch.writes.into_iter().filter_map(|write| match write {
        trireme_mvcc::storage::Write::Put { value, .. } => Some(value),
        _ => None,
    });
    let mut seeds = vec![
        record.encode(),
        Record::TOMBSTONE.encode(),
        keys::data_key(b"a\0b", 7),
        keys::event_key(7, 1),
        keys::attachment_key(-7, b"a"),
    ];
    seeds.extend(state);
    seeds
}
