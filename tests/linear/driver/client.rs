//! One client: bound to one member, one request after another, each with its time and its outcome.
//!
//! Nothing is ever sent twice. What was not answered is of unknown outcome, unless it could only read.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::Instant;
use tonic::{Code, Status, transport::Channel};
use trireme_proto::etcd::server::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, RangeRequest, ResponseHeader, kv_client::KvClient,
    lease_client::LeaseClient,
};

use super::{link::Shared, wire};
use crate::linear::{
    history::{Call, LeaseTerm, Outcome, PastRead},
    load::{Load, only_reads},
    model::{Answer, KeyOp, KeyRange, Op, Refusal},
};

/// How long a client waits for an answer. Short, so that there are unknown outcomes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the calls at the end may take.
const LAST_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client rests between two requests, at most: it keeps the rate even on a fast store.
const PAUSE_MAX_MS: u64 = 12;
/// How long it rests after a failure, so that a dead member does not fill the history with failures.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(60);
/// Seconds that leases live; etcd gives no less.
const LEASE_TTL_SECONDS: i64 = 2;
/// How far back reads of the past go, in revisions.
const PAST_REVISIONS: i64 = 60;

/// What one client recorded.
#[derive(Debug, Default)]
pub struct ClientRecord {
    /// Its requests.
    pub calls: Vec<Call>,
    /// Its reads of the past.
    pub past_reads: Vec<PastRead>,
    /// Its leases.
    pub leases: Vec<LeaseTerm>,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// The request was refused for what it is; the model knows why.
    Refused(Refusal),
    /// It was refused and changed nothing; the model need not know.
    NotDone,
    /// Nobody knows.
    Unknown,
}

/// The services of one member.
struct Services {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
}

impl Services {
    fn new(channel: Channel) -> Self {
        Self {
            kv: KvClient::new(channel.clone()),
            lease: LeaseClient::new(channel),
        }
    }
}

/// Sends requests until the run stops.
pub async fn run_client(shared: Arc<Shared>, client: usize) -> ClientRecord {
    let member = client % shared.members();
    let mut random = StdRng::seed_from_u64(shared.seed ^ (client as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut load = Load::new(client);
    let mut record = ClientRecord::default();
    let mut services: Option<Services> = None;
    while !shared.is_stopped() {
        let Some(mut at) = services.take() else {
            match shared.connect(member).await {
                Ok(channel) => services = Some(Services::new(channel)),
                Err(_) => tokio::time::sleep(PAUSE_AFTER_FAILURE).await,
            }
            continue;
        };
        let healthy = match random.random_range(0..100) {
            0..4 => read_past(&shared, &mut at, &mut record, &mut random).await,
            4..6 => keep_alive(&shared, &mut at, &mut record).await,
            _ => {
                let op = load.next(&mut random);
                request(&shared, &mut at, client, op, &mut load, &mut record).await
            }
        };
        if healthy {
            services = Some(at);
            tokio::time::sleep(Duration::from_millis(random.random_range(0..=PAUSE_MAX_MS))).await;
        } else {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    }
    record
}

/// Sends one request and records it. Says whether the connection is still good.
async fn request(
    shared: &Shared,
    at: &mut Services,
    client: usize,
    op: Op,
    load: &mut Load,
    record: &mut ClientRecord,
) -> bool {
    let invoked = shared.now();
    let sent = tokio::time::timeout(REQUEST_TIMEOUT, send(at, &op)).await;
    let returned = shared.now();
    let outcome = match sent.unwrap_or(Err(Failure::Unknown)) {
        Ok((revision, answer)) => {
            shared.answered_at(revision);
            Outcome::Done { revision, answer }
        }
        Err(Failure::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Failure::NotDone) => return true,
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

async fn send(at: &mut Services, op: &Op) -> Result<(i64, Answer), Failure> {
    match op {
        Op::One(KeyOp::Range { range, limit }) => {
            let answer = at
                .kv
                .range(wire::range(range, *limit))
                .await
                .map_err(|status| failure(&status))?
                .into_inner();
            Ok((
                revision(answer.header.as_ref())?,
                Answer::One(wire::range_answer(&answer)),
            ))
        }
        Op::One(KeyOp::Put { key, value, lease }) => {
            let answer = at
                .kv
                .put(wire::put(key, value, *lease))
                .await
                .map_err(|status| failure(&status))?
                .into_inner();
            Ok((
                revision(answer.header.as_ref())?,
                Answer::One(wire::put_answer(&answer)),
            ))
        }
        Op::One(KeyOp::Delete { range }) => {
            let answer = at
                .kv
                .delete_range(wire::delete(range))
                .await
                .map_err(|status| failure(&status))?
                .into_inner();
            Ok((
                revision(answer.header.as_ref())?,
                Answer::One(wire::delete_answer(&answer)),
            ))
        }
        Op::Txn(txn) => {
            let answer = at
                .kv
                .txn(wire::txn(txn))
                .await
                .map_err(|status| failure(&status))?
                .into_inner();
            let answers = wire::txn_answers(&answer).ok_or(Failure::Unknown)?;
            let succeeded = answer.succeeded;
            Ok((revision(answer.header.as_ref())?, Answer::Txn { succeeded, answers }))
        }
        Op::Grant { lease } => {
            let request = LeaseGrantRequest {
                ttl: LEASE_TTL_SECONDS,
                id: *lease,
            };
            let answer = at
                .lease
                .lease_grant(request)
                .await
                .map_err(|status| failure(&status))?
                .into_inner();
            Ok((revision(answer.header.as_ref())?, Answer::Lease))
        }
        Op::Revoke { lease } => {
            let request = LeaseRevokeRequest { id: *lease };
            let answer = at
                .lease
                .lease_revoke(request)
                .await
                .map_err(|status| failure(&status))?
                .into_inner();
            Ok((revision(answer.header.as_ref())?, Answer::Lease))
        }
        // Nobody asks for these.
        Op::Expire { .. } | Op::Foreign { .. } => Err(Failure::NotDone),
    }
}

fn revision(header: Option<&ResponseHeader>) -> Result<i64, Failure> {
    header.map(|header| header.revision).ok_or(Failure::Unknown)
}

/// What an error says about the request. Only what etcd documents as decided before anything is done counts as not done.
fn failure(status: &Status) -> Failure {
    match status.code() {
        Code::NotFound if status.message().contains("lease not found") => Failure::Refused(Refusal::LeaseNotFound),
        Code::FailedPrecondition if status.message().contains("lease already exists") => {
            Failure::Refused(Refusal::LeaseExists)
        }
        Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted | Code::Unimplemented => Failure::NotDone,
        _ => Failure::Unknown,
    }
}

/// Reads some revision of the past, or whatever this member has.
async fn read_past(shared: &Shared, at: &mut Services, record: &mut ClientRecord, random: &mut StdRng) -> bool {
    let range = KeyRange::between("k", "l");
    let asked = if random.random_bool(0.5) {
        (shared.newest() - random.random_range(0..PAST_REVISIONS)).max(1)
    } else {
        0
    };
    let request = RangeRequest {
        revision: asked,
        serializable: asked == 0 || random.random_bool(0.5),
        ..wire::range(&range, 0)
    };
    let invoked = shared.now();
    match tokio::time::timeout(REQUEST_TIMEOUT, at.kv.range(request)).await {
        Err(_) => false,
        // It may be compacted, or this member may not have it yet.
        Ok(Err(status)) => status.code() == Code::OutOfRange,
        Ok(Ok(answer)) => {
            let answer = answer.into_inner();
            let Some(header) = &answer.header else {
                return false;
            };
            record.past_reads.push(PastRead {
                range,
                asked,
                header: header.revision,
                kvs: answer.kvs.iter().map(wire::key_value).collect(),
                invoked,
            });
            true
        }
    }
}

/// Prolongs the life of the youngest lease.
async fn keep_alive(shared: &Shared, at: &mut Services, record: &mut ClientRecord) -> bool {
    let Some(term) = record.leases.last_mut() else {
        return true;
    };
    let invoked = shared.now();
    let ask = async {
        let request = LeaseKeepAliveRequest { id: term.lease };
        let once = futures::stream::iter([request]);
        let mut answers = at.lease.lease_keep_alive(once).await?.into_inner();
        answers.message().await
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, ask).await {
        Ok(Ok(Some(answer))) if answer.ttl > 0 => {
            term.kept_from = invoked;
            true
        }
        // A lease that is gone has no time left; that is an answer as well.
        Ok(Ok(_)) => true,
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Reads everything through one member, as a request of the history.
///
/// # Errors
/// If it does not answer.
pub async fn read_all(shared: &Shared, member: usize, client: usize) -> Result<Call> {
    let op = Op::One(KeyOp::Range {
        range: KeyRange::between("k", "l"),
        limit: 0,
    });
    last_call(shared, member, client, op).await
}

/// Writes a key that tells watchers that nothing follows.
///
/// # Errors
/// If it is not acknowledged.
pub async fn write_last(shared: &Shared, member: usize, client: usize) -> Result<Call> {
    let op = Op::One(KeyOp::Put {
        key: "k-last".to_owned(),
        value: format!("last of {}", shared.seed),
        lease: 0,
    });
    last_call(shared, member, client, op).await
}

/// Calls until it is answered. What was refused and changed nothing is asked again for a while: an alarm that has lost its cause
/// ends by itself, but not at once.
async fn last_call(shared: &Shared, member: usize, client: usize, op: Op) -> Result<Call> {
    let mut at = Services::new(shared.connect(member).await?);
    let deadline = Instant::now() + LAST_CALL_TIMEOUT;
    loop {
        let invoked = shared.now();
        let sent = tokio::time::timeout_at(deadline, send(&mut at, &op))
            .await
            .with_context(|| format!("member {member} does not answer at the end"))?;
        match sent {
            Ok((revision, answer)) => {
                shared.answered_at(revision);
                return Ok(Call {
                    client,
                    op,
                    invoked,
                    returned: shared.now(),
                    outcome: Outcome::Done { revision, answer },
                });
            }
            Err(Failure::NotDone) if Instant::now() < deadline => tokio::time::sleep(PAUSE_AFTER_FAILURE).await,
            Err(failure) => anyhow::bail!("member {member} refuses at the end, {failure:?}: {op:?}"),
        }
    }
}
