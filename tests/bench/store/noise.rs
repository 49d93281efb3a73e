//! Random numbers and values that cost the load generator nothing, the same in every run.

use std::sync::Arc;

/// Random bytes that values are cut from, so that no server gains by compressing them.
const NOISE_BYTES: usize = 1 << 20;

/// A source of random numbers that costs nothing (xorshift).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A source; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high bits are the better ones.
        ((u128::from(self.0) * u128::from(end)) >> 64) as u64
    }
}

/// Values that no compressor makes smaller.
#[derive(Debug, Clone)]
pub struct Noise(Arc<[u8]>);

impl Default for Noise {
    fn default() -> Self {
        let mut dice = Dice::new(7);
        Self((0..NOISE_BYTES).map(|_| dice.below(256) as u8).collect())
    }
}

impl Noise {
    /// A value of that length.
    pub fn value(&self, bytes: usize, dice: &mut Dice) -> &[u8] {
        let at = dice.below((NOISE_BYTES - bytes) as u64) as usize;
        &self.0[at..at + bytes]
    }
}
