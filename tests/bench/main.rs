//! `./x bench basics`, `./x bench api` and `./x bench store`: measures, prints, and writes docs/BENCHMARKS.md.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use trireme_tests::{
    bench::{
        api::{self, ApiOptions},
        basics, machine, report,
        store::{self, Group, Sizes, StoreOptions, ledger, table},
    },
    harness::etcd::Peer,
};

/// The heading in docs/BENCHMARKS.md under which the figures of the API are.
const API_HEADING: &str = "## The API of a large cluster";
/// The heading in docs/BENCHMARKS.md under which the store's figures are.
const STORE_HEADING: &str = "## The store beside etcd";

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
    /// Creates, lists, watches and memory with 5,000 nodes and 150,000 pods.
    Api {
        /// Less of everything: a minute or two.
        #[arg(long)]
        quick: bool,
        /// How many pods there are.
        #[arg(long)]
        pods: Option<usize>,
        /// Also write the figures to this page, in place of those that it holds.
        #[arg(long)]
        write: Option<PathBuf>,
    },
    /// Debian's etcd and Trireme's store in turn, by etcd's API.
    Store(StoreArguments),
}

#[derive(Debug, clap::Args)]
struct StoreArguments {
    /// Rounds of what is repeated.
    #[arg(long)]
    rounds: Option<usize>,
    /// Less of everything: a few minutes.
    #[arg(long)]
    quick: bool,
    /// Only these groups of figures.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Group>,
    /// Only these servers.
    #[arg(long, value_delimiter = ',')]
    peer: Vec<Peer>,
    /// How often Trireme's leader is killed.
    #[arg(long)]
    kills: Option<usize>,
    /// Also say what each process used of the processor in each phase.
    #[arg(long)]
    profile: bool,
    /// etcd's program.
    #[arg(long, default_value = "etcd")]
    etcd: PathBuf,
    /// The folder in which the data is: decides which disk it is.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Also write the figures to this page, in place of those that it holds.
    #[arg(long)]
    write: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.suite {
        Suite::Basics { kills, pods, write } => {
            let options = basics::BasicsOptions {
                kills,
                pods,
                ..basics::BasicsOptions::full(arguments.trireme)
            };
            run_basics(&options, write.as_deref()).await
        }
        Suite::Api { quick, pods, write } => {
            let mut options = if quick {
                ApiOptions::quick(arguments.trireme)
            } else {
                ApiOptions::full(arguments.trireme)
            };
            options.pods = pods.unwrap_or(options.pods);
            run_api(&options, write.as_deref()).await
        }
        Suite::Store(store) => run_store(arguments.trireme, store).await,
    }
}

async fn run_basics(options: &basics::BasicsOptions, write: Option<&Path>) -> Result<()> {
    let figures = basics::run(options).await?;
    let text = format!("{}\n\n{}", machine::describe(), report::markdown(&figures));
    println!("{text}");
    if let Some(path) = write {
        let page = format!("# Benchmarks\n\nBy `./x bench basics`, on {text}");
        std::fs::write(path, page)?;
    }
    Ok(())
}

async fn run_api(options: &ApiOptions, write: Option<&Path>) -> Result<()> {
    let figures = api::run(options).await?;
    let text = format!(
        "By `./x bench api`: three servers on one disk, every write synced, the load made by a process on the same machine. In \
         brackets: a stock kube-apiserver 1.36 with one etcd on a like machine. On {}.\n\n{}",
        machine::describe(),
        report::markdown(&figures)
    );
    println!("{text}");
    if let Some(path) = write {
        let page = std::fs::read_to_string(path).unwrap_or_else(|_| "# Benchmarks\n".to_owned());
        std::fs::write(path, with_section(&page, API_HEADING, &text))?;
    }
    Ok(())
}

async fn run_store(trireme: PathBuf, arguments: StoreArguments) -> Result<()> {
    let mut sizes = if arguments.quick { Sizes::quick() } else { Sizes::full() };
    sizes.rounds = arguments.rounds.unwrap_or(sizes.rounds);
    sizes.kills = arguments.kills.unwrap_or(sizes.kills);
    let options = StoreOptions {
        trireme,
        parent: arguments.dir.map_or_else(store::default_parent, Ok)?,
        peers: all_unless_named(arguments.peer),
        groups: all_unless_named(arguments.only),
        sizes,
        etcd: arguments.etcd,
    };
    let version = etcd_version(&options.etcd)?;
    let report = store::run(&options).await;
    let rows = table::rows(&report.samples, &options.sizes);
    let conditions = conditions(&options.sizes, &version);
    println!("{conditions}\n\n{}", table::aligned(&rows));
    if arguments.profile {
        println!("{}", ledger::table(&report.phases));
    }
    let mut markdown = format!("{conditions}\n\n{}", table::markdown(&rows));
    if !report.notes.is_empty() {
        let notes: Vec<String> = report.notes.iter().map(|note| format!("- {note}")).collect();
        println!("{}\n", notes.join("\n"));
        markdown.push_str(&format!("\n{}\n", notes.join("\n")));
    }
    println!("{markdown}");
    if let Some(path) = &arguments.write {
        let page = std::fs::read_to_string(path).unwrap_or_else(|_| "# Benchmarks\n".to_owned());
        std::fs::write(path, with_section(&page, STORE_HEADING, &markdown))?;
    }
    ensure!(
        report.failures.is_empty(),
        "not measured:\n{}",
        report.failures.join("\n")
    );
    Ok(())
}

fn all_unless_named<T: clap::ValueEnum>(named: Vec<T>) -> Vec<T> {
    if named.is_empty() {
        T::value_variants().to_vec()
    } else {
        named
    }
}

/// Under which conditions the figures hold.
fn conditions(sizes: &Sizes, etcd_version: &str) -> String {
    format!(
        "By `./x bench store`, {} rounds, {etcd_version} beside Trireme, three servers each, in turn on the same disk with \
         every write synced; the load is made by a process on the same machine. Rates and latencies are the median of the \
         rounds with the least and the greatest. On {}.",
        sizes.rounds,
        machine::describe()
    )
}

fn etcd_version(program: &Path) -> Result<String> {
    let output = std::process::Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("{} is not installed (Debian: etcd-server)", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.lines().next().unwrap_or_default();
    Ok(version.replace("etcd Version:", "etcd"))
}

/// A page with the section under a heading replaced, or added at the end.
fn with_section(page: &str, heading: &str, content: &str) -> String {
    let section = format!("{heading}\n\n{}\n", content.trim_end());
    let Some(start) = page.find(heading) else {
        return format!("{}\n\n{section}", page.trim_end());
    };
    let after = start + heading.len();
    let end = page[after..].find("\n## ").map_or(page.len(), |at| after + at + 1);
    let rest = &page[end..];
    let gap = if rest.is_empty() { "" } else { "\n" };
    format!("{}{section}{gap}{rest}", &page[..start])
}
