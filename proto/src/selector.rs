//! Label and field selectors: their text forms, `LabelSelector`, and whether something matches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::api::meta::v1;
use crate::limits::{SELECTOR_BYTES_MAX, SELECTOR_REQUIREMENTS_MAX};

/// Requirements that labels meet all at once. None of them selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is required of it.
    pub condition: Condition,
}

/// What is required of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is there with one of these values.
    In(BTreeSet<String>),
    /// It is not there, or has none of these values.
    NotIn(BTreeSet<String>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
    /// It is there and an integer above this.
    GreaterThan(i64),
    /// It is there and an integer below this.
    LessThan(i64),
}

/// Text, or a message, that is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// Something else was expected.
    #[error("selector `{text}`: expected {expected} at `{rest}`")]
    Syntax {
        /// The whole selector.
        text: String,
        /// What belongs there.
        expected: &'static str,
        /// What stands there.
        rest: String,
    },
    /// A key is not a label key.
    #[error("`{0}` is not a label key: an optional DNS prefix and `/`, then at most 63 letters, digits, `-`, `_`, `.`")]
    Key(String),
    /// A value is not a label value.
    #[error("`{0}` is not a label value: at most 63 letters, digits, `-`, `_`, `.`, first and last a letter or digit")]
    Value(String),
    /// A message names an operator that does not exist.
    #[error("`{0}` is not an operator: use In, NotIn, Exists or DoesNotExist")]
    Operator(String),
    /// In and NotIn need values, the others have none.
    #[error("operator {operator} of key `{key}` {}", if *.wants_values { "needs values" } else { "takes no values" })]
    Values {
        /// The key.
        key: String,
        /// The operator.
        operator: String,
        /// Whether the operator takes values.
        wants_values: bool,
    },
    /// The selector is longer than [`SELECTOR_BYTES_MAX`] or has more than [`SELECTOR_REQUIREMENTS_MAX`]
    /// requirements.
    #[error("a selector has at most {SELECTOR_BYTES_MAX} bytes and {SELECTOR_REQUIREMENTS_MAX} requirements")]
    TooLong,
}

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Requires exactly these values, as the selectors of services and replication controllers do.
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        let requirement = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            condition: Condition::In(BTreeSet::from([value.clone()])),
        };
        Self {
            requirements: labels.iter().map(requirement).collect(),
        }
    }

    /// The requirements.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the labels meet every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    /// Whether the labels meet it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.condition {
            Condition::In(values) => value.is_some_and(|value| values.contains(value)),
            Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Condition::Exists => value.is_some(),
            Condition::DoesNotExist => value.is_none(),
            Condition::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Condition::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl TryFrom<&v1::LabelSelector> for LabelSelector {
    type Error = InvalidSelector;

    fn try_from(message: &v1::LabelSelector) -> Result<Self, InvalidSelector> {
        let mut selector = Self::from_map(&message.match_labels);
        for (key, value) in &message.match_labels {
            check_key(key)?;
            check_value(value)?;
        }
        for expression in &message.match_expressions {
            selector.requirements.push(Requirement::try_from(expression)?);
        }
        if selector.requirements.len() > SELECTOR_REQUIREMENTS_MAX {
            return Err(InvalidSelector::TooLong);
        }
        Ok(selector)
    }
}

impl TryFrom<&v1::LabelSelectorRequirement> for Requirement {
    type Error = InvalidSelector;

    fn try_from(message: &v1::LabelSelectorRequirement) -> Result<Self, InvalidSelector> {
        check_key(&message.key)?;
        for value in &message.values {
            check_value(value)?;
        }
        let values: BTreeSet<String> = message.values.iter().cloned().collect();
        let wants_values = matches!(message.operator.as_str(), "In" | "NotIn");
        let has_values = !values.is_empty();
        let condition = match message.operator.as_str() {
            "In" => Condition::In(values),
            "NotIn" => Condition::NotIn(values),
            "Exists" => Condition::Exists,
            "DoesNotExist" => Condition::DoesNotExist,
            other => return Err(InvalidSelector::Operator(other.to_owned())),
        };
        if wants_values != has_values {
            return Err(InvalidSelector::Values {
                key: message.key.clone(),
                operator: message.operator.clone(),
                wants_values,
            });
        }
        Ok(Self {
            key: message.key.clone(),
            condition,
        })
    }
}

impl FromStr for LabelSelector {
    type Err = InvalidSelector;

    /// Reads the text form: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, `a>1`, `a<1`
    /// and `a gt 1`, `a lt 1`, joined by commas.
    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(InvalidSelector::TooLong);
        }
        let mut parser = Parser {
            text,
            rest: text.trim(),
        };
        let mut requirements = Vec::new();
        while !parser.rest.is_empty() {
            if requirements.len() == SELECTOR_REQUIREMENTS_MAX {
                return Err(InvalidSelector::TooLong);
            }
            requirements.push(parser.requirement()?);
            if parser.rest.is_empty() {
                break;
            }
            parser.expect(",", "`,`")?;
            if parser.rest.is_empty() {
                return Err(parser.expected("another requirement"));
            }
        }
        Ok(Self { requirements })
    }
}

/// What is left of a label selector's text.
struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, InvalidSelector> {
        if self.take("!") {
            let key = self.key()?;
            return Ok(Requirement {
                key,
                condition: Condition::DoesNotExist,
            });
        }
        let key = self.key()?;
        let condition = if self.rest.is_empty() || self.rest.starts_with(',') {
            Condition::Exists
        } else if self.take("==") || self.take("=") {
            Condition::In(BTreeSet::from([self.value()?]))
        } else if self.take("!=") {
            Condition::NotIn(BTreeSet::from([self.value()?]))
        } else if self.take(">") || self.take_word("gt") {
            Condition::GreaterThan(self.number()?)
        } else if self.take("<") || self.take_word("lt") {
            Condition::LessThan(self.number()?)
        } else if self.take_word("in") {
            Condition::In(self.values()?)
        } else if self.take_word("notin") {
            Condition::NotIn(self.values()?)
        } else {
            return Err(self.expected("an operator"));
        };
        Ok(Requirement { key, condition })
    }

    fn key(&mut self) -> Result<String, InvalidSelector> {
        let word = self.word();
        if word.is_empty() {
            return Err(self.expected("a label key"));
        }
        check_key(word)?;
        Ok(word.to_owned())
    }

    fn value(&mut self) -> Result<String, InvalidSelector> {
        let word = self.word();
        check_value(word)?;
        Ok(word.to_owned())
    }

    fn number(&mut self) -> Result<i64, InvalidSelector> {
        let before = self.rest;
        self.word().parse().map_err(|_| {
            self.rest = before;
            self.expected("an integer")
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, InvalidSelector> {
        self.expect("(", "`(`")?;
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            if self.take(")") {
                return Ok(values);
            }
            self.expect(",", "`,` or `)`")?;
        }
    }

    /// The longest run of characters that keys and values may have.
    fn word(&mut self) -> &'a str {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn take_word(&mut self, word: &str) -> bool {
        let before = self.rest;
        if self.word() == word {
            return true;
        }
        self.rest = before;
        false
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str, name: &'static str) -> Result<(), InvalidSelector> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.expected(name))
        }
    }

    fn expected(&self, expected: &'static str) -> InvalidSelector {
        let rest = if self.rest.is_empty() { "the end" } else { self.rest };
        InvalidSelector::Syntax {
            text: self.text.to_owned(),
            expected,
            rest: rest.to_owned(),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Requirement { key, condition }) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match condition {
                Condition::In(values) => match values.first() {
                    Some(value) if values.len() == 1 => write!(f, "{key}={value}")?,
                    _ => write!(f, "{key} in ({})", joined(values))?,
                },
                Condition::NotIn(values) => match values.first() {
                    Some(value) if values.len() == 1 => write!(f, "{key}!={value}")?,
                    _ => write!(f, "{key} notin ({})", joined(values))?,
                },
                Condition::Exists => write!(f, "{key}")?,
                Condition::DoesNotExist => write!(f, "!{key}")?,
                Condition::GreaterThan(bound) => write!(f, "{key}>{bound}")?,
                Condition::LessThan(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

fn joined(values: &BTreeSet<String>) -> String {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    values.join(",")
}

/// The most bytes of a label's value, and of its key after the prefix.
const NAME_BYTES_MAX: usize = 63;
/// The most bytes of a key's prefix.
const PREFIX_BYTES_MAX: usize = 253;

fn check_key(key: &str) -> Result<(), InvalidSelector> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_prefix = |prefix: &str| {
        let is_label = |label: &str| {
            let bytes = label.as_bytes();
            !bytes.starts_with(b"-")
                && !bytes.ends_with(b"-")
                && !bytes.is_empty()
                && bytes
                    .iter()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        };
        prefix.len() <= PREFIX_BYTES_MAX && prefix.split('.').all(is_label)
    };
    if prefix.is_none_or(is_prefix) && !name.is_empty() && is_name(name) {
        Ok(())
    } else {
        Err(InvalidSelector::Key(key.to_owned()))
    }
}

fn check_value(value: &str) -> Result<(), InvalidSelector> {
    if value.is_empty() || is_name(value) {
        Ok(())
    } else {
        Err(InvalidSelector::Value(value.to_owned()))
    }
}

fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() <= NAME_BYTES_MAX
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// Requirements on an object's fields, all met at once. None of them selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// One requirement on a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Path of JSON names, such as `spec.nodeName`.
    pub path: String,
    /// The value that is compared with.
    pub value: String,
    /// Whether the field must equal the value, or must not.
    pub equal: bool,
}

impl FieldSelector {
    /// The requirements.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the fields meet every requirement. `field` tells a field's value; an unset one is empty.
    pub fn matches<'v>(&self, mut field: impl FnMut(&str) -> &'v str) -> bool {
        self.requirements.iter().all(|r| (field(&r.path) == r.value) == r.equal)
    }

    /// The value that a field must have, if the selector says so.
    pub fn required_value(&self, path: &str) -> Option<&str> {
        let of_path = |r: &&FieldRequirement| r.equal && r.path == path;
        self.requirements.iter().find(of_path).map(|r| r.value.as_str())
    }
}

impl FromStr for FieldSelector {
    type Err = InvalidSelector;

    /// Reads `a.b=c`, `a.b==c` and `a.b!=c`, joined by commas. `\` escapes `,`, `=` and itself in values.
    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(InvalidSelector::TooLong);
        }
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            if term.trim().is_empty() {
                continue;
            }
            if requirements.len() == SELECTOR_REQUIREMENTS_MAX {
                return Err(InvalidSelector::TooLong);
            }
            requirements.push(field_requirement(text, term)?);
        }
        Ok(Self { requirements })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, FieldRequirement { path, value, equal }) in self.requirements.iter().enumerate() {
            let (comma, operator) = (if i > 0 { "," } else { "" }, if *equal { "=" } else { "!=" });
            write!(f, "{comma}{path}{operator}")?;
            for c in value.chars() {
                let escape = if matches!(c, '\\' | ',' | '=') { "\\" } else { "" };
                write!(f, "{escape}{c}")?;
            }
        }
        Ok(())
    }
}

/// The parts between commas that are not escaped.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        if c == ',' && !escaped {
            terms.push(&text[start..i]);
            start = i + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    terms.push(&text[start..]);
    terms
}

fn field_requirement(text: &str, term: &str) -> Result<FieldRequirement, InvalidSelector> {
    let syntax = |expected, rest: &str| InvalidSelector::Syntax {
        text: text.to_owned(),
        expected,
        rest: rest.to_owned(),
    };
    let at = term.find(['=', '!']).ok_or_else(|| syntax("`=` or `!=`", term))?;
    let (path, rest) = term.split_at(at);
    let (equal, value) = if let Some(value) = rest.strip_prefix("!=") {
        (false, value)
    } else if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        (true, value)
    } else {
        return Err(syntax("`=` or `!=`", rest));
    };
    let path = path.trim();
    if path.is_empty() {
        return Err(syntax("a field path", term));
    }
    Ok(FieldRequirement {
        path: path.to_owned(),
        value: unescape(text, value)?,
        equal,
    })
}

fn unescape(text: &str, value: &str) -> Result<String, InvalidSelector> {
    let syntax = |expected| InvalidSelector::Syntax {
        text: text.to_owned(),
        expected,
        rest: value.to_owned(),
    };
    let mut unescaped = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => unescaped.push(c),
                _ => return Err(syntax("`,`, `=` or `\\` after `\\`")),
            },
            '=' => return Err(syntax("`\\=` for an equals sign in a value")),
            c => unescaped.push(c),
        }
    }
    Ok(unescaped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn label_selectors_match() {
        let labels = labels(&[("app", "web"), ("tier", "1"), ("x.io/y", "")]);
        let cases = [
            ("", true),
            ("app", true),
            ("!app", false),
            ("! missing", true),
            ("app=web", true),
            ("app = web , tier == 1", true),
            ("app!=web", false),
            ("missing!=web", true),
            ("app in (db, web)", true),
            ("app in(db)", false),
            ("app notin (db,web)", false),
            ("missing notin (a)", true),
            ("missing in (a)", false),
            ("tier>0,tier<2", true),
            ("tier gt 1", false),
            ("tier lt 2", true),
            ("app>0", false),
            ("x.io/y=", true),
            ("x.io/y in (,a)", true),
            ("in", false),
            ("in in (in)", false),
        ];
        for (text, matches) in cases {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.matches(&labels), matches, "{text}");
            assert_eq!(
                selector.to_string().parse::<LabelSelector>().unwrap(),
                selector,
                "{text}"
            );
        }
    }

    #[test]
    fn label_selectors_refused() {
        let cases = [
            ("a=b,", "expected another requirement at `the end`"),
            (",", "expected a label key at `,`"),
            ("a b", "expected an operator at `b`"),
            ("a in b", "expected `(` at `b`"),
            ("a in (b", "expected `,` or `)` at `the end`"),
            ("a in (b c)", "expected `,` or `)` at `c)`"),
            ("a>b", "expected an integer at `b`"),
            ("a=b c", "expected `,` at `c`"),
            ("-a=b", "`-a` is not a label key"),
            ("A/a=b", "`A/a` is not a label key"),
            ("a/b/c", "`a/b/c` is not a label key"),
            ("a=b/c", "`b/c` is not a label value"),
            ("!", "expected a label key at `the end`"),
        ];
        for (text, message) in cases {
            let error = text.parse::<LabelSelector>().unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        let long_key = "a".repeat(NAME_BYTES_MAX + 1);
        assert!(long_key.parse::<LabelSelector>().is_err());
        assert!(long_key[1..].parse::<LabelSelector>().is_ok());
        let longest = " ".repeat(SELECTOR_BYTES_MAX);
        assert!(longest.parse::<LabelSelector>().unwrap().is_everything());
        assert!(longest.parse::<FieldSelector>().unwrap().is_everything());
        let too_long = " ".repeat(SELECTOR_BYTES_MAX + 1);
        assert_eq!(too_long.parse::<LabelSelector>(), Err(InvalidSelector::TooLong));
        assert_eq!(too_long.parse::<FieldSelector>(), Err(InvalidSelector::TooLong));
        let requirements = |count: usize| vec!["a=b"; count].join(",");
        let (most, too_many) = (
            requirements(SELECTOR_REQUIREMENTS_MAX),
            requirements(SELECTOR_REQUIREMENTS_MAX + 1),
        );
        assert!(most.parse::<LabelSelector>().is_ok() && most.parse::<FieldSelector>().is_ok());
        assert_eq!(too_many.parse::<LabelSelector>(), Err(InvalidSelector::TooLong));
        assert_eq!(too_many.parse::<FieldSelector>(), Err(InvalidSelector::TooLong));
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> v1::LabelSelectorRequirement {
        v1::LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    #[test]
    fn label_selector_messages() {
        let message = v1::LabelSelector {
            match_labels: labels(&[("app", "web")]),
            match_expressions: vec![
                expression("a", "In", &["1", "2"]),
                expression("b", "NotIn", &["3"]),
                expression("c", "Exists", &[]),
                expression("d", "DoesNotExist", &[]),
            ],
        };
        let selector = LabelSelector::try_from(&message).unwrap();
        assert_eq!(selector.to_string(), "app=web,a in (1,2),b!=3,c,!d");
        assert!(selector.matches(&labels(&[("app", "web"), ("a", "2"), ("c", "")])));
        assert!(!selector.matches(&labels(&[("app", "web"), ("a", "2"), ("c", ""), ("b", "3")])));

        for (bad, message) in [
            (expression("a", "In", &[]), "needs values"),
            (expression("a", "Exists", &["1"]), "takes no values"),
            (expression("a", "Like", &["1"]), "`Like` is not an operator"),
            (expression("-", "Exists", &[]), "not a label key"),
            (expression("a", "In", &["?"]), "not a label value"),
        ] {
            let error = Requirement::try_from(&bad).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn field_selectors() {
        let selector: FieldSelector = "metadata.name=a,spec.nodeName!=,status.phase==Run\\,ning"
            .parse()
            .unwrap();
        assert_eq!(selector.required_value("metadata.name"), Some("a"));
        assert_eq!(selector.required_value("spec.nodeName"), None);
        let field = |node: &'static str| {
            move |path: &str| match path {
                "metadata.name" => "a",
                "spec.nodeName" => node,
                _ => "Run,ning",
            }
        };
        assert!(selector.matches(field("n")));
        assert!(!selector.matches(field("")));
        assert!("".parse::<FieldSelector>().unwrap().is_everything());
        for text in ["a", "=b", "a=b=c", "a=\\x", "a!b"] {
            assert!(text.parse::<FieldSelector>().is_err(), "{text}");
        }
    }

    #[test]
    fn field_selectors_are_written_as_they_are_read() {
        for (text, written) in [
            ("", ""),
            ("a.b==c", "a.b=c"),
            (" a!=x , b=", "a!=x ,b="),
            (r"a=x\,y,b=\=\\", r"a=x\,y,b=\=\\"),
        ] {
            let selector: FieldSelector = text.parse().unwrap();
            assert_eq!(selector.to_string(), written);
            assert_eq!(written.parse::<FieldSelector>().unwrap(), selector);
        }
    }
}
