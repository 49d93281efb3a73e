//! Creating, replacing, patching and deleting.

use super::*;
use crate::limits;

#[tokio::test]
async fn objects_are_created_in_each_form() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let created = admin.post(PODS, &pod("a")).await;
    assert_eq!(created.code, 201, "{}", created.text());
    assert_eq!(created.json()["metadata"]["namespace"], "default");
    let yaml = "apiVersion: v1\r\nkind: Pod\r\nmetadata: &m {name: b}\r\nspec:\r\n  containers:\r\n  - {name: main, image: 'hello:1'}\r\n";
    let created = admin.send(Method::POST, PODS, "application/yaml", yaml).await;
    assert_eq!((created.code, &created.json()["metadata"]["name"]), (201, &json!("b")));
    // What is read in protobuf can be sent so.
    let kind = "application/vnd.kubernetes.protobuf";
    let read = admin.get_as(&format!("{PODS}/a"), kind).await.good();
    admin.delete(&format!("{PODS}/a?gracePeriodSeconds=0")).await.good();
    let created = admin.send(Method::POST, PODS, kind, read.body).await;
    assert_eq!((created.code, &created.json()["metadata"]["name"]), (201, &json!("a")));

    let again = admin.post(PODS, &pod("a")).await;
    assert_status(
        &again,
        StatusCode::CONFLICT,
        "AlreadyExists",
        "pods \"a\" already exists",
    );
    let mut invalid = pod("c");
    invalid["spec"]["containers"][0]["name"] = json!("Not A Name");
    let refused = admin.post(PODS, &invalid).await;
    assert_status(
        &refused,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        "Pod \"c\" is invalid: spec.containers[0].name",
    );
    assert_eq!(
        refused.json()["details"]["causes"][0]["field"],
        "spec.containers[0].name"
    );
    let pretended = admin.post(&format!("{PODS}?dryRun=All"), &pod("d")).await;
    assert_eq!(pretended.code, 201);
    assert_eq!(pretended.json()["metadata"]["resourceVersion"], Value::Null);
    assert_eq!(admin.get(&format!("{PODS}/d")).await.code, 404);
    let named = admin
        .post(
            PODS,
            &json!({"metadata": {"generateName": "e-"}, "spec": pod("e")["spec"]}),
        )
        .await;
    assert!(
        named.json()["metadata"]["name"]
            .as_str()
            .expect("a name")
            .starts_with("e-")
    );
}

#[tokio::test]
async fn unknown_and_repeated_fields_are_warned_about_or_refused() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let body =
        |name: &str| format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"a":"1"}},"data":{{"a":"2"}},"oars":3}}"#);
    let warned = admin.send(Method::POST, MAPS, JSON, body("a")).await.good();
    let warnings: Vec<_> = warned
        .headers
        .get_all("warning")
        .iter()
        .map(|value| value.to_str().expect("text"))
        .collect();
    assert_eq!(
        warnings,
        [
            r#"299 - "duplicate field \"data\"""#,
            r#"299 - "unknown field \"oars\"""#
        ]
    );
    assert_eq!(warned.json()["data"]["a"], "2");
    let silent = admin
        .send(Method::POST, &format!("{MAPS}?fieldValidation=Ignore"), JSON, body("b"))
        .await
        .good();
    assert_eq!(silent.header("warning"), "");
    let strict = admin
        .send(Method::POST, &format!("{MAPS}?fieldValidation=Strict"), JSON, body("c"))
        .await;
    let words = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: duplicate field \"data\", unknown field \"oars\"";
    assert_status(&strict, StatusCode::BAD_REQUEST, "BadRequest", words);
    let wrong = admin
        .send(Method::POST, &format!("{MAPS}?fieldValidation=Lax"), JSON, body("d"))
        .await;
    assert_status(
        &wrong,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        "fieldValidation: Unsupported value: \"Lax\"",
    );
}

/// KEP-2885, for every form of a patch that is no declaration.
#[tokio::test]
async fn patches_are_validated_as_whole_objects_are() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let target = format!("{MAPS}/a");
    admin.post(MAPS, &config_map("a", "")).await.good();
    let merging = r#"{"data":{"note":"1","note":"2"},"oars":3}"#;
    let operations =
        r#"[{"op":"add","path":"/data/note","value":"1","value":"2"},{"op":"add","path":"/oars","value":3}]"#;
    for (kind, patch, twice) in [
        ("application/merge-patch+json", merging, "data.note"),
        ("application/strategic-merge-patch+json", merging, "data.note"),
        ("application/json-patch+json", operations, "[0].value"),
    ] {
        let remarks = [
            format!("duplicate field {twice:?}"),
            r#"unknown field "oars""#.to_owned(),
        ];
        let strict = admin
            .send(Method::PATCH, &format!("{target}?fieldValidation=Strict"), kind, patch)
            .await;
        let words = format!("strict decoding error: {}", remarks.join(", "));
        assert_status(&strict, StatusCode::BAD_REQUEST, "BadRequest", &words);
        let silent = admin
            .send(Method::PATCH, &format!("{target}?fieldValidation=Ignore"), kind, patch)
            .await
            .good();
        assert_eq!(
            (silent.header("warning"), &silent.json()["data"]["note"]),
            ("", &json!("2"))
        );
        let warned = admin.send(Method::PATCH, &target, kind, patch).await.good();
        let warnings = warned.headers.get_all("warning").iter();
        let warnings: Vec<&str> = warnings.map(|value| value.to_str().expect("text")).collect();
        assert_eq!(warnings, remarks.map(|remark| format!("299 - {remark:?}")), "{kind}");
    }
}

#[tokio::test]
async fn objects_are_replaced_and_patched() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let target = format!("{MAPS}/a");
    let mut map = admin.post(MAPS, &config_map("a", "one")).await.good().json();
    map["data"]["note"] = json!("two");
    let replaced = admin
        .send(Method::PUT, &target, JSON, map.to_string())
        .await
        .good()
        .json();
    assert_eq!(replaced["data"]["note"], "two");
    let stale = admin.send(Method::PUT, &target, JSON, map.to_string()).await;
    assert_status(&stale, StatusCode::CONFLICT, "Conflict", "the object has been modified");
    for (kind, patch, expected) in [
        ("application/merge-patch+json", r#"{"data":{"note":"three"}}"#, "three"),
        (
            "application/strategic-merge-patch+json",
            r#"{"data":{"note":"four"}}"#,
            "four",
        ),
        (
            "application/json-patch+json",
            r#"[{"op":"replace","path":"/data/note","value":"five"}]"#,
            "five",
        ),
    ] {
        let patched = admin.send(Method::PATCH, &target, kind, patch).await.good().json();
        assert_eq!(patched["data"]["note"], expected, "{kind}");
    }
    let form = admin.send(Method::PATCH, &target, JSON, "{}").await;
    assert_status(
        &form,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        "application/merge-patch+json",
    );
    let force = admin
        .send(
            Method::PATCH,
            &format!("{target}?force=true"),
            "application/merge-patch+json",
            "{}",
        )
        .await;
    assert_status(
        &force,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        "force: Forbidden: may not be specified for non-apply patch",
    );
}

#[tokio::test]
async fn scale_and_status_are_parts_of_their_own() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": pod("web")["spec"]});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec});
    admin.post(deployments, &body).await.good();
    let target = format!("{deployments}/web/scale");
    let scale = admin.get(&target).await.good().json();
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!("autoscaling/v1"), &json!(2))
    );
    let changed =
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "web"}, "spec": {"replicas": 5}});
    let scaled = admin
        .send(Method::PUT, &target, JSON, changed.to_string())
        .await
        .good()
        .json();
    assert_eq!(scaled["spec"]["replicas"], 5);
    let patch = r#"{"spec":{"replicas":7}}"#;
    let scaled = admin
        .send(Method::PATCH, &target, "application/merge-patch+json", patch)
        .await
        .good()
        .json();
    assert_eq!(scaled["spec"]["replicas"], 7);
    let table = admin
        .get_as(&target, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .await
        .good()
        .json();
    assert_eq!(
        table["rows"][0]["cells"].as_array().expect("cells")[..3],
        [json!("web"), json!(7), json!(0)]
    );
    let status = r#"{"status":{"replicas":3}}"#;
    let target = format!("{deployments}/web/status");
    let patched = admin
        .send(Method::PATCH, &target, "application/merge-patch+json", status)
        .await
        .good()
        .json();
    assert_eq!(
        (&patched["status"]["replicas"], &patched["spec"]["replicas"]),
        (&json!(3), &json!(7))
    );
}

#[tokio::test]
async fn a_pod_is_bound_by_either_path() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let binding = |name: &str| json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    for (name, target) in [
        ("a", format!("{PODS}/a/binding")),
        ("b", "/api/v1/namespaces/default/bindings".to_owned()),
    ] {
        admin.post(PODS, &pod(name)).await.good();
        let bound = admin.post(&target, &binding(name)).await;
        assert_eq!(
            (bound.code, &bound.json()["status"]),
            (201, &json!("Success")),
            "{}",
            bound.text()
        );
        assert_eq!(
            admin.get(&format!("{PODS}/{name}")).await.json()["spec"]["nodeName"],
            "n1"
        );
        let again = admin.post(&target, &binding(name)).await;
        assert_status(&again, StatusCode::CONFLICT, "Conflict", "already assigned");
    }
    assert_eq!(admin.get("/api/v1/namespaces/default/bindings").await.code, 405);
}

#[tokio::test]
async fn a_pod_is_evicted() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    admin.post(PODS, &pod("a")).await.good();
    let eviction = |name: &str, uid: &str| {
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options})
    };
    let target = format!("{PODS}/a/eviction");
    let other = admin.post(&target, &eviction("b", "")).await;
    assert_status(
        &other,
        StatusCode::BAD_REQUEST,
        "BadRequest",
        "does not match name in Eviction",
    );
    let stranger = admin.post(&target, &eviction("a", "other")).await;
    assert_status(
        &stranger,
        StatusCode::CONFLICT,
        "Conflict",
        "UID in precondition: other",
    );
    let uid = admin.get(&format!("{PODS}/a")).await.json()["metadata"]["uid"]
        .as_str()
        .expect("a uid")
        .to_owned();
    admin
        .post(&format!("{target}?dryRun=All"), &eviction("a", &uid))
        .await
        .good();
    assert_eq!(admin.get(&format!("{PODS}/a")).await.code, 200);
    let evicted = admin.post(&target, &eviction("a", &uid)).await;
    assert_eq!((evicted.code, &evicted.json()["status"]), (201, &json!("Success")));
    assert_eq!(admin.get(&format!("{PODS}/a")).await.code, 404);
    assert_eq!(admin.post(&target, &eviction("a", "")).await.code, 404);
}

#[tokio::test]
async fn a_pod_gets_containers_to_look_into_it_and_other_resources() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let mut created = pod("a");
    created["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    admin.post(PODS, &created).await.good();
    let target = format!("{PODS}/a/ephemeralcontainers");
    let patch = r#"{"spec":{"ephemeralContainers":[{"name":"look","image":"tools:1","targetContainerName":"main"}]}}"#;
    let kind = "application/strategic-merge-patch+json";
    let patched = admin.send(Method::PATCH, &target, kind, patch).await.good().json();
    assert_eq!(patched["spec"]["ephemeralContainers"][0]["name"], "look");
    let mut read = admin.get(&target).await.good().json();
    read["spec"]["ephemeralContainers"] = json!([]);
    let removed = admin.send(Method::PUT, &target, JSON, read.to_string()).await;
    assert_status(
        &removed,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        "may not be removed",
    );
    // The plain way is no way.
    let plain = admin
        .send(Method::PUT, &format!("{PODS}/a"), JSON, read.to_string())
        .await;
    assert_eq!(plain.code, 422);

    let patch = r#"{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"2"}},"image":"other:1"}]}}"#;
    let resized = admin
        .send(Method::PATCH, &format!("{PODS}/a/resize"), kind, patch)
        .await
        .good()
        .json();
    let container = &resized["spec"]["containers"][0];
    assert_eq!(
        (&container["resources"]["requests"]["cpu"], &container["image"]),
        (&json!("2"), &json!("hello:1"))
    );
    let patch = r#"{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":null}}}]}}"#;
    let class = admin
        .send(Method::PATCH, &format!("{PODS}/a/resize"), kind, patch)
        .await;
    assert_status(
        &class,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        "Pod QOS Class may not change",
    );
}

#[tokio::test]
async fn deletions_answer_as_kubernetes_does() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let map = admin.post(MAPS, &config_map("a", "")).await.good().json();
    let pretended = admin.delete(&format!("{MAPS}/a?dryRun=All")).await.good();
    assert_eq!(pretended.json()["status"], "Success");
    let body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    let refused = admin
        .send(Method::DELETE, &format!("{MAPS}/a"), JSON, body.to_string())
        .await;
    assert_status(
        &refused,
        StatusCode::CONFLICT,
        "Conflict",
        "Precondition failed: UID in precondition: other",
    );
    let gone = admin.delete(&format!("{MAPS}/a")).await.good().json();
    assert_eq!(
        (&gone["kind"], &gone["status"], &gone["details"]),
        (
            &json!("Status"),
            &json!("Success"),
            &json!({"name": "a", "kind": "configmaps", "uid": map["metadata"]["uid"]})
        )
    );
    // Pods are shown as they last were, or as they are while they end.
    let mut bound = pod("b");
    bound["spec"]["nodeName"] = json!("n1");
    admin.post(PODS, &bound).await.good();
    let ending = admin.delete(&format!("{PODS}/b")).await.good().json();
    assert_eq!(
        (&ending["kind"], &ending["metadata"]["deletionGracePeriodSeconds"]),
        (&json!("Pod"), &json!(30))
    );
    let query = format!("{PODS}/b?propagationPolicy=Foreground");
    assert_eq!(admin.delete(&query).await.code, 202);
    let wrong = admin.delete(&format!("{PODS}/b?propagationPolicy=Sink")).await;
    assert_status(
        &wrong,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        "propagationPolicy: Unsupported value: \"Sink\"",
    );
}

#[tokio::test]
async fn a_collection_is_deleted_as_far_as_it_is_selected() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    for index in 0..30 {
        let mut map = config_map(&format!("m{index:02}"), "");
        map["metadata"]["labels"] = json!({"parity": if index % 2 == 0 { "even" } else { "odd" }});
        admin.post(MAPS, &map).await.good();
    }
    let count = async |selector: &str| {
        let list = admin
            .get(&format!("{MAPS}?labelSelector={selector}"))
            .await
            .good()
            .json();
        list["items"].as_array().expect("items").len()
    };
    let target = format!("{MAPS}?labelSelector=parity%3Deven&dryRun=All");
    let pretended = admin.delete(&target).await.good().json();
    assert_eq!(pretended["items"].as_array().map(Vec::len), Some(15));
    assert_eq!(count("parity").await, 30);
    let page = admin.ask(Method::DELETE, MAPS, &[("accept", "text/html")], "").await;
    assert_eq!(
        (page.code, count("parity").await),
        (406, 30),
        "nobody could be told of it"
    );
    let deleted = admin
        .delete(&format!("{MAPS}?labelSelector=parity%3Deven"))
        .await
        .good()
        .json();
    assert_eq!(
        (&deleted["kind"], &deleted["apiVersion"]),
        (&json!("ConfigMapList"), &json!("v1"))
    );
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("items").iter();
        let name = |item: &Value| item["metadata"]["name"].as_str().expect("a name").to_owned();
        items.map(name).collect()
    };
    let even: Vec<String> = (0..30).step_by(2).map(|index| format!("m{index:02}")).collect();
    assert_eq!(names(&deleted), even, "each that went is shown");
    assert_eq!((count("parity%3Deven").await, count("parity%3Dodd").await), (0, 15));
    admin
        .delete(&format!("{MAPS}?fieldSelector=metadata.name%3Dm01"))
        .await
        .good();
    assert_eq!(count("parity").await, 14);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let rest = admin
        .ask(Method::DELETE, MAPS, &[("accept", table)], "")
        .await
        .good()
        .json();
    assert_eq!(
        (&rest["kind"], rest["rows"].as_array().map(Vec::len)),
        (&json!("Table"), Some(14))
    );
    assert_eq!(count("").await, 0);
    let nothing = admin.delete(MAPS).await.good().json();
    assert_eq!(
        (&nothing["kind"], &nothing["items"]),
        (&json!("ConfigMapList"), &json!([]))
    );
    assert_eq!(admin.delete("/api/v1/namespaces").await.code, 405);
}

#[tokio::test]
async fn a_body_that_is_too_large_or_hostile_is_refused() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let large = vec![b' '; limits::REQUEST_MAX_BYTES + 1];
    let refused = admin.send(Method::POST, MAPS, JSON, large).await;
    assert_status(
        &refused,
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLarge",
        "limit is 3145728",
    );
    let mut bomb = "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(",");
        bomb += &format!("b{level}: &a{level} [{below}]\n");
    }
    let deep = "[".repeat(1_000_000);
    for (kind, body) in [
        (JSON, deep.clone()),
        ("application/yaml", deep),
        ("application/yaml", bomb),
        ("application/vnd.kubernetes.protobuf", "k8s\0\u{1}".to_owned()),
        (JSON, String::new()),
    ] {
        let refused = admin.send(Method::POST, MAPS, kind, body).await;
        assert_status(&refused, StatusCode::BAD_REQUEST, "BadRequest", "");
    }
}
