//! The log across restarts and damage.

use std::fs;
use std::path::Path;

use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use tempfile::TempDir;

use super::super::types::{Command, Payload, log_id};
use super::*;

const TAIL_BYTES: usize = 1 << 20;

fn entry(term: u64, index: u64) -> LogEntry {
    let command = format!("command {index} of term {term}, and some more to have a record of a realistic size");
    LogEntry::new(log_id(term, index), Payload::Normal(Command(command.into())))
}

async fn append(log: &mut LogStore, term: u64, indexes: std::ops::RangeInclusive<u64>) {
    log.blocking_append(indexes.map(|index| entry(term, index)))
        .await
        .unwrap();
}

fn indexes(log: &LogStore) -> Vec<(u64, u64)> {
    let entries = log.read(.., usize::MAX).unwrap();
    entries
        .iter()
        .map(|entry| (entry.log_id.leader_id.term, entry.log_id.index))
        .collect()
}

fn open(directory: &TempDir) -> Result<LogStore, LogOpenError> {
    LogStore::open(directory.path(), TAIL_BYTES)
}

/// Closes the log so that all files are free, as a killed process would leave them.
fn close(log: LogStore) {
    log.close();
    assert_eq!(Arc::strong_count(&log.db), 1, "nothing else holds the database");
    drop(log);
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(&directory).unwrap();
    log.save_vote(&Vote::new_committed(3, 2)).await.unwrap();
    append(&mut log, 1, 0..=9).await;
    log.truncate_after(Some(log_id(1, 7))).await.unwrap();
    append(&mut log, 3, 8..=12).await;
    log.purge(log_id(1, 2)).await.unwrap();
    log.save_committed(Some(log_id(3, 11))).await.unwrap();
    let want = indexes(&log);
    assert_eq!(want.first(), Some(&(1, 3)));
    assert_eq!(want.last(), Some(&(3, 12)));
    close(log);

    let mut log = open(&directory).unwrap();
    assert_eq!(indexes(&log), want);
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(3, 2)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(3, 11)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(log_id(1, 2)), Some(log_id(3, 12)))
    );
    close(log);
}

#[tokio::test]
async fn an_overwritten_tail_reads_as_it_was_written_last() {
    let directory = tempfile::tempdir().unwrap();
    // With no room for a tail, every durable entry is read from disk.
    let mut log = LogStore::open(directory.path(), 0).unwrap();
    append(&mut log, 1, 0..=2_999).await;
    // More than the bound of point deletions, so that the range deletion is met, too.
    log.truncate_after(Some(log_id(1, 9))).await.unwrap();
    assert_eq!(indexes(&log).len(), 10);
    append(&mut log, 2, 10..=20).await;
    let want: Vec<(u64, u64)> = (0..=20).map(|index| (if index < 10 { 1 } else { 2 }, index)).collect();
    assert_eq!(indexes(&log), want);
    close(log);
    assert_eq!(indexes(&open(&directory).unwrap()), want);
}

#[tokio::test]
async fn a_read_is_bounded_by_bytes_but_gives_at_least_one_entry() {
    let directory = tempfile::tempdir().unwrap();
    for tail_bytes in [0, TAIL_BYTES] {
        let path = directory.path().join(tail_bytes.to_string());
        let mut log = LogStore::open(&path, tail_bytes).unwrap();
        append(&mut log, 1, 0..=99).await;
        let size = size(&log.read(0..1, 0).unwrap()[0]);
        assert_eq!(log.read(5..50, 0).unwrap().len(), 1);
        assert_eq!(log.read(5..50, size * 10 + size / 2).unwrap().len(), 10);
        assert_eq!(log.read(5..50, usize::MAX).unwrap().len(), 45);
        close(log);
    }
}

#[tokio::test]
async fn appends_that_wait_for_the_disk_share_a_sync() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(&directory).unwrap();
    let before = log.counters().read();
    let mut waiting = Vec::new();
    for index in 0..2_000 {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let callback = IOFlushed::signal(openraft_oneshot(sender));
        log.append([entry(1, index)], callback).await.unwrap();
        waiting.push(receiver);
    }
    for receiver in waiting {
        receiver.await.unwrap().unwrap();
    }
    let after = log.counters().read();
    assert_eq!(after.entries - before.entries, 2_000);
    // Appending does not wait, so far fewer syncs than entries were made, whatever the disk's speed.
    assert!(
        after.syncs - before.syncs < 1_000,
        "{} syncs",
        after.syncs - before.syncs
    );
    close(log);
}

fn openraft_oneshot(
    sender: tokio::sync::oneshot::Sender<Result<(), io::Error>>,
) -> openraft::alias::OneshotSenderOf<TypeConfig, Result<(), io::Error>> {
    use openraft::type_config::TypeConfigExt;
    let (bridge, receiver) = TypeConfig::oneshot();
    tokio::spawn(async move {
        if let Ok(result) = receiver.await {
            let _ = sender.send(result);
        }
    });
    bridge
}

/// Makes a log, changes one value in its database, and expects the opening to say `want`.
async fn check_damage(damage: impl Fn(&DB), want: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(&directory).unwrap();
    log.save_vote(&Vote::new_committed(2, 1)).await.unwrap();
    append(&mut log, 1, 0..=5).await;
    append(&mut log, 2, 6..=9).await;
    log.save_committed(Some(log_id(2, 8))).await.unwrap();
    close(log);
    {
        let db = DB::open_default(directory.path()).unwrap();
        damage(&db);
    }
    match open(&directory) {
        Err(LogOpenError::Quarantined { what, .. }) => assert!(what.contains(want), "{what}"),
        other => panic!("{want}: {other:?}"),
    }
}

#[tokio::test]
async fn damage_that_may_have_been_acknowledged_quarantines() {
    let flip = |db: &DB, key: &[u8]| {
        let mut value = db.get(key).unwrap().unwrap();
        let middle = value.len() / 2;
        value[middle] ^= 0x10;
        db.put(key, value).unwrap();
    };
    check_damage(|db| flip(db, &entry_key(4)), "entry 4: checksum mismatch").await;
    check_damage(|db| flip(db, &schema::Meta::Vote.key()), "the vote cannot be read").await;
    check_damage(
        |db| flip(db, &schema::Meta::Committed.key()),
        "the commit position cannot be read",
    )
    .await;
    check_damage(|db| db.delete(entry_key(4)).unwrap(), "entry 4 is missing").await;
    check_damage(|db| db.delete(entry_key(0)).unwrap(), "entry 0 is missing").await;
    let lose_end = |db: &DB| {
        db.delete(entry_key(8)).unwrap();
        db.delete(entry_key(9)).unwrap();
    };
    check_damage(
        lose_end,
        "entries up to index 8 were committed, but the log ends at index 7",
    )
    .await;
    check_damage(
        |db| {
            let other = db.get(entry_key(3)).unwrap().unwrap();
            db.put(entry_key(4), other).unwrap();
        },
        "entry 4 says that it is entry 3",
    )
    .await;
    check_damage(
        |db| {
            let mut old = entry(1, 9);
            db.put(entry_key(9), record::seal(&mut old)).unwrap();
        },
        "entry 9 is of an older term",
    )
    .await;
    check_damage(
        |db| {
            db.put(schema::Meta::Vote.key(), schema::encode_vote(&Vote::new(1, 1)))
                .unwrap();
        },
        "the log reaches term 2, but the vote is of term 1",
    )
    .await;
}

fn wal_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .collect();
    files.sort();
    files
}

/// A log whose entries are all still in RocksDB's own log, as after a kill.
async fn killed_log() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(&directory).unwrap();
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    for index in 0..20 {
        append(&mut log, 1, index..=index).await;
    }
    // The files as they are now, elsewhere: closing the database might tidy them up.
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "LOCK" {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    close(log);
    let wal = wal_files(copy.path()).pop().unwrap();
    (copy, wal)
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_the_log_goes_on() {
    for torn_bytes in [1, 7, 50] {
        let (directory, wal) = killed_log().await;
        let length = fs::metadata(&wal).unwrap().len();
        fs::OpenOptions::new()
            .write(true)
            .open(&wal)
            .unwrap()
            .set_len(length - torn_bytes)
            .unwrap();
        let mut log = open(&directory).unwrap();
        assert_eq!(indexes(&log).len(), 19, "only the entry whose write was torn is gone");
        append(&mut log, 1, 19..=19).await;
        close(log);
        assert_eq!(indexes(&open(&directory).unwrap()).len(), 20);
    }
}

#[tokio::test]
async fn a_flipped_bit_before_the_end_quarantines() {
    let (directory, wal) = killed_log().await;
    let mut bytes = fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x04;
    fs::write(&wal, bytes).unwrap();
    let opened = open(&directory);
    assert!(matches!(opened, Err(LogOpenError::Quarantined { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_log_in_use_is_not_called_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory).unwrap();
    assert!(matches!(open(&directory), Err(LogOpenError::InUse { .. })));
    close(log);
}
