//! The shells that run the pure loops, and what they share.
//!
//! Every server keeps a [`world_cache::WorldCache`]; the one that leads runs [`leader`]'s loops on it.
//! Nothing here decides: decisions are functions in `trireme-logic`.

pub mod assignments;
pub mod controllers;
pub mod events;
pub mod forwarding;
pub mod heartbeats;
pub mod leader;
pub mod peers;
pub mod scheduler;
pub mod servers;
pub mod sessions;
pub mod tunnel;
pub mod work_queue;
pub mod world_cache;
pub mod writes;
