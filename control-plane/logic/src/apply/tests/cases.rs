//! What applying does, case by case as the public specification tells it (KEP-555, the concepts page on server-side apply).

use super::*;

fn config_map() -> Server {
    Server::new("", "ConfigMap")
}

fn deployment() -> Server {
    Server::new("apps", "Deployment")
}

/// A Deployment's configuration; `spec` beside its template and selector.
fn nginx(spec: Value, container: Value) -> Value {
    let mut spec = spec;
    let mut container = container;
    container["name"] = "nginx".into();
    spec["selector"] = json!({"matchLabels": {"app": "nginx"}});
    spec["template"] = json!({"metadata": {"labels": {"app": "nginx"}}, "spec": {"containers": [container]}});
    json!({"spec": spec})
}

#[test]
fn applying_makes_the_object_and_owns_what_it_says() {
    let mut server = config_map();
    server.apply(
        "kubectl",
        json!({"metadata": {"namespace": "default", "labels": {"test-label": "test"}}, "data": {"key": "some value"}}),
    );
    server.check_owners(&[r#"kubectl Apply {"f:data":{"f:key":{}},"f:metadata":{"f:labels":{"f:test-label":{}}}}"#]);
    let entry = &server.managers[0];
    assert_eq!(
        (entry.api_version.as_str(), entry.fields_type.as_str()),
        ("v1", "FieldsV1")
    );
    assert_eq!(entry.time, Some(at(0)));
}

#[test]
fn an_update_takes_what_it_changes() {
    let mut server = config_map();
    server
        .apply(
            "kubectl",
            json!({"metadata": {"labels": {"test-label": "test"}}, "data": {"key": "some value"}}),
        )
        .at(5)
        .patch("kube-controller-manager", json!({"data": {"key": "new value"}}));
    server.check_owners(&[
        r#"kubectl Apply {"f:metadata":{"f:labels":{"f:test-label":{}}}}"#,
        r#"kube-controller-manager Update {"f:data":{"f:key":{}}}"#,
    ]);
    assert_eq!(
        server.managers[0].time,
        Some(at(0)),
        "what was taken from it is no change of its own"
    );
    // The applier now meets a conflict where it would change the value back, and none where it agrees.
    let config = |value| json!({"metadata": {"labels": {"test-label": "test"}}, "data": {"key": value}});
    let error = server.refusal("kubectl", config("some value"));
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kube-controller-manager\" using v1: .data.key"
    );
    server.apply("kubectl", config("new value"));
    server.check_owners(&[
        r#"kubectl Apply {"f:data":{"f:key":{}},"f:metadata":{"f:labels":{"f:test-label":{}}}}"#,
        r#"kube-controller-manager Update {"f:data":{"f:key":{}}}"#,
    ]);
}

#[test]
fn conflicts_name_every_owner_and_field() {
    let mut server = deployment();
    server
        .create(
            "kubectl-client-side-apply",
            nginx(json!({"replicas": 1}), json!({"image": "nginx:1"})),
        )
        .apply("other", json!({"metadata": {"labels": {"team": "a"}}}));
    let ApplyError::Conflict(one) = server.refusal("me", json!({"spec": {"replicas": 3}})) else {
        panic!("a conflict")
    };
    assert_eq!(
        one.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let cause = ConflictCause {
        field: ".spec.replicas".to_owned(),
        message: "conflict with \"kubectl-client-side-apply\" using apps/v1".to_owned(),
    };
    assert_eq!(one.causes(), [cause]);

    let mut wanted = nginx(json!({"replicas": 3}), json!({"image": "nginx:2"}));
    wanted["metadata"] = json!({"labels": {"team": "b"}});
    let ApplyError::Conflict(many) = server.refusal("me", wanted.clone()) else {
        panic!("a conflict")
    };
    assert_eq!(
        many.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n\
         - .spec.replicas\n\
         - .spec.template.spec.containers[name=\"nginx\"].image\n\
         conflicts with \"other\":\n\
         - .metadata.labels.team"
    );
    assert_eq!(many.causes().len(), 3);

    server.force("me", wanted);
    assert_eq!(server.value("/spec/replicas"), 3);
    assert_eq!(server.value("/metadata/labels/team"), "b");
    // Who has nothing left is no manager any more.
    assert!(
        server.owners().iter().all(|line| !line.starts_with("other ")),
        "{:?}",
        server.owners()
    );
    let client_side = server.owners().pop().expect("there");
    assert!(
        client_side.starts_with("kubectl-client-side-apply Update"),
        "{client_side}"
    );
    assert!(
        !client_side.contains("f:replicas") && !client_side.contains("f:image\""),
        "{client_side}"
    );
}

#[test]
fn what_is_no_longer_applied_goes() {
    let mut server = config_map();
    server
        .apply(
            "a",
            json!({"metadata": {"labels": {"x": "1"}}, "data": {"keep": "1", "drop": "1", "shared": "1"}}),
        )
        .apply("b", json!({"data": {"shared": "1"}}))
        .apply("a", json!({"data": {"keep": "1"}}));
    assert_eq!(server.value("/data"), json!({"keep": "1", "shared": "1"}));
    assert_eq!(server.value("/metadata/labels"), Value::Null);
    server.check_owners(&[
        r#"a Apply {"f:data":{"f:keep":{}}}"#,
        r#"b Apply {"f:data":{"f:shared":{}}}"#,
    ]);
    server.apply("b", json!({}));
    assert_eq!(server.value("/data"), json!({"keep": "1"}));
    server.check_owners(&[r#"a Apply {"f:data":{"f:keep":{}}}"#]);
}

#[test]
fn what_an_update_owns_too_stays() {
    let mut server = config_map();
    server
        .create("editor", json!({"data": {"key": "1"}}))
        .apply("a", json!({"data": {"key": "1", "own": "1"}}))
        .apply("a", json!({}));
    assert_eq!(server.value("/data"), json!({"key": "1"}));
    server.check_owners(&[r#"editor Update {"f:data":{".":{},"f:key":{}}}"#]);
}

/// The page's example of a Deployment whose replicas are given over to an autoscaler.
#[test]
fn replicas_are_given_over_to_a_scaler() {
    let scale = Part::Other("scale");
    let mut server = deployment();
    server.apply("me", nginx(json!({"replicas": 3}), json!({"image": "nginx:1"})));
    // It scales: the applier loses the field, and is asked before it is taken back.
    server.patch_part(scale, Some("hpa"), json!({"spec": {"replicas": 5}}));
    assert_eq!(server.owners()[1], r#"hpa/scale Update {"f:spec":{"f:replicas":{}}}"#);
    let error = server.refusal("me", nginx(json!({"replicas": 3}), json!({"image": "nginx:1"})));
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    // Without the field there is no conflict, and the value stays.
    server.apply("me", nginx(json!({}), json!({"image": "nginx:2"})));
    assert_eq!(server.value("/spec/replicas"), 5);
    // If it never scaled, giving the field up would fall back to the default: it needs a second owner first.
    let mut server = deployment();
    server
        .apply("me", nginx(json!({"replicas": 3}), json!({"image": "nginx:1"})))
        .apply("handover", json!({"spec": {"replicas": 3}}))
        .apply("me", nginx(json!({}), json!({"image": "nginx:1"})));
    assert_eq!(server.value("/spec/replicas"), 3);
    let mut server = deployment();
    server
        .apply("me", nginx(json!({"replicas": 3}), json!({"image": "nginx:1"})))
        .apply("me", nginx(json!({}), json!({"image": "nginx:1"})));
    assert_eq!(server.value("/spec/replicas"), 1, "the default");
}

#[test]
fn several_appliers_share_a_list() {
    let env = |name: &str, value: &str| nginx(json!({}), json!({"env": [{"name": name, "value": value}]}));
    let mut server = deployment();
    server
        .apply(
            "app",
            nginx(
                json!({}),
                json!({"image": "nginx:1", "env": [{"name": "A", "value": "1"}]}),
            ),
        )
        .apply("proxy", env("PROXY", "p"));
    let names = |server: &Server| {
        let env = server.value("/spec/template/spec/containers/0/env");
        let names = env.as_array().cloned().unwrap_or_default();
        names.iter().map(|item| item["name"].clone()).collect::<Value>()
    };
    assert_eq!(names(&server), json!(["A", "PROXY"]));
    // Both own the container and its name; each its own variables.
    server.apply("app", nginx(json!({}), json!({"image": "nginx:1"})));
    assert_eq!(names(&server), json!(["PROXY"]));
    server.apply("proxy", json!({}));
    assert_eq!(names(&server), json!([]));
    assert_eq!(server.value("/spec/template/spec/containers/0/image"), "nginx:1");
    server.check_owners(&[concat!(
        r#"app Apply {"f:spec":{"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":"#,
        r#"{"k:{\"name\":\"nginx\"}":{".":{},"f:image":{},"f:name":{}}}}}}}"#
    )]);
}

#[test]
fn nothing_is_no_change_where_there_is_nothing() {
    // Both say that there are no labels, which an object cannot tell from saying nothing.
    let mut server = config_map();
    server
        .apply("one", json!({"metadata": {"labels": {}}, "data": {"a": "1"}}))
        .apply(
            "two",
            json!({"metadata": {"labels": {}, "finalizers": [], "annotations": null}}),
        );
    server.check_owners(&[
        r#"one Apply {"f:data":{"f:a":{}},"f:metadata":{"f:labels":{}}}"#,
        r#"two Apply {"f:metadata":{"f:annotations":{},"f:labels":{}}}"#,
    ]);
    // Where there is something it is one: null asks to remove it.
    let error = server.refusal("two", json!({"data": {"a": null}}));
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"one\": .data.a"
    );
}

#[test]
fn an_item_goes_with_its_last_owner_and_takes_along_what_nobody_owns() {
    let pod = |names: &[&str]| {
        let containers: Value = names.iter().map(|name| json!({"name": name, "image": "x"})).collect();
        json!({"spec": {"containers": containers}})
    };
    let mut server = Server::new("", "Pod");
    // Defaults of the second container, which nobody owns, go with it.
    server.apply("me", pod(&["a", "b"])).apply("me", pod(&["a"]));
    let containers = server.value("/spec/containers");
    assert_eq!(containers.as_array().map(Vec::len), Some(1), "{containers}");
    // What somebody else owns of an item keeps it.
    let mut server = Server::new("", "Pod");
    server
        .apply("me", pod(&["a", "b"]))
        .apply("other", json!({"spec": {"containers": [{"name": "b", "tty": true}]}}))
        .apply("me", pod(&["a"]));
    assert_eq!(server.value("/spec/containers/1/tty"), true);
    assert_eq!(server.value("/spec/containers/1/image"), Value::Null);
}

#[test]
fn atomic_values_are_owned_whole() {
    let mut server = Server::new("", "Pod");
    let pod = |args: Value| json!({"spec": {"containers": [{"name": "a", "image": "x", "args": args}], "nodeSelector": {"disk": "ssd"}}});
    server.apply("one", pod(json!(["a", "b"])));
    let error = server.refusal("two", json!({"spec": {"nodeSelector": {"zone": "z"}}}));
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.nodeSelector"
    );
    server.apply("one", pod(json!(["b"])));
    assert_eq!(server.value("/spec/containers/0/args"), json!(["b"]));
}

#[test]
fn the_first_apply_meets_what_was_there_before() {
    // Nobody is known to own anything of what a loop of the control plane made.
    let mut server = config_map();
    server.create("loop", json!({"data": {"key": "1", "other": "1"}}));
    server.managers.clear();
    let error = server.refusal("me", json!({"data": {"key": "2"}}));
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.key"
    );
    server.force("me", json!({"data": {"key": "2"}}));
    server.check_owners(&[
        r#"me Apply {"f:data":{"f:key":{}}}"#,
        r#"before-first-apply Update {"f:data":{".":{},"f:other":{}}}"#,
    ]);
}

#[test]
fn status_is_applied_apart() {
    let mut server = deployment();
    server.apply("me", nginx(json!({"replicas": 1}), json!({"image": "x"})));
    server
        .apply_part(
            Part::Status,
            "controller",
            false,
            json!({"metadata": {"labels": {"not": "mine"}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        )
        .expect("applied");
    assert_eq!(
        server.owners()[0],
        concat!(
            r#"controller/status Apply {"f:status":{"f:conditions":{"k:{\"type\":\"Ready\"}":"#,
            r#"{".":{},"f:status":{},"f:type":{}}}}}"#
        )
    );
    // Through the object itself nobody owns a status, though they say one.
    server.apply(
        "other",
        json!({"metadata": {"labels": {"a": "1"}}, "status": {"replicas": 7}}),
    );
    assert!(
        server
            .owners()
            .contains(&r#"other Apply {"f:metadata":{"f:labels":{"f:a":{}}}}"#.to_owned())
    );
}

#[test]
fn client_side_apply_is_upgraded_without_conflict() {
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let mut server = config_map();
    let last = Value::Object(server.config(json!({"data": {"key": "1", "edited": "1"}})));
    let created =
        json!({"metadata": {"annotations": {annotation: format!("{last}\n")}}, "data": {"key": "1", "edited": "1"}});
    server
        .create("kubectl-client-side-apply", created)
        .at(5)
        .patch("editor", json!({"data": {"edited": "2"}}))
        .at(10);
    // Under another name it is a conflict, and so it is where somebody else changed the value since.
    assert!(matches!(
        server.refusal("argo", json!({"data": {"key": "2"}})),
        ApplyError::Conflict(_)
    ));
    let error = server.refusal("kubectl", json!({"data": {"key": "2", "edited": "3"}}));
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.edited"
    );
    server.apply("kubectl", json!({"data": {"key": "2"}}));
    assert_eq!(server.value("/data"), json!({"key": "2", "edited": "2"}));
    // The annotation follows, so that client-side apply can go on from here.
    let followed = server.value("/metadata/annotations");
    let expected = Value::Object(server.config(json!({"data": {"key": "2"}})));
    assert_eq!(followed[annotation], format!("{expected}\n"));
    assert_eq!(server.owners()[0], r#"kubectl Apply {"f:data":{"f:key":{}}}"#);
}

#[test]
fn bad_configurations_are_named() {
    let mut server = deployment();
    for (config, expected) in [
        (
            json!({"spec": {"replicaz": 1}}),
            ".spec.replicaz: field not declared in schema",
        ),
        (json!({"sepc": {}}), ".sepc: field not declared in schema"),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "imagee": "x"}]}}}}),
            ".spec.template.spec.containers[name=\"a\"].imagee: field not declared in schema",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}}),
            ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}),
            ".spec.template.spec.containers: element 0: associative list with keys has an element that omits all key fields \
             [\"name\"] (and doesn't have default values for any key fields)",
        ),
        (
            json!({"metadata": {"managedFields": []}}),
            "metadata.managedFields must be nil",
        ),
    ] {
        assert_eq!(server.refusal("me", config).to_string(), expected);
    }
}
