//! The newer document: all groups, versions and resources at once, so that a client asks twice instead of once a
//! version.

use trireme_proto::api::meta::v1::{ListMeta, ObjectMeta};

use super::{
    documents::owned,
    group::{Group, Version},
    messages::{
        ApiGroupDiscovery, ApiGroupDiscoveryList, ApiResourceDiscovery, ApiSubresourceDiscovery, ApiVersionDiscovery,
        GroupVersionKind,
    },
    subresource::{Subresource, subresources},
    typed::Typed,
    verbs::verbs,
};
use crate::{kind::KindInfo, object::KindOps};

/// The versions of the document. They differ in nothing but their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregatedVersion {
    /// The stable one.
    V2,
    /// The one that clients older than Kubernetes 1.30 ask for.
    V2Beta1,
}

impl AggregatedVersion {
    /// All, the preferred one first.
    pub const ALL: [Self; 2] = [Self::V2, Self::V2Beta1];

    /// Its name, as in `Accept`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V2 => "apidiscovery.k8s.io/v2",
            Self::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }
}

/// The document of `/api` (of the core group alone) or `/apis` (of the groups with names).
pub fn aggregated(groups: &[Group], core: bool, version: AggregatedVersion) -> Typed<ApiGroupDiscoveryList> {
    let wanted = groups.iter().filter(|group| group.name.is_empty() == core);
    Typed {
        kind: "APIGroupDiscoveryList",
        api_version: version.api_version(),
        body: ApiGroupDiscoveryList {
            metadata: Some(ListMeta::default()),
            items: wanted.map(group_entry).collect(),
        },
    }
}

fn group_entry(group: &Group) -> ApiGroupDiscovery {
    let metadata = ObjectMeta {
        name: group.name.to_owned(),
        ..ObjectMeta::default()
    };
    ApiGroupDiscovery {
        metadata: Some(metadata),
        versions: group.versions.iter().map(version_entry).collect(),
    }
}

fn version_entry(version: &Version) -> ApiVersionDiscovery {
    ApiVersionDiscovery {
        version: version.name.to_owned(),
        resources: version.kinds.iter().map(|ops| resource_entry(*ops)).collect(),
        freshness: "Current".to_owned(),
    }
}

fn resource_entry(ops: &dyn KindOps) -> ApiResourceDiscovery {
    let info: &KindInfo = ops.info();
    ApiResourceDiscovery {
        resource: info.plural.to_owned(),
        response_kind: Some(GroupVersionKind {
            group: info.group.to_owned(),
            version: info.version.to_owned(),
            kind: info.kind.to_owned(),
        }),
        scope: if info.namespaced { "Namespaced" } else { "Cluster" }.to_owned(),
        singular_resource: info.singular.to_owned(),
        verbs: owned(verbs(info)),
        short_names: owned(info.short_names),
        categories: owned(info.categories),
        subresources: subresources(info).into_iter().map(subresource_entry).collect(),
    }
}

fn subresource_entry(part: Subresource) -> ApiSubresourceDiscovery {
    ApiSubresourceDiscovery {
        subresource: part.name.to_owned(),
        verbs: owned(part.verbs),
        response_kind: Some(part.kind),
    }
}
