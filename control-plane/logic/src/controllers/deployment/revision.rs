//! Finds or makes the ReplicaSet of the present template, and numbers it.

use std::collections::BTreeMap;

use prost::Message;
use trireme_proto::api::{
    apps::v1::{ReplicaSet, ReplicaSetSpec},
    core::v1::PodTemplateSpec,
    meta::v1::ObjectMeta,
};

use super::plan::{DESIRED_REPLICAS, MAX_REPLICAS, Plan, REVISION, REVISION_HISTORY};
use crate::{
    controllers::{
        names::{self, StableHash},
        owners::{self, POD_TEMPLATE_HASH},
    },
    kind::metadata_of,
    object::ObjectKey,
};

/// Length of a template's hash as text.
const HASH_LENGTH: usize = 10;
/// Annotations that stay where they are: they are about the one object that carries them.
const NOT_COPIED: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];

impl Plan<'_> {
    /// Finds the ReplicaSet of the present template, and gives it the newest number if it has not got it. It
    /// is the oldest that has this template, so that every pass finds the same.
    pub(super) fn sync_revision(&mut self) {
        let template = self.spec().template.clone().unwrap_or_default();
        self.current = self.sets.iter().position(|plan| {
            plan.set
                .spec
                .as_ref()
                .and_then(|spec| spec.template.as_ref())
                .is_some_and(|other| same(other, &template))
        });
        let Some(place) = self.current else { return };
        let number = self.next_revision();
        self.copy_annotations(place);
        let min_ready_seconds = self.spec().min_ready_seconds;
        let plan = &mut self.sets[place];
        plan.spec().min_ready_seconds = min_ready_seconds;
        let before = plan.revision();
        if before < number {
            let annotations = &mut plan.meta().annotations;
            if before > 0 {
                let history = annotations.entry(REVISION_HISTORY.to_owned()).or_default();
                if !history.is_empty() {
                    history.push(',');
                }
                history.push_str(&before.to_string());
            }
            annotations.insert(REVISION.to_owned(), number.to_string());
        }
        let number = plan.revision();
        self.number_deployment(number);
    }

    /// Makes the ReplicaSet of the present template, with so many replicas. False if its name is taken: the
    /// Deployment then tries another name in the next pass.
    pub(super) fn create_current(&mut self, replicas: i32) -> bool {
        let template = self.spec().template.clone().unwrap_or_default();
        let hash = template_hash(&template, self.status().collision_count);
        let meta = metadata_of(&self.deployment);
        let name = format!("{}-{hash}", meta.name);
        if self
            .world
            .get::<ReplicaSet>(&ObjectKey::new(meta.namespace.as_str(), name.as_str()))
            .is_some()
        {
            *self.status().collision_count.get_or_insert(0) += 1;
            return false;
        }
        let number = self.next_revision();
        let set = self.build(template, name, &hash, replicas);
        let place = self.add(set);
        self.current = Some(place);
        self.copy_annotations(place);
        self.sets[place]
            .meta()
            .annotations
            .insert(REVISION.to_owned(), number.to_string());
        if replicas > 0 {
            self.tell_size(place, 0);
        }
        self.number_deployment(number);
        true
    }

    fn build(&self, mut template: PodTemplateSpec, name: String, hash: &str, replicas: i32) -> ReplicaSet {
        let template_meta = template.metadata.get_or_insert_with(ObjectMeta::default);
        template_meta
            .labels
            .insert(POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
        let labels = template_meta.labels.clone();
        let mut selector = self.spec().selector.clone().unwrap_or_default();
        selector
            .match_labels
            .insert(POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
        ReplicaSet {
            metadata: Some(ObjectMeta {
                name,
                namespace: metadata_of(&self.deployment).namespace.clone(),
                labels,
                owner_references: vec![owners::controller_reference(&self.deployment)],
                ..ObjectMeta::default()
            }),
            spec: Some(ReplicaSetSpec {
                replicas: Some(replicas),
                min_ready_seconds: self.spec().min_ready_seconds,
                selector: Some(selector),
                template: Some(template),
            }),
            status: None,
        }
    }

    fn next_revision(&self) -> i64 {
        self.old()
            .into_iter()
            .map(|place| self.sets[place].revision())
            .max()
            .unwrap_or(0)
            + 1
    }

    /// The present ReplicaSet carries the Deployment's annotations, so that its history tells why it came.
    fn copy_annotations(&mut self, place: usize) {
        let from: BTreeMap<String, String> = metadata_of(&self.deployment)
            .annotations
            .iter()
            .filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self.sets[place].meta().annotations.extend(from);
    }

    fn number_deployment(&mut self, number: i64) {
        let meta = self.deployment.metadata.get_or_insert_with(ObjectMeta::default);
        meta.annotations.insert(REVISION.to_owned(), number.to_string());
    }
}

/// True if two templates are the same but for the hash label.
fn same(one: &PodTemplateSpec, other: &PodTemplateSpec) -> bool {
    if one.spec != other.spec {
        return false;
    }
    let bare = |template: &PodTemplateSpec| {
        let mut meta = template.metadata.clone().unwrap_or_default();
        meta.labels.remove(POD_TEMPLATE_HASH);
        meta
    };
    bare(one) == bare(other)
}

/// A short text that differs for different templates. It names new ReplicaSets only; old ones are found by
/// comparison, so a version that encodes templates differently rolls nothing out.
fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut hash = StableHash::new().write(&template.encode_to_vec());
    if let Some(collisions) = collisions {
        hash = hash.write(&collisions.to_le_bytes());
    }
    names::spell(hash.finish(), HASH_LENGTH)
}
