//! `cordon` and `uncordon`: keep new pods off a node, or let them on again.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::object::Object;
use crate::output::say;
use crate::resolve::reference;
use crate::resources::{Resources, WriteOptions};
use crate::session::Session;

/// Flags of both verbs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme cordon node-1
  trireme uncordon node-1 node-2")]
pub(crate) struct CordonArgs {
    /// Names of nodes
    #[arg(required = true)]
    nodes: Vec<String>,
}

/// Runs either verb.
pub(crate) async fn run(args: CordonArgs, closed: bool, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let kind = discovery.resource("nodes")?;
    let resources = session.resources();
    for node in &args.nodes {
        let node = node.trim_start_matches("node/").trim_start_matches("no/");
        let changed = set_unschedulable(&resources, &reference(kind, "", node), closed).await?;
        say(format!("node/{node} {}", sentence(closed, changed)))?;
    }
    Ok(())
}

fn sentence(closed: bool, changed: bool) -> &'static str {
    match (closed, changed) {
        (true, true) => "cordoned",
        (true, false) => "cordoned already",
        (false, true) => "uncordoned",
        (false, false) => "uncordoned already",
    }
}

/// Opens or closes a node for new pods; whether that changed anything.
pub(crate) async fn set_unschedulable(
    resources: &Resources,
    place: &trireme_proto::v1::ResourceRef,
    closed: bool,
) -> Result<bool> {
    let change = |live: &Object| {
        let mut wanted = live.value().clone();
        let is_closed = wanted.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
        if closed != is_closed {
            match (closed, wanted.get_mut("spec")) {
                (false, Some(Value::Object(spec))) => {
                    spec.remove("unschedulable");
                }
                _ => wanted["spec"]["unschedulable"] = Value::Bool(closed),
            }
        }
        Ok(wanted)
    };
    Ok(resources.change(place, WriteOptions::default(), change).await?.changed)
}
