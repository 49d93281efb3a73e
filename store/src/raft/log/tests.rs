//! The log across restarts and damage.

use std::os::unix::process::ExitStatusExt;

use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::types::{Command, Payload, log_id};
use super::sim_disk::SimDisk;
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

/// A log on a simulated disk that was written in many batches, and closed.
async fn written() -> Arc<SimDisk> {
    let disk = SimDisk::with_files_of(64 << 10);
    let mut log = open_on(&disk).unwrap();
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    for index in 0..=5 {
        append(&mut log, 1, index..=index).await;
    }
    log.save_vote(&Vote::new_committed(2, 1)).await.unwrap();
    append(&mut log, 2, 6..=9).await;
    log.save_committed(Some(log_id(2, 8))).await.unwrap();
    log.truncate_after(Some(log_id(2, 8))).await.unwrap();
    append(&mut log, 2, 9..=9).await;
    log.close();
    disk
}

fn open_on(disk: &Arc<SimDisk>) -> Result<LogStore, LogOpenError> {
    LogStore::open_on(disk.clone(), "simulated", TAIL_BYTES)
}

fn check_quarantined(disk: &Arc<SimDisk>, want: &str) {
    match open_on(disk) {
        Err(LogOpenError::Quarantined { what, .. }) => assert!(what.contains(want), "{what}"),
        other => panic!("{want}: {other:?}"),
    }
}

/// The frames of the first segment: where each begins, and its batch.
fn frames(disk: &SimDisk) -> Vec<(usize, u64)> {
    let bytes = disk.durable(&segment_name(1));
    let mut at = 0;
    let mut frames = Vec::new();
    while let Some(frame) = frame::read(&bytes[at..], 1) {
        frames.push((at, frame.batch));
        at += frame.len;
    }
    frames
}

/// What a log tells of itself.
async fn told(log: &mut LogStore) -> (Vec<(u64, u64)>, Option<Vote>, Option<LogId>) {
    (
        indexes(log),
        log.read_vote().await.unwrap(),
        log.get_log_state().await.unwrap().last_purged_log_id,
    )
}

#[tokio::test]
async fn every_flipped_byte_of_what_was_acknowledged_quarantines() {
    let disk = written().await;
    let frames = frames(&disk);
    let (last, mark) = *frames.last().unwrap();
    assert!(
        frames.len() > 10 && mark > 10,
        "it was written in many batches: {frames:?}"
    );
    for at in 0..last {
        let damaged = disk.copy();
        damaged.flip(&segment_name(1), at, 0x10);
        check_quarantined(&damaged, "segment 1");
    }
    // The last frame is only the mark; the log is whole without it.
    let damaged = disk.copy();
    damaged.flip(&segment_name(1), last + 3, 0x10);
    let mut log = open_on(&damaged).unwrap();
    assert_eq!(indexes(&log).len(), 10);
    append(&mut log, 2, 10..=10).await;
    log.close();
    assert_eq!(indexes(&open_on(&damaged).unwrap()).len(), 11);
}

#[tokio::test]
async fn what_does_not_fit_together_quarantines() {
    let rewritten = |content: Vec<frame::Content<'_>>| {
        let disk = SimDisk::with_files_of(64 << 10);
        let mut bytes = Vec::new();
        let checkpoint = frame::Content::Checkpoint(frame::Checkpoint::default());
        for (batch, content) in (1..).zip(std::iter::once(checkpoint).chain(content)) {
            let start = bytes.len();
            frame::write(&mut bytes, 1, batch, &content);
            frame::end_batch(&mut bytes, start);
        }
        disk.put(&segment_name(1), bytes);
        disk
    };
    let record = |term, index| record::seal(&mut entry(term, index));
    let (first, second, third) = (record(1, 0), record(2, 1), record(1, 2));
    let vote = frame::Content::Vote(Vote::new_committed(2, 1));
    let entry = |record| frame::Content::Entry(record);
    let log = open_on(&rewritten(vec![vote, entry(&first), entry(&second)])).unwrap();
    assert_eq!(indexes(&log), [(1, 0), (2, 1)]);
    check_quarantined(
        &rewritten(vec![vote, entry(&second)]),
        "entry 1 stands where entry 0 should",
    );
    check_quarantined(
        &rewritten(vec![vote, entry(&first), entry(&second), entry(&third)]),
        "entry 2 is of an older term",
    );
    check_quarantined(
        &rewritten(vec![vote, entry(&first), frame::Content::Committed(log_id(1, 7))]),
        "entries up to index 7 were committed, but the log ends at index 0",
    );
    let old_vote = frame::Content::Vote(Vote::new(1, 1));
    check_quarantined(
        &rewritten(vec![old_vote, entry(&first), entry(&second)]),
        "the log reaches term 2, but the vote is of term 1",
    );
    let mut bad = first.to_vec();
    bad[30] ^= 1;
    check_quarantined(&rewritten(vec![vote, entry(&bad)]), "checksum mismatch");
}

/// Fills more than two segments.
async fn long() -> Arc<SimDisk> {
    let disk = SimDisk::new();
    let mut log = open_on(&disk).unwrap();
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    for index in 0..10 {
        let payload = Payload::Normal(Command(Bytes::from(vec![7; 4 << 20])));
        log.blocking_append([LogEntry::new(log_id(1, index), payload)])
            .await
            .unwrap();
    }
    log.close();
    disk
}

fn segments(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| segment_number(name).is_some());
    names.sort();
    names
}

#[tokio::test]
async fn a_log_goes_over_many_segments_and_purging_frees_them() {
    let disk = long().await;
    assert!(segments(&disk).len() >= 3, "{:?}", segments(&disk));
    let mut log = open_on(&disk).unwrap();
    assert_eq!(indexes(&log).len(), 10);
    log.purge(log_id(1, 8)).await.unwrap();
    append(&mut log, 1, 10..=10).await;
    log.close();
    assert_eq!(segments(&disk).len(), 1, "{:?}", segments(&disk));
    let mut log = open_on(&disk).unwrap();
    assert_eq!(told(&mut log).await.0, [(1, 9), (1, 10)]);
    assert_eq!(log.first_index(), 9);
}

#[tokio::test]
async fn a_segment_that_is_missing_or_cut_quarantines() {
    let whole = long().await;
    let names = segments(&whole);
    for name in &names[..names.len() - 1] {
        let disk = whole.copy();
        disk.remove(name).unwrap();
        let opened = open_on(&disk);
        assert!(
            matches!(opened, Err(LogOpenError::Quarantined { .. })),
            "{name}: {opened:?}"
        );
        let disk = whole.copy();
        let mut bytes = disk.durable(name);
        let half = bytes.len() / 2;
        bytes[half..].fill(0);
        disk.put(name, bytes);
        let opened = open_on(&disk);
        assert!(
            matches!(opened, Err(LogOpenError::Quarantined { .. })),
            "{name} cut: {opened:?}"
        );
    }
}

/// One thing that consensus asks of the log.
#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    Truncate(u8),
    Purge(u8),
    Vote,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u8..5).prop_map(Step::Append),
        1 => (0u8..4).prop_map(Step::Truncate),
        1 => (0u8..6).prop_map(Step::Purge),
        1 => Just(Step::Vote),
    ];
    proptest::collection::vec(step, 1..30)
}

/// Does `step`, and waits until it is durable.
async fn take(log: &mut LogStore, step: &Step) {
    let state = log.get_log_state().await.unwrap();
    let next = next_index(state.last_log_id);
    let term = log.read_vote().await.unwrap().map_or(1, |vote| vote.leader_id.term);
    match step {
        Step::Append(count) => append(log, term, next..=next + u64::from(*count)).await,
        Step::Truncate(back) => {
            let keep = next.saturating_sub(u64::from(*back) + 1);
            let kept = log.read(.., usize::MAX).unwrap();
            let kept = kept.iter().rev().find(|entry| entry.log_id.index < keep);
            if let Some(kept) = kept.map(|entry| entry.log_id) {
                log.truncate_after(Some(kept)).await.unwrap();
            }
        }
        Step::Purge(ahead) => {
            let entries = log.read(.., usize::MAX).unwrap();
            if let Some(upto) = entries.get(usize::from(*ahead)).map(|entry| entry.log_id) {
                log.purge(upto).await.unwrap();
            }
        }
        Step::Vote => {}
    }
    // The vote waits for everything before it.
    log.save_vote(&Vote::new_committed(term + u64::from(matches!(step, Step::Vote)), 1))
        .await
        .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Power is lost at every sync: what was reported durable is there, and nothing is taken for damage.
    #[test]
    fn a_loss_of_power_loses_nothing_that_was_durable(steps in steps(), seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = SimDisk::with_files_of(8 << 10);
            let mut log = open_on(&disk).unwrap();
            log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
            for step in &steps {
                // At some moment while this step is under way the power fails, on a copy of the disk.
                let before = told(&mut log).await;
                disk.lose_power_at_next_sync(seed);
                take(&mut log, step).await;
                let after = told(&mut log).await;
                let lost = disk.taken().expect("the step was synced");
                let found = told(&mut open_on(&lost).unwrap()).await;
                let between = matches!(step, Step::Vote) || found == before || found == after || found.0 == after.0;
                prop_assert!(between, "{step:?}: {before:?}, then {after:?}, but found {found:?}");
                let now = told(&mut open_on(&disk.copy()).unwrap()).await;
                prop_assert_eq!(&now, &after);
            }
            log.close();
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_log_in_use_is_not_called_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory).unwrap();
    assert!(matches!(open(&directory), Err(LogOpenError::InUse { .. })));
    close(log);
}

/// In the environment of this test's own child, which is the process that ends.
const CHILD: &str = "TRIREME_TEST_FAILED_SYNC";

/// A second sync could report success though the kernel has dropped the pages: only a restart tells what is there.
#[tokio::test]
async fn a_failed_sync_ends_the_process_and_acknowledges_nothing() {
    if std::env::var_os(CHILD).is_some() {
        let disk = written().await;
        let mut log = open_on(&disk).unwrap();
        disk.break_syncs();
        append(&mut log, 2, 10..=10).await;
        eprintln!("acknowledged");
        std::process::exit(0);
    }
    let name = "raft::log::tests::a_failed_sync_ends_the_process_and_acknowledges_nothing";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(nix::libc::SIGABRT), "{said}");
    assert!(said.contains("failed while syncing the Raft log: "), "{said}");
    assert!(!said.contains("acknowledged"), "{said}");
}
