//! `down`: stops a local cluster.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::exit::{Exit, Failure};
use crate::local::down::down;
use crate::local::layout::Layout;
use crate::local::up::DEFAULT_DATA_DIR;

/// Flags of `down`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme down
  trireme down --data-dir /tmp/one --wipe")]
pub(crate) struct DownArgs {
    /// Where the cluster keeps everything
    #[arg(long, default_value = DEFAULT_DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,
    /// Also delete the cluster's data
    #[arg(long)]
    wipe: bool,
}

/// Runs the verb.
pub(crate) async fn run(args: DownArgs) -> Result<()> {
    let layout = Layout::new(&args.data_dir)?;
    if !layout.plan().exists() {
        let message = format!("there is no local cluster in {}", layout.root().display());
        return Err(Failure::new(Exit::NotFound, message)
            .help("pass the --data-dir that `trireme up` was given")
            .into());
    }
    let _lock = layout.lock()?;
    down(&layout, args.wipe).await
}
