//! What the process takes of the machine, as the system counts it. The names are those that every program's have.

use std::fs;

use super::page::Page;
use super::registry::Collect;

/// See the module.
#[derive(Debug)]
pub(crate) struct ProcessMetrics;

/// The kernel tells processor time in units of this many a second, on every platform that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

impl Collect for ProcessMetrics {
    fn collect(&self, page: &mut Page) {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        page.gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            resident_bytes(&read("status")),
        );
        page.sum(
            "process_cpu_seconds_total",
            "Processor time of the process, its own and the system's for it.",
            cpu_seconds(&read("stat")),
        );
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        page.gauge(
            "process_open_fds",
            "Files and connections that the process has open.",
            open as f64,
        );
    }
}

/// The resident memory in `/proc/PID/status`.
fn resident_bytes(status: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0
}

/// The processor time in `/proc/PID/stat`.
fn cpu_seconds(stat: &str) -> f64 {
    // The program's name, in brackets, may hold anything. Its own time and the system's are the 12th and 13th field after it.
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return 0.0;
    };
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert!((resident_bytes("Name:\tx\nVmRSS:\t  2048 kB\n") - 2_097_152.0).abs() < f64::EPSILON);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 9 0 100 1 2 3";
        assert!((cpu_seconds(stat) - 3.0).abs() < f64::EPSILON);
        assert!(cpu_seconds("").abs() < f64::EPSILON);
    }

    #[test]
    fn knows_this_process() {
        let mut page = Page::default();
        ProcessMetrics.collect(&mut page);
        assert!(page.value("process_resident_memory_bytes").unwrap() > 1_000_000.0);
        assert!(page.value("process_open_fds").unwrap() >= 3.0);
        assert!(page.value("process_cpu_seconds_total").is_some());
    }
}
