//! Endpoints: where the pods behind a service are, in the older form that EndpointSlices took the place of.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use trireme_proto::api::{
    core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints},
    meta::v1::Time,
};

use super::columns::{AGE, NONE, age, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{names, one_of, report},
};

/// How many addresses a cell names; more are counted.
const SHOWN: usize = 3;

impl Kind for Endpoints {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[column("Endpoints", "The first addresses that take traffic."), AGE],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        for port in self.subsets.iter_mut().flat_map(|subset| &mut subset.ports) {
            if port.protocol.is_empty() {
                port.protocol = "TCP".into();
            }
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        errors.field("subsets", |errors| {
            for (index, subset) in self.subsets.iter().enumerate() {
                errors.index(index, |errors| validate_subset(subset, errors));
            }
        });
    }

    /// An address stays on the node that it was said to be on.
    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let nodes = nodes_by_address(&old.subsets);
        errors.field("subsets", |errors| {
            for (index, subset) in self.subsets.iter().enumerate() {
                errors.index(index, |errors| {
                    each_address(subset, errors, &mut |address, errors| {
                        if let (Some(before), Some(now)) = (nodes.get(&address.ip), &address.node_name)
                            && *before != now
                        {
                            errors.field("nodeName", |errors| {
                                errors.forbidden(format_args!("Cannot change NodeName for {} to {now}", address.ip));
                            });
                        }
                    });
                });
            }
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        vec![addresses_cell(&self.subsets), age(metadata_of(self), now)]
    }
}

fn validate_subset(subset: &EndpointSubset, errors: &mut FieldErrors) {
    if subset.addresses.is_empty() && subset.not_ready_addresses.is_empty() {
        errors.required("must specify `addresses` or `notReadyAddresses`");
    }
    each_address(subset, errors, &mut validate_address);
    errors.field("ports", |errors| {
        for (index, port) in subset.ports.iter().enumerate() {
            errors.index(index, |errors| validate_port(port, subset.ports.len() > 1, errors));
        }
    });
}

/// Calls `check` with each address, at its path.
fn each_address(
    subset: &EndpointSubset,
    errors: &mut FieldErrors,
    check: &mut dyn FnMut(&EndpointAddress, &mut FieldErrors),
) {
    for (field, list) in [
        ("addresses", &subset.addresses),
        ("notReadyAddresses", &subset.not_ready_addresses),
    ] {
        errors.field(field, |errors| {
            for (index, address) in list.iter().enumerate() {
                errors.index(index, |errors| check(address, errors));
            }
        });
    }
}

fn validate_address(address: &EndpointAddress, errors: &mut FieldErrors) {
    errors.field("ip", |errors| match address.ip.parse::<IpAddr>() {
        Ok(ip) => special_address(ip, &address.ip, errors),
        Err(_) => report(&address.ip, names::ip_address(&address.ip), errors),
    });
    if !address.hostname.is_empty() {
        errors.field("hostname", |errors| {
            report(&address.hostname, names::dns_label(&address.hostname), errors);
        });
    }
    if let Some(name) = &address.node_name {
        errors.field("nodeName", |errors| report(name, names::dns_subdomain(name), errors));
    }
}

/// Addresses that mean something else on every machine lead nowhere from outside.
fn special_address(ip: IpAddr, text: &str, errors: &mut FieldErrors) {
    let ip = ip.to_canonical();
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), is_link_local_multicast(ip)),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), is_link_local_multicast_v6(ip)),
    };
    if ip.is_unspecified() {
        errors.invalid(text, "may not be unspecified (0.0.0.0 or ::)");
    }
    if ip.is_loopback() {
        errors.invalid(text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if link_local {
        errors.invalid(text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_local_multicast {
        errors.invalid(
            text,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        );
    }
}

fn is_link_local_multicast(ip: Ipv4Addr) -> bool {
    ip.octets()[..3] == [224, 0, 0]
}

fn is_link_local_multicast_v6(ip: Ipv6Addr) -> bool {
    ip.is_multicast() && ip.segments()[0] & 0x000f == 2
}

fn validate_port(port: &EndpointPort, needs_name: bool, errors: &mut FieldErrors) {
    errors.field("name", |errors| match port.name.as_str() {
        "" if needs_name => errors.required(""),
        "" => {}
        name => report(name, names::dns_label(name), errors),
    });
    errors.field("port", |errors| {
        for complaint in names::port_number(port.port.into()) {
            errors.invalid(port.port, complaint);
        }
    });
    errors.field("protocol", |errors| {
        one_of(&port.protocol, &["SCTP", "TCP", "UDP"], errors);
    });
}

fn nodes_by_address(subsets: &[EndpointSubset]) -> BTreeMap<&String, &String> {
    subsets
        .iter()
        .flat_map(|subset| subset.addresses.iter().chain(&subset.not_ready_addresses))
        .filter_map(|address| Some((&address.ip, address.node_name.as_ref()?)))
        .collect()
}

/// The first addresses with their ports, and how many more there are.
fn addresses_cell(subsets: &[EndpointSubset]) -> String {
    if subsets.is_empty() {
        return NONE.into();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let ips = subset.addresses.iter().map(|address| &address.ip);
        if subset.ports.is_empty() {
            all.extend(ips.clone().cloned());
        }
        for port in &subset.ports {
            all.extend(ips.clone().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{}", port.port),
                false => format!("{ip}:{}", port.port),
            }));
        }
    }
    let shown = all[..all.len().min(SHOWN)].join(",");
    match all.len() {
        count if count > SHOWN => format!("{shown} + {} more...", count - SHOWN),
        _ => shown,
    }
}
