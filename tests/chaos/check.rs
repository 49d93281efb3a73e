//! Judges a [`History`]. Each rule is one function and names the invariant that it checks.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, WriteOutcome};

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: &'static str,
    /// What was found.
    pub found: String,
}

/// How many findings of one rule are told.
const FINDINGS_MAX: usize = 10;

/// A rule: what it finds wrong.
type Check = fn(&History) -> Vec<String>;

/// Everything that is wrong with a history; empty if all is well.
pub fn violations(history: &History) -> Vec<Violation> {
    let rules: [(&'static str, Check); 8] = [
        ("I1: every acknowledged write is there", acknowledged_writes_are_there),
        ("I1: nothing is there that nobody wrote", nothing_unwritten),
        ("I2: servers show the same objects at the same revisions", servers_agree),
        ("I2: state hashes agree", hashes_agree),
        (
            "I2: acknowledged revisions only grow, and none is given twice",
            revisions_grow,
        ),
        ("I3: the watcher saw every change once and in order", watch_is_exact),
        ("I4: no pod was bound twice", pods_bound_once),
        ("the Deployment reached its count", deployment_reached_its_count),
    ];
    let mut violations = Vec::new();
    for (rule, check) in rules {
        let findings = check(history);
        let more = findings.len().saturating_sub(FINDINGS_MAX);
        violations.extend(
            findings
                .into_iter()
                .take(FINDINGS_MAX)
                .map(|found| Violation { rule, found }),
        );
        if more > 0 {
            violations.push(Violation {
                rule,
                found: format!("and {more} more"),
            });
        }
    }
    violations
}

/// The last acknowledged value of an object, or one written later by an attempt whose outcome is unknown, is in the
/// final state of every server.
fn acknowledged_writes_are_there(history: &History) -> Vec<String> {
    // For each name: the values that may be the last one.
    let mut possible: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for write in &history.writes {
        match write.outcome {
            WriteOutcome::Acknowledged { .. } => {
                possible.insert(&write.name, vec![&write.value]);
            }
            WriteOutcome::Unknown => {
                if let Some(values) = possible.get_mut(&*write.name) {
                    values.push(&write.value);
                }
            }
            WriteOutcome::Refused => {}
        }
    }
    let mut findings = Vec::new();
    for (server, objects) in &history.finals {
        let present: BTreeMap<&str, &str> = objects.iter().map(|object| (&*object.name, &*object.value)).collect();
        for (name, values) in &possible {
            match present.get(name) {
                None => findings.push(format!("{server}: {name} was acknowledged with {values:?} and is gone")),
                Some(value) if !values.contains(value) => {
                    findings.push(format!(
                        "{server}: {name} holds {value}, but must hold one of {values:?}"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    findings
}

/// Every value in the final state was written by somebody, and not refused.
fn nothing_unwritten(history: &History) -> Vec<String> {
    let written: BTreeSet<(&str, &str)> = history
        .writes
        .iter()
        .filter(|write| write.outcome != WriteOutcome::Refused)
        .map(|write| (&*write.name, &*write.value))
        .collect();
    let mut findings = Vec::new();
    for (server, objects) in &history.finals {
        for object in objects {
            if !written.contains(&(&*object.name, &*object.value)) {
                findings.push(format!(
                    "{server}: {} holds {}, which nobody wrote",
                    object.name, object.value
                ));
            }
        }
        let names: BTreeSet<&str> = objects.iter().map(|object| &*object.name).collect();
        if names.len() != objects.len() {
            findings.push(format!(
                "{server}: {} objects have {} names",
                objects.len(),
                names.len()
            ));
        }
    }
    findings
}

fn servers_agree(history: &History) -> Vec<String> {
    let mut servers = history.finals.iter();
    let Some((first, expected)) = servers.next() else {
        return vec!["no server showed its final state".to_owned()];
    };
    servers
        .filter(|(_, objects)| *objects != expected)
        .map(|(server, objects)| {
            format!(
                "{first} shows {} objects, {server} shows {} other ones",
                expected.len(),
                objects.len()
            )
        })
        .collect()
}

fn hashes_agree(history: &History) -> Vec<String> {
    let distinct: BTreeSet<&(u64, String)> = history.hashes.values().collect();
    if distinct.len() == 1 && history.hashes.len() > 1 {
        Vec::new()
    } else {
        vec![format!("{:?}", history.hashes)]
    }
}

fn revisions_grow(history: &History) -> Vec<String> {
    let mut last: BTreeMap<usize, i64> = BTreeMap::new();
    let mut given: BTreeMap<i64, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for write in &history.writes {
        let WriteOutcome::Acknowledged { revision } = write.outcome else {
            continue;
        };
        let before = last.insert(write.writer, revision).unwrap_or(0);
        if revision <= before {
            findings.push(format!(
                "writer {} got {revision} for {} after {before}",
                write.writer, write.value
            ));
        }
        if let Some(other) = given.insert(revision, &write.value) {
            findings.push(format!(
                "revision {revision} was given to {other} and to {}",
                write.value
            ));
        }
    }
    findings
}

/// The watcher's revisions grow, each acknowledged write is among them exactly once, and the last value it saw of each
/// object is the final one.
fn watch_is_exact(history: &History) -> Vec<String> {
    let mut findings = Vec::new();
    let mut last = history.watch_start;
    let mut seen: BTreeMap<i64, (&str, Option<&str>)> = BTreeMap::new();
    let mut state: BTreeMap<&str, &str> = BTreeMap::new();
    for change in &history.watched {
        if change.revision <= last {
            findings.push(format!("revision {} came after {last}", change.revision));
        }
        last = last.max(change.revision);
        seen.insert(change.revision, (&change.name, change.value.as_deref()));
        match &change.value {
            Some(value) => state.insert(&change.name, value),
            None => state.remove(&*change.name),
        };
    }
    for write in &history.writes {
        let WriteOutcome::Acknowledged { revision } = write.outcome else {
            continue;
        };
        match seen.get(&revision) {
            Some((name, Some(value))) if *name == write.name && *value == write.value => {}
            Some(other) => findings.push(format!(
                "revision {revision}: {} was written, {other:?} was seen",
                write.value
            )),
            None => findings.push(format!(
                "revision {revision}: {} was written and never seen",
                write.value
            )),
        }
    }
    if let Some((server, objects)) = history.finals.iter().next() {
        let present: BTreeMap<&str, &str> = objects.iter().map(|object| (&*object.name, &*object.value)).collect();
        if present != state {
            findings.push(format!(
                "what the watcher saw comes to {} objects, {server} shows {} other ones",
                state.len(),
                present.len()
            ));
        }
    }
    findings
}

fn pods_bound_once(history: &History) -> Vec<String> {
    let mut nodes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for pod in history.pods.iter().filter(|pod| !pod.node.is_empty()) {
        nodes.entry(&pod.uid).or_default().insert(&pod.node);
    }
    nodes
        .into_iter()
        .filter(|(_, nodes)| nodes.len() > 1)
        .map(|(uid, nodes)| format!("pod {uid} was bound to {nodes:?}"))
        .collect()
}

fn deployment_reached_its_count(history: &History) -> Vec<String> {
    history.unsettled.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::history::{FinalObject, SeenChange, SeenPod, WriteRecord},
        *,
    };

    fn write(name: &str, value: &str, outcome: WriteOutcome) -> WriteRecord {
        WriteRecord {
            writer: 0,
            name: name.into(),
            value: value.into(),
            outcome,
        }
    }

    fn good() -> History {
        let finals = vec![FinalObject {
            name: "a".into(),
            value: "1".into(),
            revision: 5,
        }];
        History {
            writes: vec![write("a", "1", WriteOutcome::Acknowledged { revision: 5 })],
            watched: vec![SeenChange {
                revision: 5,
                name: "a".into(),
                value: Some("1".into()),
            }],
            watch_start: 4,
            finals: [("s1".to_owned(), finals.clone()), ("s2".to_owned(), finals)].into(),
            hashes: [
                ("s1".to_owned(), (9, "x".to_owned())),
                ("s2".to_owned(), (9, "x".to_owned())),
            ]
            .into(),
            ..History::default()
        }
    }

    /// Breaks a good history and expects exactly the rule that is meant for it to find that.
    fn check(rule: &str, break_it: impl FnOnce(&mut History)) {
        let mut history = good();
        break_it(&mut history);
        let found = violations(&history);
        assert!(
            found.iter().any(|violation| violation.rule.contains(rule)),
            "{rule}: {found:?}"
        );
    }

    #[test]
    fn a_good_history_passes() {
        assert_eq!(violations(&good()), []);
    }

    #[test]
    fn each_rule_finds_what_it_is_meant_for() {
        check("acknowledged write is there", |history| {
            for objects in history.finals.values_mut() {
                objects.clear();
            }
        });
        check("acknowledged write is there", |history| {
            history
                .writes
                .push(write("a", "2", WriteOutcome::Acknowledged { revision: 6 }));
        });
        check("nobody wrote", |history| {
            history.writes[0].outcome = WriteOutcome::Refused;
        });
        check("same objects", |history| {
            history.finals.get_mut("s2").unwrap()[0].revision = 6;
        });
        check("hashes", |history| {
            history.hashes.get_mut("s2").unwrap().1 = "y".into();
        });
        check("none is given twice", |history| {
            history
                .writes
                .push(write("b", "2", WriteOutcome::Acknowledged { revision: 5 }));
        });
        check("once and in order", |history| {
            let again = history.watched[0].clone();
            history.watched.push(again);
        });
        check("once and in order", |history| history.watched.clear());
        check("bound twice", |history| {
            for node in ["n1", "n2"] {
                history.pods.insert(SeenPod {
                    uid: "u".into(),
                    name: "p".into(),
                    node: node.into(),
                });
            }
        });
        check("count", |history| history.unsettled = Some("2 of 3 are ready".into()));
    }

    #[test]
    fn an_unknown_outcome_may_have_happened_or_not() {
        let mut history = good();
        history.writes.push(write("a", "2", WriteOutcome::Unknown));
        assert_eq!(violations(&history), []);
        for objects in history.finals.values_mut() {
            objects[0] = FinalObject {
                name: "a".into(),
                value: "2".into(),
                revision: 6,
            };
        }
        history.watched.push(SeenChange {
            revision: 6,
            name: "a".into(),
            value: Some("2".into()),
        });
        assert_eq!(violations(&history), []);
    }
}
