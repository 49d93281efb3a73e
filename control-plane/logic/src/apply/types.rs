//! What server-side apply must know of a field's type: whether it is owned as one value or in parts, and which.
//!
//! The rules of defaults are those of Kubernetes: messages and maps are owned in parts, lists as one value, unless the
//! schema says otherwise.

use serde_json::Value;
use trireme_proto::schema::{FieldSchema, JsonForm, ListType, MessageSchema, Shape, ValueType};

use super::path::{Name, PathElement, Scalar};

/// How a value is owned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    /// As one value: a scalar, or something atomic.
    Leaf,
    /// By field.
    Struct(&'static MessageSchema),
    /// By key. All values are of the type that the field says.
    Map(&'static FieldSchema),
    /// By item: a list of scalars, each at most once.
    Set,
    /// By item, named by some of its fields.
    Keyed {
        /// The fields.
        keys: &'static [&'static str],
        /// The items' type.
        item: &'static MessageSchema,
    },
}

/// Why an item of a list has no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnnamedItem {
    #[error("associative list with keys may not have non-map elements")]
    NotAnObject,
    #[error(
        "associative list with keys has an element that omits all key fields {0:?} (and doesn't have default values for any key fields)"
    )]
    NoKeys(&'static [&'static str]),
    #[error("associative list without keys has an element that is no scalar")]
    NotAScalar,
}

impl Type {
    /// The type of an object of a kind.
    pub(super) fn root(schema: Option<&'static MessageSchema>) -> Self {
        schema.map_or(Self::Leaf, Self::Struct)
    }

    /// The type of a field.
    pub(super) fn of_field(field: &'static FieldSchema) -> Self {
        match (field.shape, field.list_type, field.message()) {
            _ if field.atomic => Self::Leaf,
            (Shape::Single, _, _) => Self::of_value(field),
            (Shape::Map, _, _) => Self::Map(field),
            (Shape::List, ListType::Set, _) => Self::Set,
            (Shape::List, ListType::Map, Some(item)) => Self::Keyed {
                keys: field.list_map_keys,
                item,
            },
            (Shape::List, ListType::Map | ListType::Atomic | ListType::Unspecified, _) => Self::Leaf,
        }
    }

    /// The type of each of a field's values.
    pub(super) fn of_value(field: &'static FieldSchema) -> Self {
        match field.value {
            ValueType::Message(message) if message.form == JsonForm::Object && !message.atomic => Self::Struct(message),
            ValueType::Message(_) | ValueType::Scalar(_) => Self::Leaf,
        }
    }

    /// The name and type of what is below a name in an object of this type. What the schema does not know is one value.
    pub(super) fn child(self, name: &str) -> (Name, Self) {
        match self {
            Self::Struct(message) => match message.field(name) {
                Some(field) => (field.json_name.into(), Self::of_field(field)),
                None => (name.to_owned().into(), Self::Leaf),
            },
            Self::Map(field) => (name.to_owned().into(), Self::of_value(field)),
            Self::Leaf | Self::Set | Self::Keyed { .. } => (name.to_owned().into(), Self::Leaf),
        }
    }

    /// The type of the items of a list of this type.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Keyed { item, .. } if !item.atomic => Self::Struct(item),
            Self::Keyed { .. } | Self::Leaf | Self::Struct(_) | Self::Map(_) | Self::Set => Self::Leaf,
        }
    }

    /// Whether a name is a field that the schema knows, and so comes and goes with what is below it.
    pub(super) fn is_field(self, element: &PathElement) -> bool {
        matches!((self, element), (Self::Struct(message), PathElement::Field(name)) if message.field(name).is_some())
    }

    /// The type of what is below an element.
    pub(super) fn below(self, element: &PathElement) -> Self {
        match element {
            PathElement::Field(name) => self.child(name).1,
            PathElement::Key(_) => self.item(),
            PathElement::Value(_) | PathElement::Index(_) => Self::Leaf,
        }
    }

    /// The name of an item of a list of this type.
    pub(super) fn name_item(self, item: &Value) -> Result<PathElement, UnnamedItem> {
        match self {
            Self::Keyed { keys, item: message } => {
                let fields = item.as_object().ok_or(UnnamedItem::NotAnObject)?;
                name_by_keys(keys, message, |key| fields.get(key).and_then(Scalar::of))
            }
            Self::Leaf | Self::Struct(_) | Self::Map(_) | Self::Set => match Scalar::of(item) {
                None | Some(Scalar::Null) => Err(UnnamedItem::NotAScalar),
                Some(value) => Ok(PathElement::Value(value)),
            },
        }
    }
}

/// The name of an item by the values of its key fields. A field that is not set has its default, or is no part of the name.
pub(super) fn name_by_keys(
    keys: &'static [&'static str],
    message: &'static MessageSchema,
    mut value_of: impl FnMut(&str) -> Option<Scalar>,
) -> Result<PathElement, UnnamedItem> {
    let mut fields: Vec<(Name, Scalar)> = Vec::with_capacity(keys.len());
    for key in keys {
        let default = || message.field(key).and_then(|field| field.default_value);
        let value = value_of(key).or_else(|| default().map(|text| Scalar::Text(text.into())));
        fields.extend(value.map(|value| ((*key).into(), value)));
    }
    if fields.is_empty() {
        return Err(UnnamedItem::NoKeys(keys));
    }
    fields.sort_by(|(one, _), (two, _)| one.cmp(two));
    Ok(PathElement::Key(fields))
}

/// Whether a value is absent, null, or an object or list of nothing: such values are compared as a whole.
pub(super) fn is_void(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => false,
    }
}
