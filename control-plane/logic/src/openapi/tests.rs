//! The documents of the kinds that there are, in both versions.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::{
    discovery::{Group, groups, subresources, verbs},
    kinds::served,
};

mod protobuf;

const ABOUT: About<'_> = About {
    title: "Trireme",
    version: "test",
};

fn v2() -> Value {
    v2_document(&groups(&served()), ABOUT)
}

fn v3(groups: &[Group], path: &str) -> Value {
    v3_document(groups, path, ABOUT).unwrap_or_else(|| panic!("{path} is served"))
}

/// Every document, by name.
fn documents() -> Vec<(String, Value)> {
    let groups = groups(&served());
    let mut all = vec![("v2".to_owned(), v2())];
    all.extend(
        v3_paths(&groups)
            .into_iter()
            .map(|path| (path.clone(), v3(&groups, &path))),
    );
    all
}

/// Calls `visit` with every value of a document.
fn walk<'a>(json: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
    visit(json);
    match json {
        Value::Object(members) => members.values().for_each(|value| walk(value, visit)),
        Value::Array(items) => items.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

#[test]
fn every_reference_resolves() {
    for (name, document) in documents() {
        let mut count = 0;
        walk(&document, &mut |value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').expect("within the document");
                assert!(
                    document.pointer(pointer).is_some_and(Value::is_object),
                    "{name}: {reference}"
                );
                count += 1;
            }
        });
        assert!(count > 0, "{name}");
    }
}

#[test]
fn every_kind_has_a_definition_and_operations() {
    let groups = groups(&served());
    let v2 = v2();
    for ops in served() {
        let info = ops.info();
        let own = json!({"group": info.group, "kind": info.kind, "version": info.version});
        let path = match info.group {
            "" => format!("api/{}", info.version),
            group => format!("apis/{group}/{}", info.version),
        };
        let v3 = v3(&groups, &path);
        for (document, schemas) in [(&v2, "/definitions"), (&v3, "/components/schemas")] {
            let schemas = document.pointer(schemas).and_then(Value::as_object).expect("schemas");
            let of_kind = schemas.values().filter(|schema| {
                let kinds = schema["x-kubernetes-group-version-kind"].as_array();
                kinds.is_some_and(|kinds| kinds.contains(&own))
            });
            assert_eq!(of_kind.count(), 1, "{own} in {path}");
        }
        let within = if info.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("/{path}{within}/{}", info.plural);
        let item = format!("{collection}/{{name}}");
        let method_of = |verb: &str| match verb {
            "list" | "watch" => (collection.clone(), "get"),
            "create" => (collection.clone(), "post"),
            "deletecollection" => (collection.clone(), "delete"),
            "get" => (item.clone(), "get"),
            "update" => (item.clone(), "put"),
            "patch" => (item.clone(), "patch"),
            _ => (item.clone(), "delete"),
        };
        let mut expected: BTreeSet<_> = verbs(info).iter().map(|verb| method_of(verb)).collect();
        if verbs(info).contains(&"list") {
            expected.insert((format!("/{path}/{}", info.plural), "get"));
        }
        for (path, method) in expected {
            for document in [&v2, &v3] {
                let operation = &document["paths"][&path][method];
                assert_eq!(operation["x-kubernetes-group-version-kind"], own, "{method} {path}");
            }
        }
        for part in subresources(info) {
            for document in [&v2, &v3] {
                assert!(
                    document["paths"].get(format!("{item}/{}", part.name)).is_some(),
                    "{item}/{}",
                    part.name
                );
            }
        }
    }
}

#[test]
fn operations_have_names_of_their_own_and_all_their_parameters() {
    let document = v2();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let parameters = item["parameters"].as_array().expect("parameters");
        let in_path: Vec<_> = parameters
            .iter()
            .filter(|one| one["in"] == "path")
            .map(|one| &one["name"])
            .collect();
        assert_eq!(in_path.len(), path.matches('{').count(), "{path}");
        for (method, operation) in item.as_object().expect("a path") {
            if method != "parameters" {
                let id = operation["operationId"].as_str().expect("an id");
                assert!(ids.insert(id), "{id} of {method} {path}");
            }
        }
    }
    for id in [
        "getCoreAPIVersions",
        "getCoreV1APIResources",
        "getAPIVersions",
        "getAppsAPIGroup",
        "getAppsV1APIResources",
        "getCodeVersion",
        "listCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "listCoreV1Node",
        "createCoreV1NamespacedPod",
        "readCoreV1NamespacedPod",
        "replaceCoreV1NamespacedPod",
        "patchCoreV1NamespacedPod",
        "deleteCoreV1NamespacedPod",
        "deleteCoreV1CollectionNamespacedPod",
        "readCoreV1NamespacedPodStatus",
        "readCoreV1NamespacedPodLog",
        "createCoreV1NamespacedPodBinding",
        "replaceCoreV1NamespaceFinalize",
        "readAppsV1NamespacedDeploymentScale",
        "patchAppsV1NamespacedDeployment",
    ] {
        assert!(ids.contains(id), "{id}");
    }
}

#[test]
fn definitions_tell_patches_what_they_must_know() {
    let document = v2();
    let property = |definition: &str, name: &str| {
        let found = &document["definitions"][definition]["properties"][name];
        assert!(found.is_object(), "{definition}.{name}");
        found.clone()
    };
    let pod_spec = "io.k8s.api.core.v1.PodSpec";
    let containers = property(pod_spec, "containers");
    assert_eq!(containers["type"], "array");
    assert_eq!(
        containers["items"]["$ref"],
        "#/definitions/io.k8s.api.core.v1.Container"
    );
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let required = document["definitions"][pod_spec]["required"]
        .as_array()
        .expect("a list");
    assert!(required.contains(&json!("containers")));

    let volumes = property(pod_spec, "volumes");
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    let ports = property("io.k8s.api.core.v1.Container", "ports");
    assert_eq!(
        ports["x-kubernetes-list-map-keys"],
        json!(["containerPort", "protocol"])
    );
    let strategy = property("io.k8s.api.apps.v1.DeploymentSpec", "strategy");
    assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    let selector = property("io.k8s.api.policy.v1.PodDisruptionBudgetSpec", "selector");
    assert_eq!(selector["x-kubernetes-patch-strategy"], "replace");
    let finalizers = property("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers");
    assert_eq!(finalizers["x-kubernetes-list-type"], "set");
    assert_eq!(
        property("io.k8s.api.core.v1.ContainerPort", "protocol")["default"],
        "TCP"
    );
    let selector = &document["definitions"]["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"];
    assert_eq!(selector["x-kubernetes-map-type"], "atomic");
    // Inlined messages have no object of their own.
    property("io.k8s.api.core.v1.Volume", "emptyDir");
    assert!(document["definitions"].get("io.k8s.api.core.v1.VolumeSource").is_none());
}

#[test]
fn scalars_look_as_in_kubernetes() {
    let groups = groups(&served());
    let (v2, v3) = (v2(), v3(&groups, "apis/apps/v1"));
    let quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
    let either = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
    assert_eq!(v2["definitions"][quantity]["type"], "string");
    assert_eq!(v2["definitions"][either]["format"], "int-or-string");
    let schemas = &v3["components"]["schemas"];
    assert_eq!(
        schemas[quantity]["oneOf"],
        json!([{"type": "string"}, {"type": "number"}])
    );
    assert_eq!(
        schemas[either]["oneOf"],
        json!([{"type": "integer"}, {"type": "string"}])
    );
    let time = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
    assert_eq!(
        (&schemas[time]["type"], &schemas[time]["format"]),
        (&json!("string"), &json!("date-time"))
    );
}

#[test]
fn no_reference_of_version_3_has_siblings() {
    let groups = groups(&served());
    for path in v3_paths(&groups) {
        walk(&v3(&groups, &path), &mut |value| {
            if let (Some(members), true) = (value.as_object(), value.get("$ref").is_some()) {
                assert_eq!(members.len(), 1, "{path}: {value}");
            }
        });
    }
}

#[test]
fn everything_that_people_read_is_described() {
    let mut missing = BTreeMap::new();
    for (name, definition) in v2()["definitions"].as_object().expect("definitions") {
        if definition["description"].as_str().is_none_or(str::is_empty) {
            missing.insert(name.clone(), "");
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn other_paths_have_no_document() {
    let groups = groups(&served());
    for path in ["", "apis/", "apis/nobody", "apis/apps/v9", "api/v1/", "api/v2"] {
        assert!(v3_document(&groups, path, ABOUT).is_none(), "{path}");
    }
    assert!(v3_paths(&groups).is_sorted());
}
