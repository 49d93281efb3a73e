//! Which process is meant, beyond its number: numbers are used again, the pair of number and start
//! time within one run of the machine is not.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Field of `/proc/<pid>/stat` after the command name, counted from 0: the state.
const STAT_STATE: usize = 0;
/// The same: the start time in clock ticks since boot.
const STAT_START_TIME: usize = 19;

/// A process of one run of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessIdentity {
    pub(super) pid: i32,
    start_time_ticks: u64,
    boot_id: String,
}

impl ProcessIdentity {
    /// The identity of a process that runs now; `None` if it is gone.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let (_, start_time_ticks) = stat(pid)?;
        Some(Self {
            pid,
            start_time_ticks,
            boot_id: boot_id(),
        })
    }

    /// True while this very process runs. A process that ended but was not reaped does not run.
    pub(super) fn is_alive(&self) -> bool {
        let same_boot = self.boot_id == boot_id();
        same_boot
            && stat(self.pid)
                .is_some_and(|(state, start)| start == self.start_time_ticks && !matches!(state, 'Z' | 'X'))
    }

    /// Sends a signal to the process group that this process leads, if it still runs.
    pub(super) fn signal_group(&self, signal: Signal) {
        if self.is_alive() {
            // The group may have ended since; then there is nothing to do.
            let _ = killpg(Pid::from_raw(self.pid), signal);
        }
    }
}

/// Names the present run of the machine.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
}

fn stat(pid: i32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name is in parentheses and may itself hold any character.
    let (_, after_name) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let state = fields.get(STAT_STATE)?.chars().next()?;
    Some((state, fields.get(STAT_START_TIME)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_namesake_is_not() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let mut identity = ProcessIdentity::of(pid).unwrap();
        assert!(identity.is_alive());
        identity.start_time_ticks += 1;
        assert!(!identity.is_alive(), "another process under the same number");
    }

    #[test]
    fn a_process_of_an_earlier_boot_is_dead() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let mut identity = ProcessIdentity::of(pid).unwrap();
        identity.boot_id = "another".to_owned();
        assert!(!identity.is_alive());
    }
}
