//! One run from one seed: a cluster is founded, works under faults, is mended, and must come to rest; then all that was
//! recorded is judged.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::task::JoinHandle;
use trireme_store::{
    Sizes, Timings,
    kv::{Consistency, KeyRange, KeyValue, Kv, RangeRequest},
    sim::{Committed, simulate_on_this_thread},
};

use super::{
    client::{ClientRecord, Failure, Shared, run_client, send},
    invariants::{self, Acknowledged, Invariant, Record, Seen, Violation},
    nemesis::Nemesis,
    net::{MachineId, Millis},
    objects::{run_objects, watch_objects},
    server::{Access, Setup},
    stream::node,
    trace::Trace,
    upkeep::{ChangesSoFar, change_members, compact_now_and_then},
    watcher::{Goal, watch_all, watch_some},
    world::{Order, World},
};
use crate::linear::{
    driver::WatchRecord,
    history::{Call, Outcome},
    load::{only_reads, tally},
    model::{KeyOp, KeyRange as Range, Op},
};

/// Clients of the store, clients of the API, and watchers of each sort.
const CLIENTS: usize = 6;
const OBJECT_CLIENTS: usize = 2;
const WATCHERS: usize = 2;
/// How long a new cluster may take to be there, in milliseconds.
const FOUNDING_MS: Millis = 60_000;
/// How long it may take, once all is mended, until every server takes a write and has all of the others'.
const LIVENESS_MS: Millis = 60_000;
/// How long one write may take once all is mended.
const LIVENESS_WRITE: Duration = Duration::from_secs(15);
/// How long a change of the members may still go on that nobody waits for any more, in milliseconds.
const SETTLING_MS: Millis = 12_000;
/// How often the servers are looked at, in milliseconds.
const LOOK_EVERY_MS: Millis = 5;

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What everything follows from.
    pub seed: u64,
    /// How long faults strike, in milliseconds of simulated time.
    pub faults_ms: Millis,
    /// Whether the text of the trace is kept.
    pub keep_trace: bool,
    /// A bug that every server has, which must be found.
    #[cfg(feature = "faults")]
    pub planted: Option<trireme_store::Planted>,
}

/// What became of it.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was broken, the first first.
    pub violations: Vec<Violation>,
    /// Requests that were carried out, refused, and of unknown outcome.
    pub tally: (usize, usize, usize),
    /// Watches, and the events that they were told.
    pub watches: (usize, usize),
    /// Requests to the API for objects.
    pub objects: usize,
    /// How often the nemesis struck.
    pub strikes: u64,
    /// The highest term.
    pub term: u64,
    /// The last revision.
    pub revision: i64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: Millis,
    /// The real time that took.
    pub took: Duration,
    /// The trace's hash and its number of lines.
    pub trace: (u64, u64),
    /// The trace's text, if it was kept.
    pub text: Option<String>,
    /// What was recorded, if anything was broken.
    pub evidence: Option<String>,
}

/// Panics of this thread: a task of a server that panicked.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn panics() -> Vec<String> {
    std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Runs a seed. One at a time in a process: what is left of an earlier one could change the order of things.
///
/// # Errors
/// If the world cannot be made.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    std::panic::set_hook(Box::new(|panic| {
        PANICS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(panic.to_string());
    }));
    let mut random = SmallRng::seed_from_u64(options.seed);
    simulate_on_this_thread(random.random());
    let trace = Trace::new(options.keep_trace);
    let world = World::new(random.random(), setup(options, &mut random), trace)?;
    let mut run = Run {
        world,
        watching: invariants::running(),
        read: BTreeMap::new(),
        heads: BTreeMap::new(),
        record: Record::default(),
        term: 0,
        violations: Vec::new(),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it really took, whatever the simulated clocks say"
    )]
    let began = Instant::now();
    let mut strikes = 0;
    // A panic of this thread is one more thing that is broken.
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| run.all(options, &mut random, &mut strikes)));
    let panicked = panics().into_iter().map(|found| Violation {
        invariant: "no panic",
        found,
    });
    run.violations.splice(0..0, panicked);
    if done.is_err() && run.violations.is_empty() {
        run.violations.push(Violation {
            invariant: "no panic",
            found: "the run panicked".to_owned(),
        });
    }
    Ok(run.report(options, strikes, began.elapsed()))
}

/// Timers and sizes of a run.
#[cfg_attr(
    not(feature = "faults"),
    expect(unused_variables, reason = "only bugs are asked for")
)]
fn setup(options: &Options, random: &mut SmallRng) -> Setup {
    let timings = [(100, 500, 1_000), (50, 250, 500), (30, 150, 400)];
    let (heartbeat_period_ms, election_timeout_min_ms, election_timeout_max_ms) =
        timings[random.random_range(0..timings.len())];
    let log_keep_entries = random.random_range(5..60);
    Setup {
        timings: Timings {
            heartbeat_period_ms,
            election_timeout_min_ms,
            election_timeout_max_ms,
        },
        sizes: Sizes {
            log_tail_cache_bytes: [0, 4 << 10, 4 << 20][random.random_range(0..3)],
            snapshot_log_entries: random.random_range(20..150),
            log_keep_entries,
            snapshot_lag_entries: log_keep_entries + random.random_range(1..50),
            log_purge_batch_entries: random.random_range(1..20),
            ..Sizes::default()
        },
        flush_one_in: random.random_range(5..60),
        #[cfg(feature = "faults")]
        planted: options.planted,
    }
}

struct Run {
    world: World,
    watching: Vec<Box<dyn Invariant>>,
    /// Up to which index the committed entries of each run of a server were looked at.
    read: BTreeMap<(MachineId, u64), u64>,
    /// What the trace last said of each server.
    heads: BTreeMap<MachineId, (u64, u64, String)>,
    record: Record,
    term: u64,
    violations: Vec<Violation>,
}

impl Run {
    fn all(&mut self, options: &Options, random: &mut SmallRng, strikes: &mut u64) {
        let servers = if random.random_bool(0.8) { 3 } else { 5 };
        if !self.found(servers) {
            return;
        }
        let shared = Arc::new(Shared::new(self.world.outside.clone(), random.random()));
        let goal = Arc::<Goal>::default();
        let changes = ChangesSoFar::default();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| self.world.spawn(run_client(shared.clone(), client)))
            .collect();
        let watchers: Vec<_> = (0..WATCHERS)
            .map(|watcher| self.world.spawn(watch_all(shared.clone(), goal.clone(), watcher)))
            .chain((0..WATCHERS).map(|watcher| self.world.spawn(watch_some(shared.clone(), watcher))))
            .collect();
        let objects: Vec<_> = (0..OBJECT_CLIENTS)
            .map(|client| self.world.spawn(run_objects(shared.clone(), client)))
            .chain([self.world.spawn(watch_objects(shared.clone(), OBJECT_CLIENTS))])
            .collect();
        let compactor = self.world.spawn(compact_now_and_then(shared.clone(), goal.clone()));
        let churn = random
            .random_bool(0.5)
            .then(|| self.world.spawn(change_members(shared.clone(), changes.clone())));

        let mut nemesis = Nemesis::new(random.random());
        let end = self.world.now() + options.faults_ms;
        while self.world.now() < end && self.violations.is_empty() {
            nemesis.step(&mut self.world);
            self.step();
        }
        *strikes = nemesis.strikes;
        nemesis.heal(&mut self.world);
        shared.stop();
        for client in clients {
            let Some(record) = self.finish("a client ends", client) else {
                return;
            };
            self.record.clients.push(record);
        }
        for client in objects {
            let Some(record) = self.finish("a client of the API ends", client) else {
                return;
            };
            self.record.objects.push(record);
        }
        if self.finish("the compaction ends", compactor).is_none() {
            return;
        }
        if let Some(churn) = churn {
            if self.finish("the changes of the members end", churn).is_none() {
                return;
            }
            // What a server that died had begun comes to its end.
            let settled = self.world.now() + SETTLING_MS;
            while self.world.now() < settled && self.violations.is_empty() {
                self.step();
            }
        }
        self.record.changes = std::mem::take(&mut *changes.lock().unwrap_or_else(PoisonError::into_inner));
        self.record.compacted = shared.compacted();
        self.collect_history();
        self.come_to_rest(&shared, &goal, watchers);
        if self.violations.is_empty() {
            self.read_kept();
            self.violations = invariants::judge(&self.record);
        }
    }

    fn step(&mut self) {
        self.world.step();
        if self.world.now().is_multiple_of(LOOK_EVERY_MS) {
            self.look();
        }
    }

    /// Waits for a task of the clients.
    fn finish<T>(&mut self, what: &str, task: JoinHandle<T>) -> Option<T> {
        let end = self.world.now() + LIVENESS_MS;
        while !task.is_finished() && self.world.now() < end {
            self.step();
        }
        let done = self.world.take(task);
        if done.is_none() {
            self.broken("liveness", format!("{what}: not within {LIVENESS_MS} ms"));
        }
        done
    }

    fn broken(&mut self, invariant: &'static str, found: String) {
        self.world.note(format_args!("BROKEN {invariant}: {found}"));
        self.violations.push(Violation { invariant, found });
    }

    /// Founds a cluster of so many voters.
    fn found(&mut self, servers: usize) -> bool {
        let first = self.world.outside.next_machine();
        self.world.add(first, 1, true);
        let outside = self.world.outside.clone();
        let founding = self.world.spawn(async move {
            while outside
                .access(first)
                .is_none_or(|access| access.store.leadership().borrow().is_none())
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            for _ in 1..servers {
                let access = outside.access(first).ok_or("the first server is gone")?;
                let (machine, starting) = (outside.next_machine(), outside.clone());
                let store = access.store.clone();
                let join = access.handle.spawn(async move {
                    let id = store.allocate_server_id().await?;
                    store.add_learner(id, node(machine)).await?;
                    starting.order(Order::Start(machine, id));
                    store.promote(id).await
                });
                join.await
                    .map_err(|_| "the first server is gone")?
                    .map_err(|_| "a server cannot join")?;
            }
            let access = outside.access(first).ok_or("the first server is gone")?;
            let registry = access.registry.clone();
            let filled = access.handle.spawn(async move { registry.bootstrap().await }).await;
            filled
                .map_err(|_| "the first server is gone")?
                .map_err(|_| "the first objects cannot be made")
        });
        let end = self.world.now() + FOUNDING_MS;
        while !founding.is_finished() && self.world.now() < end {
            self.step();
        }
        match self.world.take(founding) {
            Some(Ok(())) => true,
            outcome => {
                self.broken("liveness", format!("the cluster could not be founded: {outcome:?}"));
                false
            }
        }
    }

    /// Looks at every server whose store is open.
    fn look(&mut self) {
        if let Some(found) = panics().into_iter().next() {
            self.broken("no panic", found);
            return;
        }
        let failed = self
            .world
            .servers
            .iter()
            .find_map(|(machine, server)| Some((*machine, server.failure()?)));
        if let Some((machine, failure)) = failed {
            self.broken(
                "opens again",
                format!("the store on machine {machine} does not open: {failure}"),
            );
            return;
        }
        let awake: Vec<Access> = self
            .world
            .servers
            .values()
            .filter(|server| server.is_awake())
            .filter_map(super::server::Server::access)
            .collect();
        for access in awake {
            let from = self.read.get(&(access.machine, access.start)).copied().unwrap_or(0);
            let status = access.store.status();
            let committed = if status.applied_index < from {
                Ok(Vec::new())
            } else {
                access.store.committed(from)
            };
            let committed = match committed {
                Ok(committed) => committed,
                Err(error) => {
                    let found = format!("the log of machine {} cannot be read: {error}", access.machine);
                    self.broken("opens again", found);
                    return;
                }
            };
            let seen = Seen {
                machine: access.machine,
                start: access.start,
                status,
                quarantined: access.store.quarantined(),
                committed,
            };
            self.take(seen);
        }
    }

    fn take(&mut self, seen: Seen) {
        let now = self.world.now();
        self.term = self.term.max(seen.status.term);
        if let Some(last) = seen.committed.last() {
            self.read.insert((seen.machine, seen.start), last.index + 1);
        }
        let head = (
            seen.status.term,
            seen.status.applied_index,
            seen.status.role.to_string(),
        );
        if self.heads.get(&seen.machine) != Some(&head) {
            let Seen { machine, status, .. } = &seen;
            self.world.note(format_args!(
                "machine {machine} is {} in term {} at {} with revision {} and hash {} of {}",
                status.role,
                status.term,
                status.applied_index,
                status.applied_revision,
                status.state_hash,
                status.state_hash_index
            ));
            self.heads.insert(seen.machine, head);
        }
        let mut broken = Vec::new();
        for invariant in &mut self.watching {
            if let Err(found) = invariant.look(now, &seen) {
                broken.push((invariant.name(), found));
            }
        }
        for (invariant, found) in broken {
            self.broken(invariant, found);
        }
        self.record
            .committed
            .extend(seen.committed.into_iter().map(|entry: Committed| (entry.index, entry)));
    }

    fn collect_history(&mut self) {
        for ClientRecord {
            calls,
            past_reads,
            leases,
            fenced: _,
        } in &self.record.clients
        {
            self.record.history.calls.extend(calls.iter().cloned());
            self.record.history.past_reads.extend(past_reads.iter().cloned());
            self.record.history.leases.extend(leases.iter().copied());
        }
    }

    /// A write through every server succeeds, all come to the same index and state, and the watchers to the end.
    fn come_to_rest(&mut self, shared: &Arc<Shared>, goal: &Arc<Goal>, watchers: Vec<JoinHandle<WatchRecord>>) {
        let Some(machines) = self.members() else { return };
        let mut last = 0;
        for (place, machine) in machines.iter().copied().enumerate() {
            let write = self
                .world
                .spawn(last_requests(shared.clone(), machine, CLIENTS + place));
            match self.finish("a write once all is mended", write) {
                Some(Ok(calls)) => {
                    for call in &calls {
                        if let Outcome::Done { revision, .. } = &call.outcome {
                            last = last.max(*revision);
                        }
                    }
                    self.record.history.calls.extend(calls);
                }
                Some(Err(why)) => self.broken("liveness", format!("through machine {machine}: {why}")),
                None => {}
            }
            if !self.violations.is_empty() {
                return;
            }
        }
        goal.end.store(last, Ordering::Relaxed);
        for watcher in watchers {
            let Some(record) = self.finish("a watcher comes to the end", watcher) else {
                return;
            };
            self.record.watches.push(record);
        }
        let end = self.world.now() + LIVENESS_MS;
        while self.world.now() < end && self.violations.is_empty() {
            let reachable = self.world.outside.reachable().into_values();
            let states: Vec<(u64, u64, String)> = reachable
                .filter(|access| machines.contains(&access.machine))
                .map(|access| access.store.status())
                .map(|status| (status.applied_index, status.state_hash_index, status.state_hash))
                .collect();
            if states.len() == machines.len() && states.windows(2).all(|two| two[0] == two[1]) {
                return;
            }
            self.step();
        }
        if self.violations.is_empty() {
            self.broken(
                "liveness",
                "the servers did not come to the same index and state".to_owned(),
            );
        }
    }

    /// The machines of the members, once some server leads. Others are turned off.
    fn members(&mut self) -> Option<Vec<MachineId>> {
        let end = self.world.now() + LIVENESS_MS;
        while self.world.now() < end {
            let reachable = self.world.outside.reachable();
            let leader = reachable
                .values()
                .find(|access| access.store.leadership().borrow().is_some());
            if let Some(leader) = leader {
                let ids: Vec<u64> = leader.store.members().iter().map(|member| member.id).collect();
                let (members, others): (Vec<_>, Vec<_>) = self
                    .world
                    .servers
                    .values()
                    .map(|server| (server.machine, server.id))
                    .partition(|(_, id)| ids.contains(id));
                others
                    .into_iter()
                    .for_each(|(machine, _)| self.world.end(machine, false));
                return Some(members.into_iter().map(|(machine, _)| machine).collect());
            }
            self.step();
        }
        self.broken(
            "liveness",
            format!("nobody leads, {LIVENESS_MS} ms after all was mended"),
        );
        None
    }

    /// Reads every acknowledged write back from every server, at its revision.
    fn read_kept(&mut self) {
        let writes: Vec<Acknowledged> = invariants::acknowledged(&self.record.history)
            .into_iter()
            .filter(|write| write.revision >= self.record.compacted)
            .collect();
        for access in self.world.outside.reachable().into_values() {
            let (writes, machine) = (writes.clone(), access.machine);
            let reading = access.handle.clone().spawn(read_back(access, writes));
            if let Some(kept) = self.finish("the acknowledged writes are read back", reading) {
                self.record.kept.insert(machine, kept);
            }
        }
    }

    fn report(self, options: &Options, strikes: u64, took: Duration) -> Report {
        let watches: Vec<_> = self.record.watches.iter().flat_map(|record| &record.watches).collect();
        let evidence: Option<String> = (!self.violations.is_empty()).then(|| {
            let calls = self.record.history.calls.iter().map(|call| format!("{call:?}\n"));
            let watched = watches.iter().map(|watch| {
                let messages = watch.messages.iter().map(|message| format!("  {message:?}\n"));
                format!("{}\n{}", watch.name, messages.collect::<String>())
            });
            calls.chain(watched).collect()
        });
        Report {
            seed: options.seed,
            tally: tally(&self.record.history.calls),
            watches: (watches.len(), watches.iter().map(|watch| watch.events().count()).sum()),
            objects: self.record.objects.iter().map(|record| record.calls.len()).sum(),
            strikes,
            term: self.term,
            revision: self.record.history.calls.iter().filter_map(revision).max().unwrap_or(0),
            simulated_ms: self.world.now(),
            took,
            trace: self.world.trace.hash(),
            text: self.world.trace.text(),
            evidence,
            violations: self.violations,
        }
    }
}

fn revision(call: &Call) -> Option<i64> {
    match &call.outcome {
        Outcome::Done { revision, .. } => Some(*revision),
        Outcome::Refused(_) | Outcome::Unknown => None,
    }
}

/// Writes through a server, and reads everything, until both are answered.
async fn last_requests(shared: Arc<Shared>, machine: MachineId, client: usize) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    let all = Op::One(KeyOp::Range {
        range: Range::between("k", "l"),
        limit: 0,
    });
    let mut written = 0;
    let deadline = tokio::time::Instant::now() + LIVENESS_WRITE;
    loop {
        if tokio::time::Instant::now() >= deadline {
            return Err(format!("no write was acknowledged within {LIVENESS_WRITE:?}"));
        }
        let Some(access) = shared.outside.access(machine) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        written += 1;
        let put = Op::One(KeyOp::Put {
            key: "k-last".to_owned(),
            value: format!("{client}.{written}"),
            lease: 0,
        });
        let wrote = one(&shared, &access, client, put, &mut calls).await;
        if wrote && one(&shared, &access, client, all.clone(), &mut calls).await {
            return Ok(calls);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a request, and records it if it may have done something. Says whether it was answered.
async fn one(shared: &Shared, access: &Access, client: usize, op: Op, calls: &mut Vec<Call>) -> bool {
    let invoked = shared.outside.moment();
    let sent = send(access, &op, None, LIVENESS_WRITE).await;
    let returned = shared.outside.moment();
    shared
        .outside
        .note(|| format!("at the end, {client} at {}: {op:?}: {sent:?}", access.machine));
    let outcome = match sent {
        Ok((revision, answer)) => Outcome::Done { revision, answer },
        Err(Failure::Unknown) if !only_reads(&op) => Outcome::Unknown,
        Err(_) => return false,
    };
    let answered = outcome != Outcome::Unknown;
    calls.push(Call {
        client,
        op,
        invoked,
        returned,
        outcome,
    });
    answered
}

async fn read_back(access: Access, writes: Vec<Acknowledged>) -> Vec<(Acknowledged, Option<KeyValue>)> {
    let mut kept = Vec::with_capacity(writes.len());
    for write in writes {
        let request = RangeRequest {
            revision: write.revision,
            ..RangeRequest::latest(KeyRange::key(write.key.clone()))
        };
        let found = access.store.range(request, Consistency::Serializable).await;
        let kv = found.ok().and_then(|mut found| found.kvs.pop());
        kept.push((write, kv));
    }
    kept
}
