//! Lists: tables, pages, selectors, revisions.

use std::io::Read as _;

use trireme_proto::api::{core::v1::ConfigMap, meta::v1::ListMeta};

use super::*;
use crate::limits;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// `ConfigMapList`.
#[derive(Clone, PartialEq, prost::Message)]
struct ConfigMapList {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ListMeta>,
    #[prost(message, repeated, tag = "2")]
    items: Vec<ConfigMap>,
}

/// The message in an envelope, of which the fields before it are passed over.
fn unwrapped<M: prost::Message + Default>(body: &[u8]) -> M {
    let unknown = super::super::super::rest::unwrapped_for_tests(body);
    M::decode(unknown).expect("a message")
}

async fn names(admin: &Http<'_>, target: &str) -> Vec<String> {
    let list = admin.get(target).await.good().json();
    let items = list["items"].as_array().expect("items").iter();
    items
        .map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_looks_like_kubernetes_own() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    let empty = admin.get(PODS).await.good().json();
    let revision = empty["metadata"]["resourceVersion"].as_str().expect("a revision");
    assert!(revision.parse::<i64>().expect("a number") > 0);
    assert_eq!(
        empty,
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": revision}, "items": []})
    );
    admin.post(PODS, &pod("a")).await.good();
    admin.post(PODS, &pod("b")).await.good();
    let list = admin.get("/api/v1/pods").await.good().json();
    assert_eq!(list["items"].as_array().expect("items").len(), 2);
    // What the items are is said by the list.
    assert_eq!(
        (&list["items"][0]["kind"], &list["items"][0]["metadata"]["name"]),
        (&Value::Null, &json!("a"))
    );
    let yaml = admin.get_as(PODS, "application/yaml").await.good();
    let read: Value = serde_saphyr::from_str(&yaml.text()).expect("YAML");
    assert_eq!(read, admin.get(PODS).await.json(), "{}", yaml.text());
    let empty = admin
        .get_as(&format!("{PODS}?labelSelector=none"), "application/yaml")
        .await
        .good();
    let read: Value = serde_saphyr::from_str(&empty.text()).expect("YAML");
    assert_eq!(read["items"], json!([]));
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let metadata = admin.get_as(PODS, partial).await.good().json();
    assert_eq!(
        (&metadata["kind"], &metadata["apiVersion"]),
        (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1"))
    );
    assert_eq!(
        (&metadata["items"][1]["kind"], &metadata["items"][1]["spec"]),
        (&json!("PartialObjectMetadata"), &Value::Null)
    );
}

#[tokio::test]
async fn a_table_has_columns_cells_and_metadata() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    admin.post(MAPS, &config_map("a", "x")).await.good();
    let table = admin.get_as(MAPS, TABLE).await.good().json();
    assert_eq!(
        (&table["kind"], &table["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    let columns: Vec<&Value> = table["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    let row = &table["rows"][0];
    assert_eq!(row["cells"].as_array().expect("cells")[..2], [json!("a"), json!(1)]);
    assert_eq!(
        (
            &row["object"]["kind"],
            &row["object"]["metadata"]["name"],
            &row["object"]["data"]
        ),
        (&json!("PartialObjectMetadata"), &json!("a"), &Value::Null)
    );
    let none = admin
        .get_as(&format!("{MAPS}?includeObject=None"), TABLE)
        .await
        .good()
        .json();
    assert_eq!(none["rows"][0]["object"], Value::Null);
    let whole = admin
        .get_as(&format!("{MAPS}?includeObject=Object"), TABLE)
        .await
        .good()
        .json();
    assert_eq!(
        (
            &whole["rows"][0]["object"]["kind"],
            &whole["rows"][0]["object"]["data"]["note"]
        ),
        (&json!("ConfigMap"), &json!("x"))
    );
    assert_eq!(
        admin.get_as(&format!("{MAPS}?includeObject=Half"), TABLE).await.code,
        400
    );
    let one = admin.get_as(&format!("{MAPS}/a"), TABLE).await.good().json();
    assert_eq!(one["rows"].as_array().expect("rows").len(), 1);
    assert_eq!(one["columnDefinitions"], table["columnDefinitions"]);
}

#[tokio::test]
async fn pages_show_one_revision_and_say_what_is_left() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    for index in 0..5 {
        admin.post(MAPS, &config_map(&format!("m{index}"), "")).await.good();
    }
    let first = admin.get(&format!("{MAPS}?limit=2")).await.good().json();
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let token = first["metadata"]["continue"].as_str().expect("a token");
    admin.delete(&format!("{MAPS}/m3")).await.good();
    let second = admin
        .get(&format!("{MAPS}?limit=2&continue={token}"))
        .await
        .good()
        .json();
    assert_eq!(second["items"][1]["metadata"]["name"], "m3", "the page shows what was");
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let token = second["metadata"]["continue"].as_str().expect("a token");
    let third = admin
        .get(&format!("{MAPS}?limit=2&continue={token}"))
        .await
        .good()
        .json();
    assert_eq!(
        (
            third["items"].as_array().expect("items").len(),
            &third["metadata"]["continue"]
        ),
        (1, &Value::Null)
    );

    let revision = first["metadata"]["resourceVersion"].as_str().expect("a revision");
    assert_eq!(names(&admin, MAPS).await.len(), 4);
    assert_eq!(
        names(
            &admin,
            &format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")
        )
        .await
        .len(),
        5
    );
    assert_eq!(
        names(&admin, &format!("{MAPS}?resourceVersion={revision}")).await.len(),
        4
    );
    assert_eq!(names(&admin, &format!("{MAPS}?resourceVersion=0")).await.len(), 4);
    let wrong = admin.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await;
    assert_status(
        &wrong,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        "resourceVersionMatch is forbidden unless resourceVersion is provided",
    );
    let far = admin.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_status(
        &far,
        StatusCode::GATEWAY_TIMEOUT,
        "Timeout",
        "Too large resource version: 999999",
    );
    assert_eq!(far.header("retry-after"), "1");
    assert_eq!(far.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    let broken = admin.get(&format!("{MAPS}?continue=x")).await;
    assert_status(
        &broken,
        StatusCode::BAD_REQUEST,
        "BadRequest",
        "continue key is not valid",
    );
}

#[tokio::test]
async fn selectors_select() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    for name in ["a", "b", "c"] {
        admin.post(PODS, &pod(name)).await.good();
    }
    assert_eq!(
        names(&admin, &format!("{PODS}?labelSelector=app+in+(a,c)")).await,
        ["a", "c"]
    );
    assert_eq!(
        names(&admin, &format!("{PODS}?fieldSelector=metadata.name%3Db")).await,
        ["b"]
    );
    assert_eq!(
        names(&admin, "/api/v1/pods?fieldSelector=metadata.name%3Db").await,
        ["b"]
    );
    assert_eq!(
        names(
            &admin,
            &format!("{PODS}?fieldSelector=metadata.name%21%3Db,spec.nodeName%3D")
        )
        .await,
        ["a", "c"]
    );
    let wrong = admin.get(&format!("{PODS}?fieldSelector=spec.oars%3D3")).await;
    assert_status(
        &wrong,
        StatusCode::BAD_REQUEST,
        "BadRequest",
        "field label not supported",
    );
    assert_eq!(admin.get(&format!("{PODS}?labelSelector=%3D%3D")).await.code, 400);
}

#[tokio::test]
async fn a_large_list_comes_in_slices_whatever_its_form() {
    let server = TestServer::start().await;
    let admin = Http::admin(&server);
    // More than one slice by bytes, which is at most a MiB.
    let count = 24;
    let note = "x".repeat(limits::LIST_CHUNK_BYTES / 8);
    for index in 0..count {
        admin
            .post(MAPS, &config_map(&format!("m{index:02}"), &note))
            .await
            .good();
    }
    let all: Vec<String> = (0..count).map(|index| format!("m{index:02}")).collect();
    assert_eq!(names(&admin, MAPS).await, all);
    let limited = admin.get(&format!("{MAPS}?limit=20")).await.good().json();
    assert_eq!(
        (
            limited["items"].as_array().expect("items").len(),
            &limited["metadata"]["remainingItemCount"]
        ),
        (20, &json!(4))
    );
    let packed = admin
        .ask(Method::GET, MAPS, &[("accept-encoding", "gzip")], "")
        .await
        .good();
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(packed.body.as_ref())
        .read_to_end(&mut plain)
        .expect("gzip");
    let list: Value = serde_json::from_slice(&plain).expect("JSON");
    assert_eq!(list["items"].as_array().expect("items").len(), count);
    let pretty = admin.get(&format!("{MAPS}?pretty=1")).await.good();
    assert_eq!(pretty.json()["items"].as_array().expect("items").len(), count);

    let kind = "application/vnd.kubernetes.protobuf";
    let list: ConfigMapList = unwrapped(&admin.get_as(MAPS, kind).await.good().body);
    let read: Vec<&str> = list
        .items
        .iter()
        .map(|map| map.metadata.as_ref().expect("metadata").name.as_str())
        .collect();
    assert_eq!(read, all);
    assert!(!list.metadata.expect("metadata").resource_version.is_empty());
    let list: ConfigMapList = unwrapped(&admin.get_as(&format!("{MAPS}?limit=20"), kind).await.good().body);
    assert_eq!(
        (list.items.len(), list.metadata.expect("metadata").remaining_item_count),
        (20, Some(4))
    );
}
