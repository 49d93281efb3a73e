//! What goes wrong: which fault strikes when, and for how long, all from the seed.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    net::{MachineId, Millis},
    world::World,
};

/// Pause between two faults, at most, in milliseconds.
const PAUSE_MAX_MS: Millis = 1_000;
/// How long a fault lasts, at most, in milliseconds.
const HOLD_MAX_MS: Millis = 2_500;
/// How long a packet takes on a slow link, at most, in milliseconds.
const SLOW_LINK_MAX_MS: Millis = 150;
/// How long a sync takes on a slow disk, at most, in milliseconds.
const SLOW_DISK_MAX_MS: Millis = 300;
/// How long the disks hang before the power goes, at most, in milliseconds.
const HANGING_DISKS_MAX_MS: Millis = 250;
/// How soon a killed process may be back, in milliseconds: sooner than the others notice.
const RESTART_MIN_MS: Millis = 5;

/// Strikes and mends, step by step.
pub struct Nemesis {
    random: SmallRng,
    next: Millis,
    mends: BTreeMap<(Millis, u64), Mend>,
    mends_planned: u64,
    /// How often it struck.
    pub strikes: u64,
}

/// How a fault ends, or goes on.
#[derive(Debug, Clone, Copy)]
enum Mend {
    /// After the disks, the power goes everywhere; it is back by then.
    PowerLossEverywhere(Millis),
    Restart(MachineId),
    /// The same of one that has shut itself down.
    EndAndRestart(MachineId),
    Network,
    Delays,
    Disk(MachineId),
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Shutdown,
    Kill,
    PowerLoss,
    PowerLossEverywhere,
    KillEverywhere,
    Stop,
    IsolatedServer,
    Halves,
    OneWay,
    Bridge,
    SlowLinks,
    SlowDisk,
    Resets,
}

/// All faults, each as often as it is to strike.
const FAULTS: [Fault; 19] = [
    Fault::Shutdown,
    Fault::Kill,
    Fault::Kill,
    Fault::Kill,
    Fault::PowerLoss,
    Fault::PowerLoss,
    Fault::PowerLossEverywhere,
    Fault::KillEverywhere,
    Fault::Stop,
    Fault::Stop,
    Fault::IsolatedServer,
    Fault::IsolatedServer,
    Fault::Halves,
    Fault::OneWay,
    Fault::Bridge,
    Fault::SlowLinks,
    Fault::SlowLinks,
    Fault::SlowDisk,
    Fault::Resets,
];

impl Nemesis {
    /// A nemesis that waits for its first strike.
    pub fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        Self {
            next: random.random_range(0..PAUSE_MAX_MS),
            random,
            mends: BTreeMap::new(),
            mends_planned: 0,
            strikes: 0,
        }
    }

    /// Does what is due.
    pub fn step(&mut self, world: &mut World) {
        let now = world.now();
        while let Some(due) = self.mends.first_entry()
            && due.key().0 <= now
        {
            let mend = due.remove();
            self.mend(world, mend);
        }
        if now >= self.next {
            self.strike(world);
            self.next = now + self.random.random_range(50..PAUSE_MAX_MS);
        }
    }

    /// Mends everything.
    pub fn heal(&mut self, world: &mut World) {
        world.note("all is mended");
        for mend in std::mem::take(&mut self.mends).into_values() {
            // One that has shut down does not come back by itself.
            if matches!(mend, Mend::EndAndRestart(_)) {
                self.mend(world, mend);
            }
        }
        world.net.cut(BTreeSet::new());
        world.net.delay(BTreeMap::new());
        let machines: Vec<MachineId> = world.servers.keys().copied().collect();
        for machine in machines {
            self.mend(world, Mend::Disk(machine));
            if let Some(server) = world.servers.get_mut(&machine) {
                server.go_on();
            }
            world.restart(machine);
        }
    }

    fn mend(&mut self, world: &mut World, mend: Mend) {
        world.note(format_args!("mend {mend:?}"));
        match mend {
            Mend::PowerLossEverywhere(until) => self.end_all(world, true, until),
            Mend::Restart(machine) => world.restart(machine),
            Mend::EndAndRestart(machine) => {
                world.end(machine, false);
                world.restart(machine);
            }
            Mend::Network => world.net.cut(BTreeSet::new()),
            Mend::Delays => world.net.delay(BTreeMap::new()),
            Mend::Disk(machine) => {
                if let Some(server) = world.servers.get(&machine) {
                    server.slow_disk_ms.store(0, std::sync::atomic::Ordering::Relaxed);
                }
            }
        }
    }

    fn plan(&mut self, at: Millis, mend: Mend) {
        self.mends_planned += 1;
        self.mends.insert((at, self.mends_planned), mend);
    }

    fn hold(&mut self) -> Millis {
        // Mostly short: an election or less.
        let most = if self.random.random_bool(0.5) {
            HOLD_MAX_MS
        } else {
            HOLD_MAX_MS / 5
        };
        self.random.random_range(20..most)
    }

    /// Half of the time whoever leads, else anybody.
    fn victim(&mut self, world: &World) -> Option<MachineId> {
        let reachable = world.outside.reachable();
        let leaders: Vec<MachineId> = reachable
            .values()
            .filter(|access| access.store.leadership().borrow().is_some())
            .map(|access| access.machine)
            .collect();
        let all: Vec<MachineId> = world.servers.keys().copied().collect();
        let among = if !leaders.is_empty() && self.random.random_bool(0.6) {
            leaders
        } else {
            all
        };
        (!among.is_empty()).then(|| among[self.random.random_range(0..among.len())])
    }

    fn strike(&mut self, world: &mut World) {
        let fault = FAULTS[self.random.random_range(0..FAULTS.len())];
        let Some(victim) = self.victim(world) else { return };
        let until = world.now() + self.hold();
        self.strikes += 1;
        world.note(format_args!("strike {fault:?} at {victim} until {until}"));
        match fault {
            Fault::Shutdown => {
                if let Some(access) = world.outside.access(victim) {
                    let store = access.store;
                    access.handle.spawn(async move { store.shutdown().await });
                }
                self.plan(until, Mend::EndAndRestart(victim));
            }
            Fault::Kill => self.end(world, &[victim], false, until),
            Fault::PowerLoss => self.end(world, &[victim], true, until),
            Fault::KillEverywhere => self.end_all(world, false, until),
            // What was said to be synced while the disks hung must be there afterwards all the same.
            Fault::PowerLossEverywhere if self.random.random_bool(0.5) => {
                let hang = self.random.random_range(20..HANGING_DISKS_MAX_MS);
                for server in world.servers.values() {
                    server.slow_disk_ms.store(hang, std::sync::atomic::Ordering::Relaxed);
                }
                let goes = world.now() + self.random.random_range(0..hang);
                self.plan(goes, Mend::PowerLossEverywhere(until.max(goes)));
                for machine in world.servers.keys() {
                    self.plan(goes, Mend::Disk(*machine));
                }
            }
            Fault::PowerLossEverywhere => self.end_all(world, true, until),
            Fault::Stop => {
                let clock_goes_on = self.random.random_bool(0.5);
                let now = world.now();
                if let Some(server) = world.servers.get_mut(&victim) {
                    server.stop(now, until, clock_goes_on);
                }
            }
            Fault::IsolatedServer | Fault::Halves | Fault::OneWay | Fault::Bridge => {
                let directions = self.partition(world, fault, victim);
                world.net.cut(directions);
                self.plan(until, Mend::Network);
            }
            Fault::SlowLinks => {
                let delays = self.delays(world);
                world.net.delay(delays);
                self.plan(until, Mend::Delays);
            }
            Fault::SlowDisk => {
                let slow = self.random.random_range(10..SLOW_DISK_MAX_MS);
                if let Some(server) = world.servers.get(&victim) {
                    server.slow_disk_ms.store(slow, std::sync::atomic::Ordering::Relaxed);
                }
                self.plan(until, Mend::Disk(victim));
            }
            Fault::Resets => {
                let others: Vec<MachineId> = world.servers.keys().copied().collect();
                for other in others {
                    if other != victim && self.random.random_bool(0.7) {
                        world.net.reset(victim, other);
                    }
                }
            }
        }
    }

    fn end_all(&mut self, world: &mut World, power_lost: bool, until: Millis) {
        let all: Vec<MachineId> = world.servers.keys().copied().collect();
        self.end(world, &all, power_lost, until);
    }

    fn end(&mut self, world: &mut World, machines: &[MachineId], power_lost: bool, until: Millis) {
        for machine in machines {
            world.end(*machine, power_lost);
            // Each comes back at its own time, and some at once.
            let soon = world.now() + RESTART_MIN_MS;
            let at = if self.random.random_bool(0.3) {
                soon
            } else {
                self.random.random_range(soon..=until.max(soon))
            };
            self.plan(at, Mend::Restart(*machine));
        }
    }

    fn partition(&mut self, world: &World, fault: Fault, victim: MachineId) -> BTreeSet<(MachineId, MachineId)> {
        let all: Vec<MachineId> = world.servers.keys().copied().collect();
        let others: Vec<MachineId> = all.iter().copied().filter(|machine| *machine != victim).collect();
        let mut cut = BTreeSet::new();
        let both = |cut: &mut BTreeSet<_>, one: MachineId, other: MachineId| {
            cut.extend([(one, other), (other, one)]);
        };
        match fault {
            Fault::OneWay => {
                let out = self.random.random_bool(0.5);
                cut.extend(
                    others
                        .iter()
                        .map(|other| if out { (victim, *other) } else { (*other, victim) }),
                );
            }
            Fault::Halves => {
                // The victim's side is the smaller one.
                let mut side = BTreeSet::from([victim]);
                for other in &others {
                    if side.len() < all.len() / 2 && self.random.random_bool(0.5) {
                        side.insert(*other);
                    }
                }
                for one in &side {
                    all.iter()
                        .filter(|other| !side.contains(other))
                        .for_each(|other| both(&mut cut, *one, *other));
                }
            }
            Fault::Bridge => {
                // One of the others reaches everybody; the rest are two groups.
                let bridge = others.get(self.random.random_range(0..others.len().max(1))).copied();
                let rest: Vec<MachineId> = others.iter().copied().filter(|other| Some(*other) != bridge).collect();
                let mut side = BTreeSet::from([victim]);
                for other in &rest {
                    if side.len() <= rest.len() / 2 && self.random.random_bool(0.4) {
                        side.insert(*other);
                    }
                }
                for one in &side {
                    rest.iter()
                        .filter(|other| !side.contains(other))
                        .for_each(|other| both(&mut cut, *one, *other));
                }
            }
            _ => others.iter().for_each(|other| both(&mut cut, victim, *other)),
        }
        cut
    }

    fn delays(&mut self, world: &World) -> BTreeMap<(MachineId, MachineId), (Millis, Millis)> {
        let all: Vec<MachineId> = world.servers.keys().copied().collect();
        let mut delays = BTreeMap::new();
        for from in &all {
            for to in &all {
                if from != to && self.random.random_bool(0.5) {
                    let most = self.random.random_range(5..=SLOW_LINK_MAX_MS);
                    delays.insert((*from, *to), (self.random.random_range(1..=most), most));
                }
            }
        }
        delays
    }
}
