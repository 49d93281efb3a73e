//! The one loop that drives everything: events in, at most one operation a pod out.
//!
//! Each turn has the same tail: list the runtime if that is due, decide for every pod whose state
//! changed, run due probes, publish which containers run. The loop itself never waits for the runtime
//! or the cluster; work runs in tasks that report back as events.

mod deciding;
mod listing;
mod logging;
mod measuring;
mod probing;

use super::pods::PodState;
use super::world::World;
use crate::journal::PodJournal;
use crate::limits;
use crate::operations::{OrderOutcome, Workshop};
use crate::pod::probe::{ProbeKind, ProbeState};
use crate::pod::spec::spec_of;
use crate::pod::{Goal, Operation, VolumeObservation};
use crate::runtime::{Inventory, PodIdentity, RuntimeError};
use crate::session::connection::Cluster;
use crate::session::reporter::Reporter;
use crate::session::{self, Health, RunningContainers, SessionEvent};
use crate::time::{Moment, wall_now};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trireme_proto::api::core::v1::{Container, Node, Pod};

/// Events that may wait for the driver.
const EVENT_QUEUE: usize = 1024;
/// How often the runtime is asked whether it is ready, beside being listed.
const READINESS_PERIOD: Duration = Duration::from_secs(5);
/// How often the sizes of log files are looked at.
const LOG_ROTATION_PERIOD: Duration = Duration::from_secs(10);

/// What tasks tell the driver.
#[derive(Debug)]
enum Event {
    /// An order ended.
    Done { uid: String, outcome: OrderOutcome },
    /// The runtime was listed.
    Listed {
        number: u64,
        outcome: Result<Inventory, RuntimeError>,
    },
    /// Volumes were measured: what is too large, by uid.
    Measured { excesses: BTreeMap<String, String> },
    /// A probe ended.
    Probed {
        uid: String,
        container_id: String,
        name: String,
        kind: ProbeKind,
        /// If it failed, why.
        outcome: Result<(), String>,
    },
}

/// The agent's driver.
pub(in crate::agent) struct Driver {
    cluster: Cluster,
    workshop: Workshop,
    world: World,
    /// By uid.
    pods: BTreeMap<String, PodState>,
    session_events: mpsc::Receiver<SessionEvent>,
    events: mpsc::Receiver<Event>,
    own_events: mpsc::Sender<Event>,
    session: JoinSet<()>,
    tasks: JoinSet<()>,
    operation_permits: Arc<Semaphore>,
    probe_permits: Arc<Semaphore>,
    log_permits: Arc<Semaphore>,
    health: watch::Sender<Health>,
    running: watch::Sender<RunningContainers>,
    reporter: Reporter,
    /// The newest list that was begun, and the newest that was taken in.
    list_begun: u64,
    list_taken: u64,
    is_listing: bool,
    list_at: Instant,
    readiness_at: Instant,
    rotation_at: Instant,
    /// When bounded volumes are measured next, and whether they are now.
    measure_at: Instant,
    is_measuring: bool,
    /// It is known that this agent has its pods in hand.
    is_in_service: bool,
}

impl Driver {
    /// Starts the session and takes up what earlier agents left.
    pub(in crate::agent) fn start(
        cluster: Cluster,
        node: Node,
        workshop: Workshop,
        journals: BTreeMap<String, PodJournal>,
    ) -> Self {
        let (session_sender, session_events) = mpsc::channel(EVENT_QUEUE);
        let (own_events, events) = mpsc::channel(EVENT_QUEUE);
        let unknown = Health {
            ready: false,
            message: "the container runtime was not asked yet".to_owned(),
        };
        let (health, health_receiver) = watch::channel(unknown);
        let (running, _) = watch::channel(RunningContainers::default());
        let reporter = Reporter::default();
        let told = (&reporter, &workshop.events);
        let session = session::start(&cluster, node, health_receiver, told, &session_sender);
        let now = Instant::now();
        let mut driver = Self {
            cluster,
            workshop,
            world: World::default(),
            pods: BTreeMap::new(),
            session_events,
            events,
            own_events,
            session,
            tasks: JoinSet::new(),
            operation_permits: Arc::new(Semaphore::new(limits::OPERATIONS_IN_PARALLEL_MAX)),
            probe_permits: Arc::new(Semaphore::new(limits::PROBES_IN_PARALLEL_MAX)),
            log_permits: Arc::new(Semaphore::new(limits::LOG_STREAMS_MAX)),
            health,
            running,
            reporter,
            list_begun: 0,
            list_taken: 0,
            is_listing: false,
            list_at: now,
            readiness_at: now,
            rotation_at: now + LOG_ROTATION_PERIOD,
            measure_at: now + limits::EMPTY_DIRECTORY_CHECK_PERIOD,
            is_measuring: false,
            is_in_service: false,
        };
        for (uid, journal) in journals {
            let state = driver
                .pods
                .entry(uid)
                .or_insert_with(|| PodState::new(journal.identity.clone()));
            state.saved_journal = Some(journal.clone());
            state.observed.journal = journal;
        }
        driver
    }

    /// Drives until `shutdown` is cancelled, and breaks off what is under way then.
    pub(in crate::agent) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            self.list_if_due();
            self.rotate_logs_if_due();
            self.measure_if_due();
            self.decide_all();
            self.probe_all();
            self.mark_service_if_due();
            let wake_at = self.next_wake();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(event) = self.events.recv() => self.on_event(event),
                Some(event) = self.session_events.recv() => self.on_session_event(event),
                // Ended tasks are taken out, so that the set does not grow.
                Some(_) = self.tasks.join_next() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
        // A task ends at its next wait only. Until then it works on files that whoever comes next takes for their own.
        self.session.shutdown().await;
        self.tasks.shutdown().await;
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Done { uid, outcome } => {
                // A list that was begun before now may not show what was done.
                self.list_at = Instant::now();
                let begun = self.list_begun;
                if let Some(state) = self.pods.get_mut(&uid)
                    && let Some(busy) = state.busy.take()
                {
                    state.stale_until = begun;
                    state.finish(&busy, outcome, wall_now());
                }
            }
            Event::Listed { number, outcome } => self.on_listed(number, outcome),
            Event::Measured { excesses } => self.on_measured(excesses),
            Event::Probed {
                uid,
                container_id,
                name,
                kind,
                outcome,
            } => {
                self.on_probed(&uid, &container_id, &name, kind, &outcome);
            }
        }
    }

    fn on_session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Assignments(change) => {
                let touched = self.world.apply(change);
                for uid in &touched.pods {
                    self.take_object(uid);
                }
                for state in self.pods.values_mut() {
                    if touched.namespaces.contains(&state.identity.namespace) {
                        // Volumes are written anew; what did not change costs a look.
                        if state.observed.volumes == VolumeObservation::Ready {
                            state.observed.volumes = VolumeObservation::Unprepared;
                        }
                        state.is_dirty = true;
                    }
                }
                if self.world.is_complete {
                    self.pods
                        .values_mut()
                        .filter(|state| !state.is_assigned)
                        .for_each(|state| state.is_dirty = true);
                }
            }
            SessionEvent::FetchLogs(command) => self.send_log(command),
            SessionEvent::Gone { uid } => {
                // Whether the pod is still wanted is told by the assignments alone.
                if let Some(state) = self.pods.get_mut(&uid) {
                    state.is_dirty = true;
                }
            }
        }
    }

    /// Brings one pod's state to the wanted set.
    fn take_object(&mut self, uid: &str) {
        let Some(pod) = self.world.pods.get(uid) else {
            if let Some(state) = self.pods.get_mut(uid) {
                state.is_assigned = false;
                state.is_dirty = true;
            }
            self.hasten_end(uid);
            return;
        };
        let identity = identity_of(pod);
        let state = self
            .pods
            .entry(uid.to_owned())
            .or_insert_with(|| PodState::new(identity.clone()));
        if state.observed.last_status.is_none() {
            state.observed.last_status = pod.status.clone();
        }
        state.identity = identity;
        if state.is_contradicted_by(pod) {
            state.reported = None;
        }
        state.pod = Some(pod.clone());
        state.is_assigned = true;
        state.is_dirty = true;
        self.hasten_end(uid);
    }

    /// Breaks off what a pod that is to end must not wait for: the pull of an image, a container's start with its hook,
    /// and a stop that would kill later than is now allowed. The next decision is the shorter stop.
    fn hasten_end(&mut self, uid: &str) {
        let is_complete = self.world.is_complete;
        let Some(state) = self.pods.get_mut(uid) else { return };
        let Goal::End { grace_seconds } = state.goal(is_complete) else {
            return;
        };
        let began = state
            .observed
            .journal
            .termination
            .map(|termination| termination.requested_at);
        let grace = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
        let kill_at = began.unwrap_or_else(wall_now).plus(grace);
        let has_start_hook = state.pod.as_ref().is_some_and(|pod| {
            let has_hook = |container: &Container| {
                container
                    .lifecycle
                    .as_ref()
                    .is_some_and(|hooks| hooks.post_start.is_some())
            };
            spec_of(pod).containers.iter().any(has_hook)
        });
        let in_the_way = state.busy.as_ref().is_some_and(|busy| {
            let waits = match busy.operation {
                Some(Operation::EnsureImage { .. }) => true,
                // Its hook may take its time.
                Some(Operation::RunContainer { .. } | Operation::StartContainer { .. }) => has_start_hook,
                _ => false,
            };
            waits || busy.kill_at.is_some_and(|planned| planned > kill_at)
        });
        if in_the_way && let Some(busy) = state.busy.take() {
            busy.abort.abort();
            // Whether its journal was saved is not known; it is saved again.
            state.saved_journal = None;
            state.stale_until = self.list_begun;
            state.is_dirty = true;
            self.list_at = Instant::now();
        }
    }

    /// Leaves the mark that this agent has its pods in hand: it runs containers, has heard all that is wanted, and has told
    /// how every pod is.
    fn mark_service_if_due(&mut self) {
        let all_told = || {
            let mut wanted = self.pods.values().filter(|state| state.is_assigned);
            wanted.all(|state| state.reported.is_some()) && self.reporter.is_idle()
        };
        if self.is_in_service || !self.world.is_complete || !self.health.borrow().ready || !all_told() {
            return;
        }
        match super::mark_service(&self.workshop.layout) {
            Ok(()) => self.is_in_service = true,
            // It is tried again with the next list.
            Err(error) => tracing::warn!(%error, "the mark of being in service cannot be written"),
        }
    }

    fn next_wake(&self) -> Instant {
        let now = wall_now();
        let wakes = self.pods.values().filter_map(|state| state.wake_at);
        let probes = self.pods.values().flat_map(|state| {
            let due = |(id, started_at, container): (String, Moment, _)| {
                let probes = state.probes.get(&id).copied().unwrap_or_else(ProbeState::default);
                let is_idle = !state.probing.contains(&id);
                probes
                    .next(&container, started_at)
                    .filter(|_| is_idle)
                    .map(|(at, _)| at)
            };
            state
                .probed_containers()
                .into_iter()
                .filter_map(due)
                .collect::<Vec<_>>()
        });
        let first = wakes.chain(probes).min();
        let by_pods = first.map(|at| Instant::now() + at.since(now));
        let by_list = if self.is_listing { None } else { Some(self.list_at) };
        let by_measure = if self.is_measuring { None } else { Some(self.measure_at) };
        [by_pods, by_list, by_measure, Some(self.rotation_at)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.rotation_at)
    }
}

fn identity_of(pod: &Pod) -> PodIdentity {
    let meta = pod.metadata.as_ref();
    PodIdentity {
        namespace: meta.map(|meta| meta.namespace.clone()).unwrap_or_default(),
        name: meta.map(|meta| meta.name.clone()).unwrap_or_default(),
        uid: meta.map(|meta| meta.uid.clone()).unwrap_or_default(),
    }
}
