//! The replicated store: one server's replica, and consensus with the others.
//!
//! [`Kv`](kv::Kv) is what everything above speaks. [`Store`] implements it over Raft and RocksDB,
//! [`LocalKv`] in memory for tests. What openraft is, only `raft/` knows; what RocksDB is,
//! only `raft/log/` and `engine/` do (D3). What a command means is `trireme-mvcc`'s, without any I/O.
//!
//! Invariants kept here: I1 (an acknowledged write survives), I2 (every server applies the same), I3 (watches),
//! I5 (no write of a deposed leader's loop).

mod backup;
mod blocking;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod engine;
mod faults;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod integrity;
pub mod kv;
pub mod lanes;
mod lease;
pub mod limits;
pub mod local;
pub mod metrics;
mod quarantine;
mod raft;
mod server;
#[cfg(feature = "sim")]
pub mod sim;
mod space;
mod store;
pub mod watch;

pub use backup::{Backup, BackupError, BackupFile, BackupHeader, BackupMember};
#[cfg(feature = "faults")]
pub use faults::{Failpoint, Planted, follow_failpoints};
pub use local::LocalKv;
pub use raft::{
    ConnectError, Identity, IdentityError, LogOpenError, Member, MemberNode, MembershipError, OpenError, PeerConnector,
    PlainConnector, RecoverError, RefoundError, Refounded, RestoreError, Retention, Role, SERVER_ID_KEY, Sizes,
    StoreConfig, Survivor, Timings, inspect, recover, restore, tune,
};
pub use server::etcd::{Direct, DirectBody, DirectKv, ETCD_CLIENT_URL_PREFIX, ETCD_VERSION, Replayed};
pub use server::quarantined_peer_service;
pub use space::{Space, SpaceLimits};
pub use store::{LogUse, Store, StoreStatus};
pub use trireme_mvcc::alarm::{Alarm, AlarmKind, WHOLE_CLUSTER};
