//! Watches on this server's own replica.
//!
//! The [`Hub`] is told of every applied chunk. It keeps the latest changes in a window in memory, shared by all
//! watchers, and wakes those whose keys changed. A watcher is only a cursor: near the present it reads the window, and
//! when it has fallen behind it reads the engine's history, so that a slow watcher costs nobody anything.
//! Kept here is invariant I3: each change in the range once, in order, whole revisions, from any revision.

mod bell;
mod cursor;
mod hub;
mod metrics;
mod ranges;
mod set;
mod shared;
mod topics;
mod window;

#[cfg(test)]
mod tests;

pub use hub::Hub;
pub(crate) use set::{Delivery, EventRef, WatchSet};
pub use topics::{About, Topics};
