//! Describes an object of any kind for people: its fields as an outline, its conditions as a table, its events. Pure.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::duration;
use crate::object::Object;
use crate::output::table::{Table, harmless};

/// Annotations that only programs read.
const HIDDEN_ANNOTATIONS: [&str; 1] = [crate::apply::LAST_APPLIED];

/// Metadata that is shown at the top, or to nobody.
const TOP_OR_HIDDEN_METADATA: [&str; 6] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "managedFields",
    "generateName",
];

/// The description.
pub(crate) fn describe(object: &Object, events: &[Object], now: Timestamp) -> String {
    let mut lines = Lines::default();
    lines.pair(0, "Name", object.name());
    if !object.namespace().is_empty() {
        lines.pair(0, "Namespace", object.namespace());
    }
    lines.texts("Labels", object.texts("/metadata/labels").into_iter());
    let annotations = object.texts("/metadata/annotations").into_iter();
    lines.texts(
        "Annotations",
        annotations.filter(|(key, _)| !HIDDEN_ANNOTATIONS.contains(key)),
    );
    lines.pair(0, "API Version", object.api_version());
    lines.pair(0, "Kind", object.kind());
    if let Some(Value::Object(metadata)) = object.value().get("metadata") {
        let rest = metadata
            .iter()
            .filter(|(key, _)| !TOP_OR_HIDDEN_METADATA.contains(&key.as_str()));
        let rest: Map<String, Value> = rest.map(|(k, v)| (k.clone(), v.clone())).collect();
        lines.title(0, "Metadata");
        lines.map(1, &rest);
    }
    if let Value::Object(fields) = object.value() {
        for (key, value) in fields
            .iter()
            .filter(|(key, _)| !["apiVersion", "kind", "metadata"].contains(&key.as_str()))
        {
            lines.field(0, key, value);
        }
    }
    let mut text = lines.render();
    text.push_str(&events_section(events, now));
    text
}

/// Fields whose keys are the user's own words, not names of fields.
const DATA_MAPS: [&str; 14] = [
    "allocatable",
    "annotations",
    "binaryData",
    "capacity",
    "data",
    "hard",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
    "selector",
    "stringData",
    "used",
];

/// `startTime` as `Start Time`.
fn heading(key: &str) -> String {
    let mut heading = String::new();
    let mut previous_lower = false;
    for (position, c) in key.chars().enumerate() {
        if c.is_uppercase() && previous_lower {
            heading.push(' ');
        }
        previous_lower = c.is_lowercase() || c.is_ascii_digit();
        if position == 0 {
            heading.extend(c.to_uppercase());
        } else {
            heading.push(c);
        }
    }
    heading
}

/// Lines of an outline; values of one level stand in one column.
#[derive(Default)]
struct Lines(Vec<Line>);

struct Line {
    depth: usize,
    label: String,
    value: String,
    /// Consecutive lines of one group and depth are aligned.
    group: usize,
    /// Printed as it is.
    raw: bool,
}

impl Lines {
    fn push(&mut self, depth: usize, label: String, value: String) {
        let group = match self.0.last() {
            Some(last) if last.depth == depth && !last.raw => last.group,
            Some(last) => last.group + 1,
            None => 0,
        };
        self.0.push(Line {
            depth,
            label,
            value,
            group,
            raw: false,
        });
    }

    fn pair(&mut self, depth: usize, label: &str, value: &str) {
        let value = if value.is_empty() {
            "<none>".to_owned()
        } else {
            harmless(value.to_owned())
        };
        self.push(depth, format!("{label}:"), value);
    }

    fn title(&mut self, depth: usize, label: &str) {
        self.push(depth, format!("{label}:"), String::new());
    }

    fn raw(&mut self, depth: usize, text: &str) {
        let group = self.0.last().map_or(0, |last| last.group + 1);
        self.0.push(Line {
            depth,
            label: text.to_owned(),
            value: String::new(),
            group,
            raw: true,
        });
    }

    /// Keys with values, the first beside the label.
    fn texts<'t>(&mut self, label: &str, texts: impl Iterator<Item = (&'t str, &'t str)>) {
        let texts: Vec<String> = texts.map(|(key, value)| harmless(format!("{key}={value}"))).collect();
        match texts.split_first() {
            None => self.pair(0, label, "<none>"),
            Some((first, rest)) => {
                self.pair(0, label, first);
                rest.iter().for_each(|text| self.push(0, String::new(), text.clone()));
            }
        }
    }

    fn map(&mut self, depth: usize, map: &Map<String, Value>) {
        for (key, value) in map {
            self.field(depth, key, value);
        }
    }

    fn field(&mut self, depth: usize, key: &str, value: &Value) {
        let label = heading(key);
        match value {
            Value::Object(map) if map.is_empty() => {}
            Value::Array(items) if items.is_empty() => {}
            Value::Null => {}
            // A selector of the structured form holds fields, the plain form labels.
            Value::Object(map) if DATA_MAPS.contains(&key) && !map.values().any(Value::is_object) => {
                self.title(depth, &label);
                map.iter().for_each(|(key, value)| self.datum(depth + 1, key, value));
            }
            Value::Object(map) => {
                self.title(depth, &label);
                self.map(depth + 1, map);
            }
            Value::Array(items) if items.iter().all(|i| !i.is_object() && !i.is_array()) => {
                self.title(depth, &label);
                items
                    .iter()
                    .for_each(|item| self.raw(depth + 1, &harmless(text_of(item))));
            }
            Value::Array(items) if key == "conditions" => {
                self.title(depth, &label);
                conditions(items).lines().for_each(|line| self.raw(depth + 1, line));
            }
            Value::Array(items) => {
                self.title(depth, &label);
                for (position, item) in items.iter().enumerate() {
                    self.item(depth + 1, position, item);
                }
            }
            Value::String(text) if text.trim_end().contains('\n') => {
                self.title(depth, &label);
                text.lines()
                    .for_each(|line| self.raw(depth + 1, &harmless(line.to_owned())));
            }
            other => self.pair(depth, &label, &text_of(other)),
        }
    }

    /// A key of the user's own with its value.
    fn datum(&mut self, depth: usize, key: &str, value: &Value) {
        let text = text_of(value);
        if text.trim_end().contains('\n') {
            self.title(depth, &harmless(key.to_owned()));
            text.lines()
                .for_each(|line| self.raw(depth + 1, &harmless(line.to_owned())));
        } else {
            self.pair(depth, &harmless(key.to_owned()), text.trim_end());
        }
    }

    /// An item of a list, under its name if it has one.
    fn item(&mut self, depth: usize, position: usize, item: &Value) {
        let Value::Object(map) = item else {
            self.raw(depth, &harmless(item.to_string()));
            return;
        };
        match map.get("name").and_then(Value::as_str) {
            Some(name) => {
                self.title(depth, &harmless(name.to_owned()));
                let rest: Map<String, Value> = map
                    .iter()
                    .filter(|(key, _)| *key != "name")
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                self.map(depth + 1, &rest);
            }
            None => {
                self.title(depth, &format!("[{position}]"));
                self.map(depth + 1, map);
            }
        }
    }

    fn render(&self) -> String {
        let width_of = |line: &Line| line.label.chars().count();
        let mut text = String::new();
        for line in &self.0 {
            let indentation = "  ".repeat(line.depth);
            if line.raw || line.value.is_empty() {
                text.push_str(&format!("{indentation}{}\n", line.label));
                continue;
            }
            let fellows = self
                .0
                .iter()
                .filter(|other| other.group == line.group && !other.value.is_empty());
            let width = fellows.map(width_of).max().unwrap_or(0);
            let padding = " ".repeat(width - width_of(line) + 2);
            text.push_str(&format!("{indentation}{}{padding}{}\n", line.label, line.value));
        }
        text
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn conditions(items: &[Value]) -> String {
    let mut table = Table::new(["Type", "Status", "Reason", "Message"]);
    for item in items {
        table
            .row(["type", "status", "reason", "message"].map(|field| item.get(field).map(text_of).unwrap_or_default()));
    }
    table.render(true)
}

/// The events, oldest first.
pub(crate) fn events_section(events: &[Object], now: Timestamp) -> String {
    if events.is_empty() {
        return "Events:  <none>\n".to_owned();
    }
    let mut table = Table::new(["Type", "Reason", "Age", "From", "Message"]);
    for event in events {
        let from = [event.text("/source/component"), event.text("/reportingComponent")];
        let from = from.into_iter().find(|f| !f.is_empty()).unwrap_or_default();
        table.row([
            event.text("/type"),
            event.text("/reason"),
            &event_age(event, now),
            from,
            event.text("/message"),
        ]);
    }
    let rows: String = table.render(true).lines().map(|line| format!("  {line}\n")).collect();
    format!("Events:\n{rows}")
}

/// Sorts events by when they were last seen; those of the same second by when they were written.
pub(crate) fn sort_events(events: &mut [Object]) {
    events.sort_by(|a, b| {
        let version = |event: &Object| event.resource_version().parse::<u64>().unwrap_or(0);
        event_time(a)
            .cmp(event_time(b))
            .then_with(|| version(a).cmp(&version(b)))
    });
}

/// When an event was last seen, RFC 3339.
fn event_time(event: &Object) -> &str {
    let places = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/firstTimestamp",
        "/metadata/creationTimestamp",
    ];
    places
        .into_iter()
        .map(|place| event.text(place))
        .find(|time| !time.is_empty())
        .unwrap_or_default()
}

/// `3m` or, for what happened again and again, `3s (x5 over 10m)`.
pub(crate) fn event_age(event: &Object, now: Timestamp) -> String {
    let age = duration::age(event_time(event), now);
    let count = event
        .number("/series/count")
        .or_else(|| event.number("/count"))
        .unwrap_or(1);
    if count <= 1 {
        return age;
    }
    match event.text("/firstTimestamp") {
        "" => format!("{age} (x{count})"),
        first => format!("{age} (x{count} over {})", duration::age(first, now)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn an_outline() {
        let object = Object::new(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "hello", "namespace": "default", "uid": "u-1", "labels": {"app": "hello", "tier": "web"},
                "annotations": {crate::apply::LAST_APPLIED: "{}"}, "managedFields": [{}],
            },
            "spec": {
                "nodeName": "node-1", "nodeSelector": {"diskType": "ssd", "a.io/b": "c"}, "tolerations": [{"key": "a", "operator": "Exists"}],
                "containers": [{"name": "main", "image": "hello:1", "args": ["-v", "x"], "ports": [{"containerPort": 80}]}],
            },
            "status": {
                "phase": "Pending",
                "podIPs": [],
                "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}],
            },
        }))
        .unwrap();
        let event = Object::new(json!({
            "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "FailedScheduling", "message": "0/2 nodes fit",
            "source": {"component": "scheduler"}, "count": 3,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:50Z",
        }))
        .unwrap();
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        expect![[r#"
            Name:         hello
            Namespace:    default
            Labels:       app=hello
                          tier=web
            Annotations:  <none>
            API Version:  v1
            Kind:         Pod
            Metadata:
              Uid:  u-1
            Spec:
              Containers:
                main:
                  Args:
                    -v
                    x
                  Image:  hello:1
                  Ports:
                    [0]:
                      Container Port:  80
              Node Name:  node-1
              Node Selector:
                a.io/b:    c
                diskType:  ssd
              Tolerations:
                [0]:
                  Key:       a
                  Operator:  Exists
            Status:
              Conditions:
                TYPE           STATUS   REASON          MESSAGE
                PodScheduled   False    Unschedulable   0/2 nodes
              Phase:  Pending
            Events:
              TYPE      REASON             AGE                 FROM        MESSAGE
              Warning   FailedScheduling   10s (x3 over 60s)   scheduler   0/2 nodes fit
        "#]]
        .assert_eq(&describe(&object, &[event], now));
    }
}
