//! Which groups, versions and resources there are.

use trireme_logic::discovery::PROTOBUF_MAGIC;

use super::*;

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2_BETA: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

#[tokio::test]
async fn every_path_of_the_root_that_is_ours_answers() {
    let (status, _, root) = ask("/", &[]).await;
    assert_eq!(status, 200);
    let root = json(&root);
    let paths: Vec<_> = root["paths"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(paths.contains(&"/apis/apps/v1"));
    for path in paths {
        if path.starts_with("/api") {
            let (status, headers, body) = ask(path, &[]).await;
            assert_eq!(status, 200, "{path}");
            assert_eq!(headers["content-type"], "application/json");
            assert!(json(&body)["kind"].is_string(), "{path}");
        }
    }
    assert_eq!(ask("/apis/nobody", &[]).await.0, 404);
}

#[tokio::test]
async fn the_core_group_says_where_the_client_reached_it() {
    let (_, _, body) = ask("/api", &[("host", "10.0.0.7:6443")]).await;
    let body = json(&body);
    assert_eq!(body["kind"], "APIVersions");
    assert_eq!(body["serverAddressByClientCIDRs"][0]["serverAddress"], "10.0.0.7:6443");
}

#[tokio::test]
async fn resources_come_as_protobuf_too() {
    let accept = ("accept", "application/vnd.kubernetes.protobuf,application/json");
    for path in ["/api", "/apis", "/apis/apps", "/api/v1", "/apis/apps/v1"] {
        let (status, headers, body) = ask(path, &[accept]).await;
        assert_eq!(
            (status, &headers["content-type"]),
            (200, &"application/vnd.kubernetes.protobuf".parse().expect("a value"))
        );
        assert!(body.starts_with(PROTOBUF_MAGIC), "{path}");
    }
    let (status, _, body) = ask("/api/v1", &[("accept", "text/html")]).await;
    assert_eq!((status, &json(&body)["reason"]), (406, &Value::from("NotAcceptable")));
}

#[tokio::test]
async fn new_clients_ask_twice_only() {
    let mut resources = 0;
    for (path, core) in [("/api", true), ("/apis", false)] {
        let accept = format!("{V2},{V2_BETA},application/json");
        let (status, headers, body) = ask(path, &[("accept", &accept)]).await;
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], V2);
        assert_eq!(headers["cache-control"], "public");
        assert!(headers["vary"].to_str().expect("text").contains("Accept"));
        let groups = json(&body);
        assert_eq!(groups["apiVersion"], "apidiscovery.k8s.io/v2");
        for group in groups["items"].as_array().expect("groups") {
            assert_eq!(group["metadata"]["name"].as_str().unwrap_or_default().is_empty(), core);
            for version in group["versions"].as_array().expect("versions") {
                resources += version["resources"].as_array().expect("resources").len();
            }
        }

        let tag = headers["etag"].to_str().expect("text");
        let (status, _, body) = ask(path, &[("accept", &accept), ("if-none-match", tag)]).await;
        assert_eq!((status, body.len()), (304, 0));

        let (_, headers, body) = ask(path, &[("accept", &format!("{V2_BETA},application/json"))]).await;
        assert_eq!(headers["content-type"], V2_BETA);
        assert_eq!(json(&body)["apiVersion"], "apidiscovery.k8s.io/v2beta1");

        // A version that nobody knows yet: the older documents are always there.
        let unknown = V2.replace("v2", "v9");
        let (_, headers, body) = ask(path, &[("accept", &format!("{unknown},application/json"))]).await;
        assert_eq!(headers["content-type"], "application/json");
        assert!(headers.get(header::ETAG).is_none());
        assert_ne!(json(&body)["kind"], "APIGroupDiscoveryList");
    }
    assert_eq!(resources, served().len());
}
