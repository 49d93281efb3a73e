//! Real processes, where one has to die.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;
use trireme_store::Planted;
use trireme_tests::harness::etcd::{EtcdCluster, EtcdOptions};
use trireme_tests::harness::{PATIENCE, wait_until};
use trireme_tests::linear::faults::Fault;
use trireme_tests::linear::regressions::Regression;
use trireme_tests::linear::work::Work;
use trireme_tests::linear::{RunOptions, run, targets};

use crate::Findings;

const CLIENTS: usize = 12;
/// Entries of the log after which a server makes a snapshot and cuts its log.
const SNAPSHOT_LOG_ENTRIES: &str = "100";
/// Answers while a follower is away: their writes are more than the others' logs keep.
const ANSWERS_AWAY: u64 = 1_000;

fn members(planted: Option<Planted>, arguments: &[&str]) -> EtcdOptions {
    let mut arguments = arguments.to_vec();
    if let Some(bug) = planted {
        arguments.extend(["--planted", bug.name()]);
    }
    EtcdOptions::breakable(&arguments)
}

/// The leader is killed under load.
pub(crate) async fn leader_killed(planted: Option<Planted>, seed: u64) -> Result<Findings> {
    let reports = run(&RunOptions {
        members: members(planted, &[]),
        rounds: Some(1),
        faults: vec![Fault::Kill],
        duration: None,
        seed,
        clients: CLIENTS,
        strikes: 1,
        hold: Duration::from_secs(2),
        verbose: true,
    })
    .await?;
    for kept in reports.iter().filter_map(|report| report.kept.as_deref()) {
        if planted.is_some() {
            // It failed as it should: there is nothing to look into.
            std::fs::remove_dir_all(kept)?;
        }
    }
    Ok(reports.into_iter().flat_map(|report| report.findings).collect())
}

/// A member that is alone is killed after each acknowledged write.
pub(crate) async fn lone_member_killed(planted: Option<Planted>) -> Result<Findings> {
    let lone = Regression::LoneMember.run(&members(planted, &[])).await;
    let broken = lone.err().map(|error| ("regression".to_owned(), format!("{error:#}")));
    Ok(broken.into_iter().collect())
}

/// A follower is away for so long that it needs a snapshot.
pub(crate) async fn follower_caught_up(planted: Option<Planted>, seed: u64) -> Result<Findings> {
    let options = members(planted, &["--snapshot-log-entries", SNAPSHOT_LOG_ENTRIES]);
    let mut cluster = EtcdCluster::start(options).await?;
    let work = Work::begin(targets(&cluster), seed, 0..CLIENTS).await?;
    let shared = work.shared().clone();
    let leader = cluster.leader().await?;
    let follower = (leader + 1) % cluster.len();
    cluster.kill(follower)?;
    let target = shared.answered() + ANSWERS_AWAY;
    wait_until("answers without it", PATIENCE, || async {
        Ok(shared.answered() >= target)
    })
    .await?;
    cluster.restart(follower)?;
    let refused = caught_up(&mut cluster, follower, shared.newest()).await?;
    let found = refused.map(|line| ("installation".to_owned(), line));
    let record = work.finish(found.into_iter().collect()).await?;
    Ok(record.judge().findings)
}

/// Waits until a member has everything up to a revision. If it refuses the snapshot instead, why.
async fn caught_up(cluster: &mut EtcdCluster, member: usize, revision: i64) -> Result<Option<String>> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let log = cluster.log(member);
        if let Some(line) = log.lines().rev().find(|line| line.contains("was announced as of")) {
            return Ok(Some(line.to_owned()));
        }
        if let Some(status) = cluster.ended(member) {
            bail!("it ended with {status}\n{log}");
        }
        let status = cluster.status(member).await.ok();
        let reached = status
            .and_then(|status| status.header)
            .map_or(0, |header| header.revision);
        if reached >= revision {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("it neither caught up nor refused the snapshot")
}
