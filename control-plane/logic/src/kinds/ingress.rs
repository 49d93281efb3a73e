//! Ingresses: which requests from outside lead to which services. An ingress controller, which is no part of the
//! cluster, acts upon them.

use std::net::IpAddr;

use trireme_proto::api::{
    core::v1::TypedLocalObjectReference,
    meta::v1::Time,
    networking::v1::{
        HttpIngressPath, Ingress, IngressBackend, IngressLoadBalancerStatus, IngressRule, IngressServiceBackend,
        IngressSpec, IngressStatus, IngressTls,
    },
};

use super::{
    bump_generation,
    columns::{AGE, NONE, age, column},
    first_generation,
};
use crate::{
    field_error::FieldErrors,
    human::joined_or,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{AsJson, names, report},
};

/// The older way to name an ingress's class.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// How many hosts a cell names; more are counted.
const SHOWN: usize = 3;
/// What no path that is compared may contain, for each reads differently to different programs.
const AMBIGUOUS_SEQUENCES: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
/// What no path that is compared may end with.
const AMBIGUOUS_ENDS: &[&str] = &["/..", "/."];

impl Kind for Ingress {
    const INFO: KindInfo = KindInfo {
        group: "networking.k8s.io",
        version: "v1",
        kind: "Ingress",
        plural: "ingresses",
        singular: "ingress",
        short_names: &["ing"],
        categories: &[],
        namespaced: true,
        subresources: &["status"],
        columns: &[
            column("Class", "Its class."),
            column("Hosts", "The hosts that its rules are about."),
            column("Address", "How it is reached."),
            column("Ports", "The ports it is served on."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.status
            .get_or_insert_default()
            .load_balancer
            .get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        let paths = spec
            .rules
            .iter_mut()
            .filter_map(|rule| rule.ingress_rule_value.as_mut()?.http.as_mut())
            .flat_map(|http| &mut http.paths)
            .map(|path| path.backend.get_or_insert_default());
        for backend in spec.default_backend.iter_mut().chain(paths) {
            if let Some(service) = &mut backend.service {
                service.port.get_or_insert_default();
            }
        }
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
        self.status = Some(IngressStatus {
            load_balancer: Some(IngressLoadBalancerStatus::default()),
        });
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

    /// One that exists may come to be served by another controller before its older annotation goes.
    fn validate_create(&self, errors: &mut FieldErrors) {
        let class = self.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        let annotation = metadata_of(self).annotations.get(CLASS_ANNOTATION);
        if let (Some(annotation), Some(class)) = (annotation, class)
            && annotation != class
        {
            errors.field("annotations", |errors| {
                errors.field(CLASS_ANNOTATION, |errors| {
                    errors.invalid(annotation, "must match `ingressClassName` when both are specified");
                });
            });
        }
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut FieldErrors) {
        let status = self.status.clone().unwrap_or_default();
        errors.field("status.loadBalancer.ingress", |errors| {
            for (index, way) in status.load_balancer.iter().flat_map(|ways| &ways.ingress).enumerate() {
                errors.index(index, |errors| {
                    if !way.ip.is_empty() {
                        errors.field("ip", |errors| report(&way.ip, names::ip_address(&way.ip), errors));
                    }
                    if !way.hostname.is_empty() {
                        errors.field("hostname", |errors| {
                            report(&way.hostname, names::dns_subdomain(&way.hostname), errors);
                            not_an_address(&way.hostname, errors);
                        });
                    }
                });
            }
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let spec = self.spec.clone().unwrap_or_default();
        let balancer = self.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ways = balancer.iter().flat_map(|balancer| &balancer.ingress);
        let ways = ways.map(|way| if way.ip.is_empty() { &way.hostname } else { &way.ip });
        vec![
            spec.ingress_class_name.clone().unwrap_or_else(|| NONE.into()),
            hosts_cell(&spec.rules),
            joined_or(ways, ""),
            if spec.tls.is_empty() { "80" } else { "80, 443" }.into(),
            age(metadata_of(self), now),
        ]
    }
}

fn validate_spec(spec: &IngressSpec, errors: &mut FieldErrors) {
    if spec.rules.is_empty() && spec.default_backend.is_none() {
        errors.invalid(
            AsJson(&spec.rules),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if let Some(backend) = &spec.default_backend {
        errors.field("defaultBackend", |errors| validate_backend(backend, errors));
    }
    errors.field("rules", |errors| {
        for (index, rule) in spec.rules.iter().enumerate() {
            errors.index(index, |errors| validate_rule(rule, errors));
        }
    });
    errors.field("tls", |errors| {
        for (index, tls) in spec.tls.iter().enumerate() {
            errors.index(index, |errors| validate_tls(tls, errors));
        }
    });
    if let Some(class) = &spec.ingress_class_name {
        errors.field("ingressClassName", |errors| {
            report(class, names::dns_subdomain(class), errors);
        });
    }
}

fn validate_rule(rule: &IngressRule, errors: &mut FieldErrors) {
    if !rule.host.is_empty() {
        errors.field("host", |errors| {
            not_an_address(&rule.host, errors);
            report(&rule.host, host_complaints(&rule.host), errors);
        });
    }
    let Some(http) = rule.ingress_rule_value.as_ref().and_then(|value| value.http.as_ref()) else {
        return;
    };
    errors.field("http.paths", |errors| {
        if http.paths.is_empty() {
            errors.required("");
        }
        for (index, path) in http.paths.iter().enumerate() {
            errors.index(index, |errors| validate_path(path, errors));
        }
    });
}

fn validate_path(path: &HttpIngressPath, errors: &mut FieldErrors) {
    let Some(path_type) = &path.path_type else {
        return errors.field("pathType", |errors| errors.required("pathType must be specified"));
    };
    let text = path.path.as_str();
    match path_type.as_str() {
        "Exact" | "Prefix" => errors.field("path", |errors| {
            if !text.starts_with('/') {
                errors.invalid(text, "must be an absolute path");
            }
            for sequence in AMBIGUOUS_SEQUENCES.iter().filter(|sequence| text.contains(**sequence)) {
                errors.invalid(text, format_args!("must not contain '{sequence}'"));
            }
            for end in AMBIGUOUS_ENDS.iter().filter(|end| text.ends_with(**end)) {
                errors.invalid(text, format_args!("cannot end with '{end}'"));
            }
        }),
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.field("path", |errors| errors.invalid(text, "must be an absolute path"));
            }
        }
        other => errors.field("pathType", |errors| {
            errors.not_supported(other, &["Exact", "ImplementationSpecific", "Prefix"]);
        }),
    }
    let backend = path.backend.clone().unwrap_or_default();
    errors.field("backend", |errors| validate_backend(&backend, errors));
}

fn validate_backend(backend: &IngressBackend, errors: &mut FieldErrors) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => errors.invalid("", "cannot set both resource and service backends"),
        (Some(resource), None) => errors.field("resource", |errors| validate_reference(resource, errors)),
        (None, Some(service)) => validate_service(service, errors),
        (None, None) => errors.invalid("", "resource or service backend is required"),
    }
}

fn validate_service(service: &IngressServiceBackend, errors: &mut FieldErrors) {
    errors.field("service.name", |errors| match service.name.as_str() {
        "" => errors.required(""),
        name => report(name, names::dns_label_1035(name), errors),
    });
    let port = service.port.clone().unwrap_or_default();
    match (port.name.as_str(), port.number) {
        ("", 0) => errors.required("port name or number is required"),
        ("", number) => errors.field("service.port.number", |errors| {
            for complaint in names::port_number(number.into()) {
                errors.invalid(number, complaint);
            }
        }),
        (name, 0) => errors.field("service.port.name", |errors| {
            report(name, names::port_name(name), errors);
        }),
        _ => errors.invalid("", "cannot set both port name & port number"),
    }
}

fn validate_reference(reference: &TypedLocalObjectReference, errors: &mut FieldErrors) {
    if let Some(group) = &reference.api_group {
        errors.field("apiGroup", |errors| report(group, names::dns_subdomain(group), errors));
    }
    for (field, value) in [("kind", &reference.kind), ("name", &reference.name)] {
        errors.field(field, |errors| match value.as_str() {
            "" => errors.required(""),
            value => report(value, names::path_segment(value), errors),
        });
    }
}

fn validate_tls(tls: &IngressTls, errors: &mut FieldErrors) {
    errors.field("hosts", |errors| {
        for (index, host) in tls.hosts.iter().enumerate() {
            errors.index(index, |errors| report(host, host_complaints(host), errors));
        }
    });
    if !tls.secret_name.is_empty() {
        errors.field("secretName", |errors| {
            report(&tls.secret_name, names::dns_subdomain(&tls.secret_name), errors);
        });
    }
}

fn host_complaints(host: &str) -> Vec<String> {
    if host.contains('*') {
        names::wildcard_dns_subdomain(host)
    } else {
        names::dns_subdomain(host)
    }
}

fn not_an_address(host: &str, errors: &mut FieldErrors) {
    if host.parse::<IpAddr>().is_ok() {
        errors.invalid(host, "must be a DNS name, not an IP address");
    }
}

/// The first hosts, and how many more rules there are; `*` for none.
fn hosts_cell(rules: &[IngressRule]) -> String {
    let hosts = rules
        .iter()
        .map(|rule| rule.host.as_str())
        .filter(|host| !host.is_empty());
    let shown: Vec<&str> = hosts.take(SHOWN).collect();
    let text = joined_or(&shown, "*");
    // Rules without a host are counted as well once the cell is full.
    let full_at = rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| !rule.host.is_empty())
        .nth(SHOWN - 1);
    match full_at {
        Some((index, _)) if index + 1 < rules.len() => format!("{text} + {} more...", rules.len() - SHOWN),
        _ => text,
    }
}
