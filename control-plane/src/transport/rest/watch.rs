//! A watch as it is sent: one frame an event, pulled by its reader, so that a slow one holds up nobody else.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::time::Instant;
use trireme_logic::object::KindOps;
use trireme_store::kv::{KvError, Revision};

use super::{
    answer::{Pieces, status_bytes},
    envelope,
    form::{Form, Shown},
    negotiate::Format,
    query::{WatchOptions, WatchStart},
};
use crate::{
    limits,
    pipeline::Permit,
    registry::{ObjectWatch, Registry, Selection, Stored, WatchChange, WatchRequest},
    services::verbs::requested,
    status::{ApiError, Reason},
};

/// By this a bookmark says that the objects which a watch begins with have all been sent.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What a running stream needs.
struct Watching {
    watch: ObjectWatch,
    form: Form,
    ops: &'static dyn KindOps,
    /// The end of the first objects is told.
    is_end_told: bool,
    /// Nothing with columns was sent yet.
    is_first: bool,
    deadline: Instant,
    is_over: bool,
}

/// Begins a watch. A revision that is gone is told in the stream, as clients expect it.
///
/// # Errors
/// Those of the registry, but for that.
pub(super) async fn pieces(
    registry: &Arc<Registry>,
    permit: &Permit,
    selection: Selection,
    options: &WatchOptions,
    form: Form,
) -> Result<Pieces, ApiError> {
    let watch = match begin(registry, permit, selection, options).await {
        Ok(watch) => watch,
        Err(error) if error.reason() == Reason::Expired => {
            let last = error_frame(&error, form.accepted.format);
            return Ok(stream::iter([last]).boxed());
        }
        Err(error) => return Err(error),
    };
    let lifetime = options.timeout.unwrap_or_else(|| {
        let spread = limits::WATCH_TIMEOUT_MAX_SECONDS - limits::WATCH_TIMEOUT_MIN_SECONDS;
        let seconds = limits::WATCH_TIMEOUT_MIN_SECONDS + registry.environment().seed() % spread;
        Duration::from_secs(seconds)
    });
    let watching = Watching {
        watch,
        form,
        ops: requested(permit)?.ops(),
        is_end_told: matches!(options.start, WatchStart::Present { is_told: true, .. }),
        is_first: true,
        deadline: Instant::now() + lifetime,
        is_over: false,
    };
    let pieces = stream::unfold(watching, |mut watching| async move {
        let piece = watching.next().await?;
        Some((piece, watching))
    });
    Ok(pieces.boxed())
}

async fn begin(
    registry: &Arc<Registry>,
    permit: &Permit,
    selection: Selection,
    options: &WatchOptions,
) -> Result<ObjectWatch, ApiError> {
    let info = requested(permit)?;
    let _seat = registry.admit(permit, 0).await?;
    let start = match options.start {
        WatchStart::Present { .. } => 0,
        WatchStart::Now => registry.latest_revision(info.ops()).await?,
        WatchStart::After(revision) => revision,
    };
    let wanted = WatchRequest {
        namespace: info.key().namespace.clone(),
        name: info.key().name.clone(),
        selection,
        start,
        bookmarks: options.bookmarks,
    };
    let watch = registry.watch(permit, info.ops(), wanted).await?;
    if let WatchStart::Present { not_older_than, .. } = options.start
        && watch.position() < not_older_than
    {
        return Err(KvError::FutureRevision {
            requested: not_older_than,
            current: watch.position(),
        }
        .into());
    }
    Ok(watch)
}

impl Watching {
    /// The next frames, as many as there are; `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, ApiError>> {
        let mut piece = Vec::new();
        while !self.is_over && piece.len() < limits::ANSWER_PIECE_BYTES {
            if !piece.is_empty() && !self.watch.has_pending() {
                break;
            }
            let Ok(change) = tokio::time::timeout_at(self.deadline, self.watch.next()).await else {
                self.is_over = true;
                break;
            };
            match change.and_then(|change| self.frame(change)) {
                Ok(frame) => piece.extend_from_slice(&frame),
                Err(error) => {
                    self.is_over = true;
                    // A server that stops has nothing to tell: its clients go on elsewhere, where they were.
                    if error.reason() != Reason::ServiceUnavailable
                        && let Ok(frame) = error_frame(&error, self.form.accepted.format)
                    {
                        piece.extend_from_slice(&frame);
                    }
                }
            }
        }
        (!piece.is_empty()).then(|| Ok(piece.into()))
    }

    /// One event; nothing for what is not to be told.
    fn frame(&mut self, change: WatchChange) -> Result<Bytes, ApiError> {
        let (event, stored) = match change {
            WatchChange::Added(stored) => ("ADDED", stored),
            WatchChange::Modified(stored) => ("MODIFIED", stored),
            WatchChange::Deleted(stored) => ("DELETED", stored),
            WatchChange::Bookmark {
                initial_events_end: true,
                ..
            } if !self.is_end_told => return Ok(Bytes::new()),
            WatchChange::Bookmark {
                revision,
                initial_events_end,
            } => ("BOOKMARK", bookmark(self.ops, revision, initial_events_end)?),
        };
        let columns_wanted = std::mem::take(&mut self.is_first);
        let object = self.form.whole(Shown::Object(&stored), columns_wanted)?;
        Ok(frame(event, object, self.form.accepted.format))
    }
}

/// An object of the kind with nothing but the revision that the watch has come to.
fn bookmark(ops: &'static dyn KindOps, revision: Revision, is_initial_end: bool) -> Result<Stored, ApiError> {
    let mut object = ops
        .stored()
        .from_protobuf(Bytes::new())
        .map_err(|error| ApiError::internal("an empty object is not readable").context(error))?;
    if is_initial_end {
        let annotations = &mut object.metadata_mut().annotations;
        annotations.insert(INITIAL_EVENTS_END.to_owned(), "true".to_owned());
    }
    Ok(Stored::made_up(object, ops, revision))
}

fn error_frame(error: &ApiError, format: Format) -> Result<Bytes, ApiError> {
    let status = status_bytes(&error.to_status(), format)?;
    Ok(frame("ERROR", status, format))
}

fn frame(event: &str, object: Vec<u8>, format: Format) -> Bytes {
    match format {
        Format::Protobuf => envelope::frame(event, object).into(),
        Format::Json | Format::Yaml => {
            let head = format!("{{\"type\":\"{event}\",\"object\":");
            [head.as_bytes(), &object, b"}\n"].concat().into()
        }
    }
}
