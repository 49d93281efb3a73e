//! Golden bytes of Kubernetes' protobuf, derived by hand from its field numbers, and of tricky JSON.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use prost::Message as _;
use serde_json::json;
use trireme_proto::TypedObject as _;
use trireme_proto::api::core::v1::{
    ConfigMap, ConfigMapKeySelector, ConfigMapVolumeSource, Container, LocalObjectReference, Pod, Secret, Volume,
    VolumeSource,
};
use trireme_proto::api::meta::v1::{IntOrString, ObjectMeta, Quantity, Time};
use trireme_proto::json;

#[test]
fn metadata_bytes() {
    let metadata = ObjectMeta {
        name: "a".to_owned(),
        namespace: "b".to_owned(),
        creation_timestamp: Some(Time::from_unix_seconds(1)),
        labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        deletion_grace_period_seconds: Some(0),
        ..ObjectMeta::default()
    };
    let golden = [
        // name = 1, namespace = 3: tag (number << 3 | 2), length, bytes.
        &[0x0a, 1, b'a', 0x1a, 1, b'b'][..],
        // creationTimestamp = 8: a message of seconds = 1, a varint.
        &[0x42, 2, 0x08, 1],
        // deletionGracePeriodSeconds = 10: a set zero is written.
        &[0x50, 0],
        // labels = 11: one entry of key = 1, value = 2.
        &[0x5a, 6, 0x0a, 1, b'k', 0x12, 1, b'v'],
    ]
    .concat();
    assert_eq!(metadata.encode_to_vec(), golden);
    assert_eq!(ObjectMeta::decode(golden.as_slice()).unwrap(), metadata);
}

#[test]
fn inlined_messages_are_messages_on_the_wire() {
    let volume = Volume {
        name: "v".to_owned(),
        volume_source: Some(VolumeSource {
            config_map: Some(ConfigMapVolumeSource {
                local_object_reference: Some(LocalObjectReference { name: "c".to_owned() }),
                default_mode: Some(0o644),
                ..ConfigMapVolumeSource::default()
            }),
            ..VolumeSource::default()
        }),
    };
    let golden = [
        // name = 1.
        &[0x0a, 1, b'v'][..],
        // volumeSource = 2 of 11 bytes, configMap = 19 (a tag of two bytes) of 8 bytes.
        &[0x12, 11, 0x9a, 0x01, 8],
        // localObjectReference = 1 of name = 1.
        &[0x0a, 3, 0x0a, 1, b'c'],
        // defaultMode = 3: 420 as a varint.
        &[0x18, 0xa4, 0x03],
    ]
    .concat();
    assert_eq!(volume.encode_to_vec(), golden);
    assert_eq!(
        serde_json::to_value(&volume).unwrap(),
        json!({"name": "v", "configMap": {"name": "c", "defaultMode": 420}})
    );
}

#[test]
fn scalar_bytes() {
    // type = 1, intVal = 2, strVal = 3; Kubernetes writes the zeros too, which must not matter.
    let theirs = [0x08, 1, 0x10, 0, 0x1a, 3, b'2', b'5', b'%'];
    assert_eq!(
        IntOrString::decode(theirs.as_slice()).unwrap(),
        IntOrString::from("25%")
    );
    assert_eq!(IntOrString::from(5).encode_to_vec(), [0x10, 5]);
    let quantity: Quantity = "1Gi".parse().unwrap();
    assert_eq!(quantity.encode_to_vec(), [0x0a, 3, b'1', b'G', b'i']);
}

#[test]
fn unset_times_of_other_encoders_are_not_written() {
    // creationTimestamp = 8 of no bytes at all, as Kubernetes writes an unset time.
    let metadata = ObjectMeta::decode([0x42, 0].as_slice()).unwrap();
    assert_eq!(serde_json::to_value(&metadata).unwrap(), json!({}));
}

#[test]
fn always_written_fields() {
    let pod = json::encode_value(&Pod::default()).unwrap();
    assert_eq!(
        pod,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}, "status": {}})
    );
    let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{}]}})).unwrap();
    assert_eq!(
        json::encode_value(&pod).unwrap()["spec"],
        json!({"containers": [{"name": "", "resources": {}}]})
    );
}

#[test]
fn secrets_are_base64() {
    let secret: Secret = serde_json::from_value(json!({"data": {"k": "AAH/"}})).unwrap();
    assert_eq!(secret.data["k"].as_ref(), [0, 1, 255]);
    assert_eq!(json::encode_value(&secret).unwrap()["data"], json!({"k": "AAH/"}));
    let error = json::decode::<Secret>(br#"{"data": {"k": "*"}}"#).unwrap_err();
    assert_eq!(error.path, "data.k");
    assert!(error.message.contains("expected base64"), "{error}");
}

#[test]
fn null_is_absent() {
    let pod = json::decode::<Pod>(
        br#"{"metadata": {"creationTimestamp": null, "labels": null, "name": null},
             "spec": {"containers": null, "hostNetwork": null, "priority": null, "volumes": [{"name": "v", "emptyDir": null}]}}"#,
    )
    .unwrap();
    assert_eq!(pod.unknown_fields, Vec::<String>::new());
    let spec = pod.value.spec.unwrap();
    assert!(spec.containers.is_empty() && !spec.host_network && spec.priority.is_none());
    assert!(
        spec.volumes[0]
            .volume_source
            .as_ref()
            .is_none_or(|source| source.empty_dir.is_none())
    );
}

#[test]
fn null_in_a_list_or_a_map_is_empty() {
    let map = json::decode::<ConfigMap>(br#"{"data": {"a": null, "b": "c"}}"#).unwrap();
    assert_eq!(
        json::encode_value(&map.value).unwrap()["data"],
        json!({"a": "", "b": "c"})
    );
    let pod = json::decode::<Pod>(br#"{"spec": {"containers": [null, {"args": ["a", null]}]}}"#).unwrap();
    let containers = pod.value.spec.unwrap().containers;
    assert_eq!(containers[0], Container::default());
    assert_eq!(containers[1].args, ["a", ""]);
}

#[test]
fn errors_name_the_path_and_the_expectation() {
    let cases = [
        (
            r#"{"spec": {"containers": [{}, {"image": 3}]}}"#,
            "spec.containers[1].image",
            "string",
        ),
        (r#"{"spec": {"priority": "high"}}"#, "spec.priority", "i32"),
        (r#"{"spec": {"priority": 3000000000}}"#, "spec.priority", "i32"),
        (r#"{"spec": {"containers": {}}}"#, "spec.containers", "a list"),
        (r#"{"spec": []}"#, "spec", "an object (PodSpec)"),
        (r#"{"metadata": {"labels": {"a": 1}}}"#, "metadata.labels.a", "string"),
        (
            r#"{"metadata": {"creationTimestamp": "soon"}}"#,
            "metadata.creationTimestamp",
            "RFC 3339",
        ),
        (r#"{"spec": {"hostNetwork": "yes"}}"#, "spec.hostNetwork", "boolean"),
        (
            r#"{"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}"#,
            "spec.containers[0].resources.limits.cpu",
            "number",
        ),
        (
            r#"{"metadata": {"name": "a", "name": "b"}}"#,
            "metadata.name",
            "duplicate",
        ),
        (
            r#"{"metadata": {"labels": {"a": "1", "a": "2"}}}"#,
            "metadata.labels.a",
            "duplicate",
        ),
        (r#"{"kind": 1}"#, "kind", "string"),
        ("[]", "", "an object (Pod)"),
        ("{", "", "EOF"),
        ("{} {}", "", "trailing"),
    ];
    for (text, path, expectation) in cases {
        let error = json::decode::<Pod>(text.as_bytes()).unwrap_err();
        assert_eq!(error.path, path, "{text}: {error}");
        assert!(error.message.contains(expectation), "{text}: {error}");
    }
}

#[test]
fn unknown_fields_are_named() {
    let text = br#"{"apiVersion": "v1", "kind": "Pod", "extra": {"deep": [1]},
        "spec": {"containers": [{"imagee": "x"}], "volumes": [{"configMap": {"nane": "c"}}]}}"#;
    let names = ["extra", "spec.containers[0].imagee", "spec.volumes[0].configMap.nane"];
    assert_eq!(json::decode::<Pod>(text).unwrap().unknown_fields, names);

    // Through serde alone, they are visible to whoever listens for ignored values.
    let mut ignored = 0;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let _: Pod = serde_ignored::deserialize(&mut deserializer, |_| ignored += 1).unwrap();
    assert_eq!(ignored, names.len());
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| format!("{{\"x\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    let max = trireme_proto::limits::JSON_DEPTH_MAX;
    assert!(json::decode::<Pod>(nested(max - 1).as_bytes()).is_ok());
    let error = json::decode::<Pod>(nested(max).as_bytes()).unwrap_err();
    assert!(error.message.contains("deeper"), "{error}");
    assert!(json::decode::<Pod>(br#"{"x": "[[[[[[[[\"[["}"#).is_ok());
}

#[test]
fn many_unknown_fields_are_named_up_to_a_bound() {
    let max = trireme_proto::limits::JSON_UNKNOWN_FIELDS_REPORTED_MAX;
    let fields: Vec<String> = (0..=max).map(|i| format!("\"x{i}\": 1")).collect();
    let text = format!("{{{}}}", fields.join(","));
    assert_eq!(json::decode::<Pod>(text.as_bytes()).unwrap().unknown_fields.len(), max);
}

#[test]
fn type_meta_is_peeked() {
    let text = br#"{"kind": "Deployment", "apiVersion": "apps/v1", "spec": {"replicas": "?"}}"#;
    let type_meta = json::TypeMeta::peek(text).unwrap();
    assert_eq!(
        (type_meta.api_version.as_str(), type_meta.kind.as_str()),
        ("apps/v1", "Deployment")
    );
    assert!(json::TypeMeta::peek(b"[1]").is_err());
}

#[test]
fn typed_objects_know_their_kind() {
    let mut pod = Pod::default();
    assert_eq!(
        (Pod::API_VERSION, Pod::GROUP, Pod::VERSION, Pod::KIND),
        ("v1", "", "v1", "Pod")
    );
    assert_eq!((pod.name(), pod.metadata().is_none()), ("", true));
    pod.metadata_or_default().name = "a".to_owned();
    assert_eq!(pod.name(), "a");
    use trireme_proto::api::apps::v1::Deployment;
    assert_eq!(Deployment::API_VERSION, "apps/v1");
}

#[test]
fn selectors_of_keys_are_inline() {
    let selector: ConfigMapKeySelector = serde_json::from_value(json!({"name": "c", "key": "k"})).unwrap();
    assert_eq!(selector.local_object_reference.as_ref().unwrap().name, "c");
    assert_eq!(
        serde_json::to_value(&selector).unwrap(),
        json!({"name": "c", "key": "k"})
    );
}

#[test]
fn descriptors_serve_reflection() {
    let files = prost_types::FileDescriptorSet::decode(trireme_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services: Vec<&str> = files
        .file
        .iter()
        .flat_map(|file| &file.service)
        .map(prost_types::ServiceDescriptorProto::name)
        .collect();
    for service in ["Resources", "NodeAgent", "Cluster", "RuntimeService", "ImageService"] {
        assert!(services.contains(&service), "{service} is not in {services:?}");
    }
}

/// Caches hold thousands of objects, so what every pod carries is kept small.
#[test]
fn objects_are_small() {
    use trireme_proto::api::core::v1::{Container, EnvVar, PodSpec};
    let sizes = [
        ("Pod", size_of::<Pod>(), 2_400),
        ("PodSpec", size_of::<PodSpec>(), 1_500),
        ("Container", size_of::<Container>(), 600),
        ("EnvVar", size_of::<EnvVar>(), 64),
        ("Volume", size_of::<Volume>(), 600),
    ];
    for (name, size, max) in sizes {
        assert!(size <= max, "{name} has {size} bytes, more than {max}");
    }
}
