//! Which endpoints a service should have, grouped by what one slice must have in common: the family of the
//! addresses and the ports, which named target ports may make differ from pod to pod.

use std::collections::BTreeMap;

use trireme_proto::api::{
    core::v1::{Node, ObjectReference, Pod, Service, ServicePort},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort},
    meta::v1::IntOrString,
};

use super::pods_of;
use crate::{
    controllers::{owners, pods},
    kind::{Kind, metadata_of},
    object::ObjectKey,
    world::World,
};

/// Label of a node that says which zone it is in.
const ZONE: &str = "topology.kubernetes.io/zone";

/// What the endpoints of one slice have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    /// `IPv4` or `IPv6`.
    pub(super) address_type: String,
    /// The ports.
    pub(super) ports: Vec<Port>,
}

/// One port of a group: an `EndpointPort` that can be ordered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i32>,
    app_protocol: Option<String>,
}

/// The wanted endpoints of a group, by the uid of their pods.
pub(super) type Wanted = BTreeMap<Group, BTreeMap<String, Endpoint>>;

/// The endpoints that a service should have. There is always a group, so that there is always a slice.
pub(super) fn wanted(world: &World, service: &Service) -> Wanted {
    let mut wanted = Wanted::new();
    for pod in pods_of(world, service) {
        for address in pods::addresses(pod) {
            let address_type = if address.contains(':') { "IPv6" } else { "IPv4" };
            if takes_family(service, address_type) {
                let group = Group {
                    address_type: address_type.to_owned(),
                    ports: ports(service, Some(pod)),
                };
                let endpoint = endpoint(world, service, pod, address);
                wanted
                    .entry(group)
                    .or_default()
                    .entry(owners::uid_of(pod).to_owned())
                    .or_insert(endpoint);
            }
        }
    }
    if wanted.is_empty() {
        let family = service.spec.as_ref().and_then(|spec| spec.ip_families.first());
        let address_type = family.map_or("IPv4", String::as_str).to_owned();
        wanted.insert(
            Group {
                address_type,
                ports: ports(service, None),
            },
            BTreeMap::new(),
        );
    }
    wanted
}

/// True if a change of a pod cannot change any endpoint.
pub(super) fn looks_same(old: &Pod, new: &Pod) -> bool {
    let view = |pod: &Pod| (pods::is_ready(pod), pods::is_finished(pod), owners::is_terminating(pod));
    view(old) == view(new)
        && pods::addresses(old) == pods::addresses(new)
        && metadata_of(old).labels == metadata_of(new).labels
        && owners::uid_of(old) == owners::uid_of(new)
        && pods::spec(old).node_name == pods::spec(new).node_name
}

fn takes_family(service: &Service, address_type: &str) -> bool {
    let families = service.spec.as_ref().map_or(&[][..], |spec| &spec.ip_families);
    families.is_empty() || families.iter().any(|family| family == address_type)
}

fn endpoint(world: &World, service: &Service, pod: &Pod, address: &str) -> Endpoint {
    let spec = pods::spec(pod);
    let publish_always = service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.publish_not_ready_addresses);
    let serving = pods::is_ready(pod);
    let terminating = owners::is_terminating(pod);
    let node = world.get::<Node>(&ObjectKey::new("", spec.node_name.as_str()));
    let is_subdomain = !spec.hostname.is_empty() && spec.subdomain == metadata_of(service).name;
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publish_always || (serving && !terminating)),
            serving: Some(publish_always || serving),
            terminating: Some(terminating),
        }),
        hostname: is_subdomain.then(|| spec.hostname.clone()),
        target_ref: Some(ObjectReference {
            kind: Pod::INFO.kind.to_owned(),
            namespace: metadata_of(pod).namespace.clone(),
            name: metadata_of(pod).name.clone(),
            uid: metadata_of(pod).uid.clone(),
            ..ObjectReference::default()
        }),
        node_name: pods::is_bound(pod).then(|| spec.node_name.clone()),
        zone: node.and_then(|node| metadata_of(node).labels.get(ZONE).cloned()),
        ..Endpoint::default()
    }
}

/// The ports of a service as a pod offers them. A port whose name the pod does not know is left out.
fn ports(service: &Service, pod: Option<&Pod>) -> Vec<Port> {
    let list = service.spec.as_ref().map_or(&[][..], |spec| &spec.ports);
    let ports = list.iter().filter_map(|port| {
        let number = target(port, pod)?;
        Some(Port {
            name: Some(port.name.clone()),
            protocol: Some(protocol(port).to_owned()),
            port: Some(number),
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.collect()
}

fn protocol(port: &ServicePort) -> &str {
    if port.protocol.is_empty() {
        "TCP"
    } else {
        &port.protocol
    }
}

/// The number of the port on the pod; without a pod, only if it does not depend on one.
fn target(port: &ServicePort, pod: Option<&Pod>) -> Option<i32> {
    let target = port.target_port.as_ref();
    match target.and_then(IntOrString::as_str).filter(|name| !name.is_empty()) {
        None => Some(
            target
                .and_then(IntOrString::as_int)
                .filter(|number| *number != 0)
                .unwrap_or(port.port),
        ),
        Some(name) => {
            let spec = pods::spec(pod?);
            let sidecars = spec
                .init_containers
                .iter()
                .filter(|container| container.restart_policy.as_deref() == Some("Always"));
            let mut offered = spec
                .containers
                .iter()
                .chain(sidecars)
                .flat_map(|container| &container.ports);
            let found = offered.find(|offered| {
                let same_protocol = offered.protocol == protocol(port) || offered.protocol.is_empty();
                offered.name == name && same_protocol
            });
            found.map(|offered| offered.container_port)
        }
    }
}

impl Port {
    pub(super) fn of(port: &EndpointPort) -> Self {
        Self {
            name: port.name.clone(),
            protocol: port.protocol.clone(),
            port: port.port,
            app_protocol: port.app_protocol.clone(),
        }
    }

    pub(super) fn into_endpoint_port(self) -> EndpointPort {
        EndpointPort {
            name: self.name,
            protocol: self.protocol,
            port: self.port,
            app_protocol: self.app_protocol,
        }
    }
}
