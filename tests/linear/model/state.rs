//! The state of the store and what each request does to it.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{Answer, Compare, Event, KeyAnswer, KeyOp, KeyRange, KeyValue, Op, Ordering, Refusal, Target, Txn};

/// All keys and leases at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The revision.
    pub revision: i64,
    keys: BTreeMap<String, KeyValue>,
    /// The leases that live, each with the keys that are attached to it.
    leases: BTreeMap<i64, BTreeSet<String>>,
}

/// What a request does, worked out but not done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The answer.
    pub answer: Answer,
    /// The revision in the answer: a new one if anything changes.
    pub revision: i64,
    /// The changes, in their order within the revision.
    pub events: Vec<Event>,
    /// The lease that is made.
    granted: Option<i64>,
    /// The lease that ends.
    ended: Option<i64>,
}

/// Keys that a request has changed so far, over the state.
struct Draft<'s> {
    state: &'s State,
    changed: BTreeMap<String, Option<KeyValue>>,
    events: Vec<Event>,
}

impl Default for State {
    /// An empty store: etcd's first revision is 1.
    fn default() -> Self {
        Self {
            revision: 1,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
        }
    }
}

impl State {
    /// A state that was read whole.
    pub fn at(revision: i64, kvs: impl IntoIterator<Item = KeyValue>) -> Self {
        Self {
            revision,
            keys: kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect(),
            leases: BTreeMap::new(),
        }
    }

    /// A key.
    pub fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    /// The keys of a range.
    pub fn range(&self, range: &KeyRange) -> Vec<KeyValue> {
        self.keys
            .values()
            .filter(|kv| range.contains(&kv.key))
            .cloned()
            .collect()
    }

    /// Whether a lease lives without any key, so that its end leaves no trace.
    pub fn lease_is_bare(&self, lease: i64) -> bool {
        self.leases.get(&lease).is_some_and(BTreeSet::is_empty)
    }

    /// Works out what a request does.
    ///
    /// # Errors
    /// If the store must refuse it.
    pub fn evaluate(&self, op: &Op) -> Result<Applied, Refusal> {
        match op {
            Op::One(op) => {
                let mut draft = Draft::over(self);
                let answer = draft.apply(op)?;
                Ok(draft.finish(Answer::One(answer)))
            }
            Op::Txn(txn) => self.evaluate_txn(txn),
            Op::Grant { lease } if self.leases.contains_key(lease) => Err(Refusal::LeaseExists),
            Op::Grant { lease } => Ok(Applied {
                granted: Some(*lease),
                ..Draft::over(self).finish(Answer::Lease)
            }),
            Op::Foreign { .. } => Ok(Applied {
                revision: self.revision + 1,
                ..Draft::over(self).finish(Answer::Lease)
            }),
            Op::Revoke { lease } | Op::Expire { lease } => {
                let keys = self.leases.get(lease).ok_or(Refusal::LeaseNotFound)?;
                let mut draft = Draft::over(self);
                for key in keys {
                    draft.delete(&KeyRange::one(key));
                }
                Ok(Applied {
                    ended: Some(*lease),
                    ..draft.finish(Answer::Lease)
                })
            }
        }
    }

    fn evaluate_txn(&self, txn: &Txn) -> Result<Applied, Refusal> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let mut draft = Draft::over(self);
        let answers = ops.iter().map(|op| draft.apply(op)).collect::<Result<Vec<_>, _>>()?;
        Ok(draft.finish(Answer::Txn { succeeded, answers }))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let kv = self.keys.get(&compare.key);
        let number = |of: fn(&KeyValue) -> i64| kv.map_or(0, of);
        let ordering = match &compare.target {
            Target::Create(with) => number(|kv| kv.create_revision).cmp(with),
            Target::Mod(with) => number(|kv| kv.mod_revision).cmp(with),
            Target::Version(with) => number(|kv| kv.version).cmp(with),
            Target::Value(with) => match kv {
                None => return false,
                Some(kv) => kv.value.cmp(with),
            },
        };
        match compare.ordering {
            Ordering::Equal => ordering.is_eq(),
            Ordering::Greater => ordering.is_gt(),
            Ordering::Less => ordering.is_lt(),
            Ordering::NotEqual => ordering.is_ne(),
        }
    }

    /// Does what [`State::evaluate`] worked out.
    pub fn commit(&mut self, applied: &Applied) {
        for event in &applied.events {
            if let Some(previous) = &event.previous
                && let Some(keys) = self.leases.get_mut(&previous.lease)
            {
                keys.remove(&previous.key);
            }
            if event.deleted {
                self.keys.remove(&event.kv.key);
                continue;
            }
            if let Some(keys) = self.leases.get_mut(&event.kv.lease) {
                keys.insert(event.kv.key.clone());
            }
            self.keys.insert(event.kv.key.clone(), event.kv.clone());
        }
        if let Some(lease) = applied.granted {
            self.leases.insert(lease, BTreeSet::new());
        }
        if let Some(lease) = applied.ended {
            self.leases.remove(&lease);
        }
        self.revision = applied.revision;
    }
}

impl<'s> Draft<'s> {
    fn over(state: &'s State) -> Self {
        Self {
            state,
            changed: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    fn get(&self, key: &str) -> Option<&KeyValue> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.state.keys.get(key),
        }
    }

    fn range(&self, range: &KeyRange) -> Vec<KeyValue> {
        let untouched = self
            .state
            .keys
            .values()
            .filter(|kv| !self.changed.contains_key(&kv.key));
        let touched = self.changed.values().flatten();
        let mut found: Vec<KeyValue> = untouched
            .chain(touched)
            .filter(|kv| range.contains(&kv.key))
            .cloned()
            .collect();
        found.sort();
        found
    }

    fn apply(&mut self, op: &KeyOp) -> Result<KeyAnswer, Refusal> {
        match op {
            KeyOp::Range { range, limit } => {
                let mut kvs = self.range(range);
                let count = i64::try_from(kvs.len()).unwrap_or(i64::MAX);
                let more = *limit > 0 && count > *limit;
                if more {
                    kvs.truncate(usize::try_from(*limit).unwrap_or(usize::MAX));
                }
                Ok(KeyAnswer::Range { kvs, count, more })
            }
            KeyOp::Put { key, value, lease } => {
                if *lease != 0 && !self.state.leases.contains_key(lease) {
                    return Err(Refusal::LeaseNotFound);
                }
                let previous = self.get(key).cloned();
                let revision = self.state.revision + 1;
                let kv = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: previous.as_ref().map_or(revision, |kv| kv.create_revision),
                    mod_revision: revision,
                    version: previous.as_ref().map_or(0, |kv| kv.version) + 1,
                    lease: *lease,
                };
                self.changed.insert(key.clone(), Some(kv.clone()));
                self.events.push(Event {
                    kv,
                    deleted: false,
                    previous: previous.clone(),
                });
                Ok(KeyAnswer::Put { previous })
            }
            KeyOp::Delete { range } => Ok(KeyAnswer::Delete {
                previous: self.delete(range),
            }),
        }
    }

    fn delete(&mut self, range: &KeyRange) -> Vec<KeyValue> {
        let found = self.range(range);
        for kv in &found {
            self.changed.insert(kv.key.clone(), None);
            self.events.push(Event {
                kv: KeyValue {
                    key: kv.key.clone(),
                    mod_revision: self.state.revision + 1,
                    ..KeyValue::default()
                },
                deleted: true,
                previous: Some(kv.clone()),
            });
        }
        found
    }

    fn finish(self, answer: Answer) -> Applied {
        Applied {
            answer,
            revision: self.state.revision + i64::from(!self.events.is_empty()),
            events: self.events,
            granted: None,
            ended: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str, lease: i64) -> KeyOp {
        KeyOp::Put {
            key: key.to_owned(),
            value: value.to_owned(),
            lease,
        }
    }

    fn run(state: &mut State, op: &Op) -> Result<Applied, Refusal> {
        let applied = state.evaluate(op)?;
        state.commit(&applied);
        Ok(applied)
    }

    #[test]
    fn versions_and_revisions_are_counted() {
        let mut state = State::default();
        run(&mut state, &Op::One(put("a", "1", 0))).unwrap();
        run(&mut state, &Op::One(put("a", "2", 0))).unwrap();
        let kv = state.get("a").unwrap();
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
        let range = KeyRange::one("a");
        run(&mut state, &Op::One(KeyOp::Delete { range: range.clone() })).unwrap();
        assert_eq!((state.revision, state.get("a")), (4, None));
        run(&mut state, &Op::One(KeyOp::Delete { range })).unwrap();
        assert_eq!(state.revision, 4, "a delete of nothing is no change");
        run(&mut state, &Op::One(put("a", "3", 0))).unwrap();
        assert_eq!(state.get("a").unwrap().version, 1);
    }

    #[test]
    fn a_transaction_is_one_revision_and_reads_its_own_writes() {
        let mut state = State::default();
        let txn = Op::Txn(Txn {
            compares: vec![Compare {
                key: "a".to_owned(),
                target: Target::Mod(0),
                ordering: Ordering::Equal,
            }],
            success: vec![
                put("a", "1", 0),
                KeyOp::Range {
                    range: KeyRange::all(),
                    limit: 1,
                },
                put("b", "2", 0),
            ],
            failure: vec![],
        });
        let applied = run(&mut state, &txn).unwrap();
        assert_eq!((applied.revision, applied.events.len()), (2, 2));
        let Answer::Txn { succeeded, answers } = applied.answer else {
            panic!("a transaction answers as one");
        };
        assert!(succeeded);
        let shown = matches!(&answers[1], KeyAnswer::Range { kvs, count: 1, more: false } if kvs[0].value == "1");
        assert!(shown, "{answers:?}");
        let again = run(&mut state, &txn).unwrap();
        assert_eq!((again.revision, again.events.len()), (2, 0), "the comparison fails");
    }

    #[test]
    fn the_end_of_a_lease_deletes_its_keys_in_one_revision() {
        let mut state = State::default();
        assert_eq!(run(&mut state, &Op::One(put("a", "1", 7))), Err(Refusal::LeaseNotFound));
        run(&mut state, &Op::Grant { lease: 7 }).unwrap();
        assert_eq!(run(&mut state, &Op::Grant { lease: 7 }), Err(Refusal::LeaseExists));
        assert!(state.lease_is_bare(7));
        run(&mut state, &Op::One(put("b", "1", 7))).unwrap();
        run(&mut state, &Op::One(put("a", "1", 7))).unwrap();
        run(&mut state, &Op::One(put("c", "1", 7))).unwrap();
        run(&mut state, &Op::One(put("c", "2", 0))).unwrap();
        let before = state.revision;
        let applied = run(&mut state, &Op::Revoke { lease: 7 }).unwrap();
        let keys: Vec<&str> = applied.events.iter().map(|event| event.kv.key.as_str()).collect();
        assert_eq!((applied.revision, keys), (before + 1, vec!["a", "b"]), "c was detached");
        assert!(state.get("c").is_some());
        assert_eq!(run(&mut state, &Op::Expire { lease: 7 }), Err(Refusal::LeaseNotFound));
    }
}
