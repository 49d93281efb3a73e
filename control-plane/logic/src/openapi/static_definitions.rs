//! Definitions of what is no message of the `.proto` files: the documents of discovery, versions, patches.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::names;

/// The definition's whole name.
pub(super) fn full_name(name: &str) -> String {
    match name {
        "Info" => "io.k8s.apimachinery.pkg.version.Info".to_owned(),
        name => names::meta(name),
    }
}

/// The definition of the name and those that it refers to, by their whole names.
pub(super) fn with_all_it_needs(name: &str, prefix: &str) -> BTreeMap<String, Value> {
    let names: &[&str] = match name {
        "APIVersions" => &["APIVersions", "ServerAddressByClientCIDR"],
        "APIGroupList" => &["APIGroupList", "APIGroup", "GroupVersionForDiscovery"],
        "APIGroup" => &["APIGroup", "GroupVersionForDiscovery"],
        "APIResourceList" => &["APIResourceList", "APIResource"],
        "Info" => &["Info"],
        _ => &["Patch"],
    };
    let reference = |name: &str| json!({"$ref": format!("{prefix}{}", full_name(name))});
    names
        .iter()
        .map(|name| (full_name(name), definition(name, &reference)))
        .collect()
}

fn definition(name: &str, reference: &dyn Fn(&str) -> Value) -> Value {
    let list = |items: Value, description: &str| json!({"type": "array", "items": items, "description": description});
    let text = |description: &str| json!({"type": "string", "description": description});
    let texts = |description: &str| list(json!({"type": "string"}), description);
    match name {
        "APIVersions" => document(
            "APIVersions",
            "The versions of the core group.",
            json!({
                "versions": texts("The versions."),
                "serverAddressByClientCIDRs":
                    list(reference("ServerAddressByClientCIDR"), "Where clients reach the server."),
            }),
            &["versions", "serverAddressByClientCIDRs"],
        ),
        "ServerAddressByClientCIDR" => part(
            "The address of the server, for the clients of a network.",
            json!({"clientCIDR": text("The clients' network."), "serverAddress": text("Host and port.")}),
            &["clientCIDR", "serverAddress"],
        ),
        "APIGroupList" => document(
            "APIGroupList",
            "All groups but core.",
            json!({"groups": list(reference("APIGroup"), "The groups.")}),
            &["groups"],
        ),
        "APIGroup" => document(
            "APIGroup",
            "A group and its versions.",
            json!({
                "name": text("The group's name."),
                "versions": list(reference("GroupVersionForDiscovery"), "Its versions, the preferred one first."),
                "preferredVersion": reference("GroupVersionForDiscovery"),
            }),
            &["name", "versions"],
        ),
        "GroupVersionForDiscovery" => part(
            "A version of a group.",
            json!({"groupVersion": text("Group and version."), "version": text("The version alone.")}),
            &["groupVersion", "version"],
        ),
        "APIResourceList" => document(
            "APIResourceList",
            "The resources of a version of a group.",
            json!({
                "groupVersion": text("Group and version."),
                "resources": list(reference("APIResource"), "The resources and subresources."),
            }),
            &["groupVersion", "resources"],
        ),
        "APIResource" => part(
            "A resource or subresource.",
            json!({
                "name": text("Plural name, with a slash and the subresource's name if it is one."),
                "singularName": text("Singular name; empty for subresources."),
                "namespaced": {"type": "boolean", "description": "True if its objects live in namespaces."},
                "group": text("Group of its kind, if that is not the list's."),
                "version": text("Version of its kind, if that is not the list's."),
                "kind": text("Its kind."),
                "verbs": texts("What can be done with it."),
                "shortNames": texts("Abbreviations."),
                "categories": texts("Groups such as `all`."),
                "storageVersionHash": text("Changes when objects come to be stored in another version."),
            }),
            &["name", "singularName", "namespaced", "kind", "verbs"],
        ),
        "Info" => {
            let names = [
                "buildDate",
                "compiler",
                "gitCommit",
                "gitTreeState",
                "gitVersion",
                "goVersion",
                "major",
                "minor",
                "platform",
            ];
            let properties = names
                .map(|name| (name.to_owned(), json!({"type": "string"})))
                .into_iter()
                .collect();
            part("The version of the server.", Value::Object(properties), &names)
        }
        _ => json!({
            "type": "object",
            "description": "A change of an object, in one of the forms of patches.",
        }),
    }
}

fn part(description: &str, properties: Value, required: &[&str]) -> Value {
    let mut definition = json!({"type": "object", "description": description, "required": required});
    definition["properties"] = properties;
    definition
}

fn document(kind: &str, description: &str, properties: Value, required: &[&str]) -> Value {
    let mut definition = part(description, properties, required);
    definition["properties"]["apiVersion"] = json!({"type": "string", "description": "The document's version."});
    definition["properties"]["kind"] = json!({"type": "string", "description": "The document's kind."});
    definition["x-kubernetes-group-version-kind"] = json!([{"group": "", "kind": kind, "version": "v1"}]);
    definition
}
