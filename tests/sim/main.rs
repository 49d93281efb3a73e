//! The simulation, for as long as wanted: `./x sim --seeds 1000`.
//!
//! Each seed runs in a process of its own, so that nothing of another run can change it.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use trireme_tests::sim::{Options, Report, run};

/// Seeds that are run if neither their number nor a time is given.
const SEEDS: u64 = 100;

/// Lets simulated clusters work under faults, and judges what they did. The same seed does the same.
#[derive(Debug, Parser)]
#[command(
    name = "./x sim",
    after_help = "Examples:\n  ./x sim --seeds 1000\n  ./x sim --seconds 3600\n  ./x sim --seed 7 --trace trace.txt"
)]
struct Arguments {
    /// How many seeds are run.
    #[arg(long, conflicts_with = "seed")]
    seeds: Option<u64>,
    /// After how many seconds no other seed is begun.
    #[arg(long, conflicts_with = "seed")]
    seconds: Option<u64>,
    /// The one seed to run.
    #[arg(long)]
    seed: Option<u64>,
    /// The first of the seeds; by default another one each time.
    #[arg(long, conflicts_with = "seed")]
    first: Option<u64>,
    /// How long faults strike in each run, in seconds of simulated time.
    #[arg(long, default_value_t = 15)]
    fault_seconds: u64,
    /// How many seeds are run at the same time; by default one a processor.
    #[arg(long)]
    jobs: Option<usize>,
    /// A bug that all servers have, to see whether it is found.
    #[cfg(feature = "faults")]
    #[arg(long, value_name = "BUG")]
    plant: Option<trireme_store::Planted>,
    /// Where everything that happened in the run is written to.
    #[arg(long, requires = "seed")]
    trace: Option<PathBuf>,
    /// Where what was recorded is written to if something is broken.
    #[arg(long, requires = "seed")]
    evidence: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::builder()
                .with_default_directive(LevelFilter::OFF.into())
                .with_env_var("TRIREME_SIM_LOG")
                .from_env_lossy(),
        )
        .without_time()
        .with_writer(std::io::stderr)
        .init();
    match arguments.seed {
        Some(seed) => one(&arguments, seed),
        None => many(&arguments),
    }
}

fn one(arguments: &Arguments, seed: u64) -> Result<ExitCode> {
    let report = run(&Options {
        seed,
        faults_ms: arguments.fault_seconds * 1_000,
        keep_trace: arguments.trace.is_some(),
        #[cfg(feature = "faults")]
        planted: arguments.plant,
    })?;
    if let (Some(path), Some(text)) = (&arguments.trace, &report.text) {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let (Some(path), Some(text)) = (&arguments.evidence, &report.evidence) {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{}", line(&report));
    for violation in &report.violations {
        println!("  BROKEN {}: {}", violation.invariant, violation.found);
    }
    if report.violations.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("  again: {}", again(arguments, seed));
    Ok(ExitCode::FAILURE)
}

fn again(arguments: &Arguments, seed: u64) -> String {
    let planted: String = planting(arguments).iter().map(|word| format!(" {word}")).collect();
    format!(
        "./x sim --seed {seed} --fault-seconds {}{planted}",
        arguments.fault_seconds
    )
}

/// What asks for the bug.
#[cfg(feature = "faults")]
fn planting(arguments: &Arguments) -> Vec<&'static str> {
    arguments.plant.map_or(Vec::new(), |bug| vec!["--plant", bug.name()])
}

#[cfg(not(feature = "faults"))]
fn planting(_: &Arguments) -> Vec<&'static str> {
    Vec::new()
}

/// The run in one line.
fn line(report: &Report) -> String {
    let (done, refused, unknown) = report.tally;
    let (watches, events) = report.watches;
    let (hash, lines) = report.trace;
    format!(
        "seed {}: {done} answered, {refused} refused, {unknown} unknown, {} revisions, {watches} watches with {events} events, \
         {} requests for objects, {} strikes, {} terms, {:.1} s in {:.2} s, trace {hash:016x} of {lines} lines",
        report.seed,
        report.revision,
        report.objects,
        report.strikes,
        report.term,
        report.simulated_ms as f64 / 1_000.0,
        report.took.as_secs_f64(),
    )
}

fn many(arguments: &Arguments) -> Result<ExitCode> {
    let program = std::env::current_exe().context("the path of this program is not known")?;
    let first = arguments.first.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let seeds = match (arguments.seeds, arguments.seconds) {
        (Some(seeds), _) => seeds,
        (None, Some(_)) => u64::MAX,
        (None, None) => SEEDS,
    };
    let jobs = arguments
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it really took, whatever the simulated clocks say"
    )]
    let began = Instant::now();
    let is_over = || {
        arguments
            .seconds
            .is_some_and(|seconds| began.elapsed() >= Duration::from_secs(seconds))
    };
    let (next, broken, run, lost) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicBool::new(false),
    );
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !is_over() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        return;
                    }
                    let seed = first.wrapping_add(number);
                    match child(&program, arguments, seed) {
                        Ok(output) => {
                            run.fetch_add(1, Ordering::Relaxed);
                            tell(&output);
                            if !output.status.success() {
                                broken.fetch_add(1, Ordering::Relaxed);
                                if output.status.code() != Some(1) {
                                    println!("  BROKEN the process ended with {}", output.status);
                                    println!("  again: {}", again(arguments, seed));
                                }
                            }
                        }
                        Err(error) => {
                            eprintln!("seed {seed} could not be run: {error:#}");
                            lost.store(true, Ordering::Relaxed);
                            return;
                        }
                    }
                }
            });
        }
    });
    let (run, broken) = (run.into_inner(), broken.into_inner());
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!(
        "{run} seeds from {first} on, {broken} broken, {:.1} seeds a minute",
        run as f64 / minutes
    );
    Ok(if broken == 0 && run > 0 && !lost.into_inner() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn child(program: &Path, arguments: &Arguments, seed: u64) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(["--seed", &seed.to_string()]);
    command.args(["--fault-seconds", &arguments.fault_seconds.to_string()]);
    command.args(planting(arguments));
    Ok(command.output()?)
}

fn tell(output: &Output) {
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
}
