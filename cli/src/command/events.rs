//! `events`: what happened, oldest first.

use anyhow::Result;
use clap::Args;

use crate::exit::Failure;
use crate::follow::Follow;
use crate::object::Object;
use crate::output::describe::{event_age, sort_events};
use crate::output::table::Table;
use crate::output::{Format, OutputArgs, print, print_objects};
use crate::resolve::reference;
use crate::resources::Selection;
use crate::session::Session;

/// Flags of `events`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme events
  trireme events --for deploy/hello
  trireme events -A --types Warning -w")]
pub(crate) struct EventsArgs {
    /// Only those about this object, TYPE/NAME
    #[arg(long = "for", value_name = "TYPE/NAME")]
    about: Option<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only of these types: Normal, Warning
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    types: Vec<String>,
    /// Then go on and show new ones
    #[arg(short = 'w', long)]
    watch: bool,
    /// Leave the headings out
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the verb.
pub(crate) async fn run(args: EventsArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let kind = discovery.resource("events")?;
    let mut selection = Selection::default();
    if let Some(about) = &args.about {
        let (resource, name) = discovery.one(std::slice::from_ref(about))?;
        selection.fields = format!("involvedObject.name={name},involvedObject.kind={}", resource.kind);
    }
    let namespace = if args.all_namespaces { "" } else { &session.namespace };
    let resources = session.resources();
    if args.watch {
        if args.output.output.is_some() {
            return Err(Failure::usage("--watch shows a table only; leave --output out").into());
        }
        return watch(&args, &mut Follow::selection(&resources, kind, namespace, &selection)).await;
    }
    let mut events = resources.list(&reference(kind, namespace, ""), &selection).await?;
    events.retain(|event| args.wants(event));
    sort_events(&mut events);
    match args.output.format() {
        Format::Table | Format::Wide if events.is_empty() => {
            eprintln!("No events found");
            Ok(())
        }
        Format::Table | Format::Wide => print(&args.table(&events).render(!args.no_headers)),
        format => print_objects(&format, &events, false, |event| format!("event/{}", event.name())),
    }
}

impl EventsArgs {
    fn wants(&self, event: &Object) -> bool {
        self.types.is_empty() || self.types.iter().any(|t| t.eq_ignore_ascii_case(event.text("/type")))
    }

    fn table(&self, events: &[Object]) -> Table {
        let mut header = vec!["Last seen", "Type", "Reason", "Object", "Message"];
        if self.all_namespaces {
            header.insert(0, "Namespace");
        }
        let mut table = Table::new(header);
        for event in events {
            self.add(&mut table, event);
        }
        table
    }

    fn add(&self, table: &mut Table, event: &Object) {
        let about = format!(
            "{}/{}",
            event.text("/involvedObject/kind").to_lowercase(),
            event.text("/involvedObject/name")
        );
        let age = event_age(event, jiff::Timestamp::now());
        let mut row = vec![
            age.as_str(),
            event.text("/type"),
            event.text("/reason"),
            &about,
            event.text("/message"),
        ];
        if self.all_namespaces {
            row.insert(0, event.namespace());
        }
        table.row(row);
    }
}

async fn watch(args: &EventsArgs, follow: &mut Follow) -> Result<()> {
    // What was shown, by uid and version: an event that happens again is shown again.
    let mut shown = std::collections::BTreeSet::new();
    let mut table = args.table(&[]);
    loop {
        follow.changed().await?;
        let mut fresh: Vec<Object> = follow.objects().filter(|event| args.wants(event)).cloned().collect();
        fresh.retain(|event| shown.insert((event.uid().to_owned(), event.resource_version().to_owned())));
        sort_events(&mut fresh);
        for event in &fresh {
            let first = table.is_empty();
            args.add(&mut table, event);
            let widths = table.widths();
            print(&if first {
                table.render(!args.no_headers)
            } else {
                table.render_last(&widths)
            })?;
        }
    }
}
