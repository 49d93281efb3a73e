//! Figures of both peers beside each other, for a terminal and for docs/BENCHMARKS.md.

use super::{
    Sizes,
    figures::{Figure, Goal, Samples, Spread, Unit},
};
use crate::harness::etcd::Peer;

/// The headings.
const HEADINGS: [&str; 6] = ["what", "etcd", "Trireme", "ratio", "to reach", "reached"];

/// The rows of all figures that were measured.
pub fn rows(samples: &Samples, sizes: &Sizes) -> Vec<[String; 6]> {
    let mut rows = Vec::new();
    for figure in Figure::ALL {
        let etcd = samples.spread(figure, Peer::Etcd);
        let trireme = samples.spread(figure, Peer::Trireme);
        if etcd.is_none() && trireme.is_none() {
            continue;
        }
        let goal = figure.goal();
        let ratio = etcd.zip(trireme).filter(|(etcd, _)| etcd.median > 0.0);
        rows.push([
            name(figure, sizes),
            show_spread(etcd, figure.unit()),
            show_spread(trireme, figure.unit()),
            ratio.map_or_else(String::new, |(etcd, trireme)| {
                format!("{:.2}x", trireme.median / etcd.median)
            }),
            show_goal(goal, figure.unit()),
            match goal.reached(etcd, trireme) {
                Some(true) => "yes".to_owned(),
                Some(false) => "**no**".to_owned(),
                None => String::new(),
            },
        ]);
    }
    rows
}

/// The rows with their columns under each other.
pub fn aligned(rows: &[[String; 6]]) -> String {
    let mut widths = HEADINGS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; 6]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = line(&HEADINGS.map(str::to_owned));
    for row in rows {
        text.push('\n');
        text.push_str(&line(row));
    }
    text.push('\n');
    text
}

/// The rows as a Markdown table.
pub fn markdown(rows: &[[String; 6]]) -> String {
    let line = |cells: &[String; 6]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&HEADINGS.map(str::to_owned));
    text.push_str("|---|---|---|---|---|---|\n");
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

fn name(figure: Figure, sizes: &Sizes) -> String {
    let Sizes {
        clients,
        crowd,
        value_bytes,
        watchers,
        ..
    } = sizes;
    let (clients, crowd) = (thousands(*clients as f64), thousands(*crowd as f64));
    match figure {
        Figure::PutRate => format!("puts of {value_bytes} B, {clients} clients"),
        Figure::PutMedian => "their latency, p50".to_owned(),
        Figure::PutP99 => "their latency, p99".to_owned(),
        Figure::PutCpu => "processor time of all servers a put".to_owned(),
        Figure::PutRateAtLeader => format!("puts, {clients} clients, all at the leader"),
        Figure::PutCpuAtLeader => "processor time of all servers a put, clients at the leader".to_owned(),
        Figure::PutRateOfCrowd => format!("puts, {crowd} clients"),
        Figure::PutLoss => format!("lost from {clients} to {crowd} clients"),
        Figure::OneMedian => "put of one client, p50".to_owned(),
        Figure::OneP99 => "put of one client, p99".to_owned(),
        Figure::OneMedianAtLeader => "put of one client at the leader, p50".to_owned(),
        Figure::GetRate => format!("linearizable reads, {clients} clients"),
        Figure::GetP99 => "their latency, p99".to_owned(),
        Figure::GetRateAtLeader => format!("linearizable reads, {clients} clients, all at the leader"),
        Figure::RangeRate => format!("ranges of {} keys, {clients} clients", thousands(sizes.width as f64)),
        Figure::RangeP99 => "their latency, p99".to_owned(),
        Figure::WatchRate => format!("events delivered, one writer, {} watchers", thousands(*watchers as f64)),
        Figure::WatchP99 => "delay from write to event, p99".to_owned(),
        Figure::CrowdMemory => format!(
            "memory of a server for {} idle watchers on it",
            thousands(sizes.watcher_crowd as f64)
        ),
        Figure::CrowdRate => "events delivered to them, one writer".to_owned(),
        Figure::CrowdP99 => "delay from write to event, p99".to_owned(),
        Figure::CalmMedian => "small puts of 16 clients alone, p50".to_owned(),
        Figure::CalmP99 => "the same, p99".to_owned(),
        Figure::FloodedMedian => "small puts beside a flood of reads of all keys, p50".to_owned(),
        Figure::FloodedP99 => "the same, p99".to_owned(),
        Figure::FloodedRate => "their rate, of what it is alone".to_owned(),
        Figure::FillRate => format!(
            "{} keys loaded in transactions, keys",
            thousands(sizes.memory_keys as f64)
        ),
        Figure::MemoryRss => "resident memory of all servers after them".to_owned(),
        Figure::MemoryPss => "the same, shared pages counted once".to_owned(),
        Figure::Disk => "on disk of all servers after them".to_owned(),
        Figure::FailoverP99 => "leader killed: first acknowledged write, p99".to_owned(),
        Figure::FailoverMedian => "the same, p50".to_owned(),
        Figure::Restart => {
            format!(
                "restart of a server holding {} until it serves a read",
                show(sizes.restart_bytes as f64, Unit::Bytes)
            )
        }
        Figure::PauseAtRest => "longest gap between acknowledged writes, at rest".to_owned(),
        Figure::PauseAtCompaction => "the same during a compaction".to_owned(),
        Figure::PauseAtBackup => "the same during a backup of each server".to_owned(),
        Figure::PauseAtSnapshot => "the same while a server is caught up by a snapshot".to_owned(),
    }
}

fn show_spread(spread: Option<Spread>, unit: Unit) -> String {
    match spread {
        None => "not measured".to_owned(),
        Some(spread) if spread.count == 1 => show(spread.median, unit),
        Some(Spread { median, min, max, .. }) => {
            format!("{} ({} to {})", show(median, unit), show(min, unit), show(max, unit))
        }
    }
}

fn show_goal(goal: Goal, unit: Unit) -> String {
    match goal {
        Goal::TimesAtLeast(times) => format!("{times}x or more"),
        Goal::TimesAtMost(times) => format!("{times:.2}x or less"),
        Goal::AtMost(limit) => format!("{} or less", show(limit, unit)),
        Goal::None => String::new(),
    }
}

fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => format!("{}/s", thousands(value)),
        Unit::Seconds if value >= 1.0 => format!("{value:.2} s"),
        Unit::Seconds if value >= 0.1 => format!("{:.0} ms", value * 1e3),
        Unit::Seconds if value >= 0.001 => format!("{:.1} ms", value * 1e3),
        Unit::Seconds => format!("{:.0} µs", value * 1e6),
        Unit::Bytes => format!("{} MB", thousands(value / 1e6)),
        Unit::Share => format!("{:.0} %", value * 100.0),
    }
}

/// A whole number with commas.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digit.is_ascii_digit() && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_what_fits() {
        let cases = [
            (1_234_567.0, Unit::PerSecond, "1,234,567/s"),
            (999.0, Unit::PerSecond, "999/s"),
            (0.000_034, Unit::Seconds, "34 µs"),
            (0.012_34, Unit::Seconds, "12.3 ms"),
            (0.9, Unit::Seconds, "900 ms"),
            (4.5, Unit::Seconds, "4.50 s"),
            (1.5e9, Unit::Bytes, "1,500 MB"),
            (-0.05, Unit::Share, "-5 %"),
        ];
        for (value, unit, expected) in cases {
            assert_eq!(show(value, unit), expected);
        }
        assert_eq!(thousands(-123_456.0), "-123,456");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let mut samples = Samples::default();
        samples.add(Figure::PutRate, Peer::Etcd, 10_000.0);
        samples.add(Figure::PutRate, Peer::Trireme, 45_000.0);
        samples.add(Figure::FailoverP99, Peer::Trireme, 1.5);
        let rows = rows(&samples, &Sizes::full());
        let text = aligned(&rows);
        let places: Vec<Option<usize>> = text
            .lines()
            .map(|line| line.find("etcd").or_else(|| line.find("10,000/s")))
            .collect();
        assert_eq!(places[0], places[1]);
        assert_eq!(rows[0][3..], ["4.50x", "4x or more", "yes"].map(str::to_owned));
        assert_eq!(
            rows[1][1..],
            ["not measured", "1.50 s", "", "1.00 s or less", "**no**"].map(str::to_owned)
        );
        assert!(
            markdown(&rows)
                .contains("| puts of 256 B, 1,000 clients | 10,000/s | 45,000/s | 4.50x | 4x or more | yes |")
        );
    }
}
