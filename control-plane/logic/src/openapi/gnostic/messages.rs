//! The messages. Fields that our document never has are left out.

/// The document.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Document {
    /// `2.0`.
    #[prost(string, tag = "1")]
    pub swagger: String,
    /// What the document says of itself.
    #[prost(message, optional, tag = "2")]
    pub info: Option<Info>,
    /// Operations by path.
    #[prost(message, optional, tag = "8")]
    pub paths: Option<Paths>,
    /// Schemas by name.
    #[prost(message, optional, tag = "9")]
    pub definitions: Option<Properties>,
    /// Parameters by name.
    #[prost(message, optional, tag = "10")]
    pub parameters: Option<ParameterDefinitions>,
}

/// What a document says of itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Info {
    /// Name of the API.
    #[prost(string, tag = "1")]
    pub title: String,
    /// Version of the API.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// Any JSON.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Any {
    /// As YAML, which JSON is a part of.
    #[prost(string, tag = "2")]
    pub yaml: String,
}

/// JSON with a name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NamedAny {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The JSON.
    #[prost(message, optional, tag = "2")]
    pub value: Option<Any>,
}

/// Operations by path.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Paths {
    /// The paths.
    #[prost(message, repeated, tag = "2")]
    pub path: Vec<NamedPathItem>,
}

/// A path and its operations.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NamedPathItem {
    /// The path.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its operations.
    #[prost(message, optional, tag = "2")]
    pub value: Option<PathItem>,
}

/// The operations of a path.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PathItem {
    /// `GET`.
    #[prost(message, optional, tag = "2")]
    pub get: Option<Operation>,
    /// `PUT`.
    #[prost(message, optional, tag = "3")]
    pub put: Option<Operation>,
    /// `POST`.
    #[prost(message, optional, tag = "4")]
    pub post: Option<Operation>,
    /// `DELETE`.
    #[prost(message, optional, tag = "5")]
    pub delete: Option<Operation>,
    /// `PATCH`.
    #[prost(message, optional, tag = "8")]
    pub patch: Option<Operation>,
    /// Parameters of all of them.
    #[prost(message, repeated, tag = "9")]
    pub parameters: Vec<ParametersItem>,
}

/// An operation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operation {
    /// Where it belongs.
    #[prost(string, repeated, tag = "1")]
    pub tags: Vec<String>,
    /// What it does.
    #[prost(string, tag = "3")]
    pub description: String,
    /// Its unique name.
    #[prost(string, tag = "5")]
    pub operation_id: String,
    /// Media types that it gives.
    #[prost(string, repeated, tag = "6")]
    pub produces: Vec<String>,
    /// Media types that it takes.
    #[prost(string, repeated, tag = "7")]
    pub consumes: Vec<String>,
    /// Its parameters.
    #[prost(message, repeated, tag = "8")]
    pub parameters: Vec<ParametersItem>,
    /// Its answers.
    #[prost(message, optional, tag = "9")]
    pub responses: Option<Responses>,
    /// Protocols by which it is reached.
    #[prost(string, repeated, tag = "10")]
    pub schemes: Vec<String>,
    /// What begins with `x-`.
    #[prost(message, repeated, tag = "13")]
    pub vendor_extension: Vec<NamedAny>,
}

/// A parameter, or where it is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ParametersItem {
    /// Which of the two.
    #[prost(oneof = "parameters_item::Oneof", tags = "1, 2")]
    pub oneof: Option<parameters_item::Oneof>,
}

/// See [`ParametersItem`].
pub mod parameters_item {
    /// A parameter, or where it is.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Oneof {
        /// The parameter.
        #[prost(message, tag = "1")]
        Parameter(Box<super::Parameter>),
        /// Where it is.
        #[prost(message, tag = "2")]
        JsonReference(super::JsonReference),
    }
}

/// Where something is in the document.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct JsonReference {
    /// The place.
    #[prost(string, tag = "1")]
    pub reference: String,
}

/// A parameter.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Parameter {
    /// In the body, or elsewhere.
    #[prost(oneof = "parameter::Oneof", tags = "1, 2")]
    pub oneof: Option<parameter::Oneof>,
}

/// See [`Parameter`].
pub mod parameter {
    /// A parameter in the body, or elsewhere.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Oneof {
        /// The body.
        #[prost(message, tag = "1")]
        Body(super::BodyParameter),
        /// Elsewhere.
        #[prost(message, tag = "2")]
        NonBody(super::NonBodyParameter),
    }
}

/// The body of a request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BodyParameter {
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// `body`.
    #[prost(string, tag = "3")]
    pub location: String,
    /// True if nothing can be done without it.
    #[prost(bool, tag = "4")]
    pub required: bool,
    /// What it looks like.
    #[prost(message, optional, tag = "5")]
    pub schema: Option<Schema>,
}

/// A parameter that is not the body.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NonBodyParameter {
    /// Where it stands.
    #[prost(oneof = "non_body_parameter::Oneof", tags = "3, 4")]
    pub oneof: Option<non_body_parameter::Oneof>,
}

/// See [`NonBodyParameter`].
pub mod non_body_parameter {
    /// A parameter of the query, or of the path.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Oneof {
        /// In the query.
        #[prost(message, tag = "3")]
        Query(super::QueryParameter),
        /// In the path.
        #[prost(message, tag = "4")]
        Path(super::PathParameter),
    }
}

/// A parameter of the query.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct QueryParameter {
    /// True if nothing can be done without it.
    #[prost(bool, tag = "1")]
    pub required: bool,
    /// `query`.
    #[prost(string, tag = "2")]
    pub location: String,
    /// What it means.
    #[prost(string, tag = "3")]
    pub description: String,
    /// Its name.
    #[prost(string, tag = "4")]
    pub name: String,
    /// Its type.
    #[prost(string, tag = "6")]
    pub r#type: String,
    /// True if no value may be repeated.
    #[prost(bool, tag = "20")]
    pub unique_items: bool,
}

/// A parameter of the path.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PathParameter {
    /// Always true.
    #[prost(bool, tag = "1")]
    pub required: bool,
    /// `path`.
    #[prost(string, tag = "2")]
    pub location: String,
    /// What it means.
    #[prost(string, tag = "3")]
    pub description: String,
    /// Its name.
    #[prost(string, tag = "4")]
    pub name: String,
    /// Its type.
    #[prost(string, tag = "5")]
    pub r#type: String,
    /// True if no value may be repeated.
    #[prost(bool, tag = "19")]
    pub unique_items: bool,
}

/// Parameters by name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ParameterDefinitions {
    /// The parameters.
    #[prost(message, repeated, tag = "1")]
    pub additional_properties: Vec<NamedParameter>,
}

/// A parameter with a name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NamedParameter {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The parameter.
    #[prost(message, optional, tag = "2")]
    pub value: Option<Parameter>,
}

/// Answers by status.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Responses {
    /// The answers.
    #[prost(message, repeated, tag = "1")]
    pub response_code: Vec<NamedResponseValue>,
}

/// An answer with its status.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NamedResponseValue {
    /// The status, or `default`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The answer.
    #[prost(message, optional, tag = "2")]
    pub value: Option<ResponseValue>,
}

/// An answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseValue {
    /// The answer; never a reference to it.
    #[prost(oneof = "response_value::Oneof", tags = "1")]
    pub oneof: Option<response_value::Oneof>,
}

/// See [`ResponseValue`].
pub mod response_value {
    /// An answer.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Oneof {
        /// The answer.
        #[prost(message, tag = "1")]
        Response(super::Response),
    }
}

/// An answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// What it means.
    #[prost(string, tag = "1")]
    pub description: String,
    /// What its body looks like.
    #[prost(message, optional, tag = "2")]
    pub schema: Option<SchemaItem>,
}

/// The schema of a body.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SchemaItem {
    /// The schema; never that of a file.
    #[prost(oneof = "schema_item::Oneof", tags = "1")]
    pub oneof: Option<schema_item::Oneof>,
}

/// See [`SchemaItem`].
pub mod schema_item {
    /// The schema of a body.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Oneof {
        /// The schema.
        #[prost(message, tag = "1")]
        Schema(super::Schema),
    }
}

/// What a value looks like.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Schema {
    /// Where it is described instead.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// A closer look at its type.
    #[prost(string, tag = "2")]
    pub format: String,
    /// What it means.
    #[prost(string, tag = "4")]
    pub description: String,
    /// What it is if it is not given.
    #[prost(message, optional, tag = "5")]
    pub default: Option<Any>,
    /// Properties that it must have.
    #[prost(string, repeated, tag = "19")]
    pub required: Vec<String>,
    /// What properties of other names look like.
    #[prost(message, optional, boxed, tag = "21")]
    pub additional_properties: Option<Box<AdditionalProperties>>,
    /// Its type.
    #[prost(message, optional, tag = "22")]
    pub r#type: Option<TypeItem>,
    /// What its items look like.
    #[prost(message, optional, tag = "23")]
    pub items: Option<ItemsItem>,
    /// Its properties.
    #[prost(message, optional, tag = "25")]
    pub properties: Option<Properties>,
    /// What begins with `x-`.
    #[prost(message, repeated, tag = "31")]
    pub vendor_extension: Vec<NamedAny>,
}

/// What properties of any name look like.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AdditionalProperties {
    /// Always a schema.
    #[prost(oneof = "additional_properties::Oneof", tags = "1")]
    pub oneof: Option<additional_properties::Oneof>,
}

/// See [`AdditionalProperties`].
pub mod additional_properties {
    /// What properties of any name look like.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Oneof {
        /// The schema.
        #[prost(message, tag = "1")]
        Schema(Box<super::Schema>),
    }
}

/// The types of a value.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TypeItem {
    /// Always one.
    #[prost(string, repeated, tag = "1")]
    pub value: Vec<String>,
}

/// What items look like.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ItemsItem {
    /// Always one.
    #[prost(message, repeated, tag = "1")]
    pub schema: Vec<Schema>,
}

/// Schemas by name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Properties {
    /// The schemas.
    #[prost(message, repeated, tag = "1")]
    pub additional_properties: Vec<NamedSchema>,
}

/// A schema with a name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NamedSchema {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The schema.
    #[prost(message, optional, tag = "2")]
    pub value: Option<Schema>,
}
