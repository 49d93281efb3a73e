//! An object of a kind with every field set, made from the schema: what no example thinks of is in it.

use serde_json::{Map, Value, json};
use trireme_proto::schema::{FieldSchema, JsonForm, Kind, MessageSchema, Scalar, Shape, ValueType};

use crate::object::KindOps;

/// The JSON of an object of which every field is set, its values told apart by their field's number. It is of the right types, and
/// breaks most rules.
pub fn full_object(ops: &dyn KindOps) -> Value {
    ops.schema().map(full).unwrap_or_default()
}

fn full(message: &MessageSchema) -> Value {
    let fields = message.json_fields().into_iter();
    let mut object: Map<String, Value> = fields
        .map(|field| (field.json_name.to_owned(), values_of(field)))
        .collect();
    // An object within another says what it is, too.
    if let Some(Kind { group, version, kind }) = message.kind {
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        object.insert("apiVersion".to_owned(), api_version.into());
        object.insert("kind".to_owned(), kind.into());
    }
    Value::Object(object)
}

fn values_of(field: &FieldSchema) -> Value {
    let number = field.number;
    let value = match field.value {
        ValueType::Scalar(Scalar::Bool) => json!(true),
        ValueType::Scalar(Scalar::Double) => json!(0.5),
        ValueType::Scalar(Scalar::Int32 | Scalar::Int64) => json!(number),
        ValueType::Scalar(Scalar::String) => json!(format!("text-{number}")),
        ValueType::Scalar(Scalar::Bytes) => json!("aGVsbG8="),
        ValueType::Message(message) => match (message.form, message.name) {
            (JsonForm::Object, _) => full(message),
            (JsonForm::DateTime, "Time") => json!("2026-01-02T03:04:05Z"),
            (JsonForm::DateTime, _) => json!("2026-01-02T03:04:05.123456Z"),
            (JsonForm::Quantity, _) => json!(format!("{number}Gi")),
            (JsonForm::IntOrString, _) if number.is_multiple_of(2) => json!(number),
            (JsonForm::IntOrString, _) => json!(format!("{number}%")),
            (JsonForm::Strings, _) => json!([format!("text-{number}")]),
            (JsonForm::Any, _) => json!({"f:metadata": {"f:labels": {"f:app": {}}}}),
        },
    };
    match field.shape {
        Shape::Single => value,
        Shape::List => json!([value]),
        Shape::Map => json!({ format!("key-{number}"): value }),
    }
}
