//! The chaos test, for as long as wanted: `./x chaos --kills 50`.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use trireme_tests::{
    chaos::{ChaosOptions, faults::Fault, run},
    harness::ClusterOptions,
};

/// Breaks the leader again and again while clients write, watch and scale, then checks every promise.
#[derive(Debug, Parser)]
#[command(
    name = "./x chaos",
    after_help = "Examples:\n  ./x chaos --kills 50\n  ./x chaos --mode stop --kills 10"
)]
struct Arguments {
    /// How often the leader is broken.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// How it is broken.
    #[arg(long, value_enum, default_value = "kill")]
    mode: Fault,
    /// Concurrent writers.
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// The program to test.
    #[arg(long, default_value = "target/release/trireme")]
    trireme: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let report = run(&ChaosOptions {
        logged: "",
        cluster: ClusterOptions {
            trireme: arguments.trireme,
            ..ClusterOptions::default()
        },
        faults: arguments.kills,
        fault: arguments.mode,
        writers: arguments.writers,
        leave_broken: false,
        verbose: true,
    })
    .await?;
    let mut gaps = report.write_gaps.clone();
    gaps.sort();
    println!("faults            {}", gaps.len());
    println!("acknowledged      {}", report.acknowledged);
    println!("unknown outcome   {}", report.unknown);
    println!("changes watched   {}", report.watched);
    if let (Some(middle), Some(worst)) = (gaps.get(gaps.len() / 2), gaps.last()) {
        println!(
            "writes again      median {} ms, worst {} ms",
            middle.as_millis(),
            worst.as_millis()
        );
    }
    for violation in &report.violations {
        println!("BROKEN  {}: {}", violation.rule, violation.found);
    }
    match report.kept {
        None => {
            println!("every promise was kept");
            Ok(ExitCode::SUCCESS)
        }
        Some(kept) => {
            println!("the run's data is kept in {}", kept.display());
            Ok(ExitCode::FAILURE)
        }
    }
}
