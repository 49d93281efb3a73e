//! The document of version 2, which describes everything at once.

use serde_json::{Map, Value, json};

use super::{
    About, Dialect,
    definitions::Definitions,
    operation::{self, Content, Operation, path_parameter_description, path_parameters},
    parameters::{self, Parameter},
    v3::group_versions,
};
use crate::discovery::Group;

/// The document.
pub fn document(groups: &[Group], about: About<'_>) -> Value {
    let mut definitions = Definitions::new(Dialect::V2, group_versions(groups));
    let mut operations = operation::of_core();
    operations.extend(operation::of_groups());
    operations.extend(operation::of_server());
    for group in groups {
        operations.extend(operation::of_group(group));
        operations.extend(group.versions.iter().flat_map(operation::of_version));
    }
    let mut paths = Map::new();
    for operation in &operations {
        let path = paths
            .entry(operation.path.clone())
            .or_insert_with(|| json!({"parameters": of_path(&operation.path)}));
        path[operation.method] = write(operation, &mut definitions);
    }
    let parameters: Map<String, Value> = parameters::ALL
        .iter()
        .map(|parameter| (parameter.name.to_owned(), query(parameter)))
        .collect();
    json!({
        "swagger": "2.0",
        "info": {"title": about.title, "version": about.version},
        "paths": paths,
        "definitions": definitions.finish(),
        "parameters": parameters,
    })
}

fn write(operation: &Operation, definitions: &mut Definitions) -> Value {
    let mut parameters: Vec<Value> = operation.query.iter().map(|name| reference(name)).collect();
    if let Some(body) = &operation.body {
        let schema = definitions.content(&body.content);
        let body = json!({"in": "body", "name": "body", "required": body.required, "schema": schema});
        parameters.insert(0, body);
    }
    let mut responses: Map<String, Value> = operation
        .answers
        .iter()
        .map(|(status, content)| (status.to_string(), response(reason(*status), content, definitions)))
        .collect();
    responses.insert("401".to_owned(), json!({"description": reason(401)}));
    let failure = response("The request failed.", &Content::Meta("Status"), definitions);
    responses.insert("default".to_owned(), failure);
    let mut value = json!({
        "consumes": operation.body.as_ref().map_or(operation::ANY_TYPE, |body| body.consumes),
        "description": operation.description,
        "operationId": operation.id,
        "produces": operation.produces,
        "responses": responses,
        "schemes": ["https"],
        "tags": [operation.tag],
    });
    if !parameters.is_empty() {
        value["parameters"] = Value::Array(parameters);
    }
    add_extensions(operation, &mut value);
    value
}

/// What Kubernetes' clients want to know of an operation.
pub(super) fn add_extensions(operation: &Operation, value: &mut Value) {
    if !operation.action.is_empty() {
        value["x-kubernetes-action"] = json!(operation.action);
    }
    if let Some(kind) = &operation.kind {
        value["x-kubernetes-group-version-kind"] = json!(kind);
    }
}

/// What a status is called.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        401 => "Unauthorized",
        _ => "Done",
    }
}

fn response(description: &str, content: &Content, definitions: &mut Definitions) -> Value {
    json!({"description": description, "schema": definitions.content(content)})
}

fn of_path(path: &str) -> Vec<Value> {
    let in_path = path_parameters(path).into_iter().map(|name| {
        json!({
            "description": path_parameter_description(name), "in": "path", "name": name, "required": true,
            "type": "string", "uniqueItems": true,
        })
    });
    in_path
        .chain(parameters::OF_PATHS.iter().map(|name| reference(name)))
        .collect()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/parameters/{}", parameters::by_name(name).name)})
}

fn query(parameter: &Parameter) -> Value {
    json!({
        "description": parameter.description, "in": "query", "name": parameter.name, "type": parameter.kind,
        "uniqueItems": true,
    })
}
