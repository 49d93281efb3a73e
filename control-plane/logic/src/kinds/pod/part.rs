//! Changes of a pod that runs, through parts of it: containers to look into it, and what its containers may use.

use std::collections::{BTreeMap, BTreeSet};

use trireme_proto::api::core::v1::{Container, EphemeralContainer, EphemeralContainerCommon, Pod, PodSpec};

use super::qos_class;
use crate::{
    field_error::FieldErrors,
    kinds::bump_generation,
    validation::{names, report},
};

/// Which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPart {
    /// `ephemeralContainers`, which are only ever added.
    EphemeralContainers,
    /// `resources` of its containers.
    Resources,
}

/// Makes of `pod` the old one with nothing changed but the part.
pub fn prepare(part: PodPart, pod: &mut Pod, old: &Pod) {
    let sent = pod.spec.take().unwrap_or_default();
    let mut spec = old.spec.clone().unwrap_or_default();
    match part {
        PodPart::EphemeralContainers => spec.ephemeral_containers = sent.ephemeral_containers,
        PodPart::Resources => {
            take_resources(&mut spec.containers, &sent.containers);
            take_resources(&mut spec.init_containers, &sent.init_containers);
        }
    }
    pod.spec = Some(spec);
    pod.status.clone_from(&old.status);
    bump_generation(&mut pod.metadata, pod.spec != old.spec);
}

/// Checks the change of the part. The whole pod is checked beside it.
pub fn validate(part: PodPart, pod: &Pod, old: &Pod, errors: &mut FieldErrors) {
    let spec = |pod: &Pod| pod.spec.clone().unwrap_or_default();
    errors.field("spec", |errors| match part {
        PodPart::EphemeralContainers => ephemeral_containers(&spec(pod), &spec(old), errors),
        PodPart::Resources => {
            if qos_class(pod) != qos_class(old) {
                errors.invalid(qos_class(pod), "Pod QOS Class may not change as a result of resizing");
            }
        }
    });
}

fn take_resources(containers: &mut [Container], sent: &[Container]) {
    let sent: BTreeMap<&str, &Container> = sent
        .iter()
        .map(|container| (container.name.as_str(), container))
        .collect();
    for container in containers {
        if let Some(sent) = sent.get(container.name.as_str()) {
            container.resources.clone_from(&sent.resources);
            container.resize_policy.clone_from(&sent.resize_policy);
        }
    }
}

fn ephemeral_containers(new: &PodSpec, old: &PodSpec, errors: &mut FieldErrors) {
    let after = by_name(new);
    let before = by_name(old);
    let others: BTreeSet<&str> = new
        .init_containers
        .iter()
        .chain(&new.containers)
        .map(|container| container.name.as_str())
        .collect();
    errors.field("ephemeralContainers", |errors| {
        let mut seen = others.clone();
        for (index, container) in new.ephemeral_containers.iter().enumerate() {
            errors.index(index, |errors| {
                let common = container.ephemeral_container_common.clone().unwrap_or_default();
                match before.get(common.name.as_str()) {
                    Some(old) if *old != container => errors.forbidden(format_args!(
                        "existing ephemeral containers {:?} may not be changed",
                        common.name
                    )),
                    Some(_) => {}
                    None => added(&common, &container.target_container_name, &others, errors),
                }
                if !common.name.is_empty() && !seen.insert(name(container)) {
                    errors.field("name", |errors| errors.duplicate(&common.name));
                }
            });
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            errors.forbidden(format_args!(
                "existing ephemeral containers {name:?} may not be removed"
            ));
        }
    });
}

/// Checks a container that is new. It shares what the pod has, and nothing waits for it.
fn added(common: &EphemeralContainerCommon, target: &str, others: &BTreeSet<&str>, errors: &mut FieldErrors) {
    errors.field("name", |errors| match common.name.as_str() {
        "" => errors.required(""),
        name => report(name, names::dns_label(name), errors),
    });
    errors.field("image", |errors| {
        if common.image.is_empty() {
            errors.required("");
        }
    });
    errors.field("targetContainerName", |errors| {
        if !target.is_empty() && !others.contains(target) {
            let why = "not found";
            errors.invalid(target, why);
        }
    });
    let resources = common.resources.as_ref();
    for (field, is_set) in [
        ("ports", !common.ports.is_empty()),
        ("livenessProbe", common.liveness_probe.is_some()),
        ("readinessProbe", common.readiness_probe.is_some()),
        ("startupProbe", common.startup_probe.is_some()),
        ("lifecycle", common.lifecycle.is_some()),
        (
            "resources",
            resources.is_some_and(|resources| !resources.limits.is_empty() || !resources.requests.is_empty()),
        ),
    ] {
        if is_set {
            errors.field(field, |errors| {
                errors.forbidden("cannot be set for an Ephemeral Container");
            });
        }
    }
}

fn by_name(spec: &PodSpec) -> BTreeMap<&str, &EphemeralContainer> {
    let named = |container| (name(container), container);
    spec.ephemeral_containers.iter().map(named).collect()
}

fn name(container: &EphemeralContainer) -> &str {
    let common = container.ephemeral_container_common.as_ref();
    common.map_or("", |common| common.name.as_str())
}

#[cfg(test)]
mod tests {
    use trireme_proto::api::{core::v1::ResourceRequirements, meta::v1::Quantity};

    use super::*;
    use crate::testing::mk_pod;

    fn debugger(name: &str) -> EphemeralContainer {
        EphemeralContainer {
            ephemeral_container_common: Some(EphemeralContainerCommon {
                name: name.into(),
                image: "tools:1".into(),
                ..EphemeralContainerCommon::default()
            }),
            target_container_name: String::new(),
        }
    }

    fn with_debuggers(names: &[&str]) -> Pod {
        let mut pod = mk_pod("shop", "web");
        pod.spec.get_or_insert_default().ephemeral_containers = names.iter().map(|name| debugger(name)).collect();
        pod
    }

    fn errors_of(part: PodPart, mut pod: Pod, old: &Pod) -> Vec<String> {
        prepare(part, &mut pod, old);
        let mut errors = FieldErrors::default();
        validate(part, &pod, old, &mut errors);
        errors.into_errors().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn containers_are_added_and_nothing_else_changes() {
        let old = with_debuggers(&["a"]);
        let mut pod = with_debuggers(&["a", "b"]);
        pod.spec.get_or_insert_default().node_name = "elsewhere".into();
        prepare(PodPart::EphemeralContainers, &mut pod, &old);
        let spec = pod.spec.clone().unwrap_or_default();
        assert_eq!((spec.ephemeral_containers.len(), spec.node_name.as_str()), (2, ""));
        assert_eq!(errors_of(PodPart::EphemeralContainers, pod, &old), Vec::<String>::new());
    }

    #[test]
    fn containers_that_break_rules_are_refused() {
        let old = with_debuggers(&["a"]);
        let main = old
            .spec
            .as_ref()
            .map(|spec| spec.containers[0].name.clone())
            .unwrap_or_default();
        let mut changed = with_debuggers(&["a"]);
        let mut foreign = with_debuggers(&["a", "b"]);
        let mut greedy = with_debuggers(&["a", "b"]);
        fn last(pod: &mut Pod) -> &mut EphemeralContainer {
            let list = &mut pod.spec.get_or_insert_default().ephemeral_containers;
            list.last_mut().expect("one")
        }
        last(&mut changed)
            .ephemeral_container_common
            .get_or_insert_default()
            .image = "other:1".into();
        last(&mut foreign).target_container_name = "nobody".into();
        let quantity = Quantity { string: "1".into() };
        last(&mut greedy)
            .ephemeral_container_common
            .get_or_insert_default()
            .resources = Some(ResourceRequirements {
            limits: [("cpu".into(), quantity)].into(),
            ..ResourceRequirements::default()
        });
        for (pod, words) in [
            (
                with_debuggers(&[]),
                "existing ephemeral containers \"a\" may not be removed",
            ),
            (
                changed,
                "spec.ephemeralContainers[0]: Forbidden: existing ephemeral containers \"a\" may not be changed",
            ),
            (
                with_debuggers(&["a", "b", "b"]),
                "spec.ephemeralContainers[2].name: Duplicate value: \"b\"",
            ),
            (with_debuggers(&["a", &main]), "Duplicate value"),
            (
                with_debuggers(&["a", "Not"]),
                "spec.ephemeralContainers[1].name: Invalid value",
            ),
            (
                foreign,
                "spec.ephemeralContainers[1].targetContainerName: Invalid value: \"nobody\": not found",
            ),
            (
                greedy,
                "spec.ephemeralContainers[1].resources: Forbidden: cannot be set for an Ephemeral Container",
            ),
        ] {
            let errors = errors_of(PodPart::EphemeralContainers, pod, &old);
            assert!(errors.iter().any(|error| error.contains(words)), "{words}: {errors:?}");
        }
    }

    #[test]
    fn resources_change_within_their_class() {
        let sized = |cpu: &str| {
            let mut pod = mk_pod("shop", "web");
            let container = &mut pod.spec.get_or_insert_default().containers[0];
            let requests = if cpu.is_empty() {
                BTreeMap::new()
            } else {
                [("cpu".into(), Quantity { string: cpu.into() })].into()
            };
            container.resources = Some(ResourceRequirements {
                requests,
                ..ResourceRequirements::default()
            });
            pod
        };
        let old = sized("1");
        let mut pod = sized("2");
        pod.spec.get_or_insert_default().containers[0].image = "other:1".into();
        prepare(PodPart::Resources, &mut pod, &old);
        let container = pod.spec.clone().unwrap_or_default().containers.remove(0);
        let was = old.spec.clone().unwrap_or_default().containers.remove(0);
        assert_eq!(container.image, was.image);
        assert_eq!(container.resources.expect("set").requests["cpu"].string, "2");
        let errors = errors_of(PodPart::Resources, sized(""), &old);
        assert_eq!(
            errors,
            ["spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing"]
        );
    }
}
