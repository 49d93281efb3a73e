//! `version`: the versions of this program and of the servers.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::output::{Format, OutputArgs, print, say};
use crate::session::{ConnectArgs, Session};

/// Flags of `version`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme version
  trireme version --client -o json")]
pub(crate) struct VersionArgs {
    /// Only this program's; asks no server
    #[arg(long)]
    client: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the verb. That no server answers is told, but is no failure: the question is answered as far as it can be.
pub(crate) async fn run(args: VersionArgs, connect: &ConnectArgs) -> Result<()> {
    let client = env!("CARGO_PKG_VERSION");
    let server = if args.client { None } else { Some(ask(connect).await) };
    if args.output.format() == Format::Json {
        let server = server.and_then(Result::ok);
        return print(&format!("{:#}\n", json!({"client": client, "server": server})));
    }
    say(format!("Client version: {client}"))?;
    match server {
        None => Ok(()),
        Some(Ok(version)) => say(format!("Server version: {version}")),
        Some(Err(error)) => {
            eprintln!("No server answers: {error:#}");
            Ok(())
        }
    }
}

async fn ask(connect: &ConnectArgs) -> Result<String> {
    Ok(Session::open(connect)?.client.discover().await?.server_version)
}
