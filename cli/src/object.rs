//! An object of any kind as JSON, with the few fields that every object has. It knows no kind.

use std::collections::BTreeMap;

use serde_json::Value;

/// An object: a JSON map with `apiVersion` and `kind`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object(Value);

/// Why a value is no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ObjectError {
    /// It is a list, a text, a number.
    #[error("this is not an object: a map with apiVersion, kind and metadata is expected")]
    NotAMap,
    /// A field is missing or empty.
    #[error("{0}: must be set")]
    Missing(&'static str),
    /// A field has another type.
    #[error("{0}: must be {1}")]
    Type(&'static str, &'static str),
}

impl Object {
    /// Checks the frame of an object, nothing more.
    pub(crate) fn new(value: Value) -> Result<Self, ObjectError> {
        let Value::Object(map) = &value else {
            return Err(ObjectError::NotAMap);
        };
        for field in ["apiVersion", "kind"] {
            match map.get(field) {
                None | Some(Value::Null) => return Err(ObjectError::Missing(field)),
                Some(Value::String(text)) if text.is_empty() => return Err(ObjectError::Missing(field)),
                Some(Value::String(_)) => {}
                Some(_) => return Err(ObjectError::Type(field, "a text")),
            }
        }
        match map.get("metadata") {
            None | Some(Value::Null | Value::Object(_)) => {}
            Some(_) => return Err(ObjectError::Type("metadata", "a map")),
        }
        for (pointer, field) in [
            ("/metadata/name", "metadata.name"),
            ("/metadata/namespace", "metadata.namespace"),
        ] {
            match value.pointer(pointer) {
                None | Some(Value::Null | Value::String(_)) => {}
                Some(_) => return Err(ObjectError::Type(field, "a text (quote it if it looks like a number)")),
            }
        }
        Ok(Self(value))
    }

    /// The JSON.
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// The JSON, to keep.
    pub(crate) fn into_value(self) -> Value {
        self.0
    }

    /// `apiVersion`.
    pub(crate) fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// `kind`.
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// `metadata.name`; empty if it is not set.
    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `metadata.namespace`; empty if it is not set.
    pub(crate) fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// `metadata.uid`.
    pub(crate) fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// `metadata.resourceVersion`.
    pub(crate) fn resource_version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }

    /// The text at a JSON pointer; empty if there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole number at a JSON pointer.
    pub(crate) fn number(&self, pointer: &str) -> Option<i64> {
        self.0.pointer(pointer).and_then(Value::as_i64)
    }

    /// The list at a JSON pointer; empty if there is none.
    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        self.0
            .pointer(pointer)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The texts of the map at a JSON pointer, such as labels.
    pub(crate) fn texts(&self, pointer: &str) -> BTreeMap<&str, &str> {
        let map = self.0.pointer(pointer).and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
            .collect()
    }

    /// An annotation.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.0.pointer("/metadata/annotations")?.get(key)?.as_str()
    }

    /// Sets `metadata.namespace`.
    pub(crate) fn set_namespace(&mut self, namespace: &str) {
        self.set_metadata("namespace", namespace);
    }

    /// Sets an annotation.
    pub(crate) fn set_annotation(&mut self, key: &str, value: &str) {
        let metadata = self.metadata_mut();
        let annotations = metadata
            .entry("annotations")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if !annotations.is_object() {
            *annotations = Value::Object(serde_json::Map::new());
        }
        if let Value::Object(annotations) = annotations {
            annotations.insert(key.to_owned(), Value::from(value));
        }
    }

    /// Removes an annotation, and the map of annotations if it was the last.
    pub(crate) fn remove_annotation(&mut self, key: &str) {
        let metadata = self.metadata_mut();
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(key);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }

    /// Removes a field of the metadata.
    pub(crate) fn remove_metadata(&mut self, field: &str) {
        self.metadata_mut().remove(field);
    }

    fn set_metadata(&mut self, field: &str, value: &str) {
        self.metadata_mut().insert(field.to_owned(), Value::from(value));
    }

    fn metadata_mut(&mut self) -> &mut serde_json::Map<String, Value> {
        let Value::Object(map) = &mut self.0 else {
            unreachable!("an Object is only made of a map");
        };
        let metadata = map
            .entry("metadata")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if metadata.is_null() {
            *metadata = Value::Object(serde_json::Map::new());
        }
        let Value::Object(metadata) = metadata else {
            unreachable!("an Object's metadata is only ever a map");
        };
        metadata
    }

    /// A condition of the status by its type: its status, reason and message.
    pub(crate) fn condition(&self, kind: &str) -> Option<(&str, &str, &str)> {
        let condition = self.list("/status/conditions").iter().find(|c| {
            c.get("type")
                .and_then(Value::as_str)
                .is_some_and(|t| t.eq_ignore_ascii_case(kind))
        })?;
        let field = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
        Some((field("status"), field("reason"), field("message")))
    }
}
