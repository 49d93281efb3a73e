//! What is served, for clients that know nothing: the documents of `/api`, `/apis` and below.
//!
//! Everything follows from the list of kinds that is handed in, which is [`served`](crate::kinds::served()): what can be
//! done with a kind ([`verbs()`]), its subresources ([`subresources`]), its group and versions ([`groups`]). The OpenAPI
//! documents and the gRPC service draw on the same facts.

mod aggregated;
mod documents;
mod group;
mod messages;
mod root;
mod subresource;
mod typed;
mod verbs;

pub use aggregated::{AggregatedVersion, aggregated};
pub use documents::{api_group, api_group_list, api_resource_list, api_versions};
pub use group::{Group, Version, groups};
pub use messages::{
    ApiGroup, ApiGroupDiscovery, ApiGroupDiscoveryList, ApiGroupList, ApiResource, ApiResourceDiscovery,
    ApiResourceList, ApiSubresourceDiscovery, ApiVersionDiscovery, ApiVersions, GroupVersionForDiscovery,
    GroupVersionKind, ServerAddressByClientCidr, Verbs,
};
pub use root::{RootPaths, root_paths};
pub use subresource::{Subresource, subresource, subresources};
pub use typed::{PROTOBUF_MAGIC, Typed};
pub use verbs::{is_stored, verbs};

#[cfg(test)]
mod tests;
