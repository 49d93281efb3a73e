//! The stream of a whole state, by itself and in a backup.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use trireme_mvcc::compact::compact_step;
use trireme_mvcc::hash_kv::hash_kv;
use trireme_mvcc::history::{HistoryBudget, history};
use trireme_mvcc::lease;
use trireme_mvcc::machine::StateMachine;
use trireme_mvcc::memory::MemoryStorage;
use trireme_mvcc::meta::State;
use trireme_mvcc::range::range;
use trireme_mvcc::snapshot::{Exporter, Importer, SnapshotError};
use trireme_mvcc::storage::Storage;
use trireme_mvcc::types::{KeyRange, RangeRequest};
use trireme_store::fuzz as store;

use super::machine;

/// In front of the stream: whether its frames are to be given the right checksums.
const AS_IT_IS: u8 = 0;
const SEALED: u8 = 1;
/// Of the stream's format.
const MAGIC_BYTES: usize = 8;
const FRAME_HEADER_BYTES: usize = 8;
const KIND_ROWS: u8 = 2;
const KIND_TRAILER: u8 = 3;
/// The stream is imported in pieces of this many bytes, which fit no frame.
const PIECE_BYTES: usize = 7;

/// The whole stream of a state.
pub(super) fn export<S: Storage>(storage: &S) -> Vec<u8> {
    let snapshot = storage.snapshot();
    let mut exporter = Exporter::new(&snapshot).expect("the state can be read");
    let mut out = Vec::new();
    while let Some(chunk) = exporter.next_chunk().expect("the state can be read") {
        out.extend_from_slice(&chunk);
    }
    out
}

/// Fills an empty storage from a stream.
pub(super) fn import(storage: &MemoryStorage, stream: &[u8]) -> Result<(), SnapshotError> {
    let mut importer = Importer::new(storage)?;
    for piece in stream.chunks(PIECE_BYTES) {
        importer.push(piece)?;
    }
    importer.finish().map(drop)
}

/// Either the stream is refused and the storage has no state, or it gives exactly what was exported.
pub(super) fn stream(input: &[u8]) -> bool {
    let Some((mode, stream)) = input.split_first() else {
        return false;
    };
    if *mode == SEALED {
        return use_import(&sealed(stream));
    }
    let accepted = use_import(stream);
    if accepted {
        let storage = MemoryStorage::new();
        import(&storage, stream).expect("it was accepted before");
        assert_eq!(export(&storage), stream, "it is exactly what was exported");
    }
    accepted
}

/// Imports a stream and, if it is accepted, reads all that it made in every way there is. What makes no sense may be
/// refused then, but must not do harm.
fn use_import(stream: &[u8]) -> bool {
    let storage = Arc::new(MemoryStorage::new());
    if import(&storage, stream).is_err() {
        let state = State::load(&storage.snapshot()).expect("nothing was made the state");
        assert_eq!(state, State::default(), "a refused snapshot leaves no state");
        return false;
    }
    if StateMachine::open(Arc::clone(&storage)).is_err() {
        return true;
    }
    let view = storage.snapshot();
    let everything = KeyRange::prefix("");
    let _ = range(&view, &RangeRequest::latest(everything.clone()));
    let _ = history(&view, &everything, 1, i64::MAX, HistoryBudget::default());
    let _ = hash_kv(&view, 0);
    for (id, _) in lease::leases(&view).into_iter().flatten() {
        let _ = lease::attached_keys(&view, id);
    }
    // Each step gets further, whatever is there.
    while compact_step(&*storage).is_ok_and(|step| step.more) {}
    true
}

/// The stream with the right checksums, and the right trailer in place of each that it has.
fn sealed(stream: &[u8]) -> Vec<u8> {
    let Some((magic, mut rest)) = stream.split_at_checked(MAGIC_BYTES) else {
        return stream.to_vec();
    };
    let (mut out, mut digest, mut rows) = (magic.to_vec(), Sha256::new(), 0);
    while let Some((header, behind)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() {
        let [a, b, c, d, ..] = *header;
        let length = (u32::from_be_bytes([a, b, c, d]) as usize).min(behind.len());
        let (payload, behind) = behind.split_at(length);
        rest = behind;
        match payload.first() {
            Some(&KIND_TRAILER) => {
                let mut trailer = vec![KIND_TRAILER];
                push_varint(&mut trailer, rows);
                let whole = digest.clone().finalize();
                push_varint(&mut trailer, whole.len() as u64);
                trailer.extend_from_slice(&whole);
                push_frame(&mut out, &trailer);
                digest.update(&trailer);
            }
            kind => {
                if kind == Some(&KIND_ROWS) {
                    rows += slices_in(&payload[1..]) / 2;
                }
                push_frame(&mut out, payload);
                digest.update(payload);
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

fn push_frame(out: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("an input is short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(payload).to_be_bytes());
    out.extend_from_slice(payload);
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// How many slices with their lengths follow the table's tag.
fn slices_in(payload: &[u8]) -> u64 {
    let mut rest = payload.get(1..).unwrap_or_default();
    let mut slices = 0;
    while !rest.is_empty() {
        let mut length = 0_usize;
        let mut shift = 0;
        let Some(end) = rest.iter().position(|byte| {
            length |= usize::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            byte & 0x80 == 0
        }) else {
            break;
        };
        let Some(behind) = rest.get(end + 1..).and_then(|rest| rest.get(length..)) else {
            break;
        };
        rest = behind;
        slices += 1;
    }
    slices
}

/// A backup that is accepted holds a snapshot, or one that is refused by itself.
pub(super) fn backup(input: &[u8]) -> bool {
    let Some(snapshot) = store::backup(input) else {
        return false;
    };
    use_import(&snapshot);
    true
}

/// Streams of an empty state, and of one with everything in it.
fn streams() -> Vec<Vec<u8>> {
    let mut machine = StateMachine::open(Arc::new(MemoryStorage::new())).expect("an empty storage");
    let empty = export(&**machine.storage());
    machine
        .apply(machine::entries(&machine::commands()[..6]))
        .expect("memory takes all");
    vec![empty, export(&**machine.storage())]
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let streams = streams();
    let with = |mode| streams.iter().map(move |stream| [&[mode][..], stream].concat());
    with(AS_IT_IS).chain(with(SEALED)).collect()
}

pub(super) fn backup_seeds() -> Vec<Vec<u8>> {
    store::backup_seeds(&streams())
}
