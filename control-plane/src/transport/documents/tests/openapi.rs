//! What objects look like and what can be done with them.

use prost::Message;
use trireme_logic::openapi::gnostic;

use super::*;

const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[tokio::test]
async fn version_2_comes_in_two_forms() {
    let (status, headers, body) = ask("/openapi/v2", &[]).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (200, &"application/json".parse().expect("a value"))
    );
    let document = json(&body);
    assert_eq!(document["swagger"], "2.0");
    assert_eq!(document["info"]["version"], crate::VERSION);
    let tag = headers["etag"].to_str().expect("text");
    assert_eq!(ask("/openapi/v2", &[("if-none-match", tag)]).await.0, 304);

    for accept in [
        V2_PROTOBUF,
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    ] {
        let (status, headers, body) = ask("/openapi/v2", &[("accept", accept)]).await;
        assert_eq!(status, 200);
        assert_eq!(
            headers["content-type"],
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        );
        let message = gnostic::Document::decode(body).expect("decodes");
        assert_eq!(message, gnostic::document(&document));
    }
    assert_eq!(ask("/openapi/v2", &[("accept", "text/html")]).await.0, 406);
}

#[tokio::test]
async fn version_3_is_found_by_its_index_and_never_fetched_twice() {
    let (status, headers, body) = ask("/openapi/v3", &[]).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (200, &"application/json".parse().expect("a value"))
    );
    let index = json(&body);
    let paths = index["paths"].as_object().expect("paths");
    for path in ["api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version"] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, entry) in paths {
        let url = entry["serverRelativeURL"].as_str().expect("a url");
        assert!(url.starts_with(&format!("/openapi/v3/{path}?hash=")), "{url}");
        let (status, headers, body) = ask(url, &[("accept", "application/json, */*")]).await;
        assert_eq!(status, 200, "{url}");
        let cache = headers["cache-control"].to_str().expect("text");
        assert!(cache.contains("immutable") && cache.contains("public"), "{cache}");
        assert_eq!(json(&body)["openapi"], "3.0.0");

        // Without the hash nothing is promised; with an old one, the client is sent to the new one.
        let bare = format!("/openapi/v3/{path}");
        let (status, headers, _) = ask(&bare, &[]).await;
        assert_eq!(
            (status, headers["cache-control"].to_str().expect("text")),
            (200, "no-cache, private")
        );
        let (status, headers, _) = ask(&format!("{bare}?x=1&hash=OLD"), &[]).await;
        assert_eq!((status, headers["location"].to_str().expect("text")), (301, url));
    }
    let (status, _, body) = ask("/openapi/v3/apis/nobody/v1", &[]).await;
    assert_eq!((status, &json(&body)["reason"]), (404, &Value::from("NotFound")));
}

#[tokio::test]
async fn large_documents_travel_compressed() {
    for path in ["/openapi/v2", "/openapi/v3/api/v1"] {
        let (_, _, plain) = ask(path, &[]).await;
        let (_, headers, gzip) = ask(path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(headers["content-encoding"], "gzip");
        assert!(
            gzip.len() * 5 < plain.len(),
            "{path}: {} of {}",
            gzip.len(),
            plain.len()
        );
        println!("{path}: {} bytes, compressed {}", plain.len(), gzip.len());
    }
    let protobuf = ("accept", V2_PROTOBUF);
    let (_, _, plain) = ask("/openapi/v2", &[protobuf]).await;
    let (_, _, gzip) = ask("/openapi/v2", &[protobuf, ("accept-encoding", "gzip")]).await;
    println!(
        "/openapi/v2 in protobuf: {} bytes, compressed {}",
        plain.len(),
        gzip.len()
    );
}
