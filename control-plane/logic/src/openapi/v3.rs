//! The documents of version 3: one for each version of a group, and small ones for the paths above them.

use serde_json::{Map, Value, json};

use super::{
    About, Dialect,
    definitions::Definitions,
    operation::{self, Content, Operation, path_parameter_description, path_parameters},
    parameters,
    v2::{add_extensions, reason},
};
use crate::discovery::{Group, Version};

/// The paths below `/openapi/v3/` at which there are documents, such as `apis/apps/v1`.
pub fn paths(groups: &[Group]) -> Vec<String> {
    let mut paths = vec!["api".to_owned(), "apis".to_owned(), "version".to_owned()];
    for group in groups {
        if !group.name.is_empty() {
            paths.push(format!("apis/{}", group.name));
        }
        let versions = group.versions.iter().map(Version::path);
        paths.extend(versions.map(|path| path.trim_start_matches('/').to_owned()));
    }
    paths.sort();
    paths
}

/// The document at one of the [`paths`]; `None` if it is none of them.
pub fn document(groups: &[Group], path: &str, about: About<'_>) -> Option<Value> {
    let operations = operations_of(groups, path)?;
    let mut definitions = Definitions::new(Dialect::V3, group_versions(groups));
    let mut paths = Map::new();
    for operation in &operations {
        let path = paths
            .entry(operation.path.clone())
            .or_insert_with(|| json!({"parameters": of_path(&operation.path)}));
        path[operation.method] = write(operation, &mut definitions);
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": about.title, "version": about.version},
        "paths": paths,
        "components": {"schemas": definitions.finish()},
    }))
}

/// Every group and version.
pub(super) fn group_versions(groups: &[Group]) -> Vec<(String, String)> {
    let versions = groups.iter().flat_map(|group| &group.versions);
    versions
        .map(|version| (version.group.to_owned(), version.name.to_owned()))
        .collect()
}

fn operations_of(groups: &[Group], path: &str) -> Option<Vec<Operation>> {
    match path {
        "api" => return Some(operation::of_core()),
        "apis" => return Some(operation::of_groups()),
        "version" => return Some(operation::of_server()),
        _ => {}
    }
    groups.iter().find_map(|group| {
        if !group.name.is_empty() && path.strip_prefix("apis/") == Some(group.name) {
            return Some(operation::of_group(group));
        }
        let version = group
            .versions
            .iter()
            .find(|version| version.path().trim_start_matches('/') == path)?;
        Some(operation::of_version(version))
    })
}

fn write(operation: &Operation, definitions: &mut Definitions) -> Value {
    let mut responses: Map<String, Value> = operation
        .answers
        .iter()
        .map(|(status, content)| {
            let answer = response(reason(*status), content, operation.produces, definitions);
            (status.to_string(), answer)
        })
        .collect();
    responses.insert("401".to_owned(), json!({"description": reason(401)}));
    let failure = response(
        "The request failed.",
        &Content::Meta("Status"),
        operation::OBJECT_TYPES,
        definitions,
    );
    responses.insert("default".to_owned(), failure);
    let mut value = json!({
        "description": operation.description,
        "operationId": operation.id,
        "responses": responses,
        "tags": [operation.tag],
    });
    let query: Vec<_> = operation.query.iter().map(|name| query(name)).collect();
    if !query.is_empty() {
        value["parameters"] = Value::Array(query);
    }
    if let Some(body) = &operation.body {
        let content = in_types(&body.content, body.consumes, definitions);
        value["requestBody"] = json!({"content": content, "required": body.required});
    }
    add_extensions(operation, &mut value);
    value
}

fn response(description: &str, content: &Content, types: &[&str], definitions: &mut Definitions) -> Value {
    json!({"description": description, "content": in_types(content, types, definitions)})
}

/// The schema of the content, for each media type.
fn in_types(content: &Content, types: &[&str], definitions: &mut Definitions) -> Map<String, Value> {
    let schema = definitions.content(content);
    types
        .iter()
        .map(|media_type| ((*media_type).to_owned(), json!({"schema": schema})))
        .collect()
}

fn of_path(path: &str) -> Vec<Value> {
    let in_path = path_parameters(path).into_iter().map(|name| {
        json!({
            "description": path_parameter_description(name), "in": "path", "name": name, "required": true,
            "schema": {"type": "string", "uniqueItems": true},
        })
    });
    in_path
        .chain(parameters::OF_PATHS.iter().map(|name| query(name)))
        .collect()
}

/// Parameters are written out wherever they are used, since clients look for them without following references.
fn query(name: &str) -> Value {
    let parameter = parameters::by_name(name);
    json!({
        "description": parameter.description, "in": "query", "name": parameter.name,
        "schema": {"type": parameter.kind, "uniqueItems": true},
    })
}
