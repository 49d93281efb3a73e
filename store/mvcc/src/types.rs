//! The words of the store: keys, revisions, transactions and what they answer.
//!
//! These types are the whole language between the store and everything above it, and, encoded, the
//! content of Raft entries. They follow the etcd v3 data model. Nothing here decides anything.

use bytes::Bytes;

use crate::limits::KEY_VALUE_OVERHEAD_BYTES;

/// The store's global revision: 1 in an empty store, one higher for each transaction that changed something.
pub type Revision = i64;

/// A half-open range of keys, or one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// First key of the range.
    pub start: Bytes,
    /// First key after the range; `None` for the one key `start`; `Some(empty)` for no upper bound.
    pub end: Option<Bytes>,
}

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// Revision in which the key came to exist.
    pub create_revision: Revision,
    /// Revision of this version.
    pub mod_revision: Revision,
    /// 1 at creation, one higher each change.
    pub version: i64,
    /// The lease the key is attached to; 0 for none.
    pub lease: i64,
}

/// Reads keys at one revision. Build it from [`RangeRequest::latest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// At most how many, of those that `filter` lets through, in `order`; 0 for no bound.
    pub limit: usize,
    /// At which revision; 0 for the latest.
    pub revision: Revision,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count. `limit`, `filter`, `order` and `bytes_max` then mean nothing.
    pub count_only: bool,
    /// In which order.
    pub order: Order,
    /// Which of them, by their revisions.
    pub filter: RevisionFilter,
    /// Fill [`RangeResponse::count`] in any case, with the number of all keys of the range, whatever `limit` and
    /// `filter`. Without it, an answer that was cut says nothing about the rest, and costs nothing for it.
    pub count_total: bool,
    /// The answer ends before the key that would make it larger than this, in bytes as [`KeyValue::bytes`] counts
    /// them; one key always fits. 0 for no bound: then an answer beyond a constant is refused instead of cut.
    pub bytes_max: usize,
}

/// By what an answer is sorted. Keys that are equal in it come in their own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// The key itself.
    #[default]
    Key,
    /// The version.
    Version,
    /// The create revision.
    CreateRevision,
    /// The mod revision.
    ModRevision,
    /// The value.
    Value,
}

/// The order of an answer; by default that of the keys, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order {
    /// By what.
    pub by: SortBy,
    /// Greatest first.
    pub descending: bool,
}

/// Bounds on the revisions of the keys of an answer, each inclusive; 0 for no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RevisionFilter {
    /// Least mod revision.
    pub min_mod_revision: Revision,
    /// Greatest mod revision.
    pub max_mod_revision: Revision,
    /// Least create revision.
    pub min_create_revision: Revision,
    /// Greatest create revision.
    pub max_create_revision: Revision,
}

/// What a range read saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeResponse {
    /// The keys in order.
    pub kvs: Vec<KeyValue>,
    /// True if `limit` or `bytes_max` cut the answer.
    pub more: bool,
    /// Number of keys in the range, regardless of `limit`, `bytes_max` and `filter`. Only filled with `count_only` or
    /// `count_total`, or if the whole range was looked at.
    pub count: Option<u64>,
    /// The store's revision when it was read (not the requested one).
    pub revision: Revision,
}

/// How a compare's two sides must relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareResult {
    /// Equal.
    Equal,
    /// Actual greater than expected.
    Greater,
    /// Actual less than expected.
    Less,
    /// Different.
    NotEqual,
}

/// What of a key is compared. An absent key has 0 in every number and no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareTarget {
    /// Its version.
    Version(i64),
    /// Its create revision.
    CreateRevision(Revision),
    /// Its mod revision. 0: the key does not exist.
    ModRevision(Revision),
    /// Its value.
    Value(Bytes),
    /// Its lease.
    Lease(i64),
}

/// A condition of a transaction; over a range it must hold for every key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// Which keys.
    pub range: KeyRange,
    /// How the sides must relate.
    pub result: CompareResult,
    /// What is compared with what.
    pub target: CompareTarget,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Stores a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// The lease to attach to, which must exist; 0 for none.
        lease: i64,
        /// Answer with the version before.
        prev_kv: bool,
        /// Keep the value that the key has, instead of `value`. The key must exist.
        ignore_value: bool,
        /// Keep the lease that the key has, instead of `lease`. The key must exist.
        ignore_lease: bool,
    },
    /// Deletes keys.
    Delete {
        /// Which keys.
        range: KeyRange,
        /// Answer with the deleted versions.
        prev_kv: bool,
    },
    /// Reads keys; sees the transaction's earlier writes.
    Range(RangeRequest),
    /// A nested transaction.
    Txn(Box<Txn>),
}

/// A transaction: if all compares hold then `success`, else `failure`, atomically, in one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// The conditions.
    pub compares: Vec<Compare>,
    /// Done if all conditions hold.
    pub success: Vec<Op>,
    /// Done otherwise.
    pub failure: Vec<Op>,
}

impl Txn {
    /// Whether nothing can be changed by it, whichever side is taken.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            Op::Range(_) => true,
            Op::Txn(nested) => nested.is_read_only(),
            Op::Put { .. } | Op::Delete { .. } => false,
        })
    }
}

/// What one operation answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResponse {
    /// Of a put: the version before, if asked for.
    Put(Option<KeyValue>),
    /// Of a delete.
    Delete {
        /// How many keys went.
        deleted: u64,
        /// Their last versions, if asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// Of a range.
    Range(RangeResponse),
    /// Of a nested transaction.
    Txn(TxnResponse),
}

/// What a transaction answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TxnResponse {
    /// True if all compares held.
    pub succeeded: bool,
    /// One an operation of the branch taken.
    pub responses: Vec<OpResponse>,
    /// The store's revision after the transaction. If it changed anything, the revision of its writes.
    pub revision: Revision,
}

/// A lease as the state holds it. Its clock runs on the leader, not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The time to live that it was granted, in seconds.
    pub granted_ttl_s: i64,
    /// What was left of it at the last checkpoint, in seconds; 0 if it has been renewed since, or was never
    /// checkpointed.
    pub remaining_ttl_s: i64,
}

/// What an entry did to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseChange {
    /// It was granted, or what remains of it was noted: this is how it now stands.
    Set {
        /// Its id.
        id: i64,
        /// How it stands.
        lease: Lease,
        /// True if it did not exist before.
        granted: bool,
    },
    /// It and its keys are gone.
    Revoked {
        /// Its id.
        id: i64,
    },
}

/// What replicas that hold the same content agree on, whatever physical compaction has removed on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKv {
    /// CRC32 over every version of every key at or below `hash_revision` that is not compacted away.
    pub hash: u32,
    /// The revision that it is of.
    pub hash_revision: Revision,
    /// The compaction watermark that it was taken under. Only hashes of the same one compare.
    pub compact_revision: Revision,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was stored.
    Put,
    /// It was deleted.
    Delete,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The new version. Of a delete: the key and, as `mod_revision`, the revision of the deletion.
    pub kv: KeyValue,
    /// The version before; `None` if the key is new.
    pub prev_kv: Option<KeyValue>,
}

impl KeyRange {
    /// The one key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self {
            start: key.into(),
            end: None,
        }
    }

    /// All keys that begin with `prefix`; all keys if it is empty.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = Self::prefix_end(&start);
        Self { start, end: Some(end) }
    }

    /// The first key after all keys that begin with `prefix`; empty if there is none.
    pub fn prefix_end(prefix: &[u8]) -> Bytes {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return end.into();
            }
        }
        Bytes::new()
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            None => key == self.start,
            Some(end) => key >= &self.start[..] && (end.is_empty() || key < &end[..]),
        }
    }
}

impl KeyValue {
    /// What it counts for where answers are bounded, in bytes: key, value, and a constant for the rest.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len() + KEY_VALUE_OVERHEAD_BYTES
    }
}

impl Op {
    /// Stores `value` under `key`, with no lease, and without an answer about the version before.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            lease: 0,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }
}

impl RangeRequest {
    /// The latest versions of all keys in `range`, in their order.
    pub fn latest(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: 0,
            keys_only: false,
            count_only: false,
            order: Order::default(),
            filter: RevisionFilter::default(),
            count_total: false,
            bytes_max: 0,
        }
    }
}

impl RevisionFilter {
    /// Whether a key of these revisions passes.
    pub fn lets_through(&self, mod_revision: Revision, create_revision: Revision) -> bool {
        let within = |revision: Revision, min: Revision, max: Revision| {
            (min == 0 || revision >= min) && (max == 0 || revision <= max)
        };
        within(mod_revision, self.min_mod_revision, self.max_mod_revision)
            && within(create_revision, self.min_create_revision, self.max_create_revision)
    }

    /// Whether every key passes.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}
