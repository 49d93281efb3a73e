//! `kubectl`'s JSON path templates, the part of them that people use: text, `{.a.b}`, `{.a[0]}`, `{.a[*].b}`, `{..name}`,
//! `{['a.b']}`, `{.items[?(@.kind=="Pod")].x}`, `{range .items[*]}...{end}`, `{"\n"}`.

use std::str::FromStr;

use serde_json::Value;

/// A template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonPath(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Descend(String),
    Filter {
        path: Vec<Step>,
        operator: Option<(Operator, String)>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(template: &str) -> Result<Self, String> {
        // A bare path without braces is a path, as in `--for=jsonpath=.status.phase`.
        let template = if template.contains('{') {
            template.to_owned()
        } else {
            format!("{{{template}}}")
        };
        let mut parser = Parser { rest: &template };
        let pieces = parser.pieces(false)?;
        Ok(Self(pieces))
    }
}

impl JsonPath {
    /// The text that the template makes of a value.
    pub(crate) fn render(&self, value: &Value) -> String {
        let mut out = String::new();
        render(&self.0, value, &mut out);
        out
    }

    /// The values that the template's paths find, as texts.
    pub(crate) fn values(&self, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        for piece in &self.0 {
            if let Piece::Path(steps) = piece {
                found.extend(walk(steps, value).into_iter().map(text_of));
            }
        }
        found
    }
}

fn render(pieces: &[Piece], value: &Value, out: &mut String) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Path(steps) => {
                let texts: Vec<String> = walk(steps, value).into_iter().map(text_of).collect();
                out.push_str(&texts.join(" "));
            }
            Piece::Range(steps, inner) => walk(steps, value).into_iter().for_each(|item| render(inner, item, out)),
        }
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn walk<'v>(steps: &[Step], value: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![value];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            advance(step, value, &mut next);
        }
        found = next;
    }
    found
}

fn advance<'v>(step: &Step, value: &'v Value, next: &mut Vec<&'v Value>) {
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => next.extend(map.get(name)),
        (Step::Index(index), Value::Array(items)) => {
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let position = if *index < 0 { length + index } else { *index };
            next.extend(usize::try_from(position).ok().and_then(|p| items.get(p)));
        }
        (Step::All, Value::Array(items)) => next.extend(items),
        (Step::All, Value::Object(map)) => next.extend(map.values()),
        (Step::Descend(name), value) => descend(name, value, next),
        (Step::Filter { path, operator }, Value::Array(items)) => {
            next.extend(items.iter().filter(|item| passes(path, operator.as_ref(), item)));
        }
        _ => {}
    }
}

fn descend<'v>(name: &str, value: &'v Value, next: &mut Vec<&'v Value>) {
    match value {
        Value::Object(map) => {
            next.extend(map.get(name));
            map.values().for_each(|v| descend(name, v, next));
        }
        Value::Array(items) => items.iter().for_each(|v| descend(name, v, next)),
        _ => {}
    }
}

fn passes(path: &[Step], operator: Option<&(Operator, String)>, item: &Value) -> bool {
    let found = walk(path, item);
    match operator {
        None => !found.is_empty(),
        Some((Operator::Equal, wanted)) => found.iter().any(|v| text_of(v) == *wanted),
        Some((Operator::NotEqual, wanted)) => found.iter().all(|v| text_of(v) != *wanted),
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    /// Pieces up to the end of the template, or up to `{end}` inside a range.
    fn pieces(&mut self, in_range: bool) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        while !self.rest.is_empty() {
            let open = self.rest.find('{').unwrap_or(self.rest.len());
            if open > 0 {
                pieces.push(Piece::Text(self.rest[..open].to_owned()));
                self.rest = &self.rest[open..];
                continue;
            }
            let close = closing_brace(self.rest).ok_or("a { has no }")?;
            let inside = self.rest[1..close].trim();
            self.rest = &self.rest[close + 1..];
            if inside == "end" {
                return if in_range {
                    Ok(pieces)
                } else {
                    Err("{end} without {range}".to_owned())
                };
            }
            if let Some(path) = inside.strip_prefix("range ") {
                let steps = steps(path.trim())?;
                pieces.push(Piece::Range(steps, self.pieces(true)?));
            } else if inside.starts_with(['"', '\'']) {
                pieces.push(Piece::Text(unquote(inside)?));
            } else {
                pieces.push(Piece::Path(steps(inside)?));
            }
        }
        if in_range {
            Err("{range} has no {end}".to_owned())
        } else {
            Ok(pieces)
        }
    }
}

/// Where the brace that opens a text closes, minding quotes.
fn closing_brace(text: &str) -> Option<usize> {
    let mut quote = None;
    for (position, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '}') => return Some(position),
            _ => {}
        }
    }
    None
}

fn unquote(text: &str) -> Result<String, String> {
    let quote = text.chars().next().unwrap_or('"');
    let inner = text
        .strip_prefix(quote)
        .and_then(|t| t.strip_suffix(quote))
        .ok_or_else(|| format!("{text}: a quote is missing"))?;
    Ok(inner
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("\\\"", "\"")
        .replace("\\'", "'")
        .replace("\\\\", "\\"))
}

fn steps(path: &str) -> Result<Vec<Step>, String> {
    let mut rest = path
        .strip_prefix('$')
        .or_else(|| path.strip_prefix('@'))
        .unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            let (name, after) = field_name(after);
            steps.push(Step::Descend(name));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let close = closing_bracket(after).ok_or_else(|| format!("{path}: a [ has no ]"))?;
            steps.push(bracket(&after[..close])?);
            rest = &after[close + 1..];
        } else if let Some(after) = rest.strip_prefix('.') {
            let (name, after) = field_name(after);
            if !name.is_empty() {
                steps.push(if name == "*" { Step::All } else { Step::Field(name) });
            }
            rest = after;
        } else if steps.is_empty() {
            let (name, after) = field_name(rest);
            steps.push(Step::Field(name));
            rest = after;
        } else {
            return Err(format!("{path}: . or [ is expected before {rest:?}"));
        }
    }
    Ok(steps)
}

/// Up to the next step; a dot that belongs to the name is written `\.`.
fn field_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((position, c)) = characters.next() {
        match c {
            '\\' => name.extend(characters.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[position..]),
            c => name.push(c),
        }
    }
    (name, "")
}

fn closing_bracket(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    for (position, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(position),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inside: &str) -> Result<Step, String> {
    let inside = inside.trim();
    if inside == "*" {
        return Ok(Step::All);
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        for (sign, operator) in [("==", Operator::Equal), ("!=", Operator::NotEqual)] {
            if let Some((left, right)) = filter.split_once(sign) {
                let right = right.trim();
                let wanted = if right.starts_with(['"', '\'']) {
                    unquote(right)?
                } else {
                    right.to_owned()
                };
                return Ok(Step::Filter {
                    path: steps(left.trim())?,
                    operator: Some((operator, wanted)),
                });
            }
        }
        return Ok(Step::Filter {
            path: steps(filter.trim())?,
            operator: None,
        });
    }
    if inside.starts_with(['"', '\'']) {
        return Ok(Step::Field(unquote(inside)?));
    }
    inside
        .parse()
        .map(Step::Index)
        .map_err(|_| format!("[{inside}] is not a position, a name in quotes, * or ?(...)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates() {
        let value = json!({
            "kind": "List",
            "items": [
                {"metadata": {"name": "a", "labels": {"app.io/x": "1"}}, "status": {"phase": "Running", "n": 1}},
                {"metadata": {"name": "b"}, "status": {"phase": "Pending", "ready": true}},
            ],
        });
        for (template, expected) in [
            ("{.kind}", "List"),
            (".kind", "List"),
            ("{$.kind}", "List"),
            ("kind: {.kind}!", "kind: List!"),
            ("{.items[*].metadata.name}", "a b"),
            ("{.items[0].metadata.name} {.items[-1].metadata.name}", "a b"),
            ("{.items[5].metadata.name}", ""),
            (
                "{range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\n\"}{end}",
                "a\tRunning\nb\tPending\n",
            ),
            ("{.items[?(@.status.phase==\"Pending\")].metadata.name}", "b"),
            ("{.items[?(@.status.phase!='Pending')].metadata.name}", "a"),
            ("{.items[?(@.status.ready)].metadata.name}", "b"),
            ("{.items[0].metadata.labels['app.io/x']}", "1"),
            ("{.items[0].metadata.labels.app\\.io/x}", "1"),
            ("{..name}", "a b"),
            ("{.items[0].status}", "{\"n\":1,\"phase\":\"Running\"}"),
            ("{.missing.x}", ""),
        ] {
            let parsed: JsonPath = template.parse().unwrap_or_else(|e| panic!("{template}: {e}"));
            assert_eq!(parsed.render(&value), expected, "{template}");
        }
    }

    #[test]
    fn mistakes() {
        for template in ["{.a", "{range .a}x", "{end}", "{.a[x]}", "{.a[1}", "{\"x}"] {
            assert!(template.parse::<JsonPath>().is_err(), "{template}");
        }
    }
}
