//! The documents of the kinds that there are.

use std::collections::BTreeSet;

use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::kinds::{by_kind, served};

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("JSON")
}

/// The resource lists of all versions, by path.
fn resource_lists() -> Vec<(String, Value)> {
    let versions = groups(&served()).into_iter().flat_map(|group| group.versions);
    versions
        .map(|version| (version.path(), value(&api_resource_list(&version).to_json())))
        .collect()
}

/// The entry of one resource.
fn entry(path: &str, name: &str) -> Value {
    let lists = resource_lists();
    let (_, list) = lists.iter().find(|(of, _)| of == path).expect("a list");
    let resources = list["resources"].as_array().expect("a list");
    let found = resources.iter().find(|resource| resource["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {path}")).clone()
}

#[test]
fn the_core_group_has_an_address() {
    let document = api_versions(&groups(&served()), "trireme:6443");
    let expected = json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "trireme:6443"}],
    });
    assert_eq!(value(&document.to_json()), expected);
}

#[test]
fn groups_name_their_versions() {
    let groups = groups(&served());
    let list = value(&api_group_list(&groups).to_json());
    assert_eq!(list["kind"], "APIGroupList");
    assert_eq!(list["apiVersion"], "v1");
    let names: Vec<_> = list["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| &group["name"])
        .collect();
    assert!(
        names.contains(&&json!("apps")) && !names.contains(&&json!("")),
        "{names:?}"
    );

    let apps = groups.iter().find(|group| group.name == "apps").expect("served");
    let version = json!({"groupVersion": "apps/v1", "version": "v1"});
    let expected = json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": "apps", "versions": [version], "preferredVersion": version,
    });
    assert_eq!(value(&api_group(apps).to_json()), expected);
}

#[test]
fn resources_look_as_in_kubernetes() {
    let all = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    assert_eq!(
        entry("/api/v1", "pods"),
        json!({
            "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": all,
            "shortNames": ["po"], "categories": ["all"],
            // As every server of Kubernetes says it.
            "storageVersionHash": "xPOwRZ+Yhw8=",
        })
    );
    assert_eq!(
        entry("/api/v1", "namespaces")["verbs"],
        json!(["create", "delete", "get", "list", "patch", "update", "watch"])
    );
    assert_eq!(
        entry("/apis/apps/v1", "deployments/scale"),
        json!({
            "name": "deployments/scale", "singularName": "", "namespaced": true,
            "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"],
        })
    );
    assert_eq!(
        entry("/api/v1", "pods/binding"),
        json!({
            "name": "pods/binding", "singularName": "", "namespaced": true, "kind": "Binding", "verbs": ["create"],
        })
    );
    assert_eq!(
        entry("/api/v1", "pods/eviction"),
        json!({
            "name": "pods/eviction", "singularName": "", "namespaced": true,
            "group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"],
        })
    );
    assert_eq!(
        entry("/api/v1", "serviceaccounts/token"),
        json!({
            "name": "serviceaccounts/token", "singularName": "", "namespaced": true,
            "group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest", "verbs": ["create"],
        })
    );
    assert_eq!(entry("/api/v1", "namespaces/finalize")["verbs"], json!(["update"]));
    assert_eq!(entry("/api/v1", "nodes/status")["namespaced"], json!(false));
}

#[test]
fn parts_of_pods_are_of_the_kinds_that_they_take() {
    let (part, connection) = (json!(["get", "patch", "update"]), json!(["create", "get"]));
    let proxy = json!(["create", "delete", "get", "patch", "update"]);
    for (name, kind, verbs) in [
        ("pods/attach", "PodAttachOptions", &connection),
        ("pods/ephemeralcontainers", "Pod", &part),
        ("pods/exec", "PodExecOptions", &connection),
        ("pods/log", "Pod", &json!(["get"])),
        ("pods/portforward", "PodPortForwardOptions", &connection),
        ("pods/proxy", "PodProxyOptions", &proxy),
        ("pods/resize", "Pod", &part),
        ("pods/status", "Pod", &part),
        ("nodes/proxy", "NodeProxyOptions", &proxy),
        ("services/proxy", "ServiceProxyOptions", &proxy),
    ] {
        let entry = entry("/api/v1", name);
        assert_eq!((&entry["kind"], &entry["verbs"]), (&json!(kind), verbs), "{name}");
        assert!(entry.get("group").is_none(), "{name} is of the core group");
    }
}

#[test]
fn questions_and_orders_can_only_be_created() {
    for (path, plural, singular, namespaced, kind) in [
        ("/api/v1", "bindings", "binding", true, "Binding"),
        (
            "/apis/authentication.k8s.io/v1",
            "selfsubjectreviews",
            "selfsubjectreview",
            false,
            "SelfSubjectReview",
        ),
        (
            "/apis/authorization.k8s.io/v1",
            "localsubjectaccessreviews",
            "localsubjectaccessreview",
            true,
            "LocalSubjectAccessReview",
        ),
        (
            "/apis/authorization.k8s.io/v1",
            "selfsubjectaccessreviews",
            "selfsubjectaccessreview",
            false,
            "SelfSubjectAccessReview",
        ),
        (
            "/apis/authorization.k8s.io/v1",
            "selfsubjectrulesreviews",
            "selfsubjectrulesreview",
            false,
            "SelfSubjectRulesReview",
        ),
        (
            "/apis/authorization.k8s.io/v1",
            "subjectaccessreviews",
            "subjectaccessreview",
            false,
            "SubjectAccessReview",
        ),
    ] {
        let expected = json!({
            "name": plural, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": ["create"],
        });
        assert_eq!(entry(path, plural), expected);
    }
}

#[test]
fn lists_are_sorted_and_name_no_resource_twice() {
    for (path, list) in resource_lists() {
        let resources = list["resources"].as_array().expect("a list");
        let names: Vec<_> = resources
            .iter()
            .map(|resource| resource["name"].as_str().expect("a name"))
            .collect();
        assert!(names.is_sorted(), "{path}: {names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{path}");
    }
}

#[test]
fn every_kind_and_subresource_is_there() {
    for ops in served() {
        let info = ops.info();
        for name in info.subresources {
            assert!(
                subresource(info, name).is_some(),
                "{}/{name} is known to the table",
                info.plural
            );
        }
        let path = match info.group {
            "" => format!("/api/{}", info.version),
            group => format!("/apis/{group}/{}", info.version),
        };
        assert_eq!(entry(&path, info.plural)["kind"], info.kind);
        for name in info.subresources {
            entry(&path, &format!("{}/{name}", info.plural));
        }
    }
}

#[test]
fn the_aggregated_document_says_the_same_at_once() {
    let groups = groups(&served());
    let mut seen = BTreeSet::new();
    for core in [true, false] {
        let document = value(&aggregated(&groups, core, AggregatedVersion::V2).to_json());
        assert_eq!(document["kind"], "APIGroupDiscoveryList");
        assert_eq!(document["apiVersion"], "apidiscovery.k8s.io/v2");
        for group in document["items"].as_array().expect("groups") {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            assert_eq!(name.is_empty(), core);
            for version in group["versions"].as_array().expect("versions") {
                assert_eq!(version["freshness"], "Current");
                for resource in version["resources"].as_array().expect("resources") {
                    seen.insert((
                        name.to_owned(),
                        version["version"].to_string(),
                        resource["resource"].to_string(),
                    ));
                }
            }
        }
    }
    assert_eq!(seen.len(), served().len());
}

#[test]
fn an_aggregated_resource_looks_as_in_kubernetes() {
    let deployment = by_kind("apps", "Deployment").expect("a kind");
    let document = aggregated(&groups(&[deployment]), false, AggregatedVersion::V2Beta1);
    let all = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    let own = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let part = ["get", "patch", "update"];
    let expected = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2beta1",
        "metadata": {},
        "items": [{
            "metadata": {"name": "apps"},
            "versions": [{
                "version": "v1",
                "freshness": "Current",
                "resources": [{
                    "resource": "deployments", "responseKind": own, "scope": "Namespaced",
                    "singularResource": "deployment", "verbs": all, "shortNames": ["deploy"], "categories": ["all"],
                    "subresources": [
                        {
                            "subresource": "scale", "verbs": part,
                            "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
                        },
                        {"subresource": "status", "verbs": part, "responseKind": own},
                    ],
                }],
            }],
        }],
    });
    assert_eq!(value(&document.to_json()), expected);
}

#[test]
fn protobuf_carries_the_same() {
    let groups = groups(&served());
    let list = api_resource_list(&groups[0].versions[0]);
    let bytes = list.body.encode_to_vec();
    let decoded = ApiResourceList::decode(bytes.as_slice()).expect("decodes");
    assert_eq!(decoded, list.body);
    assert!(list.to_protobuf().starts_with(PROTOBUF_MAGIC));
}

#[test]
fn the_root_lists_every_group_and_version() {
    let paths = root_paths(&groups(&served())).paths;
    for path in [
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/openapi/v2",
        "/openapi/v3",
        "/version",
    ] {
        assert!(paths.iter().any(|listed| listed == path), "{path}");
    }
    assert!(paths.is_sorted());
}
