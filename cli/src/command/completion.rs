//! `completion`: a script that teaches a shell to complete this program's verbs and flags.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::output::print;

/// Flags of `completion`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(trireme completion bash)
  trireme completion zsh > ~/.zfunc/_trireme
  trireme completion fish > ~/.config/fish/completions/trireme.fish")]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the verb.
pub(crate) fn run(args: &CompletionArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "trireme", &mut script);
    print(&String::from_utf8_lossy(&script))
}
