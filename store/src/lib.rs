//! The replicated store: one server's replica, and consensus with the others.
//!
//! [`Kv`](kv::Kv) is what everything above speaks. [`Store`] implements it over Raft and RocksDB,
//! [`LocalKv`] in memory for tests. What openraft is, only `raft/` knows; what RocksDB is,
//! only `raft/log/` and `engine/` do (D3). What a command means is `trireme-mvcc`'s, without any I/O.
//!
//! Invariants kept here: I1 (an acknowledged write survives), I2 (every server applies the same), I3 (watches),
//! I5 (no write of a deposed leader's loop).

mod backup;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod engine;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod integrity;
pub mod kv;
mod lease;
pub mod limits;
pub mod local;
mod quarantine;
mod raft;
mod server;
mod space;
mod store;
pub mod watch;

pub use backup::{Backup, BackupError, BackupFile, BackupHeader, BackupMember};
pub use local::LocalKv;
pub use raft::{
    ConnectError, Identity, IdentityError, LogOpenError, Member, MemberNode, MembershipError, OpenError, PeerConnector,
    PlainConnector, RecoverError, RefoundError, Refounded, RestoreError, Role, SERVER_ID_KEY, Sizes, StoreConfig,
    Survivor, Timings, inspect, recover, restore, tune,
};
pub use server::etcd::{ETCD_CLIENT_URL_PREFIX, ETCD_VERSION};
pub use server::quarantined_peer_service;
pub use space::{Space, SpaceLimits};
pub use store::{LogUse, Store, StoreStatus};
pub use trireme_mvcc::alarm::{Alarm, AlarmKind, WHOLE_CLUSTER};
