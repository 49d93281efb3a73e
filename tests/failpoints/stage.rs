//! Three servers of the program that can be broken, under load, and what every scenario does with them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use trireme_proto::etcd::server::{MemberListRequest, PutRequest, cluster_client::ClusterClient, kv_client::KvClient};
use trireme_store::Failpoint;
use trireme_tests::harness::etcd::{EtcdCluster, EtcdOptions};
use trireme_tests::harness::{PATIENCE, metrics, poll_until, wait_until};
use trireme_tests::linear::driver::Shared;
use trireme_tests::linear::members::Members;
use trireme_tests::linear::targets;
use trireme_tests::linear::work::Work;

/// Few, so that the history stays small enough to be judged in seconds.
const CLIENTS: usize = 6;
/// Entries of the log after which a server makes a snapshot and cuts its log.
const SNAPSHOT_LOG_ENTRIES: &str = "100";
/// How long a point that was armed may take to be reached before it is armed elsewhere: the leader may have changed.
const REACH_PATIENCE: Duration = Duration::from_secs(20);
/// The last entry in a snapshot that a server sends; 0 if there is none.
const SENDING: &str = "trireme_store_snapshot_sending_index";
/// How often it is looked whether it was.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct Stage {
    pub(crate) cluster: EtcdCluster,
    work: Work,
    pub(crate) shared: Arc<Shared>,
    members: Members,
}

impl Stage {
    pub(crate) async fn start() -> Result<Self> {
        let options = EtcdOptions::breakable(&["--failpoints", "--snapshot-log-entries", SNAPSHOT_LOG_ENTRIES]);
        let cluster = EtcdCluster::start(options).await?;
        let work = Work::begin(targets(&cluster), 1, 0..CLIENTS).await?;
        let shared = work.shared().clone();
        Ok(Self {
            cluster,
            work,
            shared,
            members: Members::default(),
        })
    }

    /// The leader and the two others.
    pub(crate) async fn roles(&self) -> Result<(usize, [usize; 2])> {
        let leader = self.cluster.leader().await?;
        Ok((leader, [(leader + 1) % 3, (leader + 2) % 3]))
    }

    /// Lets a member crash when it passes a point for the `passages`th time from now on.
    pub(crate) fn arm(&self, member: usize, point: Failpoint, passages: u32) -> Result<()> {
        let path = self.failpoints_of(member);
        let new = path.with_extension("new");
        // Never seen half written.
        std::fs::write(&new, format!("{} {passages}\n", point.name()))?;
        Ok(std::fs::rename(new, path)?)
    }

    fn failpoints_of(&self, member: usize) -> PathBuf {
        let mut path = OsString::from(self.cluster.data_dir(member));
        path.push(".failpoints");
        path.into()
    }

    /// Waits until a member has crashed at a point, or what was to lead it there is `over`, and disarms it. Says whether it
    /// has crashed.
    pub(crate) async fn crashed(&mut self, member: usize, point: Failpoint, over: impl Fn() -> bool) -> Result<bool> {
        let words = point.last_words();
        let until = tokio::time::Instant::now() + REACH_PATIENCE;
        let mut last_look = false;
        while tokio::time::Instant::now() < until && !last_look {
            // What is over may have ended just now, with the crash.
            last_look = over();
            tokio::time::sleep(LOOK_PERIOD).await;
            if let Some(status) = self.cluster.ended(member) {
                std::fs::remove_file(self.failpoints_of(member))?;
                let log = self.cluster.log(member);
                let last = log.lines().last().unwrap_or_default();
                ensure!(
                    last == words,
                    "the server ended with {status}, but its last words are {last:?}"
                );
                return Ok(true);
            }
        }
        std::fs::remove_file(self.failpoints_of(member))?;
        Ok(false)
    }

    /// The same, for a point that must be reached.
    pub(crate) async fn must_crash(&mut self, member: usize, point: Failpoint) -> Result<()> {
        if self.crashed(member, point, || false).await? {
            return Ok(());
        }
        bail!(
            "member {member} did not reach the point in {} s",
            REACH_PATIENCE.as_secs()
        )
    }

    /// Lets so many more requests be answered.
    pub(crate) async fn answers(&self, more: u64) -> Result<()> {
        let target = self.shared.answered() + more;
        wait_until("answers to requests", PATIENCE, || async {
            Ok(self.shared.answered() >= target)
        })
        .await
    }

    /// Waits until a leader sends a snapshot to a server that is away, or crashes at a point. It does so once its log is to be
    /// cut, which has to wait while the receiver of an earlier snapshot catches up, however much is written.
    pub(crate) async fn sends_snapshot(&self, leader: usize, point: Option<Failpoint>) -> Result<()> {
        let words = point.map(Failpoint::last_words);
        wait_until("a snapshot to be sent", PATIENCE, || async {
            let crashed = words.is_some() && self.cluster.log(leader).lines().last() == words.as_deref();
            Ok(crashed || self.measure(leader, SENDING).await? > 0.0)
        })
        .await
    }

    /// Waits until every member has what the leader has now, and no snapshot is on its way to any.
    async fn must_catch_up(&self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let end = self.measure(leader, "trireme_store_raft_last_index").await?;
        for member in 0..self.cluster.len() {
            let caught_up = async || Ok(self.measure(member, "trireme_store_raft_applied_index").await? >= end);
            wait_until("a member to catch up", PATIENCE, caught_up).await?;
        }
        wait_until("snapshots to come over", PATIENCE, || async {
            let leader = self.cluster.leader().await?;
            Ok(self.measure(leader, SENDING).await? == 0.0)
        })
        .await
    }

    async fn measure(&self, member: usize, name: &str) -> Result<f64> {
        let endpoint = self.cluster.endpoint(member);
        let metrics = metrics(endpoint.trim_start_matches("http://")).await?;
        let value = metrics.get(name).copied();
        value.with_context(|| format!("{name} is not measured"))
    }

    /// Writes a value of about so many bytes through a member, under a key that nobody else uses.
    pub(crate) async fn put_large(&self, member: usize, bytes: usize) -> Result<()> {
        let mut kv = KvClient::new(self.cluster.connect(member).await?);
        let put = PutRequest {
            key: "large".into(),
            value: vec![b'v'; bytes].into(),
            ..PutRequest::default()
        };
        kv.put(put).await?;
        Ok(())
    }

    /// All follow one leader and have caught up, the members are what they must be, and requests are answered.
    pub(crate) async fn must_be_whole(&mut self) -> Result<()> {
        self.cluster.wait_until_whole().await?;
        self.must_catch_up().await?;
        let list = poll_until("the members", PATIENCE, || async {
            let mut client = ClusterClient::new(self.cluster.connect(0).await?);
            let request = MemberListRequest { linearizable: true };
            Ok(Some(client.member_list(request).await?.into_inner().members))
        })
        .await?;
        let list: Vec<(u64, String)> = list.into_iter().map(|member| (member.id, member.name)).collect();
        let found = self.members.observe(&list);
        ensure!(found.is_empty(), "{found:?}");
        self.answers(20).await.context("after the three are whole again")
    }

    /// The end of all logs, for a failure's message.
    pub(crate) fn keep(&mut self) -> String {
        let logs = self.cluster.logs_tail();
        format!("kept in {}\n{logs}", self.cluster.keep().display())
    }

    /// Ends the load and judges everything; where it is kept if anything is wrong.
    pub(crate) async fn finish(mut self) -> Result<(Vec<(String, String)>, Option<PathBuf>)> {
        let record = self.work.finish(Vec::new()).await?;
        let judgement = record.judge();
        eprintln!(
            "{} requests and {} watches were judged in {:.1} s: {}",
            judgement.calls.len(),
            record.watches().count(),
            judgement.seconds,
            judgement.verdict
        );
        if judgement.findings.is_empty() {
            return Ok((Vec::new(), None));
        }
        record.write_down(&judgement.calls, self.cluster.directory())?;
        Ok((judgement.findings, Some(self.cluster.keep())))
    }
}
