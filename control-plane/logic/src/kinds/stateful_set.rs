//! StatefulSets: pods that have a number, a name and volumes of their own, which stay.

use trireme_proto::api::{
    apps::v1::{
        RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetStatus, StatefulSetUpdateStrategy,
    },
    core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume, VolumeSource},
    meta::v1::Time,
};

use super::{
    bump_generation,
    columns::{AGE, age, column},
    first_generation, persistent_volume_claim,
    workload::{self, CONTAINERS, IMAGES},
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, Scale, metadata_of},
    limits,
    validation::{AsJson, labels, names, not_negative, report, shares},
};

const RETAIN: &str = "Retain";
const DELETE: &str = "Delete";

impl Kind for StatefulSet {
    const INFO: KindInfo = KindInfo {
        group: "apps",
        version: "v1",
        kind: "StatefulSet",
        plural: "statefulsets",
        singular: "statefulset",
        short_names: &["sts"],
        categories: &["all"],
        namespaced: true,
        subresources: &["status", "scale"],
        columns: &[
            column("Ready", "Pods that are ready, of those wanted."),
            AGE,
            CONTAINERS,
            IMAGES,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit
            .get_or_insert(limits::DEFAULT_REVISION_HISTORY);
        default_text(&mut spec.pod_management_policy, "OrderedReady");
        workload::template_defaults(&mut spec.template);
        let strategy = spec.update_strategy.get_or_insert_default();
        default_text(&mut strategy.r#type, "RollingUpdate");
        if strategy.r#type == "RollingUpdate" {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.partition.get_or_insert(0);
            rolling.max_unavailable.get_or_insert_with(|| 1.into());
        }
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        default_text(&mut retention.when_deleted, RETAIN);
        default_text(&mut retention.when_scaled, RETAIN);
        spec.volume_claim_templates.iter_mut().for_each(claim_defaults);
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
        self.status = Some(StatefulSetStatus::default());
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

    fn validate_create(&self, errors: &mut FieldErrors) {
        // They never change after that, and older ones may be none that would be accepted now.
        let claims = self.spec.iter().flat_map(|spec| &spec.volume_claim_templates);
        errors.field("spec.volumeClaimTemplates", |errors| {
            for (index, claim) in claims.enumerate() {
                let spec = claim.spec.clone().unwrap_or_default();
                errors.index(index, |errors| {
                    errors.field("spec", |errors| persistent_volume_claim::validate_spec(&spec, errors));
                });
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let (new, old) = (
            self.spec.clone().unwrap_or_default(),
            old.spec.clone().unwrap_or_default(),
        );
        let as_if_unchanged = StatefulSetSpec {
            replicas: old.replicas,
            ordinals: old.ordinals,
            template: old.template.clone(),
            update_strategy: old.update_strategy.clone(),
            revision_history_limit: old.revision_history_limit,
            persistent_volume_claim_retention_policy: old.persistent_volume_claim_retention_policy.clone(),
            min_ready_seconds: old.min_ready_seconds,
            ..new
        };
        if as_if_unchanged != old {
            errors.field("spec", |errors| {
                errors.forbidden(
                    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                     'minReadySeconds' are forbidden",
                );
            });
        }
    }

    fn validate_status_update(&self, old: &Self, errors: &mut FieldErrors) {
        let status = self.status.clone().unwrap_or_default();
        let collisions_before = old.status.as_ref().and_then(|status| status.collision_count);
        errors.field("status", |errors| validate_status(&status, collisions_before, errors));
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let spec = self.spec.as_ref();
        let [containers, images] = workload::template_cells(spec.and_then(|spec| spec.template.as_ref()));
        let ready = self.status.as_ref().map_or(0, |status| status.ready_replicas);
        vec![
            format!("{ready}/{}", spec.and_then(|spec| spec.replicas).unwrap_or(0)),
            age(metadata_of(self), now),
            containers,
            images,
        ]
    }

    fn scale(&self) -> Option<Scale> {
        let spec = self.spec.as_ref();
        Some(Scale {
            spec_replicas: spec.and_then(|spec| spec.replicas).unwrap_or(0),
            status_replicas: self.status.as_ref().map_or(0, |status| status.replicas),
            selector: spec
                .and_then(|spec| spec.selector.as_ref())
                .map(labels::selector_text)
                .unwrap_or_default(),
        })
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.spec.get_or_insert_default().replicas = Some(replicas);
    }
}

fn default_text(value: &mut String, default: &str) {
    if value.is_empty() {
        *value = default.into();
    }
}

fn claim_defaults(claim: &mut PersistentVolumeClaim) {
    claim.metadata.get_or_insert_default();
    default_text(&mut claim.status.get_or_insert_default().phase, "Pending");
    persistent_volume_claim::spec_defaults(claim.spec.get_or_insert_default());
}

fn validate_spec(spec: &StatefulSetSpec, errors: &mut FieldErrors) {
    errors.field("podManagementPolicy", |errors| {
        match spec.pod_management_policy.as_str() {
            "" => errors.required(""),
            "OrderedReady" | "Parallel" => {}
            other => errors.invalid(other, "must be 'OrderedReady' or 'Parallel'"),
        }
    });
    let strategy = spec.update_strategy.clone().unwrap_or_default();
    errors.field("updateStrategy", |errors| validate_strategy(&strategy, errors));
    let retention = spec
        .persistent_volume_claim_retention_policy
        .clone()
        .unwrap_or_default();
    errors.field("persistentVolumeClaimRetentionPolicy", |errors| {
        for (field, policy) in [
            ("whenDeleted", &retention.when_deleted),
            ("whenScaled", &retention.when_scaled),
        ] {
            if ![RETAIN, DELETE].contains(&policy.as_str()) {
                errors.field(field, |errors| errors.not_supported(policy, &[RETAIN, DELETE]));
            }
        }
    });
    for (field, value) in [
        ("replicas", spec.replicas.unwrap_or(0)),
        ("minReadySeconds", spec.min_ready_seconds),
        ("revisionHistoryLimit", spec.revision_history_limit.unwrap_or(0)),
        ("ordinals.start", spec.ordinals.map_or(0, |ordinals| ordinals.start)),
    ] {
        errors.field(field, |errors| not_negative(value.into(), errors));
    }
    if !spec.service_name.is_empty() {
        errors.field("serviceName", |errors| {
            report(&spec.service_name, names::dns_label(&spec.service_name), errors);
        });
    }
    let selector = spec.selector.as_ref();
    workload::validate_selector(selector, "empty selector is invalid for statefulset", errors);
    let template = spec
        .template
        .clone()
        .map(|template| with_claims(template, &spec.volume_claim_templates));
    workload::validate_template(
        "StatefulSet",
        template.as_ref(),
        |pod_labels| selector.is_none_or(|selector| labels::matches(selector, pod_labels)),
        errors,
    );
}

/// The template as its pods have it: with a volume for each claim, in place of any of the same name.
fn with_claims(mut template: PodTemplateSpec, claims: &[PersistentVolumeClaim]) -> PodTemplateSpec {
    let spec = template.spec.get_or_insert_default();
    for claim in claims {
        let name = claim
            .metadata
            .as_ref()
            .map(|meta| meta.name.clone())
            .unwrap_or_default();
        spec.volumes.retain(|volume| volume.name != name);
        let source = PersistentVolumeClaimVolumeSource {
            claim_name: name.clone(),
            read_only: false,
        };
        spec.volumes.push(Volume {
            name,
            volume_source: Some(VolumeSource {
                persistent_volume_claim: Some(source),
                ..VolumeSource::default()
            }),
        });
    }
    template
}

fn validate_strategy(strategy: &StatefulSetUpdateStrategy, errors: &mut FieldErrors) {
    match (strategy.r#type.as_str(), &strategy.rolling_update) {
        ("", _) => errors.required(""),
        ("OnDelete", Some(rolling)) => errors.field("rollingUpdate", |errors| {
            errors.invalid(AsJson(rolling), "only allowed for updateStrategy 'RollingUpdate'");
        }),
        ("RollingUpdate", Some(rolling)) => errors.field("rollingUpdate", |errors| {
            validate_rolling_update(rolling, errors);
        }),
        ("OnDelete" | "RollingUpdate", None) => {}
        (_, _) => errors.invalid(AsJson(strategy), "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

fn validate_rolling_update(rolling: &RollingUpdateStatefulSetStrategy, errors: &mut FieldErrors) {
    errors.field("partition", |errors| {
        not_negative(rolling.partition.unwrap_or(0).into(), errors);
    });
    let unavailable = rolling.max_unavailable.as_ref();
    if unavailable.is_some() {
        errors.field("maxUnavailable", |errors| {
            shares::number_or_percent(unavailable, errors);
            if shares::is_zero(unavailable) {
                errors.invalid(AsJson(&rolling.max_unavailable), "cannot be 0");
            }
            shares::at_most_all(unavailable, errors);
        });
    }
}

fn validate_status(status: &StatefulSetStatus, collisions_before: Option<i32>, errors: &mut FieldErrors) {
    let parts = [
        ("readyReplicas", status.ready_replicas),
        ("currentReplicas", status.current_replicas),
        ("updatedReplicas", status.updated_replicas),
        ("availableReplicas", status.available_replicas),
    ];
    errors.field("replicas", |errors| not_negative(status.replicas.into(), errors));
    for (field, value) in parts {
        errors.field(field, |errors| not_negative(value.into(), errors));
    }
    errors.field("observedGeneration", |errors| {
        not_negative(status.observed_generation, errors);
    });
    workload::validate_collisions(status.collision_count, collisions_before, errors);
    for (field, value) in parts {
        if value > status.replicas {
            errors.field(field, |errors| {
                errors.invalid(value, "cannot be greater than status.replicas");
            });
        }
    }
    if status.available_replicas > status.ready_replicas {
        errors.field("availableReplicas", |errors| {
            errors.invalid(status.available_replicas, "cannot be greater than status.readyReplicas");
        });
    }
}
