//! Nodes with more room left, and with CPU and memory used to like degrees, are better.

use super::Score;
use crate::scheduler::{class::Class, node_state::NodeState};

/// See the file.
pub struct Resources;

impl Score for Resources {
    fn name(&self) -> &'static str {
        "NodeResources"
    }

    /// 0 to 200: free percent, the mean of CPU and memory, and 100 less the percents they lie apart.
    fn score(&self, class: &Class<'_>, _place: usize, node: &NodeState<'_>) -> i64 {
        let request = class.request();
        let cpu = used_percent(
            node.usage.scored_milli_cpu + request.scored_milli_cpu,
            node.allocatable.milli_cpu,
        );
        let memory = used_percent(
            node.usage.scored_memory_bytes + request.scored_memory_bytes,
            node.allocatable.memory_bytes,
        );
        (200 - cpu - memory) / 2 + 100 - (cpu - memory).abs()
    }
}

fn used_percent(used: i64, offered: i64) -> i64 {
    if offered <= 0 {
        100
    } else {
        (used.saturating_mul(100) / offered).clamp(0, 100)
    }
}
