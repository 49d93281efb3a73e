//! `./x bench basics`: measures, prints, and writes docs/BENCHMARKS.md.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use trireme_tests::bench::{basics, machine, report};

/// Measures Trireme on this machine.
#[derive(Debug, Parser)]
#[command(name = "./x bench")]
struct Arguments {
    /// The program to measure.
    #[arg(long, global = true, default_value = "target/release/trireme")]
    trireme: PathBuf,
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// Starting, failing over, memory at rest, the rate of durable creates.
    Basics {
        /// How often the leader is killed.
        #[arg(long, default_value_t = 20)]
        kills: usize,
        /// How many pods are created.
        #[arg(long, default_value_t = 10_000)]
        pods: usize,
        /// Also write the figures to this file.
        #[arg(long)]
        write: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let Suite::Basics { kills, pods, write } = arguments.suite;
    let options = basics::BasicsOptions {
        kills,
        pods,
        ..basics::BasicsOptions::full(arguments.trireme)
    };
    let figures = basics::run(&options).await?;
    let text = format!("{}\n\n{}", machine::describe(), report::markdown(&figures));
    println!("{text}");
    if let Some(path) = write {
        let page = format!("# Benchmarks\n\nBy `./x bench basics`, on {text}");
        std::fs::write(path, page)?;
    }
    Ok(())
}
