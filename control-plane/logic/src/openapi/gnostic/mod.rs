//! The document of version 2 in protobuf, which Kubernetes' clients ask for.
//!
//! The messages are those of `OpenAPIv2.proto` of the project gnostic: their names and numbers are a fact to match.
//! Only what our document contains is here. [`document`] reads it from the JSON form, so that the two cannot differ.

mod convert;
mod messages;

pub use convert::document;
pub use messages::{
    AdditionalProperties, Any, BodyParameter, Document, Info, ItemsItem, JsonReference, NamedAny, NamedParameter,
    NamedPathItem, NamedResponseValue, NamedSchema, NonBodyParameter, Operation, Parameter, ParameterDefinitions,
    ParametersItem, PathItem, PathParameter, Paths, Properties, QueryParameter, Response, ResponseValue, Responses,
    Schema, SchemaItem, TypeItem, additional_properties, non_body_parameter, parameter, parameters_item,
    response_value, schema_item,
};
