//! The engine as a whole: what is durable when, and that disk and memory do the same.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use trireme_mvcc::memory::MemoryStorage;
use trireme_mvcc::range::{ReadError, range};
use trireme_mvcc::storage::Storage as _;
use trireme_mvcc::types::{KeyRange, Op, RangeRequest, Txn};

use super::home::Home;
use super::rocks::RocksStorage;
use super::{AppliedPosition, Command, Engine, EngineError, EngineOptions, Entry, Kept, conformance};

fn put_of(key: &str, value: &str) -> Command {
    let op = Op::put(key.to_owned(), value.to_owned());
    Command::Txn {
        txn: Txn {
            success: vec![op],
            ..Txn::default()
        },
        fence_term: None,
    }
}

fn entry(index: u64, command: Option<&Command>) -> Entry {
    let position = AppliedPosition {
        term: 1,
        index,
        opaque: Bytes::from(format!("log id {index}")),
    };
    Entry {
        position,
        command: command.map(Command::encode),
    }
}

/// Applies puts of the keys `k<from>`..`k<to>`, ten a chunk.
fn fill(engine: &Engine, indexes: std::ops::Range<u64>) {
    let indexes: Vec<_> = indexes.collect();
    for chunk in indexes.chunks(10) {
        let entries = chunk
            .iter()
            .map(|index| entry(*index, Some(&put_of(&format!("k{}", index % 40), "value"))));
        engine.apply_chunk(entries).unwrap();
    }
}

fn index(position: Option<AppliedPosition>) -> Option<u64> {
    position.map(|position| position.index)
}

fn open(dir: &Path) -> Engine {
    Engine::open(dir, EngineOptions::default()).unwrap()
}

fn content(engine: &Engine) -> Vec<(Bytes, i64)> {
    let all = engine.range(&RangeRequest::latest(KeyRange::prefix(""))).unwrap();
    all.kvs.into_iter().map(|kv| (kv.key, kv.mod_revision)).collect()
}

/// A copy of the files as they are at one moment: what a crash would leave. The database removes files that it no longer
/// needs in the background; a copy that ran into that is begun anew.
fn crash_copy(from: &Path, to: &Path) {
    const ATTEMPTS: usize = 100;
    for _ in 0..ATTEMPTS {
        match copy_files(from, to) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::remove_dir_all(to).unwrap(),
            Err(error) => panic!("cannot copy {}: {error}", from.display()),
        }
    }
    panic!("{} never kept still", from.display());
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for item in std::fs::read_dir(from)? {
        let item = item?;
        let target = to.join(item.file_name());
        if item.file_type()?.is_dir() {
            copy_files(&item.path(), &target)?;
        } else {
            std::fs::copy(item.path(), target)?;
        }
    }
    Ok(())
}

#[test]
fn memory_conforms() {
    conformance::run(MemoryStorage::new);
}

#[test]
fn rocksdb_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = 0;
    conformance::run(|| {
        made += 1;
        RocksStorage::open(&dir.path().join(made.to_string()), &EngineOptions::default()).unwrap()
    });
}

#[test]
fn rocksdb_conforms_with_everything_on_disk() {
    /// Flushes after each write, so that reads go through the files and their filters.
    struct Flushing(RocksStorage);
    impl trireme_mvcc::storage::Storage for Flushing {
        type Snapshot<'a> = super::rocks::RocksSnapshot<'a>;
        fn snapshot(&self) -> Self::Snapshot<'_> {
            self.0.snapshot()
        }
        fn write(&self, batch: trireme_mvcc::storage::WriteBatch) -> Result<(), super::StorageError> {
            self.0.write(batch)?;
            self.0.flush()
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut made = 0;
    conformance::run(|| {
        made += 1;
        Flushing(RocksStorage::open(&dir.path().join(made.to_string()), &EngineOptions::default()).unwrap())
    });
}

#[test]
fn disk_and_memory_do_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, memory) = (open(dir.path()), Engine::in_memory());
    for engine in [&disk, &memory] {
        fill(engine, 1..100);
        engine
            .apply_chunk([entry(100, Some(&Command::Compact { revision: 60 })), entry(101, None)])
            .unwrap();
        while engine.compact_step().unwrap() {}
        assert_eq!(engine.compacted_revision(), 60);
    }
    assert_eq!(content(&disk), content(&memory));
    assert_eq!(disk.state_hash(), memory.state_hash());
    assert_eq!(disk.state_hash().0, 101);
    let exported = |engine: &Engine| {
        let mut bytes = Vec::new();
        engine.export(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(exported(&disk), exported(&memory));
}

#[test]
fn after_a_crash_it_stands_at_a_flush_and_replay_leads_to_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir.path().join("live"));
    assert_eq!(index(engine.applied_position()), None);
    fill(&engine, 1..51);
    assert_eq!(index(engine.flushed_position()), None);
    engine.flush().unwrap();
    assert_eq!(engine.unflushed_bytes(), 0);
    fill(&engine, 51..91);
    assert!(engine.unflushed_bytes() > 0);
    assert_eq!(index(engine.flushed_position()), Some(50));

    crash_copy(&dir.path().join("live"), &dir.path().join("crashed"));
    let crashed = open(&dir.path().join("crashed"));
    let position = crashed.applied_position().unwrap();
    assert_eq!((position.index, &position.opaque[..]), (50, &b"log id 50"[..]));
    assert_eq!(index(crashed.flushed_position()), Some(50));
    fill(&crashed, 51..91);
    assert_eq!(crashed.state_hash(), engine.state_hash());
    assert_eq!(content(&crashed), content(&engine));
}

#[test]
fn a_clean_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    fill(&engine, 1..31);
    engine.flush().unwrap();
    let (hash, before) = (engine.state_hash(), content(&engine));
    drop(engine);
    let engine = open(dir.path());
    assert_eq!((engine.state_hash(), content(&engine)), (hash, before));
    assert_eq!(engine.revision(), 31);
}

#[test]
fn a_snapshot_replaces_the_state_or_leaves_it() {
    let dir = tempfile::tempdir().unwrap();
    let source = open(&dir.path().join("source"));
    fill(&source, 1..61);
    let mut bytes = Vec::new();
    let header = source.export(&mut bytes).unwrap();
    assert_eq!((index(header.position.clone()), header.revision), (Some(60), 61));

    let target_dir = dir.path().join("target");
    let target = open(&target_dir);
    fill(&target, 1..6);
    let old = content(&target);
    let cut = target.install(&mut &bytes[..bytes.len() - 1]);
    assert!(matches!(cut, Err(EngineError::Snapshot(_))), "{cut:?}");
    assert_eq!((content(&target), target.revision()), (old, 6));

    assert_eq!(target.install(&mut &bytes[..]).unwrap(), header);
    assert_eq!(content(&target), content(&source));
    assert_eq!(target.state_hash(), source.state_hash());
    assert_eq!(index(target.flushed_position()), Some(60));

    // It is durable at once, the old one is gone, and what follows goes on from it.
    crash_copy(&target_dir, &dir.path().join("crashed"));
    let crashed = open(&dir.path().join("crashed"));
    assert_eq!(crashed.state_hash(), source.state_hash());
    let states = std::fs::read_dir(&target_dir)
        .unwrap()
        .filter(|item| item.as_ref().unwrap().path().is_dir())
        .count();
    assert_eq!(states, 1);
    fill(&target, 61..71);
    fill(&source, 61..71);
    assert_eq!(target.state_hash(), source.state_hash());
    drop((target, crashed));
    Home::open(&target_dir).unwrap();
}

#[test]
fn an_entry_that_does_not_decode_is_not_skipped() {
    let engine = Engine::in_memory();
    let mut bad = entry(2, None);
    bad.command = Some(Bytes::from_static(&[99, 1, 2]));
    let refused = engine.apply_chunk([entry(1, Some(&put_of("a", "b"))), bad]);
    assert!(
        matches!(refused, Err(EngineError::Undecodable { index: 2, .. })),
        "{refused:?}"
    );
    assert_eq!((engine.revision(), index(engine.applied_position())), (1, None));
}

#[test]
fn a_list_is_counted_once() {
    let engine = Engine::in_memory();
    fill(&engine, 1..41);
    let revision = engine.revision();
    let (mut range, mut left) = (KeyRange::prefix("k"), 40);
    while left > 0 {
        let request = RangeRequest {
            limit: 7,
            revision,
            ..RangeRequest::latest(range.clone())
        };
        let remaining = RangeRequest {
            count_only: true,
            ..request.clone()
        };
        let before = engine.counts.get(&range, revision);
        assert_eq!(before.is_some(), left < 40, "only the first count walks");
        assert_eq!(engine.range(&remaining).unwrap().count, Some(left));
        let page = engine.range(&request).unwrap();
        left -= page.kvs.len() as u64;
        range.start = [&page.kvs.last().unwrap().key[..], &[0]].concat().into();
    }
    // Nothing that is known outlives its revision.
    engine
        .apply_chunk([
            entry(41, Some(&put_of("more", "v"))),
            entry(42, Some(&Command::Compact { revision: 42 })),
        ])
        .unwrap();
    let gone = RangeRequest {
        count_only: true,
        revision,
        ..RangeRequest::latest(KeyRange::prefix("k"))
    };
    assert!(matches!(engine.range(&gone), Err(ReadError::Compacted { .. })));
    let everything = RangeRequest {
        count_only: true,
        ..RangeRequest::latest(KeyRange::prefix(""))
    };
    assert_eq!(engine.range(&everything).unwrap().count, Some(41));
}

/// A thousand characters that no compression makes much smaller.
fn incompressible(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..1_000).map(|_| next()).collect()
}

#[tokio::test]
async fn space_comes_back_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(open(dir.path()));
    let mut next = 1;
    for _ in 0..150 {
        let entries: Vec<_> = (0..100)
            .map(|n| {
                next += 1;
                entry(next - 1, Some(&put_of(&format!("k{n}"), &incompressible(next))))
            })
            .collect();
        engine.apply_chunk(entries).unwrap();
    }
    engine.flush().unwrap();
    let full = engine.state_use().unwrap();
    assert_eq!((full.live_keys, full.history_revisions), (100, 15_001));
    let compact = Command::Compact {
        revision: engine.revision(),
    };
    engine.apply_chunk([entry(next, Some(&compact))]).unwrap();
    assert_eq!(engine.state_use().unwrap().unremoved_revisions, 15_001);
    while engine.remove_compacted().await.unwrap() {}
    let left = engine.state_use().unwrap();
    assert_eq!(
        (left.live_keys, left.history_revisions, left.unremoved_revisions),
        (100, 0, 0)
    );
    assert!(engine.unflushed_bytes() > 0, "the removal is to be flushed, too");
    engine.flush().unwrap();
    // RocksDB merges the files when it comes to it.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while engine.state_use().unwrap().database_bytes > full.database_bytes / 4 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", engine.state_use());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(content(&engine).len(), 100);
}

#[test]
fn a_state_in_memory_is_found_again_as_it_was_flushed() {
    let kept = Arc::new(Kept::new(|| false));
    let engine = Engine::open_kept(&kept).unwrap();
    fill(&engine, 1..21);
    engine.flush().unwrap();
    let flushed = content(&engine);
    fill(&engine, 21..41);
    let engine = Engine::open_kept(&kept).unwrap();
    assert_eq!(index(engine.applied_position()), Some(20));
    assert_eq!(index(engine.flushed_position()), Some(20));
    assert_eq!(content(&engine), flushed);

    // A state that is installed is the one that is found, at once.
    let source = Engine::in_memory();
    fill(&source, 1..61);
    let mut whole = Vec::new();
    source.export(&mut whole).unwrap();
    engine.install(&mut &whole[..]).unwrap();
    let engine = Engine::open_kept(&kept).unwrap();
    assert_eq!(index(engine.applied_position()), Some(60));

    // And one that flushes by itself is found later than it was asked to flush, at the end of a chunk.
    let kept = Arc::new(Kept::new(|| true));
    let engine = Engine::open_kept(&kept).unwrap();
    fill(&engine, 1..16);
    assert_eq!(index(Engine::open_kept(&kept).unwrap().applied_position()), Some(15));
}

#[test]
fn what_is_in_memory_is_what_the_storage_says() {
    let engine = Engine::in_memory();
    fill(&engine, 1..100);
    let delete = |key: &str| {
        let range = KeyRange::key(key.to_owned());
        Command::Txn {
            txn: Txn {
                success: vec![Op::Delete { range, prev_kv: false }],
                ..Txn::default()
            },
            fence_term: None,
        }
    };
    engine.apply_chunk([entry(100, Some(&delete("k7")))]).unwrap();
    for key in ["k0", "k7", "k39", "k40", "", "k"] {
        let one = RangeRequest::latest(KeyRange::key(key));
        let keys_only = RangeRequest {
            keys_only: true,
            ..one.clone()
        };
        let counted = RangeRequest {
            count_only: true,
            ..one.clone()
        };
        let past = RangeRequest {
            revision: 50,
            ..one.clone()
        };
        let mut filtered = one.clone();
        filtered.filter.min_mod_revision = 90;
        for request in [one, keys_only, counted, past, filtered] {
            let storage = engine.storage();
            let expected = range(&storage.snapshot(), &request).unwrap();
            assert_eq!(engine.range(&request).unwrap(), expected, "{request:?}");
        }
    }
}

/// Every change is of one key, so an answer that shows a state shows the key as of the very revision of that state.
#[test]
fn a_key_is_never_shown_beside_a_state_that_it_is_not_of() {
    const CHANGES: u64 = 4_000;
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(open(dir.path()));
    engine.apply_chunk([entry(1, Some(&put_of("k", "1")))]).unwrap();
    let first = engine.revision();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || {
                let request = RangeRequest::latest(KeyRange::key("k"));
                let (mut last, mut answers) = (first, 0_u64);
                while last < first + CHANGES.cast_signed() {
                    let answer = engine.range(&request).unwrap();
                    let shown = answer.kvs.first().unwrap().mod_revision;
                    assert_eq!(shown, answer.revision);
                    assert!(shown >= last, "{shown} was read after {last}");
                    last = shown;
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    for index in 2..2 + CHANGES {
        let value = index.to_string();
        engine.apply_chunk([entry(index, Some(&put_of("k", &value)))]).unwrap();
    }
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
}

#[test]
fn the_index_of_keys_is_there_after_a_restart_and_after_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let filled = |engine: &Engine| {
        let deadline = std::time::Duration::from_secs(30);
        let begun = tokio::time::Instant::now();
        while engine.recall().index.get(b"k1").is_none() {
            assert!(begun.elapsed() < deadline, "the index was not filled");
            std::thread::yield_now();
        }
        let mut keys = Vec::new();
        engine.recall().index.walk(&KeyRange::prefix(""), |met| {
            keys.push((Bytes::copy_from_slice(met.key), met.revision()));
            ControlFlow::Continue(())
        });
        keys
    };
    let mut snapshot = Vec::new();
    {
        let engine = open(dir.path());
        fill(&engine, 1..100);
        assert_eq!(filled(&engine), content(&engine));
        engine.export(&mut snapshot).unwrap();
        engine.flush().unwrap();
    }
    let engine = open(dir.path());
    fill(&engine, 100..150);
    assert_eq!(filled(&engine), content(&engine));
    // Read by the revision that the index knows, and then as it keeps it, each is what a search for it finds.
    for (key, _) in content(&engine) {
        let request = RangeRequest::latest(KeyRange::key(key));
        let searched = range(&engine.storage().snapshot(), &request).unwrap();
        for _ in 0..2 {
            assert_eq!(engine.range(&request).unwrap(), searched);
        }
    }
    // Back to a smaller state, which no key of the larger one may shine through.
    engine.install(&mut &snapshot[..]).unwrap();
    assert_eq!(filled(&engine), content(&engine));
    assert_eq!(content(&engine).len(), 40);
}

/// Every name that it asks the database for must be one that the database knows.
#[test]
fn an_engine_that_is_written_to_faster_than_it_writes_out_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let options = EngineOptions {
        write_buffer_bytes: 64 << 10,
        ..EngineOptions::default()
    };
    let engine = Engine::open(dir.path(), options).unwrap();
    assert!(!engine.is_behind());
    let value = "v".repeat(4 << 10);
    let behind = (1..=100_000).find(|index| {
        engine
            .apply_chunk([entry(*index, Some(&put_of("key", &value)))])
            .unwrap();
        engine.is_behind()
    });
    assert!(behind.is_some(), "400 MB went through 64 KiB and nobody ever waited");
    engine.flush().unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while engine.is_behind() {
        assert!(tokio::time::Instant::now() < deadline, "it never catches up");
        std::thread::yield_now();
    }
}
