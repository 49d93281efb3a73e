//! Disks that fail, real ones: a file system that answers everything with an error, and one without a byte left.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tonic::Code;
use trireme_proto::etcd::server::alarm_request::AlarmAction;
use trireme_proto::etcd::server::{AlarmRequest, AlarmType, CompactionRequest, PutRequest};
use trireme_tests::harness::etcd::{self, EtcdCluster, EtcdOptions, Place};
use trireme_tests::harness::wait_until;
use trireme_tests::linear::faults::Disk;

use crate::target::{PATIENCE, Peer, Target, bytes, ensure_refused, revision};

/// The member whose disk fails. The others' data is elsewhere.
const STRUCK: usize = 0;

/// Three servers, of which one has a file system of its own.
struct Stage {
    // Ended before the file system goes.
    cluster: EtcdCluster,
    disk: Disk,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("trireme-test.").tempdir()?;
        let disk = Disk::make(folder.path(), "disk")?;
        let mut options = EtcdOptions::new(etcd::Peer::Trireme);
        options.places[STRUCK] = Place {
            network: None,
            data_dir: Some(disk.path().to_owned()),
        };
        let cluster = EtcdCluster::start(options).await?;
        Ok(Self {
            cluster,
            disk,
            _folder: folder,
        })
    }

    /// A client of one server.
    fn client(&self, member: usize) -> Result<Target> {
        let endpoint = self.cluster.endpoint(member);
        Target::new(Peer::Trireme, vec![endpoint.trim_start_matches("http://").to_owned()])
    }
}

/// The server ends by itself, the others go on, and what it had acknowledged is there when its disk works again.
pub(crate) async fn a_failing_disk_ends_its_server() -> Result<()> {
    let mut stage = Stage::start().await?;
    let struck = stage.client(STRUCK)?;
    struck.put("disk/before", "1").await?;
    stage.disk.power_off()?;
    // Whether it is acknowledged is open: the two others can keep it without this one.
    let kept = struck.put("disk/during", "2").await.is_ok();
    let mut ended = None;
    let cluster = &mut stage.cluster;
    wait_until("the server to end", PATIENCE, || {
        ended = ended.or_else(|| cluster.ended(STRUCK));
        std::future::ready(Ok(ended.is_some()))
    })
    .await?;
    let signal = ended.and_then(|status| status.signal());
    ensure!(signal == Some(Signal::SIGABRT as i32), "it ended with {ended:?}");
    let log = stage.cluster.log(STRUCK);
    let last = log.lines().last().unwrap_or_default();
    ensure!(
        last.contains("its disk cannot be trusted"),
        "its last words are {last:?}"
    );

    let other = stage.client((STRUCK + 1) % stage.cluster.len())?;
    wait_until("the others to go on", PATIENCE, || async {
        Ok(other.put("disk/after", "3").await.is_ok())
    })
    .await?;
    stage.disk.power_on()?;
    stage.cluster.restart(STRUCK)?;
    stage.cluster.wait_until_whole().await?;
    let struck = stage.client(STRUCK)?;
    for (key, value) in [("disk/before", "1"), ("disk/after", "3"), ("disk/during", "2")] {
        let found = struck.get(key).await?;
        let is_there = found.is_some_and(|kv| kv.value == value);
        ensure!(is_there || (key == "disk/during" && !kept), "{key} is lost");
    }
    Ok(())
}

/// No byte is left on one server: nothing new is taken, but deletes, compaction and the alarm work from the reserve, and no
/// server ends over it. With room again all is as it was.
pub(crate) async fn a_full_disk_can_be_cleared() -> Result<()> {
    let mut stage = Stage::start().await?;
    let reserve = stage.cluster.data_dir(STRUCK).join("store/RESERVE");
    wait_until("the reserve to be made", PATIENCE, || {
        std::future::ready(Ok(is_whole(&reserve)))
    })
    .await?;
    let struck = stage.client(STRUCK)?;
    struck.put("disk/old", "1").await?;
    stage.disk.fill()?;
    wait_until("the alarm", PATIENCE, || lacks_space(&struck)).await?;
    wait_until("the reserve to be given free", PATIENCE, || {
        std::future::ready(Ok(!reserve.exists()))
    })
    .await?;
    let put = PutRequest {
        key: bytes("disk/new"),
        ..PutRequest::default()
    };
    let words = "etcdserver: mvcc: database space exceeded";
    for member in 0..stage.cluster.len() {
        let refused = stage.client(member)?.kv().put(put.clone()).await;
        ensure_refused(refused, Code::ResourceExhausted, words)?;
    }
    let deleted = struck.delete("disk/old").await?;
    let compaction = CompactionRequest {
        revision: deleted,
        physical: true,
    };
    let compacted = struck.kv().compact(compaction).await?.into_inner();
    ensure!(revision(&compacted.header) >= deleted, "{compacted:?}");
    ensure!(struck.get("disk/old").await?.is_none() && lacks_space(&struck).await?);
    for member in 0..stage.cluster.len() {
        let ended = stage.cluster.ended(member);
        ensure!(ended.is_none(), "member {member} ended with {ended:?}");
    }

    stage.disk.relieve()?;
    wait_until("the alarm to end by itself", PATIENCE, || async {
        Ok(!lacks_space(&struck).await?)
    })
    .await?;
    struck.kv().put(put).await?;
    wait_until("the reserve to be made anew", PATIENCE, || {
        std::future::ready(Ok(is_whole(&reserve)))
    })
    .await?;
    stage.cluster.wait_until_whole().await
}

fn is_whole(reserve: &Path) -> bool {
    let bytes = trireme_store::limits::SPACE_RESERVE_BYTES;
    std::fs::metadata(reserve).is_ok_and(|file| file.len() == bytes)
}

/// Whether the alarm for a lack of space is raised.
async fn lacks_space(target: &Target) -> Result<bool> {
    let request = AlarmRequest {
        action: AlarmAction::Get.into(),
        ..AlarmRequest::default()
    };
    let raised = target.maintenance(0).alarm(request).await.context("the alarms")?;
    let mut alarms = raised.into_inner().alarms.into_iter();
    Ok(alarms.any(|alarm| alarm.alarm == i32::from(AlarmType::Nospace)))
}
