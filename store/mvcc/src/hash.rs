//! The hash over everything that was applied, by which servers compare their states (invariant I2).
//!
//! It rolls: each entry's hash covers the hash before it, the entry's place and its logical effects. It does not
//! cover what physical compaction has removed, which differs between servers.

use sha2::{Digest, Sha256};

use crate::alarm::AlarmKind;
use crate::types::{Event, EventKind, Lease, Revision};

/// 128 bits of a SHA-256.
pub type StateHash = [u8; 16];

/// Gathers the effects of one entry.
pub(crate) struct EntryHash {
    digest: Sha256,
}

impl EntryHash {
    pub(crate) fn new(before: &StateHash, term: u64, index: u64) -> Self {
        let mut digest = Sha256::new();
        digest.update(before);
        digest.update(term.to_be_bytes());
        digest.update(index.to_be_bytes());
        Self { digest }
    }

    pub(crate) fn event(&mut self, event: &Event) {
        let kind = match event.kind {
            EventKind::Put => 1u8,
            EventKind::Delete => 2,
        };
        let kv = &event.kv;
        self.digest.update([kind]);
        for number in [kv.mod_revision, kv.create_revision, kv.version, kv.lease] {
            self.digest.update(number.to_be_bytes());
        }
        for part in [&kv.key, &kv.value] {
            self.digest.update((part.len() as u64).to_be_bytes());
            self.digest.update(part);
        }
    }

    pub(crate) fn compaction(&mut self, revision: Revision) {
        self.digest.update([3u8]);
        self.digest.update(revision.to_be_bytes());
    }

    pub(crate) fn alarm(&mut self, raised: bool, kind: AlarmKind, member: u64) {
        self.digest.update([4u8, u8::from(raised), kind.tag()]);
        self.digest.update(member.to_be_bytes());
    }

    /// A lease as it now stands; `None` if it is gone. The deletions of its keys are events of their own.
    pub(crate) fn lease(&mut self, id: i64, lease: Option<Lease>) {
        self.digest.update([5u8, u8::from(lease.is_some())]);
        self.digest.update(id.to_be_bytes());
        if let Some(Lease {
            granted_ttl_s,
            remaining_ttl_s,
        }) = lease
        {
            self.digest.update(granted_ttl_s.to_be_bytes());
            self.digest.update(remaining_ttl_s.to_be_bytes());
        }
    }

    pub(crate) fn finish(self) -> StateHash {
        let whole = self.digest.finalize();
        let mut hash = StateHash::default();
        hash.copy_from_slice(&whole[..size_of::<StateHash>()]);
        hash
    }
}
