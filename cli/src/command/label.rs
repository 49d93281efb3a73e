//! `label` and `annotate`: change the labels or annotations of objects.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::object::Object;
use crate::output::say;
use crate::resolve::{Target, qualified, reference};
use crate::resources::{Selection, WriteOptions};
use crate::session::Session;

/// Flags of both verbs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme label pod hello tier=web
  trireme label deploy/hello tier-
  trireme label pods --all env=test --overwrite
  trireme annotate node node-1 owner='the crew'")]
pub(crate) struct LabelArgs {
    /// TYPE NAME... or TYPE/NAME..., then KEY=VALUE to set and KEY- to remove
    #[arg(required = true, num_args = 2..)]
    arguments: Vec<String>,
    /// Replace values that are there
    #[arg(long)]
    overwrite: bool,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
    /// Label selector
    #[arg(
        short = 'l',
        long,
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    selector: String,
}

/// What is to change: a value to set, or none to remove the key.
type Changes = BTreeMap<String, Option<String>>;

/// Tells the objects from the changes behind them.
fn split(arguments: &[String]) -> Result<(Vec<String>, Changes), Failure> {
    let (mut objects, mut changes) = (Vec::new(), Changes::new());
    for argument in arguments {
        // Names of objects hold no `=` and do not end in `-`.
        if let Some((key, value)) = argument.split_once('=') {
            changes.insert(key.to_owned(), Some(value.to_owned()));
        } else if let Some(key) = argument.strip_suffix('-') {
            changes.insert(key.to_owned(), None);
        } else if changes.is_empty() {
            objects.push(argument.clone());
        } else {
            return Err(Failure::usage(format!("{argument:?} is neither KEY=VALUE nor KEY-")));
        }
    }
    if changes.is_empty() {
        return Err(Failure::usage("no change is given").help("write KEY=VALUE to set, KEY- to remove"));
    }
    Ok((objects, changes))
}

/// The wanted object. Pure.
fn change(live: &Object, field: &str, changes: &Changes, overwrite: bool) -> Result<Value, Failure> {
    let mut wanted = live.value().clone();
    for (key, value) in changes {
        let present = live
            .texts(&format!("/metadata/{field}"))
            .get(key.as_str())
            .map(|v| (*v).to_owned());
        match (value, present) {
            (Some(value), Some(present)) if *value != present && !overwrite => {
                let message = format!("metadata.{field}: {key:?} is {present:?} already");
                return Err(Failure::new(Exit::Conflict, message).help("pass --overwrite to replace it"));
            }
            (Some(value), _) => wanted["metadata"][field][key] = Value::from(value.clone()),
            (None, _) => {
                if let Some(Value::Object(map)) = wanted.pointer_mut(&format!("/metadata/{field}")) {
                    map.remove(key);
                }
            }
        }
    }
    Ok(wanted)
}

/// Runs either verb on its field of the metadata.
pub(crate) async fn run(args: LabelArgs, field: &str, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let resources = session.resources();
    let (objects, changes) = split(&args.arguments)?;
    let selected = args.all || !args.selector.is_empty();
    let targets = if selected {
        discovery.targets(&objects)?
    } else {
        discovery.named_targets(&objects)?
    };
    for Target { resource, mut names } in targets {
        if names.is_empty() {
            let selection = Selection {
                labels: args.selector.clone(),
                ..Default::default()
            };
            let found = resources
                .list(&reference(&resource, &session.namespace, ""), &selection)
                .await?;
            names = found.iter().map(|object| object.name().to_owned()).collect();
        }
        for name in names {
            let place = reference(&resource, &session.namespace, &name);
            let wanted = |live: &Object| Ok(change(live, field, &changes, args.overwrite)?);
            let changed = resources.change(&place, WriteOptions::default(), wanted).await?;
            let done = match (changed.changed, field) {
                (false, _) => "unchanged",
                (true, "labels") => "labeled",
                (true, _) => "annotated",
            };
            say(format!("{}/{name} {done}", qualified(&resource)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn changes() {
        let live =
            Object::new(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "1", "b": "2"}}}))
                .unwrap();
        let check = |words: &str, overwrite: bool| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let (objects, changes) = split(&words).map_err(|f| f.exit)?;
            assert_eq!(objects, ["pod", "x"]);
            change(&live, "labels", &changes, overwrite)
                .map(|v| v["metadata"]["labels"].clone())
                .map_err(|f| f.exit)
        };
        assert_eq!(check("pod x c=3", false), Ok(json!({"a": "1", "b": "2", "c": "3"})));
        assert_eq!(check("pod x a- c-", false), Ok(json!({"b": "2"})));
        assert_eq!(check("pod x a=1", false), Ok(json!({"a": "1", "b": "2"})));
        assert_eq!(check("pod x a=9", false), Err(Exit::Conflict));
        assert_eq!(check("pod x a=9", true), Ok(json!({"a": "9", "b": "2"})));
        assert_eq!(check("pod x", false), Err(Exit::Usage));
        assert_eq!(check("pod x a=1 y", false), Err(Exit::Usage));
    }
}
