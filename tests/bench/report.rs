//! Figures as lines of a table, printed and written to docs/BENCHMARKS.md.

use std::time::Duration;

/// One figure.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The figure with its unit.
    pub value: String,
    /// What it must reach; empty if nothing is set.
    pub target: String,
    /// Whether it does.
    pub reached: Option<bool>,
}

impl Figure {
    /// A figure without a target.
    pub fn plain(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            target: String::new(),
            reached: None,
        }
    }

    /// A rate that must not be under `least`.
    pub fn rate(name: impl Into<String>, rate: f64, least: f64) -> Self {
        Self {
            name: name.into(),
            value: format!("{rate:.0} a second"),
            target: format!("{least:.0} a second or more"),
            reached: Some(rate >= least),
        }
    }

    /// A short time that must not be over `most`, in milliseconds.
    pub fn millis(name: impl Into<String>, value: Duration, most: u64) -> Self {
        Self {
            name: name.into(),
            value: format!("{:.1} ms", value.as_secs_f64() * 1e3),
            target: format!("{most} ms or less"),
            reached: Some(value <= Duration::from_millis(most)),
        }
    }

    /// A time that must not be over `target`.
    pub fn at_most(name: impl Into<String>, value: Duration, target: Duration) -> Self {
        Self {
            name: name.into(),
            value: format!("{:.2} s", value.as_secs_f64()),
            target: format!("{:.1} s or less", target.as_secs_f64()),
            reached: Some(value <= target),
        }
    }
}

/// The figures as a Markdown table.
pub fn markdown(figures: &[Figure]) -> String {
    let mut text = String::from("| what | measured | to reach | reached |\n|---|---|---|---|\n");
    for figure in figures {
        let reached = match figure.reached {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        text.push_str(&format!(
            "| {} | {} | {} | {reached} |\n",
            figure.name, figure.value, figure.target
        ));
    }
    text
}

/// The value below which `percent` of the sorted values lie (nearest rank).
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 50), Duration::from_millis(10));
        assert_eq!(percentile(&values, 99), Duration::from_millis(20));
        assert_eq!(percentile(&values[..1], 99), Duration::from_millis(1));
    }
}
