//! What is wrong with the reference itself: promises that old versions of etcd are known to break.
//!
//! A distribution's etcd may be years old. What the run finds in it is told with etcd's own issue, and is no failure of
//! the proof. Nothing is excused of any other peer.

/// One known fault of etcd.
struct Known {
    /// The rule that finds it.
    rule: &'static str,
    /// The issue, with what it is.
    issue: &'static str,
    /// The first versions without it, one a branch.
    fixed: &'static [[u32; 3]],
}

const KNOWN: [Known; 1] = [Known {
    rule: "watch: bookmarkable",
    issue: "etcd-io/etcd#15220 (progress that was asked for overtakes events)",
    fixed: &[[3, 4, 25], [3, 5, 8]],
}];

/// A rule with what it found, and the issue that explains it.
pub(super) type Explained = (String, String, &'static str);

/// Parts findings into those that count and those that the version of etcd explains. Without a version all count.
pub(super) fn part(findings: Vec<(String, String)>, version: Option<&str>) -> (Vec<(String, String)>, Vec<Explained>) {
    let mut counting = Vec::new();
    let mut explained = Vec::new();
    for (rule, found) in findings {
        let issue = version.and_then(parse).and_then(|version| issue_of(&rule, version));
        match issue {
            Some(issue) => explained.push((rule, found, issue)),
            None => counting.push((rule, found)),
        }
    }
    (counting, explained)
}

fn issue_of(rule: &str, version: [u32; 3]) -> Option<&'static str> {
    let known = KNOWN.iter().find(|known| known.rule == rule)?;
    let branch = known.fixed.iter().find(|fixed| fixed[..2] == version[..2]);
    let has_it = match branch {
        Some(fixed) => version < *fixed,
        // Older branches were never mended, newer ones began without it.
        None => known.fixed.first().is_some_and(|first| version < *first),
    };
    has_it.then_some(known.issue)
}

fn parse(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_versions_are_excused() {
        let findings = vec![
            ("watch: bookmarkable".to_owned(), "a".to_owned()),
            ("linearizable".to_owned(), "b".to_owned()),
        ];
        for (version, counting) in [
            (Some("3.4.23"), 1),
            (Some("3.3.10"), 1),
            (Some("3.5.7"), 1),
            (Some("3.4.25"), 2),
            (Some("3.5.8"), 2),
            (Some("3.6.5"), 2),
            (Some("3.6"), 2),
            (None, 2),
        ] {
            let (left, explained) = part(findings.clone(), version);
            assert_eq!((left.len(), explained.len()), (counting, 2 - counting), "{version:?}");
        }
    }
}
