//! A range as it is read, slice by slice: for a page that is kept, or for an answer that is sent as it is put together.

use std::sync::Arc;

use trireme_logic::{
    kinds,
    object::{KindOps, ObjectKey},
};
use trireme_store::{
    kv::{Consistency, KeyRange, KvError, Revision},
    lanes::Answer,
};

use super::{
    ListRequest, ReadFrom, Registry, Selection, Stored,
    continue_token::ContinueToken,
    object_range,
    read::{Progress, next_start},
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
    consistency: Consistency,
    /// What was read takes room until the whole list is with its client, not until the next slice is asked for.
    is_kept: bool,
    end: Option<ListEnd>,
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
        self.begin_list(permit, Verb::List, ops, request, false)
    }

    pub(super) fn begin_list(
        self: &Arc<Self>,
        permit: &Permit,
        verb: Verb,
        ops: &'static dyn KindOps,
        request: &ListRequest,
        is_kept: bool,
    ) -> Result<ObjectList, ApiError> {
        let place = ObjectKey::new(request.namespace.as_str(), "");
        permit.require(&[verb], ops.info(), Subresource::None, &place)?;
        let prefix = kinds::namespace_prefix(ops.info(), &request.namespace);
        let mut progress = Progress::new(selected_range(ops, request, &prefix));
        let is_narrow = !request.selection.is_everything() && request.selection.only_name().is_none();
        let mut sought = is_narrow.then(|| Sought {
            ops: ops.stored(),
            namespace: request.namespace.clone(),
            from: request.from,
        });
        // Later pages are of a fixed revision, which any replica that has it answers alike.
        let mut consistency = request.from.consistency();
        if !request.continue_token.is_empty() {
            let token = ContinueToken::decode(&request.continue_token, prefix.as_bytes())?;
            progress.begin_at(token.start, token.revision);
            sought = None;
            consistency = Consistency::AtLeast(token.revision);
        } else if let Some(revision) = request.from.exact_revision() {
            progress.fix(revision);
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
            consistency,
            is_kept,
            end: None,
        })
    }
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
        if !self.is_kept {
            self.turns.release();
        }
        if let Some(sought) = self.sought.take()
            && let Some(items) = self.find(&sought).await?
        {
            return Ok(items);
        }
        let wanted = match self.limit {
            0 => limits::LIST_CHUNK_ITEMS,
            limit => (limit - self.taken).min(limits::LIST_CHUNK_ITEMS),
        };
        let seat = self.turns.next().await?;
        let answer = self
            .registry
            .read_chunk(&self.progress, wanted, self.consistency)
            .await?;
        self.progress.show(answer.revision);
        self.consistency = Consistency::AtLeast(self.progress.revision());
        let next = next_start(&answer);
        self.progress.take(&answer, &self.selection)?;
        drop(seat);
        let items = self.progress.take_items();
        self.turns.keep(self.progress.bytes())?;
        if !self.is_kept {
            self.progress.forget_bytes();
        }
        self.taken += items.len();
        match next {
            None => self.end = Some(ListEnd::default()),
            Some(next) => {
                self.progress.go_on_at(next);
                if self.limit > 0 && self.taken >= self.limit {
                    self.end = Some(self.page_end().await?);
                }
            }
        }
        Ok(items)
    }

    /// All selected objects, if an index names them: there is nothing after them.
    async fn find(&mut self, sought: &Sought) -> Result<Option<Vec<Stored>>, ApiError> {
        let seat = self.turns.next().await?;
        let found = self
            .registry
            .find_selected(sought.ops, &sought.namespace, &self.selection, sought.from, self.limit)
            .await?;
        drop(seat);
        let Some((revision, items)) = found else {
            self.turns.release();
            return Ok(None);
        };
        self.progress.show(revision);
        self.turns.keep(items.iter().map(|stored| stored.value().len()).sum())?;
        self.taken += items.len();
        self.end = Some(ListEnd::default());
        Ok(Some(items))
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
            consistency: self.consistency,
            is_kept: self.is_kept,
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
        let is_busy = kv.lanes().is_some_and(|lanes| lanes.is_bulk_busy());
        let remaining = if self.selection.is_everything() && !is_busy {
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
