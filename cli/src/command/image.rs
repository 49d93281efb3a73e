//! `image pack`: makes a container image of one static program, without any other tool.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use trireme_node_agent::image::pack::{PackRequest, pack_image};

use crate::output::say;

/// Flags of `image`.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Pack a static program into an image archive
    Pack {
        /// The program
        #[arg(long, value_name = "FILE")]
        binary: PathBuf,
        /// The image's name
        #[arg(long)]
        name: String,
        /// The program's path in the image
        #[arg(long, value_name = "PATH")]
        entrypoint: String,
        /// An argument of the program; repeatable
        #[arg(long = "arg", value_name = "TEXT", allow_hyphen_values = true)]
        arguments: Vec<String>,
        /// The archive
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// Runs the verb.
pub(crate) fn run(args: ImageArgs) -> Result<()> {
    let Verb::Pack {
        binary,
        name,
        entrypoint,
        arguments,
        output,
    } = args.verb;
    let request = PackRequest {
        binary: &binary,
        name: &name,
        entrypoint: &entrypoint,
        arguments: &arguments,
    };
    pack_image(request, &output).with_context(|| format!("cannot pack {name}"))?;
    say(format!("{name} packed into {}", output.display()))
}
