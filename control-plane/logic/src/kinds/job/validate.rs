//! Checks of the spec of a job, which jobs and cron jobs have alike, and of what only jobs have.

use trireme_proto::api::batch::v1::{Job, JobSpec};

use super::{INDEXED, NAME_LABELS, UID_LABELS, policies};
use crate::{
    field_error::FieldErrors,
    kind::metadata_of,
    kinds::pod_spec,
    limits,
    validation::{AsJson, labels, names, not_negative, report},
};

/// Checks a spec without its selector. The path is that of the spec.
pub(in crate::kinds) fn spec(spec: &JobSpec, errors: &mut FieldErrors) {
    for (field, value) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        (
            "ttlSecondsAfterFinished",
            spec.ttl_seconds_after_finished.map(i64::from),
        ),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ] {
        errors.field(field, |errors| not_negative(value.unwrap_or(0), errors));
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.field("backoffLimitPerIndex", |errors| {
            errors.required("when maxFailedIndexes is specified");
        });
    }
    if let Some(manager) = &spec.managed_by {
        errors.field("managedBy", |errors| {
            if manager.is_empty() {
                return errors.required("");
            }
            report(manager, names::domain_prefixed_path(manager), errors);
            if manager.len() > limits::MANAGED_BY_BYTES {
                errors.too_long(limits::MANAGED_BY_BYTES);
            }
        });
    }
    completion_mode(spec, errors);
    policies::validate(spec, errors);
    template(spec, errors);
}

/// True if each pod of a job has a number.
pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some(INDEXED)
}

fn completion_mode(spec: &JobSpec, errors: &mut FieldErrors) {
    match spec.completion_mode.as_deref() {
        Some(INDEXED) => indexed(spec, errors),
        Some("NonIndexed") | None => {
            for (field, value) in [
                ("backoffLimitPerIndex", spec.backoff_limit_per_index),
                ("maxFailedIndexes", spec.max_failed_indexes),
            ] {
                if let Some(value) = value {
                    errors.field(field, |errors| {
                        errors.invalid(value, "requires indexed completion mode");
                    });
                }
            }
        }
        Some(other) => errors.field("completionMode", |errors| {
            errors.not_supported(other, &["NonIndexed", INDEXED]);
        }),
    }
}

/// Checks what a job of numbered pods must keep to, so that lists of its indexes stay short.
fn indexed(spec: &JobSpec, errors: &mut FieldErrors) {
    let at_most = |field: &str, value: Option<i32>, bound: i32, why: String, errors: &mut FieldErrors| {
        if let Some(value) = value.filter(|value| *value > bound) {
            errors.field(field, |errors| errors.invalid(value, why));
        }
    };
    let parallel = limits::INDEXED_JOB_PARALLELISM;
    let why = format!("must be less than or equal to {parallel} when completion mode is {INDEXED}");
    at_most("parallelism", spec.parallelism, parallel, why, errors);
    let failed = limits::FAILED_INDEXES;
    let why = format!("must be less than or equal to {failed}");
    at_most("maxFailedIndexes", spec.max_failed_indexes, failed, why, errors);
    let Some(completions) = spec.completions else {
        return errors.field("completions", |errors| {
            errors.required(format_args!("when completion mode is {INDEXED}"));
        });
    };
    let why = "must be less than or equal to completions".to_owned();
    at_most("maxFailedIndexes", spec.max_failed_indexes, completions, why, errors);
    let many = limits::MANY_COMPLETIONS;
    if completions <= many || spec.backoff_limit_per_index.is_none() {
        return;
    }
    if spec.max_failed_indexes.is_none() {
        errors.field("maxFailedIndexes", |errors| {
            errors.required(format_args!("must be specified when completions is above {many}"));
        });
    }
    for (field, value, bound) in [
        ("parallelism", spec.parallelism, limits::MANY_COMPLETIONS_PARALLELISM),
        (
            "maxFailedIndexes",
            spec.max_failed_indexes,
            limits::MANY_COMPLETIONS_FAILED_INDEXES,
        ),
    ] {
        let why = format!(
            "must be less than or equal to {bound} when completions are above {many} and used with backoff limit per index"
        );
        at_most(field, value, bound, why, errors);
    }
}

/// Checks the pods, which must come to an end.
fn template(spec: &JobSpec, errors: &mut FieldErrors) {
    let template = spec.template.clone().unwrap_or_default();
    errors.field("template", |errors| {
        pod_spec::validate_template(&template, errors);
        let policy = template.spec.as_ref().map_or("", |spec| &spec.restart_policy);
        errors.field("spec.restartPolicy", |errors| match policy {
            // What users did not say is this by default.
            "Always" | "" => errors.required(r#"valid values: "OnFailure", "Never""#),
            "OnFailure" if spec.pod_failure_policy.is_some() => {
                errors.invalid(
                    policy,
                    r#"only "Never" is supported when podFailurePolicy is specified"#,
                );
            }
            "OnFailure" | "Never" => {}
            other => errors.not_supported(other, &["OnFailure", "Never"]),
        });
    });
}

/// Checks that a job selects its pods. The path is that of the spec.
pub(super) fn selector(spec: &JobSpec, errors: &mut FieldErrors) {
    let Some(selector) = &spec.selector else {
        return errors.field("selector", |errors| errors.required(""));
    };
    errors.field("selector", |errors| labels::label_selector(selector, errors));
    let template = spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let pod_labels = template.map(|metadata| metadata.labels.clone()).unwrap_or_default();
    if !labels::matches(selector, &pod_labels) {
        errors.field("template.metadata.labels", |errors| {
            errors.invalid(AsJson(&pod_labels), "`selector` does not match template `labels`");
        });
    }
}

/// Checks that what was made for the selector of a new job does not clash with what its user gave.
pub(super) fn made_selector(job: &Job, errors: &mut FieldErrors) {
    let (meta, spec) = (metadata_of(job), job.spec.clone().unwrap_or_default());
    let Some(selector) = spec.selector.filter(|_| spec.manual_selector != Some(true)) else {
        return;
    };
    let template = spec.template.unwrap_or_default().metadata.unwrap_or_default();
    let expected = UID_LABELS
        .iter()
        .map(|key| (*key, &meta.uid))
        .chain(NAME_LABELS.iter().map(|key| (*key, &meta.name)));
    errors.field("spec.template.metadata.labels", |errors| {
        for (key, value) in expected.clone() {
            let why = format!("must be '{value}'");
            errors.index(key, |errors| match template.labels.get(key) {
                None => errors.required(why),
                Some(given) if given != value => errors.invalid(AsJson(&template.labels), why),
                Some(_) => {}
            });
        }
    });
    let expected = expected.map(|(key, value)| (key.to_owned(), value.clone())).collect();
    if !labels::matches(&selector, &expected) {
        errors.field("spec.selector", |errors| {
            errors.invalid(AsJson(&selector), "`selector` not auto-generated");
        });
    }
}

/// Checks that the last of numbered pods can have its number in its host name.
pub(super) fn host_names(job: &Job, errors: &mut FieldErrors) {
    let Some(spec) = job.spec.as_ref().filter(|spec| is_indexed(spec)) else {
        return;
    };
    let Some(completions) = spec.completions.filter(|completions| *completions > 0) else {
        return;
    };
    let name = &metadata_of(job).name;
    let longest = format!("{name}-{}", completions - 1);
    if !names::dns_label(&longest).is_empty() {
        errors.field("metadata.name", |errors| {
            errors.invalid(
                name,
                format_args!("will not able to create pod with invalid DNS label: {longest}"),
            );
        });
    }
}
