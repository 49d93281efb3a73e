//! Names that controllers make up: from a seed for pods, from the content for ReplicaSets.
//!
//! Both are pure functions, so that the same decision makes the same name everywhere.

/// Letters that make no words and cannot be mistaken for one another.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Length of a made-up suffix.
const SUFFIX_LENGTH: usize = 5;
/// Longest prefix before a suffix, so that the whole stays a DNS label.
const PREFIX_LENGTH: usize = 63 - SUFFIX_LENGTH;

/// A 64-bit FNV-1a hash: stable over versions and machines, which the standard library's is not.
#[derive(Debug, Clone, Copy)]
pub struct StableHash(u64);

impl StableHash {
    /// The hash of nothing.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes.
    #[must_use]
    pub fn write(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self
    }

    /// The hash, with its bits well mixed.
    pub fn finish(self) -> u64 {
        mix(self.0)
    }
}

impl Default for StableHash {
    fn default() -> Self {
        Self::new()
    }
}

/// Spreads a number over 64 bits (the finalizer of SplitMix64). A bijection: different in, different out.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Up to `length` letters that spell a number.
pub fn spell(mut number: u64, length: usize) -> String {
    let base = ALPHABET.len() as u64;
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        text.push(char::from(ALPHABET[(number % base) as usize]));
        number /= base;
    }
    text
}

/// The `index`-th name of a series that begins with `prefix`. `taken` says which names are in use.
pub fn generate(prefix: &str, seed: u64, index: u64, mut taken: impl FnMut(&str) -> bool) -> String {
    let prefix = shorten(prefix);
    let mut attempt = 0_u64;
    loop {
        let number = mix(seed ^ mix(index).rotate_left(17) ^ mix(attempt).rotate_left(41));
        let name = format!("{prefix}{}", spell(number, SUFFIX_LENGTH));
        if !taken(&name) {
            return name;
        }
        attempt += 1;
    }
}

/// The prefix, cut so that a suffix still fits.
fn shorten(prefix: &str) -> &str {
    let mut end = prefix.len().min(PREFIX_LENGTH);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    &prefix[..end]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_stable_distinct_and_short() {
        let mut names = BTreeSet::new();
        for index in 0..2_000 {
            let name = generate("web-", 7, index, |name| names.contains(name));
            assert!(names.insert(name));
        }
        assert_eq!(generate("web-", 7, 0, |_| false), generate("web-", 7, 0, |_| false));
        assert_ne!(generate("web-", 7, 0, |_| false), generate("web-", 8, 0, |_| false));
        assert_eq!(generate(&"x".repeat(300), 1, 1, |_| false).len(), 63);
        assert!(names.iter().all(|name| name.len() == 9));
    }

    #[test]
    fn hash_is_the_published_one() {
        // FNV-1a of "a", before mixing: the value every implementation agrees on.
        assert_eq!(StableHash::new().write(b"a").0, 0xaf63_dc4c_8601_ec8c);
    }
}
