//! I3: what etcd promises of watches holds for ours: see [`crate::watch_rules`].

use super::{Record, Violation};
use crate::{linear::replay::Replay, watch_rules};

pub(super) fn judge(record: &Record, replay: &Replay) -> Vec<Violation> {
    let watches = record.watches.iter().flat_map(|record| &record.watches);
    let violations = watches.flat_map(|watch| watch_rules::violations(watch, replay));
    violations
        .map(|(rule, found)| Violation {
            invariant: rule,
            found: format!("watch: {found}"),
        })
        .collect()
}
