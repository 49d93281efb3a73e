//! Where the program's own log goes: standard error, filtered, as text or JSON.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::args::Command;

/// Flags of the log.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct LogArgs {
    /// What to log: a level, or a list such as `info,trireme_store=debug`
    #[arg(
        long,
        global = true,
        env = "TRIREME_LOG",
        value_name = "FILTER",
        help_heading = "Global options"
    )]
    pub(crate) log: Option<String>,
    /// Form of the log
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Global options"
    )]
    pub(crate) log_format: LogFormat,
    /// Log more, and show the causes of a failure
    #[arg(short = 'v', long, global = true, help_heading = "Global options")]
    pub(crate) verbose: bool,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogArgs {
    /// Sets the log up for the rest of the program. Returns whether the user asked for more.
    pub(crate) fn init(&self, command: &Command) -> bool {
        // A server tells what it does; a verb only what goes wrong.
        let usual = match (command.is_daemon(), self.verbose) {
            // Consensus tells the same at its own length; what matters of it, the store says.
            (true, false) => "info,openraft=error",
            (true, true) => "debug,h2=info,hyper=info,openraft=info,tower=info",
            (false, false) => "error",
            (false, true) => "debug,h2=info,hyper=info,openraft=info,tower=info",
        };
        let filter = EnvFilter::new(self.log.as_deref().unwrap_or(usual));
        let ansi = std::io::stderr().is_terminal();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(ansi);
        // A second call in one process (tests) keeps the first one's log.
        let _ = match self.log_format {
            LogFormat::Text => builder.try_init(),
            LogFormat::Json => builder.json().try_init(),
        };
        self.verbose
    }
}
