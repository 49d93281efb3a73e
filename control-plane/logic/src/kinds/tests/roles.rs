//! Roles and their bindings.

use expect_test::expect;
use serde_json::{Value, json};

use super::{cells, complaints, defaults, invalid::check, invalid::example, updates};

/// One object of each of these kinds, as users write them.
pub(super) fn examples() -> Vec<Value> {
    let version = "rbac.authorization.k8s.io/v1";
    let meta = json!({"name": "reader", "namespace": "shop"});
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    vec![
        json!({"apiVersion": version, "kind": "Role", "metadata": meta, "rules": rules}),
        json!({"apiVersion": version, "kind": "RoleBinding", "metadata": meta, "roleRef": {"kind": "Role", "name": "reader"},
            "subjects": [{"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "robot"}]}),
        json!({"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": "system:reader"},
            "rules": [{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}],
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "reader"}}]}}),
        json!({"apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": "readers"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:reader"},
            "subjects": [{"kind": "Group", "name": "readers"}, {"kind": "ServiceAccount", "name": "robot", "namespace": "shop"}]}),
    ]
}

#[test]
fn bindings_name_the_group_of_roles() {
    defaults::check(
        &example("RoleBinding", json!({})),
        &expect![[r#"
        {
          "apiVersion": "rbac.authorization.k8s.io/v1",
          "kind": "RoleBinding",
          "metadata": {
            "name": "reader",
            "namespace": "shop"
          },
          "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "reader"
          },
          "subjects": [
            {
              "apiGroup": "rbac.authorization.k8s.io",
              "kind": "User",
              "name": "ann"
            },
            {
              "kind": "ServiceAccount",
              "name": "robot"
            }
          ]
        }"#]],
    );
}

#[test]
fn bad_rules_are_refused() {
    let rules = json!([
        {},
        {"verbs": ["get"], "nonResourceURLs": ["/a"]},
        {"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"], "apiGroups": [""]},
    ]);
    check(
        &example("Role", json!({"rules": rules})),
        &expect![[r#"
        rules[0].verbs: Required value: verbs must contain at least one value
        rules[0].apiGroups: Required value: resource rules must supply at least one api group
        rules[0].resources: Required value: resource rules must supply at least one resource
        rules[1].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs
        rules[2].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs
        rules[2].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and non-resource URLs
    "#]],
    );
    check(
        &example(
            "ClusterRole",
            json!({"metadata": {"name": "a/b"}, "rules": rules, "aggregationRule": {"clusterRoleSelectors": []}}),
        ),
        &expect![[r#"
            metadata.name: Invalid value: "a/b": may not contain '/'
            rules[0].verbs: Required value: verbs must contain at least one value
            rules[0].apiGroups: Required value: resource rules must supply at least one api group
            rules[0].resources: Required value: resource rules must supply at least one resource
            rules[2].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and non-resource URLs
            aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil
        "#]],
    );
    check(
        &example(
            "ClusterRole",
            json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a b": "c"}}]}}),
        ),
        &expect![[r#"
            aggregationRule.clusterRoleSelectors[0].matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        "#]],
    );
    assert_eq!(
        complaints(&example("Role", json!({"metadata": {"name": "System:Reader"}}))),
        ""
    );
}

#[test]
fn bad_bindings_are_refused() {
    let subjects = json!([
        {"kind": "User", "name": ""},
        {"kind": "Group", "name": "", "apiGroup": "other"},
        {"kind": "ServiceAccount", "name": "A_b", "apiGroup": "other"},
        {"kind": "Ship", "name": "boat"},
    ]);
    let role = json!({"kind": "Ship", "name": "", "apiGroup": "other"});
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        let found = complaints(&example(kind, json!({"subjects": subjects, "roleRef": role})));
        let namespace = "subjects[2].namespace: Required value\n";
        assert_eq!(found.contains(namespace), kind == "ClusterRoleBinding", "{found}");
    }
    check(
        &example("RoleBinding", json!({"subjects": subjects, "roleRef": role})),
        &expect![[r#"
            roleRef.apiGroup: Unsupported value: "other": supported values: "rbac.authorization.k8s.io"
            roleRef.kind: Unsupported value: "Ship": supported values: "Role", "ClusterRole"
            roleRef.name: Required value
            subjects[0].name: Required value
            subjects[0].name: Invalid value: "": user name cannot be empty
            subjects[1].name: Required value
            subjects[1].name: Invalid value: "": group name cannot be empty
            subjects[1].apiGroup: Unsupported value: "other": supported values: "rbac.authorization.k8s.io"
            subjects[2].name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            subjects[2].apiGroup: Unsupported value: "other": supported values: ""
            subjects[3].kind: Unsupported value: "Ship": supported values: "ServiceAccount", "User", "Group"
        "#]],
    );
    check(
        &example(
            "ClusterRoleBinding",
            json!({"roleRef": {"kind": "Role", "name": "a/b"}}),
        ),
        &expect![[r#"
            roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"
            roleRef.name: Invalid value: "a/b": may not contain '/'
        "#]],
    );
}

#[test]
fn a_binding_keeps_its_role() {
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        updates::check(kind, &json!({"subjects": []}), &expect![[""]]);
    }
    updates::check(
        "RoleBinding",
        &json!({"roleRef": {"name": "writer"}}),
        &expect![[r#"
        roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"writer"}: cannot change roleRef
    "#]],
    );
    updates::check(
        "ClusterRoleBinding",
        &json!({"roleRef": {"name": "writer"}}),
        &expect![[r#"
            roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"writer"}: cannot change roleRef
        "#]],
    );
    updates::check("Role", &json!({"rules": []}), &expect![[""]]);
}

#[test]
fn tables() {
    cells::check(
        &example("Role", json!({})),
        &expect![[r#"
        Created At: 2023-11-14T22:13:20Z
    "#]],
    );
    cells::check(
        &example("ClusterRole", json!({})),
        &expect![[r#"
        Created At: 2023-11-14T22:13:20Z
    "#]],
    );
    cells::check(
        &example("RoleBinding", json!({})),
        &expect![[r#"
        Role: Role/reader
        Age: 3h
        *Users: ann
        *Groups: 
        *ServiceAccounts: /robot
    "#]],
    );
    cells::check(
        &example("ClusterRoleBinding", json!({})),
        &expect![[r#"
        Role: ClusterRole/system:reader
        Age: 3h
        *Users: 
        *Groups: readers
        *ServiceAccounts: shop/robot
    "#]],
    );
}
