//! Kubernetes' strategic merge patch.
//!
//! Objects merge field by field, `null` removes. A list of objects whose field has a merge key merges
//! item by item; other lists are replaced. Directives inside the patch delete, replace, prune and order.
//! The schema of the kind says which lists merge and by what key; where it knows nothing, lists are
//! replaced and objects merge.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use trireme_proto::schema::MessageSchema;

use super::PatchError;
use crate::patch::schema_lookup::{FieldRule, ListRule, field_rule};

/// In an object or list item: `replace`, `delete` or `merge`.
const DIRECTIVE: &str = "$patch";
/// In an object: the only fields that stay.
const RETAIN_KEYS: &str = "$retainKeys";
/// Before a list field's name: scalars to take out of it.
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
/// Before a list field's name: the order of its items.
const ELEMENT_ORDER: &str = "$setElementOrder/";

type Schema = Option<&'static MessageSchema>;
type Fields = Map<String, Value>;

/// What an object or list item says about itself.
enum Directive {
    Merge,
    Replace,
    Delete,
}

/// Applies a patch to an object.
pub(super) fn apply(schema: Schema, current: &Value, patch: &Fields) -> Result<Value, PatchError> {
    let current = current.as_object().cloned().unwrap_or_default();
    merge_objects(schema, current, patch).map(Value::Object)
}

fn merge_objects(schema: Schema, mut current: Fields, patch: &Fields) -> Result<Fields, PatchError> {
    match directive(patch)? {
        Directive::Merge => {}
        Directive::Replace => return Ok(without_directives(patch)),
        Directive::Delete => return Ok(Fields::new()),
    }
    retain_keys(&mut current, patch)?;
    for name in list_fields_with_directives(patch) {
        if let Some(merged) = merge_directed_list(schema, current.remove(name), patch, name)? {
            current.insert(name.to_owned(), merged);
        }
    }
    for (name, value) in patch {
        let directed = patch.contains_key(&format!("{DELETE_FROM_LIST}{name}"))
            || patch.contains_key(&format!("{ELEMENT_ORDER}{name}"));
        if is_directive(name) || (directed && !value.is_object()) {
            continue;
        }
        if value.is_null() {
            current.remove(name);
            continue;
        }
        let merged = merge_values(&field_rule(schema, name), current.remove(name), value)?;
        current.insert(name.clone(), merged);
    }
    Ok(current)
}

/// Both values merged. Where the object has none, or one of another shape, the patch's is merged into an empty one, so that
/// applying the same patch again changes nothing more.
fn merge_values(rule: &FieldRule, current: Option<Value>, patch: &Value) -> Result<Value, PatchError> {
    match patch {
        Value::Object(patch) => {
            let current = match current {
                Some(Value::Object(current)) if !rule.replace => current,
                _ => Fields::new(),
            };
            merge_objects(rule.message, current, patch).map(Value::Object)
        }
        Value::Array(patch) => match &rule.list {
            ListRule::Replace => Ok(replacement(patch)),
            ListRule::Set | ListRule::ByKey(_) => {
                let current = match current {
                    Some(Value::Array(current)) => current,
                    _ => Vec::new(),
                };
                merge_lists(rule, current, patch, None)
            }
        },
        scalar => Ok(scalar.clone()),
    }
}

/// Names of the list fields that the patch's parallel directives are about.
fn list_fields_with_directives(patch: &Fields) -> BTreeSet<&str> {
    patch
        .keys()
        .filter_map(|name| {
            name.strip_prefix(DELETE_FROM_LIST)
                .or_else(|| name.strip_prefix(ELEMENT_ORDER))
        })
        .collect()
}

/// Merges one list under its parallel directives: scalars to delete, and the order. `None` if neither the object nor the patch
/// has the list: directives alone make none.
fn merge_directed_list(
    schema: Schema,
    current: Option<Value>,
    patch: &Fields,
    name: &str,
) -> Result<Option<Value>, PatchError> {
    let rule = field_rule(schema, name);
    let deleted = list_at(patch, &format!("{DELETE_FROM_LIST}{name}"))?;
    let order = list_at(patch, &format!("{ELEMENT_ORDER}{name}"))?;
    let items = list_at(patch, name)?.map_or(&[][..], Vec::as_slice);
    let mut current = match current {
        None if !patch.contains_key(name) => return Ok(None),
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    if let Some(deleted) = deleted {
        let deleted: BTreeSet<String> = deleted.iter().map(Value::to_string).collect();
        current.retain(|item| !deleted.contains(&item.to_string()));
    }
    let merged = match (&rule.list, patch.get(name)) {
        (_, Some(Value::Null)) => Value::Array(Vec::new()),
        (ListRule::Replace, Some(_)) => replacement(items),
        (ListRule::Replace, None) => Value::Array(current),
        (ListRule::Set | ListRule::ByKey(_), _) => merge_lists(&rule, current, items, order.map(Vec::as_slice))?,
    };
    Ok(Some(merged))
}

/// Merges a list item by item and puts the result in order: of `order` if it is given, else of the patch;
/// items that only the object has keep their place among their neighbours.
fn merge_lists(
    rule: &FieldRule,
    current: Vec<Value>,
    patch: &[Value],
    order: Option<&[Value]>,
) -> Result<Value, PatchError> {
    let key = |item: &Value| item_key(rule, item);
    let mut items = keyed(current, &key)?;
    let before = places_of(&items);

    let directives = patch.iter().map(item_directive).collect::<Result<Vec<_>, _>>()?;
    if directives
        .iter()
        .any(|directive| matches!(directive, Directive::Replace))
    {
        items.clear();
    }
    let mut kept: Vec<(String, &Value)> = Vec::new();
    let mut deleted = BTreeSet::new();
    for (item, directive) in patch.iter().zip(directives) {
        match directive {
            Directive::Delete => {
                deleted.insert(key(item)?);
            }
            Directive::Merge => kept.push((key(item)?, item)),
            // The marker alone; it carries no item.
            Directive::Replace => {}
        }
    }
    items.retain(|(key, _)| !deleted.contains(key));
    let mut places = places_of(&items);
    for (key, item) in &kept {
        match places.get(key) {
            Some(place) => {
                let present = std::mem::take(&mut items[*place].1);
                items[*place].1 = merge_items(rule, present, item)?;
            }
            None => {
                places.insert(key.clone(), items.len());
                items.push((key.clone(), merge_items(rule, Value::Null, item)?));
            }
        }
    }

    let patch_order = match order {
        Some(order) => order.iter().map(key).collect::<Result<Vec<_>, _>>()?,
        None => kept.iter().map(|(key, _)| key.clone()).collect(),
    };
    if order.is_some() {
        must_be_ordered(&kept, &patch_order)?;
    }
    Ok(Value::Array(in_order(items, &patch_order, &before)))
}

/// One item of a list that merges.
fn merge_items(rule: &FieldRule, current: Value, patch: &Value) -> Result<Value, PatchError> {
    match patch {
        Value::Object(patch) => {
            let current = match current {
                Value::Object(current) => current,
                _ => Fields::new(),
            };
            merge_objects(rule.message, current, patch).map(Value::Object)
        }
        scalar => Ok(scalar.clone()),
    }
}

/// Items named by `patch_order` stand in that order; the others keep the order they had, each before the
/// first named item that it stood before.
fn in_order(items: Vec<(String, Value)>, patch_order: &[String], before: &BTreeMap<String, usize>) -> Vec<Value> {
    let mut rank: BTreeMap<&str, usize> = BTreeMap::new();
    for (position, key) in patch_order.iter().enumerate() {
        rank.entry(key).or_insert(position);
    }
    let (mut named, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|(key, _)| rank.contains_key(key.as_str()));
    named.sort_by_key(|(key, _)| rank[key.as_str()]);
    let mut others = others.into_iter().peekable();
    let mut ordered = Vec::new();
    for (key, item) in named {
        let place = before.get(&key);
        while let Some((_, other)) = others.next_if(|(other, _)| match (before.get(other), place) {
            (Some(other), Some(place)) => other < place,
            _ => false,
        }) {
            ordered.push(other);
        }
        ordered.push(item);
    }
    ordered.extend(others.map(|(_, item)| item));
    ordered
}

/// Items with their keys. Of scalars that stand twice only the first stays; objects are left alone, since
/// some lists allow two of a key (ports of TCP and of UDP).
fn keyed(
    items: Vec<Value>,
    key: &impl Fn(&Value) -> Result<String, PatchError>,
) -> Result<Vec<(String, Value)>, PatchError> {
    let mut seen = BTreeSet::new();
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        let key = key(&item)?;
        if seen.insert(key.clone()) || item.is_object() {
            keyed.push((key, item));
        }
    }
    Ok(keyed)
}

/// Where each key stands first.
fn places_of(items: &[(String, Value)]) -> BTreeMap<String, usize> {
    let mut places = BTreeMap::new();
    for (place, (key, _)) in items.iter().enumerate() {
        places.entry(key.clone()).or_insert(place);
    }
    places
}

/// What tells an item from the others of its list.
fn item_key(rule: &FieldRule, item: &Value) -> Result<String, PatchError> {
    match (&rule.list, item) {
        (ListRule::ByKey(merge_key), Value::Object(fields)) => match fields.get(*merge_key) {
            Some(value) => Ok(value.to_string()),
            None => Err(malformed(format_args!(
                "an item of a list has no {merge_key:?}: {item}"
            ))),
        },
        (ListRule::ByKey(merge_key), _) => Err(malformed(format_args!(
            "an item of a list with the key {merge_key:?} is no object: {item}"
        ))),
        (ListRule::Set | ListRule::Replace, Value::Object(_) | Value::Array(_)) => {
            Err(malformed(format_args!("an item of a list of scalars is none: {item}")))
        }
        (ListRule::Set | ListRule::Replace, _) => Ok(item.to_string()),
    }
}

/// The items of a patch must stand in the order that the patch itself asks for.
fn must_be_ordered(items: &[(String, &Value)], order: &[String]) -> Result<(), PatchError> {
    let mut order = order.iter();
    for (key, _) in items {
        if !order.any(|ordered| ordered == key) {
            return Err(malformed(format_args!(
                "the list and its {ELEMENT_ORDER} do not agree about {key}"
            )));
        }
    }
    Ok(())
}

/// Drops the fields that are not among those to retain.
fn retain_keys(current: &mut Fields, patch: &Fields) -> Result<(), PatchError> {
    let Some(retained) = list_at(patch, RETAIN_KEYS)? else {
        return Ok(());
    };
    let retained: BTreeSet<&str> = retained.iter().filter_map(Value::as_str).collect();
    for (name, value) in patch {
        if !is_directive(name) && !value.is_null() && !retained.contains(name.as_str()) {
            return Err(malformed(format_args!(
                "{name:?} is set but not among its {RETAIN_KEYS}"
            )));
        }
    }
    current.retain(|name, _| retained.contains(name.as_str()));
    Ok(())
}

fn item_directive(item: &Value) -> Result<Directive, PatchError> {
    item.as_object().map_or(Ok(Directive::Merge), directive)
}

fn directive(patch: &Fields) -> Result<Directive, PatchError> {
    match patch.get(DIRECTIVE).map(Value::as_str) {
        None | Some(Some("merge")) => Ok(Directive::Merge),
        Some(Some("replace")) => Ok(Directive::Replace),
        Some(Some("delete")) => Ok(Directive::Delete),
        Some(_) => Err(malformed(format_args!(
            "unknown {DIRECTIVE} directive {}",
            patch[DIRECTIVE]
        ))),
    }
}

fn list_at<'a>(patch: &'a Fields, name: &str) -> Result<Option<&'a Vec<Value>>, PatchError> {
    match patch.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(_) => Err(malformed(format_args!("{name:?} must be a list"))),
    }
}

/// A list that takes the place of another. Items that say to delete or to replace are no items of it.
fn replacement(items: &[Value]) -> Value {
    let is_item = |item: &&Value| matches!(item_directive(item), Ok(Directive::Merge) | Err(_));
    Value::Array(items.iter().filter(is_item).map(plain).collect())
}

/// The fields of a patch as an object of their own: no directives, no nulls.
fn without_directives(patch: &Fields) -> Fields {
    patch
        .iter()
        .filter(|(name, value)| !is_directive(name) && !value.is_null())
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect()
}

/// A value of a patch without directives.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) if matches!(directive(fields), Ok(Directive::Delete)) => Value::Object(Fields::new()),
        Value::Object(fields) => Value::Object(without_directives(fields)),
        Value::Array(items) => replacement(items),
        scalar => scalar.clone(),
    }
}

fn is_directive(name: &str) -> bool {
    name == DIRECTIVE || name == RETAIN_KEYS || name.starts_with(DELETE_FROM_LIST) || name.starts_with(ELEMENT_ORDER)
}

fn malformed(why: std::fmt::Arguments<'_>) -> PatchError {
    PatchError::Malformed(why.to_string())
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
