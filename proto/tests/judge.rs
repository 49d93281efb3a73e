//! The JSON of every kind, judged by `k8s-openapi`, whose types nobody here wrote.
//!
//! An object with every field set is made from the schema table. The judge must read and write it
//! exactly as we do, so we have no field that it does not have; and no field of the judge's object may be
//! left unset, so it has none that we do not have.
#![allow(clippy::unwrap_used, reason = "tests")]

use k8s_openapi::api as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as k8s_meta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use trireme_proto::api::apps::v1 as apps;
use trireme_proto::api::authentication::v1 as authentication;
use trireme_proto::api::authorization::v1 as authorization;
use trireme_proto::api::autoscaling::v1 as autoscaling;
use trireme_proto::api::autoscaling::v2 as autoscaling_v2;
use trireme_proto::api::batch::v1 as batch;
use trireme_proto::api::certificates::v1 as certificates;
use trireme_proto::api::coordination::v1 as coordination;
use trireme_proto::api::core::v1 as core;
use trireme_proto::api::discovery::v1 as discovery;
use trireme_proto::api::events::v1 as events;
use trireme_proto::api::meta::v1 as meta;
use trireme_proto::api::networking::v1 as networking;
use trireme_proto::api::node::v1 as node;
use trireme_proto::api::policy::v1 as policy;
use trireme_proto::api::rbac::v1 as rbac;
use trireme_proto::api::scheduling::v1 as scheduling;
use trireme_proto::api::storage::v1 as storage;
use trireme_proto::json::{self, JsonMessage};
use trireme_proto::schema::{self, FieldSchema, JsonForm, MessageSchema, Scalar, Shape, ValueType};

/// An object with every field set, its values told apart by their field's number.
fn full(message: &MessageSchema) -> Value {
    let fields = message.json_fields();
    let mut object: Map<String, Value> = fields
        .iter()
        .map(|field| (field.json_name.to_owned(), full_field(field)))
        .collect();
    if let Some(kind) = message.kind {
        let api_version = match kind.group {
            "" => kind.version.to_owned(),
            group => format!("{group}/{}", kind.version),
        };
        object.insert("apiVersion".to_owned(), json!(api_version));
        object.insert("kind".to_owned(), json!(kind.kind));
    }
    Value::Object(object)
}

fn full_field(field: &FieldSchema) -> Value {
    let value = match field.value {
        ValueType::Scalar(Scalar::Bool) => json!(true),
        ValueType::Scalar(Scalar::Double) => json!(0.5),
        ValueType::Scalar(Scalar::Int32 | Scalar::Int64) => json!(field.number),
        ValueType::Scalar(Scalar::String) => json!(format!("text-{}", field.number)),
        ValueType::Scalar(Scalar::Bytes) => json!("aGVsbG8="),
        ValueType::Message(message) => match (message.form, message.name) {
            (JsonForm::Object, _) => full(message),
            (JsonForm::DateTime, "Time") => json!("2026-01-02T03:04:05Z"),
            (JsonForm::DateTime, _) => json!("2026-01-02T03:04:05.123456Z"),
            (JsonForm::Quantity, _) => json!(format!("{}Gi", field.number)),
            (JsonForm::IntOrString, _) if field.number.is_multiple_of(2) => json!(field.number),
            (JsonForm::IntOrString, _) => json!(format!("{}%", field.number)),
            (JsonForm::Strings, _) => json!([format!("text-{}", field.number)]),
            (JsonForm::Any, _) => json!({"f:metadata": {"f:labels": {"f:app": {}}}}),
        },
    };
    match field.shape {
        Shape::Single => value,
        Shape::List => json!([value]),
        Shape::Map => json!({ format!("key-{}", field.number): value }),
    }
}

/// Leaves out what is the same as an absent field: `null`, and empty texts, lists and objects.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let fields = object.into_iter().map(|(name, value)| (name, normal(value)));
            Value::Object(fields.filter(|(_, value)| !is_absent(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(normal).collect()),
        other => other,
    }
}

fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Our object and the judge's from the same JSON write the same JSON.
fn check_json<Ours, Theirs>(sample: &Value) -> Theirs
where
    Ours: JsonMessage + prost::Message + DeserializeOwned + Serialize + PartialEq,
    Theirs: DeserializeOwned + Serialize,
{
    let ours = json::decode::<Ours>(sample.to_string().as_bytes()).unwrap();
    assert_eq!(ours.unknown_fields, Vec::<String>::new());
    let our_json = json::encode_value(&ours.value).unwrap();
    let theirs: Theirs = serde_json::from_value(sample.clone()).unwrap();
    let their_json = serde_json::to_value(&theirs).unwrap();
    assert_eq!(normal(our_json.clone()), normal(their_json.clone()), "{}", Ours::NAME);

    // The judge's own output, which nothing here shaped, must mean the same object to us.
    let again = json::decode_value::<Ours>(&their_json).unwrap();
    assert_eq!(again.unknown_fields, Vec::<String>::new(), "{}", Ours::NAME);
    assert_eq!(normal(json::encode_value(&again.value).unwrap()), normal(our_json));

    // Protobuf keeps every field too.
    let wire = ours.value.encode_to_vec();
    assert!(Ours::decode(wire.as_slice()).unwrap() == ours.value, "{}", Ours::NAME);
    check_transcoding(&ours.value);
    theirs
}

/// JSON that is made without the object is the same text.
fn check_transcoding<Ours: JsonMessage + prost::Message>(object: &Ours) {
    let Some((api_version, kind)) = Ours::KIND else { return };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let message = schema::kind(group, version, kind).unwrap();
    let mut text = Vec::new();
    json::transcode(message, &object.encode_to_vec(), true, &mut text).unwrap();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        String::from_utf8(json::encode(object).unwrap()).unwrap()
    );
}

fn check<Ours, Theirs>()
where
    Ours: JsonMessage + prost::Message + DeserializeOwned + Serialize + PartialEq,
    Theirs: DeserializeOwned + Serialize + std::fmt::Debug,
{
    let (api_version, kind) = Ours::KIND.unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let message = schema::kind(group, version, kind).unwrap();
    let theirs = check_json::<Ours, Theirs>(&full(message));
    let shown = format!("{theirs:#?}");
    let lines: Vec<&str> = shown.lines().collect();
    let unset: Vec<_> = (0..lines.len())
        .filter(|&i| {
            ["None", "[]", "{}"]
                .iter()
                .any(|e| lines[i].trim_end_matches(',').ends_with(e))
        })
        .map(|i| lines[i].trim())
        .filter(|line| !KNOWN_TO_JUDGE_ONLY.contains(line))
        .collect();
    assert!(
        unset.is_empty(),
        "{}: fields that only the judge has: {unset:?}",
        Ours::NAME
    );

    // Each field by itself: what is always written is written beside it.
    for field in message.json_fields() {
        let alone = json!({ field.json_name: full_field(field) });
        check_transcoding(&json::decode_value::<Ours>(&alone).unwrap().value);
    }

    // An object of nothing.
    let mut nothing = json!({"apiVersion": api_version, "kind": kind, "metadata": {}});
    for field in message.json_fields() {
        match field.value {
            // The judge writes the numbers in a spec that is not there; we write them once there is one.
            ValueType::Message(_) if field.json_name == "spec" => nothing["spec"] = json!({}),
            // Here it is the judge that leaves out what Kubernetes always writes.
            ValueType::Scalar(Scalar::Int32) if field.always => nothing[field.json_name] = json!(0),
            _ => {}
        }
    }
    check_json::<Ours, Theirs>(&nothing);
}

/// The end of [`full`]'s `FieldsV1` is empty by nature.
const KNOWN_TO_JUDGE_ONLY: &[&str] = &["\"f:app\": Object {},"];

#[test]
fn core_kinds() {
    check::<core::Binding, k8s::core::v1::Binding>();
    check::<core::ConfigMap, k8s::core::v1::ConfigMap>();
    check::<core::Endpoints, k8s::core::v1::Endpoints>();
    check::<core::Event, k8s::core::v1::Event>();
    check::<core::LimitRange, k8s::core::v1::LimitRange>();
    check::<core::Namespace, k8s::core::v1::Namespace>();
    check::<core::Node, k8s::core::v1::Node>();
    check::<core::PersistentVolume, k8s::core::v1::PersistentVolume>();
    check::<core::PersistentVolumeClaim, k8s::core::v1::PersistentVolumeClaim>();
    check::<core::ReplicationController, k8s::core::v1::ReplicationController>();
    check::<core::ResourceQuota, k8s::core::v1::ResourceQuota>();
    check::<core::Secret, k8s::core::v1::Secret>();
    check::<core::Service, k8s::core::v1::Service>();
    check::<core::ServiceAccount, k8s::core::v1::ServiceAccount>();
}

#[test]
fn pods() {
    check::<core::Pod, k8s::core::v1::Pod>();
    check::<core::PodTemplate, k8s::core::v1::PodTemplate>();
}

#[test]
fn other_groups() {
    check::<apps::ControllerRevision, k8s::apps::v1::ControllerRevision>();
    check::<apps::DaemonSet, k8s::apps::v1::DaemonSet>();
    check::<apps::Deployment, k8s::apps::v1::Deployment>();
    check::<apps::ReplicaSet, k8s::apps::v1::ReplicaSet>();
    check::<apps::StatefulSet, k8s::apps::v1::StatefulSet>();
    check::<autoscaling::HorizontalPodAutoscaler, k8s::autoscaling::v1::HorizontalPodAutoscaler>();
    check::<autoscaling::Scale, k8s::autoscaling::v1::Scale>();
    check::<autoscaling_v2::HorizontalPodAutoscaler, k8s::autoscaling::v2::HorizontalPodAutoscaler>();
    check::<batch::CronJob, k8s::batch::v1::CronJob>();
    check::<batch::Job, k8s::batch::v1::Job>();
    check::<coordination::Lease, k8s::coordination::v1::Lease>();
    check::<discovery::EndpointSlice, k8s::discovery::v1::EndpointSlice>();
    check::<events::Event, k8s::events::v1::Event>();
    check::<policy::PodDisruptionBudget, k8s::policy::v1::PodDisruptionBudget>();
    check::<scheduling::PriorityClass, k8s::scheduling::v1::PriorityClass>();
}

#[test]
fn networking_storage_and_nodes() {
    check::<networking::Ingress, k8s::networking::v1::Ingress>();
    check::<networking::IngressClass, k8s::networking::v1::IngressClass>();
    check::<networking::NetworkPolicy, k8s::networking::v1::NetworkPolicy>();
    check::<node::RuntimeClass, k8s::node::v1::RuntimeClass>();
    check::<storage::CsiDriver, k8s::storage::v1::CSIDriver>();
    check::<storage::CsiNode, k8s::storage::v1::CSINode>();
    check::<storage::StorageClass, k8s::storage::v1::StorageClass>();
    check::<storage::VolumeAttachment, k8s::storage::v1::VolumeAttachment>();
}

#[test]
fn who_may_do_what() {
    check::<authentication::SelfSubjectReview, k8s::authentication::v1::SelfSubjectReview>();
    check::<authorization::LocalSubjectAccessReview, k8s::authorization::v1::LocalSubjectAccessReview>();
    check::<authorization::SelfSubjectAccessReview, k8s::authorization::v1::SelfSubjectAccessReview>();
    check::<authorization::SelfSubjectRulesReview, k8s::authorization::v1::SelfSubjectRulesReview>();
    check::<authorization::SubjectAccessReview, k8s::authorization::v1::SubjectAccessReview>();
    check::<certificates::CertificateSigningRequest, k8s::certificates::v1::CertificateSigningRequest>();
    check::<rbac::ClusterRole, k8s::rbac::v1::ClusterRole>();
    check::<rbac::ClusterRoleBinding, k8s::rbac::v1::ClusterRoleBinding>();
    check::<rbac::Role, k8s::rbac::v1::Role>();
    check::<rbac::RoleBinding, k8s::rbac::v1::RoleBinding>();
}

#[test]
fn status_and_options() {
    check::<meta::Status, k8s_meta::Status>();
    let options = schema::kind("", "v1", "DeleteOptions").unwrap();
    check_json::<meta::DeleteOptions, k8s_meta::DeleteOptions>(&normal(full(options)))
        .preconditions
        .unwrap();
}

#[test]
fn every_kind_is_judged() {
    let judged = [
        "Binding",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "ControllerRevision",
        "CronJob",
        "DaemonSet",
        "DeleteOptions",
        "Deployment",
        "EndpointSlice",
        "Endpoints",
        "Event",
        "Event",
        "HorizontalPodAutoscaler",
        "HorizontalPodAutoscaler",
        "Ingress",
        "IngressClass",
        "Job",
        "Lease",
        "LimitRange",
        "LocalSubjectAccessReview",
        "Namespace",
        "NetworkPolicy",
        "Node",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "PodDisruptionBudget",
        "PodTemplate",
        "PriorityClass",
        "ReplicaSet",
        "ReplicationController",
        "ResourceQuota",
        "Role",
        "RoleBinding",
        "RuntimeClass",
        "Scale",
        "Secret",
        "SelfSubjectAccessReview",
        "SelfSubjectReview",
        "SelfSubjectRulesReview",
        "Service",
        "ServiceAccount",
        "StatefulSet",
        "Status",
        "StorageClass",
        "SubjectAccessReview",
        "VolumeAttachment",
    ];
    let mut kinds: Vec<_> = schema::messages()
        .iter()
        .filter_map(|m| m.kind)
        .map(|k| k.kind)
        .collect();
    // The judge has no type for an object of which only the metadata is known.
    kinds.retain(|kind| *kind != "PartialObjectMetadata");
    kinds.sort_unstable();
    assert_eq!(kinds, judged);
}
