//! The core under any order of arrivals, ends, departures and time: its rules hold at every step.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use super::core::{Arrival, Ask, Core, Growth};
use super::tests::small_sizes;
use super::*;
use crate::limits::{BULK_SLICE_BYTES, BULK_SLICE_SEATS};

const SLICE: u64 = BULK_SLICE_BYTES as u64;
const FLOWS: u64 = 4;

#[derive(Debug, Clone)]
enum Step {
    Arrive {
        lane: Lane,
        flow: u64,
        seats: u32,
        answer: Option<bool>,
    },
    /// The oldest of those who work in a lane ends.
    Finish(Lane),
    /// One of those who wait goes away.
    Leave(usize),
    /// A client takes its answers.
    Take(u64),
    /// Seconds go by.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let lane = prop_oneof![Just(Lane::System), Just(Lane::Users), Just(Lane::Bulk)];
    prop_oneof![
        5 => (lane.clone(), 0..FLOWS, 1_u32..3, proptest::option::of(any::<bool>()))
            .prop_map(|(lane, flow, seats, answer)| Step::Arrive { lane, flow, seats, answer }),
        4 => lane.prop_map(Step::Finish),
        1 => (0_usize..16).prop_map(Step::Leave),
        1 => (0..FLOWS).prop_map(Step::Take),
        1 => (1_u64..4).prop_map(Step::Wait),
    ]
}

/// What must be true, kept beside the core.
struct World {
    core: Core<u64>,
    sizes: LaneSizes,
    now: Instant,
    next: u64,
    working: [VecDeque<(u64, Ask)>; 3],
    /// Ticket, who, what, since when.
    waiting: BTreeMap<u64, (u64, Ask, Instant)>,
    held: BTreeMap<Flow, u64>,
    /// Others of its lane let in since it waits at the head of its flow.
    passed: BTreeMap<u64, usize>,
}

impl World {
    fn new() -> Self {
        let sizes = small_sizes();
        Self {
            core: Core::new(sizes),
            sizes,
            now: Instant::now(),
            next: 0,
            working: Default::default(),
            waiting: BTreeMap::new(),
            held: BTreeMap::new(),
            passed: BTreeMap::new(),
        }
    }

    fn size(&self, lane: Lane) -> LaneSize {
        [self.sizes.system, self.sizes.users, self.sizes.bulk][lane.index()]
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Arrive {
                lane,
                flow,
                seats,
                answer,
            } => self.arrive(lane, Flow(flow), seats, answer),
            Step::Finish(lane) => {
                if let Some((_, ask)) = self.working[lane.index()].pop_front() {
                    self.core.finish(lane, ask.seats);
                    if let Some(growth) = ask.growth {
                        self.core.complete(lane, growth.answer);
                    }
                }
            }
            Step::Leave(place) => {
                let found = self
                    .waiting
                    .iter()
                    .nth(place)
                    .map(|(ticket, (_, ask, _))| (*ticket, *ask));
                if let Some((ticket, ask)) = found {
                    assert!(self.core.leave(ask.lane, ask.flow, ticket));
                    assert!(!self.core.leave(ask.lane, ask.flow, ticket), "once");
                    self.waiting.remove(&ticket);
                }
            }
            Step::Take(flow) => {
                // What a slice under way will add stays.
                let growing = self.working[2]
                    .iter()
                    .filter(|(_, ask)| ask.flow == Flow(flow) && ask.growth.is_some());
                let kept = growing.count() as u64 * SLICE;
                let held = self.held.entry(Flow(flow)).or_default();
                self.core.shrink(Lane::Bulk, Flow(flow), *held - kept);
                *held = kept;
            }
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                for (who, refused) in self.core.tick(self.now) {
                    let ticket = self.ticket_of(who);
                    let (_, ask, since) = self.waiting.remove(&ticket).expect("it waited");
                    assert_eq!(refused.lane, ask.lane);
                    assert!(self.now - since >= self.size(ask.lane).patience);
                }
                for (_, ask, since) in self.waiting.values() {
                    assert!(
                        self.now - *since < self.size(ask.lane).patience,
                        "nobody waits longer than that"
                    );
                }
            }
        }
        while let Some(who) = self.core.admit_next() {
            let ticket = self.ticket_of(who);
            let (_, ask, _) = self.waiting.remove(&ticket).expect("it waited");
            self.check_turn(ticket, &ask);
            self.let_in(who, ask);
        }
    }

    fn ticket_of(&self, who: u64) -> u64 {
        let found = self.waiting.iter().find(|(_, (waits, ..))| *waits == who);
        *found.expect("only those who wait are told").0
    }

    fn arrive(&mut self, lane: Lane, flow: Flow, seats: u32, answer: Option<bool>) {
        let who = self.next;
        self.next += 1;
        let is_bulk = lane == Lane::Bulk;
        let growth = answer.filter(|_| is_bulk).map(|is_first| Growth {
            answer: who,
            bytes: SLICE,
            is_first,
        });
        let seats = if is_bulk { BULK_SLICE_SEATS } else { seats };
        let ask = Ask {
            lane,
            flow,
            seats: self.core.clamp(lane, seats),
            growth,
            patient: false,
        };
        let now = self.now;
        match self.core.arrive(ask, || now, || who) {
            Ok(Arrival::Admitted) => {
                let others = self.waiting.values().any(|(_, other, _)| other.lane == lane);
                assert!(!others, "nobody goes before those who wait");
                self.let_in(who, ask);
            }
            Ok(Arrival::Waits(ticket, deadline)) => {
                assert_eq!(deadline, Some(self.now + self.size(lane).patience));
                self.waiting.insert(ticket, (who, ask, self.now));
            }
            Err(refused) => {
                let of_lane = self.waiting.values().filter(|(_, other, _)| other.lane == lane);
                let of_flow = of_lane.clone().filter(|(_, other, _)| other.flow == flow).count();
                match refused.full {
                    Full::Queue => assert_eq!(of_lane.count(), self.size(lane).waiting),
                    Full::QueueOfFlow => assert_eq!(of_flow, self.size(lane).waiting_of_flow),
                    other => panic!("an arrival is not refused for {other:?}"),
                }
            }
        }
    }

    fn let_in(&mut self, who: u64, ask: Ask) {
        if ask.growth.is_some() {
            *self.held.entry(ask.flow).or_default() += SLICE;
        }
        self.working[ask.lane.index()].push_back((who, ask));
    }

    /// Whoever is at the head of its flow and needs no room is passed by no more others than there are flows.
    fn check_turn(&mut self, taken: u64, ask: &Ask) {
        self.passed.remove(&taken);
        let mut heads: BTreeMap<Flow, u64> = BTreeMap::new();
        for (ticket, (_, other, _)) in &self.waiting {
            if other.lane == ask.lane {
                heads.entry(other.flow).or_insert(*ticket);
            }
        }
        for (flow, ticket) in heads {
            let (_, other, _) = &self.waiting[&ticket];
            assert!(
                ask.growth.is_some() || flow != ask.flow || ticket > taken || other.growth.is_some(),
                "a flow is in order"
            );
            if other.growth.is_none() {
                let passed = self.passed.entry(ticket).or_default();
                *passed += 1;
                // Each time a flow has its turn, it goes behind all the others.
                assert!(*passed <= FLOWS as usize, "the flow {flow:?} starves");
            }
        }
    }

    fn check(&self) {
        let usage = self.core.usage().by_lane();
        let mut in_use = 0;
        for (lane, used) in usage {
            let size = self.size(lane);
            let working: u32 = self.working[lane.index()].iter().map(|(_, ask)| ask.seats).sum();
            assert_eq!(used.seats_in_use, u64::from(working), "{lane}");
            let waiting = self.waiting.values().filter(|(_, ask, _)| ask.lane == lane).count();
            assert_eq!(used.waiting, waiting as u64, "{lane}");
            assert!(waiting <= size.waiting);
            in_use += working;
            if lane != Lane::Bulk {
                // The reserve: what a lane has for itself is never taken by another, so its first is let in.
                assert!(working <= size.seats);
                let first = self.waiting.values().find(|(_, ask, _)| ask.lane == lane);
                assert!(first.is_none() || working > 0, "an idle lane lets nobody wait");
            }
        }
        let (_, bulk) = usage[2];
        let slices = self.working[2].len() as u32;
        assert!(slices <= 1 || slices * BULK_SLICE_SEATS <= self.sizes.spare_seats);
        assert_eq!(bulk.answer_bytes, self.held.values().sum::<u64>());
        assert!(bulk.answer_bytes <= self.sizes.bulk.answer_bytes + self.sizes.senior_answer_bytes);
        // Work conserving: whoever needs only a seat has one if there is one.
        let wants_seat = self
            .waiting
            .values()
            .any(|(_, ask, _)| ask.lane == Lane::Bulk && ask.growth.is_none());
        let is_spare = slices == 0 || in_use + BULK_SLICE_SEATS <= self.sizes.spare_seats;
        assert!(!(wants_seat && is_spare), "nobody waits beside an empty seat");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_whatever_happens(steps in vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
        // When all work ends, all who wait for seats have their turn: nobody starves.
        loop {
            for flow in 0..FLOWS {
                world.take(&Step::Take(flow));
            }
            if world.working.iter().all(VecDeque::is_empty) {
                break;
            }
            for lane in Lane::ALL {
                world.take(&Step::Finish(lane));
                world.check();
            }
        }
        prop_assert!(world.waiting.is_empty(), "{:?}", world.waiting);
    }
}
