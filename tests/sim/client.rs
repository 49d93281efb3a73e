//! One client: one request after another, through whichever server it has chosen, each with its time and its outcome.
//!
//! Nothing is ever sent twice. What was not answered is of unknown outcome, unless it could only read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use trireme_store::kv::{Consistency, Kv, KvError, Leadership, Leases, Txn};

use super::{convert, server::Access, world::Outside};
use crate::linear::{
    history::{Call, LeaseTerm, Outcome, PastRead},
    load::{Load, only_reads},
    model::{Answer, KeyOp, KeyRange, Op, Refusal},
};

/// How long a client waits for an answer. Short, so that there are unknown outcomes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client rests between two requests, at most, in milliseconds.
const PAUSE_MAX_MS: u64 = 40;
/// How long it rests after a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(60);
/// Seconds that leases live.
const LEASE_TTL_SECONDS: i64 = 2;
/// How far back reads of the past go, in revisions.
const PAST_REVISIONS: i64 = 60;
/// How often a client takes another server, of 100 requests.
const MOVES_PERCENT: u32 = 8;

/// What all clients of a run share.
pub struct Shared {
    /// The world as they see it.
    pub outside: Arc<Outside>,
    /// What all their choices are made from.
    pub seed: u64,
    stopped: AtomicBool,
    newest: AtomicI64,
    compacted: AtomicI64,
}

/// What one client recorded.
#[derive(Debug, Default)]
pub struct ClientRecord {
    /// Its requests.
    pub calls: Vec<Call>,
    /// Its reads of the past.
    pub past_reads: Vec<PastRead>,
    /// Its leases.
    pub leases: Vec<LeaseTerm>,
    /// Its fenced writes that were acknowledged: the term, and a value that only it wrote.
    pub fenced: Vec<(u64, String)>,
}

impl Shared {
    /// A run that begins.
    pub fn new(outside: Arc<Outside>, seed: u64) -> Self {
        Self {
            outside,
            seed,
            stopped: AtomicBool::new(false),
            newest: AtomicI64::new(1),
            compacted: AtomicI64::new(0),
        }
    }

    /// Tells the clients to end.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether the clients are to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// A client was told of this revision.
    pub fn answered_at(&self, revision: i64) {
        self.newest.fetch_max(revision, Ordering::Relaxed);
    }

    /// The newest revision that any client was told.
    pub fn newest(&self) -> i64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// A compaction was asked for.
    pub fn compacted_at(&self, revision: i64) {
        self.compacted.fetch_max(revision, Ordering::Relaxed);
    }

    /// The highest revision that a compaction was asked for.
    pub fn compacted(&self) -> i64 {
        self.compacted.load(Ordering::Relaxed)
    }

    /// A server, chosen.
    pub fn any_server(&self, random: &mut SmallRng) -> Option<Access> {
        let reachable: Vec<Access> = self.outside.reachable().into_values().collect();
        (!reachable.is_empty()).then(|| reachable[random.random_range(0..reachable.len())].clone())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The request was refused for what it is; the model knows why.
    Refused(Refusal),
    /// It was refused and changed nothing; the model need not know.
    NotDone(KvError),
    /// Nobody knows.
    Unknown,
}

/// Sends requests until the run stops.
pub async fn run_client(shared: Arc<Shared>, client: usize) -> ClientRecord {
    let mut random = SmallRng::seed_from_u64(shared.seed ^ (client as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut load = Load::new(client);
    let mut record = ClientRecord::default();
    let mut at: Option<Access> = None;
    while !shared.is_stopped() {
        if random.random_ratio(MOVES_PERCENT, 100) {
            at = None;
        }
        // A server that was started again is reached anew.
        let current = at.take().and_then(|access| shared.outside.access(access.machine));
        let Some(access) = current.or_else(|| shared.any_server(&mut random)) else {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            continue;
        };
        let healthy = match random.random_range(0..100) {
            0..5 => read_past(&shared, &access, &mut record, &mut random).await,
            5..7 => keep_alive(&shared, &access, &mut record).await,
            _ => {
                let op = load.next(&mut random);
                request(&shared, &access, client, op, &mut load, &mut record).await
            }
        };
        if healthy {
            at = Some(access);
            tokio::time::sleep(Duration::from_millis(random.random_range(0..=PAUSE_MAX_MS))).await;
        } else {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    }
    record
}

/// Sends one request and records it. Says whether the server is still good.
async fn request(
    shared: &Shared,
    access: &Access,
    client: usize,
    op: Op,
    load: &mut Load,
    record: &mut ClientRecord,
) -> bool {
    // The server that leads writes some as its loops do: under its leadership, or not at all.
    let fence = match &op {
        Op::Txn(_) => *access.store.leadership().borrow(),
        _ => None,
    };
    let invoked = shared.outside.moment();
    let sent = send(access, &op, fence, REQUEST_TIMEOUT).await;
    let returned = shared.outside.moment();
    shared.outside.note(|| {
        let asked = format!(
            "client {client} at {} asked {op:?} fence {fence:?} from {invoked} to {returned}",
            access.machine
        );
        format!("{asked}: {sent:?}")
    });
    let outcome = match sent {
        Ok((revision, answer)) => {
            shared.answered_at(revision);
            Outcome::Done { revision, answer }
        }
        Err(Failure::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Failure::NotDone(error)) => return !matches!(error, KvError::Unavailable(_)),
        Err(Failure::Unknown) => Outcome::Unknown,
    };
    load.learn(&op, &outcome);
    let healthy = outcome != Outcome::Unknown;
    if let (Op::Grant { lease }, Outcome::Done { .. }) = (&op, &outcome) {
        record.leases.push(LeaseTerm {
            lease: *lease,
            ttl_seconds: LEASE_TTL_SECONDS.unsigned_abs(),
            kept_from: invoked,
        });
    }
    if let (
        Some(Leadership { term }),
        Outcome::Done {
            answer: Answer::Txn { succeeded: true, .. },
            ..
        },
    ) = (fence, &outcome)
        && let Some((_, value)) = op.writes().first()
    {
        record.fenced.push((term, (*value).to_owned()));
    }
    if healthy || !only_reads(&op) {
        record.calls.push(Call {
            client,
            op,
            invoked,
            returned,
            outcome,
        });
    }
    healthy
}

/// Sends one request. It runs on the server's machine, and is given up after a time.
///
/// # Errors
/// [`Failure`].
pub async fn send(
    access: &Access,
    op: &Op,
    fence: Option<Leadership>,
    patience: Duration,
) -> Result<(i64, Answer), Failure> {
    let (store, asked) = (access.store.clone(), op.clone());
    let task = access
        .handle
        .spawn(async move { carry_out(&*store, &asked, fence).await });
    let abort = task.abort_handle();
    match tokio::time::timeout(patience, task).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => Err(failure(error)),
        // The server is gone, or it panicked, which is found elsewhere.
        Ok(Err(_)) => Err(Failure::Unknown),
        Err(_) => {
            // A client that goes away takes its request along, as a connection does.
            abort.abort();
            Err(Failure::Unknown)
        }
    }
}

async fn carry_out(store: &(impl Kv + Leases), op: &Op, fence: Option<Leadership>) -> Result<(i64, Answer), KvError> {
    match op {
        Op::One(KeyOp::Range { range, limit }) => {
            let response = store
                .range(convert::range_request(range, *limit), Consistency::Linearizable)
                .await?;
            Ok((response.revision, Answer::One(convert::range_answer(&response))))
        }
        Op::One(one) => {
            let txn = Txn {
                success: vec![convert::op(one)],
                ..Txn::default()
            };
            let response = store.txn(txn, fence).await?;
            let answer = response.responses.first().and_then(convert::answer);
            Ok((response.revision, Answer::One(answer.ok_or_else(wrong)?)))
        }
        Op::Txn(txn) => {
            let response = store.txn(convert::txn(txn), fence).await?;
            let answers: Option<Vec<_>> = response.responses.iter().map(convert::answer).collect();
            let answer = Answer::Txn {
                succeeded: response.succeeded,
                answers: answers.ok_or_else(wrong)?,
            };
            Ok((response.revision, answer))
        }
        Op::Grant { lease } => {
            let granted = store.grant(*lease, LEASE_TTL_SECONDS).await?;
            Ok((granted.revision, Answer::Lease))
        }
        Op::Revoke { lease } => Ok((store.revoke(*lease).await?, Answer::Lease)),
        // Nobody asks for these.
        Op::Expire { .. } | Op::Foreign { .. } => Err(wrong()),
    }
}

fn wrong() -> KvError {
    KvError::UnknownOutcome("the answer does not fit the request".to_owned())
}

/// What an error says about the request.
fn failure(error: KvError) -> Failure {
    match error {
        KvError::LeaseNotFound { .. } => Failure::Refused(Refusal::LeaseNotFound),
        KvError::LeaseExists { .. } => Failure::Refused(Refusal::LeaseExists),
        KvError::UnknownOutcome(_) | KvError::Stopped(_) => Failure::Unknown,
        KvError::Compacted { .. }
        | KvError::FutureRevision { .. }
        | KvError::Invalid(_)
        | KvError::Deposed { .. }
        | KvError::Unavailable(_)
        | KvError::KeyNotFound
        | KvError::NoSpace
        | KvError::Corrupt
        | KvError::Overloaded { .. } => Failure::NotDone(error),
    }
}

/// Reads some revision of the past, or whatever this server has.
async fn read_past(shared: &Shared, access: &Access, record: &mut ClientRecord, random: &mut SmallRng) -> bool {
    let range = KeyRange::between("k", "l");
    let asked = if random.random_bool(0.5) {
        (shared.newest() - random.random_range(0..PAST_REVISIONS)).max(1)
    } else {
        0
    };
    let consistency = if asked == 0 || random.random_bool(0.5) {
        Consistency::Serializable
    } else {
        Consistency::Linearizable
    };
    let mut request = convert::range_request(&range, 0);
    request.revision = asked;
    let invoked = shared.outside.moment();
    let store = access.store.clone();
    let task = access
        .handle
        .spawn(async move { store.range(request, consistency).await });
    match tokio::time::timeout(REQUEST_TIMEOUT, task).await {
        Ok(Ok(Ok(response))) => {
            record.past_reads.push(PastRead {
                range,
                asked,
                header: response.revision,
                kvs: response.kvs.iter().map(convert::key_value).collect(),
                invoked,
            });
            true
        }
        // It may be compacted, or this server may not have it yet.
        Ok(Ok(Err(KvError::Compacted { .. } | KvError::FutureRevision { .. }))) => true,
        _ => false,
    }
}

/// Prolongs the life of the youngest lease.
async fn keep_alive(shared: &Shared, access: &Access, record: &mut ClientRecord) -> bool {
    let Some(term) = record.leases.last_mut() else {
        return true;
    };
    let invoked = shared.outside.moment();
    let (store, lease) = (access.store.clone(), term.lease);
    let task = access.handle.spawn(async move { store.keep_alive(lease).await });
    match tokio::time::timeout(REQUEST_TIMEOUT, task).await {
        Ok(Ok(Ok(Some(_)))) => {
            term.kept_from = invoked;
            true
        }
        // A lease that is gone is an answer as well.
        Ok(Ok(Ok(None))) => true,
        _ => false,
    }
}
