//! What changed between two versions of an object, as sets of fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    field_set::{FieldSet, Node},
    path::PathElement,
    types::{Type, is_void},
};

/// What the new version changes. No field is in two of the sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What only the new version has.
    pub added: FieldSet,
    /// What both have, with another value.
    pub modified: FieldSet,
    /// What only the old version has.
    pub removed: FieldSet,
}

/// What changed at and below one element.
#[derive(Default)]
struct Change {
    added: Node,
    modified: Node,
    removed: Node,
}

/// The changes below one value, while they are gathered.
#[derive(Default)]
struct Changes {
    added: Vec<(PathElement, Node)>,
    modified: Vec<(PathElement, Node)>,
    removed: Vec<(PathElement, Node)>,
}

impl Comparison {
    /// Compares two objects of a type.
    pub(super) fn of(of_type: Type, old: &Value, new: &Value) -> Self {
        let change = compare(of_type, Some(old), Some(new));
        Self {
            added: change.added.children,
            modified: change.modified.children,
            removed: change.removed.children,
        }
    }

    /// Whether nothing changed.
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// The same changes, each set as `filter` leaves it.
    #[must_use]
    pub(super) fn filtered(self, filter: impl Fn(FieldSet) -> FieldSet) -> Self {
        Self {
            added: filter(self.added),
            modified: filter(self.modified),
            removed: filter(self.removed),
        }
    }

    /// What has a new value.
    #[must_use]
    pub(super) fn set(&self) -> FieldSet {
        self.added.union(&self.modified)
    }
}

impl Changes {
    fn push(&mut self, element: &PathElement, change: Change) {
        let Change {
            added,
            modified,
            removed,
        } = change;
        for (list, node) in [
            (&mut self.added, added),
            (&mut self.modified, modified),
            (&mut self.removed, removed),
        ] {
            if !node.is_empty() {
                list.push((element.clone(), node));
            }
        }
    }

    fn into_change(self) -> Change {
        let node = |nodes| Node {
            member: false,
            children: FieldSet::from_nodes(nodes),
        };
        Change {
            added: node(self.added),
            modified: node(self.modified),
            removed: node(self.removed),
        }
    }
}

/// At least one of the two is there.
fn compare(of_type: Type, old: Option<&Value>, new: Option<&Value>) -> Change {
    if (old.is_some() && old == new) || (old.is_none() && is_nothing(of_type, new)) {
        return Change::default();
    }
    if (is_void(old) && is_void(new)) || !is_in_parts(of_type, old) || !is_in_parts(of_type, new) {
        return compare_whole(old, new);
    }
    let mut change = match of_type {
        Type::Set | Type::Keyed { .. } => compare_items(of_type, items_of(old), items_of(new)),
        Type::Struct(_) | Type::Map(_) | Type::Leaf => compare_fields(of_type, fields_of(old), fields_of(new)),
    };
    change.added.member = old.is_none();
    change.removed.member = new.is_none();
    change
}

/// Whether a value is one of the parts that its type has. Null fits every type.
fn is_in_parts(of_type: Type, value: Option<&Value>) -> bool {
    match (of_type, value) {
        (Type::Leaf, _) => false,
        (_, None | Some(Value::Null)) => true,
        (Type::Struct(_) | Type::Map(_), Some(value)) => value.is_object(),
        (Type::Set | Type::Keyed { .. }, Some(value)) => value.is_array(),
    }
}

/// Whether a value has no place in a stored object: none, or a list or map of nothing. Where there is none, it changes none.
fn is_nothing(of_type: Type, value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty() && matches!(of_type, Type::Map(_)),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => false,
    }
}

/// Of two values that are not equal.
fn compare_whole(old: Option<&Value>, new: Option<&Value>) -> Change {
    let mut change = Change::default();
    match (old, new) {
        (None, _) => change.added = Node::leaf(),
        (_, None) => change.removed = Node::leaf(),
        (Some(_), Some(_)) => change.modified = Node::leaf(),
    }
    change
}

fn fields_of(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn items_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn compare_fields(of_type: Type, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>) -> Change {
    let mut changes = Changes::default();
    let mut compare_field = |name: &str, old: Option<&Value>, new: Option<&Value>| {
        let (name, field_type) = of_type.child(name);
        changes.push(&PathElement::Field(name), compare(field_type, old, new));
    };
    for (name, value) in old.into_iter().flatten() {
        compare_field(name, Some(value), new.and_then(|new| new.get(name)));
    }
    for (name, value) in new.into_iter().flatten() {
        if old.is_none_or(|old| !old.contains_key(name)) {
            compare_field(name, None, Some(value));
        }
    }
    changes.into_change()
}

/// Items by their names, of both versions. Items without a name, which no valid object has, are left out.
type ItemsByName<'a> = BTreeMap<PathElement, (Vec<&'a Value>, Vec<&'a Value>)>;

fn compare_items(of_type: Type, old: &[Value], new: &[Value]) -> Change {
    let mut items = ItemsByName::new();
    for item in old {
        if let Ok(name) = of_type.name_item(item) {
            items.entry(name).or_default().0.push(item);
        }
    }
    for item in new {
        if let Ok(name) = of_type.name_item(item) {
            items.entry(name).or_default().1.push(item);
        }
    }
    let item_type = of_type.item();
    let mut changes = Changes::default();
    for (name, (old, new)) in items {
        let change = match (old.as_slice(), new.as_slice()) {
            // Items that share a name are one value together.
            ([_, _, ..], [_, _, ..]) if old == new => continue,
            ([_, _, ..], [_, _, ..]) => Change {
                modified: Node::leaf(),
                ..Change::default()
            },
            ([_, _, ..], new) => {
                let mut change = new
                    .first()
                    .map_or_else(Change::default, |new| compare(item_type, None, Some(new)));
                change.removed.member = true;
                change.added.member = false;
                change
            }
            (old, [_, _, ..]) => {
                let mut change = old
                    .first()
                    .map_or_else(Change::default, |old| compare(item_type, Some(old), None));
                change.added.member = true;
                change.removed.member = false;
                change
            }
            (old, new) => compare(item_type, old.first().copied(), new.first().copied()),
        };
        changes.push(&name, change);
    }
    changes.into_change()
}
