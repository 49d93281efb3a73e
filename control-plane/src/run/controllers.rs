//! The shell that runs the controllers while this server leads.
//!
//! One task, one select: changes touch keys, due keys are reconciled under a read of the world, their
//! writes are carried out by tasks of their own, and a key comes back only once the world shows them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use trireme_logic::{
    controller::{Context, Controller, Outcome, Refusal},
    controllers::node_lifecycle::NAME as NODE_LIFECYCLE,
    object::ObjectKey,
    world::Change,
};
use trireme_proto::api::meta::v1::Time;

use super::{
    leader::LoopContext,
    work_queue::{Completion, WorkItem, WorkQueue},
    writes::carry_out,
};
use crate::limits::{NODE_HEALTH_PERIOD, RECONCILES_CONCURRENT};

/// Runs until it is dropped.
pub async fn run(context: Arc<LoopContext>) {
    let controllers: Arc<[Box<dyn Controller>]> = trireme_logic::controllers::all().into();
    Driver {
        context,
        controllers,
        queue: WorkQueue::default(),
        running: JoinSet::new(),
    }
    .run()
    .await;
}

struct Driver {
    context: Arc<LoopContext>,
    controllers: Arc<[Box<dyn Controller>]>,
    queue: WorkQueue,
    running: JoinSet<(WorkItem, Completion)>,
}

impl Driver {
    async fn run(mut self) {
        // Subscribed before the full pass, so that no change falls between the two.
        let mut changes = self.context.world.subscribe();
        let mut revisions = self.context.world.revisions();
        let mut health = tokio::time::interval(NODE_HEALTH_PERIOD);
        health.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.touch_everything();
        loop {
            self.queue.fire_timers(Instant::now());
            self.start_due();
            let next_timer = self
                .queue
                .next_timer()
                .unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                biased;
                Some(finished) = self.running.join_next() => match finished {
                    Ok((item, completion)) => {
                        self.queue.complete(item, completion, self.context.world.revision(), Instant::now());
                    }
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                change = changes.recv() => {
                    let Some(change) = change else { return };
                    self.touch(&change);
                    while let Ok(change) = changes.try_recv() {
                        self.touch(&change);
                    }
                    self.queue.world_reached(self.context.world.revision());
                }
                revision = revisions.changed() => {
                    if revision.is_err() {
                        return;
                    }
                    let revision = *revisions.borrow_and_update();
                    self.queue.world_reached(revision);
                }
                _ = health.tick() => self.observe_heartbeats(),
                () = tokio::time::sleep_until(next_timer) => {}
            }
        }
    }

    fn touch_everything(&mut self) {
        let (controllers, queue) = (&self.controllers, &mut self.queue);
        self.context.world.read(|world| {
            for (index, controller) in controllers.iter().enumerate() {
                for key in controller.all_keys(world) {
                    queue.touch(WorkItem { controller: index, key });
                }
            }
        });
    }

    fn touch(&mut self, change: &Change) {
        let (controllers, queue) = (&self.controllers, &mut self.queue);
        self.context.world.read(|world| {
            for (index, controller) in controllers.iter().enumerate() {
                let mut keys = BTreeSet::new();
                controller.keys_for(change, world, &mut keys);
                for key in keys {
                    queue.touch(WorkItem { controller: index, key });
                }
            }
        });
    }

    /// Tells the world what the heartbeats say, and touches the nodes whose health that changed.
    fn observe_heartbeats(&mut self) {
        let news = self.context.observe_heartbeats();
        let lifecycle = self
            .controllers
            .iter()
            .position(|controller| controller.name() == NODE_LIFECYCLE);
        if let Some(controller) = lifecycle {
            for node in news {
                self.queue.touch(WorkItem {
                    controller,
                    key: ObjectKey::new("", node),
                });
            }
        }
    }

    fn start_due(&mut self) {
        while self.queue.in_flight() < RECONCILES_CONCURRENT {
            let Some(item) = self.queue.take() else { return };
            let outcome = self.reconcile(&item);
            if let Some(at) = outcome.requeue_at {
                let now = self.context.now();
                self.queue
                    .touch_at(item.clone(), Instant::now() + duration_until(now, at));
            }
            if outcome.writes.is_empty() {
                self.context
                    .record_events(self.controllers[item.controller].name(), outcome.events);
                self.queue
                    .complete(item, Completion::Written { revision: 0 }, 0, Instant::now());
                continue;
            }
            let context = self.context.clone();
            let controllers = self.controllers.clone();
            self.running.spawn(async move {
                let completion = execute(&context, &*controllers[item.controller], &item, outcome).await;
                (item, completion)
            });
        }
    }

    fn reconcile(&self, item: &WorkItem) -> Outcome {
        let context = Context {
            now: self.context.now(),
            seed: self.context.seed(),
        };
        self.context
            .world
            .read(|world| self.controllers[item.controller].reconcile(world, &item.key, &context))
    }
}

async fn execute(context: &LoopContext, controller: &dyn Controller, item: &WorkItem, outcome: Outcome) -> Completion {
    let written = carry_out(&context.registry, &context.permit(controller.name()), outcome.writes).await;
    match written.failure {
        None => {
            context.record_events(controller.name(), outcome.events);
            Completion::Written {
                revision: written.revision,
            }
        }
        Some(failure) => {
            let error = &failure.error;
            tracing::debug!(controller = controller.name(), key = %item.key, %error, "a reconcile failed; trying again");
            let told = match &failure.refusal {
                Some(refusal) => tell_refusal(context, controller, item, refusal).await,
                None => 0,
            };
            Completion::Failed {
                revision: written.revision.max(told),
            }
        }
    }
}

/// Lets people know that a write was refused. Returns the revision that this took; 0 if it changed nothing.
async fn tell_refusal(context: &LoopContext, controller: &dyn Controller, item: &WorkItem, refusal: &Refusal) -> i64 {
    let present = Context {
        now: context.now(),
        seed: context.seed(),
    };
    let told = context
        .world
        .read(|world| controller.on_refusal(world, &item.key, refusal, &present));
    context.record_events(controller.name(), told.events);
    // If this cannot be written either, the next attempt tells it again.
    carry_out(&context.registry, &context.permit(controller.name()), told.writes)
        .await
        .revision
}

fn duration_until(now: Time, at: Time) -> Duration {
    let nanos = |time: Time| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    u64::try_from(nanos(at) - nanos(now)).map_or(Duration::ZERO, Duration::from_nanos)
}
