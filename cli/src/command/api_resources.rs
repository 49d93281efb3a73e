//! `api-resources`: the kinds that the cluster knows.

use anyhow::Result;
use clap::Args;

use crate::output::table::Table;
use crate::output::{Format, OutputArgs, print};
use crate::resolve::api_version;
use crate::session::Session;

/// Flags of `api-resources`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme api-resources
  trireme api-resources -o wide
  trireme api-resources --namespaced=false -o name")]
pub(crate) struct ApiResourcesArgs {
    #[command(flatten)]
    output: OutputArgs,
    /// Only kinds that live in namespaces, or only those that do not
    #[arg(long, value_name = "BOOL")]
    namespaced: Option<bool>,
    /// Only kinds of this group; empty for the core group
    #[arg(long, value_name = "GROUP")]
    api_group: Option<String>,
    /// Leave the headings out
    #[arg(long)]
    no_headers: bool,
}

/// Runs the verb.
pub(crate) async fn run(args: ApiResourcesArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let wide = args.output.format() == Format::Wide;
    let mut header = vec!["Name", "Shortnames", "APIVersion", "Namespaced", "Kind"];
    if wide {
        header.extend(["Verbs", "Subresources", "Categories"]);
    }
    let mut table = Table::new(header);
    let mut names = String::new();
    for resource in discovery.resources() {
        let wanted = args.namespaced.is_none_or(|n| n == resource.namespaced)
            && args.api_group.as_ref().is_none_or(|group| *group == resource.group);
        if !wanted {
            continue;
        }
        let group = if resource.group.is_empty() {
            String::new()
        } else {
            format!(".{}", resource.group)
        };
        names.push_str(&format!("{}{group}\n", resource.plural));
        let mut row = vec![
            resource.plural.clone(),
            resource.short_names.join(","),
            api_version(resource),
            resource.namespaced.to_string(),
            resource.kind.clone(),
        ];
        if wide {
            row.extend([
                resource.verbs.join(","),
                resource.subresources.join(","),
                resource.categories.join(","),
            ]);
        }
        table.row(row);
    }
    if args.output.format() == Format::Name {
        return print(&names);
    }
    print(&table.render(!args.no_headers))
}
