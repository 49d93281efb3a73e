//! Three stores together, and what goes wrong with one or all of them: damage, divergence, full disks, lost quorums, moves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use support::{Cluster, count, get, put, read, write, write_fenced};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use trireme_store::engine::{AppliedPosition, Command, Engine, EngineOptions, Entry};
use trireme_store::kv::{Consistency, KeyRange, Kv, KvError, Op, RangeRequest, Txn, WatchRequest};
use trireme_store::{
    Alarm, AlarmKind, BackupError, BackupFile, ConnectError, MemberNode, MembershipError, OpenError, PeerConnector,
    PlainConnector, RecoverError, RestoreError, Sizes, SpaceLimits, Store, StoreConfig, WHOLE_CLUSTER, inspect,
    recover, restore, tune,
};

fn data_dir(cluster: &Cluster, id: u64) -> PathBuf {
    cluster.config(id).data_dir
}

/// Flips one bit in the middle of what the server's log has written.
fn damage_log(directory: &Path) {
    let log = directory.join("raft-log");
    let mut segments: Vec<PathBuf> = std::fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .collect();
    segments.sort();
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[written / 2] ^= 0x10;
    std::fs::write(&segments[0], bytes).unwrap();
}

/// Flips one bit in the middle of the largest file of the server's state.
fn damage_state(directory: &Path) {
    let files = std::fs::read_dir(directory.join("state/state-1")).unwrap();
    let tables = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    let largest = tables
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    // Near its beginning: behind that come the parts that are read when the file is opened.
    let at = bytes.len() / 8;
    bytes[at] ^= 0x10;
    std::fs::write(largest, bytes).unwrap();
}

fn alarms(store: &Store, kind: AlarmKind) -> Vec<u64> {
    let alarms = store.alarms();
    alarms
        .iter()
        .filter(|alarm| alarm.kind == kind)
        .map(|alarm| alarm.member)
        .collect()
}

async fn fill(store: &Store, prefix: &str, keys: u32) {
    for number in 0..keys {
        write(store, put(&format!("{prefix}{number}"), "value")).await;
    }
}

fn delete(key: &str) -> Txn {
    Txn {
        success: vec![Op::Delete {
            range: KeyRange::key(key.to_owned()),
            prev_kv: false,
        }],
        ..Txn::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_server_takes_no_part_and_the_other_two_go_on_and_know_why() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.store(1), "/k/", 50).await;
    cluster.wait_until_equal().await;
    let leader = cluster.wait_for_leader().await;
    let victim = cluster.follower(leader);
    cluster.stop(victim).await;
    let directory = data_dir(&cluster, victim);
    let intact = std::fs::read_dir(directory.join("raft-log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect::<Vec<_>>();
    damage_log(&directory);
    let refused = cluster.restart_as(victim, |_| {}).await.unwrap_err();
    let OpenError::Quarantined { cause } = refused else {
        panic!("{refused}");
    };
    assert!(cause.contains("its log is damaged"), "{cause}");

    // Once in quarantine, always: whoever mends the file cannot know what else it has forgotten.
    for (path, bytes) in intact {
        std::fs::write(path, bytes).unwrap();
    }
    let again = cluster.restart_as(victim, |_| {}).await.unwrap_err();
    assert_eq!(again.to_string(), format!("this server is quarantined: {cause}"));

    let telling = cluster.host_quarantined(victim, &cause).await;
    write(&cluster.store(leader), put("/after", "x")).await;
    cluster
        .wait("all others know", |cluster| {
            cluster.servers.values().all(|server| {
                server
                    .store
                    .alarms()
                    .iter()
                    .any(|alarm| alarm.member == victim && alarm.cause == cause)
            })
        })
        .await;
    write(&cluster.store(leader), put("/with-alarm", "x")).await;

    cluster.store(leader).remove(victim).await.unwrap();
    cluster
        .wait("the alarm ends with the membership", |cluster| {
            cluster.servers.values().all(|server| server.store.alarms().is_empty())
        })
        .await;
    telling.abort();
    let newcomer = cluster.join().await;
    assert!(newcomer > 3);
    cluster.store(leader).promote(newcomer).await.unwrap();
    assert_eq!(count(&cluster.store(newcomer), "/k/").await, 50);
    cluster.wait_until_equal().await;
}

/// Applies a write to the state of a stopped server that nobody else has, in the place of the entry that comes next.
fn diverge(directory: &Path) {
    let engine = Engine::open(&directory.join("state"), EngineOptions::default()).unwrap();
    let at = engine.applied_position().unwrap();
    let command = Command::Txn {
        txn: put("/diverged", "here alone"),
        fence_term: None,
    };
    let position = AppliedPosition {
        index: at.index + 1,
        ..at
    };
    let command = Some(command.check_and_encode().unwrap());
    engine.apply_chunk([Entry { position, command }]).unwrap();
    engine.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_odd_one_out_is_quarantined_and_the_other_two_go_on() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.store(1), "/k/", 10).await;
    cluster.wait_until_equal().await;
    let leader = cluster.wait_for_leader().await;
    let victim = cluster.follower(leader);
    cluster.stop(victim).await;
    diverge(&data_dir(&cluster, victim));
    write(&cluster.store(leader), put("/instead", "x")).await;
    cluster.restart(victim).await;
    fill(&cluster.store(leader), "/more/", 10).await;
    cluster
        .wait("the odd one is found", |cluster| {
            cluster.store(victim).quarantined().is_some()
        })
        .await;
    let store = cluster.store(victim);
    let cause = store.quarantined().unwrap();
    assert!(cause.contains("not the one that the majority has"), "{cause}");
    assert!(store.stopped().await.contains("quarantined"));
    let request = RangeRequest::latest(KeyRange::key("/diverged"));
    for consistency in [Consistency::Linearizable, Consistency::Serializable] {
        let read = store.range(request.clone(), consistency).await;
        assert!(matches!(read, Err(KvError::Stopped(_))), "{read:?}");
    }
    cluster
        .wait("the others know", |cluster| {
            alarms(&cluster.store(leader), AlarmKind::Corrupt) == [victim]
        })
        .await;
    write(&cluster.store(leader), put("/two-of-three", "x")).await;
    assert_eq!(get(&cluster.store(leader), "/diverged").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_different_states_stop_all_writes() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.store(1), "/k/", 10).await;
    let store = cluster.store(cluster.wait_for_leader().await);
    // As if the watchman had found no majority.
    let alarm = Alarm {
        kind: AlarmKind::Corrupt,
        member: WHOLE_CLUSTER,
        cause: "a test".into(),
    };
    assert_eq!(store.set_alarm(alarm.clone()).await, Ok(true));
    assert_eq!(store.set_alarm(alarm.clone()).await, Ok(false));
    assert_eq!(store.alarms(), [alarm]);
    for txn in [put("/k/1", "x"), delete("/k/1")] {
        assert_eq!(write_fenced(&store, txn, None).await.unwrap_err(), KvError::Corrupt);
    }
    assert_eq!(get(&store, "/k/1").await, Some("value".into()));
    drop(store);
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    for id in 1..=3 {
        cluster.restart(id).await;
    }
    let store = cluster.store(cluster.wait_for_leader().await);
    assert_eq!(
        alarms(&store, AlarmKind::Corrupt),
        [WHOLE_CLUSTER],
        "it outlives restarts"
    );
    assert_eq!(store.clear_alarm(AlarmKind::Corrupt, WHOLE_CLUSTER).await, Ok(true));
    write(&store, put("/k/1", "x")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_refuses_what_takes_space_until_there_is_room_again() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.store(1), "/k/", 10).await;
    let leader = cluster.wait_for_leader().await;
    let full = cluster.follower(leader);
    cluster.stop(full).await;
    let tight = SpaceLimits {
        reserve_bytes: 0,
        low_bytes: u64::MAX,
        critical_bytes: 0,
    };
    cluster.restart_as(full, |config| config.space = tight).await.unwrap();
    cluster
        .wait("the alarm", |cluster| {
            alarms(&cluster.store(leader), AlarmKind::NoSpace) == [full]
        })
        .await;
    let store = cluster.store(leader);
    assert!(cluster.store(full).space().low);
    assert_eq!(
        write_fenced(&store, put("/k/new", "x"), None).await.unwrap_err(),
        KvError::NoSpace
    );
    write(&store, delete("/k/3")).await;
    assert_eq!(get(&store, "/k/3").await, None);
    store.compact(store.applied_revision()).await.unwrap();
    // The way out stays open: servers can still be replaced.
    store.allocate_server_id().await.unwrap();

    cluster.stop(full).await;
    cluster.restart(full).await;
    cluster
        .wait("the alarm ends", |cluster| {
            cluster.servers.values().all(|server| server.store.alarms().is_empty())
        })
        .await;
    write(&store, put("/k/new", "x")).await;
    cluster.wait_until_equal().await;
}

async fn save_backup(store: &Store, path: &Path) -> i64 {
    let backup = store.backup().await.unwrap();
    let revision = backup.header.revision;
    let pieces: Vec<Bytes> = backup.stream.map(Result::unwrap).collect().await;
    std::fs::write(path, pieces.concat()).unwrap();
    revision
}

fn node_of(cluster: &Cluster, id: u64) -> MemberNode {
    cluster.config(id).node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_any_server_made_while_writing_goes_on_becomes_a_new_cluster() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let follower = cluster.follower(leader);
    fill(&cluster.store(leader), "/k/", 200).await;
    cluster.wait_until_equal().await;
    let writer = {
        let store = cluster.store(leader);
        tokio::spawn(async move { fill(&store, "/later/", 100).await })
    };
    let path = cluster.directory.path().join("backup");
    let revision = save_backup(&cluster.store(follower), &path).await;
    writer.await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len() % 512, 32);
    let header = BackupFile::open(&path).unwrap().header().clone();
    assert_eq!(
        (header.cluster_id.as_str(), header.revision),
        ("test-cluster", revision)
    );
    assert_eq!(header.members.len(), 3);

    let mut restored = Cluster::empty();
    let target = restored.directory.path().join("4");
    let node = node_of(&restored, 4);
    check_refusals(&path, &target, &node).await;
    let (_, refounded) = restore(&path, &target, "test-cluster", node).await.unwrap();
    assert_eq!((refounded.server_id, refounded.former_revision), (4, revision));
    restored.adopt(4).await;
    assert_eq!(restored.wait_for_leader().await, 4);
    let store = restored.store(4);
    assert_eq!(count(&store, "/k/").await, 200);
    assert!(
        store.applied_revision() > 1_000_000_000,
        "revisions of the old cluster are all past"
    );
    // Whoever knows a revision of the old cluster has to begin anew.
    let request = WatchRequest {
        range: KeyRange::prefix("/k/"),
        start_revision: revision,
    };
    let resumed = match store.watch(request).await {
        Ok(mut watcher) => watcher.next().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(resumed, Err(KvError::Compacted { .. })), "{resumed:?}");

    // Others join it, and get all that was before the log began.
    let newcomer = restored.join().await;
    assert_eq!(newcomer, 5);
    store.promote(newcomer).await.unwrap();
    write(&store, put("/after", "x")).await;
    assert_eq!(count(&restored.store(newcomer), "/k/").await, 200);
    restored.wait_until_equal().await;
    let full = restore(&path, &target, "test-cluster", MemberNode::default()).await;
    assert!(matches!(full, Err(RestoreError::NotEmpty { .. })), "{full:?}");
}

async fn check_refusals(backup: &Path, target: &Path, node: &MemberNode) {
    let good = std::fs::read(backup).unwrap();
    let bad = backup.with_extension("bad");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bytes in [&flipped[..], &good[..good.len() - 512], &good[..100], b"something else"] {
        std::fs::write(&bad, bytes).unwrap();
        let refused = restore(&bad, target, "test-cluster", node.clone()).await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(
                refused,
                RestoreError::Backup(BackupError::Damaged(_) | BackupError::NotABackup)
            ),
            "{refused}"
        );
        assert!(!target.exists(), "nothing was made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_quorum_is_recovered_from_one_server_with_all_of_its_log() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.store(1), "/k/", 100).await;
    cluster.wait_until_equal().await;
    let survivor = cluster.follower(cluster.wait_for_leader().await);
    let directory = data_dir(&cluster, survivor);
    let running = inspect(&directory).await.unwrap_err();
    assert!(running.to_string().contains("in use"), "{running}");
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    let found = inspect(&directory).await.unwrap();
    assert_eq!(found, inspect(&directory).await.unwrap(), "looking changes nothing");
    assert_eq!((found.server_id, found.members.len()), (survivor, 3));
    assert!(found.last_entry.1 > 100);

    let mut alone = Cluster::empty();
    let nothing = inspect(&alone.directory.path().join("nothing")).await.unwrap_err();
    assert!(matches!(nothing, RecoverError::Nothing { .. }));
    let (before, refounded) = recover(&directory, "test-cluster", node_of(&alone, 4)).await.unwrap();
    assert_eq!((before, refounded.server_id), (found, 4));
    std::fs::rename(&directory, alone.directory.path().join("4")).unwrap();
    alone.adopt(4).await;
    assert_eq!(alone.wait_for_leader().await, 4);
    assert_eq!(count(&alone.store(4), "/k/").await, 100);
    write(&alone.store(4), put("/after", "x")).await;
    let newcomer = alone.join().await;
    alone.store(4).promote(newcomer).await.unwrap();
    assert_eq!(count(&alone.store(newcomer), "/k/").await, 100);
    alone.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_survivor_is_not_recovered() {
    let mut cluster = Cluster::start(1).await;
    fill(&cluster.store(1), "/k/", 50).await;
    cluster.stop(1).await;
    damage_log(&data_dir(&cluster, 1));
    let refused = recover(&data_dir(&cluster, 1), "another", MemberNode::default()).await;
    assert!(matches!(refused, Err(RecoverError::Damaged(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_removal_takes_the_quorum_away() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let dead = cluster.follower(leader);
    let alive = (1..=3).find(|id| *id != leader && *id != dead).unwrap();
    cluster.stop(dead).await;
    let Err(MembershipError::Refused(refused)) = cluster.store(leader).remove(alive).await else {
        panic!("a removal that takes the quorum away was begun");
    };
    assert!(refused.contains(&format!("server-{dead} does not answer")), "{refused}");
    write(&cluster.store(leader), put("/still", "x")).await;
    cluster.store(leader).remove(dead).await.unwrap();
    // Again: it is done.
    assert!(matches!(
        cluster.store(leader).remove(dead).await,
        Err(MembershipError::Refused(_))
    ));
    write(&cluster.store(leader), put("/two", "x")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_moved_tells_the_others_where_it_is() {
    let mut cluster = Cluster::start(3).await;
    for _ in 0..2 {
        let leader = cluster.wait_for_leader().await;
        let mover = cluster.follower(leader);
        cluster.stop(mover).await;
        write(&cluster.store(leader), put("/meanwhile", mover.to_string())).await;
        cluster.move_elsewhere(mover);
        cluster.restart(mover).await;
        let place = cluster.config(mover).node.peer_address;
        cluster
            .wait("all know the new place", |cluster| {
                cluster.servers.values().all(|server| {
                    let members = server.store.members();
                    members
                        .iter()
                        .any(|member| member.id == mover && member.peer_address == place && member.voter)
                })
            })
            .await;
        assert_eq!(get(&cluster.store(mover), "/meanwhile").await, Some(mover.to_string()));
        // The leader's own connections go there, too.
        cluster.wait_until_equal().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_without_its_log_is_damage() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.store(1), "/k/", 20).await;
    cluster.wait_until_equal().await;
    let victim = cluster.follower(cluster.wait_for_leader().await);
    cluster.stop(victim).await;
    std::fs::remove_dir_all(data_dir(&cluster, victim).join("raft-log")).unwrap();
    let refused = cluster.restart_as(victim, |_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, OpenError::Quarantined { cause } if cause.contains("knows no vote")),
        "{refused}"
    );
    let serializable = read(
        &cluster.store(cluster.wait_for_leader().await),
        "/k/1",
        Consistency::Serializable,
    )
    .await;
    assert_eq!(serializable, Some("value".into()));
    let unused = StoreConfig::new(
        data_dir(&cluster, victim),
        "test-cluster",
        victim,
        MemberNode::default(),
    );
    assert!(Store::open(unused, Arc::new(PlainConnector)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_read_meets_quarantines_a_running_server() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    for number in 0..400u32 {
        write(
            &cluster.store(leader),
            put(&format!("/k/{number}"), format!("{number}").repeat(400)),
        )
        .await;
    }
    cluster.wait_until_equal().await;
    let victim = cluster.follower(leader);
    cluster.stop(victim).await;
    damage_state(&data_dir(&cluster, victim));
    cluster.restart(victim).await;
    let store = cluster.store(victim);
    let all = RangeRequest::latest(KeyRange::prefix("/k/"));
    let read = store.range(all.clone(), Consistency::Serializable).await;
    assert!(read.is_err(), "damaged data were served");
    cluster
        .wait("it is in quarantine", |cluster| {
            cluster.store(victim).quarantined().is_some()
        })
        .await;
    let cause = store.quarantined().unwrap();
    assert!(cause.contains("Corruption"), "{cause}");
    assert_eq!(store.metrics().await.value("trireme_store_quarantined"), Some(1.0));
    cluster
        .wait("the others know", |cluster| {
            alarms(&cluster.store(leader), AlarmKind::Corrupt) == [victim]
        })
        .await;
    write(&cluster.store(leader), put("/after", "x")).await;
    drop(store);
    cluster.stop(victim).await;
    let again = cluster.restart_as(victim, |_| {}).await.unwrap_err();
    assert!(again.to_string().contains("Corruption"), "{again}");
}

/// Connections that break after so many bytes were written.
struct BreakingConnector {
    bytes: usize,
}

impl PeerConnector for BreakingConnector {
    fn connect(&self, server_id: u64, peer_address: &str) -> Result<Channel, ConnectError> {
        let bytes = self.bytes;
        let endpoint = Endpoint::from_shared(format!("http://{peer_address}")).map_err(|error| ConnectError {
            server_id,
            address: peer_address.to_owned(),
            reason: error.to_string(),
        })?;
        let address = peer_address.to_owned();
        Ok(tune(endpoint).connect_with_connector_lazy(tower::service_fn(move |_| {
            let address = address.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                Ok::<_, io::Error>(TokioIo::new(Breaking { stream, bytes }))
            }
        })))
    }
}

struct Breaking {
    stream: TcpStream,
    bytes: usize,
}

impl AsyncRead for Breaking {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let most = self.bytes.min(buf.len());
        if most == 0 && !buf.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..most]);
        if let Poll::Ready(Ok(count)) = &written {
            self.bytes -= count;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_over_although_no_connection_lasts_for_the_whole_of_it() {
    const CONNECTION_BYTES: usize = 2 << 20;
    let sizes = Sizes {
        snapshot_log_entries: 50,
        log_keep_entries: 10,
        snapshot_lag_entries: 20,
        log_purge_batch_entries: 1,
        ..Sizes::default()
    };
    let mut cluster = Cluster::start_with(3, sizes).await;
    let leader = cluster.wait_for_leader().await;
    let follower = cluster.follower(leader);
    let fell_at = cluster.store(follower).status().last_log_index;
    cluster.stop(follower).await;
    let value = "v".repeat(64 << 10);
    for number in 0..120u32 {
        write(&cluster.store(leader), put(&format!("/big/{number}"), value.clone())).await;
    }
    cluster
        .wait("the log was cut", |cluster| {
            cluster.store(leader).status().first_log_index > fell_at + 1
        })
        .await;
    // Whoever leads now, its connections break.
    cluster.connector = Arc::new(BreakingConnector {
        bytes: CONNECTION_BYTES,
    });
    for id in 1..=3 {
        if id != follower {
            cluster.stop(id).await;
            cluster.restart(id).await;
        }
    }
    cluster.restart(follower).await;
    cluster
        .wait("the follower has everything", |cluster| {
            let behind = cluster.store(follower).status();
            behind.first_log_index > fell_at + 1 && behind.applied_revision > 100
        })
        .await;
    assert_eq!(count(&cluster.store(follower), "/big/").await, 120);
    cluster.wait_until_equal().await;
}
