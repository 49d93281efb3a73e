//! Reading one object, or a range page by page.

use trireme_logic::{
    kinds,
    object::{KindOps, ObjectKey},
};
use trireme_store::{
    kv::{Consistency, KeyRange, KvError, RangeRequest, RangeResponse, Revision},
    lanes::Answer,
};

use super::{
    Registry, Selection, Stored,
    continue_token::ContinueToken,
    object_range,
    turns::{Turns, bulk},
};
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

    fn consistency(self) -> Consistency {
        match self {
            Self::Latest => Consistency::Linearizable,
            Self::Anything => Consistency::Serializable,
            Self::NotOlderThan(revision) => Consistency::AtLeast(revision),
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
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        request: &ListRequest,
    ) -> Result<ListPage, ApiError> {
        let place = ObjectKey::new(request.namespace.as_str(), "");
        permit.require(&[Verb::List], ops.info(), Subresource::None, &place)?;
        let prefix = kinds::namespace_prefix(ops.info(), &request.namespace);
        let mut progress = Progress::new(KeyRange::prefix(prefix.clone()));
        let mut turns = self.turns(permit, request.limit);
        // Later pages are of a fixed revision, which any replica that has it answers alike.
        let mut consistency = request.from.consistency();
        if !request.continue_token.is_empty() {
            let token = ContinueToken::decode(&request.continue_token, prefix.as_bytes())?;
            progress.range.start = token.start;
            progress.revision = token.revision;
            consistency = Consistency::AtLeast(token.revision);
        }
        loop {
            let wanted = match request.limit {
                0 => limits::LIST_CHUNK_ITEMS,
                limit => (limit - progress.items.len()).min(limits::LIST_CHUNK_ITEMS),
            };
            let seat = turns.next().await?;
            let answer = self.read_chunk(&progress, wanted, consistency).await?;
            if progress.revision == 0 {
                progress.revision = answer.revision;
            }
            consistency = Consistency::AtLeast(progress.revision);
            let next = next_start(&answer);
            progress.take(&answer, &request.selection)?;
            drop(seat);
            turns.keep(progress.bytes)?;
            let Some(next) = next else {
                return Ok(progress.last_page(turns));
            };
            progress.range.start = next;
            if request.limit > 0 && progress.items.len() >= request.limit {
                return self.page(progress, turns, &prefix, &request.selection).await;
            }
        }
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
        let is_first = progress.revision == 0;
        let consistency = if is_first {
            Consistency::Linearizable
        } else {
            Consistency::Serializable
        };
        let seat = turns.next().await?;
        let answer = self.read_chunk(progress, limits::LIST_CHUNK_ITEMS, consistency).await?;
        if is_first {
            progress.revision = answer.revision;
        }
        progress.take(&answer, selection)?;
        drop(seat);
        turns.keep(std::mem::take(&mut progress.bytes))?;
        let next = next_start(&answer);
        let has_more = next.is_some();
        if let Some(next) = next {
            progress.range.start = next;
        }
        Ok((std::mem::take(&mut progress.items), has_more))
    }

    pub(super) async fn read_chunk(
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

    async fn page(
        &self,
        progress: Progress,
        turns: Turns,
        prefix: &str,
        selection: &Selection,
    ) -> Result<ListPage, ApiError> {
        let token = ContinueToken {
            revision: progress.revision,
            start: progress.range.start.clone(),
        };
        // How many of the rest a selector would keep is not known without reading them. And a page is not to wait for large
        // work, which counting may be: clients must do without.
        let is_busy = self.kv.lanes().is_some_and(|lanes| lanes.is_bulk_busy());
        let remaining = if selection.is_everything() && !is_busy {
            let (asker, range) = (bulk(turns.flow()), progress.range.clone());
            match self.kv.count_in(asker, range, progress.revision).await {
                Ok(count) => i64::try_from(count).ok(),
                // The page is good without it.
                Err(KvError::Overloaded(_)) => None,
                Err(error) => return Err(error.into()),
            }
        } else {
            None
        };
        Ok(ListPage {
            items: progress.items,
            revision: progress.revision,
            continue_token: token.encode(prefix.as_bytes())?,
            remaining,
            room: turns.into_room(),
        })
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

    /// The revision that everything shows; 0 if nothing was read yet.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    fn take(&mut self, answer: &RangeResponse, selection: &Selection) -> Result<(), ApiError> {
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
        Ok(())
    }

    fn last_page(self, turns: Turns) -> ListPage {
        ListPage {
            items: self.items,
            revision: self.revision,
            continue_token: String::new(),
            remaining: None,
            room: turns.into_room(),
        }
    }
}

/// The key after the last one read, if there are more.
fn next_start(answer: &RangeResponse) -> Option<bytes::Bytes> {
    let last = answer.kvs.last().filter(|_| answer.more)?;
    let mut next = Vec::with_capacity(last.key.len() + 1);
    next.extend_from_slice(&last.key);
    next.push(0);
    Some(next.into())
}
