//! Moves replicas from the old templates to the present one.
//!
//! Two bounds hold at every step, counted on the pods that exist and not on what a status says of them: at
//! most `replicas + maxSurge` pods, at least `replicas - maxUnavailable` available ones.

use trireme_proto::{
    Rounding,
    api::{core::v1::Pod, meta::v1::IntOrString},
};

use super::plan::Plan;
use crate::controllers::{owners, pods};

/// A bound as a count: a percentage is of `replicas`, rounded up or down. 25% if it is not given.
pub(super) fn resolve(bound: Option<&IntOrString>, replicas: i32, rounding: Rounding) -> i32 {
    let default = IntOrString::from("25%");
    // Validation refuses what is no percentage; should one slip through, it allows no step.
    bound
        .unwrap_or(&default)
        .resolve(replicas, rounding)
        .unwrap_or(0)
        .max(0)
}

impl Plan<'_> {
    /// One step of a rolling update.
    pub(super) fn roll(&mut self) {
        self.sync_revision();
        if self.current.is_none() && !self.create_current(self.room().min(self.replicas())) {
            return;
        }
        self.grow_current();
        self.shrink_unhealthy();
        self.shrink_old();
    }

    /// How many pods may be added.
    fn room(&self) -> i32 {
        let footprint: i32 = self.sets.iter().map(super::plan::SetPlan::footprint).sum();
        (self.replicas().saturating_add(self.max_surge()) - footprint).max(0)
    }

    fn grow_current(&mut self) {
        let Some(place) = self.current else { return };
        let (size, wanted) = (self.sets[place].replicas(), self.replicas());
        if size > wanted {
            self.resize(place, wanted);
        } else if size < wanted {
            self.resize(place, size + self.room().min(wanted - size));
        }
    }

    /// Takes away old pods that are not available. As many pods as are needed stay, even unavailable ones,
    /// while the new ones are not available either: they may yet recover.
    fn shrink_unhealthy(&mut self) {
        let total: i32 = self.sets.iter().map(super::plan::SetPlan::replicas).sum();
        let new_unavailable = self.current.map_or(0, |place| {
            let current = &self.sets[place];
            current.replicas() - current.kept_available()
        });
        let mut spare = total - (self.replicas() - self.max_unavailable()) - new_unavailable;
        for place in self.old() {
            let plan = &self.sets[place];
            let step = (plan.replicas() - plan.kept_available()).min(spare);
            if step > 0 {
                spare -= step;
                let size = plan.replicas() - step;
                self.resize(place, size);
            }
        }
    }

    /// Takes away old pods as far as enough available ones stay.
    fn shrink_old(&mut self) {
        let available: i32 = self.sets.iter().map(super::plan::SetPlan::kept_available).sum();
        let mut spare = available - (self.replicas() - self.max_unavailable());
        for place in self.old() {
            let size = self.sets[place].replicas();
            let step = size.min(spare);
            if step > 0 {
                spare -= step;
                self.resize(place, size - step);
            }
        }
    }

    /// One step of a recreation: first no old pod, then the new ones.
    pub(super) fn recreate(&mut self) {
        self.sync_revision();
        for place in self.old() {
            self.resize(place, 0);
        }
        if self.old_pods_left() {
            return;
        }
        let wanted = self.replicas();
        match self.current {
            Some(place) => self.resize(place, wanted),
            None => {
                self.create_current(wanted);
            }
        }
    }

    /// True if a pod of an old template has not ended yet, even one that is being deleted.
    fn old_pods_left(&self) -> bool {
        self.old().into_iter().any(|place| {
            let uid = owners::uid_of(&self.sets[place].set);
            self.world.controlled_by::<Pod>(uid).any(|pod| !pods::is_finished(pod))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_resolved_as_documented() {
        use Rounding::{Down, Up};
        let text = |text: &str| Some(IntOrString::from(text));
        for (bound, replicas, rounding, expected) in [
            (None, 10, Up, 3),
            (None, 10, Down, 2),
            (Some(IntOrString::from(2)), 10, Up, 2),
            (Some(IntOrString::from(-2)), 10, Up, 0),
            (text("30%"), 5, Up, 2),
            (text("30%"), 5, Down, 1),
            (text("100%"), 7, Down, 7),
            (text("0%"), 7, Up, 0),
            (text("nonsense"), 7, Up, 0),
        ] {
            assert_eq!(
                resolve(bound.as_ref(), replicas, rounding),
                expected,
                "{bound:?} of {replicas}"
            );
        }
    }
}
