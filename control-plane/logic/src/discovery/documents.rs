//! The older documents: one for each group, and one for each version of a group.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::{
    group::{Group, Version},
    messages::{
        ApiGroup, ApiGroupList, ApiResource, ApiResourceList, ApiVersions, GroupVersionForDiscovery,
        ServerAddressByClientCidr, Verbs,
    },
    subresource::{Subresource, subresources},
    typed::Typed,
    verbs::{is_stored, verbs},
};
use crate::kind::KindInfo;

/// Bytes of the digest that a storage version's hash keeps; Kubernetes' number.
const STORAGE_HASH_BYTES: usize = 8;

/// `/api`: the versions of the core group, and under which address the client reached the server.
pub fn api_versions(groups: &[Group], server_address: &str) -> Typed<ApiVersions> {
    let core = groups.iter().find(|group| group.name.is_empty());
    let versions = core.into_iter().flat_map(|group| &group.versions);
    Typed {
        kind: "APIVersions",
        api_version: "",
        body: ApiVersions {
            versions: versions.map(|version| version.name.to_owned()).collect(),
            server_addresses: vec![ServerAddressByClientCidr {
                client_cidr: "0.0.0.0/0".to_owned(),
                server_address: server_address.to_owned(),
            }],
        },
    }
}

/// `/apis`: every group but core.
pub fn api_group_list(groups: &[Group]) -> Typed<ApiGroupList> {
    let named = groups.iter().filter(|group| !group.name.is_empty());
    Typed {
        kind: "APIGroupList",
        api_version: "v1",
        body: ApiGroupList {
            groups: named.map(group_body).collect(),
        },
    }
}

/// `/apis/GROUP`.
pub fn api_group(group: &Group) -> Typed<ApiGroup> {
    Typed {
        kind: "APIGroup",
        api_version: "v1",
        body: group_body(group),
    }
}

/// `/api/v1` and `/apis/GROUP/VERSION`: resources, and subresources beside them.
pub fn api_resource_list(version: &Version) -> Typed<ApiResourceList> {
    let resources = version.kinds.iter().flat_map(|ops| {
        let info = ops.info();
        let parts = subresources(info);
        let parts: Vec<_> = parts.iter().map(|part| subresource_entry(info, part)).collect();
        std::iter::once(resource_entry(info)).chain(parts)
    });
    Typed {
        kind: "APIResourceList",
        api_version: if version.group.is_empty() { "" } else { "v1" },
        body: ApiResourceList {
            group_version: version.api_version(),
            resources: resources.collect(),
        },
    }
}

fn group_body(group: &Group) -> ApiGroup {
    let versions: Vec<_> = group
        .versions
        .iter()
        .map(|version| GroupVersionForDiscovery {
            group_version: version.api_version(),
            version: version.name.to_owned(),
        })
        .collect();
    ApiGroup {
        name: group.name.to_owned(),
        preferred_version: versions.first().cloned(),
        versions,
    }
}

fn resource_entry(info: &KindInfo) -> ApiResource {
    let hash = if is_stored(info) {
        storage_version_hash(info)
    } else {
        String::new()
    };
    ApiResource {
        name: info.plural.to_owned(),
        singular_name: info.singular.to_owned(),
        namespaced: info.namespaced,
        kind: info.kind.to_owned(),
        verbs: Some(Verbs {
            items: owned(verbs(info)),
        }),
        short_names: owned(info.short_names),
        categories: owned(info.categories),
        storage_version_hash: hash,
        ..ApiResource::default()
    }
}

fn subresource_entry(info: &KindInfo, part: &Subresource) -> ApiResource {
    let foreign = part.kind.group != info.group || part.kind.version != info.version;
    let if_foreign = |text: &str| if foreign { text.to_owned() } else { String::new() };
    ApiResource {
        name: format!("{}/{}", info.plural, part.name),
        namespaced: info.namespaced,
        group: if_foreign(&part.kind.group),
        version: if_foreign(&part.kind.version),
        kind: part.kind.kind.clone(),
        verbs: Some(Verbs {
            items: owned(part.verbs),
        }),
        ..ApiResource::default()
    }
}

/// Tells clients whether two servers store a kind in the same version.
fn storage_version_hash(info: &KindInfo) -> String {
    let name = format!("{}/{}/{}", info.group, info.version, info.kind);
    BASE64_STANDARD.encode(&Sha256::digest(name)[..STORAGE_HASH_BYTES])
}

/// Owned texts of static ones.
pub(super) fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|item| (*item).to_owned()).collect()
}
