//! Those who wait in one lane: in turns between flows, and in order within each. Pure.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::Flow;
use super::core::Ask;

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiting<W> {
    /// Tells it from all others.
    pub(super) ticket: u64,
    /// For what.
    pub(super) ask: Ask,
    /// When it waits no longer; `None` for never.
    pub(super) deadline: Option<Instant>,
    /// How it is told.
    pub(super) waiter: W,
}

/// Whether somebody can be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It can.
    Yes,
    /// It cannot, but others may.
    NotThis,
    /// It cannot, and nobody may go before it.
    NotYet,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue<W> {
    flows: BTreeMap<Flow, VecDeque<Waiting<W>>>,
    /// Each flow that waits, once; the first is next.
    turns: VecDeque<Flow>,
    len: usize,
}

impl<W> Queue<W> {
    pub(super) fn new() -> Self {
        Self {
            flows: BTreeMap::new(),
            turns: VecDeque::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of a flow wait.
    pub(super) fn len_of(&self, flow: Flow) -> usize {
        self.flows.get(&flow).map_or(0, VecDeque::len)
    }

    pub(super) fn push(&mut self, waiting: Waiting<W>) {
        let flow = waiting.ask.flow;
        let of_flow = self.flows.entry(flow).or_default();
        if of_flow.is_empty() {
            self.turns.push_back(flow);
        }
        of_flow.push_back(waiting);
        self.len += 1;
    }

    /// Takes the next one that can be let in, and gives the turn to the next flow.
    pub(super) fn take(&mut self, fit: impl Fn(&Ask) -> Fit) -> Option<Waiting<W>> {
        for turn in 0..self.turns.len() {
            let flow = self.turns[turn];
            let of_flow = self.flows.get(&flow)?;
            for (place, waiting) in of_flow.iter().enumerate() {
                match fit(&waiting.ask) {
                    Fit::Yes => return self.take_at(turn, flow, place),
                    Fit::NotThis => {}
                    Fit::NotYet => return None,
                }
            }
        }
        None
    }

    /// Takes one out of its flow. The flow's turn is over; whoever was passed over keeps theirs.
    fn take_at(&mut self, turn: usize, flow: Flow, place: usize) -> Option<Waiting<W>> {
        let of_flow = self.flows.get_mut(&flow)?;
        let taken = of_flow.remove(place)?;
        self.len -= 1;
        self.turns.remove(turn);
        if of_flow.is_empty() {
            self.flows.remove(&flow);
        } else {
            self.turns.push_back(flow);
        }
        Some(taken)
    }

    /// Takes one out that waits no more.
    pub(super) fn remove(&mut self, flow: Flow, ticket: u64) -> Option<Waiting<W>> {
        let of_flow = self.flows.get_mut(&flow)?;
        let place = of_flow.iter().position(|waiting| waiting.ticket == ticket)?;
        let taken = of_flow.remove(place)?;
        self.len -= 1;
        if of_flow.is_empty() {
            self.flows.remove(&flow);
            self.turns.retain(|other| *other != flow);
        }
        Some(taken)
    }

    /// Takes all out whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Waiting<W>> {
        let is_over = |waiting: &Waiting<W>| waiting.deadline.is_some_and(|deadline| deadline <= now);
        let mut over = Vec::new();
        for of_flow in self.flows.values_mut() {
            if !of_flow.iter().any(is_over) {
                continue;
            }
            let (gone, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(of_flow).into_iter().partition(is_over);
            *of_flow = kept;
            over.extend(gone);
        }
        if !over.is_empty() {
            self.len -= over.len();
            self.flows.retain(|_, of_flow| !of_flow.is_empty());
            let flows = &self.flows;
            self.turns.retain(|flow| flows.contains_key(flow));
        }
        over
    }
}
