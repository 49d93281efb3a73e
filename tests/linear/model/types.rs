//! Requests and answers of the model, as far as the driver uses the API. Keys and values are text, for readable findings.

/// One key with its value and what the store knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The revision that made the key.
    pub create_revision: i64,
    /// The revision that last changed it.
    pub mod_revision: i64,
    /// How often it was written since it was made, itself included.
    pub version: i64,
    /// The lease that it is attached to; 0 for none.
    pub lease: i64,
}

/// One key, or all from `key` up to but without `end`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key.
    pub key: String,
    /// The first key behind the range; empty for `key` alone, one zero character for no end.
    pub end: String,
}

/// One operation on keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyOp {
    /// Reads.
    Range {
        /// Which keys.
        range: KeyRange,
        /// At most how many; 0 for all.
        limit: i64,
    },
    /// Writes, and asks for the value before.
    Put {
        /// Which key.
        key: String,
        /// The value: unique in the whole history.
        value: String,
        /// The lease to attach it to; 0 for none.
        lease: i64,
    },
    /// Deletes, and asks for the values before.
    Delete {
        /// Which keys.
        range: KeyRange,
    },
}

/// What a comparison looks at, and what with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The revision that made the key; 0 if there is none.
    Create(i64),
    /// The revision that changed it; 0 if there is none.
    Mod(i64),
    /// Its version; 0 if there is none.
    Version(i64),
    /// Its value; a missing key never fits.
    Value(String),
}

/// How a comparison compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ordering {
    /// The key's is the same.
    Equal,
    /// The key's is greater.
    Greater,
    /// The key's is less.
    Less,
    /// The key's is another.
    NotEqual,
}

/// One comparison of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Compare {
    /// Which key.
    pub key: String,
    /// What of it.
    pub target: Target,
    /// How.
    pub ordering: Ordering,
}

/// If all comparisons hold the first list is done, otherwise the second, in one revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Txn {
    /// The comparisons.
    pub compares: Vec<Compare>,
    /// What is done if they hold.
    pub success: Vec<KeyOp>,
    /// What is done otherwise.
    pub failure: Vec<KeyOp>,
}

/// One request, or something that the store does by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// One operation on keys.
    One(KeyOp),
    /// Several, on condition.
    Txn(Txn),
    /// Makes a lease.
    Grant {
        /// Its id.
        lease: i64,
    },
    /// Ends a lease and deletes its keys.
    Revoke {
        /// Its id.
        lease: i64,
    },
    /// A lease ends because its time is over. Nobody asks for it, so its outcome is always unknown.
    Expire {
        /// Its id.
        lease: i64,
    },
    /// Somebody else changed keys that no client of the run reads or writes. Only watchers tell of it.
    Foreign {
        /// The revision that was made.
        revision: i64,
    },
}

/// The answer to one operation on keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyAnswer {
    /// What was read.
    Range {
        /// The keys.
        kvs: Vec<KeyValue>,
        /// How many there are, whatever the limit.
        count: i64,
        /// Whether the limit cut some off.
        more: bool,
    },
    /// It was written.
    Put {
        /// What was there before.
        previous: Option<KeyValue>,
    },
    /// They were deleted.
    Delete {
        /// What was there before.
        previous: Vec<KeyValue>,
    },
}

/// The answer to a request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// To one operation.
    One(KeyAnswer),
    /// To a transaction.
    Txn {
        /// Whether the comparisons held.
        succeeded: bool,
        /// The answers of the list that was done.
        answers: Vec<KeyAnswer>,
    },
    /// The lease is there, or is gone.
    Lease,
}

/// Why a request was certainly not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no such lease.
    LeaseNotFound,
    /// There is one of that id already.
    LeaseExists,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// The key as it is now. Of a deleted one only the key and the revision are there.
    pub kv: KeyValue,
    /// Whether it was deleted.
    pub deleted: bool,
    /// The key as it was before, if it was there.
    pub previous: Option<KeyValue>,
}

impl KeyRange {
    /// One key.
    pub fn one(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            end: String::new(),
        }
    }

    /// All keys.
    pub fn all() -> Self {
        Self {
            key: "\0".to_owned(),
            end: "\0".to_owned(),
        }
    }

    /// From one key up to but without another.
    pub fn between(key: impl Into<String>, end: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            end: end.into(),
        }
    }

    /// Whether a key is in the range.
    pub fn contains(&self, key: &str) -> bool {
        match self.end.as_str() {
            "" => key == self.key,
            "\0" => key >= self.key.as_str(),
            end => key >= self.key.as_str() && key < end,
        }
    }
}

impl Op {
    /// The leases that it needs.
    pub fn leases(&self) -> Vec<i64> {
        let of = |op: &KeyOp| match op {
            KeyOp::Put { lease, .. } if *lease != 0 => Some(*lease),
            KeyOp::Put { .. } | KeyOp::Range { .. } | KeyOp::Delete { .. } => None,
        };
        match self {
            Self::One(op) => of(op).into_iter().collect(),
            Self::Txn(txn) => txn.success.iter().chain(&txn.failure).filter_map(of).collect(),
            Self::Revoke { lease } | Self::Expire { lease } => vec![*lease],
            Self::Grant { .. } | Self::Foreign { .. } => Vec::new(),
        }
    }

    /// Every key and value that it may write, in either list of a transaction.
    pub fn writes(&self) -> Vec<(&str, &str)> {
        let ops: Vec<&KeyOp> = match self {
            Self::One(op) => vec![op],
            Self::Txn(txn) => txn.success.iter().chain(&txn.failure).collect(),
            Self::Grant { .. } | Self::Revoke { .. } | Self::Expire { .. } | Self::Foreign { .. } => Vec::new(),
        };
        ops.into_iter()
            .filter_map(|op| match op {
                KeyOp::Put { key, value, .. } => Some((key.as_str(), value.as_str())),
                KeyOp::Range { .. } | KeyOp::Delete { .. } => None,
            })
            .collect()
    }
}

impl Answer {
    /// Every key with its value that the answer shows.
    pub fn shown(&self) -> Vec<&KeyValue> {
        let answers: &[KeyAnswer] = match self {
            Self::One(answer) => std::slice::from_ref(answer),
            Self::Txn { answers, .. } => answers,
            Self::Lease => &[],
        };
        let mut shown = Vec::new();
        for answer in answers {
            match answer {
                KeyAnswer::Range { kvs, .. } => shown.extend(kvs),
                KeyAnswer::Put { previous } => shown.extend(previous),
                KeyAnswer::Delete { previous } => shown.extend(previous),
            }
        }
        shown
    }
}
