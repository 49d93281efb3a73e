//! How long a killed server that holds much takes until it serves a linearizable read.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, timeout};

use super::{
    Session,
    drive::fill,
    figures::Figure,
    messages,
    wire::{Received, Wire},
    work,
};

/// Length of the values that it holds.
const VALUE_BYTES: usize = 4_096;
/// Clients that load them.
const FILL_CLIENTS: usize = 24;
/// How long a restart may take at all.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one attempt to read may take.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Between attempts to read.
const RETRY_PERIOD: Duration = Duration::from_millis(5);

impl Session<'_> {
    /// Loads values, then kills and starts followers.
    pub(super) async fn restarts(&mut self) -> Result<()> {
        let keys = (self.sizes.restart_bytes / VALUE_BYTES as u64).max(1);
        let meter = self.meter();
        fill(&self.addresses(), keys, VALUE_BYTES, FILL_CLIENTS).await?;
        self.note_phase(meter, "load large values");
        for restart in 0..self.sizes.restarts {
            self.cluster.wait_until_whole().await?;
            let leader = self.cluster.leader().await?;
            let member = (leader + 1 + restart % 2) % self.cluster.len();
            let meter = self.meter();
            self.cluster.kill(member)?;
            let began = Instant::now();
            self.cluster.restart(member)?;
            self.await_read(member, keys, began).await?;
            let took = began.elapsed().as_secs_f64();
            self.note_phase(meter, "restart");
            self.add(Figure::Restart, took);
        }
        Ok(())
    }

    async fn await_read(&mut self, member: usize, keys: u64, began: Instant) -> Result<()> {
        let address = self.addresses()[member].clone();
        let mut request = Vec::new();
        messages::get_request(&mut request, &work::key(keys / 2));
        loop {
            // Until it listens and has found its place, an attempt fails, and that is what is waited out.
            let attempt = timeout(READ_TIMEOUT, read_once(&address, &request)).await;
            if matches!(attempt, Ok(Ok(true))) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "a server does not come back: {attempt:?}");
            if let Some(status) = self.cluster.ended(member) {
                return Err(anyhow::anyhow!("a server ended with {status}")).context(self.cluster.logs_tail());
            }
            tokio::time::sleep(RETRY_PERIOD).await;
        }
    }
}

/// Whether a read is answered with a value.
async fn read_once(address: &str, request: &[u8]) -> Result<bool> {
    let mut wire = Wire::connect(address).await?;
    wire.request(messages::RANGE, request, Instant::now());
    wire.flush()?;
    let mut answered = None;
    while answered.is_none() {
        wire.turn(Instant::now() + READ_TIMEOUT, |received| {
            if let Received::Ended { bytes, status, .. } = received {
                answered = Some(status == 0 && bytes > VALUE_BYTES);
            }
        })
        .await?;
    }
    Ok(answered == Some(true))
}
