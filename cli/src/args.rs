//! The command line's frame: global flags and the list of verbs.

use clap::{Parser, Subcommand};

use crate::command;
use crate::exit::EXIT_CODES;
use crate::logging::LogArgs;
use crate::session::ConnectArgs;

/// Trireme: a Kubernetes-compatible, highly available cluster in one program
#[derive(Debug, Parser)]
#[command(name = "trireme", version, propagate_version = true, after_help = exit_codes(), max_term_width = 110)]
pub(crate) struct Cli {
    /// How to reach the cluster.
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// The program's own log.
    #[command(flatten)]
    pub(crate) logging: LogArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn exit_codes() -> String {
    let lines = EXIT_CODES
        .iter()
        .map(|(exit, meaning)| format!("  {:>2}  {meaning}\n", *exit as u8));
    format!("Exit codes:\n   0  success\n{}", lines.collect::<String>())
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a whole local cluster, or go on with it
    Up(command::up::UpArgs),
    /// Stop a local cluster
    Down(command::down::DownArgs),
    /// Run a server
    Server(Box<command::server::ServerArgs>),
    /// Run a node agent
    Agent(Box<command::agent::AgentArgs>),
    /// Show objects
    Get(command::get::GetArgs),
    /// Show objects in detail, with their events
    Describe(command::describe::DescribeArgs),
    /// Bring objects to the state that manifests describe
    Apply(command::apply::ApplyArgs),
    /// Create objects
    Create(command::create::CreateArgs),
    /// Delete objects
    Delete(command::delete::DeleteArgs),
    /// Change an object in an editor
    Edit(command::edit::EditArgs),
    /// Change the number of replicas
    Scale(command::scale::ScaleArgs),
    /// Watch and steer the rollout of a deployment
    Rollout(command::rollout::RolloutArgs),
    /// Show the log of a container
    Logs(command::logs::LogsArgs),
    /// Wait for a condition of objects
    Wait(command::wait::WaitArgs),
    /// Keep new pods off a node
    Cordon(command::cordon::CordonArgs),
    /// Let new pods onto a node again
    Uncordon(command::cordon::CordonArgs),
    /// Empty a node of its pods
    Drain(command::drain::DrainArgs),
    /// Change the taints of nodes
    Taint(command::taint::TaintArgs),
    /// Change the labels of objects
    Label(command::label::LabelArgs),
    /// Change the annotations of objects
    Annotate(command::label::LabelArgs),
    /// Show events
    Events(command::events::EventsArgs),
    /// Explain the fields of a kind
    Explain(command::explain::ExplainArgs),
    /// List the kinds of objects
    ApiResources(command::api_resources::ApiResourcesArgs),
    /// Show and change the cluster's servers
    Cluster(command::cluster::ClusterArgs),
    /// Make, list and revoke join tokens
    Token(command::token::TokenArgs),
    /// Show the versions of this program and of the servers
    Version(command::version::VersionArgs),
    /// Write a completion script for a shell
    Completion(command::completion::CompletionArgs),
    /// Build container images of static programs
    #[command(hide = true)]
    Image(command::image::ImageArgs),
    /// Run as a container's guardian; started by agents only
    #[command(hide = true)]
    Shim(command::shim::ShimArgs),
}

impl Command {
    /// Whether this is a program that runs for long and has a log of its own.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Agent(_) | Self::Shim(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_help_with_examples() {
        for verb in Cli::command().get_subcommands().filter(|v| !v.is_hide_set()) {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains("Examples:"), "{} has no examples", verb.get_name());
        }
    }
}
