//! Taking fields out of an object.

use serde_json::{Map, Value};

use super::{
    field_set::{FieldSet, Node},
    path::PathElement,
    types::Type,
};

/// The value without the fields of a set. What has nothing left of it becomes null, which is no value.
pub(super) fn remove(of_type: Type, value: &Value, unwanted: &FieldSet) -> Value {
    match (of_type, value) {
        (Type::Struct(_) | Type::Map(_), Value::Object(fields)) => {
            let kept: Map<String, Value> = fields
                .iter()
                .filter_map(|(name, value)| {
                    let (known_name, field_type) = of_type.child(name);
                    let node = unwanted.node(&PathElement::Field(known_name));
                    Some((name.clone(), remove_below(field_type, value, node)?))
                })
                .collect();
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Object(kept)
            }
        }
        (Type::Set | Type::Keyed { .. }, Value::Array(items)) => {
            let kept: Vec<Value> = items
                .iter()
                .filter_map(|item| {
                    let name = of_type.name_item(item).ok();
                    remove_below(of_type.item(), item, name.and_then(|name| unwanted.node(&name)))
                })
                .collect();
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Array(kept)
            }
        }
        _ => value.clone(),
    }
}

/// `None` if the value itself is unwanted.
fn remove_below(of_type: Type, value: &Value, unwanted: Option<&Node>) -> Option<Value> {
    match unwanted {
        None => Some(value.clone()),
        Some(node) if node.member => None,
        Some(node) => Some(remove(of_type, value, &node.children)),
    }
}

/// The set, and with it each field of a message that has something of the set below it: it goes if all of that goes.
pub(super) fn with_fields_above(of_type: Type, set: &FieldSet) -> FieldSet {
    let nodes = set.nodes().iter().map(|(element, node)| {
        let member = node.member || (!node.children.is_empty() && of_type.is_field(element));
        let children = with_fields_above(of_type.below(element), &node.children);
        (element.clone(), Node { member, children })
    });
    FieldSet::from_nodes(nodes.collect())
}
