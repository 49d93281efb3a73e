//! Checks of a job's status, which other programs may write: it is consistent, and an end is an end.

use std::collections::BTreeSet;

use trireme_proto::api::{
    batch::v1::{Job, JobSpec, JobStatus},
    meta::v1::Time,
};

use super::{has_condition, indexes, validate::is_indexed};
use crate::{
    field_error::FieldErrors,
    validation::{AsJson, not_negative},
};

/// Checks a status of a job whose spec did not change.
pub(super) fn validate(job: &Job, old: &Job, errors: &mut FieldErrors) {
    let spec = job.spec.clone().unwrap_or_default();
    let (status, before) = (
        job.status.clone().unwrap_or_default(),
        old.status.clone().unwrap_or_default(),
    );
    errors.field("status", |errors| {
        counts(&status, errors);
        conditions(job, errors);
        times(job, &status, errors);
        finished(job, &spec, &status, errors);
        index_lists(&spec, &status, errors);
        if status.ready.unwrap_or(0) > status.active {
            errors.field("ready", |errors| {
                errors.invalid(status.ready.unwrap_or(0), "cannot set more ready pods than active");
            });
        }
        kept_conditions(job, old, errors);
        kept_counts(&spec, &status, &before, errors);
        kept_times(&spec, &status, &before, errors);
    });
}

fn counts(status: &JobStatus, errors: &mut FieldErrors) {
    for (field, value) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready.unwrap_or(0)),
        ("terminating", status.terminating.unwrap_or(0)),
    ] {
        errors.field(field, |errors| not_negative(value.into(), errors));
    }
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let mut seen = BTreeSet::new();
    errors.field("uncountedTerminatedPods", |errors| {
        for (field, uids) in [("succeeded", &uncounted.succeeded), ("failed", &uncounted.failed)] {
            errors.field(field, |errors| {
                for (index, uid) in uids.iter().enumerate() {
                    errors.index(index, |errors| {
                        if uid.is_empty() {
                            errors.invalid(uid, "must not be empty");
                        } else if !seen.insert(uid) {
                            errors.duplicate(uid);
                        }
                    });
                }
            });
        }
    });
}

/// Checks that conditions do not contradict each other.
fn conditions(job: &Job, errors: &mut FieldErrors) {
    let holds = |kind: &str| has_condition(job, kind);
    let (complete, failed) = (holds("Complete"), holds("Failed"));
    let (will_fail, succeeded) = (holds("FailureTarget"), holds("SuccessCriteriaMet"));
    errors.field("conditions", |errors| {
        for (bad, why) in [
            (
                complete && failed,
                "cannot set Complete=True and Failed=true conditions",
            ),
            (
                complete && will_fail,
                "cannot set Complete=True and FailureTarget=true conditions",
            ),
            (
                failed && !will_fail,
                "cannot set Failed=True condition without the FailureTarget=true condition",
            ),
            (
                complete && !succeeded,
                "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            ),
            (
                succeeded && failed,
                "cannot set SuccessCriteriaMet=True and Failed=true conditions",
            ),
            (
                succeeded && will_fail,
                "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
            ),
        ] {
            if bad {
                errors.invalid_unshown(why);
            }
        }
    });
}

fn times(job: &Job, status: &JobStatus, errors: &mut FieldErrors) {
    let complete = has_condition(job, "Complete");
    errors.field("completionTime", |errors| match (&status.completion_time, complete) {
        (Some(time), false) => errors.invalid(
            AsJson(time),
            "cannot set completionTime when there is no Complete=True condition",
        ),
        (None, true) => errors.required("completionTime is required for Complete jobs"),
        (Some(time), true) if status.start_time.is_some_and(|start| is_before(time, &start)) => {
            errors.invalid(AsJson(time), "completionTime cannot be set before startTime");
        }
        (Some(_), true) | (None, false) => {}
    });
}

fn is_before(one: &Time, other: &Time) -> bool {
    (one.seconds, one.nanos) < (other.seconds, other.nanos)
}

/// Checks that nothing of a job that ended goes on.
fn finished(job: &Job, spec: &JobSpec, status: &JobStatus, errors: &mut FieldErrors) {
    if !has_condition(job, "Complete") && !has_condition(job, "Failed") {
        return;
    }
    if status.active > 0 {
        errors.field("active", |errors| {
            errors.invalid(status.active, "active>0 is invalid for finished job");
        });
    }
    // A suspended job without any work ends before it begins.
    let nothing_to_do = spec.suspend == Some(true) && spec.completions == Some(0);
    if status.start_time.is_none() && !nothing_to_do {
        errors.field("startTime", |errors| {
            errors.required("startTime is required for finished job");
        });
    }
    if let Some(uncounted) = &status.uncounted_terminated_pods
        && !(uncounted.failed.is_empty() && uncounted.succeeded.is_empty())
    {
        errors.field("uncountedTerminatedPods", |errors| {
            errors.invalid(
                AsJson(uncounted),
                "uncountedTerminatedPods needs to be empty for finished job",
            );
        });
    }
    if status.terminating.is_some_and(|pods| pods > 0) {
        errors.field("terminating", |errors| {
            errors.invalid(
                status.terminating.unwrap_or(0),
                "terminating>0 is invalid for finished job",
            );
        });
    }
}

fn index_lists(spec: &JobSpec, status: &JobStatus, errors: &mut FieldErrors) {
    let completions = spec.completions.unwrap_or(0);
    let completed = indexes::parse(&status.completed_indexes, completions);
    errors.field("completedIndexes", |errors| {
        let text = &status.completed_indexes;
        if let (Some(_), Err(why)) = (spec.completions, &completed) {
            errors.invalid(text, format_args!("error parsing completedIndexes: {why}"));
        }
        if !text.is_empty() && !is_indexed(spec) {
            errors.invalid(
                text,
                "cannot set non-empty completedIndexes when non-indexed completion mode",
            );
        }
    });
    let Some(text) = &status.failed_indexes else { return };
    errors.field("failedIndexes", |errors| {
        if spec.backoff_limit_per_index.is_none() {
            return errors.invalid(
                text,
                "cannot set non-null failedIndexes when backoffLimitPerIndex is null",
            );
        }
        match (indexes::parse(text, completions), completed) {
            (Err(why), _) => errors.invalid(text, format_args!("error parsing failedIndexes: {why}")),
            (Ok(failed), Ok(completed)) => {
                if let Some(index) = indexes::shared(&failed, &completed) {
                    errors.invalid(
                        text,
                        format_args!("failedIndexes and completedIndexes overlap at index: {index}"),
                    );
                }
            }
            (Ok(_), Err(_)) => {}
        }
    });
}

/// Checks that an end stays an end.
fn kept_conditions(job: &Job, old: &Job, errors: &mut FieldErrors) {
    errors.field("conditions", |errors| {
        for kind in ["Failed", "Complete", "FailureTarget"] {
            if has_condition(old, kind) && !has_condition(job, kind) {
                errors.invalid_unshown(format_args!("cannot disable the terminal {kind}=True condition"));
            }
        }
        let (was_met, is_met) = (
            has_condition(old, "SuccessCriteriaMet"),
            has_condition(job, "SuccessCriteriaMet"),
        );
        if was_met && !is_met {
            errors.invalid_unshown("cannot disable the SuccessCriteriaMet=True condition");
        }
        if has_condition(old, "Complete") && !was_met && is_met {
            errors.invalid_unshown("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
        }
    });
}

fn kept_counts(spec: &JobSpec, status: &JobStatus, before: &JobStatus, errors: &mut FieldErrors) {
    if status.failed < before.failed {
        errors.field("failed", |errors| {
            errors.invalid(status.failed, "cannot decrease the failed counter");
        });
    }
    // A job of numbered pods may be made smaller, and loses the highest ones.
    let may_shrink = is_indexed(spec) && spec.completions == spec.parallelism;
    if status.succeeded < before.succeeded && !may_shrink {
        errors.field("succeeded", |errors| {
            errors.invalid(status.succeeded, "cannot decrease the succeeded counter");
        });
    }
}

fn kept_times(spec: &JobSpec, status: &JobStatus, before: &JobStatus, errors: &mut FieldErrors) {
    if let (Some(new), Some(old)) = (&status.completion_time, &before.completion_time)
        && new != old
    {
        errors.field("completionTime", |errors| {
            errors.invalid(AsJson(new), "completionTime cannot be mutated");
        });
    }
    if before.start_time.is_some() && before.start_time != status.start_time && spec.suspend != Some(true) {
        errors.field("startTime", |errors| {
            errors.required("startTime cannot be removed for unsuspended job");
        });
    }
}
