//! Distributes endpoints over slices so that few slices change.
//!
//! First each slice keeps what is still wanted of it. What is left over fills free places, of slices that
//! change anyway before others; only the rest makes new slices. Empty slices go, but for one.

use std::collections::BTreeMap;

use trireme_proto::api::{
    core::v1::Service,
    discovery::v1::{Endpoint, EndpointSlice},
    meta::v1::ObjectMeta,
};

use super::{
    MANAGED_BY, MANAGER, SERVICE_NAME,
    endpoints::{Group, Port, Wanted},
};
use crate::{
    controller::Write,
    controllers::{names, owners},
    kind::{Kind, metadata_of},
    limits::MANAGED_ENDPOINTS_PER_SLICE,
};

/// A slice while it is being filled.
struct Draft<'a> {
    original: &'a EndpointSlice,
    endpoints: Vec<Endpoint>,
}

/// The writes that turn the existing slices into the wanted ones.
pub(super) fn pack(service: &Service, wanted: Wanted, existing: Vec<&EndpointSlice>, seed: u64) -> Vec<Write> {
    let mut by_group: BTreeMap<Group, Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in existing {
        by_group.entry(group_of(slice)).or_default().push(slice);
    }
    let mut writes = Vec::new();
    let mut index = 0;
    for (group, endpoints) in wanted {
        let slices = by_group.remove(&group).unwrap_or_default();
        pack_group(service, &group, endpoints, &slices, &mut writes, &mut |slice| {
            index += 1;
            let prefix = format!("{}-", metadata_of(service).name);
            slice.name = names::generate(&prefix, seed, index, |_| false);
            slice.generate_name = prefix;
        });
    }
    // Groups that nothing is wanted of any more.
    writes.extend(by_group.into_values().flatten().map(delete));
    writes
}

fn pack_group(
    service: &Service,
    group: &Group,
    mut wanted: BTreeMap<String, Endpoint>,
    slices: &[&EndpointSlice],
    writes: &mut Vec<Write>,
    name: &mut dyn FnMut(&mut ObjectMeta),
) {
    let mut drafts: Vec<Draft<'_>> = slices
        .iter()
        .map(|slice| {
            let kept = slice
                .endpoints
                .iter()
                .filter_map(|endpoint| wanted.remove(pod_uid(endpoint)));
            Draft {
                original: slice,
                endpoints: kept.collect(),
            }
        })
        .collect();
    // Changed slices come first, then the fullest, then by name.
    drafts.sort_by_cached_key(|draft| {
        let unchanged = draft.endpoints == draft.original.endpoints;
        (
            unchanged,
            usize::MAX - draft.endpoints.len(),
            metadata_of(draft.original).name.clone(),
        )
    });
    let mut rest = wanted.into_values();
    for draft in &mut drafts {
        let room = MANAGED_ENDPOINTS_PER_SLICE.saturating_sub(draft.endpoints.len());
        draft.endpoints.extend(rest.by_ref().take(room));
    }
    let rest: Vec<Endpoint> = rest.collect();
    let mut is_kept = !rest.is_empty() || drafts.iter().any(|draft| !draft.endpoints.is_empty());
    for draft in drafts {
        if draft.endpoints.is_empty() && is_kept {
            writes.push(delete(draft.original));
            continue;
        }
        is_kept = true;
        let mut slice = draft.original.clone();
        slice.endpoints = draft.endpoints;
        set_meta(slice.metadata.get_or_insert_default(), service);
        if slice != *draft.original {
            writes.push(Write::Update(Box::new(slice)));
        }
    }
    let chunks: Vec<Vec<Endpoint>> = match (rest.is_empty(), is_kept) {
        (true, true) => Vec::new(),
        (true, false) => vec![Vec::new()],
        (false, _) => rest
            .chunks(MANAGED_ENDPOINTS_PER_SLICE)
            .map(<[Endpoint]>::to_vec)
            .collect(),
    };
    for endpoints in chunks {
        let mut meta = ObjectMeta {
            namespace: metadata_of(service).namespace.clone(),
            ..ObjectMeta::default()
        };
        name(&mut meta);
        set_meta(&mut meta, service);
        writes.push(Write::Create(Box::new(EndpointSlice {
            metadata: Some(meta),
            address_type: group.address_type.clone(),
            endpoints,
            ports: group.ports.iter().cloned().map(Port::into_endpoint_port).collect(),
        })));
    }
}

/// The service's labels, those that say what the slice is, and the owner.
fn set_meta(meta: &mut ObjectMeta, service: &Service) {
    meta.labels.clone_from(&metadata_of(service).labels);
    meta.labels
        .insert(SERVICE_NAME.to_owned(), metadata_of(service).name.clone());
    meta.labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if service.spec.as_ref().is_some_and(|spec| spec.cluster_ip == "None") {
        meta.labels
            .insert("service.kubernetes.io/headless".to_owned(), String::new());
    }
    meta.owner_references = vec![owners::controller_reference(service)];
}

fn group_of(slice: &EndpointSlice) -> Group {
    Group {
        address_type: slice.address_type.clone(),
        ports: slice.ports.iter().map(Port::of).collect(),
    }
}

fn pod_uid(endpoint: &Endpoint) -> &str {
    endpoint.target_ref.as_ref().map_or("", |target| &target.uid)
}

fn delete(slice: &EndpointSlice) -> Write {
    Write::Delete {
        info: &EndpointSlice::INFO,
        key: owners::key_of(slice),
        uid: owners::uid_of(slice).to_owned(),
        grace_period_seconds: None,
    }
}
