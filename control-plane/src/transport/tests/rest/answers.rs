//! What a client can do to others: nothing. Slow bodies, slow readers, and answers that are not taken.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{super::super::listener::Bounds, *};
use crate::limits;

#[tokio::test]
async fn a_body_that_does_not_come_ends_its_request_and_harms_nobody() {
    let bounds = Bounds {
        message: Duration::from_millis(150),
        ..Bounds::default()
    };
    let server = TestServer::start_within(Admits::Anyone, bounds).await;
    let mut stream = connect(&server, &Profile::admin()).await;
    let head = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let admin = Http::admin(&server);
    admin.post(MAPS, &config_map("a", "")).await.good();
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    let _ = read.expect("the connection ends");
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.starts_with("HTTP/1.1 408 ") && said.contains("did not come in time"),
        "{said}"
    );
    assert!(
        said.contains(r#""reason":"Timeout""#) && said.contains(r#""code":408"#),
        "{said}"
    );
}

#[tokio::test]
async fn headers_beyond_their_bounds_are_refused() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let many: String = (0..limits::HEADERS_MAX)
        .map(|index| format!("x-{index}: y\r\n"))
        .collect();
    let large = format!("x-large: {}\r\n", "y".repeat(limits::HTTP1_BUFFER_BYTES));
    for headers in [many, large] {
        let mut stream = connect(&server, &Profile::admin()).await;
        let head = format!("GET {MAPS} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        // The server may hang up before it has all of it.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut said = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        let _ = read.expect("the connection ends");
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");
        admin.get(MAPS).await.good();
    }
    let refused = admin
        .try_with_header(MAPS, &"y".repeat(limits::HEADERS_MAX_BYTES as usize))
        .await;
    assert!(refused.is_none_or(|code| code >= 400));
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let server = TestServer::start().await;
    let mut stream = connect(&server, &Profile::admin()).await;
    let head = format!("POST {MAPS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{\"metadata\":");
    stream.write_all(head.as_bytes()).await.expect("sent");
    drop(stream);
    let admin = Http::admin(&server);
    assert_eq!(admin.get(MAPS).await.good().json()["items"], json!([]));
}

#[tokio::test]
async fn a_large_answer_that_nobody_takes_holds_up_nobody() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let note = "x".repeat(900 << 10);
    for index in 0..8 {
        admin.post(MAPS, &config_map(&format!("m{index}"), &note)).await.good();
    }
    let mut held = Vec::new();
    for _ in 0..8 {
        let response = admin.open(Method::GET, MAPS, &[], "").await;
        assert_eq!(response.status(), StatusCode::OK);
        held.push(response);
    }
    assert_eq!(
        admin.get(&format!("{MAPS}/m1")).await.good().json()["metadata"]["name"],
        "m1"
    );
    let last = held
        .pop()
        .expect("one")
        .into_body()
        .collect()
        .await
        .expect("all of it")
        .to_bytes();
    let list: Value = serde_json::from_slice(&last).expect("JSON");
    assert_eq!(list["items"].as_array().expect("items").len(), 8);
}
