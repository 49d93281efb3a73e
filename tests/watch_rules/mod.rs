//! What etcd promises of watches, each promise a pure check of its own: what one watch was sent, against all changes
//! that were made.
//!
//! The changes come from [`crate::linear::replay`]: the order of all requests that the answers prove. So a watch is never
//! judged by another watch alone.

mod atomic;
mod bookmarkable;
mod filter;
mod is_create;
mod ordered;
mod prev_kv;
mod record;
mod reliable;
mod resumable;
mod unique;

pub use record::{Body, Message, Watch};

use crate::linear::replay::Replay;

/// A check: what it finds wrong.
pub type Rule = fn(&Watch, &Replay) -> Vec<String>;

/// All checks by name.
pub const RULES: [(&str, Rule); 9] = [
    ("filter", filter::check),
    ("ordered", ordered::check),
    ("unique", unique::check),
    ("atomic", atomic::check),
    ("bookmarkable", bookmarkable::check),
    ("resumable", resumable::check),
    ("reliable", reliable::check),
    ("prev-kv", prev_kv::check),
    ("is-create", is_create::check),
];

/// How many findings of one rule on one watch are told.
const FINDINGS_MAX: usize = 5;

/// How much of one finding is told.
const FINDING_MAX_CHARS: usize = 400;

/// Everything that is wrong with a watch: the rule's name, and what it found.
pub fn violations(watch: &Watch, replay: &Replay) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (name, rule) in RULES {
        let findings = rule(watch, replay);
        let more = findings.len().saturating_sub(FINDINGS_MAX);
        let told = findings.into_iter().take(FINDINGS_MAX);
        found.extend(told.map(|finding| {
            let short: String = finding.chars().take(FINDING_MAX_CHARS).collect();
            (name, format!("{}: {short}", watch.name))
        }));
        if more > 0 {
            found.push((name, format!("{}: and {more} more", watch.name)));
        }
    }
    found
}

#[cfg(test)]
mod sample;
