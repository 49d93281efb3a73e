//! Jobs: pods that run until so many of them have succeeded.
//!
//! The selector of a job is made here, from its uid, unless the user asks to give one: so no two jobs ever
//! count each other's pods.

mod indexes;
mod policies;
mod status;
mod update;
pub(super) mod validate;

use trireme_proto::api::{
    batch::v1::{Job, JobSpec, JobStatus},
    meta::v1::Time,
};

use super::{
    bump_generation,
    columns::{AGE, age, column},
    first_generation,
    workload::{self, CONTAINERS, IMAGES, SELECTOR},
};
use crate::{
    field_error::FieldErrors,
    human::duration_between,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
};

/// The completion mode in which each pod has a number.
const INDEXED: &str = "Indexed";
/// Labels that say of which job a pod is, by name.
const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
/// The same by uid.
const UID_LABELS: [&str; 2] = ["controller-uid", SELECTED_LABEL];
/// The label by which a job selects its pods.
const SELECTED_LABEL: &str = "batch.kubernetes.io/controller-uid";

impl Kind for Job {
    const INFO: KindInfo = KindInfo {
        group: "batch",
        version: "v1",
        kind: "Job",
        plural: "jobs",
        singular: "job",
        short_names: &[],
        categories: &["all"],
        namespaced: true,
        subresources: &["status"],
        columns: &[
            column("Status", "What the job is doing, or how it ended."),
            column("Completions", "Pods that succeeded, of those that must."),
            column("Duration", "How long the job has taken."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        selectable_fields: &["status.successful"],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        template_defaults(spec);
        if spec.parallelism.is_none() {
            spec.parallelism = Some(1);
            spec.completions.get_or_insert(1);
        }
        let backoff_limit = match spec.backoff_limit_per_index {
            Some(_) => i32::MAX,
            None => limits::DEFAULT_BACKOFF_LIMIT,
        };
        spec.backoff_limit.get_or_insert(backoff_limit);
        spec.completion_mode.get_or_insert_with(|| "NonIndexed".into());
        spec.suspend.get_or_insert(false);
        spec.manual_selector.get_or_insert(false);
        let replaced_when = match spec.pod_failure_policy {
            Some(_) => "Failed",
            None => "TerminatingOrFailed",
        };
        spec.pod_replacement_policy.get_or_insert_with(|| replaced_when.into());
        let template = spec.template.as_ref().and_then(|template| template.metadata.as_ref());
        let pod_labels = template.map(|metadata| metadata.labels.clone()).unwrap_or_default();
        let metadata = self.metadata.get_or_insert_default();
        if metadata.labels.is_empty() {
            metadata.labels = pod_labels;
        }
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
        self.status = Some(JobStatus::default());
        make_selector(self);
    }

    fn forget_identity(&mut self) {
        forget_selector(self);
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        bump_generation(&mut self.metadata, self.spec != old.spec);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| {
            validate::spec(&spec, errors);
            validate::selector(&spec, errors);
        });
        validate::host_names(self, errors);
    }

    fn validate_create(&self, errors: &mut FieldErrors) {
        validate::made_selector(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        update::validate(self, old, errors);
    }

    fn validate_status_update(&self, old: &Self, errors: &mut FieldErrors) {
        status::validate(self, old, errors);
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let (spec, status) = (
            self.spec.clone().unwrap_or_default(),
            self.status.clone().unwrap_or_default(),
        );
        let [containers, images] = workload::template_cells(spec.template.as_ref());
        vec![
            status_cell(self).to_owned(),
            completions_cell(&spec, &status),
            duration_cell(&status, now),
            age(metadata_of(self), now),
            containers,
            images,
            workload::selector_cell(spec.selector.as_ref()),
        ]
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        let succeeded = || self.status.as_ref().map_or(0, |status| status.succeeded);
        (path == "status.successful").then(|| succeeded().to_string())
    }
}

/// Fills up what jobs and the jobs of cron jobs have alike.
pub(super) fn template_defaults(spec: &mut JobSpec) {
    workload::template_defaults(&mut spec.template);
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules);
    for pattern in rules.flat_map(|rule| &mut rule.on_pod_conditions) {
        if pattern.status.is_empty() {
            pattern.status = "True".into();
        }
    }
}

/// True if a job has a condition of this type that holds.
fn has_condition(job: &Job, kind: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.r#type == kind && condition.status == "True")
}

/// Gives the pods labels that name the job, and lets it select them by its uid.
fn make_selector(job: &mut Job) {
    let meta = job.metadata.get_or_insert_default();
    let (name, uid) = (meta.name.clone(), meta.uid.clone());
    let spec = job.spec.get_or_insert_default();
    if spec.manual_selector == Some(true) {
        return;
    }
    let template = spec.template.get_or_insert_default();
    let labels = &mut template.metadata.get_or_insert_default().labels;
    for (keys, value) in [(NAME_LABELS, &name), (UID_LABELS, &uid)] {
        for key in keys {
            labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }
    let selector = &mut spec.selector.get_or_insert_default().match_labels;
    selector.entry(SELECTED_LABEL.to_owned()).or_insert(uid);
}

/// Takes out again what [`make_selector`] made.
fn forget_selector(job: &mut Job) {
    let meta = job.metadata.clone().unwrap_or_default();
    let spec = job.spec.get_or_insert_default();
    if spec.manual_selector == Some(true) {
        return;
    }
    let template = spec.template.as_mut().and_then(|template| template.metadata.as_mut());
    if let Some(template) = template {
        for (keys, value) in [(NAME_LABELS, &meta.name), (UID_LABELS, &meta.uid)] {
            template
                .labels
                .retain(|key, given| !keys.contains(&key.as_str()) || given != value);
        }
    }
    if let Some(selector) = &mut spec.selector {
        selector
            .match_labels
            .retain(|key, given| key != SELECTED_LABEL || *given != meta.uid);
    }
}

fn status_cell(job: &Job) -> &'static str {
    let deleted = metadata_of(job).deletion_timestamp.is_some();
    if has_condition(job, "Complete") {
        "Complete"
    } else if has_condition(job, "Failed") {
        "Failed"
    } else if deleted {
        "Terminating"
    } else if has_condition(job, "Suspended") {
        "Suspended"
    } else if has_condition(job, "FailureTarget") {
        "FailureTarget"
    } else if has_condition(job, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions_cell(spec: &JobSpec, status: &JobStatus) -> String {
    match (spec.completions, spec.parallelism.unwrap_or(0)) {
        (Some(completions), _) => format!("{}/{completions}", status.succeeded),
        (None, parallelism @ 2..) => format!("{}/1 of {parallelism}", status.succeeded),
        (None, _) => format!("{}/1", status.succeeded),
    }
}

fn duration_cell(status: &JobStatus, now: Time) -> String {
    let Some(start) = status.start_time else {
        return String::new();
    };
    let end = status.completion_time.unwrap_or(now);
    duration_between(start, end)
}
