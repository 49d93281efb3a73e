//! A flood of large reads, and clients that do not take their answers: nobody else is refused anything, no lease is lost,
//! the leader stays, memory stays within its bound, and the flood is told to come back later.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::{Code, Status};
use trireme_proto::etcd::server::{LeaseKeepAliveRequest, StatusRequest};
use trireme_tests::bench::store::drive::{fill, on_own_thread};
use trireme_tests::bench::store::noise::Noise;
use trireme_tests::bench::store::wire::{Received, Wire};
use trireme_tests::bench::store::work::{Kind, Work};
use trireme_tests::harness::{metrics, poll_until};

use crate::lease::{attach, grant, time_to_live};
use crate::slow::resident_kb;
use crate::target::{PATIENCE, Peer, Target, Trireme, end, one};
use crate::watch::{Stream, on};

/// Keys that every large read reads, all of them.
const KEYS: u64 = 12_000;
/// The size of each, in bytes: together more than ten slices.
const VALUE_BYTES: usize = 1_000;
/// Connections of the flood.
const CONNECTIONS: usize = 8;
/// Requests that each has under way. All together they are more than may wait, and most connections' more than may of one.
const IN_FLIGHT: usize = 300;
/// How long one of the flood rests when it was refused, like a client that ignores most of the hint.
const REST: Duration = Duration::from_millis(50);
/// How long the flood waits for the network before it looks whether it is over.
const TURN: Duration = Duration::from_millis(100);
/// Writes of other clients during the flood, at each server, and as many reads of each kind.
const ROUNDS: usize = 12;
/// Time to live of the lease, in seconds: it would end during the flood.
const LEASE_S: i64 = 4;
/// Connections that take no answer, and what each asks for.
const SLOW: (usize, usize) = (2, 40);
/// How much a server may grow, in kB: its bounds for answers, and what lies in connections. What is asked for at any time
/// is many times as much.
const GROWTH_KB: u64 = 900_000;
/// The status of gRPC for "come back later".
const EXHAUSTED: u8 = Code::ResourceExhausted as u8;

pub(crate) async fn check(trireme: &Trireme) -> Result<()> {
    let target = Target::new(Peer::Trireme, trireme.endpoints()?)?;
    fill(&trireme.endpoints()?, KEYS, VALUE_BYTES, 16).await?;
    let leader = leader(&target).await?;
    flooded(trireme, &target, leader)
        .await
        .context("a flood of large reads")?;
    unread(trireme, &target, leader)
        .await
        .context("clients that take no answer")
}

/// A flood at the leader, and everybody else.
async fn flooded(trireme: &Trireme, target: &Target, leader: usize) -> Result<()> {
    let before = (term(target, leader).await?, resident_kb(trireme.process(leader)?)?);
    let lease = grant(target, 0, LEASE_S).await?;
    attach(target, "calm/leased", lease).await?;
    let mut watch = Stream::open(target, leader);
    watch.create(on("calm/", end("calm/"))).await?;

    let flood = Flood::begin(trireme.endpoints()?.swap_remove(leader));
    let keeper = keep_alive(target.only(leader), lease, flood.stop.clone());
    flood.until_full(trireme, leader).await?;
    measured(&trireme.endpoints()?[leader]).await?;
    let mut written = 0;
    for round in 0..ROUNDS {
        for server in 0..3 {
            let client = target.only(server);
            let key = format!("calm/{round}/{server}");
            client
                .put(&key, "small")
                .await
                .with_context(|| format!("writing {key}"))?;
            written += 1;
            let read = client.get(&key).await.with_context(|| format!("reading {key}"))?;
            ensure!(read.is_some_and(|kv| &kv.value[..] == b"small"), "{key} was not read");
            let page = trireme_proto::etcd::server::RangeRequest {
                limit: 10,
                range_end: end("calm/"),
                ..one("calm/")
            };
            let page = client
                .range(page)
                .await
                .with_context(|| format!("a page at {server}"))?;
            ensure!(!page.kvs.is_empty());
        }
    }
    hinted(&target.only(leader)).await?;
    let told = watch.events(written).await?;
    ensure!(
        told.len() >= written,
        "the watch was told of {} of {written}",
        told.len()
    );
    let after = (term(target, leader).await?, resident_kb(trireme.process(leader)?)?);
    let answers = flood.end().await?;
    let renewals = keeper.await??;

    ensure!(renewals > 0, "the lease was never renewed");
    let lease = time_to_live(target, lease).await?;
    ensure!(lease.ttl > 0 && lease.keys.len() == 1, "the lease is lost: {lease:?}");
    ensure!(after.0 == before.0, "the term was {} and is {}", before.0, after.0);
    let growth = after.1.saturating_sub(before.1);
    ensure!(
        growth < GROWTH_KB,
        "the server has grown by {growth} kB, from {} kB",
        before.1
    );
    let count = |status: u8| answers.get(&status).copied().unwrap_or(0);
    ensure!(count(0) > 0 && count(EXHAUSTED) > 0, "{answers:?}");
    ensure!(
        answers.keys().all(|status| [0, EXHAUSTED].contains(status)),
        "the flood got something else than answers and refusals: {answers:?}"
    );
    Ok(())
}

/// The flood shows in the metrics of its lane.
async fn measured(endpoint: &str) -> Result<()> {
    poll_until("the metrics to show it", PATIENCE, || async {
        let samples = metrics(endpoint).await?;
        let stands_at = |name: &str| {
            let name = format!("trireme_store_lane_{name}{{lane=\"bulk\"}}");
            samples
                .get(&name)
                .copied()
                .with_context(|| format!("there is no {name}"))
        };
        for name in [
            "seats_in_use",
            "waiting",
            "answer_bytes",
            "admitted_total",
            "refused_total",
        ] {
            ensure!(stands_at(name)? > 0.0, "{name} is 0");
        }
        Ok(Some(()))
    })
    .await
}

/// A large read during the flood is either answered or refused with a hint, and it is refused soon enough.
async fn hinted(client: &Target) -> Result<()> {
    let all = crate::target::prefix("/bench/keys/");
    poll_until("a refusal with a hint", PATIENCE, || async {
        let mut asked: FuturesUnordered<_> = (0..IN_FLIGHT).map(|_| client.range(all.clone())).collect();
        while let Some(answer) = asked.next().await {
            if let Err(status) = answer {
                return check_hint(&status).map(Some);
            }
        }
        Ok(None)
    })
    .await
}

fn check_hint(status: &Status) -> Result<()> {
    ensure!(status.code() == Code::ResourceExhausted, "{status:?}");
    ensure!(status.message() == "etcdserver: too many requests", "{status:?}");
    let told = |name: &str| {
        let value = status
            .metadata()
            .get(name)
            .with_context(|| format!("{name} in {status:?}"))?;
        anyhow::Ok(value.to_str()?.to_owned())
    };
    ensure!(told("grpc-retry-pushback-ms")?.parse::<u64>()? > 0);
    let why = told("trireme-overload")?;
    ensure!(why.contains("the lane bulk is full"), "{why}");
    Ok(())
}

/// Clients that ask for much and take nothing: they hold no seat and bounded memory, and others are served.
async fn unread(trireme: &Trireme, target: &Target, leader: usize) -> Result<()> {
    let address = trireme.endpoints()?.swap_remove(leader);
    let before = resident_kb(trireme.process(leader)?)?;
    let (connections, requests) = SLOW;
    let mut slow = Vec::new();
    let mut request = Vec::new();
    for _ in 0..connections {
        let mut wire = Wire::connect(&address).await?;
        let mut work = everything();
        for _ in 0..requests {
            ensure!(work.next(&mut request));
            wire.request(work.kind().path(), &request, Instant::now());
        }
        wire.flush()?;
        slow.push(wire);
    }
    // Each is as far as it gets: nothing works for them, and what is there waits for them to take it.
    poll_until("the lane to rest", PATIENCE, || async {
        let bulk = lane(trireme, leader, "bulk").await?;
        let rests = bulk["seatsInUse"] == 0 && bulk["answerBytes"].as_u64().is_some_and(|bytes| bytes > 0);
        ensure!(rests, "{bulk}");
        Ok(Some(()))
    })
    .await?;
    let growth = resident_kb(trireme.process(leader)?)?.saturating_sub(before);
    ensure!(
        growth < GROWTH_KB,
        "the server has grown by {growth} kB, from {before} kB"
    );
    // Somebody who takes answers gets a large one, and a small one.
    let client = Target::new(Peer::Trireme, vec![address])?;
    let all = poll_until("a large read", PATIENCE, || async {
        match client.range(crate::target::prefix("/bench/keys/")).await {
            Ok(all) => Ok(Some(all)),
            Err(status) if status.code() == Code::ResourceExhausted => Ok(None),
            Err(status) => Err(status.into()),
        }
    })
    .await?;
    ensure!(all.kvs.len() as u64 == KEYS && all.count == i64::try_from(KEYS)?);
    target.only(leader).put("calm/slow", "small").await?;
    drop(slow);
    // When they have gone, nothing is held for them any more.
    poll_until("all room to be given back", PATIENCE, || async {
        let bulk = lane(trireme, leader, "bulk").await?;
        ensure!(bulk["answerBytes"] == 0 && bulk["seatsInUse"] == 0, "{bulk}");
        Ok(Some(()))
    })
    .await
}

/// Reads of all keys.
fn everything() -> Work {
    let kind = Kind::Range {
        keys: KEYS,
        width: KEYS,
        value_bytes: VALUE_BYTES,
    };
    Work::new(kind, Noise::default(), 1)
}

/// Answers by their status.
type Tally = Arc<Mutex<BTreeMap<u8, u64>>>;

/// Large reads from many connections, until it is ended.
struct Flood {
    stop: Arc<AtomicBool>,
    tally: Tally,
    running: JoinHandle<Result<()>>,
}

impl Flood {
    fn begin(address: String) -> Self {
        let (stop, tally) = (Arc::<AtomicBool>::default(), Tally::default());
        let (until, counts) = (stop.clone(), tally.clone());
        let running = tokio::spawn(on_own_thread(move || async move {
            let connections = (0..CONNECTIONS).map(|_| pour(address.clone(), until.clone(), counts.clone()));
            futures::future::try_join_all(connections).await.map(drop)
        }));
        Self { stop, tally, running }
    }

    /// Waits until the lane is full: somebody works, some wait, and some were refused.
    async fn until_full(&self, trireme: &Trireme, server: usize) -> Result<()> {
        poll_until("the flood to fill the lane", PATIENCE, || async {
            if self.running.is_finished() {
                bail!("the flood has ended by itself: {:?}", self.answers());
            }
            let bulk = lane(trireme, server, "bulk").await?;
            let is = |what: &str| bulk[what].as_u64().is_some_and(|count| count > 0);
            let refused = self.answers().contains_key(&EXHAUSTED);
            ensure!(is("waiting") && is("refused") && refused, "{bulk}");
            Ok(Some(()))
        })
        .await
    }

    fn answers(&self) -> BTreeMap<u8, u64> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn end(self) -> Result<BTreeMap<u8, u64>> {
        // It goes on at least until something was answered in full.
        poll_until("an answer to the flood", PATIENCE, || async {
            Ok(self.answers().contains_key(&0).then_some(()))
        })
        .await?;
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.answers();
        self.running.await??;
        Ok(answers)
    }
}

/// One connection of the flood.
async fn pour(address: String, stop: Arc<AtomicBool>, tally: Tally) -> Result<()> {
    let mut wire = Wire::connect(&address).await?;
    let mut work = everything();
    let mut request = Vec::new();
    let mut resting: VecDeque<Instant> = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        while resting.front().is_some_and(|until| *until <= now) {
            resting.pop_front();
        }
        let (path, bytes) = (work.kind().path(), work.kind().request_bytes());
        while wire.in_flight() + resting.len() < IN_FLIGHT && wire.has_room(bytes) && work.next(&mut request) {
            wire.request(path, &request, now);
        }
        wire.flush()?;
        let turn = wire.turn(now + TURN, |received| {
            let Received::Ended { status, .. } = received else {
                return;
            };
            *tally
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(status)
                .or_default() += 1;
            if status != 0 {
                resting.push_back(Instant::now() + REST);
            }
        });
        turn.await?;
    }
    Ok(())
}

/// Keeps a lease alive until it is told to stop; how often. It fails if the lease is gone.
fn keep_alive(client: Target, id: i64, stop: Arc<AtomicBool>) -> JoinHandle<Result<usize>> {
    tokio::spawn(async move {
        let mut renewals = 0;
        let period = Duration::from_secs(LEASE_S.unsigned_abs()) / 4;
        let mut interval = tokio::time::interval(period);
        while !stop.load(Ordering::Relaxed) {
            interval.tick().await;
            let request = futures::stream::iter([LeaseKeepAliveRequest { id }]);
            let answers = client.leases().lease_keep_alive(request).await;
            let answer = answers.context("keeping the lease alive")?.into_inner().message().await;
            let answer = answer.context("keeping the lease alive")?.context("an answer")?;
            ensure!(answer.ttl > 0, "the lease has expired after {renewals} renewals");
            renewals += 1;
        }
        Ok(renewals)
    })
}

/// The number of the server that leads.
async fn leader(target: &Target) -> Result<usize> {
    poll_until("a leader", PATIENCE, || async {
        for server in 0..3 {
            let status = target.maintenance(server).status(StatusRequest {}).await?.into_inner();
            if status.leader == status.header.map_or(0, |header| header.member_id) {
                return Ok(Some(server));
            }
        }
        Ok(None)
    })
    .await
}

/// The term, as a server knows it that must still lead.
async fn term(target: &Target, leader: usize) -> Result<u64> {
    let status = target.maintenance(leader).status(StatusRequest {}).await?.into_inner();
    ensure!(
        status.leader == status.header.map_or(0, |header| header.member_id),
        "{status:?}"
    );
    Ok(status.raft_term)
}

/// How full a lane of a server is.
async fn lane(trireme: &Trireme, server: usize, name: &str) -> Result<Value> {
    let status = trireme.status().await?;
    let process = trireme.process(server)?;
    let members = status["members"].as_array().context("members")?;
    let member = members
        .iter()
        .find(|member| member["processId"] == process)
        .context("the member")?;
    let lanes = member["lanes"].as_array().context("lanes")?;
    let lane = lanes.iter().find(|lane| lane["lane"] == name).context("the lane")?;
    Ok(lane.clone())
}
