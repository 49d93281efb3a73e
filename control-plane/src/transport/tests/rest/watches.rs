//! Watches: events as they come, bookmarks, ends and errors.

use super::*;

/// A watch that is being read.
struct Frames {
    body: Incoming,
    read: Vec<u8>,
}

impl Frames {
    async fn open(client: &Http<'_>, target: &str, accept: &str) -> Self {
        let response = client.open(Method::GET, target, &[("accept", accept)], "").await;
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            body: response.into_body(),
            read: Vec::new(),
        }
    }

    /// The next event; `None` at a clean end.
    async fn next(&mut self) -> Option<Value> {
        let next = async {
            loop {
                if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.read.drain(..=end).collect();
                    return Some(serde_json::from_slice(&line).expect("an event"));
                }
                let frame = self.body.frame().await?.expect("no failure");
                if let Ok(data) = frame.into_data() {
                    self.read.extend_from_slice(&data);
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("an event in time")
    }

    /// The next event's type and its object's name.
    async fn told(&mut self) -> (String, String) {
        let event = self.next().await.expect("it goes on");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

fn event(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

async fn revision(admin: &Http<'_>) -> String {
    let list = admin.get(MAPS).await.good().json();
    list["metadata"]["resourceVersion"]
        .as_str()
        .expect("a revision")
        .to_owned()
}

#[tokio::test]
async fn changes_are_told_as_they_come() {
    let server = TestServer::start().await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let admin = Http {
            version,
            ..Http::admin(&server)
        };
        admin.delete(MAPS).await.good();
        admin.post(MAPS, &config_map("a", "")).await.good();
        let mut from_start = Frames::open(&admin, &format!("{MAPS}?watch=true"), JSON).await;
        assert_eq!(from_start.told().await, event("ADDED", "a"));
        let since = revision(&admin).await;
        admin.post(MAPS, &config_map("b", "")).await.good();
        let patch = r#"{"data":{"note":"new"}}"#;
        admin
            .send(
                Method::PATCH,
                &format!("{MAPS}/a"),
                "application/merge-patch+json",
                patch,
            )
            .await
            .good();
        admin.delete(&format!("{MAPS}/b")).await.good();
        let mut from_there = Frames::open(
            &admin,
            &format!("/api/v1/watch/namespaces/default/configmaps?resourceVersion={since}"),
            JSON,
        )
        .await;
        let mut one = Frames::open(
            &admin,
            &format!("{MAPS}?watch=1&resourceVersion={since}&fieldSelector=metadata.name%3Da"),
            JSON,
        )
        .await;
        for frames in [&mut from_start, &mut from_there] {
            for expected in [event("ADDED", "b"), event("MODIFIED", "a"), event("DELETED", "b")] {
                assert_eq!(frames.told().await, expected);
            }
        }
        assert_eq!(one.told().await, event("MODIFIED", "a"));
    }
}

#[tokio::test]
async fn a_streamed_list_ends_with_its_bookmark() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    admin.post(MAPS, &config_map("a", "")).await.good();
    let options = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut frames = Frames::open(&admin, &format!("{MAPS}?{options}"), JSON).await;
    assert_eq!(frames.told().await, event("ADDED", "a"));
    let end = frames.next().await.expect("a bookmark");
    assert_eq!(
        (&end["type"], &end["object"]["kind"]),
        (&json!("BOOKMARK"), &json!("ConfigMap"))
    );
    assert_eq!(
        end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        end["object"]["metadata"]["resourceVersion"],
        revision(&admin).await.as_str()
    );
    admin.post(MAPS, &config_map("b", "")).await.good();
    assert_eq!(frames.told().await, event("ADDED", "b"));

    let wrong = admin.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_status(
        &wrong,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
    );
    let far = admin.get(&format!("{MAPS}?{options}&resourceVersion=999999")).await;
    assert_status(
        &far,
        StatusCode::GATEWAY_TIMEOUT,
        "Timeout",
        "Too large resource version: 999999",
    );
    // Without the first objects, only what happens from now on is told.
    let mut quiet = Frames::open(
        &admin,
        &format!("{MAPS}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"),
        JSON,
    )
    .await;
    admin.post(MAPS, &config_map("c", "")).await.good();
    assert_eq!(quiet.told().await, event("ADDED", "c"));
}

#[tokio::test]
async fn a_watch_ends_cleanly_when_it_was_to_end() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let admin = Http {
            version,
            profile: Profile::admin(),
            ..admin
        };
        let mut frames = Frames::open(&admin, "/api/v1/pods?watch=1&timeoutSeconds=1", JSON).await;
        assert_eq!(frames.next().await, None);
    }
}

#[tokio::test]
async fn a_revision_that_is_gone_is_told_in_the_stream() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    for index in 0..5 {
        admin.post(MAPS, &config_map(&format!("m{index}"), "")).await.good();
    }
    server.compact().await;
    let mut frames = Frames::open(&admin, &format!("{MAPS}?watch=1&resourceVersion=1"), JSON).await;
    let error = frames.next().await.expect("an event");
    let status = &error["object"];
    assert_eq!(
        (&error["type"], &status["kind"], &status["code"], &status["reason"]),
        (&json!("ERROR"), &json!("Status"), &json!(410), &json!("Expired"))
    );
    assert!(
        status["message"]
            .as_str()
            .expect("words")
            .starts_with("too old resource version: 1 ("),
        "{status}"
    );
    assert_eq!(frames.next().await, None);
    let list = admin
        .get(&format!("{MAPS}?resourceVersion=2&resourceVersionMatch=Exact"))
        .await;
    assert_eq!((list.code, &list.json()["reason"]), (410, &json!("Expired")));
}

#[tokio::test]
async fn tables_and_protobuf_are_watched_too() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    admin.post(MAPS, &config_map("a", "x")).await.good();
    admin.post(MAPS, &config_map("b", "x")).await.good();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let mut frames = Frames::open(&admin, &format!("{MAPS}?watch=1"), table).await;
    let first = frames.next().await.expect("an event")["object"].clone();
    assert_eq!(
        (&first["kind"], &first["columnDefinitions"][1]["name"]),
        (&json!("Table"), &json!("Data"))
    );
    assert_eq!(
        first["rows"][0]["cells"].as_array().expect("cells")[..2],
        [json!("a"), json!(1)]
    );
    let second = frames.next().await.expect("an event")["object"].clone();
    assert_eq!(
        (&second["columnDefinitions"], &second["rows"][0]["cells"][0]),
        (&Value::Null, &json!("b"))
    );

    let kind = "application/vnd.kubernetes.protobuf";
    let target = format!(
        "{MAPS}?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1"
    );
    let all = admin.get_as(&target, kind).await.good();
    assert_eq!(
        all.header("content-type"),
        "application/vnd.kubernetes.protobuf;stream=watch"
    );
    let events = super::super::super::rest::events_for_tests(&all.body);
    let told: Vec<(&str, &str)> = events
        .iter()
        .map(|(event, kind, _)| (event.as_str(), kind.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("ADDED", "ConfigMap"),
            ("ADDED", "ConfigMap"),
            ("BOOKMARK", "ConfigMap")
        ]
    );
    let refused = admin.get_as(&format!("{MAPS}?watch=1"), "application/yaml").await;
    assert_eq!(refused.code, 406);
}
