//! Merging an applied configuration into the present object.
//!
//! Fields that the configuration has take its value, everything else stays. Lists that are owned by item keep the items of
//! both; their order is that of the configuration, and items that only the object has stay before the item that they stood
//! before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    path::PathElement,
    types::{Type, is_void},
};

/// Both values in one. The configuration's lists have no two items of one name.
pub(super) fn merge(of_type: Type, present: &Value, config: &Value) -> Value {
    if is_void(Some(present)) && is_void(Some(config)) {
        return config.clone();
    }
    match (of_type, present, config) {
        (Type::Struct(_) | Type::Map(_), Value::Object(present), Value::Object(config)) => {
            Value::Object(merge_fields(of_type, present, config))
        }
        (Type::Set | Type::Keyed { .. }, Value::Array(present), Value::Array(config)) => {
            Value::Array(merge_items(of_type, present, config))
        }
        // Null asks for nothing of what is owned in parts.
        (Type::Struct(_) | Type::Map(_), Value::Object(_), Value::Null)
        | (Type::Set | Type::Keyed { .. }, Value::Array(_), Value::Null) => present.clone(),
        _ => config.clone(),
    }
}

fn merge_fields(of_type: Type, present: &Map<String, Value>, config: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = present.clone();
    for (name, value) in config {
        let value = match merged.get(name) {
            Some(present) => merge(of_type.child(name).1, present, value),
            None => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    merged
}

/// The items of both lists, in order.
struct Merging<'a> {
    of_type: Type,
    /// The object's items by name; none of a name that stands there twice, since it is not known which is meant.
    present: BTreeMap<&'a PathElement, Option<&'a Value>>,
    /// The names of the configuration's items.
    wanted: BTreeSet<&'a PathElement>,
    merged: Vec<Value>,
}

impl Merging<'_> {
    /// Adds an item of the configuration, with what the object has of it.
    fn take(&mut self, name: &PathElement, config: &Value) {
        let item = match self.present.get(name) {
            Some(Some(present)) => merge(self.of_type.item(), present, config),
            Some(None) | None => config.clone(),
        };
        self.merged.push(item);
    }
}

fn merge_items(of_type: Type, present: &[Value], config: &[Value]) -> Vec<Value> {
    let named = |items| -> Vec<(PathElement, &Value)> {
        let items: std::slice::Iter<'_, Value> = items;
        items
            .filter_map(|item| Some((of_type.name_item(item).ok()?, item)))
            .collect()
    };
    let (present, config) = (named(present.iter()), named(config.iter()));
    let mut present_by_name: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (name, item) in &present {
        present_by_name
            .entry(name)
            .and_modify(|item| *item = None)
            .or_insert(Some(item));
    }
    let mut shared = config
        .iter()
        .map(|(name, _)| name)
        .filter(|name| present_by_name.contains_key(name))
        .collect::<Vec<_>>()
        .into_iter()
        .peekable();
    let mut merging = Merging {
        of_type,
        wanted: config.iter().map(|(name, _)| name).collect(),
        present: present_by_name.clone(),
        merged: Vec::with_capacity(present.len().max(config.len())),
    };
    let mut taken: BTreeSet<&PathElement> = BTreeSet::new();
    let mut present = present.iter().peekable();
    let mut config = config.iter().peekable();
    loop {
        match (present.peek().copied(), config.peek().copied()) {
            (None, None) => return merging.merged,
            // What only the object has comes before all that it stood before.
            (Some((name, item)), _) if !merging.wanted.contains(name) => {
                merging.merged.push((*item).clone());
                present.next();
            }
            // An item of both, whose turn is another time in the configuration's order.
            (Some((name, _)), Some((wanted, _)))
                if name != wanted && shared.peek().is_some_and(|next| *next != name) =>
            {
                present.next();
            }
            (Some((name, _)), wanted) => {
                let is_wanted_now = wanted.is_some_and(|(wanted, _)| wanted == name);
                if is_wanted_now || taken.contains(name) {
                    present.next();
                }
                if let Some((wanted, item)) = wanted {
                    merging.take(wanted, item);
                    taken.insert(wanted);
                    shared.next_if_eq(&wanted);
                    config.next();
                }
            }
            (None, Some((wanted, item))) => {
                merging.take(wanted, item);
                config.next();
            }
        }
    }
}
