//! The replicated store: one server's replica, and consensus with the others.
//!
//! [`Kv`](kv::Kv) is what everything above speaks. [`Store`] implements it over Raft and RocksDB,
//! [`LocalKv`] in memory for tests. What openraft is, only `raft/` knows; what RocksDB is,
//! only `raft/log/` and `engine/` do (D3). What a command means is `trireme-mvcc`'s, without any I/O.
//!
//! Invariants kept here: I1 (an acknowledged write survives), I2 (every server applies the same), I3 (watches),
//! I5 (no write of a deposed leader's loop).

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod engine;
pub mod kv;
pub mod limits;
pub mod local;
mod raft;
mod server;
mod store;
pub mod watch;

pub use local::LocalKv;
pub use raft::{
    ConnectError, Identity, IdentityError, LogOpenError, Member, MemberNode, MembershipError, OpenError, PeerConnector,
    PlainConnector, Role, SERVER_ID_KEY, Sizes, StoreConfig, Timings, tune,
};
pub use store::{LogUse, Store, StoreStatus};
