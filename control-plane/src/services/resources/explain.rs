//! What the fields of a kind mean: the comments of the `.proto` files, along a path.

use trireme_logic::kinds;
use trireme_proto::{
    schema::{FieldSchema, JsonForm, MessageSchema, Scalar, Shape, ValueType},
    v1::{ExplainField, ExplainRequest, ExplainResponse, ResourceRef},
};

use crate::status::ApiError;

/// The path element that asks for the fields below the fields.
const RECURSIVE: &str = "*";

/// How deep a recursive answer goes; some messages contain themselves.
const DEPTH_MAX: usize = 8;

/// What a request asks about.
pub(super) fn explain(request: &ExplainRequest) -> Result<ExplainResponse, ApiError> {
    let default = ResourceRef::default();
    let resource = request.resource.as_ref().unwrap_or(&default);
    let ops = kinds::by_resource(&resource.group, &resource.version, &resource.resource).ok_or_else(|| {
        ApiError::not_found_other(format!(
            "the server could not find the requested resource: {:?} in API group {:?}",
            resource.resource, resource.group
        ))
    })?;
    let info = ops.info();
    let root = ops
        .schema()
        .ok_or_else(|| ApiError::not_found_other(format!("{} has no schema", info.kind)))?;
    let (path, depth) = match request.path.as_slice() {
        [path @ .., last] if last == RECURSIVE => (path, DEPTH_MAX),
        path => (path, 1),
    };
    let mut response = ExplainResponse {
        kind: info.kind.to_owned(),
        api_version: kinds::api_version(info),
        description: root.doc.to_owned(),
        r#type: info.kind.to_owned(),
        fields: Vec::new(),
    };
    let mut message = Some(root);
    for (index, name) in path.iter().enumerate() {
        let field = message.and_then(|message| find(message, name)).ok_or_else(|| {
            let walked = path[..=index].join(".");
            ApiError::not_found_other(format!("field \"{walked}\" does not exist in {}", info.kind))
        })?;
        field.doc.clone_into(&mut response.description);
        response.r#type = type_name(field);
        message = message_of(field);
    }
    response.fields = message.map(|message| fields(message, depth)).unwrap_or_default();
    Ok(response)
}

/// The fields of a message as JSON has them: inlined messages are dissolved.
fn json_fields(message: &'static MessageSchema) -> Vec<&'static FieldSchema> {
    let mut all = Vec::new();
    for field in message.fields {
        match (field.inline, field.value) {
            (true, ValueType::Message(inner)) => all.extend(json_fields(inner)),
            _ => all.push(field),
        }
    }
    all
}

fn find(message: &'static MessageSchema, name: &str) -> Option<&'static FieldSchema> {
    json_fields(message).into_iter().find(|field| field.json_name == name)
}

/// The message below a field, if it is an object in JSON.
fn message_of(field: &FieldSchema) -> Option<&'static MessageSchema> {
    match field.value {
        ValueType::Message(message) if message.form == JsonForm::Object => Some(message),
        ValueType::Message(_) | ValueType::Scalar(_) => None,
    }
}

fn fields(message: &'static MessageSchema, depth: usize) -> Vec<ExplainField> {
    if depth == 0 {
        return Vec::new();
    }
    let mut list = json_fields(message);
    list.sort_by_key(|field| field.json_name);
    let explain = |field: &'static FieldSchema| ExplainField {
        name: field.json_name.to_owned(),
        r#type: type_name(field),
        description: field.doc.to_owned(),
        required: field.required,
        fields: message_of(field)
            .map(|message| fields(message, depth - 1))
            .unwrap_or_default(),
    };
    list.into_iter().map(explain).collect()
}

fn type_name(field: &FieldSchema) -> String {
    let value = match field.value {
        ValueType::Message(message) => message.name,
        ValueType::Scalar(Scalar::Bool) => "boolean",
        ValueType::Scalar(Scalar::Double) => "number",
        ValueType::Scalar(Scalar::Int32 | Scalar::Int64) => "integer",
        ValueType::Scalar(Scalar::String | Scalar::Bytes) => "string",
    };
    match field.shape {
        Shape::Single => value.to_owned(),
        Shape::List => format!("[]{value}"),
        Shape::Map => format!("map[string]{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &[&str]) -> Result<ExplainResponse, ApiError> {
        let resource = ResourceRef {
            resource: "pods".to_owned(),
            ..ResourceRef::default()
        };
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        explain(&ExplainRequest {
            resource: Some(resource),
            path,
        })
    }

    #[test]
    fn a_path_leads_to_a_field() {
        let root = ask(&[]).expect("explained");
        assert_eq!((root.kind.as_str(), root.api_version.as_str()), ("Pod", "v1"));
        let names: Vec<&str> = root.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["metadata", "spec", "status"]);
        let containers = ask(&["spec", "containers"]).expect("explained");
        assert_eq!(containers.r#type, "[]Container");
        assert!(
            containers
                .fields
                .iter()
                .any(|field| field.name == "image" && field.r#type == "string")
        );
        assert!(containers.fields.iter().all(|field| field.fields.is_empty()));
    }

    #[test]
    fn a_star_asks_for_everything_below() {
        let spec = ask(&["spec", "*"]).expect("explained");
        let containers = spec
            .fields
            .iter()
            .find(|field| field.name == "containers")
            .expect("there");
        assert!(!containers.fields.is_empty());
    }

    #[test]
    fn a_wrong_path_says_where_it_ends() {
        let error = ask(&["spec", "sails", "x"]).expect_err("refused");
        assert_eq!(error.message(), "field \"spec.sails\" does not exist in Pod");
        let error = ask(&["spec", "nodeName", "x"]).expect_err("refused");
        assert_eq!(error.message(), "field \"spec.nodeName.x\" does not exist in Pod");
    }
}
