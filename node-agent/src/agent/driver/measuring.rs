//! Bounded volumes: measured now and then, since a plain directory has no bound of its own.

use super::{Driver, Event};
use crate::limits;
use crate::volume::usage;
use std::collections::BTreeMap;
use tokio::time::Instant;

impl Driver {
    pub(super) fn measure_if_due(&mut self) {
        if self.is_measuring || Instant::now() < self.measure_at {
            return;
        }
        self.measure_at = Instant::now() + limits::EMPTY_DIRECTORY_CHECK_PERIOD;
        let mut bounded = Vec::new();
        for (uid, state) in &self.pods {
            let pod = state.pod.as_ref().filter(|_| state.observed.eviction.is_none());
            if let (Some(pod), Ok(directory)) = (pod, self.workshop.layout.pod(uid)) {
                let bounds = usage::bounds(pod, &directory);
                if !bounds.is_empty() {
                    bounded.push((uid.clone(), bounds));
                }
            }
        }
        if bounded.is_empty() {
            return;
        }
        self.is_measuring = true;
        let events = self.own_events.clone();
        self.tasks.spawn(async move {
            let measure = move || -> BTreeMap<String, String> {
                let excess = |(uid, bounds): (String, Vec<usage::Bound>)| Some((uid, usage::excess(&bounds)?));
                bounded.into_iter().filter_map(excess).collect()
            };
            let excesses = tokio::task::spawn_blocking(measure).await.unwrap_or_default();
            let _ = events.send(Event::Measured { excesses }).await;
        });
    }

    pub(super) fn on_measured(&mut self, excesses: BTreeMap<String, String>) {
        self.is_measuring = false;
        for (uid, message) in excesses {
            if let Some(state) = self.pods.get_mut(&uid) {
                state.observed.eviction = Some(message);
                state.is_dirty = true;
            }
        }
    }
}
