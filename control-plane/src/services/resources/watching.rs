//! A watch as a stream of messages. It is pulled by its reader: a slow one holds up nobody else and fills no queue.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use tonic::Status;
use trireme_logic::kind::KindInfo;
use trireme_proto::v1::{WatchEvent, WatchRequest, watch_event::Type};

use super::{item::Answer, requested};
use crate::{
    pipeline::Permit,
    registry::{self, ObjectWatch, Registry, Selection, WatchChange},
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
) -> Result<BoxStream<'static, Result<WatchEvent, Status>>, ApiError> {
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
    let watching = Watching {
        watch,
        answer,
        info: info.kind(),
        first: true,
    };
    // After an error there is nothing more to come.
    let stream = futures::stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        match watching.next().await {
            Ok(event) => Some((Ok(event), Some(watching))),
            Err(error) => Some((Err(Status::from(error)), None)),
        }
    });
    Ok(stream.boxed())
}

impl Watching {
    async fn next(&mut self) -> Result<WatchEvent, ApiError> {
        let change = self.watch.next().await?;
        let (kind, stored) = match change {
            WatchChange::Added(stored) => (Type::Added, stored),
            WatchChange::Modified(stored) => (Type::Modified, stored),
            WatchChange::Deleted(stored) => (Type::Deleted, stored),
            WatchChange::Bookmark {
                revision,
                initial_events_end,
            } => {
                let event = WatchEvent {
                    r#type: Type::Bookmark as i32,
                    revision,
                    initial_events_end,
                    ..WatchEvent::default()
                };
                return Ok(event);
            }
        };
        let columns = if std::mem::take(&mut self.first) {
            self.answer.columns(self.info)
        } else {
            Vec::new()
        };
        Ok(WatchEvent {
            r#type: kind as i32,
            revision: stored.revision(),
            item: Some(self.answer.told(&stored)?),
            initial_events_end: false,
            columns,
        })
    }
}
