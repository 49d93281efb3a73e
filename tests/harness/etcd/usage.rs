//! What a process uses of the machine, from `/proc`.

use nix::unistd::{SysconfVar, sysconf};

/// What a process uses of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Memory that is resident now, in bytes.
    pub rss_bytes: u64,
    /// The most that was ever resident, in bytes.
    pub rss_peak_bytes: u64,
    /// Processor time since the start, user and system, in seconds.
    pub cpu_seconds: f64,
    /// Bytes sent to block devices since the start, as the kernel accounts them.
    pub written_bytes: u64,
}

impl Usage {
    /// Looks at a process; none if it is gone.
    pub fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Another user's figures cannot be read; then they are left out.
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let ticks_per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        Some(Self {
            rss_bytes: field(&status, "VmRSS:")? * 1024,
            rss_peak_bytes: field(&status, "VmHWM:")? * 1024,
            cpu_seconds: cpu_ticks(&stat)? as f64 / ticks_per_second as f64,
            written_bytes: field(&io, "write_bytes:").unwrap_or(0),
        })
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time: the 14th and 15th field, counted from behind the name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        assert_eq!(field("VmHWM:\t  12 kB\nVmRSS:\t  7 kB\n", "VmRSS:"), Some(7));
        assert_eq!(field("VmRSS:\t  7 kB\n", "VmSwap:"), None);
        assert_eq!(cpu_ticks("17 (a) b) S 1 2 3 4 5 6 7 8 9 10 31 11 13 14"), Some(42));
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(std::process::id()).expect("this process runs");
        assert!(
            usage.rss_bytes > 0 && usage.rss_peak_bytes >= usage.rss_bytes,
            "{usage:?}"
        );
    }
}
