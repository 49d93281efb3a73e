//! What a pod asks for and is limited to as a whole, by Kubernetes' rule: all containers and sidecars
//! together, or the largest step of its start if that is more, and its overhead.

use std::collections::BTreeMap;

use trireme_proto::{
    api::{
        core::v1::{Container, Pod, ResourceRequirements},
        meta::v1::Quantity,
    },
    quantity::Amount,
};

use crate::validation::quantities::amount;

/// Amounts by name of resource.
pub type Amounts = BTreeMap<String, Amount>;

/// What a pod asks for and is limited to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodTotals {
    /// What is set aside for it.
    pub requests: Amounts,
    /// What it may use; only of resources that some container limits.
    pub limits: Amounts,
}

/// The totals of a pod.
pub fn pod_totals(pod: &Pod) -> PodTotals {
    let mut totals = PodTotals {
        requests: total(pod, |resources| &resources.requests),
        limits: total(pod, |resources| &resources.limits),
    };
    let overhead = pod.spec.iter().flat_map(|spec| &spec.overhead);
    for (name, quantity) in overhead {
        *totals.requests.entry(name.clone()).or_default() += amount(quantity);
        // A resource without a limit is not limited by the overhead either.
        if let Some(limit) = totals.limits.get_mut(name) {
            *limit += amount(quantity);
        }
    }
    totals
}

fn total(pod: &Pod, list: fn(&ResourceRequirements) -> &BTreeMap<String, Quantity>) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let of = |container: &Container| -> Amounts {
        let list = container.resources.iter().flat_map(list);
        list.map(|(name, quantity)| (name.clone(), amount(quantity))).collect()
    };
    let mut running = Amounts::new();
    let mut largest_step = Amounts::new();
    for container in &spec.init_containers {
        let mut step = running.clone();
        add(&mut step, of(container));
        for (name, amount) in &step {
            let largest = largest_step.entry(name.clone()).or_default();
            *largest = (*largest).max(*amount);
        }
        if container.restart_policy.as_deref() == Some("Always") {
            running = step;
        }
    }
    for container in &spec.containers {
        add(&mut running, of(container));
    }
    for (name, amount) in largest_step {
        let sum = running.entry(name).or_default();
        *sum = (*sum).max(amount);
    }
    running
}

fn add(sum: &mut Amounts, amounts: Amounts) {
    for (name, amount) in amounts {
        *sum.entry(name).or_default() += amount;
    }
}
