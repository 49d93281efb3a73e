//! What may change of a pod once it was made.

use std::collections::BTreeSet;

use trireme_proto::api::core::v1::{Container, Pod, PodSpec, Toleration};

use crate::{
    field_error::FieldErrors,
    kinds::pod_spec,
    validation::{AsJson, in_range},
};

/// Checks a change of a pod's spec: images, a nearer deadline, further tolerations, and gates that open.
pub(super) fn validate(pod: &Pod, old: &Pod, errors: &mut FieldErrors) {
    if pod.spec == old.spec {
        return;
    }
    let (new, old) = (
        pod.spec.clone().unwrap_or_default(),
        old.spec.clone().unwrap_or_default(),
    );
    errors.field("spec", |errors| {
        deadline(&new, &old, errors);
        tolerations(&new.tolerations, &old.tolerations, errors);
        scheduling_gates(&new, &old, errors);
        if as_if_unchanged(&new, &old) != old {
            errors.forbidden(
                "pod updates may not change fields other than `spec.containers[*].image`,\
                 `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                 `spec.tolerations` (only additions to existing tolerations),\
                 `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
            );
        }
    });
}

/// Checks a change of a pod's status: a finished pod stays finished (invariant I4).
pub(super) fn validate_status(pod: &Pod, old: &Pod, errors: &mut FieldErrors) {
    let phase = |pod: &Pod| {
        pod.status
            .as_ref()
            .map(|status| status.phase.clone())
            .unwrap_or_default()
    };
    let (new, old_phase) = (phase(pod), phase(old));
    errors.field("status", |errors| {
        if super::is_finished(old) && new != old_phase {
            errors.field("phase", |errors| {
                errors.invalid(&new, format_args!("a pod that has {old_phase} cannot change its phase"));
            });
        }
        let phases = ["", "Pending", "Running", "Succeeded", "Failed", "Unknown"];
        if !phases.contains(&new.as_str()) {
            errors.field("phase", |errors| errors.not_supported(&new, &phases[1..]));
        }
    });
}

/// The new spec with everything that may change as it was, so that what still differs is at fault.
fn as_if_unchanged(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut spec = new.clone();
    same_images(&mut spec.containers, &old.containers);
    same_images(&mut spec.init_containers, &old.init_containers);
    spec.active_deadline_seconds = old.active_deadline_seconds;
    spec.tolerations.clone_from(&old.tolerations);
    spec.scheduling_gates.clone_from(&old.scheduling_gates);
    if old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0)
        && new.termination_grace_period_seconds == Some(1)
    {
        spec.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if !old.scheduling_gates.is_empty() {
        // While it is gated a pod may be told more narrowly where to run.
        spec.node_selector.clone_from(&old.node_selector);
    }
    spec
}

fn same_images(containers: &mut [Container], old: &[Container]) {
    for (container, old) in containers.iter_mut().zip(old) {
        container.image.clone_from(&old.image);
    }
}

fn deadline(new: &PodSpec, old: &PodSpec, errors: &mut FieldErrors) {
    errors.field("activeDeadlineSeconds", |errors| {
        match (new.active_deadline_seconds, old.active_deadline_seconds) {
            (Some(new), Some(old)) if new > old => {
                errors.invalid(new, format_args!("must be less than or equal to previous value {old}"));
            }
            (Some(new), _) => in_range(new, 0, i64::from(i32::MAX), errors),
            (None, Some(old)) => errors.invalid(AsJson(&old), "must not update from a positive integer to nil value"),
            (None, None) => {}
        }
    });
}

/// Tolerations may be added; of those that were there only the seconds may change.
fn tolerations(new: &[Toleration], old: &[Toleration], errors: &mut FieldErrors) {
    let kept: BTreeSet<_> = new.iter().map(identity).collect();
    errors.field("tolerations", |errors| {
        if !old.iter().all(|old| kept.contains(&identity(old))) {
            errors.forbidden("existing toleration can not be modified except its tolerationSeconds");
        }
        pod_spec::validate_tolerations(new, errors);
    });
}

/// What a toleration is about, without its seconds.
fn identity(toleration: &Toleration) -> (&str, &str, &str, &str) {
    (
        &toleration.key,
        &toleration.operator,
        &toleration.value,
        &toleration.effect,
    )
}

fn scheduling_gates(new: &PodSpec, old: &PodSpec, errors: &mut FieldErrors) {
    let before: BTreeSet<&str> = old.scheduling_gates.iter().map(|gate| gate.name.as_str()).collect();
    let added = new
        .scheduling_gates
        .iter()
        .find(|gate| !before.contains(gate.name.as_str()));
    if let Some(gate) = added {
        errors.field("schedulingGates", |errors| {
            errors.forbidden(format_args!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                gate.name
            ));
        });
    }
    if !old.scheduling_gates.is_empty() {
        let narrower = old
            .node_selector
            .iter()
            .all(|(key, value)| new.node_selector.get(key) == Some(value));
        if !narrower {
            errors.field("nodeSelector", |errors| {
                errors.invalid(
                    &new.node_selector,
                    "only additions are allowed (no mutations or deletions)",
                );
            });
        }
    }
}
