//! Lanes: who may work now, who waits, and who is told to come back later.
//!
//! Consensus and heartbeats have threads and a port of their own, and are not in here. Everything else that this server
//! does for somebody belongs to one of three lanes, each with seats, a bounded queue and a bound on the answers that
//! are held for clients who have not taken them yet. What is done for the cluster itself and what is small have seats that
//! nobody else ever gets; large work has one slice's worth of its own, and what the others leave of the processors. Large
//! work is done in bounded slices, each of which takes its turn, so that it gives way within one slice. Within a lane, flows
//! (connections) take turns, so that one client's flood does not hold up another's.
//!
//! What decides is pure: `core` with its `queue`. `shell` lets tasks wait for it. Which request belongs into which lane
//! is for the doors to say: `server/etcd/lanes.rs` here, and the API server's pipeline.

mod answer;
mod body;
mod core;
mod queue;
mod shell;
mod sizes;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use answer::Answer;
pub use body::{HeldBody, carry, carry_http, is_carried, look_after, release};
pub use shell::{Lanes, Seat, in_turns};
pub use sizes::{LaneSize, LaneSizes};

/// What kind of work something is. Ordered by what goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What the cluster does for itself: its nodes and servers, its loops, leases that are kept alive.
    System,
    /// What is small: reads and writes of a few keys, and the beginnings of watches.
    Users,
    /// What is large, or may be: whole ranges, backups, hashes, history.
    Bulk,
}

impl Lane {
    /// All, by what goes first.
    pub const ALL: [Self; 3] = [Self::System, Self::Users, Self::Bulk];

    /// Its name, as people are shown it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Users => "users",
            Self::Bulk => "bulk",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::System => 0,
            Self::Users => 1,
            Self::Bulk => 2,
        }
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose work it is, as far as turns are taken: a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Flow(pub u64);

/// Who asks, and for what kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The kind of work.
    pub lane: Lane,
    /// Whose it is.
    pub flow: Flow,
}

/// Why something was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Full {
    /// As many wait as may.
    Queue,
    /// As many of this connection wait as may of one.
    QueueOfFlow,
    /// No seat came free in time.
    Waited,
    /// Clients have not taken the answers yet that are held for them.
    Answers,
    /// As much is being proposed as may be.
    Proposals,
}

/// That something was not let in: nothing of it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lane {lane} is full: {}; {waiting} requests wait in it; come back in {retry_after:?}", self.why())]
pub struct Refused {
    /// Where.
    pub lane: Lane,
    /// Why.
    pub full: Full,
    /// How many wait there.
    pub waiting: usize,
    /// When to come back.
    pub retry_after: Duration,
}

impl Refused {
    fn why(&self) -> &'static str {
        match self.full {
            Full::Queue => "as many requests wait as may",
            Full::QueueOfFlow => "as many requests of this connection wait as may of one",
            Full::Waited => "no turn came in time",
            Full::Answers => "too much waits to be taken by clients that asked before",
            Full::Proposals => "as much is being written as may be at a time",
        }
    }
}

/// How full one lane is, and what it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneUse {
    /// Seats in use now.
    pub seats_in_use: u64,
    /// Seats that it has for itself.
    pub seats: u64,
    /// Requests that wait now.
    pub waiting: u64,
    /// Bytes of answers that are held now, until clients have taken them.
    pub answer_bytes: u64,
    /// How often somebody was let in so far; large work once a slice.
    pub admitted: u64,
    /// How often somebody was refused so far.
    pub refused: u64,
}

/// How full the lanes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LanesUse {
    /// See [`Lane::System`].
    pub system: LaneUse,
    /// See [`Lane::Users`].
    pub users: LaneUse,
    /// See [`Lane::Bulk`].
    pub bulk: LaneUse,
}

impl LanesUse {
    /// The lanes with their use, by what goes first.
    #[must_use]
    pub fn by_lane(&self) -> [(Lane, LaneUse); 3] {
        [
            (Lane::System, self.system),
            (Lane::Users, self.users),
            (Lane::Bulk, self.bulk),
        ]
    }
}
