//! Following a range on this server's own replica: each change once, in order (invariant I3).

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use tokio::time::{Instant, Sleep};
use trireme_logic::{
    kinds,
    object::{KindOps, ObjectKey},
};
use trireme_store::kv::{self, KeyRange, KvError, Revision, Watcher};

use super::{
    Registry, Selection, object_range,
    read::Progress,
    shared_events::{SharedEvent, SharedEvents},
    told::Told,
    topics,
    turns::Turns,
};
use crate::{
    limits,
    pipeline::{Permit, Subresource, Verb},
    status::ApiError,
};

/// What to watch.
#[derive(Debug, Clone)]
pub struct WatchRequest {
    /// The namespace; empty for all.
    pub namespace: String,
    /// One object's name; empty for all.
    pub name: String,
    /// Which objects.
    pub selection: Selection,
    /// Start just after this revision; 0 for the present objects first and then their changes.
    pub start: Revision,
    /// Ask for bookmarks now and then.
    pub bookmarks: bool,
}

/// One change of a watched range.
#[derive(Debug)]
pub enum WatchChange {
    /// An object came into the range.
    Added(Arc<Told>),
    /// An object in the range changed.
    Modified(Arc<Told>),
    /// An object left the range; with its last state, at the revision of its leaving.
    Deleted(Arc<Told>),
    /// Everything up to the revision has been delivered.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// The objects that were there at the start have all been delivered.
        initial_events_end: bool,
    },
}

/// A running watch. Dropping it ends it.
pub struct ObjectWatch {
    /// What is left of the objects that it begins with.
    present: Option<Present>,
    watcher: Box<dyn Watcher>,
    shared_events: Arc<SharedEvents>,
    ops: &'static dyn KindOps,
    selection: Selection,
    pending: VecDeque<WatchChange>,
    bookmarks: bool,
    /// Everything up to here has been put into `pending` or delivered.
    position: Revision,
    /// The last revision that the client was sent, of a change or a bookmark.
    told: Revision,
    /// The next bookmark's time. Kept between changes, so that not each of them sets a timer.
    bookmark_due: Pin<Box<Sleep>>,
}

impl Registry {
    /// Begins to follow a range.
    ///
    /// # Errors
    /// `Expired` if the start is no longer in the history.
    pub async fn watch(
        self: &Arc<Self>,
        permit: &Permit,
        ops: &'static dyn KindOps,
        request: WatchRequest,
    ) -> Result<ObjectWatch, ApiError> {
        let place = ObjectKey::new(request.namespace.as_str(), request.name.as_str());
        permit.require(&[Verb::Watch], ops.info(), Subresource::None, &place)?;
        let range = watched_range(ops, &request);
        let mut pending = VecDeque::new();
        let mut position = request.start;
        let mut present = None;
        if request.start == 0 {
            let mut reading = Present {
                registry: Arc::clone(self),
                turns: self.bulk_turns(permit),
                progress: Progress::new(range.clone()),
            };
            // The first of them tells the revision after which changes are to follow.
            let has_more = reading.read(&request.selection, &mut pending).await?;
            position = reading.progress.revision();
            present = has_more.then_some(reading);
        }
        let watch = kv::WatchRequest {
            range,
            start_revision: position + 1,
        };
        let watcher = match topics::about(ops, &request) {
            Some(about) => self.kv.watch_about(watch, about).await,
            None => self.kv.watch(watch).await,
        };
        let watcher = watcher.map_err(too_old)?;
        Ok(ObjectWatch {
            present,
            watcher,
            shared_events: Arc::clone(&self.shared_events),
            ops,
            selection: request.selection,
            pending,
            bookmarks: request.bookmarks,
            position,
            told: position,
            bookmark_due: Box::pin(tokio::time::sleep(limits::BOOKMARK_PERIOD)),
        })
    }
}

/// The objects that a watch begins with, read chunk by chunk as its client takes them.
struct Present {
    registry: Arc<Registry>,
    turns: Turns,
    progress: Progress,
}

impl Present {
    /// Reads the next of them; false if these were the last.
    async fn read(&mut self, selection: &Selection, pending: &mut VecDeque<WatchChange>) -> Result<bool, ApiError> {
        let read = self
            .registry
            .read_in_turn(&mut self.turns, &mut self.progress, selection);
        let (objects, has_more) = read.await?;
        let present = objects.into_iter().map(|stored| Arc::new(Told::alone(stored)));
        pending.extend(present.map(WatchChange::Added));
        if !has_more {
            pending.push_back(WatchChange::Bookmark {
                revision: self.progress.revision(),
                initial_events_end: true,
            });
        }
        Ok(has_more)
    }
}

fn watched_range(ops: &'static dyn KindOps, request: &WatchRequest) -> KeyRange {
    let name = if request.name.is_empty() {
        request.selection.only_name()
    } else {
        Some(request.name.as_str())
    };
    match name {
        Some(name) if !ops.info().namespaced || !request.namespace.is_empty() => {
            object_range(ops.info(), &ObjectKey::new(request.namespace.as_str(), name))
        }
        _ => KeyRange::prefix(kinds::namespace_prefix(ops.info(), &request.namespace)),
    }
}

fn too_old(error: KvError) -> ApiError {
    match error {
        KvError::Compacted { requested, oldest } => {
            ApiError::expired(format!("too old resource version: {} ({oldest})", requested - 1))
        }
        other => other.into(),
    }
}

impl ObjectWatch {
    /// Waits for the next change.
    ///
    /// # Errors
    /// `Expired` if the watch fell out of the history; `ServiceUnavailable` at shutdown. Both are final.
    pub async fn next(&mut self) -> Result<WatchChange, ApiError> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Ok(change);
            }
            if let Some(present) = &mut self.present {
                if !present.read(&self.selection, &mut self.pending).await? {
                    self.present = None;
                }
                continue;
            }
            let untold = self.bookmarks && self.position > self.told;
            let batch = tokio::select! {
                biased;
                batch = self.watcher.next() => batch.map_err(too_old)?,
                // Progress is told after a while also if nothing happens any more, or a client that waits for this
                // revision would wait for ever.
                () = self.bookmark_due.as_mut(), if untold => {
                    self.bookmark_due.as_mut().reset(Instant::now() + limits::BOOKMARK_PERIOD);
                    self.told = self.position;
                    return Ok(WatchChange::Bookmark { revision: self.position, initial_events_end: false });
                }
            };
            for event in &batch.events {
                let Some(shared) = self.shared_events.share(self.ops, event) else {
                    continue;
                };
                if let Some(change) = change_of(&shared, &self.selection)? {
                    self.told = event.kv.mod_revision;
                    self.pending.push_back(change);
                }
            }
            self.position = self.position.max(batch.progress);
        }
    }

    /// Everything up to this revision was delivered, or is about to be.
    #[must_use]
    pub fn position(&self) -> Revision {
        self.position
    }

    /// What has come in but was not taken yet.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// What an event is to someone who sees only the selected objects: an object that begins to match comes, one that ceases to
/// match goes.
fn change_of(event: &SharedEvent, selection: &Selection) -> Result<Option<WatchChange>, ApiError> {
    let selected = |state: &Option<Arc<Told>>| match state {
        Some(told) if selection.matches(told)? => Ok(Some(Arc::clone(told))),
        _ => Ok::<_, ApiError>(None),
    };
    Ok(match (selected(&event.before)?, selected(&event.after)?) {
        (None, Some(after)) => Some(WatchChange::Added(after)),
        (Some(_), Some(after)) => Some(WatchChange::Modified(after)),
        (Some(before), None) => Some(WatchChange::Deleted(before)),
        (None, None) => None,
    })
}
