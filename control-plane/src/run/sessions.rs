//! The nodes that are connected to this server, and what is asked of them.
//!
//! Agents only dial out (D10): a command travels down the node's session, its answer comes back as a call
//! of the node's own, matched by a request id.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::mpsc;
use trireme_proto::v1::{FetchLogs, SessionResponse, session_response};

use crate::limits::LOG_FRAMES_IN_FLIGHT;

/// A piece of a log on its way to a user, or why there is none.
pub type LogFrame = Result<Bytes, String>;

/// The sessions of this server.
#[derive(Debug, Default)]
pub struct NodeSessions {
    state: Mutex<State>,
    next_session: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<String, Session>,
    /// By request id: which node may answer, and where its answer goes.
    log_requests: BTreeMap<String, (String, mpsc::Sender<LogFrame>)>,
}

#[derive(Debug)]
struct Session {
    id: u64,
    commands: mpsc::Sender<SessionResponse>,
}

impl NodeSessions {
    /// A node connected. A second session of the same node replaces the first.
    pub fn open(&self, node: &str, commands: mpsc::Sender<SessionResponse>) -> u64 {
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        self.lock().sessions.insert(node.to_owned(), Session { id, commands });
        id
    }

    /// A session ended.
    pub fn close(&self, node: &str, id: u64) {
        let mut state = self.lock();
        if state.sessions.get(node).is_some_and(|session| session.id == id) {
            state.sessions.remove(node);
        }
    }

    /// Asks a node for a log. `None` if the node is not connected here.
    pub fn fetch_logs(&self, node: &str, fetch: FetchLogs) -> Option<mpsc::Receiver<LogFrame>> {
        let mut state = self.lock();
        let session = state.sessions.get(node)?;
        let request_id = fetch.request_id.clone();
        let command = SessionResponse {
            message: Some(session_response::Message::FetchLogs(fetch)),
        };
        session.commands.try_send(command).ok()?;
        let (sender, receiver) = mpsc::channel(LOG_FRAMES_IN_FLIGHT);
        state.log_requests.retain(|_, (_, waiting)| !waiting.is_closed());
        state.log_requests.insert(request_id, (node.to_owned(), sender));
        Some(receiver)
    }

    /// `node` answers: where to pass the log on to. `None` if nobody waits for it any more, or another node was asked.
    pub fn take_log_request(&self, node: &str, request_id: &str) -> Option<mpsc::Sender<LogFrame>> {
        let mut state = self.lock();
        let (asked, _) = state.log_requests.get(request_id)?;
        if asked != node {
            return None;
        }
        state.log_requests.remove(request_id).map(|(_, sender)| sender)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the sessions")
    }
}
