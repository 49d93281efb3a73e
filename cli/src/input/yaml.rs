//! Reads YAML (and so JSON) documents within limits, and says where one is wrong (I9).

use serde_json::Value;
use serde_saphyr::{Budget, DuplicateKeyPolicy, Options};

use crate::limits;

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", place(*document, *position))]
pub(crate) struct YamlError {
    /// Which document, counted from 1.
    pub(crate) document: usize,
    /// Line and column, counted from 1.
    pub(crate) position: Option<(u64, u64)>,
    /// One line.
    pub(crate) reason: String,
}

fn place(document: usize, position: Option<(u64, u64)>) -> String {
    match position {
        Some((line, column)) => format!("line {line}, column {column} (document {document}): "),
        None => format!("document {document}: "),
    }
}

/// Reads all documents; empty ones are passed over. Each comes with its number, counted from 1.
pub(crate) fn read_all(text: &str) -> Result<Vec<(usize, Value)>, YamlError> {
    if text.len() > limits::MANIFEST_MAX_BYTES {
        let reason = format!("larger than {} bytes", limits::MANIFEST_MAX_BYTES);
        return Err(YamlError {
            document: 1,
            position: None,
            reason,
        });
    }
    // A byte order mark, which some editors write, is not part of the first key.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = text.as_bytes();
    let mut documents = Vec::new();
    for (position, result) in serde_saphyr::read_with_options::<_, Value>(&mut reader, options()).enumerate() {
        let document = position + 1;
        match result {
            Ok(Value::Null) => {}
            Ok(value) => documents.push((document, value)),
            Err(error) => return Err(describe(document, &error)),
        }
    }
    Ok(documents)
}

/// Reads a text of exactly one document.
pub(crate) fn read_one(text: &str) -> Result<Value, YamlError> {
    let mut documents = read_all(text)?;
    match documents.len() {
        1 => Ok(documents.swap_remove(0).1),
        0 => Err(YamlError {
            document: 1,
            position: None,
            reason: "it is empty".to_owned(),
        }),
        more => Err(YamlError {
            document: 2,
            position: None,
            reason: format!("one document was expected, not {more}"),
        }),
    }
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_depth = limits::MANIFEST_MAX_DEPTH;
    budget.max_documents = limits::MANIFEST_MAX_DOCUMENTS;
    budget.max_aliases = limits::MANIFEST_MAX_ALIASES;
    budget.max_anchors = limits::MANIFEST_MAX_ALIASES;
    budget.max_nodes = limits::MANIFEST_MAX_NODES;
    budget.max_total_scalar_bytes = limits::MANIFEST_MAX_BYTES;
    budget.max_reader_input_bytes = Some(limits::MANIFEST_MAX_BYTES);
    let mut options = Options::default();
    options.budget = Some(budget);
    options.with_snippet = false;
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    // A label `y` or a value `no` is a text. Where a boolean is wanted, the server says that `yes` is none.
    options.strict_booleans = true;
    options
}

fn describe(document: usize, error: &serde_saphyr::Error) -> YamlError {
    let position = error
        .location()
        .map(|l| (l.line(), l.column()))
        .filter(|(line, _)| *line > 0);
    let full = error.without_snippet().to_string();
    let mut reason = full.lines().next().unwrap_or_default().trim();
    // The place stands in front already.
    if let Some(end) = reason.find(" at line ") {
        reason = &reason[..end];
    }
    YamlError {
        document,
        position,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn values(text: &str) -> Vec<Value> {
        read_all(text).unwrap().into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn several_documents() {
        assert_eq!(
            values("a: 1\n---\n# nothing\n---\nb: [x, 2]\n...\n"),
            [json!({"a": 1}), json!({"b": ["x", 2]})]
        );
        assert_eq!(values("{\"a\": {\"b\": null}}"), [json!({"a": {"b": null}})]);
        assert_eq!(values(""), Vec::<Value>::new());
    }

    #[test]
    fn texts_that_older_yaml_took_for_booleans() {
        let expected = json!({"a": "y", "b": "no", "c": true, "d": "on", "e": 8, "f": "0x8"});
        assert_eq!(values("{a: y, b: no, c: true, d: on, e: 8, f: '0x8'}"), [expected]);
    }

    #[test]
    fn windows_line_ends_and_byte_order_mark() {
        let text = "\u{feff}a: 1\r\nb: |\r\n  one\r\n  two\r\n---\r\nc: d\r\n";
        assert_eq!(values(text), [json!({"a": 1, "b": "one\ntwo\n"}), json!({"c": "d"})]);
    }

    #[test]
    fn anchors_and_merge_keys() {
        let text = "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: [*b]\n";
        let expected = json!({"base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}, "list": [{"x": 1, "y": 2}]});
        assert_eq!(values(text), [expected]);
    }

    #[test]
    fn errors_say_where() {
        for (text, document, line) in [
            ("a: [1\n", 1, None),
            ("a: 1\n---\nb: {\n", 2, None),
            ("a: 1\na: 2\n", 1, Some(2)),
            ("a: b: c\n", 1, Some(1)),
        ] {
            let error = read_all(text).unwrap_err();
            assert_eq!(error.document, document, "{text:?}: {error}");
            if let Some(line) = line {
                assert_eq!(error.position.map(|p| p.0), Some(line), "{text:?}: {error}");
            }
            assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn limits_hold() {
        let deep = "[".repeat(limits::MANIFEST_MAX_DEPTH + 2) + &"]".repeat(limits::MANIFEST_MAX_DEPTH + 2);
        assert!(read_all(&deep).is_err());
        let large = "x".repeat(limits::MANIFEST_MAX_BYTES + 1);
        assert!(read_all(&large).unwrap_err().reason.contains("larger"));
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..9 {
            let p = i - 1;
            bomb += &format!("a{i}: &a{i} [*a{p},*a{p},*a{p},*a{p},*a{p},*a{p},*a{p},*a{p},*a{p}]\n");
        }
        assert!(read_all(&bomb).is_err());
    }
}
