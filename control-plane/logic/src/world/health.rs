//! What the leader has heard from the nodes since it took over.
//!
//! Heartbeats are kept in the leader's memory and never stored (see the design's "A heartbeat"). All times
//! are milliseconds on one monotonic clock that starts at 0 when the leadership starts, so that a step of
//! the wall clock cannot make nodes look dead.
//!
//! The shell calls [`NodeHealthBook::start`] when it becomes the leader, [`NodeHealthBook::heard`] for each
//! heartbeat, and sets [`NodeHealthBook::now_ms`] before it lets controllers reconcile.

use std::collections::BTreeMap;

use crate::limits::NODE_SILENCE_LIMIT_MS;

/// The leader's knowledge of the nodes' liveness.
#[derive(Debug, Clone, Default)]
pub struct NodeHealthBook {
    /// The present: milliseconds since this leadership began.
    pub now_ms: u64,
    nodes: BTreeMap<String, Heartbeat>,
}

/// The last thing a node said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// When, in milliseconds since this leadership began.
    pub at_ms: u64,
    /// Whether its runtime works.
    pub ready: bool,
    /// If not, why.
    pub message: String,
}

impl NodeHealthBook {
    /// Forgets everything: a leadership begins now.
    pub fn start(&mut self) {
        *self = Self::default();
    }

    /// Notes a heartbeat at `now_ms`. True if the node's key should be reconciled at once: it was not heard
    /// for long, or says something new.
    pub fn heard(&mut self, node: &str, now_ms: u64, ready: bool, message: &str) -> bool {
        self.now_ms = self.now_ms.max(now_ms);
        let heartbeat = Heartbeat {
            at_ms: now_ms,
            ready,
            message: message.to_owned(),
        };
        match self.nodes.get_mut(node) {
            Some(last) => {
                let silence_ms = now_ms.saturating_sub(last.at_ms);
                let news = last.ready != ready || last.message != message || silence_ms > NODE_SILENCE_LIMIT_MS;
                *last = heartbeat;
                news
            }
            None => {
                self.nodes.insert(node.to_owned(), heartbeat);
                true
            }
        }
    }

    /// Forgets a node that was deleted.
    pub fn forget(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    /// The nodes that were heard, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The last heartbeat of a node; `None` if it was not heard under this leadership.
    pub fn last(&self, node: &str) -> Option<&Heartbeat> {
        self.nodes.get(node)
    }

    /// Milliseconds since a node was last heard; since the leadership began if it never was.
    pub fn silence_ms(&self, node: &str) -> u64 {
        self.now_ms.saturating_sub(self.last(node).map_or(0, |last| last.at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_news_asks_for_a_reconcile() {
        let mut book = NodeHealthBook::default();
        assert!(book.heard("a", 10, true, ""), "first heartbeat");
        assert!(!book.heard("a", 5_010, true, ""), "same again");
        assert!(book.heard("a", 10_010, false, "runtime is down"), "not ready");
        assert!(!book.heard("a", 15_010, false, "runtime is down"), "same again");
        assert!(book.heard("a", 20_010, true, ""), "ready again");
        assert!(book.heard("a", 20_011 + NODE_SILENCE_LIMIT_MS, true, ""), "was silent");
        assert_eq!(book.silence_ms("a"), 0);
        assert_eq!(book.silence_ms("never"), book.now_ms);
    }
}
