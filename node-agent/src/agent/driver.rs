//! The one loop that drives everything: events in, at most one operation a pod out.
//!
//! Each turn has the same tail: list the runtime if that is due, decide for every pod whose state
//! changed, run due probes, publish which containers run. The loop itself never waits for the runtime
//! or the cluster; work runs in tasks that report back as events.

use super::pods::{Busy, PodState};
use super::world::World;
use crate::journal::PodJournal;
use crate::limits;
use crate::logs::{LogOptions, log_file};
use crate::operations::{Order, OrderOutcome, Workshop};
use crate::pod::containers::record_observations;
use crate::pod::probe::{ProbeKind, ProbeState, probe_of};
use crate::pod::spec::spec_of;
use crate::pod::{Goal, Input, Operation, Plan, VolumeObservation, machine};
use crate::prober;
use crate::runtime::{ContainerState, Inventory, PodIdentity, RuntimeError};
use crate::session::connection::Cluster;
use crate::session::reporter::Reporter;
use crate::session::{self, Health, LogJob, RunningContainers, SessionEvent};
use crate::time::{Moment, wall_now};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use trireme_proto::api::core::v1::{Node, Pod};
use trireme_proto::v1;

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
    /// A probe ended.
    Probed {
        uid: String,
        container_id: String,
        name: String,
        kind: ProbeKind,
        succeeded: bool,
    },
}

/// The agent's driver.
pub(super) struct Driver {
    cluster: Cluster,
    workshop: Workshop,
    world: World,
    /// By uid.
    pods: BTreeMap<String, PodState>,
    session_events: mpsc::Receiver<SessionEvent>,
    events: mpsc::Receiver<Event>,
    own_events: mpsc::Sender<Event>,
    /// Dropped with the driver, which ends the tasks.
    _session: JoinSet<()>,
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
}

impl Driver {
    /// Starts the session and takes up what earlier agents left.
    pub(super) fn start(
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
        let session = session::start(&cluster, node, health_receiver, &reporter, &session_sender);
        let now = Instant::now();
        let mut driver = Self {
            cluster,
            workshop,
            world: World::default(),
            pods: BTreeMap::new(),
            session_events,
            events,
            own_events,
            _session: session,
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

    /// Drives until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.list_if_due();
            self.rotate_logs_if_due();
            self.decide_all();
            self.probe_all();
            let wake_at = self.next_wake();
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.on_event(event),
                Some(event) = self.session_events.recv() => self.on_session_event(event),
                // Ended tasks are taken out, so that the set does not grow.
                Some(_) = self.tasks.join_next() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    // Events.

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
            Event::Probed {
                uid,
                container_id,
                name,
                kind,
                succeeded,
            } => {
                self.on_probed(&uid, &container_id, &name, kind, succeeded);
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
        state.pod = Some(pod.clone());
        state.is_assigned = true;
        state.is_dirty = true;
        self.hasten_end(uid);
    }

    /// Breaks off what a pod that is to end must not wait for: the pull of an image, and a stop that
    /// would kill later than is now allowed. The next decision is the shorter stop.
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
        let in_the_way = state.busy.as_ref().is_some_and(|busy| {
            matches!(busy.operation, Some(Operation::EnsureImage { .. }))
                || busy.kill_at.is_some_and(|planned| planned > kill_at)
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

    fn on_listed(&mut self, number: u64, outcome: Result<Inventory, RuntimeError>) {
        self.is_listing = false;
        let inventory = match outcome {
            Ok(inventory) => inventory,
            Err(error) => {
                self.set_health(
                    false,
                    format!("the container runtime cannot be listed: {}", error.one_line()),
                );
                self.list_at = Instant::now() + limits::RELIST_PERIOD;
                return;
            }
        };
        self.set_health(true, String::new());
        self.list_taken = number;
        self.publish_running(&inventory);
        self.distribute(inventory);
    }

    fn set_health(&self, ready: bool, message: String) {
        self.health.send_if_modified(|health| {
            let fresh = Health { ready, message };
            let is_changed = *health != fresh;
            *health = fresh;
            is_changed
        });
    }

    fn publish_running(&self, inventory: &Inventory) {
        let running = inventory
            .containers
            .iter()
            .filter(|container| container.state == ContainerState::Running);
        let fresh: RunningContainers = Arc::new(
            running
                .map(|found| (found.pod.uid.clone(), found.name.clone(), found.attempt))
                .collect(),
        );
        self.running.send_if_modified(|present| {
            let is_changed = *present != fresh;
            *present = fresh;
            is_changed
        });
    }

    /// Hands each pod its part of a list. A pod that nobody knew is known from now on.
    fn distribute(&mut self, inventory: Inventory) {
        let mut parts: BTreeMap<String, Inventory> = BTreeMap::new();
        for sandbox in inventory.sandboxes {
            self.know(&sandbox.pod);
            parts
                .entry(sandbox.pod.uid.clone())
                .or_default()
                .sandboxes
                .push(sandbox);
        }
        for container in inventory.containers {
            self.know(&container.pod);
            parts
                .entry(container.pod.uid.clone())
                .or_default()
                .containers
                .push(container);
        }
        for (uid, state) in &mut self.pods {
            let mut part = parts.remove(uid).unwrap_or_default();
            part.sandboxes
                .sort_by(|left, right| (left.attempt, &left.id).cmp(&(right.attempt, &right.id)));
            part.containers.sort_by(|left, right| {
                (&left.name, left.attempt, &left.id).cmp(&(&right.name, right.attempt, &right.id))
            });
            if state.observed.sandboxes != part.sandboxes || state.observed.containers != part.containers {
                state.observed.sandboxes = part.sandboxes;
                state.observed.containers = part.containers;
                state.is_dirty = true;
            }
        }
    }

    fn know(&mut self, pod: &PodIdentity) {
        if !self.pods.contains_key(&pod.uid) {
            self.pods.insert(pod.uid.clone(), PodState::new(pod.clone()));
        }
    }

    fn on_probed(&mut self, uid: &str, container_id: &str, name: &str, kind: ProbeKind, succeeded: bool) {
        let Some(state) = self.pods.get_mut(uid) else { return };
        state.probing.remove(container_id);
        let container = state.pod.as_ref().and_then(|pod| {
            let spec = spec_of(pod);
            spec.containers
                .iter()
                .chain(&spec.init_containers)
                .find(|container| container.name == name)
        });
        let Some(container) = container else { return };
        let probes = state.probes.entry(container_id.to_owned()).or_default();
        probes.record(container, kind, succeeded, wall_now());
        let verdict = probes.verdict(container);
        if state.observed.probes.insert(container_id.to_owned(), verdict) != Some(verdict) {
            state.is_dirty = true;
        }
    }

    // The tail of each turn.

    fn list_if_due(&mut self) {
        if self.is_listing || Instant::now() < self.list_at {
            return;
        }
        self.is_listing = true;
        self.list_begun += 1;
        self.list_at = Instant::now() + limits::RELIST_PERIOD;
        let asks_readiness = Instant::now() >= self.readiness_at;
        if asks_readiness {
            self.readiness_at = Instant::now() + READINESS_PERIOD;
        }
        let (number, runtime, events) = (
            self.list_begun,
            Arc::clone(&self.workshop.runtime),
            self.own_events.clone(),
        );
        self.tasks.spawn(async move {
            let readiness = if asks_readiness {
                runtime.check_ready().await
            } else {
                Ok(())
            };
            let outcome = match readiness {
                Ok(()) => runtime.inventory().await,
                Err(error) => Err(error),
            };
            let _ = events.send(Event::Listed { number, outcome }).await;
        });
    }

    /// A runtime that does not rotate by itself has its log files moved away under it.
    fn rotate_logs_if_due(&mut self) {
        if Instant::now() < self.rotation_at {
            return;
        }
        self.rotation_at = Instant::now() + LOG_ROTATION_PERIOD;
        if self.workshop.node.runtime_name == "process" {
            return;
        }
        let mut candidates = Vec::new();
        for (uid, state) in &self.pods {
            for container in &state.observed.containers {
                let path = self
                    .workshop
                    .layout
                    .container_log(uid, &container.name, container.attempt);
                if let (ContainerState::Running, Ok(path)) = (container.state, path) {
                    candidates.push((container.id.clone(), path));
                }
            }
        }
        let runtime = Arc::clone(&self.workshop.runtime);
        self.tasks.spawn(async move {
            for (id, path) in candidates {
                let size = tokio::fs::metadata(&path).await.map_or(0, |metadata| metadata.len());
                if size >= limits::LOG_FILE_MAX_BYTES && crate::logs::shift_rotated(&path).is_ok() {
                    let _ = runtime.reopen_log(&id).await;
                }
            }
        });
    }

    fn decide_all(&mut self) {
        let now = wall_now();
        for state in self.pods.values_mut() {
            if state.wake_at.is_some_and(|wake_at| wake_at <= now) {
                state.wake_at = None;
                state.is_dirty = true;
            }
        }
        let ready = self
            .pods
            .iter()
            .filter(|(_, state)| state.is_ready_to_plan(self.list_taken));
        let uids: Vec<String> = ready.map(|(uid, _)| uid.clone()).collect();
        for uid in uids {
            self.decide(&uid, now);
        }
    }

    fn decide(&mut self, uid: &str, now: Moment) {
        let is_complete = self.world.is_complete;
        let Some(state) = self.pods.get_mut(uid) else { return };
        state.is_dirty = false;
        let goal = state.goal(is_complete);
        let plan = machine::plan(&Input {
            identity: &state.identity,
            // Until the cluster has spoken, a pod from the runtime's list is only watched.
            pod: state.pod.as_ref(),
            goal,
            references: &self.world.references,
            node: &self.workshop.node,
            observed: &state.observed,
            now,
        });
        state.wake_at = plan.wake_at;
        state.observed.journal.clone_from(&plan.journal);
        let may_report = state.is_assigned;
        if may_report && let Some(status) = &plan.status {
            report(&self.reporter, state, status, plan.gone);
        }
        if plan.gone && !may_report {
            self.forget(uid);
        } else {
            self.order(uid, plan);
        }
    }

    /// Nothing is left of a pod that nobody wants.
    fn forget(&mut self, uid: &str) {
        self.pods.remove(uid);
        self.reporter.forget(uid);
        if let Err(error) = self.workshop.journals.remove(uid) {
            tracing::warn!(uid, %error, "a journal cannot be removed");
        }
    }

    fn order(&mut self, uid: &str, plan: Plan) {
        let Some(state) = self.pods.get_mut(uid) else { return };
        let must_save = state.saved_journal.as_ref() != Some(&plan.journal);
        if plan.operation.is_none() && !must_save {
            return;
        }
        // While the last failure holds the pod up, a journal alone is not tried again and again.
        let held_until = state.observed.failures.get("").map(|failure| failure.retry_at);
        if let Some(retry_at) = held_until.filter(|retry_at| plan.operation.is_none() && wall_now() < *retry_at) {
            state.wake_at = Some(state.wake_at.map_or(retry_at, |earlier| earlier.min(retry_at)));
            return;
        }
        if let Some(operation) = &plan.operation {
            tracing::debug!(pod = %state.identity, ?operation, "next operation");
        }
        let order = Order {
            uid: uid.to_owned(),
            journal: must_save.then(|| plan.journal.clone()),
            operation: plan.operation.clone(),
            pod: state.pod.clone(),
            references: Arc::clone(&self.world.references),
            pod_addresses: state
                .observed
                .sandboxes
                .iter()
                .flat_map(|sandbox| sandbox.addresses.clone())
                .collect(),
        };
        let is_stop = matches!(plan.operation, Some(Operation::StopContainers { .. }));
        let kill_at = plan
            .journal
            .termination
            .map(|termination| termination.kill_at)
            .filter(|_| is_stop);
        // A stop mostly waits, and must never wait behind other pods' starts nor hold them up.
        let permits = if is_stop {
            None
        } else {
            Some(Arc::clone(&self.operation_permits))
        };
        let (workshop, events, uid) = (self.workshop.clone(), self.own_events.clone(), uid.to_owned());
        let abort = self.tasks.spawn(async move {
            let _permit = match permits {
                Some(permits) => permits.acquire_owned().await.ok(),
                None => None,
            };
            let outcome = workshop.carry_out(order).await;
            let _ = events.send(Event::Done { uid, outcome }).await;
        });
        state.busy = Some(Busy {
            operation: plan.operation,
            journal: plan.journal,
            abort,
            kill_at,
        });
    }

    fn probe_all(&mut self) {
        let now = wall_now();
        let host = self.workshop.node.addresses.first().copied();
        for (uid, state) in &mut self.pods {
            let containers = state.probed_containers();
            state
                .probes
                .retain(|id, _| containers.iter().any(|(running, _, _)| running == id));
            state
                .observed
                .probes
                .retain(|id, _| containers.iter().any(|(running, _, _)| running == id));
            let address = state.probe_address(host);
            for (id, started_at, container) in containers {
                let probes = state.probes.get(&id).copied().unwrap_or_default();
                let Some((_, kind)) = probes.next(&container, started_at).filter(|(at, _)| *at <= now) else {
                    continue;
                };
                if !state.probing.insert(id.clone()) {
                    continue;
                }
                let (runtime, events) = (Arc::clone(&self.workshop.runtime), self.own_events.clone());
                let (permits, uid) = (Arc::clone(&self.probe_permits), uid.clone());
                self.tasks.spawn(async move {
                    let _permit = permits.acquire_owned().await.ok();
                    let succeeded = match probe_of(&container, kind) {
                        Some(probe) => prober::run(runtime.as_ref(), &container, &id, address, probe).await,
                        None => true,
                    };
                    let event = Event::Probed {
                        uid,
                        container_id: id,
                        name: container.name,
                        kind,
                        succeeded,
                    };
                    let _ = events.send(event).await;
                });
            }
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
        [by_pods, by_list, Some(self.rotation_at)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.rotation_at)
    }

    // Logs.

    fn send_log(&mut self, command: v1::FetchLogs) {
        let logs = command.logs.unwrap_or_default();
        let options = LogOptions {
            tail_lines: logs.tail_lines.map(|lines| u64::try_from(lines).unwrap_or(0)),
            since: logs
                .since_seconds
                .map(|seconds| Moment::from_seconds(wall_now().seconds().saturating_sub(seconds))),
            timestamps: logs.timestamps,
        };
        let (source, attempt) = self.find_log(&command.pod_uid, &logs.container, logs.previous);
        let follows = logs.follow && !logs.previous;
        let follow = attempt
            .filter(|_| follows)
            .map(|attempt| (command.pod_uid, logs.container, attempt));
        let job = LogJob {
            request_id: command.request_id,
            source,
            options,
            follow,
            running: self.running.subscribe(),
        };
        let (cluster, permits) = (self.cluster.clone(), Arc::clone(&self.log_permits));
        self.tasks.spawn(async move {
            let _permit = permits.acquire_owned().await.ok();
            session::send_logs(cluster, job).await;
        });
    }

    fn find_log(
        &self,
        uid: &str,
        container: &str,
        previous: bool,
    ) -> (Result<std::path::PathBuf, String>, Option<u32>) {
        let Some(state) = self.pods.get(uid) else {
            return (Err("the pod is not on this node".to_owned()), None);
        };
        // The list may be newer than the last decision, which the journal is of.
        let mut journal = state.observed.journal.clone();
        record_observations(&mut journal, &state.observed.containers, wall_now());
        let attempt = journal.containers.get(container).map(|entry| entry.attempt);
        let which = if previous { "previous " } else { "" };
        let source = match log_file(&self.workshop.layout, uid, container, attempt, previous) {
            Ok(Some(path)) => Ok(path),
            Ok(None) => Err(format!("there is no {which}run of container {container:?}")),
            Err(error) => Err(error.to_string()),
        };
        (source, attempt)
    }
}

/// Hands a status on if it differs from the last one.
fn report(
    reporter: &Reporter,
    state: &mut PodState,
    status: &trireme_proto::api::core::v1::PodStatus,
    terminated: bool,
) {
    let is_same = state
        .reported
        .as_ref()
        .is_some_and(|(last, was)| last == status && *was == terminated);
    if is_same {
        return;
    }
    reporter.set(&state.identity, status, terminated);
    state.observed.last_status = Some(status.clone());
    state.reported = Some((status.clone(), terminated));
}

fn identity_of(pod: &Pod) -> PodIdentity {
    let meta = pod.metadata.as_ref();
    PodIdentity {
        namespace: meta.map(|meta| meta.namespace.clone()).unwrap_or_default(),
        name: meta.map(|meta| meta.name.clone()).unwrap_or_default(),
        uid: meta.map(|meta| meta.uid.clone()).unwrap_or_default(),
    }
}
