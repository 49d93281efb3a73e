//! `shim`: the guardian of one container of the process runtime. Agents start it; people do not.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

/// Arguments of the shim, which are between it and the agent.
#[derive(Debug, Args)]
pub(crate) struct ShimArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes the shim. Nothing of this program's own may have started a thread before.
pub(crate) fn run(args: &ShimArgs) -> Result<()> {
    trireme_node_agent::shim_main(args.arguments.clone())
}
