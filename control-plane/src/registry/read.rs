//! Reading one object, or a range page by page.

use std::sync::Arc;

use bytes::Bytes;
use trireme_logic::{
    kinds,
    object::{KindOps, ObjectKey},
};
use trireme_store::{
    kv::{Consistency, KeyRange, KvError, RangeRequest, RangeResponse, Revision},
    lanes::Answer,
};

use super::{Registry, Selection, Stored, list::Kept, object_range, turns::Turns};
use crate::{
    limits,
    pipeline::{Permit, Subresource, Verb},
    status::ApiError,
};

/// How fresh a read must be, as clients say it by a resource version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// Nothing given: sees everything that was acknowledged before.
    Latest,
    /// `0`: whatever this server has.
    Anything,
    /// A number: not older than this.
    NotOlderThan(Revision),
    /// A number, and this one alone. One object is never read so.
    Exactly(Revision),
}

/// What to list.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// The namespace; empty for all.
    pub namespace: String,
    /// Which of its objects.
    pub selection: Selection,
    /// The most objects in the answer; 0 for no bound.
    pub limit: usize,
    /// The `continue` of the page before; empty for the first.
    pub continue_token: String,
    /// How fresh the first page must be.
    pub from: ReadFrom,
}

/// A page of a range.
#[derive(Debug)]
pub struct ListPage {
    /// The objects, ordered by namespace and name.
    pub items: Vec<Stored>,
    /// The revision that all pages show.
    pub revision: Revision,
    /// Empty if this is the last page.
    pub continue_token: String,
    /// How many objects follow, if that is known.
    pub remaining: Option<i64>,
    /// The room that the page takes, until its client has it.
    pub room: Option<Answer>,
}

impl ReadFrom {
    /// Reads a `resourceVersion`.
    ///
    /// # Errors
    /// `BadRequest` if it is not a number.
    pub fn parse(resource_version: &str) -> Result<Self, ApiError> {
        match resource_version {
            "" => Ok(Self::Latest),
            "0" => Ok(Self::Anything),
            text => super::change::parse_revision(text).map(Self::NotOlderThan),
        }
    }

    pub(super) fn consistency(self) -> Consistency {
        match self {
            Self::Latest => Consistency::Linearizable,
            Self::Anything => Consistency::Serializable,
            Self::NotOlderThan(revision) | Self::Exactly(revision) => Consistency::AtLeast(revision),
        }
    }

    pub(super) fn exact_revision(self) -> Option<Revision> {
        match self {
            Self::Exactly(revision) => Some(revision),
            Self::Latest | Self::Anything | Self::NotOlderThan(_) => None,
        }
    }
}

/// What a page of a list has come to so far.
pub(super) struct Progress {
    range: KeyRange,
    revision: Revision,
    items: Vec<Stored>,
    /// What the items take, in bytes.
    bytes: usize,
}

impl Registry {
    /// Reads one object.
    ///
    /// # Errors
    /// `NotFound`, and what the store says.
    pub async fn get(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        key: &ObjectKey,
        from: ReadFrom,
    ) -> Result<Stored, ApiError> {
        self.get_part(permit, ops, Subresource::None, key, from).await
    }

    /// Reads one object for the sake of one of its parts.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_part(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        part: Subresource,
        key: &ObjectKey,
        from: ReadFrom,
    ) -> Result<Stored, ApiError> {
        permit.require(&[Verb::Get], ops.info(), part, key)?;
        let found = self.read_one(ops, key, from.consistency()).await?;
        found.ok_or_else(|| ApiError::not_found(ops.info(), &key.name))
    }

    /// Reads a page of a range. The pages of one list show one revision.
    ///
    /// # Errors
    /// `BadRequest` for a bad `continue`, `Expired` if its revision is gone.
    pub async fn list(
        self: &Arc<Self>,
        permit: &Permit,
        ops: &'static dyn KindOps,
        request: &ListRequest,
    ) -> Result<ListPage, ApiError> {
        let mut list = self.begin_list(permit, Verb::List, ops, request, Kept::All)?;
        let mut items = Vec::new();
        let end = loop {
            items.append(&mut list.next().await?);
            if let Some(end) = list.end() {
                break end.clone();
            }
        };
        Ok(ListPage {
            items,
            revision: list.revision(),
            continue_token: end.continue_token,
            remaining: end.remaining,
            room: list.into_room(),
        })
    }

    /// The revision of everything that was acknowledged so far.
    ///
    /// # Errors
    /// What the store says.
    pub async fn latest_revision(&self, ops: &'static dyn KindOps) -> Result<Revision, ApiError> {
        let request = RangeRequest {
            limit: 1,
            keys_only: true,
            ..RangeRequest::latest(KeyRange::prefix(kinds::namespace_prefix(ops.info(), "")))
        };
        Ok(self.bounded_range(request, Consistency::Linearizable).await?.revision)
    }

    /// Reads a chunk of a range in its turn: its selected objects, and where the next one begins. The first is of the
    /// latest state, and the others of the same.
    pub(super) async fn read_in_turn(
        &self,
        turns: &mut Turns,
        progress: &mut Progress,
        selection: &Selection,
    ) -> Result<(Vec<Stored>, bool), ApiError> {
        turns.release();
        let seat = turns.next().await?;
        let has_more = self
            .read_on(progress, selection, limits::LIST_CHUNK_ITEMS, Consistency::Linearizable)
            .await?;
        drop(seat);
        turns.keep(progress.take_bytes())?;
        Ok((progress.take_items(), has_more))
    }

    /// Reads so many objects more of a range, at most, and adds those that are selected to `progress`. What is read first is
    /// as fresh as `freshness` says, and all that follows is of the same revision. False if these were the last.
    pub(super) async fn read_on(
        &self,
        progress: &mut Progress,
        selection: &Selection,
        limit: usize,
        freshness: Consistency,
    ) -> Result<bool, ApiError> {
        let consistency = match progress.revision {
            0 => freshness,
            // Any replica that has it answers alike.
            revision => Consistency::AtLeast(revision),
        };
        let answer = self.read_chunk(progress, limit, consistency).await?;
        progress.add(&answer, selection)
    }

    async fn read_chunk(
        &self,
        progress: &Progress,
        limit: usize,
        consistency: Consistency,
    ) -> Result<RangeResponse, ApiError> {
        let request = RangeRequest {
            limit,
            revision: progress.revision,
            bytes_max: limits::LIST_CHUNK_BYTES,
            ..RangeRequest::latest(progress.range.clone())
        };
        match self.bounded_range(request, consistency).await {
            Err(KvError::Compacted { .. }) => Err(ApiError::expired(
                "The provided continue parameter is too old to display a consistent list result. You must start a new list \
                 without the continue parameter.",
            )),
            other => Ok(other?),
        }
    }

    pub(super) async fn read_one(
        &self,
        ops: &'static dyn KindOps,
        key: &ObjectKey,
        consistency: Consistency,
    ) -> Result<Option<Stored>, ApiError> {
        let request = RangeRequest::latest(object_range(ops.info(), key));
        let answer = self.bounded_range(request, consistency).await?;
        let stored =
            |kv: &trireme_store::kv::KeyValue| Stored::new(ops, key.clone(), kv.value.clone(), kv.mod_revision);
        Ok(answer.kvs.first().map(stored))
    }

    /// A range read that does not wait for ever for a revision that may never come.
    pub(super) async fn bounded_range(
        &self,
        request: RangeRequest,
        consistency: Consistency,
    ) -> Result<RangeResponse, KvError> {
        let read = self.kv.range(request, consistency);
        let Consistency::AtLeast(revision) = consistency else {
            return read.await;
        };
        let late = |_| KvError::FutureRevision {
            requested: revision,
            current: self.kv.applied_revision(),
        };
        tokio::time::timeout(limits::REVISION_WAIT, read).await.map_err(late)?
    }
}

impl Progress {
    pub(super) fn new(range: KeyRange) -> Self {
        Self {
            range,
            revision: 0,
            items: Vec::new(),
            bytes: 0,
        }
    }

    /// Goes on where a page ended, at its revision.
    pub(super) fn begin_at(&mut self, start: Bytes, revision: Revision) {
        self.range.start = start;
        self.revision = revision;
    }

    /// Shows this revision and no other.
    pub(super) fn fix(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// What is left of the range.
    pub(super) fn range(&self) -> KeyRange {
        self.range.clone()
    }

    /// Where that begins.
    pub(super) fn start(&self) -> Bytes {
        self.range.start.clone()
    }

    /// The same, with nothing read.
    pub(super) fn rest(&self) -> Self {
        Self {
            revision: self.revision,
            ..Self::new(self.range.clone())
        }
    }

    /// The items are somebody else's now.
    pub(super) fn take_items(&mut self) -> Vec<Stored> {
        std::mem::take(&mut self.items)
    }

    /// What they take, in bytes.
    pub(super) fn take_bytes(&mut self) -> usize {
        std::mem::take(&mut self.bytes)
    }

    /// The revision that everything shows; 0 if nothing was read yet.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Adds what of an answer is selected, and goes on after it, at the revision that the first answer shows. False if nothing
    /// is left.
    pub(super) fn add(&mut self, answer: &RangeResponse, selection: &Selection) -> Result<bool, ApiError> {
        if self.revision == 0 {
            self.revision = answer.revision;
        }
        for kv in &answer.kvs {
            let Some(stored) = selection.shown(Stored::of_key_value(kv)) else {
                tracing::warn!(key = %kv.key.escape_ascii(), "passed over a key that is not one of an object");
                continue;
            };
            if selection.matches(&stored)? {
                self.bytes += kv.bytes();
                self.items.push(stored);
            }
        }
        let next = next_start(answer);
        let has_more = next.is_some();
        if let Some(next) = next {
            self.range.start = next;
        }
        Ok(has_more)
    }
}

/// The key after the last one read, if there are more.
fn next_start(answer: &RangeResponse) -> Option<Bytes> {
    let last = answer.kvs.last().filter(|_| answer.more)?;
    let mut next = Vec::with_capacity(last.key.len() + 1);
    next.extend_from_slice(&last.key);
    next.push(0);
    Some(next.into())
}
