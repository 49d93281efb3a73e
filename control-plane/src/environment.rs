//! Where time and chance come in: the one place of this package that reads the wall clock and the system's
//! random source. Everything else is handed an [`Environment`], so that a test or a simulation decides both (D7).

use std::sync::Arc;

use jiff::Timestamp;
use trireme_proto::api::meta::v1::Time;

use crate::limits;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// The present.
    fn now(&self) -> Timestamp;
}

/// Gives unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Time and chance.
#[derive(Clone)]
pub struct Environment {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

struct SystemClock;
struct SystemEntropy;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

/// Letters of generated name suffixes: no vowels and no look-alikes, so that no words come out.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl Environment {
    /// The system's clock and random source.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// A clock and a random source of the caller's.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// The present.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.clock.now()
    }

    /// The present as it stands in objects, in whole seconds.
    #[must_use]
    pub fn now(&self) -> Time {
        Time {
            seconds: self.clock.now().as_second(),
            nanos: 0,
        }
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A random number.
    #[must_use]
    pub fn seed(&self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// A new uid: a version 4 UUID.
    #[must_use]
    pub fn uid(&self) -> String {
        let mut bytes: [u8; 16] = self.bytes();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let digits = hex::encode(bytes);
        [
            &digits[..8],
            &digits[8..12],
            &digits[12..16],
            &digits[16..20],
            &digits[20..],
        ]
        .join("-")
    }

    /// `base` and a random suffix.
    #[must_use]
    pub fn generate_name(&self, base: &str) -> String {
        let mut end = base.len().min(limits::GENERATE_NAME_BASE_MAX_BYTES);
        while !base.is_char_boundary(end) {
            end -= 1;
        }
        let random: [u8; limits::GENERATE_NAME_SUFFIX_CHARS] = self.bytes();
        let letters = random
            .iter()
            .map(|byte| char::from(SUFFIX_ALPHABET[usize::from(*byte) % SUFFIX_ALPHABET.len()]));
        base[..end].chars().chain(letters).collect()
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Environment")
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A clock that stands still until told, and a random source that counts.

    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    use super::*;

    pub(crate) struct ManualClock(pub(crate) AtomicI64);

    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.load(Ordering::SeqCst)).expect("a test's time is in range")
        }
    }

    /// Splitmix64 over a counter: different bytes each time, the same in each run.
    pub(crate) struct CountingEntropy(pub(crate) AtomicU64);

    impl Entropy for CountingEntropy {
        fn fill(&self, bytes: &mut [u8]) {
            for chunk in bytes.chunks_mut(8) {
                let mut z = self
                    .0
                    .fetch_add(1, Ordering::SeqCst)
                    .wrapping_add(1)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15);
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
            }
        }
    }

    pub(crate) const START_SECONDS: i64 = 1_800_000_000;

    pub(crate) fn manual() -> (Arc<ManualClock>, Environment) {
        let clock = Arc::new(ManualClock(AtomicI64::new(START_SECONDS)));
        let environment = Environment::new(clock.clone(), Arc::new(CountingEntropy(AtomicU64::new(0))));
        (clock, environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_version_4_and_differ() {
        let (_, environment) = testing::manual();
        let (one, two) = (environment.uid(), environment.uid());
        assert_ne!(one, two);
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(matches!(one.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }

    #[test]
    fn generated_names_fit_a_label() {
        let environment = Environment::system();
        let name = environment.generate_name(&"x".repeat(100));
        assert_eq!(name.len(), 63);
        assert!(environment.generate_name("web-").starts_with("web-"));
        assert_eq!(environment.generate_name("web-").len(), 9);
    }
}
