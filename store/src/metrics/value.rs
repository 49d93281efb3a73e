//! What is counted while the server works. Everything is relaxed: a page of metrics need not be of one moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts so many more.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What it stands at.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls, by whoever holds a part of it.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicU64);

impl Level {
    /// Raises it.
    pub(crate) fn raise(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Lowers it by what it was raised before.
    pub(crate) fn lower(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    /// Raises it by one until what is returned is dropped.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.raise(1);
        Hold(self)
    }

    /// What it stands at.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Level::hold`].
#[derive(Debug)]
pub(crate) struct Hold<'a>(&'a Level);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.lower(1);
    }
}

/// How often a value lay in which range.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The upper bounds of all ranges but the last, ascending.
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// How many of the values' units make one of those that are told.
    divisor: u32,
}

/// What a histogram stands at, in the units that are told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distribution {
    /// The upper bound of each range but the last, and how many values were up to it.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// All values together.
    pub(crate) sum: f64,
    /// How many there were.
    pub(crate) count: u64,
}

impl Histogram {
    /// Of numbers.
    pub(crate) fn of_numbers(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            divisor: 1,
        }
    }

    /// Of durations, with bounds in microseconds; told in seconds.
    pub(crate) fn of_durations(bounds_us: &'static [u64]) -> Self {
        Self {
            divisor: 1_000_000,
            ..Self::of_numbers(bounds_us)
        }
    }

    /// Takes in a number.
    pub(crate) fn observe(&self, value: u64) {
        let range = self.bounds.partition_point(|bound| *bound < value);
        self.counts[range].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Takes in a duration.
    pub(crate) fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// What it stands at.
    pub(crate) fn read(&self) -> Distribution {
        let mut count = 0;
        let mut reached = self.counts.iter().map(|range| {
            count += range.load(Ordering::Relaxed);
            count
        });
        let buckets = self
            .bounds
            .iter()
            .map(|bound| *bound as f64 / f64::from(self.divisor))
            .zip(reached.by_ref())
            .collect();
        let count = reached.next().unwrap_or(0);
        Distribution {
            buckets,
            sum: self.sum.load(Ordering::Relaxed) as f64 / f64::from(self.divisor),
            count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_in_its_range_and_all_above() {
        let histogram = Histogram::of_numbers(&[1, 10]);
        for value in [0, 1, 2, 10, 11, 1_000] {
            histogram.observe(value);
        }
        let want = Distribution {
            buckets: vec![(1.0, 2), (10.0, 4)],
            sum: 1_024.0,
            count: 6,
        };
        assert_eq!(histogram.read(), want);
    }

    #[test]
    fn durations_are_told_in_seconds() {
        let histogram = Histogram::of_durations(&[1_500]);
        histogram.observe_duration(Duration::from_millis(1));
        histogram.observe_duration(Duration::from_secs(2));
        let read = histogram.read();
        assert_eq!((read.buckets, read.count), (vec![(0.0015, 1)], 2));
        assert!((read.sum - 2.001).abs() < 1e-9);
    }

    #[test]
    fn a_level_falls_when_what_it_holds_goes() {
        let level = Level::default();
        level.raise(5);
        {
            let _one = level.hold();
            assert_eq!(level.get(), 6);
        }
        level.lower(2);
        assert_eq!(level.get(), 3);
    }
}
