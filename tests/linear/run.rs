//! One run, top to bottom: rounds, each on members of its own, each with one kind of fault.

use std::{fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{
    check::{Evidence, Verdict, check},
    driver::{
        ClientRecord, Shared, Target, WatchRecord, compact_now_and_then, read_all, run_client, state_hash, watch_all,
        watch_some, witness, write_last,
    },
    faults::{Fault, Surroundings},
    history::{Call, History, Outcome},
    known,
    load::tally,
    model::{Answer, KeyAnswer, Op, State},
    past,
    replay::Replay,
};
use crate::{
    harness::{
        etcd::{EtcdCluster, EtcdOptions, Peer},
        wait_until,
    },
    watch_rules,
};

/// How long the clients work before anything is broken.
const WARM_UP: Duration = Duration::from_secs(2);
/// Answers a second that the warm-up must reach: a run with less tests nothing.
const RATE_MIN: f64 = 100.0;
/// Answers that must come after each mending: the run goes on.
const ANSWERS_BETWEEN_STRIKES: u64 = 300;
/// How long anything may take that should take seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long the judgement of one round may take; after that it is undecided, which counts as failed.
const CHECK_PATIENCE: Duration = Duration::from_secs(120);
/// Watchers of short watches.
const WATCHERS: usize = 3;
/// Client numbers of the last requests, out of the way of the others'.
const LAST_CLIENT: usize = 1_000;

/// What to do.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Whose members.
    pub members: EtcdOptions,
    /// The faults, one a round, over and over.
    pub faults: Vec<Fault>,
    /// How many rounds; at least one of these two ends the run.
    pub rounds: Option<usize>,
    /// After how long no other round begins.
    pub duration: Option<Duration>,
    /// What all choices are made from. Times are not, so a run is never quite the same twice.
    pub seed: u64,
    /// Concurrent clients.
    pub clients: usize,
    /// How often a round's fault strikes.
    pub strikes: usize,
    /// How long it lasts each time.
    pub hold: Duration,
    /// Say what happens.
    pub verbose: bool,
}

/// What came of one round.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was done.
    pub fault: Fault,
    /// The round's seed.
    pub seed: u64,
    /// Requests that were answered, refused, and of unknown outcome.
    pub tally: (usize, usize, usize),
    /// Answers a second before the first fault.
    pub rate: f64,
    /// How long the clients worked.
    pub seconds: f64,
    /// How many terms began: a fault of the leader that led to no election broke nothing.
    pub terms: u64,
    /// Watches, and the events that they were sent.
    pub watches: (usize, usize),
    /// Reads of the past.
    pub past_reads: usize,
    /// Revisions that were made.
    pub revisions: i64,
    /// What the search says, in a word.
    pub verdict: &'static str,
    /// How long the judgement took.
    pub check_seconds: f64,
    /// Everything that is wrong: the rule, and what it found.
    pub findings: Vec<(String, String)>,
    /// What is wrong and known to be, in an etcd of this age: the rule, what it found, and etcd's own issue.
    pub known: Vec<(String, String, &'static str)>,
    /// Where the data of a failed round is kept.
    pub kept: Option<PathBuf>,
}

/// Everything that was recorded.
struct Record {
    initial: State,
    history: History,
    watches: Vec<WatchRecord>,
    compacted: i64,
    rate: f64,
    seconds: f64,
    terms: u64,
    findings: Vec<(String, String)>,
}

/// The tasks of a round.
struct Work {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    end: watch::Sender<i64>,
    clients: Vec<JoinHandle<ClientRecord>>,
    watchers: Vec<JoinHandle<WatchRecord>>,
    compactor: JoinHandle<()>,
}

/// Runs the rounds. A broken promise is a finding, not an error.
///
/// # Errors
/// If members do not start, cannot be broken, or answer too slowly for the round to mean anything.
pub async fn run(options: &RunOptions) -> Result<Vec<Report>> {
    let started = Instant::now();
    let mut reports = Vec::new();
    let mut seeds = StdRng::seed_from_u64(options.seed);
    for round in 0_usize.. {
        let over = options.duration.is_some_and(|duration| started.elapsed() >= duration);
        if over || options.rounds.is_some_and(|rounds| round >= rounds) {
            break;
        }
        let fault = options.faults[round % options.faults.len()];
        // The first round's seed is the run's, so that one round can be repeated.
        let drawn = seeds.random();
        let seed = if round == 0 { options.seed } else { drawn };
        let report = run_round(options, fault, seed)
            .await
            .with_context(|| format!("round {} ({fault:?}, seed {seed})", round + 1))?;
        if options.verbose {
            eprintln!("{}", report.line(round + 1));
        }
        reports.push(report);
    }
    Ok(reports)
}

async fn run_round(options: &RunOptions, fault: Fault, seed: u64) -> Result<Report> {
    let folder = tempfile::Builder::new().prefix("trireme-linear.").tempdir()?;
    let count = options.members.places.len();
    let mut around = Surroundings::make(fault.needs(), count, folder.path())?;
    let mut cluster = EtcdCluster::start(EtcdOptions {
        places: around.places(count),
        ..options.members.clone()
    })
    .await?;
    let worked = work_through(options, fault, seed, &mut cluster, &mut around).await;
    let record = match worked {
        Ok(record) => record,
        Err(error) => {
            let logs = cluster.logs_tail();
            return Err(error.context(format!("kept in {}\n{logs}", cluster.keep().display())));
        }
    };
    let version = cluster
        .status(0)
        .await
        .map_or_else(|_| String::new(), |status| status.version);
    let mut report = judge(fault, seed, record, cluster.directory())?;
    let age = (cluster.peer() == Peer::Etcd).then_some(version);
    (report.findings, report.known) = known::part(report.findings, age.as_deref());
    if !report.findings.is_empty() {
        report.kept = Some(cluster.keep());
    }
    Ok(report)
}

async fn work_through(
    options: &RunOptions,
    fault: Fault,
    seed: u64,
    cluster: &mut EtcdCluster,
    around: &mut Surroundings,
) -> Result<Record> {
    let mut random = StdRng::seed_from_u64(seed);
    let (work, initial) = begin(options, seed, cluster).await?;
    let shared = work.shared.clone();
    let began = Instant::now();
    tokio::time::sleep(WARM_UP).await;
    let rate = shared.answered() as f64 / began.elapsed().as_secs_f64();
    if rate < RATE_MIN {
        bail!("void: {rate:.0} answers a second before the fault, {RATE_MIN} are needed");
    }
    let term = cluster.term().await;
    let mut findings = Vec::new();
    for _ in 0..options.strikes {
        let broken = fault.strike(cluster, around, &mut random, options.hold).await?;
        fault.mend(cluster, around, &mut random, broken).await?;
        let target = shared.answered() + ANSWERS_BETWEEN_STRIKES;
        let whole = async {
            cluster.wait_until_whole().await?;
            wait_until("answers to new requests", PATIENCE, || async {
                Ok(shared.answered() >= target)
            })
            .await
        };
        // Without this nothing that follows can be trusted, so the strikes end here.
        if let Err(error) = whole.await {
            findings.push(("liveness".to_owned(), format!("after {fault:?}: {error:#}")));
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let terms = cluster.term().await.saturating_sub(term);
    let mut record = finish(work, findings).await?;
    record.terms = terms;
    record.initial = initial;
    record.rate = rate;
    record.seconds = seconds;
    Ok(record)
}

/// Reads the beginning, and starts clients and watchers.
async fn begin(options: &RunOptions, seed: u64, cluster: &EtcdCluster) -> Result<(Work, State)> {
    let targets = (0..cluster.len()).map(|member| Target {
        url: cluster.endpoint(member),
        namespace: cluster.namespace(member).map(str::to_owned),
    });
    let (stop, stopped) = watch::channel(false);
    let (end, ended) = watch::channel(0);
    let shared = Arc::new(Shared::new(targets.collect(), seed, stopped, ended));
    let first = read_all(&shared, 0, LAST_CLIENT).await?;
    let Outcome::Done {
        revision,
        answer: Answer::One(KeyAnswer::Range { kvs, .. }),
    } = first.outcome
    else {
        bail!("the members cannot be read at the start");
    };
    let clients = (0..options.clients).map(|client| tokio::spawn(run_client(shared.clone(), client)));
    let all = (0..cluster.len()).map(|member| tokio::spawn(watch_all(shared.clone(), member, revision + 1)));
    let some = (0..WATCHERS).map(|watcher| tokio::spawn(watch_some(shared.clone(), watcher)));
    let work = Work {
        clients: clients.collect(),
        watchers: all.chain(some).collect(),
        compactor: tokio::spawn(compact_now_and_then(shared.clone())),
        shared,
        stop,
        end,
    };
    Ok((work, State::at(revision, kvs)))
}

/// Stops the clients, reads everything through every member, and lets the watchers come to the end.
async fn finish(work: Work, mut findings: Vec<(String, String)>) -> Result<Record> {
    let shared = work.shared;
    work.stop.send_replace(true);
    let mut history = History::default();
    for client in work.clients {
        let record = client.await?;
        history.calls.extend(record.calls);
        history.past_reads.extend(record.past_reads);
        history.leases.extend(record.leases);
    }
    work.compactor.await?;
    let mut end = 0;
    if findings.is_empty() {
        match look_at_the_end(&shared, &mut history.calls).await {
            Ok((last, differing)) => {
                end = last;
                findings.extend(differing);
            }
            Err(error) => findings.push(("liveness".to_owned(), format!("at the end: {error:#}"))),
        }
    }
    // Where the end cannot be reached the watchers stop where they are.
    work.end
        .send_replace(if findings.is_empty() { end } else { Shared::ABANDONED });
    let mut watches = Vec::new();
    for watcher in work.watchers {
        watches.push(watcher.await?);
    }
    if findings.is_empty() {
        let lagging = watches.iter().filter(|record| !record.reached_end);
        findings.extend(lagging.map(|record| {
            let name = record
                .watches
                .last()
                .map_or("none was created", |watch| watch.name.as_str());
            (
                "liveness".to_owned(),
                format!("a watch did not reach revision {end}: {name}"),
            )
        }));
    }
    Ok(Record {
        initial: State::default(),
        history,
        watches,
        compacted: shared.compacted(),
        rate: 0.0,
        seconds: 0.0,
        terms: 0,
        findings,
    })
}

/// Writes a last key, reads everything through every member, and compares what they have. Gives the last revision.
async fn look_at_the_end(shared: &Shared, calls: &mut Vec<Call>) -> Result<(i64, Vec<(String, String)>)> {
    let last = write_last(shared, 0, LAST_CLIENT).await?;
    let Outcome::Done { revision, .. } = last.outcome else {
        bail!("the last write was not acknowledged");
    };
    calls.push(last);
    for member in 0..shared.members() {
        calls.push(read_all(shared, member, LAST_CLIENT + 1 + member).await?);
    }
    Ok((revision, compare_hashes(shared, revision).await?))
}

/// Every member has the same at the same revision.
async fn compare_hashes(shared: &Shared, revision: i64) -> Result<Vec<(String, String)>> {
    let mut hashes = Vec::new();
    for member in 0..shared.members() {
        hashes.push(state_hash(shared, member, revision).await?);
    }
    let differ = hashes.iter().any(|(hash, compacted)| {
        hashes
            .iter()
            .any(|(other, other_compacted)| compacted == other_compacted && hash != other)
    });
    let told = || {
        (
            "hash".to_owned(),
            format!("at revision {revision} the members' hashes are {hashes:?}"),
        )
    };
    Ok(if differ { vec![told()] } else { Vec::new() })
}

/// Judges what was recorded, and leaves the record in a folder if anything is wrong.
fn judge(fault: Fault, seed: u64, record: Record, folder: &std::path::Path) -> Result<Report> {
    let started = Instant::now();
    let go_on = || started.elapsed() < CHECK_PATIENCE;
    let (events, foreign) = witness(&record.watches);
    let mut calls = record.history.with_expiries();
    let beginning = record.initial.revision;
    let foreign = foreign.into_iter().filter(|revision| *revision > beginning);
    let foreign: Vec<Call> = foreign.map(foreign_call).collect();
    calls.splice(0..0, foreign);
    let evidence = Evidence::of(&calls).with_witness(&events);
    let mut findings = record.findings;
    let (verdict, replay) = match check(&calls, &record.initial, &evidence, &go_on) {
        Verdict::Linearizable { order } => ("linearizable", Some(Replay::of(&calls, &order, &record.initial))),
        Verdict::Broken(broken) => {
            // If the answers alone have an order, then it is a watch that disagrees with them.
            let alone = check(&calls, &record.initial, &Evidence::of(&calls), &go_on);
            let whose = match alone {
                Verdict::Linearizable { .. } => "the answers have an order, but not with what watches told",
                Verdict::Broken(_) => "the answers have no order",
                Verdict::Undecided { .. } => "no order was found",
            };
            let found = format!(
                "{whose}; {} of {} were placed, up to revision {}: {}",
                broken.placed,
                calls.len(),
                broken.revision,
                broken.found
            );
            findings.push(("linearizable".to_owned(), found));
            ("BROKEN", None)
        }
        Verdict::Undecided { placed } => {
            let found = format!(
                "undecided after {} s, {placed} of {} placed",
                CHECK_PATIENCE.as_secs(),
                calls.len()
            );
            findings.push(("linearizable".to_owned(), found));
            ("UNDECIDED", None)
        }
    };
    let watches: Vec<&watch_rules::Watch> = record.watches.iter().flat_map(|record| &record.watches).collect();
    if let Some(mut replay) = replay {
        replay.compacted = record.compacted;
        for watch in &watches {
            let violations = watch_rules::violations(watch, &replay);
            findings.extend(
                violations
                    .into_iter()
                    .map(|(rule, found)| (format!("watch: {rule}"), found)),
            );
        }
        let past = past::check(&record.history.past_reads, &replay);
        findings.extend(past.into_iter().map(|found| ("past reads".to_owned(), found)));
    }
    if !findings.is_empty() {
        write_down(folder, &calls, &watches)?;
    }
    Ok(Report {
        fault,
        seed,
        tally: tally(&record.history.calls),
        rate: record.rate,
        seconds: record.seconds,
        terms: record.terms,
        watches: (watches.len(), watches.iter().map(|watch| watch.events().count()).sum()),
        past_reads: record.history.past_reads.len(),
        revisions: calls
            .iter()
            .filter_map(|call| match call.outcome {
                Outcome::Done { revision, .. } => Some(revision - beginning),
                Outcome::Refused(_) | Outcome::Unknown => None,
            })
            .max()
            .unwrap_or(0),
        verdict,
        check_seconds: started.elapsed().as_secs_f64(),
        findings,
        known: Vec::new(),
        kept: None,
    })
}

/// A revision that somebody else made.
fn foreign_call(revision: i64) -> Call {
    Call {
        client: usize::MAX,
        op: Op::Foreign { revision },
        invoked: 0,
        returned: 0,
        outcome: Outcome::Unknown,
    }
}

fn write_down(folder: &std::path::Path, calls: &[Call], watches: &[&watch_rules::Watch]) -> Result<()> {
    let mut text = String::new();
    for call in calls {
        writeln!(text, "{call:?}")?;
    }
    std::fs::write(folder.join("calls.txt"), &text)?;
    text.clear();
    for watch in watches {
        writeln!(
            text,
            "{} (filters: no put {}, no delete {})",
            watch.name, watch.no_put, watch.no_delete
        )?;
        for message in &watch.messages {
            writeln!(text, "  {message:?}")?;
        }
    }
    std::fs::write(folder.join("watches.txt"), text)?;
    Ok(())
}

impl Report {
    /// The round in one line, and a line for each finding.
    pub fn line(&self, round: usize) -> String {
        let (done, refused, unknown) = self.tally;
        let mut line = format!(
            "round {round}: {:?}, seed {}: {:.0} op/s before, {} answered, {refused} refused, {unknown} unknown in {:.1} s ({:.0} op/s), \
             {} terms, {} revisions, {} watches with {} events, {} past reads: {} in {:.2} s",
            self.fault,
            self.seed,
            self.rate,
            done,
            self.seconds,
            done as f64 / self.seconds.max(0.001),
            self.terms,
            self.revisions,
            self.watches.0,
            self.watches.1,
            self.past_reads,
            self.verdict,
            self.check_seconds,
        );
        let mut issues: Vec<&str> = self.known.iter().map(|(_, _, issue)| *issue).collect();
        issues.sort_unstable();
        issues.dedup();
        for issue in issues {
            let of_issue: Vec<_> = self.known.iter().filter(|(_, _, other)| *other == issue).collect();
            if let Some((rule, found, _)) = of_issue.first() {
                line.push_str(&format!(
                    "\n  known, {issue}: {} findings, the first {rule}: {found}",
                    of_issue.len()
                ));
            }
        }
        for (rule, found) in &self.findings {
            line.push_str(&format!("\n  BROKEN {rule}: {found}"));
        }
        if let Some(kept) = &self.kept {
            line.push_str(&format!("\n  kept in {}", kept.display()));
        }
        line
    }
}
