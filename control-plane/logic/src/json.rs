//! JSON text from outside, read within limits (invariant I9).
//!
//! Everything that turns bytes of a client into a [`Value`] goes through [`parse`], so that depth has one
//! limit. What the value means is not known here.

mod duplicates;

use serde_json::Value;

pub use self::duplicates::parse_last_wins;
use crate::limits;

/// Why text was not read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is not JSON.
    #[error("invalid JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// Objects and lists nest too deep.
    #[error("JSON nests deeper than {} levels", limits::JSON_DEPTH)]
    TooDeep,
    /// There are too many values.
    #[error("JSON has more than {} values", limits::JSON_VALUES)]
    TooMany,
}

/// What parsing a text comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// How deep its objects and lists nest: 0 for a scalar.
    pub depth: usize,
    /// How many scalars, lists and objects it has at most.
    pub values: usize,
}

/// Reads JSON text.
pub fn parse(text: &[u8]) -> Result<Value, ParseError> {
    check(text)?;
    serde_json::from_slice(text).map_err(ParseError::Syntax)
}

/// Refuses text beyond the limits. It is measured before it is parsed, so that hostile text costs no stack and no memory.
pub fn check(text: &[u8]) -> Result<(), ParseError> {
    let extent = extent(text);
    if extent.depth > limits::JSON_DEPTH {
        Err(ParseError::TooDeep)
    } else if extent.values > limits::JSON_VALUES {
        Err(ParseError::TooMany)
    } else {
        Ok(())
    }
}

/// Measures a text, which need not be JSON.
pub fn extent(text: &[u8]) -> Extent {
    let (mut depth, mut deepest) = (0_usize, 0);
    // Each comma is followed by a value, and so is each bracket unless it closes at once.
    let mut values = 1;
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
                values += 1;
            }
            b',' if !in_string => values += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Extent { depth: deepest, values }
}

/// How deep a value nests: 0 for a scalar. Recursion ends just past the limit.
pub fn value_depth(value: &Value) -> usize {
    measure(value, limits::JSON_DEPTH + 1)
}

fn measure(value: &Value, room: usize) -> usize {
    if room == 0 {
        return 0;
    }
    match value {
        Value::Array(items) => 1 + items.iter().map(|item| measure(item, room - 1)).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(|item| measure(item, room - 1)).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// About how many bytes a value takes as text; cheap, and never less than half of the truth for long values.
pub fn value_size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 2 + items.iter().map(|item| 1 + value_size(item)).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields
                .iter()
                .map(|(name, item)| name.len() + 4 + value_size(item))
                .sum::<usize>()
        }
        Value::String(text) => text.len() + 2,
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Vec<u8> {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels)).into_bytes()
    }

    #[test]
    fn depth_limit_is_met_exactly() {
        let value = parse(&nested(limits::JSON_DEPTH)).expect("at the limit");
        assert_eq!(value_depth(&value), limits::JSON_DEPTH);
        assert!(matches!(
            parse(&nested(limits::JSON_DEPTH + 1)),
            Err(ParseError::TooDeep)
        ));
        assert!(matches!(parse(&nested(1_000_000)), Err(ParseError::TooDeep)));
    }

    #[test]
    fn limit_of_values_is_met_exactly() {
        let list = |items: usize| format!("[{}]", vec!["0"; items].join(","));
        // The list itself and what may stand before its first item count, too.
        let most = limits::JSON_VALUES - 1;
        assert!(parse(list(most).as_bytes()).is_ok());
        assert!(matches!(parse(list(most + 1).as_bytes()), Err(ParseError::TooMany)));
        // The published way to make a parser take memory: as many small maps as fit.
        let small = format!("[{}{{}}]", "{\"\":0},".repeat(1_000_000 / 7));
        assert!(matches!(parse(small.as_bytes()), Err(ParseError::TooMany)));
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        assert_eq!(extent(br#"{"a":"[[\"[,[","b":[1]}"#), Extent { depth: 2, values: 4 });
    }

    #[test]
    fn sizes_are_near_the_text() {
        let value = json!({"name": "web", "list": [1, 2, 3], "none": null});
        let text = value.to_string().len();
        assert!(value_size(&value) >= text && value_size(&value) < 2 * text);
    }
}
