//! The definitions that a document needs: what its operations refer to, and what these refer to in turn.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trireme_proto::schema::{self, JsonForm, MessageSchema};

use super::{Dialect, field, names, operation::Content, static_definitions};
use crate::discovery::GroupVersionKind;

const API_VERSION: &str = "Group and version of the kind, such as `apps/v1`, or the version alone in the core group.";
const KIND: &str = "The kind, such as `Pod`.";

/// Collects definitions while a document is written.
pub(super) struct Definitions {
    dialect: Dialect,
    /// Every version of every group: the kind of options exists in each of them.
    group_versions: Vec<(String, String)>,
    /// By name. One that is still to be written is `null`.
    written: BTreeMap<String, Value>,
    pending: Vec<&'static MessageSchema>,
}

impl Definitions {
    /// None yet.
    pub(super) fn new(dialect: Dialect, group_versions: Vec<(String, String)>) -> Self {
        Self {
            dialect,
            group_versions,
            written: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The schema of what a request or an answer carries.
    pub(super) fn content(&mut self, content: &Content) -> Value {
        match content {
            Content::Text => json!({"type": "string"}),
            Content::Kind(kind) => self.kind(kind),
            Content::List(kind) => self.list(kind),
            Content::Meta(name) => self.kind(&GroupVersionKind {
                group: String::new(),
                version: "v1".to_owned(),
                kind: (*name).to_owned(),
            }),
            Content::Static(name) => self.static_reference(name),
        }
    }

    /// A reference to the definition of a message, which is written later.
    pub(super) fn reference(&mut self, message: &'static MessageSchema) -> Value {
        let name = names::definition(message);
        if !self.written.contains_key(&name) {
            self.written.insert(name.clone(), Value::Null);
            self.pending.push(message);
        }
        self.to(&name)
    }

    /// All definitions that were referred to.
    pub(super) fn finish(mut self) -> BTreeMap<String, Value> {
        while let Some(message) = self.pending.pop() {
            let definition = self.definition(message);
            self.written.insert(names::definition(message), definition);
        }
        self.written
    }

    fn to(&self, name: &str) -> Value {
        json!({"$ref": format!("{}{name}", self.dialect.prefix())})
    }

    fn kind(&mut self, kind: &GroupVersionKind) -> Value {
        match schema::kind(&kind.group, &kind.version, &kind.kind) {
            Some(message) => self.reference(message),
            // Kinds of connections have parameters, but no objects.
            None => json!({"type": "object"}),
        }
    }

    fn list(&mut self, kind: &GroupVersionKind) -> Value {
        let (Some(item), Some(meta)) = (
            schema::kind(&kind.group, &kind.version, &kind.kind),
            schema::message("kubernetes.meta.v1.ListMeta"),
        ) else {
            return json!({"type": "object"});
        };
        let name = format!("{}List", names::definition(item));
        if !self.written.contains_key(&name) {
            let item = self.reference(item);
            let meta = self.reference(meta);
            let meta = match self.dialect {
                Dialect::V2 => meta,
                Dialect::V3 => json!({"allOf": [meta]}),
            };
            let list_kind = json!([{
                "group": kind.group, "kind": format!("{}List", kind.kind), "version": kind.version,
            }]);
            let definition = json!({
                "type": "object",
                "description": format!("A list of objects of kind {}.", kind.kind),
                "properties": {
                    "apiVersion": {"type": "string", "description": API_VERSION},
                    "items": {"type": "array", "description": "The objects.", "items": item},
                    "kind": {"type": "string", "description": KIND},
                    "metadata": with_description(meta, "The revision that the list shows, and how it goes on."),
                },
                "required": ["items"],
                "x-kubernetes-group-version-kind": list_kind,
            });
            self.written.insert(name.clone(), definition);
        }
        self.to(&name)
    }

    fn static_reference(&mut self, name: &str) -> Value {
        let prefix = self.dialect.prefix();
        for (name, definition) in static_definitions::with_all_it_needs(name, prefix) {
            self.written.entry(name).or_insert(definition);
        }
        self.to(&static_definitions::full_name(name))
    }

    fn definition(&mut self, message: &'static MessageSchema) -> Value {
        let mut definition = match (message.form, self.dialect) {
            (JsonForm::Object, _) => self.object(message),
            (JsonForm::DateTime, _) => json!({"type": "string", "format": "date-time"}),
            (JsonForm::Quantity, Dialect::V2) => json!({"type": "string"}),
            (JsonForm::Quantity, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            (JsonForm::IntOrString, Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
            (JsonForm::IntOrString, Dialect::V3) => {
                json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
            }
            (JsonForm::Any, _) => json!({"type": "object"}),
            (JsonForm::Strings, _) => json!({"type": "array", "items": {"type": "string"}}),
        };
        if !message.doc.is_empty() {
            definition["description"] = json!(message.doc);
        }
        definition
    }

    fn object(&mut self, message: &'static MessageSchema) -> Value {
        let mut properties = serde_json::Map::new();
        let mut required = Vec::new();
        if message.kind.is_some() {
            properties.insert(
                "apiVersion".to_owned(),
                json!({"type": "string", "description": API_VERSION}),
            );
            properties.insert("kind".to_owned(), json!({"type": "string", "description": KIND}));
        }
        for field in message.json_fields() {
            properties.insert(field.json_name.to_owned(), field::property(field, self));
            if field.required {
                required.push(field.json_name);
            }
        }
        let mut definition = json!({"type": "object"});
        if !properties.is_empty() {
            definition["properties"] = Value::Object(properties);
        }
        if !required.is_empty() {
            definition["required"] = json!(required);
        }
        if message.atomic {
            definition["x-kubernetes-map-type"] = json!("atomic");
        }
        let kinds = self.kinds_of(message);
        if !kinds.is_empty() {
            definition["x-kubernetes-group-version-kind"] = Value::Array(kinds);
        }
        definition
    }

    /// The kinds whose objects are messages of this type.
    fn kinds_of(&self, message: &MessageSchema) -> Vec<Value> {
        let Some(kind) = message.kind else {
            return Vec::new();
        };
        if kind.kind == "DeleteOptions" {
            let of =
                |(group, version): &(String, String)| json!({"group": group, "kind": kind.kind, "version": version});
            return self.group_versions.iter().map(of).collect();
        }
        vec![json!({"group": kind.group, "kind": kind.kind, "version": kind.version})]
    }
}

fn with_description(mut schema: Value, description: &str) -> Value {
    schema["description"] = json!(description);
    schema
}
