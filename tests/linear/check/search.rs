//! The search itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    evidence::Evidence,
    verdict::{Broken, Verdict},
};
use crate::linear::{
    history::{Call, Micros, Outcome},
    model::{Applied, Op, Refusal, State},
};

/// Every how many steps the time is looked at.
const STEPS_BETWEEN_LOOKS: u64 = 1_024;

/// Searches an order. `calls` are sorted by their sending; `go_on` is asked now and then and says false when the time
/// is over.
pub fn check(calls: &[Call], initial: &State, evidence: &Evidence, go_on: &dyn Fn() -> bool) -> Verdict {
    match Search::new(calls, evidence) {
        Err(broken) => Verdict::Broken(broken),
        Ok(search) => search.run(initial, go_on),
    }
}

struct Search<'h> {
    calls: &'h [Call],
    evidence: &'h Evidence,
    /// The one request that made a revision, where that is known.
    makers: BTreeMap<i64, usize>,
    /// Requests of unknown outcome that may have made one of the other revisions.
    guesses: Vec<bool>,
    /// What led furthest, and why it led no further.
    furthest: Option<Broken>,
    /// Where there was a choice before: all that comes of it was tried, or is being tried.
    forks: HashSet<Position>,
    /// The order so far.
    order: Vec<usize>,
    steps: u64,
}

/// Where a beginning of an order leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Position {
    state: State,
    /// Requests from here on were sent after the earliest answer that is still to come.
    next: usize,
    /// Requests of known outcome that were sent and that are not in the order.
    open: Vec<usize>,
    /// Requests of unknown outcome and of unknown revision that were sent and that are not in the order.
    unknown: Vec<usize>,
}

/// A beginning from which there were several ways on.
struct Fork {
    position: Position,
    /// How long the order was.
    placed: usize,
    /// The ways that were not tried yet; the last one is the next.
    choices: Vec<Choice>,
}

/// A request that could come next.
#[derive(Debug, Clone)]
struct Choice {
    call: usize,
    applied: Applied,
}

/// How a beginning goes on once nothing is to be chosen.
enum Next {
    /// All requests that were answered are in it.
    Finished,
    /// This one is next, or else one of those.
    Choices(Choice, Vec<Choice>),
    /// It goes on nowhere.
    Dead,
}

impl<'h> Search<'h> {
    fn new(calls: &'h [Call], evidence: &'h Evidence) -> Result<Self, Broken> {
        let mut search = Self {
            calls,
            evidence,
            makers: BTreeMap::new(),
            guesses: vec![false; calls.len()],
            furthest: None,
            forks: HashSet::new(),
            order: Vec::new(),
            steps: 0,
        };
        for (position, call) in calls.iter().enumerate() {
            let places = search.evidence.places(&call.op.writes());
            let written = match &call.outcome {
                Outcome::Done { revision, .. } if places.iter().any(|place| place != revision) => {
                    return Err(search.broken_at_start(position, &format!("it was seen to take effect at {places:?}")));
                }
                Outcome::Unknown if places.len() > 1 => {
                    return Err(search.broken_at_start(position, &format!("it was seen to take effect at {places:?}")));
                }
                Outcome::Refused(_) if !places.is_empty() => {
                    return Err(search.broken_at_start(position, &format!("it was refused, and seen at {places:?}")));
                }
                Outcome::Refused(_) => None,
                Outcome::Unknown => match call.op {
                    Op::Foreign { revision } => Some(revision),
                    _ => {
                        search.guesses[position] = places.is_empty() && !matches!(call.op, Op::Grant { .. });
                        places.first().copied()
                    }
                },
                // Reads and failed comparisons share their revision with others.
                Outcome::Done { revision, answer } => {
                    (!places.is_empty() || surely_writes(&call.op, answer)).then_some(*revision)
                }
            };
            if let Some(revision) = written
                && let Some(other) = search.makers.insert(revision, position)
            {
                let found = format!("revision {revision} was also made by {}", describe(&calls[other]));
                return Err(search.broken_at_start(position, &found));
            }
        }
        Ok(search)
    }

    fn broken_at_start(&self, call: usize, found: &str) -> Broken {
        Broken {
            placed: 0,
            revision: 0,
            call: Some(call),
            found: format!("{}: {found}", describe(&self.calls[call])),
        }
    }

    fn run(mut self, initial: &State, go_on: &dyn Fn() -> bool) -> Verdict {
        let mut position = Position {
            state: initial.clone(),
            next: 0,
            open: Vec::new(),
            unknown: Vec::new(),
        };
        let mut forks: Vec<Fork> = Vec::new();
        loop {
            self.steps += 1;
            if self.steps.is_multiple_of(STEPS_BETWEEN_LOOKS) && !go_on() {
                let furthest = self.furthest.as_ref().map_or(0, |furthest| furthest.placed);
                return Verdict::Undecided {
                    placed: furthest.max(self.order.len()),
                };
            }
            match self.advance(&mut position) {
                Next::Finished => return Verdict::Linearizable { order: self.order },
                Next::Choices(choice, others) => {
                    if !others.is_empty() {
                        forks.push(Fork {
                            position: position.clone(),
                            placed: self.order.len(),
                            choices: others,
                        });
                    }
                    self.place(&mut position, &choice);
                }
                Next::Dead => match self.back(&mut forks) {
                    Some(other) => position = other,
                    None => return Verdict::Broken(self.reason(&position)),
                },
            }
        }
    }

    /// Goes back to the last fork with a way that was not tried, and takes it.
    fn back(&mut self, forks: &mut Vec<Fork>) -> Option<Position> {
        loop {
            let fork = forks.last_mut()?;
            let Some(choice) = fork.choices.pop() else {
                forks.pop();
                continue;
            };
            let mut position = fork.position.clone();
            self.order.truncate(fork.placed);
            self.place(&mut position, &choice);
            return Some(position);
        }
    }

    fn reason(&mut self, position: &Position) -> Broken {
        self.furthest.take().unwrap_or_else(|| Broken {
            placed: self.order.len(),
            revision: position.state.revision,
            call: None,
            found: "no request fits".to_owned(),
        })
    }

    fn place(&mut self, position: &mut Position, choice: &Choice) {
        position.state.commit(&choice.applied);
        position.open.retain(|call| *call != choice.call);
        position.unknown.retain(|call| *call != choice.call);
        self.order.push(choice.call);
    }

    /// Places whatever has no alternative, then says what is next.
    fn advance(&mut self, position: &mut Position) -> Next {
        loop {
            position.reach(self.calls, &self.guesses);
            if let Err((call, found)) = self.place_unchanging(position) {
                return self.dead(position, Some(call), &found);
            }
            // What was placed may have been what kept others from being open.
            if !position.reach(self.calls, &self.guesses) {
                break;
            }
        }
        if position.open.is_empty() && position.next == self.calls.len() {
            return Next::Finished;
        }
        self.choose(position)
    }

    /// Places every request that changes no key and fits now. It would fit the same way nowhere but between the same two
    /// revisions, and is in the way of nothing, so there is no need to try what would be if it came later.
    fn place_unchanging(&mut self, position: &mut Position) -> Result<(), (usize, String)> {
        loop {
            let mut placed = false;
            let mut index = 0;
            while index < position.open.len() {
                let call = position.open[index];
                match self.fits(position, call) {
                    Fit::Now(applied) => {
                        position.open.remove(index);
                        position.state.commit(&applied);
                        self.order.push(call);
                        placed = true;
                    }
                    Fit::Refused => {
                        position.open.remove(index);
                        self.order.push(call);
                        placed = true;
                    }
                    Fit::Later => index += 1,
                    Fit::Never(found) => return Err((call, found)),
                }
            }
            if !placed {
                return Ok(());
            }
        }
    }

    /// Whether a request of known outcome can be placed without changing a key.
    fn fits(&self, position: &Position, call: usize) -> Fit {
        let state = &position.state;
        match &self.calls[call].outcome {
            Outcome::Unknown => Fit::Later,
            Outcome::Refused(refusal) => match state.evaluate(&self.calls[call].op) {
                Err(other) if other == *refusal => Fit::Refused,
                _ => Fit::Later,
            },
            Outcome::Done { revision, .. } if *revision > state.revision => Fit::Later,
            Outcome::Done { revision, .. } if *revision < state.revision => Fit::Never(format!(
                "its revision is {revision}, and revision {} had been made when it was sent",
                state.revision
            )),
            Outcome::Done { answer, revision } => match state.evaluate(&self.calls[call].op) {
                Ok(applied) if applied.revision == *revision && applied.answer == *answer => Fit::Now(applied),
                other => Fit::Never(format!("at revision {revision} the answer must be {}", told(&other))),
            },
        }
    }

    /// What can make the next revision.
    fn choose(&mut self, position: &mut Position) -> Next {
        let target = position.state.revision + 1;
        let mut choices = self.silent_ends(position);
        let mut found = format!("nothing that was sent in time makes revision {target}");
        let mut culprit = None;
        if let Some(maker) = self.makers.get(&target).copied() {
            match self.makes(position, maker, target) {
                Ok(choice) => choices.push(choice),
                Err(why) => {
                    found = why;
                    culprit = Some(maker);
                }
            }
        } else {
            choices.extend(self.guesses_for(position, target));
        }
        let Some(choice) = choices.pop() else {
            return self.dead(position, culprit.or(position.open.first().copied()), &found);
        };
        if choices.is_empty() || self.forks.insert(position.clone()) {
            Next::Choices(choice, choices)
        } else {
            Next::Dead
        }
    }

    /// The request that is known to have made a revision, if it can be next.
    fn makes(&self, position: &Position, call: usize, target: i64) -> Result<Choice, String> {
        if call >= position.next {
            return Err(format!("revision {target} was made by it before it was sent"));
        }
        let evaluated = position.state.evaluate(&self.calls[call].op);
        let fits = match (&evaluated, &self.calls[call].outcome) {
            (Ok(applied), Outcome::Done { revision, answer }) => {
                applied.revision == target && *revision == target && applied.answer == *answer
            }
            (Ok(applied), _) => {
                let foreign = matches!(self.calls[call].op, Op::Foreign { .. });
                applied.revision == target && (foreign || self.evidence.allows(target, &applied.events))
            }
            (Err(_), _) => false,
        };
        match evaluated {
            Ok(applied) if fits => Ok(Choice { call, applied }),
            other => Err(format!("for revision {target} the answer must be {}", told(&other))),
        }
    }

    /// The requests of unknown outcome that could make a revision of which no answer tells.
    fn guesses_for(&self, position: &Position, target: i64) -> Vec<Choice> {
        let mut choices: Vec<Choice> = Vec::new();
        let mut tried: HashSet<&Op> = HashSet::new();
        // Only the model knows whether the end of a lease changed keys.
        let revokes = position.open.iter().filter(|call| {
            let call = &self.calls[**call];
            matches!(&call.outcome, Outcome::Done { revision, .. } if *revision == target)
                && matches!(call.op, Op::Revoke { .. })
        });
        for &call in revokes.chain(&position.unknown) {
            // Of several that ask for the same and wait for nothing, the first stands for all.
            if !tried.insert(&self.calls[call].op) {
                continue;
            }
            if let Ok(applied) = position.state.evaluate(&self.calls[call].op)
                && applied.revision == target
                && self.evidence.allows(target, &applied.events)
            {
                choices.push(Choice { call, applied });
            }
        }
        choices.reverse();
        choices
    }

    /// Ends of leases without keys, which make no revision: only if somebody was told that the lease is gone.
    fn silent_ends(&self, position: &Position) -> Vec<Choice> {
        let refused = position.open.iter().map(|call| &self.calls[*call]);
        let refused = refused.filter(|call| call.outcome == Outcome::Refused(Refusal::LeaseNotFound));
        let mut missed: BTreeSet<i64> = refused.flat_map(|call| call.op.leases()).collect();
        let mut choices: Vec<Choice> = Vec::new();
        if missed.is_empty() {
            return choices;
        }
        for &call in &position.unknown {
            let (Op::Expire { lease } | Op::Revoke { lease }) = &self.calls[call].op else {
                continue;
            };
            // However it ended, it is gone: the first way stands for all.
            if position.state.lease_is_bare(*lease)
                && missed.remove(lease)
                && let Ok(applied) = position.state.evaluate(&self.calls[call].op)
            {
                choices.push(Choice { call, applied });
            }
        }
        choices
    }

    fn dead(&mut self, position: &Position, call: Option<usize>, found: &str) -> Next {
        let placed = self.order.len();
        if self.furthest.as_ref().is_none_or(|furthest| furthest.placed <= placed) {
            let subject = call.map(|call| format!("{}: ", describe(&self.calls[call])));
            self.furthest = Some(Broken {
                placed,
                revision: position.state.revision,
                call,
                found: format!("{}{found}", subject.unwrap_or_default()),
            });
        }
        Next::Dead
    }
}

/// Whether a request can be placed without changing a key.
enum Fit {
    /// It can.
    Now(Applied),
    /// It can, and does nothing.
    Refused,
    /// Not at this revision.
    Later,
    /// Neither now nor later.
    Never(String),
}

impl Position {
    /// Opens every request that was sent before the earliest answer to come. Says whether there were any.
    fn reach(&mut self, calls: &[Call], guesses: &[bool]) -> bool {
        let mut horizon: Micros = self
            .open
            .iter()
            .map(|call| calls[*call].returned)
            .min()
            .unwrap_or(Micros::MAX);
        let before = self.next;
        while let Some(call) = calls.get(self.next).filter(|call| call.invoked <= horizon) {
            if call.outcome == Outcome::Unknown {
                if guesses[self.next] {
                    self.unknown.push(self.next);
                }
            } else {
                self.open.push(self.next);
                horizon = horizon.min(call.returned);
            }
            self.next += 1;
        }
        self.next > before
    }
}

/// Whether an answer says by itself that the request changed a key.
fn surely_writes(op: &Op, answer: &crate::linear::model::Answer) -> bool {
    use crate::linear::model::{Answer, KeyAnswer, KeyOp};
    let writes = |op: &KeyOp, answer: &KeyAnswer| match (op, answer) {
        (KeyOp::Put { .. }, _) => true,
        (KeyOp::Delete { .. }, KeyAnswer::Delete { previous }) => !previous.is_empty(),
        _ => false,
    };
    match (op, answer) {
        (Op::One(op), Answer::One(answer)) => writes(op, answer),
        (Op::Txn(txn), Answer::Txn { succeeded, answers }) => {
            let ops = if *succeeded { &txn.success } else { &txn.failure };
            ops.iter().zip(answers).any(|(op, answer)| writes(op, answer))
        }
        // Whether a revoked lease had keys is not told: the model says.
        _ => false,
    }
}

fn describe(call: &Call) -> String {
    format!(
        "client {} sent {:?} at {} us and got {:?} at {} us",
        call.client, call.op, call.invoked, call.outcome, call.returned
    )
}

fn told(evaluated: &Result<Applied, Refusal>) -> String {
    match evaluated {
        Ok(applied) => format!("{:?} with revision {}", applied.answer, applied.revision),
        Err(refusal) => format!("{refusal:?}"),
    }
}
