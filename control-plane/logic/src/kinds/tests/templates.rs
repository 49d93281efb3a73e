//! Templates of pods, and the ways to run them.

use expect_test::expect;
use serde_json::{Value, json};

use super::{cells, create::created, invalid::check, invalid::example, updates};

/// One object of each of these kinds, as users write them.
pub(super) fn examples() -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "web", "namespace": "shop"},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "web:1"}]}}}),
        json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "sandbox"}, "handler": "sandboxed",
            "overhead": {"podFixed": {"memory": "120Mi"}},
            "scheduling": {"nodeSelector": {"sandbox": "yes"}, "tolerations": [{"key": "sandbox", "operator": "Exists"}]}}),
    ]
}

#[test]
fn templates_are_filled_up_as_those_of_workloads() {
    let made = created(&example("PodTemplate", json!({})));
    assert_eq!(made["metadata"]["generation"], 1);
    let spec = &made["template"]["spec"];
    assert_eq!(
        (&spec["dnsPolicy"], &spec["restartPolicy"]),
        (&json!("ClusterFirst"), &json!("Never"))
    );
    assert_eq!(spec["containers"][0]["imagePullPolicy"], "IfNotPresent");
}

#[test]
fn bad_ones_are_refused() {
    check(
        &example(
            "PodTemplate",
            json!({"template": {"metadata": {"labels": {"a b": "c"}}, "spec": {"containers": [], "restartPolicy": "Maybe"}}}),
        ),
        &expect![[r#"
            template.metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            template.spec.containers: Required value
            template.spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"
        "#]],
    );
    check(
        &example(
            "RuntimeClass",
            json!({"handler": "A.b", "overhead": {"podFixed": {"memory": "-1", "ships": "1"}},
                "scheduling": {"nodeSelector": {"a b": "c"}, "tolerations": [{"operator": "Equal"}]}}),
        ),
        &expect![[r#"
            handler: Invalid value: "A.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            overhead.limits[memory]: Invalid value: "-1": must be greater than or equal to 0
            overhead.limits[ships]: Invalid value: "ships": must be a standard resource for containers
            scheduling.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            scheduling.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
        "#]],
    );
}

#[test]
fn what_may_change() {
    updates::check(
        "PodTemplate",
        &json!({"template": {"metadata": {"labels": {"app": "other"}}}}),
        &expect![[""]],
    );
    let relabelled = json!({"template": {"metadata": {"labels": {"app": "other"}}}});
    assert_eq!(updates::generation_after("PodTemplate", &relabelled), 2);
    assert_eq!(
        updates::generation_after("PodTemplate", &json!({"metadata": {"labels": {"a": "b"}}})),
        1
    );
    updates::check("RuntimeClass", &json!({"overhead": null}), &expect![[""]]);
    updates::check(
        "RuntimeClass",
        &json!({"handler": "other"}),
        &expect![[r#"
        handler: Invalid value: "other": field is immutable
    "#]],
    );
}

#[test]
fn tables() {
    cells::check(
        &example("PodTemplate", json!({})),
        &expect![[r#"
        Containers: main
        Images: web:1
        Pod Labels: app=web
    "#]],
    );
    cells::check(
        &example("PodTemplate", json!({"template": null})),
        &expect![[r#"
        Containers: 
        Images: 
        Pod Labels: <none>
    "#]],
    );
    cells::check(
        &example("RuntimeClass", json!({})),
        &expect![[r#"
        Handler: sandboxed
        Age: 3h
    "#]],
    );
}
