//! One run, top to bottom: rounds, each on members of its own, each with one kind of fault.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::{
    driver::Target,
    faults::{Fault, Surroundings},
    judge::Record,
    known,
    load::tally,
    work::Work,
};
use crate::harness::{
    etcd::{EtcdCluster, EtcdOptions, Peer},
    wait_until,
};

/// How long the clients work before anything is broken.
const WARM_UP: Duration = Duration::from_secs(2);
/// Answers a second that the warm-up must reach: a run with less tests nothing.
const RATE_MIN: f64 = 100.0;
/// Answers that must come after each mending: the run goes on.
const ANSWERS_BETWEEN_STRIKES: u64 = 300;
/// How long anything may take that should take seconds.
const PATIENCE: Duration = Duration::from_secs(90);

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

/// What a round was like beside what was recorded.
struct Course {
    rate: f64,
    seconds: f64,
    terms: u64,
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
    let (record, course) = match worked {
        Ok(worked) => worked,
        Err(error) => {
            let logs = cluster.logs_tail();
            return Err(error.context(format!("kept in {}\n{logs}", cluster.keep().display())));
        }
    };
    let version = cluster
        .status(0)
        .await
        .map_or_else(|_| String::new(), |status| status.version);
    let mut report = report(fault, seed, &record, &course, cluster.directory())?;
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
) -> Result<(Record, Course)> {
    let mut random = StdRng::seed_from_u64(seed);
    let work = Work::begin(targets(cluster), seed, 0..options.clients).await?;
    let shared = work.shared().clone();
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
    let record = work.finish(findings).await?;
    let course = Course { rate, seconds, terms };
    Ok((record, course))
}

/// Where the members' API is reached.
pub fn targets(cluster: &EtcdCluster) -> Vec<Target> {
    let target = |member: usize| Target {
        url: cluster.endpoint(member),
        namespace: cluster.namespace(member).map(str::to_owned),
    };
    (0..cluster.len()).map(target).collect()
}

/// Judges what was recorded, and leaves the record in a folder if anything is wrong.
fn report(fault: Fault, seed: u64, record: &Record, course: &Course, folder: &std::path::Path) -> Result<Report> {
    let judgement = record.judge();
    if !judgement.findings.is_empty() {
        record.write_down(&judgement.calls, folder)?;
    }
    let events = record.watches().map(|watch| watch.events().count());
    Ok(Report {
        fault,
        seed,
        tally: tally(&record.history.calls),
        rate: course.rate,
        seconds: course.seconds,
        terms: course.terms,
        watches: (record.watches().count(), events.sum()),
        past_reads: record.history.past_reads.len(),
        revisions: judgement.revisions(record.initial.revision),
        verdict: judgement.verdict,
        check_seconds: judgement.seconds,
        findings: judgement.findings,
        known: Vec::new(),
        kept: None,
    })
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
