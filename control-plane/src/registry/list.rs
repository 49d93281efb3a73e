//! A range as it is read, slice by slice: for a page that is kept, or for an answer that is sent as it is put together.

use std::sync::Arc;

use trireme_logic::{
    kinds,
    object::{KindOps, ObjectKey},
    world::World,
};
use trireme_store::{
    kv::{Consistency, KeyRange, KvError, RangeResponse, Revision},
    lanes::Answer,
};

use super::{
    ListRequest, ReadFrom, Registry, Selection, Stored,
    continue_token::ContinueToken,
    object_range,
    read::Progress,
    turns::{Turns, bulk},
};
use crate::{
    limits,
    pipeline::{Permit, Subresource, Verb},
    status::ApiError,
};

/// What comes after the last object of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListEnd {
    /// The place of the next page; empty if there is none.
    pub continue_token: String,
    /// How many objects follow, if that is known.
    pub remaining: Option<i64>,
}

/// A list that is being read. All of it shows one revision.
pub struct ObjectList {
    registry: Arc<Registry>,
    turns: Turns,
    progress: Progress,
    selection: Selection,
    /// Of what, and how fresh, the selected objects may be found by an index before the range is read.
    sought: Option<Sought>,
    /// What a place is told without.
    prefix: String,
    /// The most objects; 0 for no bound.
    limit: usize,
    taken: usize,
    /// How fresh what is read first must be.
    freshness: Consistency,
    /// How much takes room when more is read, unless it is read beside it.
    kept: Kept,
    /// What takes room, in bytes.
    held_bytes: usize,
    /// How much of that is of the newest slice.
    newest_bytes: usize,
    end: Option<ListEnd>,
}

/// How much of what was read takes room when more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing: who asks for more has sent it on.
    Nothing,
    /// The newest slice, which is still written meanwhile.
    Newest,
    /// All of it, until the whole list is with its client.
    All,
}

/// What an index may be asked for.
struct Sought {
    ops: &'static dyn KindOps,
    namespace: String,
    from: ReadFrom,
}

impl Registry {
    /// Begins to read a list whose slices are sent on one by one: each takes room until the next is asked for.
    ///
    /// # Errors
    /// `BadRequest` for a bad `continue`.
    pub fn list_in_slices(
        self: &Arc<Self>,
        permit: &Permit,
        ops: &'static dyn KindOps,
        request: &ListRequest,
    ) -> Result<ObjectList, ApiError> {
        self.begin_list(permit, Verb::List, ops, request, Kept::Nothing)
    }

    pub(super) fn begin_list(
        self: &Arc<Self>,
        permit: &Permit,
        verb: Verb,
        ops: &'static dyn KindOps,
        request: &ListRequest,
        kept: Kept,
    ) -> Result<ObjectList, ApiError> {
        let place = ObjectKey::new(request.namespace.as_str(), "");
        permit.require(&[verb], ops.info(), Subresource::None, &place)?;
        let prefix = kinds::namespace_prefix(ops.info(), &request.namespace);
        let mut progress = Progress::new(selected_range(ops, request, &prefix));
        let mut sought = None;
        if !request.continue_token.is_empty() {
            let token = ContinueToken::decode(&request.continue_token, prefix.as_bytes())?;
            progress.begin_at(token.start, token.revision);
        } else if let Some(revision) = request.from.exact_revision() {
            progress.fix(revision);
        } else if is_told_by_indexes(ops, &request.selection) {
            sought = Some(Sought {
                ops,
                namespace: request.namespace.clone(),
                from: request.from,
            });
        }
        Ok(ObjectList {
            registry: Arc::clone(self),
            turns: self.turns(permit, request.limit),
            progress,
            selection: request.selection.clone(),
            sought,
            prefix,
            limit: request.limit,
            taken: 0,
            freshness: request.from.consistency(),
            kept,
            held_bytes: 0,
            newest_bytes: 0,
            end: None,
        })
    }
}

/// Whether it is worth asking an index for the selected objects. One that the selectors name is read at once.
fn is_told_by_indexes(ops: &'static dyn KindOps, selection: &Selection) -> bool {
    selection.only_name().is_none() && World::tells(ops.stored().info(), selection.labels(), selection.fields())
}

/// The part of a range that the selectors leave: one key, if they name it.
fn selected_range(ops: &'static dyn KindOps, request: &ListRequest, prefix: &str) -> KeyRange {
    let has_place = !ops.info().namespaced || !request.namespace.is_empty();
    match request.selection.only_name() {
        Some(name) if has_place => object_range(ops.info(), &ObjectKey::new(request.namespace.as_str(), name)),
        _ => KeyRange::prefix(prefix.to_owned()),
    }
}

impl ObjectList {
    /// Reads the next objects, which may be none. To be called until there is an [`end`](Self::end).
    ///
    /// # Errors
    /// `Expired` if the revision is gone, `TooManyRequests` if there is no room.
    pub async fn next(&mut self) -> Result<Vec<Stored>, ApiError> {
        self.read(self.kept).await
    }

    /// The same while the newest objects are still written, so that they take room, too.
    pub(super) async fn next_beside(&mut self) -> Result<Vec<Stored>, ApiError> {
        self.read(Kept::Newest).await
    }

    async fn read(&mut self, kept: Kept) -> Result<Vec<Stored>, ApiError> {
        self.release(kept);
        let wanted = match self.limit {
            0 => limits::LIST_CHUNK_ITEMS,
            limit => (limit - self.taken).min(limits::LIST_CHUNK_ITEMS),
        };
        let seat = self.turns.next().await?;
        let has_more = match self.find().await? {
            Some(found) => self.progress.add(&found, &self.selection)?,
            None => {
                self.registry
                    .read_on(&mut self.progress, &self.selection, wanted, self.freshness)
                    .await?
            }
        };
        drop(seat);
        let items = self.progress.take_items();
        self.newest_bytes = self.progress.take_bytes();
        self.held_bytes += self.newest_bytes;
        self.turns.keep(self.held_bytes)?;
        self.taken += items.len();
        if !has_more {
            self.end = Some(ListEnd::default());
        } else if self.limit > 0 && self.taken >= self.limit {
            self.end = Some(self.page_end().await?);
        }
        Ok(items)
    }

    /// Gives back the room of what need not be kept when more is read.
    fn release(&mut self, kept: Kept) {
        self.held_bytes = match kept {
            Kept::Nothing => 0,
            Kept::Newest => self.newest_bytes,
            Kept::All => self.held_bytes,
        };
        self.turns.shrink(self.held_bytes);
    }

    /// Whether large work waits for its turn.
    pub(super) fn is_bulk_busy(&self) -> bool {
        self.registry.kv.lanes().is_some_and(|lanes| lanes.is_bulk_busy())
    }

    /// All selected objects, if an index is to be asked, which is done once, and names them.
    async fn find(&mut self) -> Result<Option<RangeResponse>, ApiError> {
        let Some(Sought { ops, namespace, from }) = self.sought.take() else {
            return Ok(None);
        };
        self.registry
            .find_selected(ops, &namespace, &self.selection, from, self.limit)
            .await
    }

    /// The revision that the list shows; 0 before the first slice was read.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.progress.revision()
    }

    /// What comes after the last object, once that has been read.
    #[must_use]
    pub fn end(&self) -> Option<&ListEnd> {
        self.end.as_ref()
    }

    /// The same, as soon as it is known: of a list without a bound, which has no next page, before anything is read.
    pub(crate) fn known_end(&self) -> Option<ListEnd> {
        let is_unbounded = self.limit == 0;
        self.end.clone().or_else(|| is_unbounded.then(ListEnd::default))
    }

    /// The rest of the same list, to be read once more.
    pub(crate) fn rest_again(&self, permit: &Permit) -> Self {
        Self {
            registry: Arc::clone(&self.registry),
            turns: self.registry.turns(permit, 0),
            progress: self.progress.rest(),
            selection: self.selection.clone(),
            sought: None,
            prefix: self.prefix.clone(),
            limit: self.limit,
            taken: self.taken,
            freshness: self.freshness,
            kept: self.kept,
            held_bytes: 0,
            newest_bytes: 0,
            end: self.end.clone(),
        }
    }

    /// The room of the list, which is whole now.
    pub(super) fn into_room(self) -> Option<Answer> {
        self.turns.into_room()
    }

    async fn page_end(&self) -> Result<ListEnd, ApiError> {
        let (start, revision) = (self.progress.start(), self.progress.revision());
        let kv = &self.registry.kv;
        // How many of the rest a selector would keep is not known without reading them. And a page is not to wait for large
        // work, which counting may be: clients must do without.
        let remaining = if self.selection.is_everything() && !self.is_bulk_busy() {
            match kv
                .count_in(bulk(self.turns.flow()), self.progress.range(), revision)
                .await
            {
                Ok(count) => i64::try_from(count).ok(),
                // The page is good without it.
                Err(KvError::Overloaded(_)) => None,
                Err(error) => return Err(error.into()),
            }
        } else {
            None
        };
        let token = ContinueToken { revision, start };
        Ok(ListEnd {
            continue_token: token.encode(self.prefix.as_bytes())?,
            remaining,
        })
    }
}
