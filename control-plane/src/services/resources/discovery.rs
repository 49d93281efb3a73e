//! Which kinds there are, for clients that know none.

use trireme_logic::{discovery, kind::KindInfo, kinds::KINDS};
use trireme_proto::v1::{ApiResource, DiscoverResponse};

use crate::VERSION;

/// Verbs that this service has no call for, since its clients delete what they have listed.
const REST_ONLY: [&str; 1] = ["deletecollection"];

/// Every kind.
pub(super) fn discover() -> DiscoverResponse {
    DiscoverResponse {
        resources: KINDS.iter().map(|ops| resource(ops.info())).collect(),
        server_version: VERSION.to_owned(),
    }
}

fn resource(info: &KindInfo) -> ApiResource {
    let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
    let verbs = discovery::verbs(info).iter().filter(|verb| !REST_ONLY.contains(verb));
    let subresources = discovery::subresources(info).into_iter();
    ApiResource {
        group: info.group.to_owned(),
        version: info.version.to_owned(),
        kind: info.kind.to_owned(),
        plural: info.plural.to_owned(),
        singular: info.singular.to_owned(),
        short_names: owned(info.short_names),
        namespaced: info.namespaced,
        verbs: verbs.map(|verb| (*verb).to_owned()).collect(),
        subresources: subresources.map(|subresource| subresource.name.to_owned()).collect(),
        categories: owned(info.categories),
    }
}
