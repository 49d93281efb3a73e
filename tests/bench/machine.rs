//! What machine a figure was measured on.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The machine in one line.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total_kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = kernel.split('-').next().unwrap_or_default().trim();
    format!(
        "{cores} cores of {model}, {} GiB, Linux {release}",
        total_kib.div_ceil(1 << 20)
    )
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn resident_bytes(pid: i64) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("no VmRSS")?
        .parse()?;
    Ok(kib << 10)
}

/// Processor time that a process has used.
///
/// # Errors
/// If there is no such process.
pub fn cpu_time(pid: i64) -> Result<Duration> {
    /// The kernel tells it in hundredths of a second, on every architecture.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let after_name = stat.rsplit_once(") ").context("no command name")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks: u64 =
        fields.get(11).context("no utime")?.parse::<u64>()? + fields.get(12).context("no stime")?.parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}
