//! Everything that knows openraft: types, log, state machine, network, snapshots, membership.
//!
//! Nothing outside this folder names that crate, so that an upgrade touches one place (D3). What goes
//! out is [`Store`](crate::Store) and the few plain types it speaks.

mod announce;
mod appends;
mod batch;
mod config;
mod forward;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod history;
mod identity;
mod lease;
mod log;
mod membership;
mod metrics;
mod network;
mod node;
mod outgoing;
mod pace;
mod part_file;
mod planted;
mod pool;
mod progress;
mod propose;
mod read_index;
mod received;
mod record;
mod refound;
mod retention;
mod runtime;
mod serve;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod suite_tests;
mod turn;
mod types;
mod verify;
mod view;
mod watchman;
mod wire;

pub use self::config::{Sizes, StoreConfig, Timings};
pub use self::identity::{Identity, IdentityError};
pub(crate) use self::lease::{LeaseQuestion, LeaseTime};
pub use self::log::LogOpenError;
#[cfg(feature = "sim")]
pub(crate) use self::log::{LogStore, SimDisk, Unsynced};
pub(crate) use self::membership::Change;
pub use self::membership::{MembershipError, SERVER_ID_KEY};
pub use self::node::OpenError;
pub(crate) use self::node::{Node, on, runtime};
pub use self::pool::{ConnectError, PeerConnector, PlainConnector, tune};
pub use self::refound::{RecoverError, RefoundError, Refounded, RestoreError, Survivor, inspect, recover, restore};
pub use self::retention::Retention;
pub(crate) use self::serve::quarantined;
pub(crate) use self::snapshot::{Piece, PinnedExport};
pub use self::types::MemberNode;
pub use self::view::{Member, Role};
