//! The published attacks on readers of JSON, YAML, Protocol Buffers and patches, and what is answered to each.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trireme_tests::harness::PATIENCE;

use super::Door;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MAP: &str = "/api/v1/namespaces/default/configmaps/victim";
const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// The most bytes of a request.
const REQUEST_MAX_BYTES: usize = 3 << 20;

/// A request that is refused.
pub(super) struct Case {
    pub(super) name: &'static str,
    method: &'static str,
    target: &'static str,
    kind: &'static str,
    body: Vec<u8>,
    code: u16,
    reason: &'static str,
}

/// What the patches are for.
pub(super) async fn prepare(door: &Door) -> Result<()> {
    let victim = json!({"metadata": {"name": "victim", "labels": {"a": "b"}}, "data": {"note": "x".repeat(1_000)}});
    let (code, said) = ask(door, "POST", MAPS, JSON, victim.to_string().as_bytes()).await?;
    ensure!(code == 201, "{code} {said}");
    Ok(())
}

/// Sends it; the answer is a `Status` with the code and the reason that it must have.
pub(super) async fn refused(door: &Door, case: Case) -> Result<()> {
    let name = case.name;
    let (code, said) = ask(door, case.method, case.target, case.kind, &case.body).await?;
    ensure!(code == case.code, "{name}: {code} instead of {}: {said}", case.code);
    ensure!(
        said["kind"] == "Status" && said["status"] == "Failure" && said["code"] == code,
        "{name}: {said}"
    );
    ensure!(said["reason"] == case.reason, "{name}: {said}");
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(
        !message.is_empty() && message.len() < 4_096,
        "{name}: {} bytes of message",
        message.len()
    );
    Ok(())
}

/// One request on a connection of its own; the code of the answer, and its JSON.
pub(super) async fn ask(door: &Door, method: &str, target: &str, kind: &str, body: &[u8]) -> Result<(u16, Value)> {
    let asking = async {
        let (mut reader, mut writer) = tokio::io::split(door.connect().await?);
        let kind = if kind.is_empty() {
            String::new()
        } else {
            format!("content-type: {kind}\r\n")
        };
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{kind}content-length: {length}\r\n\r\n"
        );
        let sending = async {
            // The server may have answered, and hung up, before it has all of it.
            let _ = writer.write_all(head.as_bytes()).await;
            let _ = writer.write_all(body).await;
            let _ = writer.flush().await;
        };
        let mut said = Vec::new();
        let (_, read) = tokio::join!(sending, reader.read_to_end(&mut said));
        let _ = read;
        answer(&said)
    };
    tokio::time::timeout(PATIENCE, asking).await.context("no answer")?
}

fn answer(said: &[u8]) -> Result<(u16, Value)> {
    let text = String::from_utf8_lossy(said);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .with_context(|| format!("no answer: {text:?}"))?;
    let code = head.split(' ').nth(1).context("a code")?.parse()?;
    let start = body.find('{').with_context(|| format!("no JSON: {text}"))?;
    let end = body.rfind('}').with_context(|| format!("no JSON: {text}"))?;
    Ok((code, serde_json::from_str(&body[start..=end])?))
}

/// As many pieces as a request may hold.
fn filled(head: &str, piece: &str, tail: &str) -> Vec<u8> {
    let room = REQUEST_MAX_BYTES - head.len() - tail.len();
    let mut text = head.to_owned();
    text += &piece.repeat(room / piece.len());
    text.truncate(text.trim_end_matches(',').len());
    (text + tail).into_bytes()
}

/// Kubernetes' envelope around a pod.
fn envelope(pod: &[u8]) -> Vec<u8> {
    let mut length = Vec::new();
    prost::encoding::encode_varint(pod.len() as u64, &mut length);
    [b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12", &length[..], pod].concat()
}

/// Aliases of aliases: 10^12 letters.
fn billion_laughs() -> Vec<u8> {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(",");
        bomb += &format!("a{level}: &a{level} [{below}]\n");
    }
    bomb.into_bytes()
}

/// One long text many times.
fn quadratic_blowup() -> Vec<u8> {
    format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(900)).into_bytes()
}

pub(super) fn cases() -> Vec<Case> {
    let deep = || "[".repeat(1_000_000).into_bytes();
    let bad = (400, "BadRequest");
    let create = |name, kind, body: Vec<u8>, (code, reason)| Case {
        name,
        method: "POST",
        target: MAPS,
        kind,
        body,
        code,
        reason,
    };
    let pod = |name, kind, body: Vec<u8>| Case {
        target: PODS,
        ..create(name, kind, body, bad)
    };
    let patch = |name, kind, body: Vec<u8>, refusal| Case {
        method: "PATCH",
        target: MAP,
        ..create(name, kind, body, refusal)
    };
    let doubling = vec![r#"{"op":"copy","from":"/data","path":"/data/x"}"#; 60].join(",");
    let copying = vec![r#"{"op":"copy","from":"/data/note","path":"/data/y"}"#; 9_000].join(",");
    vec![
        create("JSON that nests", JSON, deep(), bad),
        create(
            "JSON beyond the size",
            JSON,
            vec![b' '; REQUEST_MAX_BYTES + 1],
            (413, "RequestEntityTooLarge"),
        ),
        create("JSON of small maps", JSON, filled("{\"x\":[", "{\"\":0},", "]}"), bad),
        create(
            "JSON of many keys",
            JSON,
            filled("{\"data\":{", "\"a\":\"\",", "}}"),
            bad,
        ),
        create(
            "a number of millions of digits",
            JSON,
            filled("{\"data\":{\"a\":", "9", "}}"),
            bad,
        ),
        create(
            "a number beyond all",
            JSON,
            b"{\"metadata\":{\"generation\":1e999999999}}".to_vec(),
            bad,
        ),
        create(
            "half a JSON text",
            JSON,
            filled("{\"data\":{\"a\":\"", "\\\\", "x"),
            bad,
        ),
        create(
            "a body that is packed",
            "application/json+gzip",
            vec![0x1f, 0x8b],
            (415, "UnsupportedMediaType"),
        ),
        pod(
            "JSON of containers that say nothing",
            JSON,
            filled("{\"spec\":{\"containers\":[", "{},", "]}}"),
        ),
        create("YAML of aliases of aliases", YAML, billion_laughs(), bad),
        create("YAML of a long text many times", YAML, quadratic_blowup(), bad),
        create("YAML that nests in brackets", YAML, deep(), bad),
        create(
            "YAML that nests by lines",
            YAML,
            (0..1_000)
                .map(|level| " ".repeat(level) + "a:\n")
                .collect::<String>()
                .into(),
            bad,
        ),
        create("YAML whose anchor holds itself", YAML, b"a: &a [*a]\n".to_vec(), bad),
        create(
            "YAML of many anchors",
            YAML,
            (0..50_000)
                .map(|index| format!("a{index}: &a{index} x\n"))
                .collect::<String>()
                .into(),
            bad,
        ),
        create("YAML of many documents", YAML, "---\na: 1\n".repeat(10_000).into(), bad),
        create("YAML of many values", YAML, filled("[", "1,", "]"), bad),
        pod(
            "protobuf of groups in groups",
            PROTOBUF,
            envelope(&[0xa3, 0x38].repeat(500_000)),
        ),
        pod(
            "protobuf whose envelope nests",
            PROTOBUF,
            [b"k8s\0".to_vec(), b"\x2b".repeat(500_000)].concat(),
        ),
        pod(
            "protobuf that says it is longer",
            PROTOBUF,
            envelope(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        pod("protobuf of containers that say nothing", PROTOBUF, {
            let containers = b"\x12\x00".repeat(1_000_000);
            // The spec's head: its field, and its length of 2,000,000.
            envelope(&[&b"\x12\x80\x89\x7a"[..], &containers].concat())
        }),
        patch(
            "a JSON patch whose copies double",
            JSON_PATCH,
            format!("[{doubling}]").into(),
            (422, "Invalid"),
        ),
        patch(
            "a JSON patch that copies again and again",
            JSON_PATCH,
            format!("[{copying}]").into(),
            bad,
        ),
        patch(
            "a JSON patch of many operations",
            JSON_PATCH,
            filled(
                "[",
                "{\"op\":\"test\",\"path\":\"/kind\",\"value\":\"ConfigMap\"},",
                "]",
            ),
            bad,
        ),
        patch(
            "a JSON patch into the depth",
            JSON_PATCH,
            format!(
                "[{{\"op\":\"add\",\"path\":\"/data{}\",\"value\":1}}]",
                "/a".repeat(100_000)
            )
            .into(),
            (422, "Invalid"),
        ),
        patch(
            "a merge patch that nests",
            MERGE_PATCH,
            "{\"a\":".repeat(100_000).into(),
            bad,
        ),
        patch(
            "a merge patch of small maps",
            MERGE_PATCH,
            filled("{\"x\":[", "{\"\":0},", "]}"),
            bad,
        ),
        patch(
            "a strategic merge patch that nests",
            STRATEGIC_PATCH,
            "{\"a\":".repeat(100_000).into(),
            bad,
        ),
        patch(
            "a strategic merge patch of a directive of no kind",
            STRATEGIC_PATCH,
            b"{\"data\":{\"$patch\":\"explode\"}}".to_vec(),
            bad,
        ),
        Case {
            target: "/api/v1/namespaces/default/configmaps/victim?fieldManager=me",
            ..patch(
                "a configuration of aliases of aliases",
                APPLY_PATCH,
                billion_laughs(),
                bad,
            )
        },
        Case {
            target: "/api/v1/namespaces/default/configmaps/victim?fieldManager=me",
            ..patch(
                "a configuration beyond the size",
                APPLY_PATCH,
                vec![b' '; REQUEST_MAX_BYTES + 1],
                (413, "RequestEntityTooLarge"),
            )
        },
        Case {
            method: "DELETE",
            target: MAP,
            ..create(
                "options of a deletion beyond their size",
                JSON,
                vec![b' '; 1 << 20],
                (413, "RequestEntityTooLarge"),
            )
        },
        Case {
            method: "GET",
            target: "/api/v1/pods?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi8uLi9zZWNyZXRzL2EifQ",
            ..create("a page that leads elsewhere", "", Vec::new(), bad)
        },
        Case {
            method: "GET",
            target: "/api/v1/pods?labelSelector=a+in+(b,",
            ..create("a selector without an end", "", Vec::new(), bad)
        },
    ]
}
