//! What the `.proto` files say about every Kubernetes message and field, as a table: for `explain`,
//! strategic merge patches and checks of required fields. The table is generated; its types are here.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A message.
#[derive(Debug)]
pub struct MessageSchema {
    /// Name with package, such as `kubernetes.core.v1.Pod`.
    pub full_name: &'static str,
    /// Name without package.
    pub name: &'static str,
    /// Its comment in the `.proto` file.
    pub doc: &'static str,
    /// The kind whose object it is, if it is one.
    pub kind: Option<Kind>,
    /// What it looks like in JSON.
    pub form: JsonForm,
    /// Server-side apply treats it as one value, wherever it stands.
    pub atomic: bool,
    /// Its fields, in the order of the `.proto` file; empty unless `form` is an object.
    pub fields: &'static [FieldSchema],
    /// By the number of a field, one more than its place among them; 0 where there is none.
    pub places: &'static [u8],
    /// A bit for the place of each field that is written even if it is not there. There are no more than 64.
    pub always: u64,
}

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// API group; empty for core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
}

/// A field.
#[derive(Debug)]
pub struct FieldSchema {
    /// Name in JSON. An inline field has none there; this is then its name in the `.proto` file.
    pub json_name: &'static str,
    /// Number in protobuf.
    pub number: u32,
    /// Its comment in the `.proto` file.
    pub doc: &'static str,
    /// How many values it has.
    pub shape: Shape,
    /// What each value is.
    pub value: ValueType,
    /// Its message's fields stand in JSON beside this one's siblings.
    pub inline: bool,
    /// Written to JSON even if it is unset or empty.
    pub always: bool,
    /// An object without it is refused.
    pub required: bool,
    /// The field by which a strategic merge patch matches the items of the list. JSON name.
    pub merge_key: Option<&'static str>,
    /// A strategic merge patch merges the list instead of replacing it.
    pub merge: bool,
    /// A strategic merge patch keeps only the fields that the patch names.
    pub retain_keys: bool,
    /// A strategic merge patch replaces the message instead of merging it.
    pub replace: bool,
    /// Who may own parts of the list in server-side apply.
    pub list_type: ListType,
    /// The fields that identify an item of a list of type `Map`. JSON names.
    pub list_map_keys: &'static [&'static str],
    /// Server-side apply treats the map or message as one value.
    pub atomic: bool,
    /// What an unset scalar means, where that tells the items of a list of type `Map` apart.
    pub default_value: Option<&'static str>,
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// At most one.
    Single,
    /// A list.
    List,
    /// A map from strings.
    Map,
}

/// What a field's values are.
#[derive(Clone, Copy, Debug)]
pub enum ValueType {
    /// A scalar.
    Scalar(Scalar),
    /// A message.
    Message(&'static MessageSchema),
}

/// A scalar type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `true` or `false`.
    Bool,
    /// A number with fractions.
    Double,
    /// 32 bits, signed.
    Int32,
    /// 64 bits, signed.
    Int64,
    /// Text.
    String,
    /// Base64 in JSON.
    Bytes,
}

/// What a message looks like in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// An object of its fields.
    Object,
    /// An RFC 3339 time.
    DateTime,
    /// A quantity, such as `100m`.
    Quantity,
    /// An integer, or a string such as `25%`.
    IntOrString,
    /// Any JSON.
    Any,
    /// A list of strings.
    Strings,
}

/// The unit of ownership in a list, in server-side apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Not said, which means the same as `Atomic`.
    Unspecified,
    /// The whole list.
    Atomic,
    /// Each scalar.
    Set,
    /// Each item, identified by keys.
    Map,
}

include!(concat!(env!("OUT_DIR"), "/schema.rs"));

/// The message of the full name, such as `kubernetes.core.v1.PodSpec`.
pub fn message(full_name: &str) -> Option<&'static MessageSchema> {
    let index = MESSAGES
        .binary_search_by_key(&full_name, |message| message.full_name)
        .ok()?;
    Some(MESSAGES[index])
}

/// The message of the kind.
pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static MessageSchema> {
    /// By group, version and name. It is asked for every object that is written.
    static KINDS: LazyLock<HashMap<(&str, &str, &str), &MessageSchema>> = LazyLock::new(|| {
        let named = |message: &&'static MessageSchema| {
            let kind = message.kind?;
            Some(((kind.group, kind.version, kind.kind), *message))
        };
        MESSAGES.iter().filter_map(named).collect()
    });
    KINDS.get(&(group, version, kind)).copied()
}

/// Every message, ordered by full name.
pub fn messages() -> &'static [&'static MessageSchema] {
    MESSAGES
}

impl MessageSchema {
    /// The fields as they stand in JSON: those of inlined messages in their place.
    pub fn json_fields(&self) -> Vec<&'static FieldSchema> {
        let mut fields = Vec::new();
        for field in self.fields {
            match field.value {
                ValueType::Message(inlined) if field.inline => fields.extend(inlined.json_fields()),
                ValueType::Message(_) | ValueType::Scalar(_) => fields.push(field),
            }
        }
        fields
    }

    /// The field of the JSON name, also of inlined messages.
    pub fn field(&self, json_name: &str) -> Option<&'static FieldSchema> {
        self.fields.iter().find_map(|field| match field.value {
            ValueType::Message(inlined) if field.inline => inlined.field(json_name),
            ValueType::Message(_) | ValueType::Scalar(_) => (field.json_name == json_name).then_some(field),
        })
    }
}

impl FieldSchema {
    /// The type for people, such as `string`, `[]Container` or `map[string]Quantity`.
    pub fn type_name(&self) -> String {
        let value = match self.value {
            ValueType::Scalar(Scalar::Bool) => "boolean",
            ValueType::Scalar(Scalar::Double) => "number",
            ValueType::Scalar(Scalar::Int32 | Scalar::Int64) => "integer",
            ValueType::Scalar(Scalar::String) => "string",
            ValueType::Scalar(Scalar::Bytes) => "bytes",
            ValueType::Message(message) => message.name,
        };
        match self.shape {
            Shape::Single => value.to_owned(),
            Shape::List => format!("[]{value}"),
            Shape::Map => format!("map[string]{value}"),
        }
    }

    /// The message of the field's values, if they are messages.
    pub fn message(&self) -> Option<&'static MessageSchema> {
        match self.value {
            ValueType::Message(message) => Some(message),
            ValueType::Scalar(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn kinds_and_fields_are_found() {
        let pod = kind("", "v1", "Pod").unwrap();
        assert_eq!(pod.full_name, "kubernetes.core.v1.Pod");
        let spec = pod.field("spec").unwrap().message().unwrap();
        let containers = spec.field("containers").unwrap();
        assert_eq!(containers.type_name(), "[]Container");
        assert_eq!((containers.merge_key, containers.required), (Some("name"), true));
        let volume = spec.field("volumes").unwrap();
        assert!(volume.merge && volume.retain_keys);
        assert_eq!(
            volume.message().unwrap().field("emptyDir").unwrap().json_name,
            "emptyDir"
        );
        let selector = message("kubernetes.meta.v1.LabelSelector").unwrap();
        assert!(selector.atomic && !pod.atomic);
        let port = message("kubernetes.core.v1.ContainerPort").unwrap();
        assert_eq!(port.field("protocol").unwrap().default_value, Some("TCP"));
        assert!(kind("apps", "v1", "Pod").is_none() && message("Pod").is_none());
    }

    #[test]
    fn places_are_those_of_the_fields() {
        for message in messages() {
            let mut found = 0;
            for (number, place) in message.places.iter().enumerate().filter(|(_, place)| **place > 0) {
                let place = usize::from(*place) - 1;
                let field = &message.fields[place];
                let name = (message.full_name, field.json_name);
                assert_eq!(field.number as usize, number, "{name:?}");
                let is_always = message.always >> place & 1 == 1;
                assert_eq!(is_always, field.always && !field.inline, "{name:?}");
                found += 1;
            }
            assert_eq!(found, message.fields.len(), "{}", message.full_name);
        }
    }

    #[test]
    fn everything_is_documented() {
        for message in messages() {
            assert!(!message.doc.is_empty(), "{}", message.full_name);
            for field in message.fields {
                assert!(!field.doc.is_empty(), "{}.{}", message.full_name, field.json_name);
            }
        }
    }
}
