//! `./x fuzz`: goes on where the tests end.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use trireme_fuzz::targets::{self, Target};
use trireme_fuzz::{Corpus, Found, Runner};

/// Inputs between two looks at the clock.
const ROUND: u64 = 200;

/// Gives a decoder bytes that nobody meant, for as long as you like.
#[derive(Debug, Parser)]
#[command(name = "./x fuzz")]
struct Arguments {
    /// What to fuzz; without it, all targets are listed. `all` takes one after the other
    target: Option<String>,
    /// How long to go on, for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The mutations' seed [default: a new one]
    #[arg(long)]
    seed: Option<u64>,
    /// Only the mutation of this number
    #[arg(long)]
    number: Option<u64>,
    /// Only this file
    #[arg(long)]
    input: Option<PathBuf>,
    /// Write the inputs that real encodings make into the corpus, and end
    #[arg(long)]
    write_seeds: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let chosen: Vec<&'static Target> = match arguments.target.as_deref() {
        None if !arguments.write_seeds => {
            for target in targets::ALL {
                println!("{:16} {}", target.name, target.about);
            }
            return Ok(());
        }
        None | Some("all") => targets::ALL.iter().collect(),
        Some(name) => {
            vec![targets::named(name).with_context(|| format!("no target is called `{name}`: see ./x fuzz"))?]
        }
    };
    let mut broken = 0;
    for target in chosen {
        if arguments.write_seeds {
            println!("{}: {} seeds", target.name, Corpus::write_seeds(target)?);
        } else if let Err(error) = fuzz(target, &arguments) {
            eprintln!("{error:#}");
            broken += 1;
        }
    }
    ensure!(broken == 0, "{broken} targets are broken");
    Ok(())
}

fn fuzz(target: &'static Target, arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.map_or_else(new_seed, Ok)?;
    let runner = Runner::new(target, seed)?;
    if let Some(path) = &arguments.input {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let accepted = runner.one(&bytes, &path.display().to_string())?;
        println!("{}: {}", target.name, if accepted { "accepted" } else { "refused" });
        return Ok(());
    }
    if let Some(number) = arguments.number {
        let accepted = runner.mutation(number)?;
        println!("{}: {}", target.name, if accepted { "accepted" } else { "refused" });
        return Ok(());
    }
    let Found { accepted, refused } = runner.corpus()?;
    println!(
        "{}: seed {seed}; of its corpus {accepted} accepted, {refused} refused",
        target.name
    );
    let begun = now()?;
    let mut all = Found::default();
    let mut next = 0;
    while now()?.saturating_sub(begun) < Duration::from_secs(arguments.seconds) {
        let found = runner.mutations(next..next + ROUND)?;
        all.accepted += found.accepted;
        all.refused += found.refused;
        next += ROUND;
    }
    let Found { accepted, refused } = all;
    println!(
        "{}: {next} mutations, {accepted} accepted, {refused} refused, none broke it",
        target.name
    );
    Ok(())
}

fn now() -> Result<Duration> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970")
}

fn new_seed() -> Result<u64> {
    Ok(u64::from(now()?.subsec_nanos()))
}
