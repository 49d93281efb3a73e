//! The small static program that the demonstration and the tests run in pods.
//!
//! It has no dependencies beyond the standard library, so that its image is one file. Its modes are
//! chosen by the first argument; without one it serves HTTP. It is not part of the product: nothing
//! in Trireme links it.

mod serve;
mod signals;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str =
    "usage: hello [serve | pause | exit CODE | sleep SECONDS | crash | log LINES | env | cat FILE | exists FILE]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let program = arguments.first().map_or("", String::as_str);
    let rest: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    // The pause image runs the same file under another name.
    if rest.is_empty() && program.ends_with("pause") {
        return pause();
    }
    match rest.as_slice() {
        [] | ["serve"] => serve::serve(),
        ["pause"] => pause(),
        ["exit", code] => exit(code),
        ["sleep", seconds] => sleep(seconds),
        ["crash"] => std::process::abort(),
        ["log", count] => log(count),
        ["env"] => print_environment(),
        ["cat", path] => print_file(path),
        ["exists", path] => ExitCode::from(u8::from(!std::path::Path::new(path).exists())),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Holds a pod's namespaces open: sleeps until SIGTERM or SIGINT and reaps orphans, since it is the
/// first process of its PID namespace.
fn pause() -> ExitCode {
    signals::reap_until_terminated();
    ExitCode::SUCCESS
}

fn exit(code: &str) -> ExitCode {
    code.parse::<u8>().map_or_else(|_| usage(), ExitCode::from)
}

/// Sleeps, and ends early and cleanly on SIGTERM.
#[expect(
    clippy::disallowed_methods,
    reason = "this program has one thread and no async runtime"
)]
fn sleep(seconds: &str) -> ExitCode {
    let Ok(seconds) = seconds.parse::<u64>() else {
        return usage();
    };
    signals::exit_on_termination("hello: terminated while asleep\n");
    println!("hello: sleeping for {seconds} s");
    std::thread::sleep(Duration::from_secs(seconds));
    ExitCode::SUCCESS
}

/// Writes numbered lines to standard output, each tenth to standard error.
fn log(count: &str) -> ExitCode {
    let Ok(count) = count.parse::<u64>() else {
        return usage();
    };
    let mut stdout = std::io::stdout().lock();
    for number in 1..=count {
        if number % 10 == 0 {
            eprintln!("line {number}");
        } else if writeln!(stdout, "line {number}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn print_environment() -> ExitCode {
    let mut variables: Vec<(String, String)> = std::env::vars().collect();
    variables.sort();
    for (name, value) in variables {
        println!("{name}={value}");
    }
    ExitCode::SUCCESS
}

fn print_file(path: &str) -> ExitCode {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot read {path}: {error}");
            ExitCode::FAILURE
        }
    }
}
