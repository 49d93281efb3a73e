//! Writes the schema table: what `explain`, patching and validation must know of every message and field.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::descriptors::{Message, Shape, ValueType};

/// The code that `src/schema.rs` includes.
pub(crate) fn generate(messages: &BTreeMap<String, Message>) -> String {
    let mut code = String::new();
    for (name, message) in messages {
        write_message(&mut code, name, message);
    }
    let table: Vec<String> = messages.keys().map(|name| format!("&{}", ident(name))).collect();
    let _ = writeln!(code, "static MESSAGES: &[&MessageSchema] = &[{}];", table.join(", "));
    code
}

fn write_message(code: &mut String, full_name: &str, message: &Message) {
    let form = match message.name.as_str() {
        "Time" | "MicroTime" => "DateTime",
        "Quantity" => "Quantity",
        "IntOrString" => "IntOrString",
        "FieldsV1" | "RawExtension" => "Any",
        "ExtraValue" => "Strings",
        _ => "Object",
    };
    let kind = message
        .kind
        .as_ref()
        .map_or("None".to_owned(), |(group, version, kind)| {
            format!("Some(Kind {{ group: {group:?}, version: {version:?}, kind: {kind:?} }})")
        });
    let _ = writeln!(
        code,
        "static {}: MessageSchema = MessageSchema {{ full_name: {full_name:?}, name: {:?}, doc: {:?}, kind: {kind}, form: JsonForm::{form}, fields: &[",
        ident(full_name),
        message.name,
        message.doc,
    );
    let fields = if form == "Object" {
        message.fields.as_slice()
    } else {
        &[]
    };
    for field in fields {
        let shape = match field.shape {
            Shape::Plain | Shape::Optional => "Single",
            Shape::List => "List",
            Shape::Map => "Map",
        };
        let value = match &field.value {
            ValueType::Scalar(scalar) => format!("Scalar(Scalar::{scalar})"),
            ValueType::Message(name) => format!("Message(&{})", ident(name)),
        };
        let merge_key = if field.merge_key.is_empty() {
            "None".to_owned()
        } else {
            format!("Some({:?})", field.merge_key)
        };
        let list_type = match field.list_type.as_str() {
            "" => "Unspecified",
            "atomic" => "Atomic",
            "set" => "Set",
            "map" => "Map",
            other => panic!("{full_name}.{}: unknown list_type {other}", field.json_name),
        };
        let _ = writeln!(
            code,
            "FieldSchema {{ json_name: {:?}, number: {}, doc: {:?}, shape: Shape::{shape}, value: ValueType::{value}, inline: {}, always: {}, required: {}, merge_key: {merge_key}, merge: {}, retain_keys: {}, list_type: ListType::{list_type}, list_map_keys: &{:?}, atomic: {} }},",
            field.json_name,
            field.number,
            field.doc,
            field.inline,
            field.always,
            field.required,
            field.merge || !field.merge_key.is_empty(),
            field.retain_keys,
            field.list_map_keys,
            field.atomic,
        );
    }
    code.push_str("] };\n");
}

/// The static's name for a message's full name.
fn ident(full_name: &str) -> String {
    full_name.replace('.', "_").to_uppercase()
}
