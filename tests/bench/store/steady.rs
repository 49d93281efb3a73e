//! Rates and latencies of servers that nothing happens to: puts, reads, ranges, watches.

use std::time::Duration;

use anyhow::{Context, Result};
use trireme_proto::etcd::server::{LeaseGrantRequest, lease_client::LeaseClient};

use super::{
    Session,
    drive::{Load, Outcome, drive, fill},
    figures::Figure,
    watch::{WatchLoad, watch},
    work::Kind,
};

/// Clients that write the keys which the others then use.
const FILL_CLIENTS: usize = 48;
/// Leases granted while the servers come to rest.
const LEASES_AT_REST: usize = 4;
/// Between those grants: more than etcd waits before it commits.
const LEASE_PERIOD: Duration = Duration::from_millis(300);
/// How long those leases last: longer than they matter.
const LEASE_SECONDS: i64 = 3_600;

impl Session<'_> {
    /// Writes the keys that the closed loops use, once.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        let meter = self.meter();
        fill(&self.addresses(), self.sizes.keys, self.sizes.value_bytes, FILL_CLIENTS).await?;
        self.note_phase(meter, "prepare");
        Ok(())
    }

    /// Puts of many clients, over all endpoints and at the leader.
    pub(super) async fn puts(&mut self) -> Result<()> {
        let kind = self.put();
        let (clients, crowd) = (self.sizes.clients, self.sizes.crowd);
        let (outcome, seconds) = self.load("puts", self.addresses(), clients, kind.clone()).await?;
        let rate = outcome.rate();
        self.add(Figure::PutRate, rate);
        self.add_time(Figure::PutMedian, outcome.latencies.percentile(50.0));
        self.add_time(Figure::PutP99, outcome.latencies.percentile(99.0));
        self.add(Figure::PutCpu, seconds / outcome.completed_in_all.max(1) as f64);
        let (outcome, _) = self.load("puts, crowd", self.addresses(), crowd, kind.clone()).await?;
        self.add(Figure::PutRateOfCrowd, outcome.rate());
        self.add(Figure::PutLoss, 1.0 - outcome.rate() / rate.max(1.0));
        let leader = vec![self.leader_address().await?];
        let (outcome, seconds) = self.load("puts at the leader", leader, clients, kind).await?;
        self.add(Figure::PutRateAtLeader, outcome.rate());
        self.add(Figure::PutCpuAtLeader, seconds / outcome.completed_in_all.max(1) as f64);
        Ok(())
    }

    /// Puts of one client, at each endpoint in turn.
    pub(super) async fn one(&mut self) -> Result<()> {
        self.rest().await?;
        let leader = self.leader_address().await?;
        let mut all = Outcome::default().latencies;
        for address in self.addresses() {
            let (outcome, _) = self.load("one client", vec![address.clone()], 1, self.put()).await?;
            if address == leader {
                self.add_time(Figure::OneMedianAtLeader, outcome.latencies.percentile(50.0));
            }
            all.merge(&outcome.latencies);
        }
        self.add_time(Figure::OneMedian, all.percentile(50.0));
        self.add_time(Figure::OneP99, all.percentile(99.0));
        Ok(())
    }

    /// Lets the servers finish what an earlier load left, so that reads behind a flood of writes do not show the flood.
    ///
    /// etcd copies the buffer of the keys written last for every read, and gives it up only when it commits something
    /// else twice: hence the leases, which make it commit without writing a key.
    pub(super) async fn rest(&mut self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let mut client = LeaseClient::new(self.cluster.connect(leader).await?);
        for _ in 0..LEASES_AT_REST {
            let request = LeaseGrantRequest {
                ttl: LEASE_SECONDS,
                ..LeaseGrantRequest::default()
            };
            client.lease_grant(request).await.context("granting a lease")?;
            tokio::time::sleep(LEASE_PERIOD).await;
        }
        Ok(())
    }

    /// Linearizable reads of one key.
    pub(super) async fn reads(&mut self) -> Result<()> {
        let kind = Kind::Get {
            keys: self.sizes.keys,
            value_bytes: self.sizes.value_bytes,
        };
        let clients = self.sizes.clients;
        self.rest().await?;
        let (outcome, _) = self.load("reads", self.addresses(), clients, kind.clone()).await?;
        self.add(Figure::GetRate, outcome.rate());
        self.add_time(Figure::GetP99, outcome.latencies.percentile(99.0));
        let leader = vec![self.leader_address().await?];
        let (outcome, _) = self.load("reads at the leader", leader, clients, kind).await?;
        self.add(Figure::GetRateAtLeader, outcome.rate());
        Ok(())
    }

    /// Linearizable reads of many neighbouring keys.
    pub(super) async fn ranges(&mut self) -> Result<()> {
        let kind = Kind::Range {
            keys: self.sizes.keys,
            width: self.sizes.width,
            value_bytes: self.sizes.value_bytes,
        };
        self.rest().await?;
        let (outcome, _) = self.load("ranges", self.addresses(), self.sizes.clients, kind).await?;
        self.add(Figure::RangeRate, outcome.rate());
        self.add_time(Figure::RangeP99, outcome.latencies.percentile(99.0));
        Ok(())
    }

    /// One writer, many watchers.
    pub(super) async fn watches(&mut self) -> Result<()> {
        let load = WatchLoad {
            endpoints: self.addresses(),
            writer: self.leader_address().await?,
            watchers: self.sizes.watchers,
            value_bytes: self.sizes.value_bytes,
            lead_in: self.sizes.lead_in,
            measured: self.sizes.measured,
            idle_process: None,
        };
        self.rest().await?;
        let meter = self.meter();
        let outcome = watch(load).await?;
        self.note_phase(meter, "watches");
        self.add(Figure::WatchRate, outcome.events as f64 / outcome.elapsed.as_secs_f64());
        self.add_time(Figure::WatchP99, outcome.delays.percentile(99.0));
        Ok(())
    }

    /// Runs closed loops; gives what came of it and the processor seconds of all servers.
    pub(super) async fn load(
        &mut self,
        name: &'static str,
        endpoints: Vec<String>,
        clients: usize,
        kind: Kind,
    ) -> Result<(Outcome, f64)> {
        let load = Load {
            endpoints,
            clients,
            kind,
            lead_in: self.sizes.lead_in,
            measured: self.sizes.measured,
        };
        let meter = self.meter();
        let outcome = drive(load).await?;
        let seconds = self.note_phase(meter, name);
        if !outcome.refused.is_empty() {
            self.note(&format!(
                "{name}: {} right answers, refused {}",
                outcome.completed_in_all,
                outcome.refusals()
            ));
        }
        Ok((outcome, seconds))
    }

    pub(super) fn put(&self) -> Kind {
        Kind::Put {
            keys: self.sizes.keys,
            value_bytes: self.sizes.value_bytes,
        }
    }

    pub(super) fn add_time(&mut self, figure: Figure, time: Duration) {
        self.add(figure, time.as_secs_f64());
    }
}
