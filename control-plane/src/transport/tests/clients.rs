//! The resource service end to end: typed and JSON clients, tables, watches, logs, errors.

use prost::Message;
use trireme_client::Api;
use trireme_proto::{
    api::{
        core::v1::{Binding, ConfigMap, Container, ObjectReference, Pod, PodSpec},
        meta::v1::ObjectMeta,
    },
    v1::{
        CreateRequest, DeleteRequest, DiscoverRequest, Encoding, ExplainRequest, FieldValidation, GetRequest, Item,
        ListRequest, LogsRequest, PatchRequest, PatchType, ResourceRef, UpdateRequest, View, WatchRequest,
        resources_client::ResourcesClient, watch_event::Type,
    },
};

use super::*;

async fn resources(server: &TestServer) -> ResourcesClient<tonic::transport::Channel> {
    server.admin().resources().await.expect("connected").0
}

fn reference(resource: &str, name: &str) -> Option<ResourceRef> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Some(ResourceRef {
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        ..ResourceRef::default()
    })
}

fn mk_pod(name: &str) -> Pod {
    let container = Container {
        name: "main".to_owned(),
        image: "hello:1".to_owned(),
        ..Container::default()
    };
    Pod {
        metadata: Some(ObjectMeta {
            name: name.to_owned(),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

fn create_json(resource: &str, json: &serde_json::Value, field_validation: FieldValidation) -> CreateRequest {
    CreateRequest {
        resource: reference(resource, ""),
        encoding: Encoding::Json as i32,
        object: json.to_string().into_bytes().into(),
        field_validation: field_validation as i32,
        ..CreateRequest::default()
    }
}

fn json(item: &Item) -> serde_json::Value {
    serde_json::from_slice(&item.object).expect("JSON")
}

#[tokio::test]
async fn a_typed_client_does_everything() {
    let server = TestServer::start().await;
    let pods = Api::<Pod>::namespaced(&server.admin(), "default");
    let created = pods.create(&mk_pod("web")).await.expect("created");
    assert_eq!(pods.get("web").await.expect("read"), created);
    let error = pods.create(&mk_pod("web")).await.expect_err("taken");
    assert!(error.is_already_exists(), "{error}");
    assert_eq!(error.api().expect("refused").http_code, 409);
    let mut changed = created.clone();
    changed
        .metadata
        .as_mut()
        .expect("present")
        .labels
        .insert("a".to_owned(), "b".to_owned());
    let updated = pods.update(&changed).await.expect("updated");
    assert_ne!(updated, created);
    let error = pods.update(&changed).await.expect_err("stale");
    assert!(error.is_conflict(), "{error}");
    assert_eq!(pods.list("a=b", "").await.expect("listed").items.len(), 1);
}

#[tokio::test]
async fn json_in_and_json_out() {
    let server = TestServer::start().await;
    let mut client = resources(&server).await;
    let wish = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
        "data": {"color": "red"}, "dada": 1,
    });
    let strict = client
        .create(create_json("configmaps", &wish, FieldValidation::Strict))
        .await;
    let error = trireme_client::ApiError::from_status(&strict.expect_err("refused"));
    assert_eq!((error.reason.as_str(), error.http_code), ("BadRequest", 400));
    assert!(error.message.contains(r#"unknown field "dada""#), "{error}");

    let created = client
        .create(create_json("configmaps", &wish, FieldValidation::Warn))
        .await
        .expect("created");
    let created = created.into_inner();
    assert_eq!(created.warnings, [r#"unknown field "dada""#]);
    let object = json(&created);
    assert_eq!(
        (&object["apiVersion"], &object["kind"], &object["data"]["color"]),
        (&"v1".into(), &"ConfigMap".into(), &"red".into())
    );
    assert_eq!(object["metadata"]["resourceVersion"], created.revision.to_string());

    let patch = PatchRequest {
        resource: reference("configmaps", "settings"),
        encoding: Encoding::Json as i32,
        patch_type: PatchType::Merge as i32,
        patch: br#"{"data":{"color":"blue"}}"#.to_vec().into(),
        ..PatchRequest::default()
    };
    let patched = client.patch(patch).await.expect("patched").into_inner();
    assert_eq!(json(&patched)["data"]["color"], "blue");
    let get = GetRequest {
        resource: reference("configmaps", "settings"),
        ..GetRequest::default()
    };
    let read = client.get(get).await.expect("read").into_inner();
    assert_eq!(
        ConfigMap::decode(&read.object[..]).expect("protobuf").data["color"],
        "blue"
    );
    assert_eq!(read.revision, patched.revision);
}

#[tokio::test]
async fn fields_have_owners_who_apply() {
    let server = TestServer::start().await;
    let mut client = resources(&server).await;
    let apply = |manager: &str, color: &str, force: bool| PatchRequest {
        resource: reference("configmaps", "settings"),
        encoding: Encoding::Json as i32,
        patch_type: PatchType::Apply as i32,
        patch: format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","data":{{"color":"{color}"}}}}"#)
            .into_bytes()
            .into(),
        field_manager: manager.to_owned(),
        force,
        ..PatchRequest::default()
    };
    let made = client
        .patch(apply("one", "red", false))
        .await
        .expect("made")
        .into_inner();
    let entries = &json(&made)["metadata"]["managedFields"];
    assert_eq!(entries[0]["manager"], "one");
    assert_eq!(entries[0]["fieldsV1"], serde_json::json!({"f:data": {"f:color": {}}}));

    let refused = client.patch(apply("two", "blue", false)).await.expect_err("a conflict");
    let error = trireme_client::ApiError::from_status(&refused);
    assert_eq!((error.reason.as_str(), error.http_code), ("Conflict", 409));
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"one\": .data.color"
    );
    let nameless = client.patch(apply("", "red", false)).await.expect_err("nameless");
    assert_eq!(trireme_client::ApiError::from_status(&nameless).http_code, 422);
    let merge = PatchRequest {
        patch_type: PatchType::Merge as i32,
        ..apply("two", "blue", true)
    };
    let forced = client.patch(merge).await.expect_err("only applies are forced");
    assert_eq!(trireme_client::ApiError::from_status(&forced).http_code, 422);
    let taken = client
        .patch(apply("two", "blue", true))
        .await
        .expect("forced")
        .into_inner();
    assert_eq!(json(&taken)["metadata"]["managedFields"][0]["manager"], "two");

    // Without a name the program is the manager.
    let wish = serde_json::json!({"metadata": {"name": "other"}, "data": {"color": "red"}});
    let made = client
        .create(create_json("configmaps", &wish, FieldValidation::Strict))
        .await;
    let entries = json(&made.expect("created").into_inner())["metadata"]["managedFields"].clone();
    assert_eq!(
        (&entries[0]["manager"], &entries[0]["operation"]),
        (&"trireme".into(), &"Update".into())
    );
}

#[tokio::test]
async fn tables_and_metadata_need_no_types() {
    let server = TestServer::start().await;
    Api::<Pod>::namespaced(&server.admin(), "default")
        .create(&mk_pod("web"))
        .await
        .expect("created");
    let mut client = resources(&server).await;
    let list = |view: View| ListRequest {
        resource: reference("pods", ""),
        view: view as i32,
        ..ListRequest::default()
    };
    let table = client.list(list(View::Table)).await.expect("listed").into_inner();
    let item = &table.items[0];
    assert!(item.object.is_empty() && item.name == "web" && item.namespace == "default");
    assert_eq!(item.cells.len(), table.columns.len());
    assert!(
        table
            .columns
            .iter()
            .any(|column| column.name == "Ready" || column.name == "READY"),
        "{:?}",
        table.columns
    );
    let metadata = client.list(list(View::Metadata)).await.expect("listed").into_inner();
    let object = trireme_proto::api::meta::v1::PartialObjectMetadata::decode(&metadata.items[0].object[..]);
    assert_eq!(object.expect("decoded").metadata.expect("present").name, "web");
    assert!(metadata.columns.is_empty());
}

#[tokio::test]
async fn a_watch_streams_each_change() {
    let server = TestServer::start().await;
    let mut client = resources(&server).await;
    let request = WatchRequest {
        resource: reference("pods", ""),
        view: View::ObjectAndTable as i32,
        ..WatchRequest::default()
    };
    let mut stream = client.watch(request).await.expect("watching").into_inner();
    let mut next = async || stream.message().await.expect("goes on").expect("goes on");
    let bookmark = next().await;
    assert_eq!((bookmark.r#type(), bookmark.initial_events_end), (Type::Bookmark, true));
    let pods = Api::<Pod>::namespaced(&server.admin(), "default");
    let created = pods.create(&mk_pod("web")).await.expect("created");
    let added = next().await;
    assert_eq!(added.r#type(), Type::Added);
    let item = added.item.expect("an object");
    assert_eq!(Pod::decode(&item.object[..]).expect("decoded"), created);
    assert_eq!(
        item.cells.len(),
        added.columns.len(),
        "the columns come with the first event"
    );
    let delete = DeleteRequest {
        resource: reference("pods", "web"),
        ..DeleteRequest::default()
    };
    assert!(
        resources(&server)
            .await
            .delete(delete)
            .await
            .expect("deleted")
            .into_inner()
            .gone
    );
    let deleted = next().await;
    assert_eq!((deleted.r#type(), deleted.columns.len()), (Type::Deleted, 0));
}

#[tokio::test]
async fn logs_come_from_the_pods_node() {
    let server = TestServer::start().await;
    let mut client = resources(&server).await;
    Api::<Pod>::namespaced(&server.admin(), "default")
        .create(&mk_pod("web"))
        .await
        .expect("created");
    let logs = || LogsRequest {
        namespace: "default".to_owned(),
        pod: "web".to_owned(),
        ..LogsRequest::default()
    };
    let error = client.logs(logs()).await.expect_err("on no node");
    assert!(error.message().contains("does not have a host assigned"), "{error}");
    let target = ObjectReference {
        kind: "Node".to_owned(),
        name: "n1".to_owned(),
        ..ObjectReference::default()
    };
    let binding = Binding {
        metadata: None,
        target: Some(target),
    };
    let bind = CreateRequest {
        resource: reference("pods/binding", "web"),
        object: binding.encode_to_vec().into(),
        ..CreateRequest::default()
    };
    client.create(bind).await.expect("bound");
    let mut stream = client.logs(logs()).await.expect("logs").into_inner();
    let mut text = Vec::new();
    while let Some(chunk) = stream.message().await.expect("goes on") {
        text.extend_from_slice(&chunk.data);
    }
    assert_eq!(text, b"main on n1\nbye\n");
}

#[tokio::test]
async fn discovery_and_documentation() {
    let server = TestServer::start().await;
    let mut client = resources(&server).await;
    let discovered = client
        .discover(DiscoverRequest {})
        .await
        .expect("discovered")
        .into_inner();
    let pods = discovered
        .resources
        .iter()
        .find(|resource| resource.plural == "pods")
        .expect("pods");
    assert!(pods.namespaced && pods.short_names == ["po"] && pods.verbs.len() == 7);
    let path = vec!["spec".to_owned(), "nodeName".to_owned()];
    let explain = ExplainRequest {
        resource: reference("pods", ""),
        path,
    };
    let explained = client.explain(explain).await.expect("explained").into_inner();
    assert_eq!(explained.r#type, "string");
    assert!(!explained.description.is_empty());
}

#[tokio::test]
async fn unknown_and_oversized_requests_are_refused() {
    let server = TestServer::start().await;
    let mut client = resources(&server).await;
    let get = |resource: &str| GetRequest {
        resource: reference(resource, "x"),
        ..GetRequest::default()
    };
    for (request, reason) in [
        (get("ships"), "NotFound"),
        (get("pods/sail"), "NotFound"),
        (get("pods/binding"), "MethodNotAllowed"),
        (GetRequest::default(), "BadRequest"),
        (
            GetRequest {
                encoding: 9,
                ..get("pods")
            },
            "BadRequest",
        ),
        (GetRequest { view: 9, ..get("pods") }, "BadRequest"),
        (
            GetRequest {
                resource_version: "new".to_owned(),
                ..get("pods")
            },
            "BadRequest",
        ),
    ] {
        let status = client.get(request.clone()).await.expect_err("refused");
        let error = trireme_client::ApiError::from_status(&status);
        assert_eq!(error.reason, reason, "{request:?}: {error}");
    }
    let large = UpdateRequest {
        resource: reference("configmaps", "settings"),
        object: vec![0; crate::limits::REQUEST_MAX_BYTES + 1].into(),
        ..UpdateRequest::default()
    };
    let error = trireme_client::ApiError::from_status(&client.update(large).await.expect_err("refused"));
    assert_eq!((error.reason.as_str(), error.http_code), ("RequestEntityTooLarge", 413));
}
