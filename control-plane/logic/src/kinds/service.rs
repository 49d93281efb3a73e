//! Services: one name and address for a changing set of pods.
//!
//! The cluster address is given out by the registry, not here: an empty one stays empty, and `None`
//! means that there is to be none.

use std::collections::BTreeSet;

use trireme_proto::api::{
    core::v1::{
        ClientIpConfig, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus, SessionAffinityConfig,
    },
    meta::v1::Time,
};

use super::columns::{AGE, NONE, age, column, or_none, wide};
use crate::{
    field_error::FieldErrors,
    human::joined_or,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{IMMUTABLE, in_range, int_or_string, labels, names, one_of, report},
};

/// The cluster address of a service without one.
const HEADLESS: &str = "None";
/// How long a client stays with one pod, in seconds, unless the service says otherwise.
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

impl Kind for Service {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        namespaced: true,
        subresources: &["status", "proxy"],
        columns: &[
            column("Type", "How the service is reached."),
            column("Cluster-IP", "Its address inside the cluster."),
            column("External-IP", "Its addresses for others."),
            column("Port(s)", "Its ports."),
            AGE,
            wide("Selector", "Which pods it leads to."),
        ],
        selectable_fields: &["spec.clusterIP", "spec.type"],
        name_rule: NameRule::DnsLabel1035,
    };

    fn set_defaults(&mut self) {
        self.status
            .get_or_insert_default()
            .load_balancer
            .get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        if spec.r#type.is_empty() {
            spec.r#type = "ClusterIP".into();
        }
        affinity_defaults(spec);
        for port in &mut spec.ports {
            port_defaults(port);
        }
        let external = is_external(spec);
        if external && spec.external_traffic_policy.is_empty() {
            spec.external_traffic_policy = "Cluster".into();
        }
        if spec.r#type != "ExternalName" {
            spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".into());
            family_defaults(spec);
        }
        if spec.r#type == "LoadBalancer" {
            spec.allocate_load_balancer_node_ports.get_or_insert(true);
        }
    }

    fn prepare_create(&mut self) {
        self.status = Some(ServiceStatus {
            load_balancer: Some(LoadBalancerStatus::default()),
            ..ServiceStatus::default()
        });
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        let (Some(spec), Some(old)) = (&mut self.spec, &old.spec) else {
            return;
        };
        // A client that leaves the address out keeps the one that was given out.
        let needs_address = spec.r#type != "ExternalName" && old.r#type != "ExternalName";
        if needs_address && spec.cluster_ip.is_empty() && spec.cluster_ips.is_empty() {
            spec.cluster_ip.clone_from(&old.cluster_ip);
            spec.cluster_ips.clone_from(&old.cluster_ips);
        }
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| validate_spec(&spec, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let (new, old) = (
            self.spec.clone().unwrap_or_default(),
            old.spec.clone().unwrap_or_default(),
        );
        let had_address = old.r#type != "ExternalName" && !old.cluster_ip.is_empty();
        if had_address && new.r#type != "ExternalName" && new.cluster_ip != old.cluster_ip {
            errors.field("spec.clusterIP", |errors| errors.invalid(&new.cluster_ip, IMMUTABLE));
        }
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let spec = self.spec.clone().unwrap_or_default();
        let address = match spec.cluster_ips.first() {
            Some(address) => address.clone(),
            None => or_none(&spec.cluster_ip),
        };
        vec![
            spec.r#type.clone(),
            address,
            external_cell(self, &spec),
            joined_or(spec.ports.iter().map(port_cell), NONE),
            age(metadata_of(self), now),
            or_none(&labels::map_text(&spec.selector)),
        ]
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        let spec = self.spec.as_ref();
        match path {
            "spec.clusterIP" => Some(spec.map(|spec| spec.cluster_ip.clone()).unwrap_or_default()),
            "spec.type" => Some(spec.map(|spec| spec.r#type.clone()).unwrap_or_default()),
            _ => None,
        }
    }
}

fn affinity_defaults(spec: &mut ServiceSpec) {
    if spec.session_affinity.is_empty() {
        spec.session_affinity = "None".into();
    }
    match spec.session_affinity.as_str() {
        "None" => spec.session_affinity_config = None,
        "ClientIP" => {
            let config = spec
                .session_affinity_config
                .get_or_insert_with(SessionAffinityConfig::default);
            let client = config.client_ip.get_or_insert_with(ClientIpConfig::default);
            client.timeout_seconds.get_or_insert(DEFAULT_AFFINITY_SECONDS);
        }
        _ => {}
    }
}

fn port_defaults(port: &mut ServicePort) {
    if port.protocol.is_empty() {
        port.protocol = "TCP".into();
    }
    if matches!(int_or_string(port.target_port.as_ref()), Ok(0) | Err("")) {
        port.target_port = Some(port.port.into());
    }
}

/// One family until the cluster is given two; the family of the address, if there is one.
fn family_defaults(spec: &mut ServiceSpec) {
    spec.ip_family_policy.get_or_insert_with(|| "SingleStack".into());
    if spec.cluster_ips.is_empty() && !spec.cluster_ip.is_empty() {
        spec.cluster_ips.push(spec.cluster_ip.clone());
    }
    if spec.ip_families.is_empty() {
        let family = if spec.cluster_ip.contains(':') { "IPv6" } else { "IPv4" };
        spec.ip_families.push(family.into());
    }
}

fn is_external(spec: &ServiceSpec) -> bool {
    matches!(spec.r#type.as_str(), "NodePort" | "LoadBalancer")
        || (spec.r#type == "ClusterIP" && !spec.external_ips.is_empty())
}

fn validate_spec(spec: &ServiceSpec, errors: &mut FieldErrors) {
    let headless = spec.cluster_ip == HEADLESS;
    errors.field("type", |errors| {
        one_of(
            &spec.r#type,
            &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
            errors,
        );
    });
    errors.field("sessionAffinity", |errors| {
        one_of(&spec.session_affinity, &["ClientIP", "None"], errors);
    });
    if let Some(seconds) = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|ip| ip.timeout_seconds)
    {
        errors.field("sessionAffinityConfig.clientIP.timeoutSeconds", |errors| {
            in_range(seconds.into(), 1, limits::AFFINITY_TIMEOUT_SECONDS.into(), errors);
        });
    }
    errors.field("selector", |errors| labels::labels(&spec.selector, errors));
    errors.field("ports", |errors| {
        if spec.ports.is_empty() && !headless && spec.r#type != "ExternalName" {
            errors.required("");
        }
        validate_ports(spec, errors);
    });
    errors.field("clusterIP", |errors| match spec.cluster_ip.as_str() {
        "" => {}
        HEADLESS if is_external(spec) => {
            errors.invalid(
                HEADLESS,
                format_args!("may not be set to 'None' for {} services", spec.r#type),
            );
        }
        HEADLESS => {}
        _ if spec.r#type == "ExternalName" => errors.forbidden("may not be set for ExternalName services"),
        address => report(address, names::ip_address(address), errors),
    });
    errors.field("externalName", |errors| {
        match (spec.r#type.as_str(), spec.external_name.as_str()) {
            ("ExternalName", "") => errors.required(""),
            ("ExternalName", name) => report(name, names::dns_subdomain(name.trim_end_matches('.')), errors),
            _ => {}
        }
    });
    errors.field("externalIPs", |errors| {
        for (index, address) in spec.external_ips.iter().enumerate() {
            errors.index(index, |errors| report(address, names::ip_address(address), errors));
        }
    });
    errors.field("externalTrafficPolicy", |errors| {
        match (is_external(spec), spec.external_traffic_policy.as_str()) {
            (true, policy) => one_of(policy, &["Cluster", "Local"], errors),
            (false, "") => {}
            (false, policy) => errors.invalid(policy, "may only be set for externally-accessible services"),
        }
    });
    if let Some(policy) = &spec.internal_traffic_policy {
        errors.field("internalTrafficPolicy", |errors| {
            one_of(policy, &["Cluster", "Local"], errors);
        });
    }
}

fn validate_ports(spec: &ServiceSpec, errors: &mut FieldErrors) {
    let (mut port_names, mut numbers, mut node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in spec.ports.iter().enumerate() {
        errors.index(index, |errors| {
            errors.field("name", |errors| match port.name.as_str() {
                "" if spec.ports.len() > 1 => errors.required(""),
                "" => {}
                name => {
                    report(name, names::dns_label(name), errors);
                    if !port_names.insert(name) {
                        errors.duplicate(name);
                    }
                }
            });
            errors.field("port", |errors| port_number(port.port, errors));
            errors.field("protocol", |errors| {
                one_of(&port.protocol, &["SCTP", "TCP", "UDP"], errors);
            });
            errors.field("targetPort", |errors| match int_or_string(port.target_port.as_ref()) {
                Ok(number) => port_number(number, errors),
                Err(name) => report(name, names::port_name(name), errors),
            });
            if !numbers.insert((&port.protocol, port.port)) {
                errors.duplicate(format!("{}/{}", port.port, port.protocol));
            }
            errors.field("nodePort", |errors| match port.node_port {
                0 => {}
                number if matches!(spec.r#type.as_str(), "NodePort" | "LoadBalancer") => {
                    port_number(number, errors);
                    if !node_ports.insert((&port.protocol, number)) {
                        errors.duplicate(number);
                    }
                }
                _ => errors.forbidden(format_args!("may not be used when `type` is '{}'", spec.r#type)),
            });
        });
    }
}

fn port_number(number: i32, errors: &mut FieldErrors) {
    for complaint in names::port_number(number.into()) {
        errors.invalid(number, complaint);
    }
}

fn external_cell(service: &Service, spec: &ServiceSpec) -> String {
    match spec.r#type.as_str() {
        "ExternalName" => or_none(&spec.external_name),
        "LoadBalancer" => {
            let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let given = balancer.iter().flat_map(|balancer| &balancer.ingress).map(|ingress| {
                if ingress.ip.is_empty() {
                    ingress.hostname.as_str()
                } else {
                    ingress.ip.as_str()
                }
            });
            joined_or(given.chain(spec.external_ips.iter().map(String::as_str)), "<pending>")
        }
        _ => joined_or(&spec.external_ips, NONE),
    }
}

fn port_cell(port: &ServicePort) -> String {
    match port.node_port {
        0 => format!("{}/{}", port.port, port.protocol),
        node_port => format!("{}:{node_port}/{}", port.port, port.protocol),
    }
}
