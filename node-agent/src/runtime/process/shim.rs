//! The shim: one small process between the agent and each container's command, so that the command
//! outlives the agent.
//!
//! It leads a session of its own, captures the command's output, and writes the exit code down. It
//! takes no orders: whoever wants the command to end signals the command's process group.

use super::liveness::ProcessIdentity;
use super::log_writer::{LogWriter, Stream, copy_stream};
use super::records::{
    CONTAINER_FILE, ContainerRecord, EXIT_FILE, ExitRecord, LOCK_FILE, RUNNING_FILE, RunningRecord, read, write,
};
use crate::limits;
use crate::time::wall_now;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Exit code of a command that could not be started, as containerd reports it.
const START_FAILED_CODE: i32 = 128;
/// How long output that a command's descendants left behind is waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// The shim's own exit code when it could not do its work.
const SHIM_FAILED_CODE: i32 = 70;

/// Runs the shim; `arguments` is the container's directory. The program that embeds the agent calls
/// this, before it starts any runtime or thread, when its first argument is `shim`.
pub fn shim_main(arguments: impl IntoIterator<Item = OsString>) -> ! {
    let code = match arguments.into_iter().next() {
        Some(directory) => run(&PathBuf::from(directory)),
        None => SHIM_FAILED_CODE,
    };
    std::process::exit(code)
}

fn run(directory: &Path) -> i32 {
    // The agent's terminal, session and working directory are not the container's.
    let _ = nix::unistd::setsid();
    let _ = std::env::set_current_dir("/");
    let Ok(lock) = File::create(directory.join(LOCK_FILE)) else {
        return SHIM_FAILED_CODE;
    };
    let Ok(_lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else {
        return SHIM_FAILED_CODE;
    };
    // Whoever held the lock before us has already run this container: it runs once.
    let already_ran = directory.join(RUNNING_FILE).exists() || directory.join(EXIT_FILE).exists();
    let Ok(Some(record)) = read::<ContainerRecord>(directory, CONTAINER_FILE) else {
        return SHIM_FAILED_CODE;
    };
    if already_ran {
        return SHIM_FAILED_CODE;
    }
    let exit =
        supervise(directory, &record).unwrap_or_else(|message| exit_record(START_FAILED_CODE, "StartError", message));
    if write(directory, EXIT_FILE, &exit).is_ok() {
        0
    } else {
        SHIM_FAILED_CODE
    }
}

fn exit_record(exit_code: i32, reason: &str, message: String) -> ExitRecord {
    ExitRecord {
        exit_code,
        finished_at: wall_now(),
        reason: reason.to_owned(),
        message,
    }
}

fn supervise(directory: &Path, record: &ContainerRecord) -> Result<ExitRecord, String> {
    let writer = LogWriter::open(&record.log, limits::LOG_FILE_MAX_BYTES)
        .map_err(|error| format!("cannot open the log file: {error}"))?;
    let mut child = spawn(record)?;
    let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    let drained = capture_output(&mut child, writer);
    // The child is not reaped yet, so its entry in /proc exists even if it has ended already.
    let recorded = ProcessIdentity::of(pid).zip(own_identity()).map(|(process, shim)| {
        let running = RunningRecord {
            process,
            shim,
            started_at: wall_now(),
        };
        write(directory, RUNNING_FILE, &running)
    });
    if !matches!(recorded, Some(Ok(()))) {
        // A command that nobody could find again must not go on.
        let _ = child.kill();
        let _ = child.wait();
        return Err("cannot record the started process".to_owned());
    }
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for the process: {error}"))?;
    // As with a container's first process: when it ends, the rest of its group ends.
    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    for _ in 0..2 {
        let _ = drained.recv_timeout(DRAIN_TIMEOUT);
    }
    Ok(describe_exit(status))
}

fn spawn(record: &ContainerRecord) -> Result<Child, String> {
    let mut command = Command::new(&record.program);
    command
        .args(&record.arguments)
        .env_clear()
        .envs(record.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&record.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(group) = record.group {
        command.gid(group);
    }
    if let Some(user) = record.user {
        command.uid(user);
    }
    command
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", record.program.display()))
}

/// Copies both output streams in threads; each sends once when its stream has ended.
fn capture_output(child: &mut Child, writer: LogWriter) -> mpsc::Receiver<()> {
    let writer = Arc::new(Mutex::new(writer));
    let (done, drained) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        let (writer, done) = (Arc::clone(&writer), done.clone());
        std::thread::spawn(move || {
            copy_stream(stdout, Stream::Stdout, &writer, wall_now);
            let _ = done.send(());
        });
    }
    if let Some(stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            copy_stream(stderr, Stream::Stderr, &writer, wall_now);
            let _ = done.send(());
        });
    }
    drained
}

fn own_identity() -> Option<ProcessIdentity> {
    ProcessIdentity::of(i32::try_from(std::process::id()).ok()?)
}

fn describe_exit(status: ExitStatus) -> ExitRecord {
    match (status.code(), status.signal()) {
        (Some(0), _) => exit_record(0, "Completed", String::new()),
        (Some(code), _) => exit_record(code, "Error", String::new()),
        (None, Some(signal)) => exit_record(128 + signal, "Error", format!("ended by signal {signal}")),
        (None, None) => exit_record(255, "Unknown", "ended without a code".to_owned()),
    }
}
