//! The world: machines, network and time, which all pass in steps of a millisecond on one thread.
//!
//! In each step what is due arrives, then every machine does what it has to do in that millisecond, one after the other,
//! then the clients do. A request of a client runs on the machine that it is made to, and ends with it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tempfile::TempDir;
use tokio::runtime::{Builder, RngSeed, Runtime};

use super::{
    net::{MachineId, Millis, Net},
    server::{Access, Server, Setup},
    trace::Trace,
};
use crate::linear::history::Micros;

/// Everything.
pub struct World {
    /// The machines by number, those that are off included.
    pub servers: BTreeMap<MachineId, Server>,
    /// What connects them.
    pub net: Arc<Net>,
    /// What happened.
    pub trace: Trace,
    /// What clients see of it.
    pub outside: Arc<Outside>,
    clients: Runtime,
    setup: Setup,
    random: SmallRng,
    directory: TempDir,
}

/// What the clients know of the world: the time, and the servers that can be reached.
pub struct Outside {
    state: Mutex<OutsideState>,
    trace: Trace,
}

struct OutsideState {
    now: Millis,
    /// The last time that was given out.
    last: Micros,
    reachable: BTreeMap<MachineId, Access>,
    orders: Vec<Order>,
    machines_made: MachineId,
}

/// What a client asks of the world itself.
#[derive(Debug, Clone)]
pub enum Order {
    /// Turn a new machine on, with a server of this id.
    Start(MachineId, u64),
    /// Turn a machine off for good.
    Retire(MachineId),
}

impl Outside {
    fn state(&self) -> MutexGuard<'_, OutsideState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time.
    pub fn now(&self) -> Millis {
        self.state().now
    }

    /// A time that was never given out before, so that what happens in one step has an order.
    pub fn moment(&self) -> Micros {
        let mut state = self.state();
        state.last = (state.last + 1).max(state.now * 1_000);
        state.last
    }

    /// The servers whose stores are open, by machine.
    pub fn reachable(&self) -> BTreeMap<MachineId, Access> {
        self.state().reachable.clone()
    }

    /// One of them.
    pub fn access(&self, machine: MachineId) -> Option<Access> {
        self.state().reachable.get(&machine).cloned()
    }

    /// The number of the next new machine.
    pub fn next_machine(&self) -> MachineId {
        let mut state = self.state();
        state.machines_made += 1;
        state.machines_made
    }

    /// Asks something of the world.
    pub fn order(&self, order: Order) {
        self.state().orders.push(order);
    }

    /// Notes what happened.
    pub fn note<T: std::fmt::Display>(&self, what: impl FnOnce() -> T) {
        let now = self.now();
        self.trace.note(now, what);
    }
}

impl World {
    /// A world without machines.
    ///
    /// # Errors
    /// If there is no room for temporary files.
    pub fn new(seed: u64, setup: Setup, trace: Trace) -> anyhow::Result<Self> {
        let mut random = SmallRng::seed_from_u64(seed);
        let rng_seed: [u8; 16] = random.random();
        let clients = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .rng_seed(RngSeed::from_bytes(&rng_seed))
            .build()?;
        Ok(Self {
            servers: BTreeMap::new(),
            net: Net::new(random.random(), trace.clone()),
            outside: Arc::new(Outside {
                state: Mutex::new(OutsideState {
                    now: 0,
                    last: 0,
                    reachable: BTreeMap::new(),
                    orders: Vec::new(),
                    machines_made: 0,
                }),
                trace: trace.clone(),
            }),
            trace,
            clients,
            setup,
            random,
            directory: tempfile::tempdir()?,
        })
    }

    /// The time.
    pub fn now(&self) -> Millis {
        self.outside.now()
    }

    /// Notes what happened.
    pub fn note(&self, what: impl std::fmt::Display) {
        self.trace.note(self.now(), || what);
    }

    /// Adds a machine with a server of this id, and turns it on.
    pub fn add(&mut self, machine: MachineId, id: u64, first: bool) {
        let seed = self.random.random();
        let mut server = Server::new(machine, id, self.directory.path(), self.setup, seed);
        server.start(&self.net, first);
        self.servers.insert(machine, server);
    }

    /// Runs something among the clients.
    pub fn spawn<T: Send + 'static>(
        &self,
        client: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.clients.spawn(client)
    }

    /// Lets a millisecond pass.
    pub fn step(&mut self) {
        let now = {
            let mut outside = self.outside.state();
            outside.now += 1;
            outside.now
        };
        self.net.advance(now);
        for server in self.servers.values_mut() {
            server.step(now);
        }
        self.show_reachable();
        self.clients
            .block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        let orders = std::mem::take(&mut self.outside.state().orders);
        for order in orders {
            self.carry_out(&order);
        }
    }

    /// Lets the clients know of the servers whose stores are open.
    fn show_reachable(&mut self) {
        let open = || {
            self.servers
                .values()
                .filter_map(|server| Some((server.machine, server.open_start()?)))
        };
        let mut outside = self.outside.state();
        let known = outside.reachable.values().map(|access| (access.machine, access.start));
        if known.eq(open()) {
            return;
        }
        let accesses = self.servers.values().filter_map(Server::access);
        outside.reachable = accesses.map(|access| (access.machine, access)).collect();
    }

    fn carry_out(&mut self, order: &Order) {
        self.note(format_args!("order {order:?}"));
        match *order {
            Order::Start(machine, id) => self.add(machine, id, false),
            Order::Retire(machine) => {
                self.end(machine, false);
                self.servers.remove(&machine);
            }
        }
    }

    /// Ends a server's process.
    pub fn end(&mut self, machine: MachineId, power_lost: bool) {
        self.note(format_args!("end of {machine}, power lost: {power_lost}"));
        self.outside.state().reachable.remove(&machine);
        if let Some(server) = self.servers.get_mut(&machine) {
            server.end(&self.net, power_lost);
        }
    }

    /// Starts a server again.
    pub fn restart(&mut self, machine: MachineId) {
        self.note(format_args!("restart of {machine}"));
        if let Some(server) = self.servers.get_mut(&machine)
            && !server.is_on()
        {
            server.start(&self.net, false);
        }
    }

    /// What became of a task of the clients, or of a server. One that has not ended is ended.
    pub fn take<T>(&mut self, task: tokio::task::JoinHandle<T>) -> Option<T> {
        if !task.is_finished() {
            task.abort();
            return None;
        }
        self.clients.block_on(task).ok()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // While they go down nobody is to hear of it.
        for server in self.servers.values_mut() {
            server.end(&self.net, true);
        }
    }
}
