//! From the JSON form of the document to its messages.

use serde_json::{Map, Value};

use super::messages::{
    AdditionalProperties, Any, BodyParameter, Document, Info, ItemsItem, JsonReference, NamedAny, NamedParameter,
    NamedPathItem, NamedResponseValue, NamedSchema, NonBodyParameter, Operation, Parameter, ParameterDefinitions,
    ParametersItem, PathItem, PathParameter, Paths, Properties, QueryParameter, Response, ResponseValue, Responses,
    Schema, SchemaItem, TypeItem, additional_properties, non_body_parameter, parameter, parameters_item,
    response_value, schema_item,
};

/// The document as a message.
pub fn document(json: &Value) -> Document {
    Document {
        swagger: text(json, "swagger"),
        info: Some(Info {
            title: text(&json["info"], "title"),
            version: text(&json["info"], "version"),
        }),
        paths: Some(Paths {
            path: named(&json["paths"], |name, value| NamedPathItem {
                name,
                value: Some(path_item(value)),
            }),
        }),
        definitions: Some(properties(&json["definitions"])),
        parameters: Some(ParameterDefinitions {
            additional_properties: named(&json["parameters"], |name, value| NamedParameter {
                name,
                value: Some(parameter(value)),
            }),
        }),
    }
}

fn path_item(json: &Value) -> PathItem {
    let method = |name: &str| json.get(name).map(operation);
    PathItem {
        get: method("get"),
        put: method("put"),
        post: method("post"),
        delete: method("delete"),
        patch: method("patch"),
        parameters: list(&json["parameters"], parameters_item),
    }
}

fn operation(json: &Value) -> Operation {
    Operation {
        tags: texts(&json["tags"]),
        description: text(json, "description"),
        operation_id: text(json, "operationId"),
        produces: texts(&json["produces"]),
        consumes: texts(&json["consumes"]),
        parameters: list(&json["parameters"], parameters_item),
        responses: Some(Responses {
            response_code: named(&json["responses"], |name, value| NamedResponseValue {
                name,
                value: Some(response(value)),
            }),
        }),
        schemes: texts(&json["schemes"]),
        vendor_extension: extensions(json),
    }
}

fn parameters_item(json: &Value) -> ParametersItem {
    let oneof = match json.get("$ref") {
        Some(_) => parameters_item::Oneof::JsonReference(JsonReference {
            reference: text(json, "$ref"),
        }),
        None => parameters_item::Oneof::Parameter(Box::new(parameter(json))),
    };
    ParametersItem { oneof: Some(oneof) }
}

fn parameter(json: &Value) -> Parameter {
    let oneof = match json["in"].as_str() {
        Some("body") => parameter::Oneof::Body(BodyParameter {
            name: text(json, "name"),
            location: text(json, "in"),
            required: flag(json, "required"),
            schema: json.get("schema").map(schema),
        }),
        Some("path") => elsewhere(non_body_parameter::Oneof::Path(PathParameter {
            required: flag(json, "required"),
            location: text(json, "in"),
            description: text(json, "description"),
            name: text(json, "name"),
            r#type: text(json, "type"),
            unique_items: flag(json, "uniqueItems"),
        })),
        _ => elsewhere(non_body_parameter::Oneof::Query(QueryParameter {
            required: flag(json, "required"),
            location: text(json, "in"),
            description: text(json, "description"),
            name: text(json, "name"),
            r#type: text(json, "type"),
            unique_items: flag(json, "uniqueItems"),
        })),
    };
    Parameter { oneof: Some(oneof) }
}

fn elsewhere(oneof: non_body_parameter::Oneof) -> parameter::Oneof {
    parameter::Oneof::NonBody(NonBodyParameter { oneof: Some(oneof) })
}

fn response(json: &Value) -> ResponseValue {
    let body = json.get("schema").map(|body| SchemaItem {
        oneof: Some(schema_item::Oneof::Schema(schema(body))),
    });
    let response = Response {
        description: text(json, "description"),
        schema: body,
    };
    ResponseValue {
        oneof: Some(response_value::Oneof::Response(response)),
    }
}

fn schema(json: &Value) -> Schema {
    Schema {
        reference: text(json, "$ref"),
        format: text(json, "format"),
        description: text(json, "description"),
        default: json.get("default").map(any),
        required: texts(&json["required"]),
        additional_properties: json.get("additionalProperties").map(|values| {
            Box::new(AdditionalProperties {
                oneof: Some(additional_properties::Oneof::Schema(Box::new(schema(values)))),
            })
        }),
        r#type: json["type"].as_str().map(|name| TypeItem {
            value: vec![name.to_owned()],
        }),
        items: json.get("items").map(|items| ItemsItem {
            schema: vec![schema(items)],
        }),
        properties: json.get("properties").map(properties),
        vendor_extension: extensions(json),
    }
}

fn properties(json: &Value) -> Properties {
    Properties {
        additional_properties: named(json, |name, value| NamedSchema {
            name,
            value: Some(schema(value)),
        }),
    }
}

/// Members whose names begin with `x-`.
fn extensions(json: &Value) -> Vec<NamedAny> {
    let members = json.as_object().into_iter().flat_map(Map::iter);
    members
        .filter(|(name, _)| name.starts_with("x-"))
        .map(|(name, value)| NamedAny {
            name: name.clone(),
            value: Some(any(value)),
        })
        .collect()
}

fn any(json: &Value) -> Any {
    Any { yaml: json.to_string() }
}

fn named<T>(json: &Value, make: impl Fn(String, &Value) -> T) -> Vec<T> {
    let members = json.as_object().into_iter().flat_map(Map::iter);
    members.map(|(name, value)| make(name.clone(), value)).collect()
}

fn list<T>(json: &Value, make: impl Fn(&Value) -> T) -> Vec<T> {
    json.as_array().into_iter().flatten().map(make).collect()
}

fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_default().to_owned()
}

fn texts(json: &Value) -> Vec<String> {
    let items = json.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn flag(json: &Value, name: &str) -> bool {
    json[name].as_bool().unwrap_or(false)
}
