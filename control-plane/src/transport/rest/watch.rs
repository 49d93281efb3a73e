//! A watch as it is sent: one frame an event, pulled by its reader, so that a slow one holds up nobody else.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::time::Sleep;
use trireme_logic::object::KindOps;
use trireme_proto::v1::Encoding;
use trireme_store::kv::{KvError, Revision};

use super::{
    answer::{Pieces, status_bytes},
    envelope,
    form::{Form, Shown},
    negotiate::{Accepted, Format, Shape},
    query::{WatchOptions, WatchStart},
};
use crate::{
    limits,
    pipeline::Permit,
    registry::{Door, ObjectWatch, Registry, Selection, Stored, Told, ToldAs, WatchChange, WatchRequest},
    services::{frames::Frames, verbs::requested},
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
    /// When it ends. Kept between events, so that not each of them sets a timer.
    end: Pin<Box<Sleep>>,
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
    // It is moved with every event.
    let watching = Box::new(Watching {
        watch,
        form,
        ops: requested(permit)?.ops(),
        is_end_told: matches!(options.start, WatchStart::Present { is_told: true, .. }),
        is_first: true,
        end: Box::pin(tokio::time::sleep(lifetime)),
        is_over: false,
    });
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
        let mut piece = Frames::default();
        while !self.is_over && !piece.are_enough() {
            if !piece.is_empty() && !self.watch.has_pending() {
                break;
            }
            let change = tokio::select! {
                biased;
                change = self.watch.next() => change,
                () = self.end.as_mut() => {
                    self.is_over = true;
                    break;
                }
            };
            match change.and_then(|change| self.frame(change)) {
                Ok(frame) => piece.add(frame),
                Err(error) => {
                    self.is_over = true;
                    // A server that stops has nothing to tell: its clients go on elsewhere, where they were.
                    if error.reason() != Reason::ServiceUnavailable
                        && let Ok(frame) = error_frame(&error, self.form.accepted.format)
                    {
                        piece.add(frame);
                    }
                }
            }
        }
        (!piece.is_empty()).then(|| Ok(piece.into_bytes()))
    }

    /// One event; nothing for what is not to be told.
    fn frame(&mut self, change: WatchChange) -> Result<Bytes, ApiError> {
        let (event, told) = match change {
            WatchChange::Added(told) => ("ADDED", told),
            WatchChange::Modified(told) => ("MODIFIED", told),
            WatchChange::Deleted(told) => ("DELETED", told),
            WatchChange::Bookmark {
                initial_events_end: true,
                ..
            } if !self.is_end_told => return Ok(Bytes::new()),
            WatchChange::Bookmark {
                revision,
                initial_events_end,
            } => {
                let bookmark = bookmark(self.ops, revision, initial_events_end)?;
                ("BOOKMARK", Arc::new(Told::alone(bookmark)))
            }
        };
        let columns_wanted = std::mem::take(&mut self.is_first);
        told_frame(&self.form, event, &told, columns_wanted)
    }
}

/// The frame of an event. All who want it in the same form get the same bytes, but for tables: they have columns or none, and
/// ages as of the beginning of a watch.
fn told_frame(form: &Form, event: &'static str, told: &Told, columns_wanted: bool) -> Result<Bytes, ApiError> {
    let Accepted { format, shape } = form.accepted;
    let make = |stored: &Stored| {
        let object = form.whole(Shown::Object(stored), columns_wanted)?;
        Ok(frame(event, object, format))
    };
    let metadata = match shape {
        Shape::Table { .. } => return make(told),
        Shape::Metadata { version, .. } => Some(version),
        Shape::Object => None,
    };
    let encoding = match format {
        Format::Protobuf => Encoding::Protobuf,
        Format::Json | Format::Yaml => Encoding::Json,
    };
    told.in_form(
        ToldAs {
            door: Door::Rest,
            event,
            encoding,
            metadata,
        },
        make,
    )
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

#[cfg(test)]
mod tests {
    use trireme_logic::testing::mk_pod;
    use trireme_proto::api::meta::v1::Time;

    use super::*;
    use crate::{
        registry::{ops_of, shared_for_tests},
        transport::rest::form::Include,
    };

    fn form(format: Format, shape: Shape) -> Form {
        Form {
            accepted: Accepted { format, shape },
            include: Include::Object,
            now: Time::default(),
        }
    }

    /// In every form, a frame that is shared is what it would be if it was made for one watch alone, whoever asked before.
    #[test]
    fn shared_frames_are_those_of_a_watch_alone() {
        let stored = Stored::made_up(Box::new(mk_pod("shop", "web")), ops_of("", "pods"), 7);
        let (shared, alone) = (shared_for_tests(&stored), Told::alone(stored));
        let metadata = |version| Shape::Metadata {
            version,
            is_list: false,
        };
        let forms = [
            form(Format::Json, Shape::Object),
            form(Format::Protobuf, Shape::Object),
            form(Format::Json, metadata("v1")),
            form(Format::Json, metadata("v1beta1")),
            form(Format::Protobuf, metadata("v1")),
            form(Format::Json, Shape::Table { version: "v1" }),
        ];
        let mut frames = Vec::new();
        for _ in 0..2 {
            for form in &forms {
                for event in ["ADDED", "MODIFIED", "DELETED"] {
                    for columns_wanted in [true, false] {
                        let of = |told| told_frame(form, event, told, columns_wanted).expect("a frame");
                        let frame = of(&shared);
                        assert_eq!(frame, of(&alone), "{form:?} {event}");
                        let is_table = matches!(form.accepted.shape, Shape::Table { .. });
                        assert_eq!(frame.as_ptr() == of(&shared).as_ptr(), !is_table, "{form:?} {event}");
                        frames.push(frame);
                    }
                }
            }
        }
        frames.sort();
        frames.dedup();
        assert_eq!(
            frames.len(),
            (forms.len() + 1) * 3,
            "each form has frames of its own, and tables two of each"
        );
    }
}
