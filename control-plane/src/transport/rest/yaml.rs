//! YAML in and out, as JSON with another coat: it is turned to JSON once, within limits, and everything after that knows JSON
//! alone (invariant I9).

use serde_json::Value;
use serde_saphyr::{Budget, DuplicateKeyPolicy, Options};

use crate::{limits, pipeline::Validation, status::ApiError};

/// A document in JSON.
#[derive(Debug)]
pub(super) struct Read {
    /// The text.
    pub(super) json: Vec<u8>,
    /// What people should know of it.
    pub(super) warnings: Vec<String>,
}

/// Reads the one document of a body.
///
/// # Errors
/// `BadRequest` for what is no YAML, has a key twice that must not, or is beyond a limit.
pub(super) fn read(body: &[u8], validation: Validation) -> Result<Read, ApiError> {
    let mut warnings = Vec::new();
    let value = match parse(body, DuplicateKeyPolicy::Error) {
        Ok(value) => value,
        Err(error) if validation == Validation::Strict => return Err(refused(&error)),
        Err(error) => {
            // If it was but a key that stands twice, the last one counts.
            let value = parse(body, DuplicateKeyPolicy::LastWins).map_err(|error| refused(&error))?;
            if validation == Validation::Warn {
                warnings.push(one_line(&error));
            }
            value
        }
    };
    let json = serde_json::to_vec(&value)
        .map_err(|error| ApiError::bad_request(format!("the YAML document has no JSON: {error}")))?;
    if json.len() > limits::REQUEST_MAX_BYTES {
        let limit = limits::REQUEST_MAX_BYTES;
        return Err(ApiError::too_large(format!(
            "Request entity too large: limit is {limit}, and with its aliases the document has more"
        )));
    }
    Ok(Read { json, warnings })
}

/// Writes a JSON document as YAML.
///
/// # Errors
/// `InternalError` if it cannot be written.
pub(super) fn write(json: &[u8]) -> Result<String, ApiError> {
    let value: Value =
        serde_json::from_slice(json).map_err(|error| ApiError::internal("an answer is no JSON").context(error))?;
    serde_saphyr::to_string(&value).map_err(|error| ApiError::internal("an answer has no YAML").context(error))
}

fn parse(body: &[u8], duplicate_keys: DuplicateKeyPolicy) -> Result<Value, serde_saphyr::Error> {
    // A byte order mark, which some editors write, is not part of the first key.
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let mut budget = Budget::default();
    budget.max_depth = trireme_logic::limits::JSON_DEPTH;
    budget.max_documents = 1;
    budget.max_aliases = limits::YAML_ALIASES_MAX;
    budget.max_anchors = limits::YAML_ALIASES_MAX;
    budget.max_nodes = limits::YAML_NODES_MAX;
    budget.max_total_scalar_bytes = limits::REQUEST_MAX_BYTES;
    budget.max_reader_input_bytes = Some(limits::REQUEST_MAX_BYTES);
    let mut options = Options::default();
    options.budget = Some(budget);
    options.with_snippet = false;
    options.duplicate_keys = duplicate_keys;
    // A label `y` or a value `no` is a text.
    options.strict_booleans = true;
    serde_saphyr::from_slice_with_options(body, options)
}

fn refused(error: &serde_saphyr::Error) -> ApiError {
    ApiError::bad_request(format!("yaml: {}", one_line(error)))
}

fn one_line(error: &serde_saphyr::Error) -> String {
    let full = error.without_snippet().to_string();
    full.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        let read = read(text.as_bytes(), Validation::Strict).unwrap_or_else(|error| panic!("{text}: {error}"));
        serde_json::from_slice(&read.json).expect("JSON")
    }

    #[test]
    fn documents_as_people_write_them() {
        assert_eq!(value("a: 1\r\nb: |\r\n  one\r\n"), json!({"a": 1, "b": "one\n"}));
        assert_eq!(
            value("\u{feff}---\na: y\nb: no\nc: true\n"),
            json!({"a": "y", "b": "no", "c": true})
        );
        assert_eq!(
            value("base: &b {x: 1}\nmore: {<<: *b, y: 2}\n"),
            json!({"base": {"x": 1}, "more": {"x": 1, "y": 2}})
        );
        assert_eq!(value("{\"a\": null}"), json!({"a": null}));
    }

    #[test]
    fn a_key_that_stands_twice() {
        let text = b"a: 1\na: 2\n";
        assert!(read(text, Validation::Strict).is_err());
        let warned = read(text, Validation::Warn).expect("the last one counts");
        assert_eq!((warned.json.as_slice(), warned.warnings.len()), (&b"{\"a\":2}"[..], 1));
        let silent = read(text, Validation::Ignore).expect("the last one counts");
        assert_eq!(silent.warnings, Vec::<String>::new());
    }

    #[test]
    fn attacks_end_early() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let below = vec![format!("*a{}", level - 1); 10].join(",");
            bomb += &format!("a{level}: &a{level} [{below}]\n");
        }
        let long = format!("a: &a {}\n{}", "x".repeat(1 << 20), "b: *a\n".repeat(3));
        let aliases = format!("a: &a x\nb: [{}]", "*a,".repeat(limits::YAML_ALIASES_MAX + 1));
        let nodes = format!("[{}]", "1,".repeat(limits::YAML_NODES_MAX + 1));
        for text in [&deep, &bomb, &long, &aliases, &nodes, "a: [", "a: 1\n---\nb: 2\n"] {
            for validation in [Validation::Strict, Validation::Ignore] {
                let error = read(text.as_bytes(), validation).expect_err("refused");
                assert!(matches!(error.reason().http_code(), 400 | 413), "{error}");
            }
        }
    }

    #[test]
    fn limits_are_met_exactly() {
        let anchors = |count: usize| -> String { (0..count).map(|index| format!("k{index}: &a{index} x\n")).collect() };
        // Each anchor is used twice: one that is used again and again is refused for that already.
        let aliases = |count: usize| {
            let used: Vec<String> = (0..count).map(|index| format!("*a{}", index / 2)).collect();
            format!("{}all: [{}]\n", anchors(count.div_ceil(2)), used.join(","))
        };
        let depth = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        // The list itself is one of them.
        let nodes = |count: usize| format!("[{}1]", "1,".repeat(count - 2));
        for (name, text, most) in [
            (
                "aliases",
                &aliases as &dyn Fn(usize) -> String,
                limits::YAML_ALIASES_MAX,
            ),
            ("anchors", &anchors, limits::YAML_ALIASES_MAX),
            ("depth", &depth, trireme_logic::limits::JSON_DEPTH),
            ("nodes", &nodes, limits::YAML_NODES_MAX),
        ] {
            read(text(most).as_bytes(), Validation::Ignore).unwrap_or_else(|error| panic!("{name}: {error}"));
            let error = read(text(most + 1).as_bytes(), Validation::Ignore).expect_err(name);
            assert_eq!(error.reason(), crate::status::Reason::BadRequest, "{name}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = [
            "",
            " ",
            "1",
            "1.0",
            "1e3",
            "0x1f",
            "true",
            "no",
            "y",
            "null",
            "~",
            "- a",
            "a: b",
            "#",
            "&a",
            "*a",
            "!x",
            "%",
            "@",
            "`",
            "'",
            "\"",
            "\\",
            "a\nb\n",
            "\n",
            " a",
            "a ",
            "{}",
            "[]",
            "2001-01-01",
            "<<",
            "=",
            ".inf",
            "\u{7f}",
            "\u{85}",
            "é\u{2028}",
            "-",
            "?",
            "---",
            "...",
            "012",
            "+1",
            "1_000",
            "a\tb",
            "\u{0}",
        ];
        for part in text {
            for value in [json!({"k": part}), json!([part]), json!({part: {"x": [[part], {}]}})] {
                let yaml = write(value.to_string().as_bytes()).expect("YAML");
                let read =
                    read(yaml.as_bytes(), Validation::Strict).unwrap_or_else(|error| panic!("{yaml:?}: {error}"));
                let back: Value = serde_json::from_slice(&read.json).expect("JSON");
                assert_eq!(back, value, "{yaml:?}");
            }
        }
        let numbers =
            json!({"a": 0, "b": -5, "c": 1.5, "d": 9_007_199_254_740_993_i64, "e": true, "f": null, "g": [], "h": {}});
        assert_eq!(value(&write(numbers.to_string().as_bytes()).expect("YAML")), numbers);
    }
}
