//! What happened, as the clients saw it. Plain data, so that the checks are pure.

use std::collections::{BTreeMap, BTreeSet};

/// What a writer knows of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRecord {
    /// Which writer.
    pub writer: usize,
    /// The object's name.
    pub name: String,
    /// The value written; unique in the whole run.
    pub value: String,
    /// How it ended.
    pub outcome: WriteOutcome,
}

/// How a write ended, as far as the writer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Acknowledged, at this revision.
    Acknowledged {
        /// The `resourceVersion` in the answer.
        revision: i64,
    },
    /// Refused: certainly not carried out.
    Refused,
    /// Unknown: it may have been carried out, once, then or later.
    Unknown,
}

/// One change that a watcher was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenChange {
    /// The change's revision.
    pub revision: i64,
    /// The object's name.
    pub name: String,
    /// The value, or none if the object was deleted.
    pub value: Option<String>,
}

/// One pod as a watcher saw it at some time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenPod {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// The node it is bound to; empty if none.
    pub node: String,
}

/// One object of the final state, as one server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalObject {
    /// The object's name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The revision of its last change.
    pub revision: i64,
}

/// Everything that was recorded in a run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// All writes, each writer's in its own order.
    pub writes: Vec<WriteRecord>,
    /// What the watcher was sent, in order.
    pub watched: Vec<SeenChange>,
    /// The revision after which the watch began.
    pub watch_start: i64,
    /// Every state of every pod that the pods' watcher was sent.
    pub pods: BTreeSet<SeenPod>,
    /// The final state, by server.
    pub finals: BTreeMap<String, Vec<FinalObject>>,
    /// Applied index and state hash at the end, by server.
    pub hashes: BTreeMap<String, (u64, String)>,
    /// Why the Deployment does not have its last count of pods, all ready, if it was waited for in vain.
    pub unsettled: Option<String>,
}
