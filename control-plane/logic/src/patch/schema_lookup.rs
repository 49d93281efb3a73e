//! What the schema says about a field that a strategic merge patch meets.

use trireme_proto::schema::{MessageSchema, Shape};

/// How a field merges.
pub(super) struct FieldRule {
    /// The message of the field's values, if they have one.
    pub(super) message: Option<&'static MessageSchema>,
    /// How its list merges, if it is one.
    pub(super) list: ListRule,
    /// True if the patch's value takes the place of the whole.
    pub(super) replace: bool,
}

/// How a list merges.
pub(super) enum ListRule {
    /// Not at all: the patch's list takes its place.
    Replace,
    /// As a set of scalars.
    Set,
    /// By the value of one field of its items.
    ByKey(&'static str),
}

/// The rule of a field. Without a schema objects merge and lists are replaced.
pub(super) fn field_rule(schema: Option<&'static MessageSchema>, name: &str) -> FieldRule {
    let Some(field) = schema.and_then(|schema| schema.field(name)) else {
        return FieldRule {
            message: None,
            list: ListRule::Replace,
            replace: false,
        };
    };
    let list = match (field.shape, field.merge_key) {
        (Shape::List, Some(key)) => ListRule::ByKey(key),
        (Shape::List, None) if field.merge => ListRule::Set,
        (Shape::List | Shape::Single | Shape::Map, _) => ListRule::Replace,
    };
    // The values of a map are merged as a whole: their names are the map's keys, not fields.
    let message = if field.shape == Shape::Map {
        None
    } else {
        field.message()
    };
    FieldRule {
        message,
        list,
        replace: field.replace,
    }
}
