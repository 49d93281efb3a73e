//! Who is right, if the servers' states differ. Pure.

use std::collections::{BTreeMap, BTreeSet};

use trireme_mvcc::hash::StateHash;

/// What a server's hashes are at the indexes that it remembers.
pub(crate) type Remembered = BTreeMap<u64, StateHash>;

/// A server whose state is not the majority's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where it was seen.
    pub(crate) index: u64,
    /// What the hash should be there.
    pub(crate) expected: StateHash,
    /// What it is.
    pub(crate) found: StateHash,
}

/// What comparing came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    /// The servers that differ from a majority of the voters.
    pub(crate) odd: BTreeMap<u64, Difference>,
    /// An index at which servers differ and none of their states is a majority's.
    pub(crate) split: Option<u64>,
}

/// Judges the servers' hashes. A state is right if a majority of `voters` has it; who has another one at the same
/// index is odd, voter or not. Without a majority nobody can be told to be wrong, which is a split.
pub(crate) fn judge(voters: &BTreeSet<u64>, servers: &BTreeMap<u64, Remembered>) -> Verdict {
    let mut verdict = Verdict::default();
    let indexes: BTreeSet<u64> = servers.values().flat_map(|hashes| hashes.keys().copied()).collect();
    // The newest come first: whoever has diverged stays so, and its newest difference is the one it can check itself.
    for index in indexes.into_iter().rev() {
        let mut holders: BTreeMap<StateHash, BTreeSet<u64>> = BTreeMap::new();
        for (server, hashes) in servers {
            if let Some(hash) = hashes.get(&index) {
                holders.entry(*hash).or_default().insert(*server);
            }
        }
        if holders.len() < 2 {
            continue;
        }
        let right = holders
            .iter()
            .find(|(_, holders)| holders.intersection(voters).count() > voters.len() / 2);
        let Some((expected, _)) = right else {
            verdict.split.get_or_insert(index);
            continue;
        };
        for (found, servers) in holders.iter().filter(|(found, _)| *found != expected) {
            for server in servers {
                verdict.odd.entry(*server).or_insert(Difference {
                    index,
                    expected: *expected,
                    found: *found,
                });
            }
        }
    }
    // A server that is known to be wrong explains the indexes at which there was no majority for want of samples.
    if !verdict.odd.is_empty() {
        verdict.split = None;
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StateHash = [1; 16];
    const B: StateHash = [2; 16];
    const C: StateHash = [3; 16];

    fn check(voters: &[u64], servers: &[(u64, &[(u64, StateHash)])], odd: &[(u64, u64)], split: Option<u64>) {
        let voters = voters.iter().copied().collect();
        let servers = servers
            .iter()
            .map(|(server, hashes)| (*server, hashes.iter().copied().collect()))
            .collect();
        let verdict = judge(&voters, &servers);
        let found: Vec<(u64, u64)> = verdict.odd.iter().map(|(server, at)| (*server, at.index)).collect();
        assert_eq!((found, verdict.split), (odd.to_vec(), split), "{servers:?}");
    }

    #[test]
    fn those_who_agree_are_left_alone() {
        check(&[1, 2, 3], &[], &[], None);
        check(&[1, 2, 3], &[(1, &[(5, A)]), (2, &[(5, A)]), (3, &[(5, A)])], &[], None);
        // No common index: nothing can be said.
        check(&[1, 2, 3], &[(1, &[(5, A)]), (2, &[(6, B)]), (3, &[(7, C)])], &[], None);
    }

    #[test]
    fn the_odd_one_out_is_found_at_its_newest_difference() {
        check(
            &[1, 2, 3],
            &[(1, &[(5, A), (9, A)]), (2, &[(5, B), (9, B)]), (3, &[(5, A), (9, A)])],
            &[(2, 9)],
            None,
        );
        // A server that is behind is judged where it was.
        check(
            &[1, 2, 3],
            &[(1, &[(5, A), (9, A)]), (2, &[(5, B)]), (3, &[(5, A), (9, A)])],
            &[(2, 5)],
            None,
        );
        // A learner has no voice, but can be wrong.
        check(
            &[1, 2, 3],
            &[(1, &[(5, A)]), (2, &[(5, A)]), (4, &[(5, B)])],
            &[(4, 5)],
            None,
        );
        // One voter has no samples of the newest index; the older one tells.
        check(
            &[1, 2, 3],
            &[(1, &[(5, A), (9, A)]), (2, &[(5, B), (9, B)]), (3, &[(5, A)])],
            &[(2, 5)],
            None,
        );
    }

    #[test]
    fn without_a_majority_it_is_a_split() {
        check(
            &[1, 2, 3],
            &[(1, &[(5, A)]), (2, &[(5, B)]), (3, &[(5, C)])],
            &[],
            Some(5),
        );
        // The third is down: neither of the two can be told to be wrong.
        check(&[1, 2, 3], &[(1, &[(5, A)]), (2, &[(5, B)])], &[], Some(5));
        check(&[1, 2], &[(1, &[(5, A)]), (2, &[(5, B)])], &[], Some(5));
        // Learners that agree with one of two voters do not make it right.
        check(
            &[1, 2],
            &[(1, &[(5, A)]), (2, &[(5, B)]), (3, &[(5, A)]), (4, &[(5, A)])],
            &[],
            Some(5),
        );
    }
}
