//! The numbers of a budget: how many pods there should be, must be, are healthy, and are about to go.

use std::collections::{BTreeMap, btree_map::Entry};

use trireme_proto::{
    Rounding,
    api::{
        apps::v1::Deployment,
        core::v1::Pod,
        meta::v1::{IntOrString, OwnerReference, Time},
        policy::v1::PodDisruptionBudget,
    },
};

use super::{covers, owners, pods};
use crate::{
    admission::group_resource, controllers::times, kind::metadata_of, limits::DISRUPTED_POD_MEMORY_SECONDS,
    object::Object, world::World,
};

/// What was counted of a budget's pods.
pub(super) struct Count<'a> {
    /// How many there should be.
    pub(super) expected: i32,
    /// How many must be healthy.
    pub(super) desired: i32,
    /// How many are, those aside that are about to go.
    pub(super) healthy: i32,
    /// Evicted pods that are not seen to go yet, and since when.
    pub(super) disrupted: BTreeMap<String, Time>,
    /// When the first of them counts again.
    pub(super) recheck_at: Option<Time>,
    /// Pods that should have gone, and did not.
    pub(super) stayed: Vec<&'a Pod>,
    /// It covers none.
    pub(super) has_no_pods: bool,
    /// How many there should be of some could not be said, and they were left out.
    pub(super) has_unmanaged_pods: bool,
}

impl Count<'_> {
    /// How many pods may go. None of a budget without pods, whose first ones may be there before they are counted.
    pub(super) fn allowed(&self) -> i32 {
        if self.expected > 0 {
            self.healthy.saturating_sub(self.desired).max(0)
        } else {
            0
        }
    }
}

/// Counts.
///
/// # Errors
/// Why it cannot be said how many pods there should be.
pub(super) fn count<'a>(world: &'a World, budget: &'a PodDisruptionBudget, now: Time) -> Result<Count<'a>, String> {
    let covered: Vec<&Pod> = world
        .list::<Pod>(&metadata_of(budget).namespace)
        .filter(|pod| covers(budget, pod))
        .collect();
    let Wanted {
        expected,
        desired,
        has_unmanaged_pods,
    } = wanted(world, budget, &covered)?;
    let mut count = Count {
        expected,
        desired,
        healthy: 0,
        disrupted: BTreeMap::new(),
        recheck_at: None,
        stayed: Vec::new(),
        has_no_pods: covered.is_empty(),
        has_unmanaged_pods,
    };
    let noted = budget.status.as_ref().map(|status| &status.disrupted_pods);
    for pod in covered {
        if owners::is_terminating(pod) {
            continue;
        }
        let name = &metadata_of(pod).name;
        if let Some(since) = noted.and_then(|noted| noted.get(name)) {
            let until = times::plus_seconds(*since, DISRUPTED_POD_MEMORY_SECONDS);
            if times::is_after(until, now) {
                count.disrupted.insert(name.clone(), *since);
                count.recheck_at = times::earlier(count.recheck_at, Some(until));
                continue;
            }
            count.stayed.push(pod);
        }
        count.healthy += i32::from(pods::is_ready(pod));
    }
    Ok(count)
}

/// What is wanted of a budget's pods.
#[derive(Default)]
struct Wanted {
    expected: i32,
    desired: i32,
    has_unmanaged_pods: bool,
}

fn wanted(world: &World, budget: &PodDisruptionBudget, covered: &[&Pod]) -> Result<Wanted, String> {
    let spec = budget.spec.as_ref();
    let share =
        |bound: &IntOrString, expected: i32| bound.resolve(expected, Rounding::Up).map_err(|error| error.to_string());
    if let Some(most) = spec.and_then(|spec| spec.max_unavailable.as_ref()) {
        let (expected, has_unmanaged_pods) = scale_of_owners(world, covered)?;
        let desired = expected.saturating_sub(share(most, expected)?).max(0);
        return Ok(Wanted {
            expected,
            desired,
            has_unmanaged_pods,
        });
    }
    let Some(least) = spec.and_then(|spec| spec.min_available.as_ref()) else {
        return Ok(Wanted::default());
    };
    // A plain number needs nobody's scale.
    let (expected, has_unmanaged_pods) = if least.as_str().is_none() {
        (i32::try_from(covered.len()).unwrap_or(i32::MAX), false)
    } else {
        scale_of_owners(world, covered)?
    };
    Ok(Wanted {
        expected,
        desired: share(least, expected)?,
        has_unmanaged_pods,
    })
}

/// How many pods their owners want together, and whether some have none and were left out.
fn scale_of_owners(world: &World, covered: &[&Pod]) -> Result<(i32, bool), String> {
    let mut has_unmanaged_pods = false;
    let mut scale_by_uid = BTreeMap::new();
    for pod in covered {
        let Some(reference) = owners::controller_of(metadata_of(*pod)) else {
            has_unmanaged_pods = true;
            continue;
        };
        if let Entry::Vacant(entry) = scale_by_uid.entry(reference.uid.as_str()) {
            entry.insert(scale_of(world, pod, reference)?);
        }
    }
    // The sets of one Deployment are counted as that, once.
    let by_owner: BTreeMap<&str, i32> = scale_by_uid.into_values().collect();
    let expected = by_owner.into_values().fold(0, i32::saturating_add);
    Ok((expected, has_unmanaged_pods))
}

/// Uid and scale of the workload that a pod belongs to: of its controller, or of the Deployment behind that.
fn scale_of<'a>(world: &'a World, pod: &Pod, reference: &OwnerReference) -> Result<(&'a str, i32), String> {
    let none = || format!("found no controllers for pod \"{}\"", metadata_of(pod).name);
    let owner = object_of(world, pod, reference).ok_or_else(none)?;
    let deployment =
        owners::controller_named::<Deployment>(owner.metadata()).and_then(|reference| object_of(world, pod, reference));
    let workload = deployment.unwrap_or(owner);
    let scale = workload.scale().ok_or_else(|| {
        let resource = group_resource(workload.info());
        format!("{resource} does not implement the scale subresource")
    })?;
    Ok((workload.metadata().uid.as_str(), scale.spec_replicas))
}

/// The object that is referred to, if it is there and in the pod's namespace.
fn object_of<'a>(world: &'a World, pod: &Pod, reference: &OwnerReference) -> Option<&'a dyn Object> {
    let object = world.by_uid(&reference.uid)?;
    (object.metadata().namespace == metadata_of(pod).namespace).then_some(&**object)
}
