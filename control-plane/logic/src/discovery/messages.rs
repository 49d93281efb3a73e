//! The messages of discovery, with Kubernetes' names, numbers and JSON: a fact to match.
//!
//! They are no objects and nobody sends them to a server, so they are not among the `.proto` files of the objects.

use serde::{Serialize, Serializer};
use trireme_proto::api::meta::v1::{ListMeta, ObjectMeta};

/// The versions of the core group.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
pub struct ApiVersions {
    /// Names of the versions.
    #[prost(string, repeated, tag = "1")]
    pub versions: Vec<String>,
    /// Where clients reach the server.
    #[prost(message, repeated, tag = "2")]
    #[serde(rename = "serverAddressByClientCIDRs")]
    pub server_addresses: Vec<ServerAddressByClientCidr>,
}

/// The address of a server, for the clients of a network.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerAddressByClientCidr {
    /// The clients' network.
    #[prost(string, tag = "1")]
    #[serde(rename = "clientCIDR")]
    pub client_cidr: String,
    /// Host and port.
    #[prost(string, tag = "2")]
    pub server_address: String,
}

/// All groups but core.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
pub struct ApiGroupList {
    /// The groups.
    #[prost(message, repeated, tag = "1")]
    pub groups: Vec<ApiGroup>,
}

/// A group.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiGroup {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its versions, the preferred one first.
    #[prost(message, repeated, tag = "2")]
    pub versions: Vec<GroupVersionForDiscovery>,
    /// The version to use.
    #[prost(message, optional, tag = "3")]
    pub preferred_version: Option<GroupVersionForDiscovery>,
}

/// A version of a group.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupVersionForDiscovery {
    /// `group/version`.
    #[prost(string, tag = "1")]
    pub group_version: String,
    /// The version alone.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// The resources of a version.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiResourceList {
    /// `group/version`, or the version alone in the core group.
    #[prost(string, tag = "1")]
    pub group_version: String,
    /// The resources and subresources, by name.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<ApiResource>,
}

/// A resource or subresource.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiResource {
    /// Plural name, such as `pods`; with a slash and the subresource's name, if it is one.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Singular name; empty for subresources.
    #[prost(string, tag = "6")]
    pub singular_name: String,
    /// True if its objects live in namespaces.
    #[prost(bool, tag = "2")]
    pub namespaced: bool,
    /// Group of its kind, if that is not the list's.
    #[prost(string, tag = "8")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Version of its kind, if that is not the list's.
    #[prost(string, tag = "9")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Kind.
    #[prost(string, tag = "3")]
    pub kind: String,
    /// What can be done with it.
    #[prost(message, optional, tag = "4")]
    pub verbs: Option<Verbs>,
    /// Abbreviations.
    #[prost(string, repeated, tag = "5")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    /// Groups such as `all`.
    #[prost(string, repeated, tag = "7")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Changes when objects come to be stored in another version.
    #[prost(string, tag = "10")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub storage_version_hash: String,
}

/// A list of verbs: a message of its own in protobuf, but not in JSON.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Verbs {
    /// The verbs.
    #[prost(string, repeated, tag = "1")]
    pub items: Vec<String>,
}

impl Serialize for Verbs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.items.serialize(serializer)
    }
}

/// Groups, versions and resources in one document.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct ApiGroupDiscoveryList {
    /// Empty.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ListMeta>,
    /// The groups.
    #[prost(message, repeated, tag = "2")]
    pub items: Vec<ApiGroupDiscovery>,
}

/// A group.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct ApiGroupDiscovery {
    /// Its name.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ObjectMeta>,
    /// Its versions, the preferred one first.
    #[prost(message, repeated, tag = "2")]
    pub versions: Vec<ApiVersionDiscovery>,
}

/// A version of a group.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
pub struct ApiVersionDiscovery {
    /// Its name.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Its resources, by name.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<ApiResourceDiscovery>,
    /// `Current`, since nothing here is learnt from other servers.
    #[prost(string, tag = "3")]
    pub freshness: String,
}

/// A resource.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiResourceDiscovery {
    /// Plural name.
    #[prost(string, tag = "1")]
    pub resource: String,
    /// Its kind.
    #[prost(message, optional, tag = "2")]
    pub response_kind: Option<GroupVersionKind>,
    /// `Namespaced` or `Cluster`.
    #[prost(string, tag = "3")]
    pub scope: String,
    /// Singular name.
    #[prost(string, tag = "4")]
    pub singular_resource: String,
    /// What can be done with it.
    #[prost(string, repeated, tag = "5")]
    pub verbs: Vec<String>,
    /// Abbreviations.
    #[prost(string, repeated, tag = "6")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    /// Groups such as `all`.
    #[prost(string, repeated, tag = "7")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Its subresources, by name.
    #[prost(message, repeated, tag = "8")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subresources: Vec<ApiSubresourceDiscovery>,
}

/// A subresource.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiSubresourceDiscovery {
    /// Its name.
    #[prost(string, tag = "1")]
    pub subresource: String,
    /// Its kind.
    #[prost(message, optional, tag = "2")]
    pub response_kind: Option<GroupVersionKind>,
    /// What can be done with it.
    #[prost(string, repeated, tag = "4")]
    pub verbs: Vec<String>,
}

/// Names a kind.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
pub struct GroupVersionKind {
    /// API group; empty for core.
    #[prost(string, tag = "1")]
    pub group: String,
    /// API version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Kind.
    #[prost(string, tag = "3")]
    pub kind: String,
}
