//! Server-side apply from the outside: an object that requests come to, one after another.
#![allow(clippy::needless_pass_by_value, reason = "tables of `json!` values read better")]

mod cases;
mod lists;
mod owners;
mod properties;
mod sets;

use serde_json::{Map, Value, json};
use trireme_proto::api::meta::v1::{ManagedFieldsEntry, Time};

use super::*;
use crate::{kinds, object::KindOps, testing::at};

/// An object on a server, as requests find it and leave it.
#[derive(Clone)]
struct Server {
    ops: &'static dyn KindOps,
    api_version: String,
    live: Option<Value>,
    managers: Vec<ManagedFieldsEntry>,
    now: Time,
}

impl Server {
    fn new(group: &str, kind: &str) -> Self {
        let ops = kinds::by_kind(group, kind).expect("a kind");
        Self {
            ops,
            api_version: kinds::api_version(ops.info()),
            live: None,
            managers: Vec::new(),
            now: at(0),
        }
    }

    fn change(&self, part: Part) -> Change<'_> {
        Change {
            schema: self.ops.schema(),
            api_version: &self.api_version,
            part,
            now: self.now,
        }
    }

    fn object() -> Part {
        Part::Object { status_apart: true }
    }

    /// A configuration, with what says of which kind it is.
    fn config(&self, config: Value) -> Map<String, Value> {
        let mut config = config.as_object().expect("an object").clone();
        config.insert("apiVersion".to_owned(), self.api_version.clone().into());
        config.insert("kind".to_owned(), self.ops.info().kind.into());
        let meta = config.entry("metadata").or_insert_with(|| json!({}));
        meta["name"] = "it".into();
        config
    }

    /// As it would be stored: decoded and encoded, with the defaults of its kind.
    fn stored(&self, object: &Value) -> Value {
        let mut object = self
            .ops
            .from_json_value(object.clone())
            .unwrap_or_else(|error| panic!("{object}: {error}"));
        object.set_defaults();
        object.metadata_mut().managed_fields.clear();
        serde_json::from_slice(&object.to_json().expect("has JSON")).expect("is JSON")
    }

    fn apply_part(&mut self, part: Part, manager: &str, force: bool, config: Value) -> Result<(), ApplyError> {
        let config = self.config(config);
        let wanted = Config {
            json: &config,
            manager,
            force,
        };
        let applied = apply(&self.change(part), wanted, self.live.as_ref(), &self.managers)?;
        let object = self.stored(&applied.object);
        // What has no form of its own, such as an empty list, is no change once the object is stored.
        let is_same = self.live.as_ref() == Some(&object) && same_but_times(&applied.managers, &self.managers);
        if !is_same {
            self.managers = applied.managers;
        }
        self.live = Some(object);
        Ok(())
    }

    fn apply(&mut self, manager: &str, config: Value) -> &mut Self {
        self.apply_part(Self::object(), manager, false, config)
            .unwrap_or_else(|error| panic!("{manager}: {error}"));
        self
    }

    fn force(&mut self, manager: &str, config: Value) -> &mut Self {
        self.apply_part(Self::object(), manager, true, config)
            .unwrap_or_else(|error| panic!("{manager}: {error}"));
        self
    }

    fn refusal(&mut self, manager: &str, config: Value) -> ApplyError {
        let before = self.clone();
        let error = self
            .apply_part(Self::object(), manager, false, config)
            .expect_err("it is refused");
        assert!(self.live == before.live && self.managers == before.managers);
        error
    }

    /// A create by somebody.
    fn create(&mut self, manager: &str, object: Value) -> &mut Self {
        let object = self.stored(&Value::Object(self.config(object)));
        let fields = new_fields(self.ops.schema(), &object).expect("has JSON");
        self.managers = owners_of_new(&self.change(Self::object()), manager, fields);
        self.live = Some(object);
        self
    }

    /// A merge patch by somebody; by a loop of the control plane if it is nobody.
    fn patch_part(&mut self, part: Part, manager: Option<&str>, patch: Value) -> &mut Self {
        let live = self.live.clone().expect("there is one");
        let mut new = live.clone();
        json_patch::merge(&mut new, &patch);
        let new = self.stored(&new);
        let change = self.change(part);
        let managers = owners_of_changed(&change, manager, &self.managers, &live, &new);
        let comparison = change.compare(&live, &new);
        if let Some(edited) = change.edited(manager, &self.managers, &comparison) {
            // What is changed where it stands comes to the same as if all had been read.
            let read = change.read_and_changed(manager, &self.managers, comparison, &live, &new);
            assert_eq!(edited, read, "{patch}");
        }
        self.managers = managers;
        self.live = Some(new);
        self
    }

    fn patch(&mut self, manager: &str, patch: Value) -> &mut Self {
        self.patch_part(Self::object(), Some(manager), patch)
    }

    fn at(&mut self, seconds: i64) -> &mut Self {
        self.now = at(seconds);
        self
    }

    /// The entries, one a line: who, how, through what, and the fields.
    fn owners(&self) -> Vec<String> {
        let line = |entry: &ManagedFieldsEntry| {
            let fields = entry.fields_v1.as_ref().expect("a set");
            let fields = String::from_utf8_lossy(&fields.raw).into_owned();
            let part = if entry.subresource.is_empty() {
                String::new()
            } else {
                format!("/{}", entry.subresource)
            };
            format!("{}{part} {} {fields}", entry.manager, entry.operation)
        };
        self.managers.iter().map(line).collect()
    }

    #[track_caller]
    fn check_owners(&self, expected: &[&str]) {
        assert_eq!(self.owners(), expected);
    }

    /// What of the object stands at a JSON pointer.
    fn value(&self, pointer: &str) -> Value {
        let live = self.live.as_ref().expect("there is one");
        live.pointer(pointer).cloned().unwrap_or_default()
    }
}
