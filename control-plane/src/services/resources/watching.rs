//! A watch as a stream of frames, each a message or several. It is pulled by its reader: a slow one holds up nobody else and fills no queue.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tonic::Status;
use trireme_logic::kind::KindInfo;
use trireme_proto::v1::{WatchEvent, WatchRequest, watch_event::Type};

use super::{item::Answer, requested, watch_wire::frame};
use crate::{
    pipeline::Permit,
    registry::{self, ObjectWatch, Registry, Selection, WatchChange},
    services::frames::Frames,
    status::ApiError,
};

/// What a running stream needs.
struct Watching {
    watch: ObjectWatch,
    answer: Answer,
    info: &'static KindInfo,
    first: bool,
}

/// Begins a watch.
pub(super) async fn watch(
    registry: &Arc<Registry>,
    permit: &Permit,
    request: &WatchRequest,
) -> Result<BoxStream<'static, Result<Bytes, Status>>, ApiError> {
    let info = requested(permit)?;
    if request.resource_version < 0 {
        return Err(ApiError::bad_request("the resource version must not be negative"));
    }
    let answer = Answer::new(request.encoding, request.view, registry.environment().now())?;
    let wanted = registry::WatchRequest {
        namespace: info.key().namespace.clone(),
        name: info.key().name.clone(),
        selection: Selection::parse(info.kind(), &request.label_selector, &request.field_selector)?,
        start: request.resource_version,
        bookmarks: request.allow_bookmarks,
    };
    let _seat = registry.admit(permit, 0).await?;
    let watch = registry.watch(permit, info.ops(), wanted).await?;
    // It is moved with every event.
    let watching = Box::new(Watching {
        watch,
        answer,
        info: info.kind(),
        first: true,
    });
    // After an error there is nothing more to come.
    let stream = futures::stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        match watching.next().await {
            Ok(frames) => Some((Ok(frames), Some(watching))),
            Err(error) => Some((Err(Status::from(error)), None)),
        }
    });
    Ok(stream.boxed())
}

impl Watching {
    /// The next frames, as many as there are.
    async fn next(&mut self) -> Result<Bytes, ApiError> {
        let mut frames = Frames::default();
        loop {
            let change = self.watch.next().await?;
            frames.add(self.frame(&change)?);
            if !self.watch.has_pending() || frames.are_enough() {
                return Ok(frames.into_bytes());
            }
        }
    }

    fn frame(&mut self, change: &WatchChange) -> Result<Bytes, ApiError> {
        let (happened, told) = match change {
            WatchChange::Added(told) => (Type::Added, told),
            WatchChange::Modified(told) => (Type::Modified, told),
            WatchChange::Deleted(told) => (Type::Deleted, told),
            WatchChange::Bookmark {
                revision,
                initial_events_end,
            } => {
                return frame(&WatchEvent {
                    r#type: Type::Bookmark as i32,
                    revision: *revision,
                    initial_events_end: *initial_events_end,
                    ..WatchEvent::default()
                });
            }
        };
        let columns = if std::mem::take(&mut self.first) {
            self.answer.columns(self.info)
        } else {
            Vec::new()
        };
        self.answer.event(happened, told, columns)
    }
}
