//! What may change of a job: hardly anything of its pods, unless it is suspended.

use trireme_proto::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Affinity, Container, PodTemplateSpec},
};

use super::{has_condition, validate::is_indexed};
use crate::{field_error::FieldErrors, validation::unchanged};

/// Checks a change of a job.
pub(super) fn validate(job: &Job, old_job: &Job, errors: &mut FieldErrors) {
    let (new, old) = (
        job.spec.clone().unwrap_or_default(),
        old_job.spec.clone().unwrap_or_default(),
    );
    errors.field("spec", |errors| {
        completions(&new, &old, errors);
        errors.field("selector", |errors| unchanged(&new.selector, &old.selector, errors));
        let before = old.template.clone().unwrap_or_default();
        let before = if has_no_pods(old_job) {
            with_what_may_change(before, &new.template.clone().unwrap_or_default())
        } else {
            before
        };
        errors.field("template", |errors| unchanged(&new.template, &Some(before), errors));
        errors.field("completionMode", |errors| {
            unchanged(&new.completion_mode, &old.completion_mode, errors);
        });
        errors.field("podFailurePolicy", |errors| {
            unchanged(&new.pod_failure_policy, &old.pod_failure_policy, errors);
        });
        errors.field("backoffLimitPerIndex", |errors| {
            unchanged(&new.backoff_limit_per_index, &old.backoff_limit_per_index, errors);
        });
        errors.field("managedBy", |errors| {
            unchanged(&new.managed_by, &old.managed_by, errors);
        });
        errors.field("successPolicy", |errors| {
            unchanged(&new.success_policy, &old.success_policy, errors);
        });
    });
}

/// How many pods must succeed may change only where each has a number, and together with how many run at once.
fn completions(new: &JobSpec, old: &JobSpec, errors: &mut FieldErrors) {
    errors.field("completions", |errors| {
        if !is_indexed(new) {
            return unchanged(&new.completions, &old.completions, errors);
        }
        if let Some(completions) = new.completions
            && new.completions != old.completions
            && new.completions != new.parallelism
        {
            errors.invalid(completions, "can only be modified in tandem with spec.parallelism");
        }
    });
}

/// True while a job is suspended and all its pods are gone.
fn has_no_pods(job: &Job) -> bool {
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let started = job.status.as_ref().is_some_and(|status| status.start_time.is_some());
    suspended && (!started || has_condition(job, "Suspended"))
}

/// The old template with all that may change while there are no pods as the new one has it.
fn with_what_may_change(mut old: PodTemplateSpec, new: &PodTemplateSpec) -> PodTemplateSpec {
    let new_meta = new.metadata.clone().unwrap_or_default();
    let meta = old.metadata.get_or_insert_default();
    meta.labels = new_meta.labels;
    meta.annotations = new_meta.annotations;
    let new_spec = new.spec.clone().unwrap_or_default();
    let spec = old.spec.get_or_insert_default();
    spec.affinity = affinity_with_nodes_of(spec.affinity.take(), new_spec.affinity.as_ref());
    spec.node_selector = new_spec.node_selector;
    spec.tolerations = new_spec.tolerations;
    spec.scheduling_gates = new_spec.scheduling_gates;
    same_resources(&mut spec.containers, &new_spec.containers);
    same_resources(&mut spec.init_containers, &new_spec.init_containers);
    old
}

fn affinity_with_nodes_of(old: Option<Affinity>, new: Option<&Affinity>) -> Option<Affinity> {
    let mut affinity = old.unwrap_or_default();
    affinity.node_affinity = new.and_then(|new| new.node_affinity.clone());
    // An empty one is as good as none.
    (new.is_some() || affinity != Affinity::default()).then_some(affinity)
}

fn same_resources(containers: &mut [Container], new: &[Container]) {
    for (container, new) in containers.iter_mut().zip(new) {
        container.resources.clone_from(&new.resources);
    }
}
