//! `describe`: an object of any kind in detail, with its events.

use anyhow::Result;
use clap::Args;

use crate::object::Object;
use crate::output::describe::{describe, sort_events};
use crate::output::{print, warn};
use crate::resolve::{Discovery, reference};
use crate::resources::{Resources, Selection};
use crate::session::Session;

/// Flags of `describe`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme describe pod hello
  trireme describe deploy/hello
  trireme describe pods -l app=hello")]
pub(crate) struct DescribeArgs {
    /// TYPE [NAME...], or TYPE/NAME...
    #[arg(required = true)]
    resources: Vec<String>,
    /// Label selector
    #[arg(
        short = 'l',
        long,
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    selector: String,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Leave the events out
    #[arg(long)]
    no_events: bool,
}

/// Runs the verb.
pub(crate) async fn run(args: DescribeArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let resources = session.resources();
    let namespace = if args.all_namespaces { "" } else { &session.namespace };
    let mut first = true;
    for target in discovery.targets(&args.resources)? {
        let mut objects = Vec::new();
        if target.names.is_empty() {
            let selection = Selection {
                labels: args.selector.clone(),
                ..Default::default()
            };
            objects = resources
                .list(&reference(&target.resource, namespace, ""), &selection)
                .await?;
        }
        for name in &target.names {
            objects.push(resources.get(&reference(&target.resource, namespace, name)).await?);
        }
        if objects.is_empty() {
            eprintln!("No resources found");
        }
        for object in objects {
            let events = if args.no_events {
                Vec::new()
            } else {
                events_of(&object, &resources, &discovery).await
            };
            if !first {
                print("\n\n")?;
            }
            first = false;
            print(&describe(&object, &events, jiff::Timestamp::now()))?;
        }
    }
    Ok(())
}

/// The events about an object, oldest first. That they cannot be read does not keep the object from being shown.
pub(crate) async fn events_of(object: &Object, resources: &Resources, discovery: &Discovery) -> Vec<Object> {
    let Ok(resource) = discovery.resource("events") else {
        return Vec::new();
    };
    // Events about objects without a namespace live in this one.
    let namespace = if object.namespace().is_empty() {
        "default"
    } else {
        object.namespace()
    };
    let place = reference(resource, namespace, "");
    let fields = format!(
        "involvedObject.name={},involvedObject.kind={}",
        object.name(),
        object.kind()
    );
    match resources
        .list(
            &place,
            &Selection {
                fields,
                ..Default::default()
            },
        )
        .await
    {
        Ok(mut events) => {
            // Not those of an earlier object of the same name.
            events.retain(|event| ["", object.uid()].contains(&event.text("/involvedObject/uid")));
            sort_events(&mut events);
            events
        }
        Err(error) => {
            warn(format!("the events cannot be read: {error:#}"));
            Vec::new()
        }
    }
}
