//! Which fields a value has: what an applied configuration means to own.

use serde_json::{Map, Value};

use super::{
    field_set::{FieldSet, Node},
    path::{Name, PathElement},
    types::{Type, UnnamedItem},
};

/// A configuration that cannot be merged, whatever the object is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct InvalidConfig {
    /// The field, such as `.spec.replicas`.
    pub path: String,
    /// The sentence, as Kubernetes has it.
    pub why: String,
}

/// The fields of a value.
pub(super) fn fields_of(of_type: Type, value: &Value) -> FieldSet {
    match (of_type, value) {
        (Type::Struct(_) | Type::Map(_), Value::Object(fields)) => FieldSet::from_nodes(
            fields
                .iter()
                .map(|(name, value)| field_node(of_type, name, value))
                .collect(),
        ),
        (Type::Set | Type::Keyed { .. }, Value::Array(items)) => item_nodes(of_type, items),
        _ => FieldSet::default(),
    }
}

/// Messages come and go with their fields, so only what is a value of its own is in the set: scalars, whatever is atomic,
/// what is empty, and the entries of maps.
fn field_node(parent: Type, name: &str, value: &Value) -> (PathElement, Node) {
    let (known_name, of_type) = parent.child(name);
    let is_in_parts = match (of_type, value) {
        (Type::Struct(_) | Type::Map(_), Value::Object(fields)) => !fields.is_empty(),
        (Type::Set | Type::Keyed { .. }, Value::Array(_)) => true,
        _ => false,
    };
    let is_known = parent.is_field(&PathElement::Field(known_name.clone()));
    let node = Node {
        member: !is_in_parts || !is_known,
        children: fields_of(of_type, value),
    };
    (PathElement::Field(known_name), node)
}

/// Each item, and what it has; of an item that is there twice, only that.
fn item_nodes(of_type: Type, items: &[Value]) -> FieldSet {
    let mut nodes: Vec<(PathElement, Node)> = Vec::with_capacity(items.len());
    for item in items {
        // An item without a name cannot be owned.
        let Ok(element) = of_type.name_item(item) else { continue };
        let children = fields_of(of_type.item(), item);
        nodes.push((element, Node { member: true, children }));
    }
    distinct_items(nodes)
}

/// A set of items in any order. Those that share a name are one value together.
pub(super) fn distinct_items(mut nodes: Vec<(PathElement, Node)>) -> FieldSet {
    nodes.sort_by(|(one, _), (two, _)| one.cmp(two));
    let mut distinct: Vec<(PathElement, Node)> = Vec::with_capacity(nodes.len());
    for (element, node) in nodes {
        match distinct.last_mut() {
            Some((last, node)) if *last == element => *node = Node::leaf(),
            _ => distinct.push((element, node)),
        }
    }
    FieldSet::from_nodes(distinct)
}

/// Makes sure that a configuration has only fields that the schema knows, and that each item of a list can be told from the
/// others. That values are of their fields' types is found out by decoding it.
///
/// # Errors
/// The first field at fault.
pub(super) fn check_config(of_type: Type, config: &Map<String, Value>) -> Result<(), InvalidConfig> {
    for (name, value) in config {
        if !matches!(name.as_str(), "apiVersion" | "kind") {
            check_field(of_type, name, value)?;
        }
    }
    Ok(())
}

fn check_field(parent: Type, name: &str, value: &Value) -> Result<(), InvalidConfig> {
    let (name, of_type): (Name, Type) = parent.child(name);
    let element = PathElement::Field(name);
    if matches!(parent, Type::Struct(_)) && !parent.is_field(&element) {
        return Err(InvalidConfig {
            path: element.to_string(),
            why: "field not declared in schema".to_owned(),
        });
    }
    check_value(of_type, value).map_err(|error| error.below(&element))
}

fn check_value(of_type: Type, value: &Value) -> Result<(), InvalidConfig> {
    match (of_type, value) {
        (Type::Struct(_) | Type::Map(_), Value::Object(fields)) => fields
            .iter()
            .try_for_each(|(name, value)| check_field(of_type, name, value)),
        (Type::Set | Type::Keyed { .. }, Value::Array(items)) => check_items(of_type, items),
        _ => Ok(()),
    }
}

fn check_items(of_type: Type, items: &[Value]) -> Result<(), InvalidConfig> {
    let at = |why: String| InvalidConfig {
        path: String::new(),
        why,
    };
    let mut names = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let name = of_type
            .name_item(item)
            .map_err(|why: UnnamedItem| at(format!("element {index}: {why}")))?;
        check_value(of_type.item(), item).map_err(|error| error.below(&name))?;
        names.push(name);
    }
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(at(format!("duplicate entries for key {}", pair[0]))),
        None => Ok(()),
    }
}

impl InvalidConfig {
    fn below(mut self, element: &PathElement) -> Self {
        self.path.insert_str(0, &element.to_string());
        self
    }
}
