//! `scale`: changes the number of replicas.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::{say, warn_all};
use crate::resolve::{qualified, reference};
use crate::resources::WriteOptions;
use crate::session::Session;

/// Flags of `scale`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme scale deploy/hello --replicas 5
  trireme scale deploy hello --current-replicas 3 --replicas 5")]
pub(crate) struct ScaleArgs {
    /// TYPE NAME..., or TYPE/NAME...
    #[arg(required = true)]
    resources: Vec<String>,
    /// How many there should be
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    replicas: i32,
    /// Change it only if there should be this many now
    #[arg(long)]
    current_replicas: Option<i64>,
}

/// Runs the verb.
pub(crate) async fn run(args: ScaleArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let resources = session.resources();
    for target in discovery.named_targets(&args.resources)? {
        if !target.resource.subresources.iter().any(|s| s == "scale") {
            let message = format!("{} have no replicas to scale", target.resource.plural);
            return Err(Failure::usage(message)
                .help("scale a deployment, replica set or replication controller")
                .into());
        }
        for name in &target.names {
            let place = reference(&target.resource, &session.namespace, name);
            let changed = match args.current_replicas {
                None => {
                    // No one else's change can be lost by this, so it needs no fresh read; and it may be repeated.
                    let patch = json!({"spec": {"replicas": args.replicas}});
                    let item = resources.merge_patch(&place, &patch, WriteOptions::default()).await?;
                    item.warnings
                }
                Some(expected) => {
                    let change = |live: &crate::object::Object| {
                        let present = live.number("/spec/replicas").unwrap_or(1);
                        if present != expected {
                            let message = format!("{name}: spec.replicas is {present}, not {expected}");
                            return Err(Failure::new(Exit::Conflict, message).into());
                        }
                        let mut wanted = live.value().clone();
                        wanted["spec"]["replicas"] = Value::from(args.replicas);
                        Ok(wanted)
                    };
                    resources
                        .change(&place, WriteOptions::default(), change)
                        .await?
                        .warnings
                }
            };
            warn_all(&changed);
            say(format!("{}/{name} scaled", qualified(&target.resource)))?;
        }
    }
    Ok(())
}
