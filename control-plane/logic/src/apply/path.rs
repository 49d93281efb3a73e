//! How a field, or an item of a list, is named within the value that it is in.
//!
//! An item of a list is named by its keys or its value, never by its place, so that a name outlives insertions before it.
//! Elements have one order (fields, then keys, values, places), which is also the order of the stored form.

use std::{borrow::Cow, cmp::Ordering, fmt};

use serde_json::Value;

/// A name of a field. Those that the schema knows are borrowed from it.
pub type Name = Cow<'static, str>;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// A field of a message, or a key of a map.
    Field(Name),
    /// The item of a list whose fields have these values. Ordered by name.
    Key(Vec<(Name, Scalar)>),
    /// The item of a set with this value.
    Value(Scalar),
    /// The item of a list at this place. Known from what other programs store; never made here.
    Index(i64),
}

/// A value that tells items apart. Numbers are ordered by size, before texts, booleans and null.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Cow<'static, str>),
    /// True or false.
    Bool(bool),
    /// Nothing.
    Null,
}

impl PathElement {
    /// The element of a field whose name the schema knows.
    pub const fn known(name: &'static str) -> Self {
        Self::Field(Cow::Borrowed(name))
    }
}

impl Scalar {
    /// The scalar that a value is; `None` for lists and objects.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => Some(match number.as_i64() {
                Some(integer) => Self::Integer(integer),
                None => Self::Float(number.as_f64().unwrap_or_default()),
            }),
            Value::String(text) => Some(Self::Text(text.clone().into())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// As JSON.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Integer(integer) => (*integer).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.as_ref().into(),
            Self::Bool(value) => (*value).into(),
            Self::Null => Value::Null,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Integer(_) | Self::Float(_) => 0,
            Self::Text(_) => 1,
            Self::Bool(_) => 2,
            Self::Null => 3,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "only compared with a number that has fractions"
    )]
    fn as_float(&self) -> f64 {
        match self {
            Self::Integer(integer) => *integer as f64,
            Self::Float(number) => *number,
            Self::Text(_) | Self::Bool(_) | Self::Null => 0.0,
        }
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(two)) => one.cmp(two),
            (Self::Text(one), Self::Text(two)) => one.cmp(two),
            (Self::Bool(one), Self::Bool(two)) => one.cmp(two),
            (one, two) if one.rank() == 0 && two.rank() == 0 => one.as_float().total_cmp(&two.as_float()),
            (one, two) => one.rank().cmp(&two.rank()),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

/// As Kubernetes writes it in messages: `.spec`, `[name="web"]`, `[="a"]`, `[3]`.
impl fmt::Display for PathElement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(formatter, ".{name}"),
            Self::Key(fields) => {
                formatter.write_str("[")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "," };
                    write!(formatter, "{separator}{name}={value}")?;
                }
                formatter.write_str("]")
            }
            Self::Value(value) => write!(formatter, "[={value}]"),
            Self::Index(place) => write!(formatter, "[{place}]"),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(formatter, "{integer}"),
            Self::Float(number) => write!(formatter, "{number}"),
            Self::Text(text) => write!(formatter, "{text:?}"),
            Self::Bool(value) => write!(formatter, "{value}"),
            Self::Null => formatter.write_str("null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_one_order() {
        let text = |text: &'static str| Scalar::Text(text.into());
        let ordered = [
            PathElement::known("a"),
            PathElement::known("b"),
            PathElement::Key(vec![("name".into(), text("a"))]),
            PathElement::Key(vec![("name".into(), text("a")), ("port".into(), Scalar::Integer(1))]),
            PathElement::Key(vec![("port".into(), Scalar::Integer(9))]),
            PathElement::Key(vec![("port".into(), Scalar::Integer(80))]),
            PathElement::Value(Scalar::Float(0.5)),
            PathElement::Value(Scalar::Integer(1)),
            PathElement::Value(text("a")),
            PathElement::Value(Scalar::Bool(false)),
            PathElement::Value(Scalar::Null),
            PathElement::Index(0),
            PathElement::Index(10),
        ];
        assert!(ordered.is_sorted_by(|one, two| one < two), "{ordered:?}");
        assert_eq!(Scalar::Integer(2), Scalar::Float(2.0));
    }

    #[test]
    fn elements_are_shown_as_kubernetes_shows_them() {
        let key = PathElement::Key(vec![
            ("containerPort".into(), Scalar::Integer(80)),
            ("protocol".into(), Scalar::Text("TCP".into())),
        ]);
        for (element, expected) in [
            (PathElement::known("spec"), ".spec"),
            (key, r#"[containerPort=80,protocol="TCP"]"#),
            (PathElement::Value(Scalar::Text("x".into())), r#"[="x"]"#),
            (PathElement::Value(Scalar::Bool(true)), "[=true]"),
            (PathElement::Index(3), "[3]"),
        ] {
            assert_eq!(element.to_string(), expected);
        }
    }
}
