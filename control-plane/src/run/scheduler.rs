//! The shell that runs the scheduler while this server leads.
//!
//! A pass decides on many pods at once from one view of the world; its bindings are written together, and the
//! next pass waits until the world shows them. So a pass never sees half of the one before.

use std::{sync::Arc, time::Duration};

use trireme_logic::{
    controller::Outcome,
    controllers::pods,
    scheduler::{Options, SCHEDULER_NAME, is_ours, schedule},
    world::{Change, World},
};
use trireme_proto::api::core::v1::Pod;

use super::{leader::LoopContext, writes::carry_out};
use crate::limits::SCHEDULING_PASS_PODS;

/// How long the scheduler waits after a pass of which nothing could be written.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Runs until it is dropped.
pub async fn run(context: Arc<LoopContext>) {
    let mut changes = context.world.subscribe();
    loop {
        while changes.try_recv().is_ok() {}
        let outcome = decide(&context);
        let idle = outcome.writes.is_empty();
        if !idle {
            let written = carry_out(&context.registry, &context.permit(SCHEDULER_NAME), outcome.writes).await;
            match written.failure {
                None => context.record_events(SCHEDULER_NAME, outcome.events),
                Some(failure) => {
                    tracing::debug!(error = %failure.error, "a binding failed; the next pass decides again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
            if context.world.wait_for(written.revision).await.is_err() {
                return;
            }
            continue;
        }
        // Nothing to decide until something changes that a decision depends on.
        loop {
            let Some(change) = changes.recv().await else { return };
            if may_help(&change) || context.world.read(|world| may_lead_to(&change, world)) {
                break;
            }
        }
    }
}

fn decide(context: &LoopContext) -> Outcome {
    let options = Options {
        limit: SCHEDULING_PASS_PODS,
        seed: context.seed(),
        now: context.now(),
    };
    context
        .world
        .read(|world| schedule(world, &options).outcome(world, &options))
}

/// Whether another pass may decide more after this change: a pod waits for a node, a node changed, or a pod that took up
/// room is gone.
fn may_help(change: &Change) -> bool {
    if change.info.plural == "nodes" {
        return true;
    }
    let Some((old, new)) = change.of::<Pod>() else {
        return false;
    };
    let takes_room = |pod: Option<&Pod>| pod.is_some_and(|pod| pods::is_bound(pod) && pods::is_active(pod));
    new.is_some_and(is_ours) || (takes_room(old) && !takes_room(new))
}

/// Whether another pass may decide more since a pod that waits wants to be near others: one was bound by somebody else,
/// or a bound one's labels, or a namespace's, changed.
fn may_lead_to(change: &Change, world: &World) -> bool {
    let labels_changed = match (&change.old, &change.new) {
        (Some(old), Some(new)) => old.metadata().labels != new.metadata().labels,
        _ => false,
    };
    let concerns = match change.of::<Pod>() {
        None => change.info.plural == "namespaces" && labels_changed,
        Some((old, Some(new))) => pods::is_bound(new) && (labels_changed || old.is_none_or(|old| !pods::is_bound(old))),
        Some((_, None)) => false,
    };
    concerns && world.pods_to_schedule_beside_others().any(is_ours)
}
