//! What goes out: formats, tables, YAML, JSON paths, descriptions.

pub(crate) mod columns;
pub(crate) mod describe;
pub(crate) mod jsonpath;
pub(crate) mod table;
pub(crate) mod yaml;

use std::io::Write;
use std::str::FromStr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::object::Object;
use crate::output::columns::CustomColumns;
use crate::output::jsonpath::JsonPath;

/// How objects are printed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Format {
    /// The server's table.
    #[default]
    Table,
    /// The table with the columns of lower priority.
    Wide,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// `kind/name`, one a line.
    Name,
    /// A template.
    JsonPath(JsonPath),
    /// A table of the user's own columns.
    Columns(CustomColumns),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, argument) = text.split_once('=').map_or((text, None), |(n, a)| (n, Some(a)));
        match (name, argument) {
            ("wide", None) => Ok(Self::Wide),
            ("yaml", None) => Ok(Self::Yaml),
            ("json", None) => Ok(Self::Json),
            ("name", None) => Ok(Self::Name),
            ("jsonpath", Some(template)) => template.parse().map(Self::JsonPath),
            ("custom-columns", Some(columns)) => columns.parse().map(Self::Columns),
            _ => Err("use wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=HEADING:PATH,...".to_owned()),
        }
    }
}

/// The flag that chooses a format.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct OutputArgs {
    /// Output format: wide, yaml, json, name, jsonpath=TEMPLATE, custom-columns=HEADING:PATH,...
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

impl OutputArgs {
    /// The format.
    pub(crate) fn format(&self) -> Format {
        self.output.clone().unwrap_or_default()
    }
}

/// Prints objects in a format other than a table. One that was asked for by name stands alone, several as a list.
pub(crate) fn print_objects(
    format: &Format,
    objects: &[Object],
    single: bool,
    name_of: impl Fn(&Object) -> String,
) -> Result<()> {
    let whole = || match objects {
        [one] if single => one.value().clone(),
        several => {
            let items: Vec<&Value> = several.iter().map(Object::value).collect();
            json!({"apiVersion": "v1", "kind": "List", "items": items, "metadata": {"resourceVersion": ""}})
        }
    };
    match format {
        Format::Yaml => print(&yaml::to_string(&without_owners(whole()))),
        Format::Json => print(&format!("{:#}\n", without_owners(whole()))),
        Format::Name => print(&objects.iter().map(|o| name_of(o) + "\n").collect::<String>()),
        Format::JsonPath(template) => print(&format!("{}\n", template.render(&whole()))),
        Format::Columns(columns) => print(&columns.render(objects)),
        Format::Table | Format::Wide => unreachable!("tables are the server's and printed by their verbs"),
    }
}

/// An object, or a list of them, as people want to read it: without the lines that tell programs who owns which field.
fn without_owners(mut whole: Value) -> Value {
    let hide = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    hide(&mut whole);
    let items = whole.get_mut("items").and_then(Value::as_array_mut);
    items.into_iter().flatten().for_each(hide);
    whole
}

/// Writes to standard output. A reader that hung up (`| head`) ends the program quietly, as it does any other.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Prints a line of progress or result.
pub(crate) fn say(line: impl AsRef<str>) -> Result<()> {
    print(&format!("{}\n", line.as_ref()))
}

/// Tells the user something on standard error that is no failure.
pub(crate) fn warn(line: impl AsRef<str>) {
    eprintln!("warning: {}", line.as_ref());
}

/// Tells the server's warnings.
pub(crate) fn warn_all(warnings: &[String]) {
    for warning in warnings {
        warn(warning);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_not_shown() {
        let object = |meta: Value| json!({"kind": "ConfigMap", "metadata": meta});
        let (full, shown) = (
            object(json!({"name": "a", "managedFields": [{}]})),
            object(json!({"name": "a"})),
        );
        assert_eq!(without_owners(full.clone()), shown);
        let list = |item: &Value| json!({"kind": "List", "items": [item, item], "metadata": {}});
        assert_eq!(without_owners(list(&full)), list(&shown));
        assert_eq!(without_owners(json!({"items": 1})), json!({"items": 1}));
    }
}
