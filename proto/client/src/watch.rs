//! A watch that survives servers: it resumes on another one, and still delivers each change once and in order (I3).
//!
//! A revision may hold several changes. A broken stream is therefore resumed from the last revision that is known to be
//! complete, and the changes of the one after it that were delivered already are passed over.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Streaming;
use trireme_proto::v1;
use trireme_proto::v1::watch_event::Type;

use crate::client::{Client, hinted, jittered, resources_on};
use crate::connection::Link;
use crate::error::ClientError;
use crate::limits;
use crate::outcome::{Verdict, judge};

/// A step of a watch.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchItem {
    /// A change, or a bookmark.
    Event(Box<v1::WatchEvent>),
    /// The watch could not be resumed where it was. The present objects follow as ADDED; forget what came before.
    Restarted,
}

/// A running watch. Dropping it ends it.
pub struct Watch {
    client: Client,
    request: v1::WatchRequest,
    stream: Option<(Streaming<v1::WatchEvent>, Link)>,
    position: Position,
    /// Give up when nothing could be heard for this long; none for never.
    patience: Option<Duration>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// How far a watch has come. Pure.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    /// Whether the watch began with the present objects.
    from_present: bool,
    /// Everything up to here has been delivered; 0 while the present objects are still coming.
    complete: i64,
    /// The revision whose changes are being delivered, and how many of them were.
    partial: (i64, usize),
    /// How many changes of `partial` the present stream must still repeat before there is something new.
    to_skip: usize,
    /// Whether anything was delivered since the beginning or the last restart.
    delivered: bool,
}

impl Position {
    fn new(revision: i64) -> Self {
        Self {
            from_present: revision == 0,
            complete: revision,
            partial: (0, 0),
            to_skip: 0,
            delivered: false,
        }
    }

    /// A new stream begins: from which revision, and whether the watcher must forget what it has.
    fn reopen(&mut self) -> (i64, bool) {
        if self.complete == 0 {
            let forget = self.delivered;
            *self = Self::new(0);
            return (0, forget);
        }
        self.to_skip = self.partial.1;
        (self.complete, false)
    }

    /// The history no longer reaches back to here. Returns whether the watch can begin anew.
    fn history_is_gone(&mut self) -> bool {
        if self.from_present {
            *self = Self {
                delivered: true,
                ..Self::new(0)
            };
        }
        self.from_present
    }

    /// An event came in. Returns whether it is news.
    fn accept(&mut self, event: &v1::WatchEvent) -> bool {
        if event.r#type() == Type::Bookmark {
            let in_initial = self.complete == 0 && !event.initial_events_end;
            if !in_initial && event.revision >= self.partial.0 {
                self.complete = self.complete.max(event.revision);
                self.partial = (0, 0);
                self.to_skip = 0;
            }
            return true;
        }
        self.delivered = true;
        if self.complete == 0 {
            return true;
        }
        if event.revision == self.partial.0 {
            if self.to_skip > 0 {
                self.to_skip -= 1;
                return false;
            }
            self.partial.1 += 1;
            return true;
        }
        self.complete = self.complete.max(self.partial.0);
        self.partial = (event.revision, 1);
        self.to_skip = 0;
        true
    }
}

impl Watch {
    /// Begins a watch at `request.resource_version`; 0 for the present objects first.
    #[must_use]
    pub fn new(client: &Client, request: v1::WatchRequest) -> Self {
        let position = Position::new(request.resource_version);
        let patience = Some(limits::WATCH_PATIENCE);
        Self {
            client: client.clone(),
            request,
            stream: None,
            position,
            patience,
        }
    }

    /// Never gives up; for programs that run for long.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.patience = None;
        self
    }

    /// Waits for the next step. Safe to drop and call again.
    ///
    /// # Errors
    /// A refusal of the server; among them [`ClientError::is_gone`] if the watch began at a revision
    /// that is no longer kept. Failures of servers are not errors until the patience ends.
    pub async fn next(&mut self) -> Result<WatchItem, ClientError> {
        let mut pause = limits::RETRY_PAUSE_MIN;
        let silent_since = Instant::now();
        loop {
            let failure = if self.stream.is_none() {
                match self.open().await {
                    Ok(false) => continue,
                    Ok(true) => return Ok(WatchItem::Restarted),
                    Err(failure) => failure,
                }
            } else {
                match self.receive().await {
                    Ok(Some(event)) => return Ok(WatchItem::Event(event)),
                    Ok(None) => continue,
                    Err(failure) => failure,
                }
            };
            let (error, hint) = match failure {
                Failure::Refused(error) if error.is_gone() && self.position.history_is_gone() => continue,
                Failure::Refused(error) => return Err(error),
                Failure::MayPass(error) => (error, None),
                Failure::Overloaded(error, hint) => (error, Some(hint)),
            };
            if self.patience.is_some_and(|patience| silent_since.elapsed() > patience) {
                return Err(error);
            }
            tracing::debug!(%error, "the watch goes on elsewhere");
            tokio::time::sleep(hint.map_or_else(|| jittered(pause), hinted)).await;
            pause = (pause * 2).min(limits::RETRY_PAUSE_MAX);
        }
    }

    /// Opens a stream; true if the watcher must forget what it has.
    async fn open(&mut self) -> Result<bool, Failure> {
        let link = self.client.connection().link().await.map_err(|error| {
            let untrusted = error.untrusted;
            let error = ClientError::Connect(error);
            if untrusted {
                Failure::Refused(error)
            } else {
                Failure::MayPass(error)
            }
        })?;
        let mut position = self.position.clone();
        let (revision, forget) = position.reopen();
        let request = v1::WatchRequest {
            resource_version: revision,
            // Bookmarks tell that a revision is complete.
            allow_bookmarks: true,
            ..self.request.clone()
        };
        let mut stub = resources_on(&link);
        let opened = tokio::time::timeout(self.client.connection().config().request_timeout, stub.watch(request)).await;
        let response = match opened {
            Ok(Ok(response)) => response,
            Ok(Err(status)) => return Err(self.failed(&status, &link)),
            Err(_) => {
                self.client.connection().abandon(&link);
                let message = format!("{} did not answer", link.endpoint);
                return Err(Failure::MayPass(ClientError::Unavailable { message }));
            }
        };
        self.position = position;
        self.stream = Some((response.into_inner(), link));
        Ok(forget)
    }

    /// Takes the next event from the stream; none if it was a repetition or the stream ended.
    async fn receive(&mut self) -> Result<Option<Box<v1::WatchEvent>>, Failure> {
        let Some((stream, link)) = self.stream.as_mut() else {
            return Ok(None);
        };
        match stream.message().await {
            Ok(Some(event)) => Ok(self.position.accept(&event).then(|| Box::new(event))),
            // A server that shuts down ends its streams; go to another one.
            Ok(None) => {
                self.client.connection().abandon(link);
                self.stream = None;
                let message = "the server ended the watch".to_owned();
                Err(Failure::MayPass(ClientError::Unavailable { message }))
            }
            Err(status) => {
                let link = link.clone();
                self.stream = None;
                Err(self.failed(&status, &link))
            }
        }
    }

    fn failed(&self, status: &tonic::Status, link: &Link) -> Failure {
        if let Some(refused) = link.refused() {
            self.client.connection().abandon(link);
            return Failure::Refused(ClientError::Connect(refused));
        }
        match judge(status) {
            Verdict::Refused(error) => Failure::Refused(ClientError::Api(error)),
            Verdict::NotCarriedOut {
                message,
                retry_after: Some(hint),
                move_on: false,
            } => Failure::Overloaded(ClientError::Unavailable { message }, hint),
            Verdict::NotCarriedOut { message, .. } | Verdict::Unknown { message } => {
                self.client.connection().abandon(link);
                Failure::MayPass(ClientError::Unavailable { message })
            }
        }
    }
}

enum Failure {
    Refused(ClientError),
    MayPass(ClientError),
    /// The server is to be asked again, in a while.
    Overloaded(ClientError, Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: i64) -> v1::WatchEvent {
        v1::WatchEvent {
            r#type: Type::Modified.into(),
            revision,
            ..Default::default()
        }
    }

    fn bookmark(revision: i64, initial_events_end: bool) -> v1::WatchEvent {
        v1::WatchEvent {
            r#type: Type::Bookmark.into(),
            revision,
            initial_events_end,
            ..Default::default()
        }
    }

    #[test]
    fn resumes_in_the_middle_of_a_revision() {
        let mut position = Position::new(5);
        for revision in [6, 7, 7] {
            assert!(position.accept(&event(revision)));
        }
        assert_eq!(position.reopen(), (6, false));
        let news: Vec<bool> = [7, 7, 7, 8].into_iter().map(|r| position.accept(&event(r))).collect();
        assert_eq!(news, [false, false, true, true]);
        assert_eq!(position.reopen(), (7, false));
    }

    #[test]
    fn breaking_twice_in_one_revision_repeats_nothing() {
        let mut position = Position::new(5);
        assert!(position.accept(&event(6)));
        assert_eq!(position.reopen(), (5, false));
        assert!(!position.accept(&event(6)));
        assert!(position.accept(&event(6)));
        assert_eq!(position.reopen(), (5, false));
        let news: Vec<bool> = [6, 6, 6].into_iter().map(|r| position.accept(&event(r))).collect();
        assert_eq!(news, [false, false, true]);
    }

    #[test]
    fn a_bookmark_completes() {
        let mut position = Position::new(5);
        position.accept(&event(6));
        position.accept(&bookmark(9, false));
        assert_eq!(position.reopen(), (9, false));
        assert!(position.accept(&event(10)));
    }

    #[test]
    fn breaking_among_the_present_objects_restarts() {
        let mut position = Position::new(0);
        assert_eq!(position.reopen(), (0, false));
        position.accept(&event(3));
        assert_eq!(position.reopen(), (0, true));
        position.accept(&event(3));
        position.accept(&bookmark(4, true));
        assert_eq!(position.reopen(), (4, false));
    }

    #[test]
    fn lost_history_restarts_only_what_began_with_the_present() {
        let mut position = Position::new(0);
        position.accept(&bookmark(4, true));
        assert!(position.history_is_gone());
        assert_eq!(position.reopen(), (0, true));
        assert!(!Position::new(7).history_is_gone());
    }
}
