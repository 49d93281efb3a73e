//! A whole cluster on this machine: servers and agents as processes of their own, under one folder.

pub(crate) mod down;
pub(crate) mod layout;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod up;
