//! The types that openraft is configured with, and our log entry.
//!
//! Terms are classic Raft's: at most one leader a term (`leader_id_std`), so that a log id is the
//! pair (term, index), and a term alone names a leadership, which is what fences are made of. The
//! choice is on disk and on the wire and cannot be changed later.

use std::fmt;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::impls::leader_id_std;
use openraft::{EntryPayload, Membership};
use serde::{Deserialize, Serialize};
use trireme_mvcc::outcome::Outcome;

openraft::declare_raft_types!(
    /// The store's configuration of openraft.
    pub(crate) TypeConfig:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = MemberNode,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        Vote = openraft::impls::Vote<leader_id_std::LeaderId<u64, u64>>,
        Payload = EntryPayload<Command, u64, MemberNode>,
        Entry = LogEntry,
        AsyncRuntime = super::runtime::Runtime,
);

/// Who proposed an entry: with one leader a term, the term says it.
pub(crate) type CommittedLeaderId = openraft::alias::CommittedLeaderIdOf<TypeConfig>;
/// Identity of a log entry.
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// A vote.
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
/// What an entry carries.
pub(crate) type Payload = EntryPayload<Command, u64, MemberNode>;
/// Voters, learners and their addresses.
pub(crate) type RaftMembership = Membership<u64, MemberNode>;
/// A membership and the log id it came with.
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot is of.
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// The log id of `(term, index)`.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

/// What the membership records of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemberNode {
    /// Its name.
    pub name: String,
    /// Where clients reach it, `host:port`.
    pub api_address: String,
    /// Where the other servers reach it, `host:port`.
    pub peer_address: String,
}

/// An encoded command of the state machine. Consensus carries it without looking inside.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command(pub(crate) Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} bytes)", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the state machine answered to a command; nothing for entries that carry no command.
///
/// openraft only hands it from apply to the proposer on the same server, so it is never serialised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The answer.
    #[serde(skip)]
    pub(crate) outcome: Option<Outcome>,
}

/// One entry of the log.
///
/// `record` is the entry as it stands in the log file and travels to the other servers. It is made
/// once, and the payload's bytes are a slice of it, so that cloning an entry copies nothing.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    /// Its identity.
    pub(crate) log_id: LogId,
    /// What it carries.
    pub(crate) payload: Payload,
    /// Its encoded form, once made.
    #[serde(skip)]
    pub(crate) record: Option<Bytes>,
}

impl PartialEq for LogEntry {
    fn eq(&self, other: &Self) -> bool {
        self.log_id == other.log_id && self.payload == other.payload
    }
}

impl fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogEntry")
            .field("log_id", &self.log_id)
            .field("payload", &self.payload)
            .finish()
    }
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log_id, self.payload)
    }
}

impl RaftEntry for LogEntry {
    type CommittedLeaderId = CommittedLeaderId;
    type Payload = Payload;

    fn new(log_id: LogId, payload: Payload) -> Self {
        Self {
            log_id,
            payload,
            record: None,
        }
    }

    fn log_id_parts(&self) -> (&CommittedLeaderId, u64) {
        (&self.log_id.leader_id, self.log_id.index)
    }

    fn set_log_id(&mut self, new: LogId) {
        // The record carries the log id, so it is stale from here on.
        self.log_id = new;
        self.record = None;
    }

    fn get_membership(&self) -> Option<RaftMembership> {
        match &self.payload {
            EntryPayload::Membership(membership) => Some(membership.clone()),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        }
    }
}
