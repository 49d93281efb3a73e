//! Which kinds there are, for clients that know none.

use trireme_logic::{kind::KindInfo, kinds::KINDS};
use trireme_proto::v1::{ApiResource, DiscoverResponse};

use crate::VERSION;

const VERBS: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];

/// Every kind.
pub(super) fn discover() -> DiscoverResponse {
    DiscoverResponse {
        resources: KINDS.iter().map(|ops| resource(ops.info())).collect(),
        server_version: VERSION.to_owned(),
    }
}

fn resource(info: &KindInfo) -> ApiResource {
    let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
    ApiResource {
        group: info.group.to_owned(),
        version: info.version.to_owned(),
        kind: info.kind.to_owned(),
        plural: info.plural.to_owned(),
        singular: info.singular.to_owned(),
        short_names: owned(info.short_names),
        namespaced: info.namespaced,
        verbs: owned(&VERBS),
        subresources: owned(info.subresources),
        categories: owned(info.categories),
    }
}
