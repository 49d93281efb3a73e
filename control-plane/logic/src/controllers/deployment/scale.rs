//! Follows a changed size: every ReplicaSet of an unfinished rollout grows or shrinks by its share.

use super::plan::{DESIRED_REPLICAS, MAX_REPLICAS, Plan};
use crate::kind::metadata_of;

impl Plan<'_> {
    /// True if the Deployment's size changed since its ReplicaSets were last sized.
    pub(super) fn is_scaling(&self) -> bool {
        let replicas = self.replicas();
        self.sets.iter().filter(|plan| plan.replicas() > 0).any(|plan| {
            let annotations = &metadata_of(&plan.set).annotations;
            let desired = annotations
                .get(DESIRED_REPLICAS)
                .and_then(|number| number.parse::<i32>().ok());
            desired.is_some_and(|desired| desired != replicas)
        })
    }

    /// Gives the ReplicaSets their share of the present size.
    pub(super) fn follow_size(&mut self) {
        let wanted = self.replicas();
        if let Some(place) = self.only_active() {
            self.resize(place, wanted);
            return;
        }
        let saturated = self.current.is_some_and(|place| {
            let current = &self.sets[place];
            let desired = metadata_of(&current.set)
                .annotations
                .get(DESIRED_REPLICAS)
                .and_then(|text| text.parse().ok());
            current.replicas() == wanted && current.available >= wanted && desired == Some(wanted)
        });
        if saturated {
            for place in self.old() {
                self.resize(place, 0);
            }
        } else if !self.recreates() {
            self.share();
        }
    }

    /// The one ReplicaSet with a size, if there is just one; else the present or newest if none has.
    fn only_active(&self) -> Option<usize> {
        let mut active = (0..self.sets.len()).filter(|place| self.sets[*place].replicas() > 0);
        match (active.next(), active.next()) {
            (Some(place), None) => Some(place),
            (None, _) => self.current.or_else(|| self.sets.len().checked_sub(1)),
            (Some(_), Some(_)) => None,
        }
    }

    /// Shares the difference in proportion to the sizes; what rounding leaves goes to the largest.
    fn share(&mut self) {
        let wanted = self.replicas();
        let allowed = if wanted > 0 { wanted + self.max_surge() } else { 0 };
        let total: i32 = self.sets.iter().map(super::plan::SetPlan::replicas).sum();
        let difference = allowed - total;
        let mut places: Vec<usize> = (0..self.sets.len())
            .filter(|place| self.sets[*place].replicas() > 0)
            .collect();
        // The largest first; of equals the newest when growing, the oldest when shrinking.
        places.sort_by_key(|place| {
            let age = if difference > 0 { usize::MAX - place } else { *place };
            (std::cmp::Reverse(self.sets[*place].replicas()), age)
        });
        let mut left = difference;
        let mut sizes: Vec<(usize, i32)> = Vec::new();
        for place in places {
            let share = self.proportion(place, allowed);
            let step = if difference > 0 {
                share.clamp(0, left.max(0))
            } else {
                share.clamp(left.min(0), 0)
            };
            left -= step;
            sizes.push((place, self.sets[place].replicas() + step));
        }
        for (place, mut size) in sizes {
            if left != 0 {
                let step = left.max(-size);
                size += step;
                left -= step;
            }
            self.resize(place, size);
        }
    }

    /// By how much a ReplicaSet changes if it keeps its share of the whole.
    fn proportion(&self, place: usize, allowed: i32) -> i32 {
        let plan = &self.sets[place];
        let before = metadata_of(&plan.set)
            .annotations
            .get(MAX_REPLICAS)
            .and_then(|text| text.parse::<i64>().ok());
        let before = before
            .filter(|before| *before > 0)
            .unwrap_or_else(|| i64::from(allowed.max(1)));
        let size = i64::from(plan.replicas());
        // Rounded to the nearest: half of the divisor is added before the division.
        let scaled = (size * i64::from(allowed) + before / 2) / before;
        i32::try_from(scaled - size).unwrap_or(0)
    }
}
