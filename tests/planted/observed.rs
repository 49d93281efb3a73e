//! Three stores in this process that serve etcd's API to the clients and watchers of the proof, whose judgement it is.

use std::sync::Arc;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use trireme_proto::etcd::server::{CompactionRequest, kv_client::KvClient};
use trireme_store::Planted;
use trireme_tests::harness::wait_until;
use trireme_tests::linear::driver::{Shared, Target};
use trireme_tests::linear::work::Work;

use crate::Findings;
use crate::cuts::Cuts;
use crate::support::{Cluster, PATIENCE, Setup};

const CLIENTS: usize = 12;
/// Answers that make a run worth judging.
const ANSWERS: u64 = 600;
/// How often the past is forgotten under load, and how many answers there are in between.
const COMPACTIONS: usize = 20;
const ANSWERS_BETWEEN_COMPACTIONS: u64 = 60;

/// Stores, and etcd's API over each.
pub(crate) struct Stage {
    cluster: Cluster,
    cuts: Cuts,
    listeners: Vec<AbortHandle>,
    targets: Vec<Target>,
}

impl Stage {
    async fn start(planted: Option<Planted>) -> Result<Self> {
        let cuts = Cuts::default();
        let network = cuts.clone();
        let setup = Setup {
            configure: Arc::new(move |config| config.planted = planted),
            network: Some(Arc::new(move |own| network.connector(own))),
            ..Setup::default()
        };
        let mut stage = Self {
            cluster: Cluster::start_as(3, setup).await,
            cuts,
            listeners: Vec::new(),
            targets: Vec::new(),
        };
        for server in stage.cluster.servers.values() {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            stage.targets.push(Target {
                url: format!("http://{}", listener.local_addr()?),
                namespace: None,
            });
            let router = tonic::transport::Server::builder().add_routes(server.store.etcd_service().0);
            let serving = tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
            stage.listeners.push(serving.abort_handle());
        }
        Ok(stage)
    }

    /// Lets clients and watchers work while something is done, and judges what they saw.
    async fn observe(&self, seed: u64, done: impl AsyncFnOnce(&Self, &Shared) -> Result<()>) -> Result<Findings> {
        let work = Work::begin(self.targets.clone(), seed, 0..CLIENTS).await?;
        let shared = work.shared().clone();
        done(self, &shared).await?;
        let record = work.finish(Vec::new()).await?;
        Ok(record.judge().findings)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.listeners.iter().for_each(AbortHandle::abort);
    }
}

/// Nothing but load.
pub(crate) async fn loaded(planted: Option<Planted>, seed: u64) -> Result<Findings> {
    let stage = Stage::start(planted).await?;
    stage
        .observe(seed, async |_, shared| answers(shared, ANSWERS).await)
        .await
}

/// The leader is cut off from both others, which go on without it, and comes back.
pub(crate) async fn leader_cut_off(planted: Option<Planted>, seed: u64) -> Result<Findings> {
    let stage = Stage::start(planted).await?;
    let cut_off = async |stage: &Stage, shared: &Shared| {
        answers(shared, ANSWERS).await?;
        let leader = stage.cluster.wait_for_leader().await;
        stage.cuts.cut_off(leader);
        stage
            .cluster
            .wait("another leader", |cluster| {
                let mut others = cluster.servers.iter().filter(|(id, _)| **id != leader);
                others.any(|(_, server)| server.store.leadership().borrow().is_some())
            })
            .await;
        answers(shared, ANSWERS).await?;
        stage.cuts.heal();
        answers(shared, ANSWERS).await
    };
    stage.observe(seed, cut_off).await
}

/// The past is forgotten up to the present, again and again.
pub(crate) async fn compacted(planted: Option<Planted>, seed: u64) -> Result<Findings> {
    let stage = Stage::start(planted).await?;
    let compact = async |_: &Stage, shared: &Shared| {
        for _ in 0..COMPACTIONS {
            answers(shared, ANSWERS_BETWEEN_COMPACTIONS).await?;
            let revision = shared.newest();
            shared.compacted_at(revision);
            let request = CompactionRequest {
                revision,
                physical: false,
            };
            KvClient::new(shared.connect(0).await?).compact(request).await?;
        }
        Ok(())
    };
    stage.observe(seed, compact).await
}

/// Waits until so many more requests were answered.
async fn answers(shared: &Shared, more: u64) -> Result<()> {
    let target = shared.answered() + more;
    wait_until("answers to requests", PATIENCE, || async {
        Ok(shared.answered() >= target)
    })
    .await
}
