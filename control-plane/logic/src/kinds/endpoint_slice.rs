//! EndpointSlices: where the pods behind a service are, in pieces of bounded size.

use std::collections::BTreeSet;

use trireme_proto::api::{
    discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    meta::v1::Time,
};

use super::{
    bump_generation,
    columns::{AGE, age, column},
    first_generation,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{names, one_of, report, unchanged},
};

/// How many ports and endpoints a cell names; more are counted.
const SHOWN: usize = 3;

impl Kind for EndpointSlice {
    const INFO: KindInfo = KindInfo {
        group: "discovery.k8s.io",
        version: "v1",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[
            column("AddressType", "What kind of addresses the slice holds."),
            column("Ports", "The ports of its endpoints."),
            column("Endpoints", "Its first addresses."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        for endpoint in &mut self.endpoints {
            endpoint.conditions.get_or_insert_default();
        }
        for port in &mut self.ports {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".into());
        }
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
    }

    fn prepare_update(&mut self, old: &Self) {
        let changed = (&self.endpoints, &self.ports) != (&old.endpoints, &old.ports);
        bump_generation(&mut self.metadata, changed);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        errors.field("addressType", |errors| {
            one_of(&self.address_type, &["FQDN", "IPv4", "IPv6"], errors);
        });
        errors.field("endpoints", |errors| {
            if self.endpoints.len() > limits::ENDPOINTS_PER_SLICE {
                return errors.too_many(self.endpoints.len(), limits::ENDPOINTS_PER_SLICE);
            }
            for (index, endpoint) in self.endpoints.iter().enumerate() {
                errors.index(index, |errors| validate_endpoint(endpoint, &self.address_type, errors));
            }
        });
        errors.field("ports", |errors| {
            if self.ports.len() > limits::ENDPOINT_PORTS_PER_SLICE {
                return errors.too_many(self.ports.len(), limits::ENDPOINT_PORTS_PER_SLICE);
            }
            let mut port_names = BTreeSet::new();
            for (index, port) in self.ports.iter().enumerate() {
                let taken = !port_names.insert(&port.name);
                errors.index(index, |errors| validate_port(port, taken, errors));
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        errors.field("addressType", |errors| {
            unchanged(&self.address_type, &old.address_type, errors);
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let ports: Vec<String> = self.ports.iter().map(port_cell).collect();
        let addresses: Vec<String> = self
            .endpoints
            .iter()
            .flat_map(|endpoint| endpoint.addresses.iter().cloned())
            .collect();
        vec![
            self.address_type.clone(),
            first_few(&ports),
            first_few(&addresses),
            age(metadata_of(self), now),
        ]
    }
}

fn validate_endpoint(endpoint: &Endpoint, address_type: &str, errors: &mut FieldErrors) {
    errors.field("addresses", |errors| {
        if endpoint.addresses.is_empty() {
            errors.required("must contain at least 1 address");
        }
        if endpoint.addresses.len() > limits::ADDRESSES_PER_ENDPOINT {
            return errors.too_many(endpoint.addresses.len(), limits::ADDRESSES_PER_ENDPOINT);
        }
        for (index, address) in endpoint.addresses.iter().enumerate() {
            errors.index(index, |errors| match address_type {
                "IPv4" if address.parse::<std::net::Ipv4Addr>().is_err() => {
                    errors.invalid(address, "must be an IPv4 address");
                }
                "IPv6" if address.parse::<std::net::Ipv6Addr>().is_err() => {
                    errors.invalid(address, "must be an IPv6 address");
                }
                "FQDN" => report(address, names::dns_subdomain(address), errors),
                _ => {}
            });
        }
    });
    if let Some(name) = &endpoint.node_name {
        errors.field("nodeName", |errors| report(name, names::dns_subdomain(name), errors));
    }
    if let Some(name) = &endpoint.hostname {
        errors.field("hostname", |errors| report(name, names::dns_label(name), errors));
    }
}

fn validate_port(port: &EndpointPort, taken: bool, errors: &mut FieldErrors) {
    let name = port.name.as_deref().unwrap_or_default();
    errors.field("name", |errors| {
        if !name.is_empty() {
            report(name, names::dns_label(name), errors);
        }
        if taken {
            errors.duplicate(name);
        }
    });
    errors.field("protocol", |errors| {
        one_of(
            port.protocol.as_deref().unwrap_or_default(),
            &["SCTP", "TCP", "UDP"],
            errors,
        );
    });
}

fn port_cell(port: &EndpointPort) -> String {
    match (port.port, port.name.as_deref()) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) if !name.is_empty() => name.to_owned(),
        (None, _) => "*".into(),
    }
}

/// The first few items, and how many more there are.
fn first_few(items: &[String]) -> String {
    let shown = items[..items.len().min(SHOWN)].join(",");
    match items.len() {
        0 => "<unset>".into(),
        count if count > SHOWN => format!("{shown} + {} more...", count - SHOWN),
        _ => shown,
    }
}
