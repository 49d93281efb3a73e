//! Turns an input into one that nobody meant: flips, cuts, lengths that lie, pieces of other inputs.

use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

/// Longest input that is made, in bytes.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// Most changes made to one input.
const CHANGES_MAX: u32 = 6;
/// Numbers at which counters, lengths and signs turn over.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// An input made of `inputs`, of which there is at least one.
pub(crate) fn mutate(inputs: &[(String, Vec<u8>)], words: &[&str], random: &mut SmallRng) -> Vec<u8> {
    let mut input = pick(inputs, random).1.clone();
    for _ in 0..random.random_range(1..=CHANGES_MAX) {
        change(&mut input, inputs, words, random);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn pick<'a, T>(from: &'a [T], random: &mut SmallRng) -> &'a T {
    &from[random.random_range(0..from.len())]
}

/// A place in `input`, its end included.
fn place(input: &[u8], random: &mut SmallRng) -> usize {
    random.random_range(0..=input.len())
}

fn change(input: &mut Vec<u8>, inputs: &[(String, Vec<u8>)], words: &[&str], random: &mut SmallRng) {
    match random.random_range(0..11) {
        0 => {
            if let Some(byte) = one_of(input, random) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        1 => {
            if let Some(byte) = one_of(input, random) {
                *byte = random.random();
            }
        }
        2 => input.truncate(random.random_range(0..=input.len())),
        3 => {
            let (from, to) = span(input, random);
            input.drain(from..to);
        }
        4 => {
            let (from, to) = span(input, random);
            let copied = input[from..to].to_vec();
            insert(input, &copied, random);
        }
        5 => number(input, random),
        6 => {
            let edge = *pick(&EDGES, random);
            insert(input, &varint(edge), random);
        }
        7 => {
            let mut noise = vec![0; random.random_range(1..32)];
            random.fill_bytes(&mut noise);
            insert(input, &noise, random);
        }
        8 => {
            // The beginning of this, and the end of another.
            let other = &pick(inputs, random).1;
            input.truncate(random.random_range(0..=input.len()));
            input.extend_from_slice(&other[random.random_range(0..=other.len())..]);
        }
        9 => {
            let other = &pick(inputs, random).1;
            let (from, to) = span(other, random);
            insert(input, &other[from..to], random);
        }
        _ if words.is_empty() => number(input, random),
        _ => insert(input, pick(words, random).as_bytes(), random),
    }
}

fn one_of<'a>(input: &'a mut [u8], random: &mut SmallRng) -> Option<&'a mut u8> {
    let at = random.random_range(0..input.len().max(1));
    input.get_mut(at)
}

/// Some bytes of `input`, seldom many.
fn span(input: &[u8], random: &mut SmallRng) -> (usize, usize) {
    let from = place(input, random);
    let longest = if random.random_bool(0.8) { 16 } else { input.len() };
    let to = (from + random.random_range(0..=longest)).min(input.len());
    (from, to)
}

/// Puts `bytes` in at some place, or over what is there.
fn insert(input: &mut Vec<u8>, bytes: &[u8], random: &mut SmallRng) {
    let at = place(input, random);
    let over = if random.random_bool(0.5) { bytes.len() } else { 0 };
    let end = (at + over).min(input.len());
    input.splice(at..end, bytes.iter().copied());
}

/// Writes a number of some width, whose value is one where things turn over, or near what was there.
fn number(input: &mut [u8], random: &mut SmallRng) {
    let width = *pick(&[1, 2, 4, 8], random);
    let Some(last) = input.len().checked_sub(width) else {
        return;
    };
    let at = random.random_range(0..=last);
    let field = &mut input[at..at + width];
    let before = field.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    let value = match random.random_range(0..3) {
        0 => *pick(&EDGES, random),
        1 => before.wrapping_add(random.random_range(1..4)),
        _ => before.wrapping_sub(random.random_range(1..4)),
    };
    let bytes = value.to_be_bytes();
    field.copy_from_slice(&bytes[8 - width..]);
    if random.random_bool(0.3) {
        field.reverse();
    }
}

/// A number as Protocol Buffers and the store write it.
fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
    out
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_input() {
        let inputs = [("a".to_owned(), vec![1, 2, 3]), ("b".to_owned(), Vec::new())];
        let made = |seed| mutate(&inputs, &["word"], &mut SmallRng::seed_from_u64(seed));
        let first: Vec<_> = (0..500).map(made).collect();
        let second: Vec<_> = (0..500).map(made).collect();
        assert_eq!(first, second);
        assert!(first.iter().any(|input| *input != first[0]));
        assert!(first.iter().all(|input| input.len() <= INPUT_BYTES_MAX));
    }
}
