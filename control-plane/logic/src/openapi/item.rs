//! Operations on one object, and on its subresources.

use super::{
    collection::{self, scoped_kind},
    names,
    operation::{ANY_TYPE, Body, Content, OBJECT_TYPES, Operation, PATCH_TYPES},
    parameters::{self, Names},
};
use crate::{
    discovery::{GroupVersionKind, Subresource, Version, subresources, verbs},
    kind::KindInfo,
};

/// The kind itself.
pub(super) fn own_kind(info: &KindInfo) -> GroupVersionKind {
    GroupVersionKind {
        group: info.group.to_owned(),
        version: info.version.to_owned(),
        kind: info.kind.to_owned(),
    }
}

/// The operations.
pub(super) fn operations(version: &Version, info: &KindInfo) -> Vec<Operation> {
    let path = format!("{}/{{name}}", collection::path(version, info));
    let whole = Target {
        version,
        path: path.clone(),
        kind: own_kind(info),
        of: scoped_kind(info),
        what: format!("object of kind {}", info.kind),
    };
    let mut operations = whole.operations(verbs(info));
    for part in subresources(info) {
        let part_path = format!("{path}/{}", part.name);
        let target = Target {
            version,
            path: part_path.clone(),
            kind: part.kind.clone(),
            of: format!("{}{}", scoped_kind(info), names::capitalized(part.name)),
            what: format!("{} of an object of kind {}", part.name, info.kind),
        };
        if part.connects {
            operations.extend(target.connections(&part, ""));
        } else if part.name == "log" {
            operations.push(target.log());
        } else {
            operations.extend(target.operations(part.verbs));
            operations.extend(part.verbs.contains(&"create").then(|| target.create()));
        }
        if part.name == "proxy" {
            let below = Target {
                path: format!("{part_path}/{{path}}"),
                ..target
            };
            operations.extend(below.connections(&part, "WithPath"));
        }
    }
    operations
}

/// An object or a subresource.
struct Target<'a> {
    version: &'a Version,
    path: String,
    kind: GroupVersionKind,
    /// Its part in the names of operations.
    of: String,
    /// Its part in sentences.
    what: String,
}

impl Target<'_> {
    fn operations(&self, verbs: &[&str]) -> Vec<Operation> {
        let all = [
            ("get", self.read()),
            ("update", self.replace()),
            ("patch", self.patch()),
            ("delete", self.delete()),
        ];
        all.into_iter()
            .filter(|(verb, _)| verbs.contains(verb))
            .map(|(_, operation)| operation)
            .collect()
    }

    fn read(&self) -> Operation {
        self.operation("get", "read", "get", format!("Reads the {}.", self.what), &[])
    }

    fn replace(&self) -> Operation {
        let sentence = format!("Replaces the {}.", self.what);
        let mut operation = self.operation("put", "replace", "put", sentence, parameters::WRITE);
        operation.body = Some(self.object());
        operation.answers = self.objects(&[200, 201]);
        operation
    }

    fn patch(&self) -> Operation {
        let sentence = format!("Changes part of the {}.", self.what);
        let mut operation = self.operation("patch", "patch", "patch", sentence, parameters::PATCH);
        operation.body = Some(Body {
            content: Content::Static("Patch"),
            consumes: PATCH_TYPES,
            required: true,
        });
        operation.answers = self.objects(&[200, 201]);
        operation
    }

    fn delete(&self) -> Operation {
        let sentence = format!("Deletes the {}.", self.what);
        let mut operation = self.operation("delete", "delete", "delete", sentence, parameters::DELETE);
        operation.body = Some(Body {
            content: Content::Meta("DeleteOptions"),
            consumes: OBJECT_TYPES,
            required: false,
        });
        operation.answers = [200, 202].map(|status| (status, Content::Meta("Status"))).to_vec();
        operation
    }

    fn create(&self) -> Operation {
        let sentence = format!("Creates the {}.", self.what);
        let mut operation = self.operation("post", "create", "post", sentence, parameters::WRITE);
        operation.body = Some(self.object());
        operation.answers = self.objects(&[200, 201, 202]);
        operation
    }

    fn log(&self) -> Operation {
        let query = parameters::of_subresource("log");
        let mut operation = self.operation("get", "read", "get", format!("Reads the {}.", self.what), query);
        operation.answers = vec![(200, Content::Text)];
        operation.produces = &["text/plain", "application/json", "application/yaml"];
        operation
    }

    /// One operation for each method by which a connection may be opened.
    fn connections(&self, part: &Subresource, suffix: &str) -> Vec<Operation> {
        let methods = [
            ("delete", "delete", "Delete"),
            ("get", "get", "Get"),
            ("patch", "patch", "Patch"),
            ("create", "post", "Post"),
            ("update", "put", "Put"),
        ];
        let served = methods.into_iter().filter(|(verb, ..)| part.verbs.contains(verb));
        served
            .map(|(_, method, name)| {
                let sentence = format!("Connects to the {}.", self.what);
                let query = parameters::of_subresource(part.name);
                let mut operation = self.operation(method, "connect", "connect", sentence, query);
                operation.id = format!("connect{}{name}{}{suffix}", self.group_version(), self.of);
                operation.answers = vec![(200, Content::Text)];
                operation.produces = ANY_TYPE;
                operation
            })
            .collect()
    }

    fn operation(
        &self,
        method: &'static str,
        verb: &str,
        action: &'static str,
        description: String,
        query: Names,
    ) -> Operation {
        Operation {
            path: self.path.clone(),
            method,
            id: format!("{verb}{}{}", self.group_version(), self.of),
            description,
            tag: names::tag(self.version.group, self.version.name),
            action,
            kind: Some(self.kind.clone()),
            query,
            body: None,
            answers: self.objects(&[200]),
            produces: OBJECT_TYPES,
        }
    }

    fn group_version(&self) -> String {
        names::group_version(self.version.group, self.version.name)
    }

    fn object(&self) -> Body {
        Body {
            content: Content::Kind(self.kind.clone()),
            consumes: OBJECT_TYPES,
            required: true,
        }
    }

    fn objects(&self, statuses: &[u16]) -> Vec<(u16, Content)> {
        let answer = |status: &u16| (*status, Content::Kind(self.kind.clone()));
        statuses.iter().map(answer).collect()
    }
}
