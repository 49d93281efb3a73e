//! Tests of all kinds: JSON in, a snapshot out.
#![allow(clippy::needless_pass_by_value, reason = "tables of `json!` values read better")]

mod cells;
mod certificates;
mod create;
mod defaults;
mod every;
mod invalid;
mod networking;
mod roles;
mod templates;
mod updates;
mod versions;
mod volumes;

use serde_json::Value;

use crate::{
    field_error::FieldErrors,
    kinds::{self, KINDS, by_api_version},
    object::Object,
    validation::metadata,
};

/// Decodes an object of the kind that its JSON names.
fn object(json: &Value) -> Box<dyn Object> {
    let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
    let ops = by_api_version(&text("apiVersion"), &text("kind")).expect("a kind");
    let text = json.to_string();
    ops.from_json(text.as_bytes(), &mut |path| panic!("unknown field {path} in {json}"))
        .expect("an object")
}

/// The JSON of an object.
fn json_of(object: &dyn Object) -> Value {
    serde_json::from_slice(&object.to_json().expect("has JSON")).expect("is JSON")
}

/// What is wrong with an object, after defaulting, one line each.
fn complaints(json: &Value) -> String {
    let mut object = object(json);
    object.set_defaults();
    object.prepare_create();
    let mut errors = FieldErrors::default();
    metadata::validate(object.info(), object.metadata(), &mut errors);
    object.validate(&mut errors);
    object.validate_create(&mut errors);
    lines(errors)
}

fn lines(errors: FieldErrors) -> String {
    errors.into_errors().iter().map(|error| format!("{error}\n")).collect()
}

/// A pod of the JSON of a spec.
fn pod(spec: Value) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

#[test]
fn infos_are_consistent() {
    for ops in KINDS {
        let info = ops.info();
        let schema = ops.schema().unwrap_or_else(|| panic!("{} has a schema", info.kind));
        assert_eq!(schema.name, info.kind);
        assert_eq!(
            schema.field("status").is_some(),
            info.subresources.contains(&"status"),
            "{} has a status",
            info.kind
        );
        let empty = ops.from_json(b"{}", &mut |_| {}).expect("an empty object");
        let cells = empty.cells(crate::testing::at(0));
        assert_eq!(
            cells.len(),
            info.columns.len(),
            "{} has a cell for each column",
            info.kind
        );
        for path in info.selectable_fields {
            assert!(
                empty.selectable_field(path).is_some(),
                "{} has a value for {path}",
                info.kind
            );
        }
        assert!(empty.selectable_field("no.such").is_none());
        assert_eq!(
            empty.scale().is_some(),
            info.subresources.contains(&"scale"),
            "{} can be scaled",
            info.kind
        );
        let same_name = KINDS.iter().filter(|other| {
            let is_version = kinds::is_same(other.stored().info(), ops.stored().info()) && !std::ptr::eq(**other, *ops);
            let other = other.info();
            let shares = |name: &&str| info.short_names.contains(name);
            !is_version && (other.plural == info.plural || other.short_names.iter().any(shares))
        });
        assert_eq!(same_name.count(), 1, "{} shares no name", info.kind);
    }
}

#[test]
fn type_errors_name_the_field() {
    let ops = by_api_version("apps/v1", "Deployment").expect("a kind");
    for (json, expected) in [
        (
            r#"{"spec":{"replicas":"three"}}"#,
            r#"spec.replicas: invalid type: string "three", expected i32"#,
        ),
        (r#"{"kind":"Pod"}"#, r#"kind: is "Pod", expected "Deployment""#),
        (r#"{"apiVersion":"v1"}"#, r#"apiVersion: is "v1", expected "apps/v1""#),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"a"},{"image":7}]}}}}"#,
            "spec.template.spec.containers[1].image: invalid type: integer `7`, expected a string",
        ),
    ] {
        let error = ops
            .from_json(json.as_bytes(), &mut |_| {})
            .expect_err("refused")
            .to_string();
        assert!(error.starts_with(expected), "{error}");
        let value = serde_json::from_str(json).expect("JSON");
        let error = ops.from_json_value(value).expect_err("refused").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn unknown_fields_are_reported_with_their_path() {
    let ops = by_api_version("v1", "Pod").expect("a kind");
    let json = r#"{"spec":{"containers":[{"name":"a","imagee":"x"}],"colour":1}}"#;
    let mut unknown = Vec::new();
    ops.from_json(json.as_bytes(), &mut |path| unknown.push(path))
        .expect("decodes");
    assert_eq!(unknown, ["spec.containers[0].imagee", "spec.colour"]);
}

#[test]
fn deep_json_is_refused() {
    let ops = by_api_version("v1", "Pod").expect("a kind");
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    assert!(
        ops.from_json(deep.as_bytes(), &mut |_| {})
            .expect_err("too deep")
            .to_string()
            .contains("64")
    );
    let allowed = format!(r#"{{"x":{}{}}}"#, "[".repeat(63), "]".repeat(63));
    ops.from_json(allowed.as_bytes(), &mut |_| {}).expect("at the limit");
}

#[test]
fn protobuf_goes_back_and_forth() {
    for json in defaults::examples() {
        let before = object(&json);
        let after = before.ops().from_protobuf(before.to_protobuf()).expect("decodes");
        assert_eq!(json_of(&*after), json_of(&*before));
    }
}
