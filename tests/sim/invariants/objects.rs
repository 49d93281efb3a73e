//! Objects of the API: no update is lost, none is carried out on another state than it names, a read sees what was
//! acknowledged before it began, and a watch tells each change once and in order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Record, Violation};
use crate::sim::objects::{Asked, Change, ObjectCall, ObjectWatchRecord, Told};

pub(super) const NAME: &str = "objects";

pub(super) fn judge(record: &Record) -> Vec<Violation> {
    let calls: Vec<&ObjectCall> = record.objects.iter().flat_map(|record| &record.calls).collect();
    let watches = record.objects.iter().flat_map(|record| &record.watches);
    let mut found = writes_follow_each_other(&calls);
    found.extend(reads_are_fresh(&calls));
    let written = acknowledged(&calls);
    for watch in watches {
        found.extend(watch_is_whole(watch, &written));
    }
    let violations = found.into_iter();
    violations.map(|found| Violation { invariant: NAME, found }).collect()
}

/// Acknowledged writes of each object by revision. A deletion has no token.
fn acknowledged<'c>(calls: &[&'c ObjectCall]) -> BTreeMap<&'c str, BTreeMap<i64, &'c ObjectCall>> {
    let mut written: BTreeMap<&str, BTreeMap<i64, &ObjectCall>> = BTreeMap::new();
    for call in calls {
        if let (Told::Done(revision, _), Asked::Create | Asked::Update(_) | Asked::Delete(_)) =
            (&call.told, &call.asked)
        {
            written.entry(&call.name).or_default().insert(*revision, call);
        }
    }
    written
}

/// An acknowledged update of revision `r` that made revision `s` leaves no room for another write between them.
fn writes_follow_each_other(calls: &[&ObjectCall]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, writes) in acknowledged(calls) {
        for (revision, call) in &writes {
            let (Asked::Update(from) | Asked::Delete(from)) = call.asked else {
                continue;
            };
            if let Some((between, other)) = writes
                .iter()
                .find(|(between, _)| (from + 1..*revision).contains(*between))
            {
                found.push(format!(
                    "{name}: {call:?} was acknowledged at {revision}, although {other:?} had changed it at {between}"
                ));
            }
        }
    }
    found
}

/// A read gives what the last write that was acknowledged before it made, or something later.
fn reads_are_fresh(calls: &[&ObjectCall]) -> Vec<String> {
    let written = acknowledged(calls);
    let mut found = Vec::new();
    for read in calls.iter().filter(|call| call.asked == Asked::Get) {
        let Told::Done(revision, token) = &read.told else {
            continue;
        };
        let Some(writes) = written.get(read.name.as_str()) else {
            continue;
        };
        let newer = writes
            .range(revision + 1..)
            .find(|(_, write)| write.returned < read.invoked);
        if let Some((later, write)) = newer {
            found.push(format!(
                "{read:?} is older than {write:?}, acknowledged at {later} before it began"
            ));
        }
        if let Some(write) = writes.get(revision).filter(|write| write.token != *token) {
            found.push(format!("{read:?} has another content than {write:?} wrote there"));
        }
    }
    found
}

fn watch_is_whole(watch: &ObjectWatchRecord, written: &BTreeMap<&str, BTreeMap<i64, &ObjectCall>>) -> Vec<String> {
    let mut found = Vec::new();
    let mut last: BTreeMap<&str, (Change, i64)> = BTreeMap::new();
    let mut told: BTreeSet<(i64, &str)> = BTreeSet::new();
    // The present objects come first, at whatever revisions they are.
    let mut highest = 0;
    for (change, name, revision, token) in &watch.changes {
        // A watch that ended before its objects were all there was told of nothing else.
        let begins = *revision <= watch.initial || (watch.start == 0 && watch.initial == 0);
        if !begins && *revision < highest {
            found.push(format!(
                "a watch from {} was told of {name} at {revision} after {highest}",
                watch.start
            ));
        }
        highest = highest.max(*revision).max(watch.initial);
        if !told.insert((*revision, name)) {
            found.push(format!(
                "a watch from {} was told twice of {name} at {revision}",
                watch.start
            ));
        }
        let there = last.insert(name, (*change, *revision));
        let fits = match (there, change) {
            (None | Some((Change::Deleted, _)), Change::Added) | (None, _) => true,
            (Some((Change::Added | Change::Modified, _)), Change::Modified | Change::Deleted) => true,
            (Some(_), _) => false,
        };
        if !fits {
            found.push(format!(
                "a watch from {} was told {change:?} of {name} at {revision} after {there:?}",
                watch.start
            ));
        }
        let write = written.get(name.as_str()).and_then(|writes| writes.get(revision));
        if let Some(write) = write.filter(|write| *change != Change::Deleted && write.token != *token) {
            found.push(format!(
                "a watch from {} was told {token} of {name} at {revision}; {write:?}",
                watch.start
            ));
        }
    }
    let from = watch.start.max(watch.initial);
    for (name, writes) in written {
        let due = writes
            .keys()
            .filter(|revision| from < **revision && **revision <= watch.bookmarked);
        let missing: Vec<i64> = due
            .filter(|revision| !told.contains(&(**revision, *name)))
            .copied()
            .collect();
        if !missing.is_empty() {
            found.push(format!(
                "a watch from {from} was told that it had all up to {}, and not of {name} at {missing:?}",
                watch.bookmarked
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(start: i64, initial: i64, revisions: &[i64]) -> Vec<String> {
        let change = |(index, revision): (usize, &i64)| {
            let name = format!("object-{index}");
            (Change::Added, name, *revision, String::new())
        };
        let watch = ObjectWatchRecord {
            start,
            changes: revisions.iter().enumerate().map(change).collect(),
            bookmarked: initial,
            initial,
        };
        watch_is_whole(&watch, &BTreeMap::new())
    }

    #[test]
    fn only_the_objects_that_a_watch_begins_with_may_be_in_any_order() {
        for (start, initial, revisions, is_right) in [
            (0, 9, &[9, 5, 10, 12][..], true),
            (0, 9, &[9, 5, 12, 10], false),
            // It broke off among the objects that it begins with.
            (0, 0, &[364, 348], true),
            (4, 0, &[364, 348], false),
        ] {
            let found = watched(start, initial, revisions);
            assert_eq!(found.is_empty(), is_right, "{start} {initial} {revisions:?}: {found:?}");
        }
    }
}
