//! Pieces of table columns that several kinds use.

use trireme_proto::api::meta::v1::{ObjectMeta, Time};

use crate::{human::duration_between, kind::ColumnDefinition};

/// What a cell shows for nothing.
pub(crate) const NONE: &str = "<none>";
/// What a cell shows for something that is not known.
pub(crate) const UNKNOWN: &str = "<unknown>";

/// A column that is always shown.
pub(crate) const fn column(name: &'static str, description: &'static str) -> ColumnDefinition {
    ColumnDefinition {
        name,
        priority: 0,
        description,
    }
}

/// A column of the wide view.
pub(crate) const fn wide(name: &'static str, description: &'static str) -> ColumnDefinition {
    ColumnDefinition {
        name,
        priority: 1,
        description,
    }
}

/// The column that nearly every kind has.
pub(crate) const AGE: ColumnDefinition = column("Age", "Time since the object was created.");

/// The cell of [`AGE`].
pub(crate) fn age(meta: &ObjectMeta, now: Time) -> String {
    since(meta.creation_timestamp.as_ref(), now)
}

/// How long ago a moment was.
pub(crate) fn since(then: Option<&Time>, now: Time) -> String {
    match then {
        Some(then) if !then.is_zero() => duration_between(*then, now),
        Some(_) | None => UNKNOWN.into(),
    }
}

/// The text, or a word for none.
pub(crate) fn or_none(text: &str) -> String {
    if text.is_empty() { NONE.into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    /// Protocol Buffers have moments that no calendar has.
    #[test]
    fn moments_beyond_all_time_have_an_age() {
        let moment = |seconds| Time { seconds, nanos: 0 };
        assert_eq!(
            since(Some(&moment(i64::MIN)), at(0)),
            format!("{}y", i64::MAX / (365 * 86_400))
        );
        assert_eq!(since(Some(&moment(i64::MAX)), at(0)), "<invalid>");
        assert_eq!(since(Some(&at(-60)), at(0)), "60s");
        assert_eq!(since(None, at(0)), UNKNOWN);
    }
}
