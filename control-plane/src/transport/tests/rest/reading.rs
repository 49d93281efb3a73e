//! Reading: one object, what there is no route for, and who may not.

use super::*;

#[tokio::test]
async fn an_object_is_read_in_each_form() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    admin.post(PODS, &pod("web")).await.good();
    let target = format!("{PODS}/web");

    let json = admin.get(&target).await.good();
    assert_eq!(json.header("content-type"), "application/json");
    let object = json.json();
    assert_eq!(
        (&object["kind"], &object["metadata"]["name"]),
        (&json!("Pod"), &json!("web"))
    );
    assert!(json.text().ends_with("}\n") && !json.text().contains("\n "));

    let pretty = admin.get(&format!("{target}?pretty=true")).await.good();
    assert!(pretty.text().contains("\n  \"metadata\": {\n"), "{}", pretty.text());
    assert_eq!(pretty.json(), object);
    let curl = admin.ask(Method::GET, &target, &[("user-agent", "curl/8.0")], "").await;
    assert_eq!(curl.body, pretty.body);

    let yaml = admin.get_as(&target, "application/yaml").await.good();
    assert_eq!(yaml.header("content-type"), "application/yaml");
    let read: Value = serde_saphyr::from_str(&yaml.text()).expect("YAML");
    assert_eq!(read, object);

    let protobuf = admin
        .get_as(&target, "application/vnd.kubernetes.protobuf")
        .await
        .good();
    assert_eq!(protobuf.header("content-type"), "application/vnd.kubernetes.protobuf");
    assert!(
        protobuf.body.starts_with(b"k8s\0\n\x09\n\x02v1\x12\x03Pod\x12"),
        "{:?}",
        protobuf.body
    );

    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let metadata = admin.get_as(&target, partial).await.good().json();
    assert_eq!(
        (&metadata["kind"], &metadata["apiVersion"], &metadata["spec"]),
        (&json!("PartialObjectMetadata"), &json!("meta.k8s.io/v1"), &Value::Null)
    );
    assert_eq!(metadata["metadata"], object["metadata"]);
}

#[tokio::test]
async fn what_is_not_there_is_a_status() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let missing = admin.get(&format!("{PODS}/web")).await;
    assert_status(&missing, StatusCode::NOT_FOUND, "NotFound", "pods \"web\" not found");
    assert_eq!(missing.json()["details"], json!({"name": "web", "kind": "pods"}));

    let unknown = "the server could not find the requested resource";
    for target in [
        "/api/v1/ships",
        "/api/v9/pods",
        "/apis/none.example/v1/x",
        "/nowhere",
        "/api/v1/namespaces/default/nodes",
    ] {
        assert_status(&admin.get(target).await, StatusCode::NOT_FOUND, "NotFound", unknown);
    }
    let wrong = admin.send(Method::PUT, PODS, JSON, "{}").await;
    assert_status(
        &wrong,
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "does not allow this method",
    );
    let head = admin.ask(Method::HEAD, PODS, &[], "").await;
    assert_eq!(head.code, 405);

    let form = admin.get_as(PODS, "text/html").await;
    assert_status(
        &form,
        StatusCode::NOT_ACCEPTABLE,
        "NotAcceptable",
        "only the following media types are accepted: application/json",
    );
    let body = admin.send(Method::POST, PODS, "text/plain", "x").await;
    assert_status(
        &body,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        "in an unknown format",
    );
    let packed = admin
        .ask(Method::POST, PODS, &[("content-encoding", "gzip")], "x")
        .await;
    assert_eq!(packed.code, 415);

    let later = admin.post(&format!("{PODS}/web/exec"), &json!({})).await;
    assert_status(
        &later,
        StatusCode::NOT_IMPLEMENTED,
        "NotImplemented",
        "pods/exec is not served by this server yet",
    );
    let protobuf = admin.get_as("/nowhere", "application/vnd.kubernetes.protobuf").await;
    assert!(
        protobuf.body.starts_with(b"k8s\0\n\x0c\n\x02v1\x12\x06Status"),
        "{:?}",
        protobuf.body
    );
}

#[tokio::test]
async fn who_is_not_known_gets_health_and_version_alone() {
    let server = TestServer::start().await;
    let node = Http {
        profile: Profile::node("n1"),
        ..Http::admin(&server)
    };
    let refused = node.get(PODS).await;
    assert_status(
        &refused,
        StatusCode::FORBIDDEN,
        "Forbidden",
        "User \"system:node:n1\" cannot list resource \"pods\"",
    );

    let root = server.authority.certificate_pem().to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, root).expect("written");
    let nobody = async |path: &str| {
        let url = format!("https://{}{path}", server.address);
        let curl = tokio::process::Command::new("curl")
            .args(["-s", "--max-time", "20", "-w", "\n%{http_code}", "--cacert"])
            .args([ca.as_os_str(), url.as_ref()])
            .output();
        let said = String::from_utf8(curl.await.expect("curl runs").stdout).expect("text");
        let (body, code) = said.rsplit_once('\n').expect("a code");
        (code.to_owned(), body.to_owned())
    };
    for path in [
        "/healthz",
        "/livez",
        "/readyz",
        "/readyz/ping",
        "/readyz?verbose",
        "/version",
        // As Python's client asks.
        "/version/",
    ] {
        assert_eq!(nobody(path).await.0, "200", "{path}");
    }
    for path in [PODS, "/nowhere", "/api/v1/ships"] {
        let (code, body) = nobody(path).await;
        assert_eq!(code, "401", "{path}");
        let status: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (&status["reason"], &status["code"]),
            (&json!("Unauthorized"), &json!(401))
        );
    }
}

#[tokio::test]
async fn what_is_not_served_yet_says_so_by_every_method() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    admin.post(PODS, &pod("web")).await.good();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    for (method, target, what) in [
        (Method::GET, format!("{PODS}/web/exec?command=ls"), "pods/exec"),
        (Method::POST, format!("{PODS}/web/exec?command=ls"), "pods/exec"),
        (Method::GET, format!("{PODS}/web/attach"), "pods/attach"),
        (Method::POST, format!("{PODS}/web/attach"), "pods/attach"),
        (Method::GET, format!("{PODS}/web/portforward"), "pods/portforward"),
        (Method::POST, format!("{PODS}/web/portforward"), "pods/portforward"),
        (Method::GET, format!("{PODS}/web/proxy"), "pods/proxy"),
        (Method::DELETE, format!("{PODS}/web/proxy/a/b"), "pods/proxy"),
        (
            Method::PUT,
            "/api/v1/namespaces/default/services/web/proxy/a".to_owned(),
            "services/proxy",
        ),
        (Method::PATCH, "/api/v1/nodes/n1/proxy/logs".to_owned(), "nodes/proxy"),
        (
            Method::POST,
            format!("{accounts}/default/token"),
            "serviceaccounts/token",
        ),
    ] {
        let refused = admin.send(method, &target, JSON, "{}").await;
        let words = format!("{what} is not served by this server yet");
        assert_status(&refused, StatusCode::NOT_IMPLEMENTED, "NotImplemented", &words);
    }
}

#[tokio::test]
async fn both_versions_of_http_are_served() {
    let server = TestServer::start().await;
    let second = Http {
        version: Version::HTTP_2,
        ..Http::admin(&server)
    };
    second.post(PODS, &pod("web")).await.good();
    assert_eq!(
        second.get(PODS).await.good().json()["items"][0]["metadata"]["name"],
        "web"
    );
}

#[tokio::test]
async fn a_log_is_plain_text() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let mut bound = pod("web");
    bound["spec"]["nodeName"] = json!("n1");
    admin.post(PODS, &bound).await.good();
    let log = admin
        .get_as(&format!("{PODS}/web/log?follow=true"), "application/json, */*")
        .await
        .good();
    assert_eq!(
        (log.header("content-type"), log.text().as_str()),
        ("text/plain", "main on n1\nbye\n")
    );
    let cut = admin.get(&format!("{PODS}/web/log?limitBytes=7")).await.good();
    assert_eq!(cut.text(), "main on");
    let wrong = admin.get(&format!("{PODS}/web/log?tailLines=-1")).await;
    assert_status(
        &wrong,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        "tailLines: Invalid value: -1",
    );
    let other = admin.get(&format!("{PODS}/web/log?container=x")).await;
    assert_status(
        &other,
        StatusCode::BAD_REQUEST,
        "BadRequest",
        "container x is not valid for pod web",
    );
}
