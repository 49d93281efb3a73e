//! Which pods belong to an owner: those it controls and still selects, and free ones that it selects.

use trireme_proto::api::core::v1::Pod;

use super::Replicas;
use crate::{
    controller::{Outcome, Write},
    controllers::{owners, pods},
    kind::metadata_of,
    world::World,
};

/// An owner's pods.
#[derive(Debug, Default)]
pub(super) struct Claim<'a> {
    /// Neither finished nor being deleted.
    pub(super) active: Vec<&'a Pod>,
    /// Failed for good, still stored.
    pub(super) failed: Vec<&'a Pod>,
    /// How many unfinished ones are being deleted.
    pub(super) terminating: usize,
}

/// Sorts out an owner's pods, and writes the adoptions and releases. A closed owner, which is being deleted
/// itself, does neither.
pub(super) fn claim<'a, K: Replicas>(world: &'a World, owner: &'a K, closed: bool, outcome: &mut Outcome) -> Claim<'a> {
    let mut claim = Claim::default();
    for pod in world.controlled_by::<Pod>(owners::uid_of(owner)) {
        if !closed && !owners::is_terminating(pod) && !owner.selects(&metadata_of(pod).labels) {
            release(owner, pod, outcome);
        } else {
            claim.add(pod);
        }
    }
    if closed {
        return claim;
    }
    for pod in world.without_controller::<Pod>(&metadata_of(owner).namespace) {
        if pods::is_active(pod) && owner.selects(&metadata_of(pod).labels) {
            adopt(owner, pod, outcome);
            claim.add(pod);
        }
    }
    claim
}

impl<'a> Claim<'a> {
    fn add(&mut self, pod: &'a Pod) {
        if pods::is_active(pod) {
            self.active.push(pod);
        } else if pods::is_failed(pod) {
            self.failed.push(pod);
        } else if !pods::is_finished(pod) {
            self.terminating += 1;
        }
    }
}

fn adopt<K: Replicas>(owner: &K, pod: &Pod, outcome: &mut Outcome) {
    let mut pod = pod.clone();
    if let Some(meta) = &mut pod.metadata {
        meta.owner_references
            .retain(|reference| reference.uid != owners::uid_of(owner));
        meta.owner_references.push(owners::controller_reference(owner));
    }
    outcome.writes.push(Write::UpdateOwnership(Box::new(pod)));
}

fn release<K: Replicas>(owner: &K, pod: &Pod, outcome: &mut Outcome) {
    let mut pod = pod.clone();
    if let Some(meta) = &mut pod.metadata {
        meta.owner_references
            .retain(|reference| reference.uid != owners::uid_of(owner));
    }
    outcome.writes.push(Write::UpdateOwnership(Box::new(pod)));
}
