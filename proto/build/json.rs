//! Writes the Rust code that reads and writes Kubernetes JSON, one `impl` a message.
//!
//! The generated code only names fields; how values look is in `src/json`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::descriptors::{Field, Message, Shape, ValueType};
use crate::names;

/// Messages whose JSON is not an object of their fields; their code is handwritten in `src/scalars`.
pub(crate) const SCALARS: &[&str] = &[
    "kubernetes.authentication.v1.ExtraValue",
    "kubernetes.authorization.v1.ExtraValue",
    "kubernetes.certificates.v1.ExtraValue",
    "kubernetes.meta.v1.FieldsV1",
    "kubernetes.meta.v1.IntOrString",
    "kubernetes.meta.v1.MicroTime",
    "kubernetes.meta.v1.Quantity",
    "kubernetes.meta.v1.RawExtension",
    "kubernetes.meta.v1.Time",
];

/// The full name of the metadata that makes a kind an object of the API.
const OBJECT_META: &str = "kubernetes.meta.v1.ObjectMeta";

/// The most fields a message may have, inlined ones counted: they are bits of one word while reading.
const FIELDS_MAX: usize = 128;

/// The code for one package.
pub(crate) fn generate(package: &str, messages: &BTreeMap<String, Message>) -> String {
    let mut code = String::new();
    let of_package = messages.values().filter(|message| message.package == package);
    for message in of_package.filter(|message| !SCALARS.contains(&message.full_name.as_str())) {
        write_message(&mut code, message, messages);
        if message.kind.is_some() {
            write_typed_object(&mut code, message);
        }
    }
    code
}

fn write_message(code: &mut String, message: &Message, messages: &BTreeMap<String, Message>) {
    let rust_name = names::message(&message.name);
    let names = json_names(message, messages);
    assert!(names.len() <= FIELDS_MAX, "{} has too many fields", message.full_name);
    let kind = message
        .kind
        .as_ref()
        .map_or("None".to_owned(), |(group, version, kind)| {
            format!("Some(({:?}, {kind:?}))", api_version(group, version))
        });

    let mut writes = String::new();
    let mut reads = String::new();
    let mut index = 0;
    for field in &message.fields {
        let ident = names::field_ident(&field.json_name);
        if field.inline {
            let count = json_names(inlined(field, messages), messages).len();
            let last = index + count - 1;
            let _ = writeln!(
                writes,
                "if let Some(inlined) = &self.{ident} {{ inlined.write_fields(map)?; }}"
            );
            let _ = writeln!(
                reads,
                "{index}..={last} => self.{ident}.get_or_insert_default().read_field(index - {index}, map, context),"
            );
            index += count;
            continue;
        }
        let write = if field.always { "write_always" } else { "write" };
        let read = if field.shape == Shape::Optional {
            "read_optional"
        } else {
            "read"
        };
        let name = &field.json_name;
        let _ = writeln!(writes, "json::{write}(map, {name:?}, &self.{ident})?;");
        let _ = writeln!(reads, "{index} => json::{read}(map, &mut self.{ident}, context),");
        index += 1;
    }
    let _ = write!(
        code,
        "
impl json::JsonMessage for {rust_name} {{
    const NAME: &'static str = {name:?};
    const KIND: Option<(&'static str, &'static str)> = {kind};
    const FIELDS: &'static [&'static str] = &{names:?};
    fn write_fields<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {{
        {writes}Ok(())
    }}
    fn read_field<'de, A: serde::de::MapAccess<'de>>(
        &mut self, index: usize, map: &mut A, context: &mut json::Context,
    ) -> Result<(), A::Error> {{
        match index {{
            {reads}_ => unreachable!(\"the index is one of FIELDS\"),
        }}
    }}
}}
json::impl_serde!({rust_name});
",
        name = message.name,
    );
}

fn write_typed_object(code: &mut String, message: &Message) {
    let Some((group, version, kind)) = &message.kind else {
        return;
    };
    let has_metadata = message.fields.iter().any(|field| {
        field.json_name == "metadata" && matches!(&field.value, ValueType::Message(name) if name == OBJECT_META)
    });
    if !has_metadata {
        return;
    }
    let _ = write!(
        code,
        "
impl crate::TypedObject for {rust_name} {{
    const API_VERSION: &'static str = {api_version:?};
    const GROUP: &'static str = {group:?};
    const VERSION: &'static str = {version:?};
    const KIND: &'static str = {kind:?};
    fn metadata(&self) -> Option<&crate::api::meta::v1::ObjectMeta> {{ self.metadata.as_ref() }}
    fn metadata_mut(&mut self) -> &mut Option<crate::api::meta::v1::ObjectMeta> {{ &mut self.metadata }}
}}
",
        rust_name = names::message(&message.name),
        api_version = api_version(group, version),
    );
}

/// The JSON names of a message's fields, with those of inlined messages in their place.
fn json_names(message: &Message, messages: &BTreeMap<String, Message>) -> Vec<String> {
    let names = message.fields.iter().flat_map(|field| {
        if field.inline {
            json_names(inlined(field, messages), messages)
        } else {
            vec![field.json_name.clone()]
        }
    });
    names.collect()
}

fn inlined<'a>(field: &Field, messages: &'a BTreeMap<String, Message>) -> &'a Message {
    match &field.value {
        ValueType::Message(name) => &messages[name],
        ValueType::Scalar(_) => panic!("{} is inline but no message", field.json_name),
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}
