//! A writer that does not wait: it writes at a steady pace whether or not answers come, so that it sees every pause.
//!
//! A closed loop would ask once during a pause and count one slow answer; this one asks on and on.

use std::{ops::ControlFlow, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use super::{
    messages,
    noise::{Dice, Noise},
    wire::{Received, Wire},
    work,
};

/// Writes without an answer at which no more are sent.
const MAX_IN_FLIGHT: usize = 4_000;
/// Keys that it writes, apart from those of the closed loops.
const FIRST_KEY: u64 = 9_000_000_000;
/// How many keys it writes.
const KEYS: u64 = 1_000;

/// A steady writer on one connection.
#[derive(Debug)]
pub struct Pulse {
    wire: Wire,
    period: Duration,
    value_bytes: usize,
    noise: Noise,
    dice: Dice,
    request: Vec<u8>,
}

/// A write that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Ack {
    /// When it was written.
    pub started: Instant,
    /// When its answer came.
    pub at: Instant,
}

impl Pulse {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn connect(endpoint: &str, period: Duration, value_bytes: usize) -> Result<Self> {
        Ok(Self {
            wire: Wire::connect(endpoint).await?,
            period,
            value_bytes,
            noise: Noise::default(),
            dice: Dice::new(3),
            request: Vec::new(),
        })
    }

    /// Writes until `acked` breaks or the deadline is over. Refused writes are not acknowledged, and that is all.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn beat(&mut self, deadline: Instant, mut acked: impl FnMut(Ack) -> ControlFlow<()>) -> Result<()> {
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Ok(());
            }
            if next <= now {
                self.write(now);
                next += self.period;
                if next <= now {
                    // What was missed because this task did not run is not made up for: it would be a burst.
                    next = now + self.period;
                }
            }
            self.wire.flush()?;
            let mut over = false;
            self.wire
                .turn(next.min(deadline), |received| {
                    if let Received::Ended { started, status: 0, .. } = received
                        && !over
                    {
                        let at = Instant::now();
                        over = acked(Ack { started, at }).is_break();
                    }
                })
                .await?;
            if over {
                return Ok(());
            }
        }
    }

    fn write(&mut self, now: Instant) {
        if self.wire.in_flight() >= MAX_IN_FLIGHT || !self.wire.has_room(self.value_bytes + 64) {
            return;
        }
        let key = work::key(FIRST_KEY + self.dice.below(KEYS));
        let value = self.noise.value(self.value_bytes, &mut self.dice);
        messages::put_request(&mut self.request, &key, value);
        self.wire.request(messages::PUT, &self.request, now);
    }
}
