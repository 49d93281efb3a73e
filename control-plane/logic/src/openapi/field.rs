//! One field of a message, as a property.

use serde_json::{Map, Value, json};
use trireme_proto::schema::{FieldSchema, ListType, Scalar, Shape, ValueType};

use super::{Dialect, definitions::Definitions};

/// The property of a field, with what patches and server-side apply must know of it.
pub(super) fn property(field: &FieldSchema, definitions: &mut Definitions) -> Value {
    let mut property = match field.shape {
        Shape::Single => single(field, definitions),
        Shape::List => object(json!({"type": "array", "items": one(field, definitions)})),
        Shape::Map => object(json!({"type": "object", "additionalProperties": one(field, definitions)})),
    };
    if !field.doc.is_empty() {
        property.insert("description".to_owned(), json!(field.doc));
    }
    if let Some(default) = field.default_value {
        property.insert("default".to_owned(), json!(default));
    }
    extensions(field, &mut property);
    Value::Object(property)
}

/// The type of one value of the field.
fn one(field: &FieldSchema, definitions: &mut Definitions) -> Value {
    match field.value {
        ValueType::Scalar(kind) => scalar(kind),
        ValueType::Message(message) => definitions.reference(message),
    }
}

fn single(field: &FieldSchema, definitions: &mut Definitions) -> Map<String, Value> {
    let value = one(field, definitions);
    match (field.value, definitions.dialect()) {
        // A reference has no siblings in version 3, so the description needs a place around it.
        (ValueType::Message(_), Dialect::V3) => object(json!({"allOf": [value]})),
        _ => object(value),
    }
}

fn scalar(kind: Scalar) -> Value {
    match kind {
        Scalar::Bool => json!({"type": "boolean"}),
        Scalar::Double => json!({"type": "number", "format": "double"}),
        Scalar::Int32 => json!({"type": "integer", "format": "int32"}),
        Scalar::Int64 => json!({"type": "integer", "format": "int64"}),
        Scalar::String => json!({"type": "string"}),
        Scalar::Bytes => json!({"type": "string", "format": "byte"}),
    }
}

fn extensions(field: &FieldSchema, property: &mut Map<String, Value>) {
    let mut add = |name: &str, value: Value| property.insert(format!("x-kubernetes-{name}"), value);
    if let Some(key) = field.merge_key {
        add("patch-merge-key", json!(key));
    }
    let strategies = [
        (field.merge, "merge"),
        (field.retain_keys, "retainKeys"),
        (field.replace, "replace"),
    ];
    let strategies: Vec<_> = strategies.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    if !strategies.is_empty() {
        add("patch-strategy", json!(strategies.join(",")));
    }
    match field.list_type {
        ListType::Unspecified => None,
        ListType::Atomic => add("list-type", json!("atomic")),
        ListType::Set => add("list-type", json!("set")),
        ListType::Map => add("list-type", json!("map")),
    };
    if !field.list_map_keys.is_empty() {
        add("list-map-keys", json!(field.list_map_keys));
    }
    if field.atomic && field.shape != Shape::List {
        add("map-type", json!("atomic"));
    }
}

/// The members of a value that is written as an object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
