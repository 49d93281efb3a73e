//! Starts the leader's loops when this server comes to lead, and ends them when it no longer does.
//!
//! Ending a loop is a courtesy: what makes a deposed leader harmless is that each of its writes names its
//! term and is refused under another (I5).

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet, time::Instant};
use trireme_logic::{controller::EventRecord, object::ObjectKey};
use trireme_proto::api::{core::v1::Node, meta::v1::Time};
use trireme_store::kv::Leadership;

use super::{controllers, events::EventRecorder, heartbeats::Heartbeats, scheduler, world_cache::WorldCache};
use crate::{environment::Environment, pipeline::Permit, registry::Registry};

/// What the loops of one leadership share.
pub struct LoopContext {
    /// Where writes go.
    pub registry: Arc<Registry>,
    /// What this server knows of the cluster.
    pub world: Arc<WorldCache>,
    /// Who lives.
    pub heartbeats: Arc<Heartbeats>,
    /// Clock and randomness.
    pub environment: Environment,
    /// The leadership that every decision is made under.
    pub leadership: Leadership,
    /// When this leadership began: nodes that were not heard of since are given a grace.
    pub since: Instant,
    events: EventRecorder,
}

impl LoopContext {
    /// A leadership begins. What the nodes said under the one before is forgotten, so that each has its grace.
    pub fn begin(
        registry: Arc<Registry>,
        world: Arc<WorldCache>,
        heartbeats: Arc<Heartbeats>,
        leadership: Leadership,
    ) -> Arc<Self> {
        world.update(|world| world.node_health.start());
        let environment = registry.environment().clone();
        let events = EventRecorder::start(registry.clone(), environment.clone(), leadership);
        Arc::new(Self {
            registry,
            world,
            heartbeats,
            environment,
            leadership,
            since: Instant::now(),
            events,
        })
    }

    /// The permit of a loop: its writes are fenced by the leadership.
    pub fn permit(&self, component: &'static str) -> Permit {
        Permit::system(component, Some(self.leadership))
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.environment.now()
    }

    /// A fresh seed.
    pub fn seed(&self) -> u64 {
        u64::from_le_bytes(self.environment.bytes())
    }

    /// Stores events for people, in the background: they never hold up work.
    pub fn record_events(&self, component: &'static str, events: Vec<EventRecord>) {
        self.events.record(component, events, self.now());
    }

    /// Tells the world what the heartbeats say; returns the nodes of which that is news.
    pub fn observe_heartbeats(&self) -> Vec<String> {
        let latest = self.heartbeats.latest(Instant::now());
        let since_start_ms =
            |at: Instant| u64::try_from(at.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        let mut news = Vec::new();
        self.world.update(|world| {
            for (node, record) in latest {
                let at_ms = since_start_ms(record.received_at);
                let known = world.node_health.last(&node).map(|last| last.at_ms);
                if known.is_none_or(|known| known < at_ms)
                    && world
                        .node_health
                        .heard(&node, at_ms, record.heartbeat.ready, &record.heartbeat.message)
                {
                    news.push(node);
                }
            }
            world.node_health.now_ms = since_start_ms(Instant::now());
            let deleted: Vec<String> = world
                .node_health
                .nodes()
                .filter(|node| world.get::<Node>(&ObjectKey::new("", *node)).is_none())
                .map(str::to_owned)
                .collect();
            for node in deleted {
                world.node_health.forget(&node);
            }
        });
        news
    }
}

/// Runs the loops whenever this server leads. Returns when the store stops.
pub async fn run(mut leadership: watch::Receiver<Option<Leadership>>, start: impl Fn(Leadership) -> Arc<LoopContext>) {
    loop {
        let present = *leadership.borrow_and_update();
        let mut loops = JoinSet::new();
        if let Some(present) = present {
            tracing::info!(term = present.term, "leading: starting scheduler and controllers");
            let context = start(present);
            loops.spawn(controllers::run(context.clone()));
            loops.spawn(scheduler::run(context));
        }
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { return },
            Some(ended) = loops.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    // A decision that panics would panic again on the next leader: end the process loudly.
                    std::panic::resume_unwind(error.into_panic());
                }
                return;
            }
        }
        loops.shutdown().await;
    }
}
