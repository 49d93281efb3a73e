//! Writes the schema table: what `explain`, patching and validation must know of every message and field.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::descriptors::{Message, Shape, ValueType};

/// Messages that server-side apply treats as one value wherever they stand: references, which mean nothing in parts, and
/// selectors, in which one requirement more or less makes another set.
const ATOMIC_MESSAGES: &[&str] = &[
    "kubernetes.autoscaling.v1.CrossVersionObjectReference",
    "kubernetes.core.v1.ConfigMapKeySelector",
    "kubernetes.core.v1.EndpointAddress",
    "kubernetes.core.v1.EndpointPort",
    "kubernetes.core.v1.FileKeySelector",
    "kubernetes.core.v1.LocalObjectReference",
    "kubernetes.core.v1.NodeSelector",
    "kubernetes.core.v1.NodeSelectorTerm",
    "kubernetes.core.v1.ObjectFieldSelector",
    "kubernetes.core.v1.ObjectReference",
    "kubernetes.core.v1.ResourceFieldSelector",
    "kubernetes.core.v1.ScopeSelector",
    "kubernetes.core.v1.SecretKeySelector",
    "kubernetes.core.v1.SecretReference",
    "kubernetes.core.v1.TopologySelectorTerm",
    "kubernetes.core.v1.TypedLocalObjectReference",
    "kubernetes.discovery.v1.EndpointPort",
    "kubernetes.meta.v1.LabelSelector",
    "kubernetes.meta.v1.OwnerReference",
    "kubernetes.networking.v1.ServiceBackendPort",
    "kubernetes.rbac.v1.RoleRef",
    "kubernetes.rbac.v1.Subject",
];

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
    let fields = if form == "Object" {
        message.fields.as_slice()
    } else {
        &[]
    };
    assert!(fields.len() <= 64, "{full_name} has more fields than a word has bits");
    let mut places = Vec::new();
    let mut always = 0_u64;
    for (place, field) in fields.iter().enumerate() {
        let number = field.number as usize;
        places.resize(places.len().max(number + 1), 0);
        places[number] = place + 1;
        if field.always && !field.inline {
            always |= 1 << place;
        }
    }
    let _ = writeln!(
        code,
        "static {}: MessageSchema = MessageSchema {{ full_name: {full_name:?}, name: {:?}, doc: {:?}, kind: {kind}, form: JsonForm::{form}, atomic: {}, places: &{places:?}, always: {always}, fields: &[",
        ident(full_name),
        message.name,
        message.doc,
        ATOMIC_MESSAGES.contains(&full_name),
    );
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
        let default_value = if field.default_value.is_empty() {
            "None".to_owned()
        } else {
            format!("Some({:?})", field.default_value)
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
            "FieldSchema {{ json_name: {:?}, number: {}, doc: {:?}, shape: Shape::{shape}, value: ValueType::{value}, inline: {}, always: {}, required: {}, merge_key: {merge_key}, merge: {}, retain_keys: {}, replace: {}, list_type: ListType::{list_type}, list_map_keys: &{:?}, atomic: {}, default_value: {default_value} }},",
            field.json_name,
            field.number,
            field.doc,
            field.inline,
            field.always,
            field.required,
            field.merge || !field.merge_key.is_empty(),
            field.retain_keys,
            field.replace,
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
