//! One simulated machine with the server on it: a runtime of its own, whose clock the world drives.
//!
//! A process that is killed is a runtime that is dropped: all its tasks end between two steps. One that is stopped is a
//! runtime that is not driven. Nothing else of the server is simulated: it is the real store.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    runtime::{Builder, Handle, RngSeed, Runtime},
    sync::mpsc,
};
use trireme_control_plane::registry::Registry;
use trireme_store::{
    Sizes, SpaceLimits, Store, StoreConfig, Timings,
    sim::{Machine, SyncTime},
};

use super::{
    net::{MachineId, Millis, Net},
    objects::environment,
    stream::{SimConnector, SimStream, node},
};

/// Runtime tasks polled before the next look at timers; tokio's own is chosen for real time.
const EVENT_INTERVAL: u32 = 61;
/// The cluster's id.
const CLUSTER: &str = "simulated";
/// How long a sync of a healthy disk takes, in microseconds.
const SYNC_MICROS: std::ops::RangeInclusive<u64> = 100..=2_000;

/// What all servers of a run are set up with.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Timers of consensus.
    pub timings: Timings,
    /// Sizes, small enough that snapshots and purges happen.
    pub sizes: Sizes,
    /// After one in how many writes the state flushes by itself.
    pub flush_one_in: u32,
    /// The bug that every server has.
    #[cfg(feature = "faults")]
    pub planted: Option<trireme_store::Planted>,
}

/// A machine.
pub struct Server {
    /// Its number.
    pub machine: MachineId,
    /// The Raft id of the server on it.
    pub id: u64,
    /// Milliseconds that a sync takes beside the usual.
    pub slow_disk_ms: Arc<AtomicU64>,
    hardware: Machine,
    directory: PathBuf,
    setup: Setup,
    random: SmallRng,
    running: Option<Running>,
    /// How often it was started.
    starts: u64,
}

struct Running {
    runtime: Runtime,
    opened: Opened,
    /// Until when it stands still, and whether its clock has gone on when it wakes.
    stopped: Option<Stopped>,
}

#[derive(Debug, Clone, Copy)]
struct Stopped {
    since: Millis,
    until: Millis,
    clock_goes_on: bool,
}

/// What is there once the store is open.
#[derive(Clone)]
struct Open {
    store: Arc<Store>,
    registry: Arc<Registry>,
}

type Opened = Arc<Mutex<Option<Result<Open, String>>>>;

/// A way to a running server: its store, and where its calls run.
#[derive(Clone)]
pub struct Access {
    /// The machine.
    pub machine: MachineId,
    /// The server's Raft id.
    pub server_id: u64,
    /// Which start of the machine this is.
    pub start: u64,
    /// Where whatever uses the store must run.
    pub handle: Handle,
    /// The store.
    pub store: Arc<Store>,
    /// The API's objects over it.
    pub registry: Arc<Registry>,
}

impl Server {
    /// A machine that is off.
    pub fn new(machine: MachineId, id: u64, parent: &std::path::Path, setup: Setup, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let slow_disk_ms = Arc::new(AtomicU64::new(0));
        let slow = slow_disk_ms.clone();
        let disk = Mutex::new(SmallRng::seed_from_u64(random.random()));
        let sync_time: SyncTime = Arc::new(move || {
            let mut random = disk.lock().unwrap_or_else(PoisonError::into_inner);
            let usual = Duration::from_micros(random.random_range(SYNC_MICROS));
            usual + Duration::from_millis(slow.load(Ordering::Relaxed))
        });
        let mut flushes = SmallRng::seed_from_u64(random.random());
        let flush_one_in = setup.flush_one_in;
        Self {
            machine,
            id,
            slow_disk_ms,
            hardware: Machine::new(sync_time, move || flushes.random_ratio(1, flush_one_in)),
            directory: parent.join(format!("machine-{machine}")),
            setup,
            random,
            running: None,
            starts: 0,
        }
    }

    /// How every server of a simulation is configured. This is the one place.
    fn config(&self) -> StoreConfig {
        let mut config = StoreConfig::new(&self.directory, CLUSTER, self.id, node(self.machine));
        config.timings = self.setup.timings;
        config.sizes = self.setup.sizes;
        config.space = SpaceLimits {
            reserve_bytes: 0,
            low_bytes: 0,
            critical_bytes: 0,
        };
        #[cfg(feature = "faults")]
        {
            config.planted = self.setup.planted;
        }
        config
    }

    /// Turns it on. The server opens its store in the steps that follow; `first` founds the cluster.
    pub fn start(&mut self, net: &Arc<Net>, first: bool) {
        self.starts += 1;
        let seed: [u8; 16] = self.random.random();
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .event_interval(EVENT_INTERVAL)
            .rng_seed(RngSeed::from_bytes(&seed))
            .build()
            .expect("a runtime without threads or files can always be made");
        let accepted = net.listen(self.machine, self.id);
        let connector = Arc::new(SimConnector {
            net: net.clone(),
            machine: self.machine,
        });
        let opened: Opened = Arc::default();
        let slot = opened.clone();
        let chance = self.random.random();
        let config = self.config();
        let hardware = self.hardware.clone();
        runtime.spawn(async move {
            let store = if first {
                Store::bootstrap_simulated(&hardware, config, connector).await
            } else {
                Store::open_simulated(&hardware, config, connector).await
            };
            let open = store.map_err(|error| format!("{error:?}")).map(|store| {
                let store = Arc::new(store);
                tokio::spawn(serve(store.clone(), accepted));
                let registry = Registry::start(store.clone(), environment(chance));
                Open { store, registry }
            });
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        });
        self.running = Some(Running {
            runtime,
            opened,
            stopped: None,
        });
    }

    /// Kills the process, or cuts the power: then what was not synced is lost in part, and the others hear nothing.
    pub fn end(&mut self, net: &Net, power_lost: bool) {
        let Some(running) = self.running.take() else { return };
        net.end_process(self.machine, power_lost);
        drop(running.opened);
        drop(running.runtime);
        let torn: u64 = self.random.random();
        if power_lost {
            self.hardware.after_power_loss(torn);
        } else {
            self.hardware.after_kill();
        }
    }

    /// Stops all of it until a time. When it goes on, its clock has gone on meanwhile, or has stood still, too.
    pub fn stop(&mut self, now: Millis, until: Millis, clock_goes_on: bool) {
        if let Some(running) = &mut self.running {
            running.stopped = Some(Stopped {
                since: now,
                until,
                clock_goes_on,
            });
        }
    }

    /// Lets it go on.
    pub fn go_on(&mut self) {
        if let Some(stopped) = self.running.as_mut().and_then(|running| running.stopped.as_mut()) {
            stopped.until = 0;
        }
    }

    /// Whether its process is there.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it takes part just now.
    pub fn is_awake(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.stopped.is_none())
    }

    /// Lets a millisecond pass on it, up to `now`.
    pub fn step(&mut self, now: Millis) {
        let Some(running) = &mut self.running else { return };
        match running.stopped {
            Some(stopped) if now < stopped.until => return,
            Some(stopped) => {
                running.stopped = None;
                if stopped.clock_goes_on {
                    let jump = Duration::from_millis(now - stopped.since);
                    running.runtime.block_on(async { tokio::time::advance(jump).await });
                }
            }
            None => {}
        }
        running
            .runtime
            .block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }

    /// Which start of the machine this is, once its store is open.
    pub fn open_start(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        let opened = running.opened.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*opened, Some(Ok(_))).then_some(self.starts)
    }

    /// The way to its store, once that is open.
    pub fn access(&self) -> Option<Access> {
        let running = self.running.as_ref()?;
        let opened = running.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { store, registry } = opened.as_ref()?.as_ref().ok()?.clone();
        Some(Access {
            machine: self.machine,
            server_id: self.id,
            start: self.starts,
            handle: running.runtime.handle().clone(),
            store,
            registry,
        })
    }

    /// Why its store could not be opened, if that is so.
    pub fn failure(&self) -> Option<String> {
        let running = self.running.as_ref()?;
        let opened = running.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref()?.as_ref().err().cloned()
    }
}

/// Serves the other servers.
async fn serve(store: Arc<Store>, mut accepted: mpsc::UnboundedReceiver<SimStream>) {
    let service = store.peer_service().into_axum_router();
    let mut http = auto::Builder::new(TokioExecutor::new()).http2_only();
    // The date would be the real one.
    http.http2().timer(TokioTimer::new()).auto_date_header(false);
    while let Some(stream) = accepted.recv().await {
        let (http, service) = (http.clone(), TowerToHyperService::new(service.clone()));
        tokio::spawn(async move {
            // A connection that breaks is the other side's to make anew.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
