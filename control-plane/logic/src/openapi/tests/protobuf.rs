//! Version 2 in protobuf.

use super::{gnostic::*, *};

/// The message after a journey over the wire.
fn decoded() -> Document {
    let bytes = document(&v2()).encode_to_vec();
    Document::decode(bytes.as_slice()).expect("decodes")
}

fn definition<'a>(document: &'a Document, name: &str) -> &'a Schema {
    let definitions = document.definitions.as_ref().expect("definitions");
    member(definitions, name)
}

fn member<'a>(properties: &'a Properties, name: &str) -> &'a Schema {
    let found = properties
        .additional_properties
        .iter()
        .find(|schema| schema.name == name);
    found
        .and_then(|schema| schema.value.as_ref())
        .unwrap_or_else(|| panic!("{name} is there"))
}

#[test]
fn it_has_everything_that_json_has() {
    let (json, message) = (v2(), decoded());
    assert_eq!(message.swagger, "2.0");
    assert_eq!(message.info.as_ref().map(|info| info.title.as_str()), Some("Trireme"));
    let names: Vec<_> = message
        .paths
        .iter()
        .flat_map(|paths| &paths.path)
        .map(|path| &path.name)
        .collect();
    let expected: Vec<_> = json["paths"].as_object().expect("paths").keys().collect();
    assert_eq!(names, expected);
    for (name, expected) in json["definitions"].as_object().expect("definitions") {
        let schema = definition(&message, name);
        let properties = schema
            .properties
            .as_ref()
            .map_or(0, |list| list.additional_properties.len());
        assert_eq!(
            properties,
            expected["properties"].as_object().map_or(0, serde_json::Map::len),
            "{name}"
        );
        let required = expected["required"].as_array().map_or(0, Vec::len);
        assert_eq!(schema.required.len(), required, "{name}");
    }
    let parameters = message.parameters.expect("parameters").additional_properties;
    assert_eq!(
        parameters.len(),
        json["parameters"].as_object().expect("parameters").len()
    );
}

#[test]
fn schemas_keep_their_shape() {
    let message = decoded();
    let pod = definition(&message, "io.k8s.api.core.v1.Pod");
    let kinds = pod.vendor_extension.first().expect("an extension");
    assert_eq!(kinds.name, "x-kubernetes-group-version-kind");
    let yaml = kinds.value.as_ref().expect("a value").yaml.as_str();
    assert_eq!(
        serde_json::from_str::<Value>(yaml).expect("JSON"),
        json!([{"group": "", "kind": "Pod", "version": "v1"}])
    );
    let spec = definition(&message, "io.k8s.api.core.v1.PodSpec")
        .properties
        .as_ref()
        .expect("properties");
    let containers = member(spec, "containers");
    assert_eq!(containers.r#type.as_ref().expect("a type").value, ["array"]);
    let item = &containers.items.as_ref().expect("items").schema[0];
    assert_eq!(item.reference, "#/definitions/io.k8s.api.core.v1.Container");
    let labels = member(spec, "nodeSelector")
        .additional_properties
        .as_ref()
        .expect("a map");
    let Some(additional_properties::Oneof::Schema(value)) = &labels.oneof else {
        panic!("a map has values");
    };
    assert_eq!(value.r#type.as_ref().expect("a type").value, ["string"]);
}

#[test]
fn operations_keep_their_parameters() {
    let message = decoded();
    let paths = message.paths.expect("paths").path;
    let pods = paths
        .iter()
        .find(|path| path.name == "/api/v1/namespaces/{namespace}/pods/{name}");
    let pods = pods.and_then(|path| path.value.as_ref()).expect("the path");
    let patch = pods.patch.as_ref().expect("an operation");
    assert_eq!(patch.operation_id, "patchCoreV1NamespacedPod");
    assert_eq!(patch.consumes.len(), 4);
    let references: Vec<_> = patch
        .parameters
        .iter()
        .filter_map(|parameter| match &parameter.oneof {
            Some(parameters_item::Oneof::JsonReference(reference)) => Some(reference.reference.as_str()),
            _ => None,
        })
        .collect();
    assert!(references.contains(&"#/parameters/fieldValidation"), "{references:?}");
    let Some(parameters_item::Oneof::Parameter(in_path)) = &pods.parameters[0].oneof else {
        panic!("the namespace stands in the path");
    };
    let Some(parameter::Oneof::NonBody(in_path)) = &in_path.oneof else {
        panic!("the path is no body");
    };
    assert!(matches!(&in_path.oneof, Some(non_body_parameter::Oneof::Path(path)) if path.name == "namespace"));
}
