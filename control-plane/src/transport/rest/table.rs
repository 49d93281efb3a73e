//! The columns and cells of tables, as Kubernetes' own printers give them. Pure.

use serde_json::{Value, json};
use trireme_logic::{human::duration_between, kind::ColumnDefinition};
use trireme_proto::api::{autoscaling::v1::Scale, meta::v1::Time};

const NAME: &str = "Name";
const NAME_DESCRIPTION: &str = "Name, unique among the objects of a kind in a namespace.";

/// The columns of a scale, without its name.
pub(super) const SCALE_COLUMNS: &[ColumnDefinition] = &[
    ColumnDefinition {
        name: "Desired",
        priority: 0,
        description: "How many pods are wanted.",
    },
    ColumnDefinition {
        name: "Available",
        priority: 0,
        description: "How many pods there are.",
    },
    ColumnDefinition {
        name: "Age",
        priority: 0,
        description: "Time since the object was created.",
    },
];

/// What a column's cells are, where that is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellType {
    /// A number, which the column says it is.
    Integer,
    /// A number in a column that says it is text: so it is in Kubernetes.
    IntegerInText,
    /// True or false.
    Boolean,
}

/// Which cells are no text. Source: `pkg/printers/internalversion/printers.go` of Kubernetes.
const TYPES: &[(&str, &str, CellType)] = &[
    ("CSIDriver", "AttachRequired", CellType::Boolean),
    ("CSIDriver", "PodInfoOnMount", CellType::Boolean),
    ("CSIDriver", "StorageCapacity", CellType::Boolean),
    ("CSINode", "Drivers", CellType::Integer),
    ("ConfigMap", "Data", CellType::IntegerInText),
    ("ControllerRevision", "Revision", CellType::IntegerInText),
    ("CronJob", "Active", CellType::Integer),
    ("DaemonSet", "Available", CellType::Integer),
    ("DaemonSet", "Current", CellType::Integer),
    ("DaemonSet", "Desired", CellType::Integer),
    ("DaemonSet", "Ready", CellType::Integer),
    ("DaemonSet", "Up-to-date", CellType::Integer),
    ("Deployment", "Available", CellType::Integer),
    ("Deployment", "Up-to-date", CellType::Integer),
    ("Event", "Count", CellType::IntegerInText),
    ("HorizontalPodAutoscaler", "MaxPods", CellType::IntegerInText),
    ("HorizontalPodAutoscaler", "Replicas", CellType::IntegerInText),
    ("PodDisruptionBudget", "Allowed Disruptions", CellType::Integer),
    ("PriorityClass", "Global-Default", CellType::Boolean),
    ("PriorityClass", "Value", CellType::Integer),
    ("ReplicaSet", "Current", CellType::Integer),
    ("ReplicaSet", "Desired", CellType::Integer),
    ("ReplicaSet", "Ready", CellType::Integer),
    ("ReplicationController", "Current", CellType::Integer),
    ("ReplicationController", "Desired", CellType::Integer),
    ("ReplicationController", "Ready", CellType::Integer),
    ("Scale", "Available", CellType::Integer),
    ("Scale", "Desired", CellType::Integer),
    ("Secret", "Data", CellType::IntegerInText),
    ("ServiceAccount", "Secrets", CellType::IntegerInText),
    ("StorageClass", "AllowVolumeExpansion", CellType::Boolean),
    ("VolumeAttachment", "Attached", CellType::Boolean),
];

fn type_of(kind: &str, column: &str) -> Option<CellType> {
    let found = TYPES.iter().find(|(of, name, _)| (*of, *name) == (kind, column));
    found.map(|(_, _, cell_type)| *cell_type)
}

/// The definitions of a kind's columns: its name first, unless it has a column for that.
pub(super) fn definitions(kind: &str, columns: &[ColumnDefinition]) -> Value {
    let mut all = Vec::new();
    if needs_name(columns) {
        all.push(definition(NAME, "string", 0, NAME_DESCRIPTION));
    }
    all.extend(columns.iter().map(|column| {
        let type_name = match type_of(kind, column.name) {
            Some(CellType::Integer) => "integer",
            Some(CellType::Boolean) => "boolean",
            Some(CellType::IntegerInText) | None => "string",
        };
        definition(column.name, type_name, column.priority, column.description)
    }));
    Value::Array(all)
}

fn definition(name: &str, type_name: &str, priority: i32, description: &str) -> Value {
    let format = if name == NAME { "name" } else { "" };
    json!({"name": name, "type": type_name, "format": format, "description": description, "priority": priority})
}

/// The cells of an object, each of the type that its column has.
pub(super) fn cells(kind: &str, columns: &[ColumnDefinition], name: &str, cells: Vec<String>) -> Vec<Value> {
    let mut all = Vec::with_capacity(cells.len() + 1);
    if needs_name(columns) {
        all.push(Value::from(name));
    }
    for (column, cell) in columns.iter().zip(cells) {
        all.push(typed(type_of(kind, column.name), cell));
    }
    all
}

/// The cells of a scale.
pub(super) fn scale_cells(scale: &Scale, now: Time) -> Vec<Value> {
    let meta = scale.metadata.clone().unwrap_or_default();
    let age = meta
        .creation_timestamp
        .map_or_else(|| "<unknown>".to_owned(), |then| duration_between(then, now));
    let wanted = scale.spec.as_ref().map_or(0, |spec| spec.replicas);
    let present = scale.status.as_ref().map_or(0, |status| status.replicas);
    vec![
        Value::from(meta.name),
        Value::from(wanted),
        Value::from(present),
        Value::from(age),
    ]
}

fn needs_name(columns: &[ColumnDefinition]) -> bool {
    !columns.iter().any(|column| column.name == NAME)
}

fn typed(cell_type: Option<CellType>, cell: String) -> Value {
    match cell_type {
        Some(CellType::Integer | CellType::IntegerInText) => {
            cell.parse::<i64>().map_or(Value::String(cell), Value::from)
        }
        Some(CellType::Boolean) => cell.parse::<bool>().map_or(Value::String(cell), Value::from),
        None => Value::String(cell),
    }
}

#[cfg(test)]
mod tests {
    use trireme_logic::kinds::KINDS;

    use super::*;

    #[test]
    fn names_come_first_and_numbers_are_numbers() {
        let info = crate::registry::ops_of("apps", "deployments").info();
        let definitions = definitions(info.kind, info.columns);
        assert_eq!(
            definitions[0],
            json!({"name": "Name", "type": "string", "format": "name", "description": NAME_DESCRIPTION, "priority": 0})
        );
        let up_to_date = definitions
            .as_array()
            .expect("a list")
            .iter()
            .find(|column| column["name"] == "Up-to-date");
        assert_eq!(up_to_date.expect("a column")["type"], "integer");
        let columns = [
            ColumnDefinition {
                name: "Ready",
                priority: 0,
                description: "",
            },
            ColumnDefinition {
                name: "Available",
                priority: 0,
                description: "",
            },
        ];
        let cells = cells("Deployment", &columns, "web", vec!["1/2".to_owned(), "1".to_owned()]);
        assert_eq!(cells, [json!("web"), json!("1/2"), json!(1)]);
    }

    #[test]
    fn events_have_their_name_where_they_say() {
        let info = crate::registry::ops_of("", "events").info();
        let definitions = definitions(info.kind, info.columns);
        let names: Vec<&Value> = definitions
            .as_array()
            .expect("a list")
            .iter()
            .map(|column| &column["name"])
            .collect();
        assert_eq!(names.iter().filter(|name| **name == "Name").count(), 1);
        assert_ne!(names[0], "Name");
    }

    #[test]
    fn every_typed_column_of_a_kind_that_is_served_exists() {
        for ops in KINDS {
            let info = ops.info();
            for (kind, column, _) in TYPES.iter().filter(|(kind, _, _)| *kind == info.kind) {
                assert!(
                    info.columns.iter().any(|known| known.name == *column),
                    "{kind} has no column {column}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_text() {
        assert_eq!(
            typed(Some(CellType::Integer), "<unknown>".to_owned()),
            json!("<unknown>")
        );
        assert_eq!(typed(Some(CellType::Boolean), "true".to_owned()), json!(true));
        assert_eq!(typed(None, "7".to_owned()), json!("7"));
    }
}
