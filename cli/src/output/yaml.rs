//! Writes JSON values as YAML, the way `kubectl` prints objects: keys in order, two spaces, list items level
//! with their key, block scalars for text of several lines. Small and deterministic, on purpose.

use std::fmt::Write;

use serde_json::Value;

/// The YAML of a value, ending in a line break.
pub(crate) fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(&mut out, map, 0),
        Value::Array(items) if !items.is_empty() => write_list(&mut out, items, 0),
        other => {
            write_scalar(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Writes a map whose first line is indented already.
fn write_map(out: &mut String, map: &serde_json::Map<String, Value>, depth: usize) {
    for (position, (key, value)) in map.iter().enumerate() {
        if position > 0 {
            indent(out, depth);
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value, depth);
    }
}

/// Writes what follows a key's colon.
fn write_value(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            indent(out, depth + 1);
            write_map(out, map, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            indent(out, depth);
            write_list(out, items, depth);
        }
        other => {
            out.push(' ');
            write_scalar(out, other, depth + 1);
            out.push('\n');
        }
    }
}

/// Writes a list whose first line is indented already.
fn write_list(out: &mut String, items: &[Value], depth: usize) {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            indent(out, depth);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => write_map(out, map, depth + 1),
            Value::Array(inner) if !inner.is_empty() => write_list(out, inner, depth + 1),
            other => {
                write_scalar(out, other, depth + 1);
                out.push('\n');
            }
        }
    }
}

fn write_scalar(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) if is_block(text) => write_block(out, text, depth),
        Value::String(text) => write_string(out, text),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// Whether a text reads well as a block scalar, and comes back from one unchanged.
fn is_block(text: &str) -> bool {
    let printable = text
        .chars()
        .all(|c| c == '\n' || c == '\t' || !(c.is_control() || is_odd(c)));
    let first_line = text.split('\n').next().unwrap_or_default();
    // A first line that is empty or indented would need an indentation indicator; a line of only blanks may be lost.
    let plain_start = !first_line.is_empty() && !first_line.starts_with([' ', '\t']);
    let no_blank_lines = text.split('\n').all(|line| line.is_empty() || !line.trim().is_empty());
    text.trim_end_matches('\n').contains('\n') && printable && plain_start && no_blank_lines
}

/// Characters that YAML takes for line breaks or does not allow.
fn is_odd(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn write_block(out: &mut String, text: &str, depth: usize) {
    let body = text.trim_end_matches('\n');
    let breaks = text.len() - body.len();
    out.push('|');
    match breaks {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    for line in body
        .split('\n')
        .chain(std::iter::repeat_n("", breaks.saturating_sub(1)))
    {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
    } else if needs_escapes(text) || means_something_else(text) || text.is_empty() || !text.contains(['"', '\\']) {
        write_double_quoted(out, text);
    } else {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    }
}

fn needs_escapes(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || is_odd(c))
}

fn write_double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_odd(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether a text can stand unquoted and is read back as the same text by YAML 1.1 and 1.2 alike.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    let safe_first = first.is_alphanumeric() || matches!(first, '/' | '_' | '.' | '(' | '$' | '^' | '+') || {
        // A dash may begin a word (`-v`), but not a list item or a document.
        first == '-' && !text.starts_with("---") && text.chars().nth(1).is_some_and(|c| !c.is_whitespace())
    };
    let safe_inside = !text.chars().any(|c| c.is_control() || is_odd(c));
    let no_markers = !text.contains(": ") && !text.contains(" #") && !text.ends_with(':');
    let trimmed = text.trim() == text;
    safe_first && safe_inside && no_markers && trimmed && !means_something_else(text)
}

/// Whether YAML would read the text as a number, a boolean, null or a time.
fn means_something_else(text: &str) -> bool {
    const WORDS: [&str; 13] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf", "-.inf", "+.inf",
    ];
    let lower = text.to_ascii_lowercase();
    if WORDS.contains(&lower.as_str()) {
        return true;
    }
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    is_number(unsigned) || is_sexagesimal(unsigned) || is_date(unsigned)
}

fn is_number(text: &str) -> bool {
    let digits = text.replace('_', "");
    let based = |prefix: &str, radix: u32| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let decimal = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'))
        && digits.parse::<f64>().is_ok();
    decimal || based("0x", 16) || based("0o", 8) || based("0b", 2)
}

/// `12:30:45`, which older YAML takes for a number to the base of sixty.
fn is_sexagesimal(text: &str) -> bool {
    text.contains(':')
        && text
            .split(':')
            .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | '.')))
}

/// `2001-01-23`, with or without a time.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let digits = |part: Option<&str>, most: usize| {
        part.is_some_and(|p| !p.is_empty() && p.len() <= most && p.chars().all(|c| c.is_ascii_digit()))
    };
    digits(parts.next(), 4)
        && digits(parts.next(), 2)
        && parts
            .next()
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn looks_like_kubectl() {
        let value = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "data": {"a.conf": "one\ntwo\n", "b": "x\ny", "c": "", "d": "true", "e": "1e3", "f": "it's"},
            "list": [{"name": "a", "args": ["-v", "--level=3"], "empty": []}, [1, 2], "x"],
            "empty": {},
            "number": 5,
            "nothing": null,
        });
        expect![[r#"
            apiVersion: v1
            data:
              a.conf: |
                one
                two
              b: |-
                x
                y
              c: ""
              d: "true"
              e: "1e3"
              f: it's
            empty: {}
            kind: ConfigMap
            list:
            - args:
              - -v
              - --level=3
              empty: []
              name: a
            - - 1
              - 2
            - x
            nothing: null
            number: 5
        "#]]
        .assert_eq(&to_string(&value));
    }

    #[test]
    fn every_text_comes_back() {
        for text in [
            "",
            " ",
            "a",
            "- a",
            "-",
            "--",
            "-5",
            "0x1F",
            "1_000",
            "12:30:45",
            "2001-01-23",
            "~",
            "null",
            "Yes",
            "no",
            ".5",
            "1.",
            "a: b",
            "a:",
            "a #b",
            "#a",
            "'",
            "\"",
            "a\tb",
            "a\nb",
            "a\nb\n",
            "a\nb\n\n\n",
            "\na",
            " a\nb",
            "a\n b",
            "a\n\nb",
            "a\n  \nb",
            "a\r\nb\r\n",
            "\u{1b}[0m",
            "é",
            "\u{2028}x",
            "{a}",
            "[a]",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "|",
            ">",
            "?",
            "? a",
            "a'b\"c",
            "a\\b",
            "trailing ",
            "=",
            "<<",
            "\u{feff}x",
            "100m",
            "128Mi",
            "1e3",
            "0o17",
            "sha256:12ab",
            "registry/a:1.2",
            "0c7c9dd3-4320-4bcc",
            "12e45",
            "1e",
            "0b11",
            "1.2.3.4",
            "1-2",
            "2024-01-01T00:00:00Z",
            "127.0.0.1",
            "+.inf",
            ".NaN",
        ] {
            let value = json!({ text: text, "list": [text, [text]], "map": {"key": text} });
            let yaml = to_string(&value);
            let back: Value = serde_saphyr::from_str(&yaml).unwrap_or_else(|e| panic!("{text:?}: {e}\n{yaml}"));
            assert_eq!(back, value, "{text:?}\n{yaml}");
        }
    }
}
