//! Nodes with fewer pods of the same controller are better, so that a lost node takes few replicas along.

use super::Score;
use crate::scheduler::{class::Class, node_state::NodeState};

/// See the file.
pub struct SpreadByOwner;

impl Score for SpreadByOwner {
    fn name(&self) -> &'static str {
        "SpreadByOwner"
    }

    fn score(&self, class: &Class<'_>, place: usize, _node: &NodeState<'_>) -> i64 {
        -i64::from(class.peers[place])
    }
}
