//! The verbs, one a file.

pub(crate) mod agent;
pub(crate) mod api_resources;
pub(crate) mod apply;
pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod cordon;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod down;
pub(crate) mod drain;
pub(crate) mod edit;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod image;
pub(crate) mod label;
pub(crate) mod logs;
pub(crate) mod rollout;
pub(crate) mod scale;
pub(crate) mod server;
pub(crate) mod shim;
pub(crate) mod taint;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod version;
pub(crate) mod wait;

use anyhow::{Context, Result};

use crate::args::{Cli, Command};
use crate::session::{ConnectArgs, Session};

/// Runs one verb. Long-running programs get a runtime for many threads; a verb needs one.
pub(crate) fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Shim(args) => return shim::run(&args),
        Command::Server(args) => return server::run(*args),
        Command::Agent(args) => return agent::run(*args),
        Command::Completion(args) => return completion::run(&args),
        Command::Image(args) => return image::run(args),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(verb(cli))
}

async fn verb(cli: Cli) -> Result<()> {
    // These need no cluster, or make their own way to it.
    let command = match cli.command {
        Command::Cluster(args) => match args.run_offline().await? {
            Some(args) => Command::Cluster(args),
            None => return Ok(()),
        },
        other => other,
    };
    match command {
        Command::Up(args) => up::run(args).await,
        Command::Down(args) => down::run(args).await,
        Command::Version(args) => return version::run(args, &cli.connect).await,
        command => with_cluster(command, &cli.connect).await,
    }
}

async fn with_cluster(command: Command, connect: &ConnectArgs) -> Result<()> {
    let session = Session::open(connect)?;
    match command {
        Command::Get(args) => get::run(args, &session).await,
        Command::Describe(args) => describe::run(args, &session).await,
        Command::Apply(args) => apply::run(args, &session).await,
        Command::Create(args) => create::run(args, &session).await,
        Command::Delete(args) => delete::run(args, &session).await,
        Command::Edit(args) => edit::run(args, &session).await,
        Command::Scale(args) => scale::run(args, &session).await,
        Command::Rollout(args) => rollout::run(args, &session).await,
        Command::Logs(args) => logs::run(args, &session).await,
        Command::Wait(args) => wait::run(args, &session).await,
        Command::Cordon(args) => cordon::run(args, true, &session).await,
        Command::Uncordon(args) => cordon::run(args, false, &session).await,
        Command::Drain(args) => drain::run(args, &session).await,
        Command::Taint(args) => taint::run(args, &session).await,
        Command::Label(args) => label::run(args, "labels", &session).await,
        Command::Annotate(args) => label::run(args, "annotations", &session).await,
        Command::Events(args) => events::run(args, &session).await,
        Command::Explain(args) => explain::run(args, &session).await,
        Command::ApiResources(args) => api_resources::run(args, &session).await,
        Command::Cluster(args) => cluster::run(args, &session).await,
        Command::Token(args) => token::run(args, &session).await,
        Command::Up(_) | Command::Down(_) | Command::Version(_) => unreachable!("handled above"),
        Command::Server(_) | Command::Agent(_) | Command::Completion(_) | Command::Image(_) | Command::Shim(_) => {
            unreachable!("handled before the runtime was started")
        }
    }
}
