//! NetworkPolicies: who may talk to some pods of a namespace, and whom they may talk to.

use std::net::IpAddr;

use trireme_proto::api::{
    meta::v1::Time,
    networking::v1::{IpBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec},
};

use super::{
    bump_generation,
    columns::{AGE, age, column},
    first_generation,
    workload::selector_cell,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{AsJson, int_or_string, labels, names, report},
};

/// The directions that a policy may be about.
const POLICY_TYPES: &[&str] = &["Ingress", "Egress"];

impl Kind for NetworkPolicy {
    const INFO: KindInfo = KindInfo {
        group: "networking.k8s.io",
        version: "v1",
        kind: "NetworkPolicy",
        plural: "networkpolicies",
        singular: "networkpolicy",
        short_names: &["netpol"],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[column("Pod-Selector", "Which pods it is about."), AGE],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.pod_selector.get_or_insert_default();
        if spec.policy_types.is_empty() {
            spec.policy_types.push("Ingress".into());
            if !spec.egress.is_empty() {
                spec.policy_types.push("Egress".into());
            }
        }
        let incoming = spec.ingress.iter_mut().flat_map(|rule| &mut rule.ports);
        let outgoing = spec.egress.iter_mut().flat_map(|rule| &mut rule.ports);
        for port in incoming.chain(outgoing) {
            port.protocol.get_or_insert_with(|| "TCP".into());
        }
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
    }

    fn prepare_update(&mut self, old: &Self) {
        bump_generation(&mut self.metadata, self.spec != old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| validate_spec(&spec, errors));
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let selector = self.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        vec![selector_cell(selector), age(metadata_of(self), now)]
    }
}

fn validate_spec(spec: &NetworkPolicySpec, errors: &mut FieldErrors) {
    if let Some(selector) = &spec.pod_selector {
        errors.field("podSelector", |errors| labels::label_selector(selector, errors));
    }
    errors.field("ingress", |errors| {
        for (index, rule) in spec.ingress.iter().enumerate() {
            errors.index(index, |errors| validate_rule(&rule.ports, "from", &rule.from, errors));
        }
    });
    errors.field("egress", |errors| {
        for (index, rule) in spec.egress.iter().enumerate() {
            errors.index(index, |errors| validate_rule(&rule.ports, "to", &rule.to, errors));
        }
    });
    errors.field("policyTypes", |errors| {
        if spec.policy_types.len() > POLICY_TYPES.len() {
            return errors.invalid(AsJson(&spec.policy_types), "may not specify more than two policyTypes");
        }
        for (index, policy_type) in spec.policy_types.iter().enumerate() {
            if !POLICY_TYPES.contains(&policy_type.as_str()) {
                errors.index(index, |errors| errors.not_supported(policy_type, POLICY_TYPES));
            }
        }
    });
}

fn validate_rule(
    ports: &[NetworkPolicyPort],
    peers_field: &str,
    peers: &[NetworkPolicyPeer],
    errors: &mut FieldErrors,
) {
    errors.field("ports", |errors| {
        for (index, port) in ports.iter().enumerate() {
            errors.index(index, |errors| validate_port(port, errors));
        }
    });
    errors.field(peers_field, |errors| {
        for (index, peer) in peers.iter().enumerate() {
            errors.index(index, |errors| validate_peer(peer, errors));
        }
    });
}

fn validate_port(port: &NetworkPolicyPort, errors: &mut FieldErrors) {
    if let Some(protocol) = port
        .protocol
        .as_deref()
        .filter(|name| !["TCP", "UDP", "SCTP"].contains(name))
    {
        errors.field("protocol", |errors| {
            errors.not_supported(protocol, &["TCP", "UDP", "SCTP"]);
        });
    }
    let last = |errors: &mut FieldErrors, why: &str| {
        if let Some(last) = port.end_port {
            errors.field("endPort", |errors| errors.invalid(last, why));
        }
    };
    match port.port.as_ref().map(|value| int_or_string(Some(value))) {
        None => last(errors, "may not be specified when `port` is not specified"),
        Some(Err(name)) => {
            last(errors, "may not be specified when `port` is non-numeric");
            errors.field("port", |errors| report(name, names::port_name(name), errors));
        }
        Some(Ok(number)) => {
            errors.field("port", |errors| port_number(number, errors));
            if let Some(last) = port.end_port {
                errors.field("endPort", |errors| {
                    if last < number {
                        errors.invalid(last, "must be greater than or equal to `port`");
                    }
                    port_number(last, errors);
                });
            }
        }
    }
}

fn port_number(number: i32, errors: &mut FieldErrors) {
    for complaint in names::port_number(number.into()) {
        errors.invalid(number, complaint);
    }
}

fn validate_peer(peer: &NetworkPolicyPeer, errors: &mut FieldErrors) {
    for (field, selector) in [
        ("podSelector", &peer.pod_selector),
        ("namespaceSelector", &peer.namespace_selector),
    ] {
        if let Some(selector) = selector {
            errors.field(field, |errors| labels::label_selector(selector, errors));
        }
    }
    if let Some(block) = &peer.ip_block {
        errors.field("ipBlock", |errors| validate_block(block, errors));
    }
    match (
        peer.pod_selector.is_some() || peer.namespace_selector.is_some(),
        peer.ip_block.is_some(),
    ) {
        (false, false) => errors.required("must specify a peer"),
        (true, true) => errors.forbidden("may not specify both ipBlock and another peer"),
        _ => {}
    }
}

fn validate_block(block: &IpBlock, errors: &mut FieldErrors) {
    errors.field("cidr", |errors| match block.cidr.as_str() {
        "" => errors.required(""),
        cidr => report(cidr, names::cidr(cidr), errors),
    });
    let Some(range) = parse_range(&block.cidr) else { return };
    errors.field("except", |errors| {
        for (index, except) in block.except.iter().enumerate() {
            errors.index(index, |errors| match parse_range(except) {
                None => report(except, names::cidr(except), errors),
                Some(inner) if !is_strictly_within(inner, range) => {
                    errors.invalid(except, "must be a strict subset of `cidr`");
                }
                Some(_) => {}
            });
        }
    });
}

/// A network as a number of 128 bits and the length of its prefix there, and whether it is one of IPv4.
fn parse_range(text: &str) -> Option<(u128, u32, bool)> {
    if !names::cidr(text).is_empty() {
        return None;
    }
    let (address, length) = text.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    Some(match address.parse().ok()? {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, length, true),
        IpAddr::V6(address) => (address.to_bits(), length, false),
    })
}

fn is_strictly_within(inner: (u128, u32, bool), outer: (u128, u32, bool)) -> bool {
    let mask = u128::MAX.checked_shl(128 - outer.1).unwrap_or(0);
    inner.2 == outer.2 && inner.1 > outer.1 && inner.0 & mask == outer.0 & mask
}
