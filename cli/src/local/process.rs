//! Processes of a local cluster: started apart from this one, remembered in files, and never mistaken for others.
//!
//! A process id is used again by the system; the process's start time with it is not. Both are kept, and a process is
//! signalled only if both agree.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::limits;

/// Which process it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessRecord {
    /// Its id.
    pub(crate) pid: i32,
    /// When it was started, in clock ticks since the machine's start.
    pub(crate) start_ticks: u64,
}

/// What the system says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    /// One letter; `Z` is a process that ended and whose parent has not looked.
    state: char,
    start_ticks: u64,
}

/// Reads `/proc/PID/stat`. The program's name in it may hold anything, so everything is counted from its end.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

impl ProcessRecord {
    /// Of a process that runs now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self {
            pid,
            start_ticks: stat.start_ticks,
        })
    }

    /// Whether the very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|s| s.start_ticks == self.start_ticks && !matches!(s.state, 'Z' | 'X'))
    }

    /// Sends a signal, if the process is still the same.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It may end between the two lines; then there is no one to tell.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Asks the process to end, waits, and kills it if it does not. Returns whether it ended by itself.
    pub(crate) async fn stop(&self, patience: Duration) -> bool {
        self.signal(Signal::SIGTERM);
        // A stopped process hears nothing until it goes on.
        self.signal(Signal::SIGCONT);
        if self.wait(patience).await {
            return true;
        }
        self.signal(Signal::SIGKILL);
        self.wait(patience).await;
        false
    }

    /// Waits until the process has ended.
    async fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(limits::LOCAL_POLL).await;
        }
        true
    }

    /// Reads a record; none if there is none that can be understood.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }

    /// Writes the record.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self).context("a record has a JSON form")?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Starts this program again with other arguments, as a process that outlives this one: in a process group of its own, so
/// that Ctrl-C here does not reach it, and with its output at the end of a log file.
pub(crate) fn spawn(arguments: &[String], token: Option<&str>, log: &Path) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let open = || OpenOptions::new().create(true).append(true).open(log);
    let out = open().with_context(|| format!("cannot write {}", log.display()))?;
    let err = out
        .try_clone()
        .with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0);
    command.env_remove("KUBECONFIG");
    // A token in the arguments could be read by every user of the machine.
    match token {
        Some(token) => command.env("TRIREME_TOKEN", token),
        None => command.env_remove("TRIREME_TOKEN"),
    };
    command.spawn().with_context(|| {
        format!(
            "cannot start `trireme {}`",
            arguments.first().map_or("", String::as_str)
        )
    })
}

/// The last lines of a log.
pub(crate) fn log_tail(log: &Path) -> Vec<String> {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(limits::LOG_TAIL_LINES)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_with_brackets_do_not_confuse() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        for name in ["trireme", "a) R 1 (b", ") Z"] {
            let parsed = parse_stat(&format!("17 ({name}) {fields}"));
            assert_eq!(
                parsed,
                Some(Stat {
                    state: 'S',
                    start_ticks: 4242
                }),
                "{name}"
            );
        }
        assert_eq!(parse_stat("17 (x) S 1"), None);
    }

    #[tokio::test]
    async fn only_the_same_process_is_hit() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let record = ProcessRecord::of(pid).unwrap();
        assert!(record.is_alive());
        let namesake = ProcessRecord {
            start_ticks: record.start_ticks + 1,
            ..record
        };
        assert!(!namesake.is_alive());
        namesake.signal(Signal::SIGKILL);
        assert!(
            child.try_wait().unwrap().is_none(),
            "a process with another start time was hit"
        );
        record.signal(Signal::SIGSTOP);
        assert!(
            record.stop(Duration::from_secs(10)).await,
            "a stopped process did not end"
        );
        assert!(
            !record.is_alive(),
            "a process that ended is not alive, even before its parent looked"
        );
        child.wait().unwrap();
    }

    #[test]
    fn records_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        assert_eq!(ProcessRecord::read(&path), None);
        let record = ProcessRecord { pid: 7, start_ticks: 8 };
        record.write(&path).unwrap();
        assert_eq!(ProcessRecord::read(&path), Some(record));
    }
}
