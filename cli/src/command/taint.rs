//! `taint`: changes the taints of nodes.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::object::Object;
use crate::output::say;
use crate::resolve::reference;
use crate::resources::WriteOptions;
use crate::session::Session;

/// Flags of `taint`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme taint node node-1 dedicated=db:NoSchedule
  trireme taint node node-1 dedicated:NoSchedule-
  trireme taint node node-1 dedicated-")]
pub(crate) struct TaintArgs {
    // In an attribute, since documentation would take the brackets for links.
    #[arg(required = true, num_args = 3.., help = "`node` NAME..., then KEY[=VALUE]:EFFECT to add and KEY[:EFFECT]- to remove")]
    arguments: Vec<String>,
    /// Replace the value of a taint that is there
    #[arg(long)]
    overwrite: bool,
}

/// A change of the taints.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Add { key: String, value: String, effect: String },
    Remove { key: String, effect: Option<String> },
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Change {
    /// Reads a change; none if the text is none.
    fn parse(text: &str) -> Result<Option<Self>, Failure> {
        let check = |effect: &str| {
            if EFFECTS.contains(&effect) {
                return Ok(effect.to_owned());
            }
            Err(Failure::usage(format!("{effect:?} is no effect of a taint"))
                .help(format!("use {}", EFFECTS.join(", "))))
        };
        if let Some(removed) = text.strip_suffix('-') {
            let (key, effect) = removed.split_once(':').map_or((removed, None), |(k, e)| (k, Some(e)));
            // A name of a node may end in nothing else than a letter or digit, so this is no name.
            return Ok(Some(Self::Remove {
                key: key.to_owned(),
                effect: effect.map(check).transpose()?,
            }));
        }
        let Some((rest, effect)) = text.rsplit_once(':') else {
            return Ok(None);
        };
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        Ok(Some(Self::Add {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: check(effect)?,
        }))
    }

    /// Applies the change to a list of taints.
    fn apply(&self, taints: &mut Vec<Value>, overwrite: bool) -> Result<(), Failure> {
        let matches = |taint: &Value, key: &str, effect: Option<&str>| {
            taint.get("key").and_then(Value::as_str) == Some(key)
                && effect.is_none_or(|e| taint.get("effect").and_then(Value::as_str) == Some(e))
        };
        match self {
            Self::Remove { key, effect } => {
                let before = taints.len();
                taints.retain(|taint| !matches(taint, key, effect.as_deref()));
                if taints.len() == before {
                    return Err(Failure::new(Exit::NotFound, format!("there is no taint {key:?}")));
                }
            }
            Self::Add { key, value, effect } => {
                let mut taint = json!({"key": key, "effect": effect});
                if !value.is_empty() {
                    taint["value"] = json!(value);
                }
                match taints.iter_mut().find(|t| matches(t, key, Some(effect))) {
                    Some(present) if *present == taint => {}
                    Some(present) if overwrite => *present = taint,
                    Some(_) => {
                        let message = format!("there is a taint {key}:{effect} already");
                        return Err(Failure::new(Exit::Conflict, message).help("pass --overwrite to replace it"));
                    }
                    None => taints.push(taint),
                }
            }
        }
        Ok(())
    }
}

/// Runs the verb.
pub(crate) async fn run(args: TaintArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let resource = discovery.resource(&args.arguments[0])?;
    let (mut names, mut changes) = (Vec::new(), Vec::new());
    for argument in &args.arguments[1..] {
        match Change::parse(argument)? {
            Some(change) => changes.push(change),
            None => names.push(argument),
        }
    }
    if names.is_empty() || changes.is_empty() {
        return Err(Failure::usage("a node and a change are expected")
            .help("see `trireme taint --help`")
            .into());
    }
    for name in names {
        let change = |live: &Object| {
            let mut taints = live.list("/spec/taints").to_vec();
            for change in &changes {
                change.apply(&mut taints, args.overwrite)?;
            }
            let mut wanted = live.value().clone();
            if taints.is_empty() {
                if let Some(Value::Object(spec)) = wanted.get_mut("spec") {
                    spec.remove("taints");
                }
            } else {
                wanted["spec"]["taints"] = Value::Array(taints);
            }
            Ok(wanted)
        };
        let place = reference(resource, &session.namespace, name);
        let changed = session
            .resources()
            .change(&place, WriteOptions::default(), change)
            .await?;
        say(format!(
            "node/{name} {}",
            if changed.changed { "tainted" } else { "unchanged" }
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn changes() {
        let run = |changes: &[&str], overwrite: bool| {
            let mut taints = vec![json!({"key": "a", "value": "1", "effect": "NoSchedule"})];
            for change in changes {
                Change::parse(change)
                    .unwrap()
                    .unwrap()
                    .apply(&mut taints, overwrite)
                    .map_err(|f| f.exit)?;
            }
            let show = |t: &Value| {
                format!(
                    "{}={}:{}",
                    t["key"].as_str().unwrap(),
                    t["value"].as_str().unwrap_or(""),
                    t["effect"].as_str().unwrap()
                )
            };
            Ok::<_, Exit>(taints.iter().map(show).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(run(&["b:NoExecute"], false).unwrap(), "a=1:NoSchedule b=:NoExecute");
        assert_eq!(run(&["a=1:NoSchedule"], false).unwrap(), "a=1:NoSchedule");
        assert_eq!(run(&["a=2:NoSchedule"], false), Err(Exit::Conflict));
        assert_eq!(run(&["a=2:NoSchedule"], true).unwrap(), "a=2:NoSchedule");
        assert_eq!(run(&["a-"], false).unwrap(), "");
        assert_eq!(run(&["a:NoSchedule-"], false).unwrap(), "");
        assert_eq!(run(&["a:NoExecute-"], false), Err(Exit::NotFound));
        assert!(Change::parse("a:Never").is_err());
        assert_eq!(Change::parse("node-1").unwrap(), None);
    }
}
