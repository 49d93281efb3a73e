//! The proof, for as long as wanted: `./x linear --rounds 18 --peer trireme`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use trireme_tests::{
    harness::etcd::{EtcdOptions, Peer},
    linear::{RunOptions, faults::Fault, regressions::Regression, run},
};

/// Breaks three members in every way while clients and watchers work, and judges what these saw.
#[derive(Debug, Parser)]
#[command(
    name = "./x linear",
    after_help = "Examples:\n  ./x linear --rounds 18\n  ./x linear --peer etcd --fault partition --rounds 5\n  ./x linear --seconds 3600"
)]
struct Arguments {
    /// How many rounds; by default one of each fault.
    #[arg(long)]
    rounds: Option<usize>,
    /// After how many seconds no other round begins.
    #[arg(long)]
    seconds: Option<u64>,
    /// What all choices are made from; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Whose members.
    #[arg(long, value_enum, default_value = "trireme")]
    peer: Peer,
    /// What is done to them, one a round; by default all, one after the other.
    #[arg(long, value_enum, value_delimiter = ',')]
    fault: Vec<Fault>,
    /// How often a round's fault strikes.
    #[arg(long, default_value_t = 2)]
    strikes: usize,
    /// How long it lasts each time, in milliseconds.
    #[arg(long, default_value_t = 3_000)]
    hold_ms: u64,
    /// Concurrent clients.
    #[arg(long, default_value_t = 12)]
    clients: usize,
    /// Trireme's program.
    #[arg(long, default_value = "target/release/trireme")]
    trireme: PathBuf,
    /// etcd's program.
    #[arg(long, default_value = "etcd")]
    etcd: PathBuf,
    /// A folder on the disk that is to be used.
    #[arg(long)]
    parent: Option<PathBuf>,
    /// Only repeat what once broke etcd.
    #[arg(long)]
    regressions: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let faults = if arguments.fault.is_empty() {
        Fault::ALL.to_vec()
    } else {
        arguments.fault
    };
    let rounds = match (arguments.rounds, arguments.seconds) {
        (None, None) => Some(faults.len()),
        (rounds, _) => rounds,
    };
    let members = EtcdOptions {
        trireme: std::path::absolute(arguments.trireme)?,
        etcd: arguments.etcd,
        parent: arguments.parent,
        ..EtcdOptions::new(arguments.peer)
    };
    if arguments.regressions {
        return tokio::select! {
            code = repeat(&members) => code,
            () = told_to_end() => Ok(ExitCode::FAILURE),
        };
    }
    let options = RunOptions {
        members,
        faults,
        rounds,
        duration: arguments.seconds.map(Duration::from_secs),
        seed: arguments.seed.unwrap_or_else(rand::random),
        clients: arguments.clients,
        strikes: arguments.strikes,
        hold: Duration::from_millis(arguments.hold_ms),
        verbose: true,
    };
    // Ended by a signal, the run still ends its members.
    let reports = tokio::select! {
        reports = run(&options) => reports?,
        () = told_to_end() => return Ok(ExitCode::FAILURE),
    };
    let broken: Vec<_> = reports.iter().filter(|report| !report.findings.is_empty()).collect();
    let answered: usize = reports.iter().map(|report| report.tally.0).sum();
    println!("{} rounds, {answered} answers, {} broken", reports.len(), broken.len());
    let peer = if options.members.peer == Peer::Etcd {
        "etcd"
    } else {
        "trireme"
    };
    for report in &broken {
        let fault = clap::ValueEnum::to_possible_value(&report.fault);
        let fault = fault.as_ref().map_or("none", |value| value.get_name()).to_owned();
        println!(
            "again: ./x linear --peer {peer} --rounds 1 --fault {fault} --seed {}",
            report.seed
        );
    }
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Repeats what once broke etcd.
async fn repeat(members: &EtcdOptions) -> anyhow::Result<ExitCode> {
    let mut sound = true;
    for regression in Regression::ALL {
        let issue = regression.issue();
        match regression.run(members).await {
            Ok(()) => println!("ok      {regression:?} (etcd-io/etcd#{issue})"),
            Err(error) => {
                println!("BROKEN  {regression:?} (etcd-io/etcd#{issue}): {error:#}");
                sound = false;
            }
        }
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for SIGTERM or SIGINT.
async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
