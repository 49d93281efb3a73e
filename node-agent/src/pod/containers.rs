//! One container's runs as the pod machine sees them: the newest one, from the runtime's list and the
//! journal together. Pure.

use crate::journal::{ContainerEnd, PodJournal};
use crate::pod::restart;
use crate::runtime::{ContainerInfo, ContainerState};
use crate::time::Moment;

/// Exit code of a run that vanished.
const LOST_EXIT_CODE: i32 = 137;

/// The newest run of a container.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run<'a> {
    /// There was none.
    Never,
    /// It was made but not started.
    Created(&'a ContainerInfo),
    /// It runs.
    Running(&'a ContainerInfo),
    /// It ended.
    Ended(&'a ContainerEnd),
}

/// Takes what the runtime lists into the journal: newer attempts, and ends that were not seen yet.
pub(crate) fn record_observations(journal: &mut PodJournal, containers: &[ContainerInfo], now: Moment) {
    let mut ordered: Vec<&ContainerInfo> = containers.iter().collect();
    ordered.sort_by(|left, right| (&left.name, left.attempt, &left.id).cmp(&(&right.name, right.attempt, &right.id)));
    for container in &ordered {
        let entry = journal.containers.entry(container.name.clone()).or_default();
        entry.attempt = entry.attempt.max(container.attempt);
        let is_new_end = container.state == ContainerState::Exited
            && entry.last.as_ref().is_none_or(|last| last.attempt < container.attempt);
        if is_new_end {
            restart::count_end(entry, end_of(container, now));
        }
    }
    // A run that was seen and is listed no more ended unseen.
    for (name, entry) in &mut journal.containers {
        let is_listed = ordered
            .iter()
            .any(|container| container.name == *name && container.attempt == entry.attempt);
        let has_ended = entry.last.as_ref().is_some_and(|last| last.attempt == entry.attempt);
        if !is_listed && !has_ended {
            let end = ContainerEnd {
                attempt: entry.attempt,
                exit_code: LOST_EXIT_CODE,
                reason: "ContainerStatusUnknown".to_owned(),
                message: "the container vanished from the runtime".to_owned(),
                started_at: now,
                finished_at: now,
                ..ContainerEnd::default()
            };
            restart::note_loss(entry, end);
        }
    }
}

fn end_of(container: &ContainerInfo, now: Moment) -> ContainerEnd {
    let reason = match container.reason.as_str() {
        "" if container.exit_code == 0 => "Completed",
        "" => "Error",
        reason => reason,
    };
    ContainerEnd {
        attempt: container.attempt,
        container_id: container.id.clone(),
        image: container.image.clone(),
        image_id: container.image_id.clone(),
        exit_code: container.exit_code,
        reason: reason.to_owned(),
        message: container.message.clone(),
        started_at: container.started_at,
        finished_at: if container.finished_at.is_unset() {
            now
        } else {
            container.finished_at
        },
    }
}

/// The newest run of the container called `name`. The journal has taken in `containers` before.
pub(crate) fn newest_run<'a>(journal: &'a PodJournal, containers: &'a [ContainerInfo], name: &str) -> Run<'a> {
    let of_name = containers.iter().filter(|container| container.name == name);
    let newest = of_name.max_by(|left, right| (left.attempt, &left.id).cmp(&(right.attempt, &right.id)));
    match newest {
        Some(container) if container.state == ContainerState::Created => Run::Created(container),
        // What the runtime cannot tell is taken as running: it is never started a second time.
        Some(container) if container.state != ContainerState::Exited => Run::Running(container),
        Some(_) | None => match journal.containers.get(name).and_then(|entry| entry.last.as_ref()) {
            Some(end) => Run::Ended(end),
            None => Run::Never,
        },
    }
}

/// The number of the next run of the container called `name`.
pub(crate) fn next_attempt(journal: &PodJournal, name: &str) -> u32 {
    journal
        .containers
        .get(name)
        .map_or(0, |entry| entry.attempt.saturating_add(1))
}
