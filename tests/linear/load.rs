//! What the clients ask for: few keys, so that they meet; every value another, so that whoever reads one knows whose it
//! is. Pure: the randomness is handed in.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

use super::{
    history::{Call, Outcome},
    model::{Compare, KeyOp, KeyRange, KeyValue, Op, Ordering, Refusal, Target, Txn},
};

/// Keys that all clients share.
const KEYS: u64 = 10;

/// One client's choices.
#[derive(Debug, Clone)]
pub struct Load {
    client: usize,
    made: u64,
    /// The keys as this client last saw them; a key that was not there has modification revision 0.
    seen: BTreeMap<String, KeyValue>,
    /// The lease that this client holds.
    lease: Option<i64>,
    leases_made: i64,
}

impl Load {
    /// A client.
    pub fn new(client: usize) -> Self {
        Self {
            client,
            made: 0,
            seen: BTreeMap::new(),
            lease: None,
            leases_made: 0,
        }
    }

    /// What it asks for next.
    pub fn next(&mut self, random: &mut impl Rng) -> Op {
        match random.random_range(0..100) {
            0..18 => Op::One(read(KeyRange::one(key(random)))),
            18..26 => Op::One(KeyOp::Range {
                range: KeyRange::between("k", "l"),
                limit: [0, 0, 3][random.random_range(0..3)],
            }),
            26..44 => Op::One(self.put(key(random), 0)),
            44..51 => match self.lease {
                Some(lease) => Op::One(self.put(key(random), lease)),
                None => self.grant(),
            },
            51..57 => Op::One(KeyOp::Delete {
                range: KeyRange::one(key(random)),
            }),
            57..58 => Op::One(KeyOp::Delete {
                range: KeyRange::between("k3", "k6"),
            }),
            58..78 => self.update(key(random), random),
            78..83 => self.delete_if_unchanged(&key(random)),
            83..91 => self.transfer(random),
            91..96 => self.look(random),
            _ => match self.lease {
                // The other half is left to end by itself.
                Some(lease) if random.random_bool(0.5) => Op::Revoke { lease },
                _ => self.grant(),
            },
        }
    }

    /// Takes note of an answer.
    pub fn learn(&mut self, op: &Op, outcome: &Outcome) {
        match (op, outcome) {
            (Op::Grant { lease }, Outcome::Done { .. }) => self.lease = Some(*lease),
            // What becomes of the lease is uncertain or settled; either way another one is taken.
            (Op::Revoke { .. }, _) | (_, Outcome::Refused(Refusal::LeaseNotFound)) => self.lease = None,
            _ => {}
        }
        let Outcome::Done { answer, .. } = outcome else {
            return;
        };
        if let Op::One(KeyOp::Range { range, .. }) = op
            && range.end.is_empty()
        {
            self.seen.remove(&range.key);
        }
        for kv in answer.shown() {
            self.seen.insert(kv.key.clone(), kv.clone());
        }
    }

    fn value(&mut self) -> String {
        self.made += 1;
        format!("{}.{}", self.client, self.made)
    }

    fn put(&mut self, key: String, lease: i64) -> KeyOp {
        KeyOp::Put {
            key,
            value: self.value(),
            lease,
        }
    }

    fn grant(&mut self) -> Op {
        self.leases_made += 1;
        let client = i64::try_from(self.client).unwrap_or(i64::MAX / 2_000_000);
        Op::Grant {
            lease: (client + 1) * 1_000_000 + self.leases_made,
        }
    }

    fn unchanged(&self, key: &str) -> Compare {
        let revision = self.seen.get(key).map_or(0, |kv| kv.mod_revision);
        Compare {
            key: key.to_owned(),
            target: Target::Mod(revision),
            ordering: Ordering::Equal,
        }
    }

    /// As Kubernetes updates: if the key is still what was seen, put, otherwise read.
    fn update(&mut self, key: String, random: &mut impl Rng) -> Op {
        let compare = match (self.seen.get(&key), random.random_range(0..4)) {
            (Some(kv), 0) => Compare {
                key: key.clone(),
                target: Target::Value(kv.value.clone()),
                ordering: Ordering::Equal,
            },
            (Some(kv), 1) => Compare {
                key: key.clone(),
                target: Target::Version(kv.version),
                ordering: Ordering::Equal,
            },
            _ => self.unchanged(&key),
        };
        let failure = vec![read(KeyRange::one(&*key))];
        Op::Txn(Txn {
            compares: vec![compare],
            success: vec![self.put(key, 0)],
            failure,
        })
    }

    fn delete_if_unchanged(&self, key: &str) -> Op {
        let range = KeyRange::one(key);
        Op::Txn(Txn {
            compares: vec![self.unchanged(key)],
            success: vec![KeyOp::Delete { range: range.clone() }],
            failure: vec![read(range)],
        })
    }

    /// Changes nothing on either side: it is answered without an entry of the log.
    fn look(&self, random: &mut impl Rng) -> Op {
        let (one, other) = (key(random), key(random));
        Op::Txn(Txn {
            compares: vec![self.unchanged(&one)],
            success: vec![read(KeyRange::between("k", "l"))],
            failure: vec![read(KeyRange::one(&*one)), read(KeyRange::one(&*other))],
        })
    }

    /// Two keys at once, with a read of more in between; on failure a read of all, and a write now and then.
    fn transfer(&mut self, random: &mut impl Rng) -> Op {
        let from = random.random_range(0..KEYS);
        let to = (from + random.random_range(1..KEYS)) % KEYS;
        let (from, to) = (format!("k{from}"), format!("k{to}"));
        let all = KeyRange::between("k", "l");
        let mut failure = vec![read(all.clone())];
        if random.random_bool(0.3) {
            failure.push(self.put(to.clone(), 0));
        }
        let first = if random.random_bool(0.3) {
            KeyOp::Delete {
                range: KeyRange::one(&*from),
            }
        } else {
            self.put(from.clone(), 0)
        };
        let newest = self.seen.values().map(|kv| kv.mod_revision).max().unwrap_or(0);
        Op::Txn(Txn {
            compares: vec![
                self.unchanged(&from),
                Compare {
                    key: to.clone(),
                    target: Target::Create(newest + 1),
                    ordering: if random.random_bool(0.9) {
                        Ordering::Less
                    } else {
                        Ordering::NotEqual
                    },
                },
            ],
            success: vec![first, read(all), self.put(to, 0)],
            failure,
        })
    }
}

fn key(random: &mut impl Rng) -> String {
    format!("k{}", random.random_range(0..KEYS))
}

fn read(range: KeyRange) -> KeyOp {
    KeyOp::Range { range, limit: 0 }
}

/// Whether a request changes nothing, whatever comes of it: then an unknown outcome is no outcome.
pub fn only_reads(op: &Op) -> bool {
    let reads = |op: &KeyOp| matches!(op, KeyOp::Range { .. });
    match op {
        Op::One(op) => reads(op),
        Op::Txn(txn) => txn.success.iter().chain(&txn.failure).all(reads),
        Op::Grant { .. } | Op::Revoke { .. } | Op::Expire { .. } | Op::Foreign { .. } => false,
    }
}

/// How many of the requests were carried out, refused, and of unknown outcome.
pub fn tally(calls: &[Call]) -> (usize, usize, usize) {
    let count = |is: fn(&Outcome) -> bool| calls.iter().filter(|call| is(&call.outcome)).count();
    (
        count(|outcome| matches!(outcome, Outcome::Done { .. })),
        count(|outcome| matches!(outcome, Outcome::Refused(_))),
        count(|outcome| *outcome == Outcome::Unknown),
    )
}
