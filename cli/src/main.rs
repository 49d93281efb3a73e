//! `trireme`: the whole of Trireme as one program. It runs servers (`server`), node agents (`agent`) and whole local
//! clusters (`up`, `down`), and is the command line for people and scripts.
//!
//! This file only reads the command line, starts the runtime, and turns the end into an exit code.

mod apply;
mod args;
mod command;
mod duration;
mod exit;
mod follow;
mod input;
mod limits;
mod local;
mod logging;
mod object;
mod output;
mod resolve;
mod resources;
mod rollout;
mod session;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::Failure;

/// A fifth of a busy server's time went into the system's allocator; RocksDB's C++ uses this one, too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let verbose = cli.logging.init(&cli.command);
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if verbose {
                eprintln!("{error:?}");
            }
            let failure = Failure::of(&error);
            eprintln!("error: {}", failure.message);
            if !failure.help.is_empty() {
                eprintln!("help: {}", failure.help);
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}
