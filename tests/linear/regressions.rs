//! What once broke etcd's promises, each repeated on purpose where that is cheap. The runs under faults look for the rest.
//!
//! | etcd's issue | what happened | looked for by |
//! |---|---|---|
//! | 13766 | revision and data disagreed after a crash under load | rounds that kill, by the comparison of hashes |
//! | 14370 | a single member lost an acknowledged write in a crash | [`lone_member_keeps_writes`] |
//! | 14571 | members disagreed after authentication was turned on | not at all: there is no authentication |
//! | 14685 | revision and data disagreed after a crash during defragmentation | [`crash_while_defragmenting`] |
//! | 15220 | progress that was asked for overtook events | [`progress_is_in_step`] |
//! | 15271 | a watch went back in time after a partition | rounds that cut the network, by the rule "ordered" |
//! | 17247 | an event was sent twice because of a cached transaction | all rounds, by the rule "unique" |
//! | 17529 | a stream with many watches starved and lost events | [`starved_watches_lose_nothing`] |
//! | 17780 | the revision went back after a crash during compaction | [`compacted_delete_keeps_the_revision`] |
//! | 18055 | two snapshots in short order crashed a member | rounds that replace members |
//! | 18089, 19179 | a compaction at a delete swallowed its event | [`delete_at_the_compaction_is_seen`] |
//! | 18667 | a transaction that read the compacted past was half done | [`reading_the_compacted_past_changes_nothing`] |
//! | 20221 | a watch from the future on was sent the past | [`watch_of_the_future_waits`] |
//! | 20418 | a leader that had been stopped answered from the past | [`woken_leader_does_not_answer_from_the_past`] |

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;
use tonic::{Code, transport::Channel};
use trireme_proto::etcd::server::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    kv_client::KvClient, maintenance_client::MaintenanceClient, request_op::Request,
};

use super::{
    driver::{Shared, Stream, state_hash},
    model::{Event, KeyOp, KeyRange, Op, State},
    replay::Replay,
    targets,
};
use crate::{
    harness::{
        etcd::{EtcdCluster, EtcdOptions},
        poll_until, wait_until,
    },
    watch_rules::{Watch, violations},
};

/// How long anything may take that should take seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a single answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// One writer at a time, so that everything that happens is known.
pub struct SoleWriter {
    shared: Arc<Shared>,
    kv: KvClient<Channel>,
    state: State,
    events: BTreeMap<i64, Vec<Event>>,
    written: u64,
}

impl SoleWriter {
    /// Connects to a member of a cluster that nobody else uses.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn new(cluster: &EtcdCluster, member: usize) -> Result<Self> {
        let (_, stopped) = watch::channel(false);
        let (_, end) = watch::channel(0);
        let shared = Arc::new(Shared::new(targets(cluster), 0, stopped, end));
        let mut kv = KvClient::new(cluster.connect(member).await?);
        let request = RangeRequest {
            key: "k".into(),
            ..Default::default()
        };
        let answer = kv.range(request).await?.into_inner();
        let revision = answer.header.context("an answer has a header")?.revision;
        Ok(Self {
            shared,
            kv,
            state: State::at(revision, []),
            events: BTreeMap::new(),
            written: 0,
        })
    }

    /// Does the same to the model, and compares the revision. The store's owner may have written keys of its own before.
    fn expect(&mut self, op: KeyOp, revision: i64) -> Result<i64> {
        self.state.revision = self.state.revision.max(revision - 1);
        let applied = self.state.evaluate(&Op::One(op)).ok().context("the model agrees")?;
        self.state.commit(&applied);
        ensure!(
            applied.revision == revision,
            "revision {revision} instead of {}",
            applied.revision
        );
        self.events.insert(revision, applied.events);
        Ok(revision)
    }

    async fn put(&mut self, key: &str, size: usize) -> Result<i64> {
        self.written += 1;
        let value = format!("{:0size$}", self.written);
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.clone().into(),
            ..Default::default()
        };
        let answer = self.kv.put(request).await?.into_inner();
        let revision = answer.header.context("an answer has a header")?.revision;
        let op = KeyOp::Put {
            key: key.to_owned(),
            value,
            lease: 0,
        };
        self.expect(op, revision)
    }

    async fn delete(&mut self, key: &str) -> Result<i64> {
        let request = DeleteRangeRequest {
            key: key.to_owned().into(),
            ..Default::default()
        };
        let answer = self.kv.delete_range(request).await?.into_inner();
        let revision = answer.header.context("an answer has a header")?.revision;
        let op = KeyOp::Delete {
            range: KeyRange::one(key),
        };
        self.expect(op, revision)
    }

    async fn compact(&mut self, revision: i64) -> Result<()> {
        let request = CompactionRequest {
            revision,
            physical: true,
        };
        self.kv.compact(request).await?;
        Ok(())
    }

    fn replay(&self) -> Replay {
        Replay::of_events(self.events.clone())
    }

    async fn watch(&self, member: usize, start: i64, count: usize) -> Result<Stream> {
        let watch = |number: usize| Watch {
            name: format!("watch {number} from {start}"),
            range: KeyRange::between("k", "l"),
            start,
            no_put: false,
            no_delete: false,
            prev_kv: false,
            fragment: false,
            messages: Vec::new(),
        };
        Stream::open(&self.shared, member, (0..count).map(watch).collect()).await
    }

    /// Lets a stream's watches reach a revision, then judges them. Predecessors were not asked for.
    async fn judge(&self, mut stream: Stream, revision: i64) -> Result<()> {
        stream.reach(revision, PATIENCE).await?;
        for watch in stream.into_watches() {
            let mut found = violations(&watch, &self.replay());
            found.retain(|(rule, _)| *rule != "prev-kv");
            ensure!(found.is_empty(), "{found:?}");
        }
        Ok(())
    }
}

/// Progress that is asked for while events are on their way tells only of what was sent.
///
/// # Errors
/// If it does not.
pub async fn progress_is_in_step(cluster: &mut EtcdCluster) -> Result<()> {
    let mut writer = SoleWriter::new(cluster, 0).await?;
    let start = writer.state.revision + 1;
    let stream = writer.watch(1 % cluster.len(), start, 1).await?;
    let mut last = start;
    for round in 0..200 {
        last = writer.put(&format!("k{}", round % 3), 1).await?;
        stream.ask_progress()?;
    }
    writer.judge(stream, last).await
}

/// A watch that starts where the past ends is told of the delete there.
///
/// # Errors
/// If it is not.
pub async fn delete_at_the_compaction_is_seen(cluster: &mut EtcdCluster) -> Result<()> {
    let mut writer = SoleWriter::new(cluster, 0).await?;
    for _ in 0..5 {
        writer.put("k-deleted", 1).await?;
        let deleted = writer.delete("k-deleted").await?;
        writer.compact(deleted).await?;
        let stream = writer.watch(0, deleted, 1).await?;
        let last = writer.put("k-after", 1).await?;
        writer.judge(stream, last).await?;
    }
    Ok(())
}

/// After a compaction at a delete and a crash of all members the revision is still what it was.
///
/// # Errors
/// If it is not.
pub async fn compacted_delete_keeps_the_revision(cluster: &mut EtcdCluster) -> Result<()> {
    let mut writer = SoleWriter::new(cluster, 0).await?;
    writer.put("k-last", 1).await?;
    let deleted = writer.delete("k-last").await?;
    writer.compact(deleted).await?;
    restart_all(cluster).await?;
    let mut writer = SoleWriter::new(cluster, 0).await?;
    ensure!(
        writer.state.revision >= deleted,
        "{} after {deleted}",
        writer.state.revision
    );
    let next = writer.put("k-last", 1).await?;
    ensure!(next > deleted, "{next} after {deleted}");
    Ok(())
}

/// A transaction that reads what was compacted is refused whole, on every member.
///
/// # Errors
/// If any of it is done.
pub async fn reading_the_compacted_past_changes_nothing(cluster: &mut EtcdCluster) -> Result<()> {
    let mut writer = SoleWriter::new(cluster, 0).await?;
    let first = writer.put("k-past", 1).await?;
    let second = writer.put("k-past", 1).await?;
    writer.compact(second).await?;
    let put = PutRequest {
        key: "k-half".into(),
        value: "done".into(),
        ..Default::default()
    };
    let past = RangeRequest {
        key: "k-past".into(),
        revision: first,
        ..Default::default()
    };
    let operation = |request: Request| RequestOp { request: Some(request) };
    let txn = TxnRequest {
        success: vec![
            operation(Request::RequestPut(put)),
            operation(Request::RequestRange(past)),
        ],
        ..Default::default()
    };
    let refused = writer.kv.txn(txn).await;
    let code = refused.as_ref().err().map(tonic::Status::code);
    ensure!(code == Some(Code::OutOfRange), "{refused:?}");
    let after = writer.put("k-past", 1).await?;
    for member in 0..cluster.len() {
        let half = read(cluster, member, "k-half").await?;
        ensure!(half.is_none(), "member {member} has {half:?}");
    }
    same_hashes(&writer.shared, after).await
}

/// A watch from a revision to come is sent nothing before it, and everything from it on.
///
/// # Errors
/// If it is sent anything else.
pub async fn watch_of_the_future_waits(cluster: &mut EtcdCluster) -> Result<()> {
    let mut writer = SoleWriter::new(cluster, 0).await?;
    let start = writer.state.revision + 20;
    let stream = writer.watch(1 % cluster.len(), start, 3).await?;
    let mut last = 0;
    for round in 0..40 {
        last = writer.put(&format!("k{}", round % 3), 1).await?;
    }
    writer.judge(stream, last).await
}

/// Many watches of one stream that nobody reads from for a while are all sent everything.
///
/// # Errors
/// If they are not.
pub async fn starved_watches_lose_nothing(cluster: &mut EtcdCluster) -> Result<()> {
    let mut writer = SoleWriter::new(cluster, 0).await?;
    let stream = writer.watch(0, writer.state.revision + 1, 20).await?;
    let mut last = 0;
    for round in 0..300 {
        last = writer.put(&format!("k{}", round % 10), 8 << 10).await?;
    }
    writer.judge(stream, last).await
}

/// A member that crashes while it is told to defragment has what the others have.
///
/// # Errors
/// If it has not.
pub async fn crash_while_defragmenting(cluster: &mut EtcdCluster) -> Result<()> {
    let mut writer = SoleWriter::new(cluster, 0).await?;
    let crashing = cluster.len() - 1;
    for _ in 0..3 {
        for round in 0..50 {
            writer.put(&format!("k{}", round % 10), 256).await?;
        }
        let mut maintenance = MaintenanceClient::new(cluster.connect(crashing).await?);
        let asked = tokio::spawn(async move { maintenance.defragment(DefragmentRequest {}).await.map(drop) });
        tokio::time::sleep(Duration::from_millis(3)).await;
        cluster.kill(crashing)?;
        // It may have been done before the kill, or not.
        let _ = asked.await;
        let last = writer.put("k0", 1).await?;
        cluster.restart(crashing)?;
        cluster.wait_until_whole().await?;
        same_hashes(&writer.shared, last).await?;
    }
    Ok(())
}

/// A leader that wakes up after the others have gone on without it does not answer from what it remembers.
///
/// # Errors
/// If it does.
pub async fn woken_leader_does_not_answer_from_the_past(cluster: &mut EtcdCluster) -> Result<()> {
    let leader = cluster.leader().await?;
    let other = (leader + 1) % cluster.len();
    let mut writer = SoleWriter::new(cluster, other).await?;
    writer.put("k-stale", 1).await?;
    // Connected and asked before the stop: the questions wait in the stopped leader's sockets.
    let mut asked = Vec::new();
    let channel = cluster.connect(leader).await?;
    KvClient::new(channel.clone()).range(latest("k-stale")).await?;
    cluster.pause(leader)?;
    cluster.leader_other_than(Some(leader)).await?;
    let mut kv = KvClient::new(cluster.connect(other).await?);
    let newest = poll_until("a write without the old leader", PATIENCE, || {
        let mut kv = kv.clone();
        async move {
            let put = PutRequest {
                key: "k-stale".into(),
                value: "new".into(),
                ..Default::default()
            };
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, kv.put(put)).await??.into_inner();
            Ok(answer.header.map(|header| header.revision))
        }
    })
    .await?;
    for _ in 0..20 {
        let mut kv = KvClient::new(channel.clone());
        asked.push(tokio::spawn(async move {
            tokio::time::timeout(ANSWER_TIMEOUT, kv.range(latest("k-stale"))).await
        }));
    }
    tokio::task::yield_now().await;
    cluster.resume(leader)?;
    for answer in asked {
        // To fail is allowed, to answer from the past is not.
        if let Ok(Ok(answer)) = answer.await? {
            let kvs = answer.into_inner().kvs;
            let revision = kvs.first().map_or(0, |kv| kv.mod_revision);
            ensure!(
                revision >= newest,
                "read revision {revision} after {newest} was acknowledged"
            );
        }
    }
    kv.range(latest("k-stale")).await?;
    cluster.wait_until_whole().await
}

/// A member that is alone keeps every acknowledged write, however often it is killed.
///
/// # Errors
/// If it loses one.
pub async fn lone_member_keeps_writes(cluster: &mut EtcdCluster) -> Result<()> {
    ensure!(cluster.len() == 1, "for a single member");
    for round in 0..8 {
        let value = format!("value {round}");
        let mut kv = KvClient::new(cluster.connect(0).await?);
        let put = PutRequest {
            key: "k-lone".into(),
            value: value.clone().into(),
            ..Default::default()
        };
        kv.put(put).await?;
        restart_all(cluster).await?;
        let read = read(cluster, 0, "k-lone").await?;
        ensure!(
            read.as_deref() == Some(value.as_str()),
            "{read:?} after {value:?} was acknowledged"
        );
    }
    Ok(())
}

fn latest(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        ..Default::default()
    }
}

async fn read(cluster: &EtcdCluster, member: usize, key: &str) -> Result<Option<String>> {
    let mut kv = KvClient::new(cluster.connect(member).await?);
    let answer = kv.range(latest(key)).await?.into_inner();
    let value = answer
        .kvs
        .first()
        .map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
    Ok(value)
}

async fn restart_all(cluster: &mut EtcdCluster) -> Result<()> {
    for member in 0..cluster.len() {
        cluster.kill(member)?;
    }
    for member in 0..cluster.len() {
        cluster.restart(member)?;
    }
    cluster.wait_until_whole().await
}

/// All members have the same at a revision, once they have come to it.
async fn same_hashes(shared: &Shared, revision: i64) -> Result<()> {
    wait_until("the members' hashes to agree", PATIENCE, || async {
        let mut hashes = Vec::new();
        for member in 0..shared.members() {
            hashes.push(state_hash(shared, member, revision).await?);
        }
        ensure!(
            hashes.iter().all(|hash| *hash == hashes[0]),
            "{hashes:?} at revision {revision}"
        );
        Ok(true)
    })
    .await
}

/// One of them: what it is about, and etcd's issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regression {
    /// [`lone_member_keeps_writes`]
    LoneMember,
    /// [`progress_is_in_step`]
    Progress,
    /// [`delete_at_the_compaction_is_seen`]
    DeleteAtCompaction,
    /// [`reading_the_compacted_past_changes_nothing`]
    CompactedPast,
    /// [`watch_of_the_future_waits`]
    Future,
    /// [`starved_watches_lose_nothing`]
    Starvation,
    /// [`compacted_delete_keeps_the_revision`]
    CompactedDelete,
    /// [`crash_while_defragmenting`]
    Defragmentation,
    /// [`woken_leader_does_not_answer_from_the_past`]
    WokenLeader,
}

impl Regression {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::LoneMember,
        Self::Progress,
        Self::DeleteAtCompaction,
        Self::CompactedPast,
        Self::Future,
        Self::Starvation,
        Self::CompactedDelete,
        Self::Defragmentation,
        Self::WokenLeader,
    ];

    /// The number of etcd's issue.
    pub fn issue(self) -> u32 {
        match self {
            Self::LoneMember => 14_370,
            Self::Progress => 15_220,
            Self::DeleteAtCompaction => 19_179,
            Self::CompactedPast => 18_667,
            Self::Future => 20_221,
            Self::Starvation => 17_529,
            Self::CompactedDelete => 17_780,
            Self::Defragmentation => 14_685,
            Self::WokenLeader => 20_418,
        }
    }

    /// Runs it on members of its own: a fault that one finds would be found by the next ones again.
    ///
    /// # Errors
    /// If members do not start, or break the promise.
    pub async fn run(self, options: &EtcdOptions) -> Result<()> {
        let members = if self == Self::LoneMember {
            1
        } else {
            options.places.len()
        };
        let mut cluster = EtcdCluster::start(EtcdOptions {
            places: options.places[..members].to_vec(),
            ..options.clone()
        })
        .await?;
        let cluster = &mut cluster;
        match self {
            Self::LoneMember => lone_member_keeps_writes(cluster).await,
            Self::Progress => progress_is_in_step(cluster).await,
            Self::DeleteAtCompaction => delete_at_the_compaction_is_seen(cluster).await,
            Self::CompactedPast => reading_the_compacted_past_changes_nothing(cluster).await,
            Self::Future => watch_of_the_future_waits(cluster).await,
            Self::Starvation => starved_watches_lose_nothing(cluster).await,
            Self::CompactedDelete => compacted_delete_keeps_the_revision(cluster).await,
            Self::Defragmentation => crash_while_defragmenting(cluster).await,
            Self::WokenLeader => woken_leader_does_not_answer_from_the_past(cluster).await,
        }
    }
}
