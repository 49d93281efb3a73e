//! PodDisruptionBudgets: how many of a set of pods may be evicted at once.

use trireme_proto::api::{
    meta::v1::{IntOrString, Time},
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
};

use super::{
    bump_generation,
    columns::{AGE, age, column},
    first_generation,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{AsJson, conditions, labels, not_negative, shares},
};

/// What a cell shows for a bound that is not set.
const NO_BOUND: &str = "N/A";

impl Kind for PodDisruptionBudget {
    const INFO: KindInfo = KindInfo {
        group: "policy",
        version: "v1",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        short_names: &["pdb"],
        categories: &[],
        namespaced: true,
        subresources: &["status"],
        columns: &[
            column("Min Available", "How many pods must stay available."),
            column("Max Unavailable", "How many pods may be unavailable."),
            column("Allowed Disruptions", "How many pods may be evicted now."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
        self.status.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
        self.status = Some(PodDisruptionBudgetStatus::default());
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
        errors.field("spec", |errors| validate_spec(&spec, errors));
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut FieldErrors) {
        let status = self.status.clone().unwrap_or_default();
        errors.field("status", |errors| {
            errors.field("conditions", |errors| {
                conditions::conditions(&status.conditions, errors);
            });
            for (field, value) in [
                ("disruptionsAllowed", status.disruptions_allowed),
                ("currentHealthy", status.current_healthy),
                ("desiredHealthy", status.desired_healthy),
                ("expectedPods", status.expected_pods),
            ] {
                errors.field(field, |errors| not_negative(value.into(), errors));
            }
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let spec = self.spec.clone().unwrap_or_default();
        let bound =
            |value: &Option<IntOrString>| value.as_ref().map_or_else(|| NO_BOUND.to_owned(), ToString::to_string);
        vec![
            bound(&spec.min_available),
            bound(&spec.max_unavailable),
            self.status
                .as_ref()
                .map_or(0, |status| status.disruptions_allowed)
                .to_string(),
            age(metadata_of(self), now),
        ]
    }
}

fn validate_spec(spec: &PodDisruptionBudgetSpec, errors: &mut FieldErrors) {
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        errors.invalid(AsJson(spec), "minAvailable and maxUnavailable cannot be both set");
    }
    for (field, bound) in [
        ("minAvailable", &spec.min_available),
        ("maxUnavailable", &spec.max_unavailable),
    ] {
        errors.field(field, |errors| {
            shares::number_or_percent(bound.as_ref(), errors);
            shares::at_most_all(bound.as_ref(), errors);
        });
    }
    if let Some(selector) = &spec.selector {
        errors.field("selector", |errors| labels::label_selector(selector, errors));
    }
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    if let Some(policy) = &spec.unhealthy_pod_eviction_policy
        && !policies.contains(&policy.as_str())
    {
        errors.field("unhealthyPodEvictionPolicy", |errors| {
            errors.not_supported(policy, &policies);
        });
    }
}
