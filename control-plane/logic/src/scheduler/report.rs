//! Turns a pass's decisions into writes and events.
//!
//! A pod that cannot be placed is told so once: its condition is written, and the event made, only when the
//! message changes, and only so many in one pass.

use trireme_proto::api::core::v1::{Pod, PodStatus};

use super::{Decisions, Options, Unschedulable};
use crate::{
    controller::{EventType, Outcome, Write},
    controllers::{conditions, owners, pods},
    limits::UNSCHEDULABLE_WRITES_PER_PASS,
    world::World,
};

const POD_SCHEDULED: &str = "PodScheduled";
const UNSCHEDULABLE: &str = "Unschedulable";

impl Decisions {
    /// The writes and events of the decisions: all bindings, then the news about pods without a node.
    /// `more` becomes true if some of that news had to wait for another pass.
    pub fn outcome(&mut self, world: &World, options: &Options) -> Outcome {
        let mut outcome = Outcome::default();
        for binding in &self.bindings {
            if let Some(pod) = world.get::<Pod>(&binding.pod) {
                let message = format!("Successfully assigned {} to {}", binding.pod, binding.node);
                outcome
                    .events
                    .push(owners::event(pod, EventType::Normal, "Scheduled", message));
            }
            outcome.writes.push(Write::Bind {
                pod: binding.pod.clone(),
                uid: binding.uid.clone(),
                node: binding.node.clone(),
            });
        }
        let mut told = 0;
        for unschedulable in &self.unschedulable {
            let Some(pod) = world
                .get::<Pod>(&unschedulable.pod)
                .filter(|pod| is_news(pod, unschedulable))
            else {
                continue;
            };
            if told == UNSCHEDULABLE_WRITES_PER_PASS {
                self.more = true;
                break;
            }
            told += 1;
            tell(pod, unschedulable, options, &mut outcome);
        }
        outcome
    }
}

fn is_news(pod: &Pod, unschedulable: &Unschedulable) -> bool {
    let told = pods::condition(pod, POD_SCHEDULED).is_some_and(|condition| {
        condition.status == "False" && condition.reason == UNSCHEDULABLE && condition.message == unschedulable.message
    });
    !told
}

fn tell(pod: &Pod, unschedulable: &Unschedulable, options: &Options, outcome: &mut Outcome) {
    let message = &unschedulable.message;
    let mut changed = pod.clone();
    let status = changed.status.get_or_insert_with(PodStatus::default);
    conditions::set(
        &mut status.conditions,
        POD_SCHEDULED,
        "False",
        UNSCHEDULABLE,
        message,
        options.now,
    );
    outcome.writes.push(Write::UpdateStatus(Box::new(changed)));
    outcome.events.push(owners::event(
        pod,
        EventType::Warning,
        "FailedScheduling",
        message.as_str(),
    ));
}
