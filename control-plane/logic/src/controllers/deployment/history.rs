//! Deletes ReplicaSets of earlier templates beyond those that are kept for a rollback.

use super::plan::Plan;
use crate::{kind::metadata_of, limits::DEFAULT_REVISION_HISTORY};

impl Plan<'_> {
    /// Marks the oldest empty ReplicaSets beyond the limit, once the rollout is complete.
    pub(super) fn clean_up(&mut self) {
        if !self.is_complete() {
            return;
        }
        let keep = usize::try_from(self.spec().revision_history_limit.unwrap_or(DEFAULT_REVISION_HISTORY)).unwrap_or(0);
        let old = self.old();
        let surplus = old.len().saturating_sub(keep);
        let mut empty: Vec<usize> = old
            .into_iter()
            .filter(|place| {
                let plan = &self.sets[*place];
                let status = plan.set.status.clone().unwrap_or_default();
                let observed = status.observed_generation >= metadata_of(&plan.set).generation;
                plan.replicas() == 0 && plan.active == 0 && status.replicas == 0 && observed
            })
            .collect();
        empty.sort_by_key(|place| self.sets[*place].revision());
        for place in empty.into_iter().take(surplus) {
            self.sets[place].doomed = true;
        }
    }
}
