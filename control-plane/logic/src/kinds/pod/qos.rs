//! The quality of service that a pod's resources amount to.

use std::collections::BTreeMap;

use trireme_proto::api::{core::v1::Pod, meta::v1::Quantity};

use crate::validation::quantities::is_zero;

/// `Guaranteed` if every container limits CPU and memory and asks for just that; `BestEffort` if none
/// asks for or limits anything; else `Burstable`.
pub fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return "BestEffort" };
    let mut nothing = true;
    let mut guaranteed = true;
    for container in spec.containers.iter().chain(&spec.init_containers) {
        let resources = container.resources.clone().unwrap_or_default();
        for name in ["cpu", "memory"] {
            let request = given(&resources.requests, name);
            let limit = given(&resources.limits, name);
            nothing &= request.is_none() && limit.is_none();
            // A missing request is the limit, by default.
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (nothing, guaranteed) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
    }
}

/// A quantity that is there and not zero.
fn given<'a>(list: &'a BTreeMap<String, Quantity>, name: &str) -> Option<&'a Quantity> {
    list.get(name).filter(|quantity| !is_zero(quantity))
}
