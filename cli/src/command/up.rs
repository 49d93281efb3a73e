//! `up`: starts a whole local cluster, or goes on with one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::command::agent::RuntimeKind;
use crate::input::manifest::{self, FileArgs};
use crate::local::down::down;
use crate::local::layout::Layout;
use crate::local::plan::Wish;
use crate::local::up::{DEFAULT_DATA_DIR, Up};
use crate::output::{print, warn};

/// How often the processes are looked after in the foreground.
const LOOK_AFTER: Duration = Duration::from_millis(250);

/// Flags of `up`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme up
  trireme up --detach -f examples/hello.yaml
  trireme up --servers 1 --agents 1 --data-dir /tmp/one --base-port 7443

Every server and agent is a process of its own. Run again, it starts what does not run, with the data that is there.")]
pub(crate) struct UpArgs {
    /// How many servers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    servers: u16,
    /// How many node agents
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=100))]
    agents: u16,
    /// Where the cluster keeps everything
    #[arg(long, default_value = DEFAULT_DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,
    /// Leave the cluster running and return
    #[arg(short = 'd', long)]
    detach: bool,
    /// Which runtime runs the pods
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    runtime: RuntimeKind,
    /// First of the servers' ports, two a server
    #[arg(long, default_value_t = 6443, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
    /// Serve etcd's API, too: without TLS on 127.0.0.1, one port a server from PORT+18 on
    #[arg(long)]
    etcd: bool,
    /// Folder with image archives (*.tar) that the nodes import
    #[arg(long, value_name = "DIR")]
    image_dir: Option<PathBuf>,
    #[command(flatten)]
    files: FileArgs,
}

/// Runs the verb.
pub(crate) async fn run(args: UpArgs) -> Result<()> {
    // A manifest that cannot be read is told before anything is started.
    let documents = manifest::read(&args.files)?;
    let image_dir = args
        .image_dir
        .map(std::path::absolute)
        .transpose()
        .context("--image-dir is no usable path")?;
    let layout = Layout::new(&args.data_dir)?;
    layout.create()?;
    let lock = layout.lock()?;
    let wish = Wish {
        servers: args.servers,
        agents: args.agents,
        base_port: args.base_port,
        runtime: args.runtime,
        image_dir,
        etcd: args.etcd,
    };
    let mut up = Up::prepare(layout, &wish)?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let brought_up = tokio::select! {
        result = async {
            up.start().await?;
            up.apply(&documents).await
        } => Some(result),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    match brought_up {
        None => {
            warn("interrupted: stopping what was started");
            return down(&up.layout, false).await;
        }
        Some(Err(error)) => {
            if !args.detach {
                // In the foreground nothing is left behind; what runs can be looked at after `--detach`.
                down(&up.layout, false).await?;
            }
            return Err(error);
        }
        Some(Ok(())) => {}
    }
    print(&up.summary())?;
    if args.detach {
        return Ok(());
    }
    // From here on `down` may be run elsewhere.
    drop(lock);
    eprintln!("Ctrl-C stops the cluster and keeps its data.");
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = tokio::time::sleep(LOOK_AFTER) => {
                while let Some((name, status)) = up.ended() {
                    warn(format!("{name} ended with {status}; `trireme up` starts it again, its log is {}", up.layout.log(&name).display()));
                }
            }
        }
    }
    let _lock = up.layout.lock()?;
    down(&up.layout, false).await
}
