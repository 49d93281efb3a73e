//! Latencies in fixed buckets: recording is one addition, and the error of a percentile is below two in a hundred.
//!
//! Buckets are linear within each power of two, so that microseconds and minutes fit one small table.

use std::time::Duration;

/// Linear steps within a power of two, as a power of two.
const STEP_BITS: u32 = 6;
/// Linear steps within a power of two.
const STEPS: u64 = 1 << STEP_BITS;
/// The greatest value told apart, in microseconds: about 19 hours.
const MAX_MICROS: u64 = (1 << 36) - 1;
/// How many buckets there are.
const BUCKETS: usize = ((36 - STEP_BITS as usize) + 1) * STEPS as usize;

/// How often which latency was seen.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_micros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max_micros: 0,
        }
    }
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket_of(micros)] += 1;
        self.total += 1;
        self.max_micros = self.max_micros.max(micros);
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_micros = self.max_micros.max(other.max_micros);
    }

    /// How many latencies were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The greatest latency, exactly.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_micros)
    }

    /// The latency below or at which `percent` of all lie (nearest rank, upper end of its bucket); zero if there are
    /// none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = ((self.total as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper_end(bucket).min(self.max_micros));
            }
        }
        Duration::ZERO
    }
}

fn bucket_of(micros: u64) -> usize {
    let value = micros.min(MAX_MICROS);
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

/// The greatest value, in microseconds, that falls into a bucket.
fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS * 2 {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let step = bucket - shift * STEPS;
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_its_bucket() {
        for micros in (0..100_000).chain([1 << 20, (1 << 30) + 12_345, MAX_MICROS]) {
            let bucket = bucket_of(micros);
            let end = upper_end(bucket);
            assert!(micros <= end, "{micros} is above the end {end} of bucket {bucket}");
            assert!(
                bucket == 0 || micros > upper_end(bucket - 1),
                "{micros} fits a lower bucket"
            );
            assert!(
                (end - micros) as f64 <= micros as f64 * 0.016,
                "{end} is far from {micros}"
            );
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn percentiles_are_those_of_all_that_was_merged() {
        let (mut low, mut high) = (Histogram::default(), Histogram::default());
        for micros in 1..=50 {
            low.record(Duration::from_micros(micros));
            high.record(Duration::from_micros(micros + 50));
        }
        low.merge(&high);
        assert_eq!(low.total(), 100);
        assert_eq!(low.percentile(50.0), Duration::from_micros(50));
        assert_eq!(low.percentile(99.0), Duration::from_micros(99));
        assert_eq!(low.percentile(100.0), Duration::from_micros(100));
        assert_eq!(Histogram::default().percentile(99.0), Duration::ZERO);
    }
}
