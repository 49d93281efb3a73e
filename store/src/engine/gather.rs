//! A range read that is put together slice by slice, at one revision. Pure: the slices are read by somebody else.
//!
//! What comes out is encoded slice by slice, too, so that no large answer is held twice, or encoded in one go where others
//! wait for the thread.

use bytes::Bytes;
use trireme_mvcc::limits::{RANGE_BYTES_MAX, VALUE_BYTES_MAX};
use trireme_mvcc::range::ReadError;
use trireme_mvcc::rank::First;
use trireme_mvcc::slice::Slice;
use trireme_mvcc::types::{KeyRange, KeyValue, Order, RangeRequest, Revision, SortBy};

use crate::limits::BULK_SLICE_BYTES;

/// How found keys are encoded.
pub(crate) type Encode = fn(Vec<KeyValue>) -> Bytes;

/// What a range read came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// The keys, encoded, in order.
    pub(crate) pieces: Vec<Bytes>,
    /// How many there are.
    pub(crate) found: usize,
    /// Whether there are more behind the limit.
    pub(crate) more: bool,
    /// How many keys the range has, if that was asked for, or came out by itself.
    pub(crate) count: Option<u64>,
    /// The store's revision at the beginning.
    pub(crate) revision: Revision,
}

/// What is still looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Keys of the answer.
    Keys,
    /// One more key that the filter lets through.
    OneMore,
    /// Only how many keys there are.
    Count,
    /// Nothing.
    Done,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gather {
    asked: RangeRequest,
    /// What the next slice is asked for.
    rest: RangeRequest,
    phase: Phase,
    /// The keys of an answer in another order than their own.
    sorted: Option<First>,
    encode: Encode,
    bytes: usize,
    seen: u64,
    last: Option<Bytes>,
    gathered: Gathered,
}

impl Gather {
    /// A read of which nothing was read yet. It must not set `bytes_max`.
    pub(crate) fn new(asked: RangeRequest, encode: Encode) -> Self {
        debug_assert_eq!(asked.bytes_max, 0, "answers in parts are not gathered");
        let is_sorted = !asked.count_only && asked.order != Order::default();
        let limit = if asked.limit == 0 { usize::MAX } else { asked.limit };
        let rest = RangeRequest {
            order: Order::default(),
            // An order needs all keys, and one by value needs values.
            limit: if is_sorted { 0 } else { asked.limit },
            keys_only: asked.keys_only && !(is_sorted && asked.order.by == SortBy::Value),
            ..asked.clone()
        };
        Self {
            rest,
            phase: if asked.count_only { Phase::Count } else { Phase::Keys },
            sorted: is_sorted.then(|| First::new(asked.order, limit, usize::MAX)),
            encode,
            bytes: 0,
            seen: 0,
            last: None,
            gathered: Gathered {
                pieces: Vec::new(),
                found: 0,
                more: false,
                count: None,
                revision: 0,
            },
            asked,
        }
    }

    /// What the next slice is to be read of; `None` once there is nothing more to read.
    pub(crate) fn wants(&self) -> Option<&RangeRequest> {
        (self.phase != Phase::Done).then_some(&self.rest)
    }

    /// Whether all keys that are asked for are here, and what follows them is only counted.
    pub(crate) fn only_counts(&self) -> bool {
        matches!(self.phase, Phase::OneMore | Phase::Count)
    }

    /// About how many bytes are held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a slice in. `known` answers how many keys a range has at a revision, if that is known.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`].
    pub(crate) fn take(
        &mut self,
        slice: Slice,
        known: impl Fn(&KeyRange, Revision) -> Option<u64>,
    ) -> Result<(), ReadError> {
        if self.gathered.revision == 0 {
            self.gathered.revision = slice.current;
            self.rest.revision = slice.at;
            self.gathered.count = known(&self.asked.range, slice.at);
        }
        self.seen += slice.seen;
        let is_end = slice.next.is_none();
        match self.phase {
            Phase::Keys => self.take_keys(slice.kvs, is_end)?,
            Phase::OneMore if !slice.kvs.is_empty() => self.meet_more(),
            Phase::OneMore | Phase::Count | Phase::Done => {}
        }
        if is_end {
            self.gathered.count = Some(self.seen);
        }
        let is_counted = self.gathered.count.is_some() || !(self.asked.count_total || self.asked.count_only);
        if is_end || (self.phase == Phase::Count && is_counted) {
            self.finish();
        }
        if let Some(next) = slice.next {
            self.rest.range.start = next;
        }
        Ok(())
    }

    fn take_keys(&mut self, kvs: Vec<KeyValue>, is_end: bool) -> Result<(), ReadError> {
        if let Some(first) = &mut self.sorted {
            kvs.into_iter().for_each(|kv| first.offer(kv));
            self.bytes = first.bytes();
        } else if !kvs.is_empty() {
            self.gathered.found += kvs.len();
            self.bytes += kvs.iter().map(KeyValue::bytes).sum::<usize>();
            self.last = kvs.last().map(|kv| kv.key.clone());
            self.gathered.pieces.push((self.encode)(kvs));
        }
        let max = RANGE_BYTES_MAX + VALUE_BYTES_MAX;
        if self.bytes > max {
            return Err(ReadError::TooLarge { max });
        }
        if self.rest.limit == 0 {
            return Ok(());
        }
        self.rest.limit = self.asked.limit - self.gathered.found;
        if self.rest.limit == 0 && !is_end {
            if self.asked.filter.is_open() {
                self.meet_more();
            } else {
                self.phase = Phase::OneMore;
                self.rest.limit = 1;
                self.rest.keys_only = true;
            }
        }
        Ok(())
    }

    /// There is a key behind the limit.
    fn meet_more(&mut self) {
        self.gathered.more = true;
        self.phase = Phase::Count;
        self.rest.count_only = true;
    }

    fn finish(&mut self) {
        self.phase = Phase::Done;
        let Some(first) = self.sorted.take() else { return };
        let (mut kvs, more) = first.finish();
        self.gathered.more = more;
        self.gathered.found = kvs.len();
        if self.asked.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        let mut piece = Vec::new();
        let mut bytes = 0;
        for kv in kvs {
            bytes += kv.bytes();
            piece.push(kv);
            if bytes >= BULK_SLICE_BYTES {
                self.gathered.pieces.push((self.encode)(std::mem::take(&mut piece)));
                bytes = 0;
            }
        }
        if !piece.is_empty() {
            self.gathered.pieces.push((self.encode)(piece));
        }
    }

    /// The range that remains behind the last key of the answer, and how many keys it has, if that is known now.
    pub(crate) fn rest_counted(&self) -> Option<(KeyRange, u64)> {
        let last = self
            .last
            .as_ref()
            .filter(|_| self.gathered.more && self.asked.filter.is_open())?;
        let count = self.gathered.count?;
        let range = KeyRange {
            start: Bytes::from([&last[..], &[0]].concat()),
            end: self.asked.range.end.clone(),
        };
        Some((range, count.saturating_sub(self.gathered.found as u64)))
    }

    /// The revision that all slices show.
    pub(crate) fn at(&self) -> Revision {
        self.rest.revision
    }

    /// The answer.
    pub(crate) fn into_gathered(self) -> Gathered {
        self.gathered
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trireme_mvcc::slice::{SliceBudget, recalled_slice, slice};
    use trireme_mvcc::storage::Storage as _;
    use trireme_mvcc::types::RevisionFilter;

    use super::*;
    use crate::engine::{AppliedPosition, Command, Engine, Entry};
    use crate::kv::{Op, Txn};

    /// Keys are told by their names and revisions.
    #[expect(clippy::needless_pass_by_value, reason = "it is an `Encode`")]
    fn encode(kvs: Vec<KeyValue>) -> Bytes {
        let text: String = kvs
            .iter()
            .map(|kv| {
                format!(
                    "{}@{}={};",
                    kv.key.escape_ascii(),
                    kv.mod_revision,
                    kv.value.escape_ascii()
                )
            })
            .collect();
        text.into()
    }

    fn apply(engine: &Engine, index: u64, op: Op) {
        let txn = Txn {
            success: vec![op],
            ..Txn::default()
        };
        let command = Command::Txn { txn, fence_term: None };
        let entry = Entry {
            position: AppliedPosition {
                term: 1,
                index,
                opaque: Bytes::new(),
            },
            command: Some(command.check_and_encode().unwrap()),
        };
        engine.apply_chunk([entry]).unwrap();
    }

    /// The store's keys are `a00` to `a39`, some written more than once, some deleted.
    fn filled() -> Engine {
        let engine = Engine::in_memory();
        let mut index = 0;
        let mut next = || {
            index += 1;
            index
        };
        for key in (0..40).chain((0..40).step_by(7)) {
            let value = format!("{}", (key * 37) % 11);
            apply(&engine, next(), Op::put(format!("a{key:02}"), value));
        }
        for key in (0..40).step_by(5) {
            let range = KeyRange::key(format!("a{key:02}"));
            apply(&engine, next(), Op::Delete { range, prev_kv: false });
        }
        engine
    }

    fn gather(engine: &Engine, request: &RangeRequest, budget: SliceBudget) -> Gathered {
        let mut gather = Gather::new(request.clone(), encode);
        while let Some(wanted) = gather.wants() {
            let storage = engine.storage();
            let slice = slice(&storage.snapshot(), wanted, budget).unwrap();
            assert!(slice.seen <= budget.keys as u64);
            // What is in memory says the same, or nothing.
            let recalled = recalled_slice(&*storage, engine.recall(), wanted, budget).unwrap();
            let is_latest = wanted.revision <= 0 || wanted.revision == engine.revision();
            assert_eq!(recalled, is_latest.then(|| slice.clone()));
            gather.take(slice, |_, _| None).unwrap();
        }
        gather.into_gathered()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// Whatever is asked for, and however it is cut: the answer is that of one read.
        #[test]
        fn slices_make_the_same_answer_as_one_read(
            limit in 0_usize..45,
            (keys_only, count_only, count_total, descending) in any::<(bool, bool, bool, bool)>(),
            by in 0_usize..5,
            min_mod_revision in 0_i64..60,
            revision in prop_oneof![Just(0_i64), 30_i64..50],
            (keys, bytes) in (1_usize..20, 1_usize..400),
        ) {
            let order = [SortBy::Key, SortBy::Version, SortBy::CreateRevision, SortBy::ModRevision, SortBy::Value];
            let request = RangeRequest {
                limit,
                revision,
                keys_only,
                count_only,
                count_total,
                order: Order { by: order[by], descending },
                filter: RevisionFilter { min_mod_revision, ..RevisionFilter::default() },
                ..RangeRequest::latest(KeyRange::prefix("a"))
            };
            let engine = filled();
            let one = engine.range(&request).unwrap();
            let sliced = gather(&engine, &request, SliceBudget { keys, bytes });
            let text: Vec<u8> = sliced.pieces.concat();
            prop_assert_eq!(text, encode(one.kvs.clone()).to_vec());
            prop_assert_eq!((sliced.found, sliced.more), (one.kvs.len(), one.more));
            prop_assert_eq!(sliced.revision, one.revision);
            if count_only || count_total {
                prop_assert_eq!(sliced.count, one.count);
            }
        }
    }

    #[test]
    fn a_count_that_is_known_is_not_counted_again() {
        let engine = filled();
        let request = RangeRequest {
            limit: 3,
            count_total: true,
            ..RangeRequest::latest(KeyRange::prefix("a"))
        };
        let mut gather = Gather::new(request, encode);
        let budget = SliceBudget {
            keys: 10,
            bytes: 10_000,
        };
        let storage = engine.storage();
        let slice = slice(&storage.snapshot(), gather.wants().unwrap(), budget).unwrap();
        gather.take(slice, |_, _| Some(32)).unwrap();
        assert_eq!(gather.wants(), None);
        let (rest, count) = gather.rest_counted().unwrap();
        assert_eq!((&rest.start[..], count), (&b"a03\0"[..], 29));
        assert_eq!(gather.into_gathered().count, Some(32));
    }
}
