//! `get`: shows objects as the server's table, or in a format of the user's choice.

use anyhow::Result;
use clap::Args;
use trireme_client::WatchItem;
use trireme_proto::v1::watch_event::Type;
use trireme_proto::v1::{Column, Item, ResourceRef, View};

use crate::exit::Failure;
use crate::input::manifest::{self, FileArgs};
use crate::object::Object;
use crate::output::table::Table;
use crate::output::{Format, OutputArgs, print, print_objects, warn};
use crate::resolve::{Discovery, Target, qualified, reference};
use crate::resources::{Resources, Selection, object_of};
use crate::session::Session;

/// Flags of `get`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme get pods -A -o wide
  trireme get deploy/hello svc/hello
  trireme get pods -l app=hello --field-selector status.phase=Running -w
  trireme get all -n shop
  trireme get pod hello -o jsonpath='{.status.podIP}'")]
pub(crate) struct GetArgs {
    /// TYPE[,TYPE...] [NAME...], or TYPE/NAME...
    pub(crate) resources: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Then go on and show each change
    #[arg(short = 'w', long)]
    watch: bool,
    /// Label selector, such as `app=hello,tier!=db`
    #[arg(
        short = 'l',
        long,
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    selector: String,
    /// Field selector, such as `spec.nodeName=node-1`
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    field_selector: String,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Add a column with the labels
    #[arg(long)]
    show_labels: bool,
    /// Leave the headings out
    #[arg(long)]
    no_headers: bool,
    /// An object that does not exist is no failure
    #[arg(long)]
    ignore_not_found: bool,
}

/// Runs the verb.
pub(crate) async fn run(args: GetArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let targets = targets(&args, session, &discovery)?;
    let namespace = if args.all_namespaces {
        String::new()
    } else {
        session.namespace.clone()
    };
    let get = Get {
        args: &args,
        resources: session.resources(),
        namespace,
        several: targets.len() > 1,
    };
    if args.watch {
        let [(target, namespace)] = targets.as_slice() else {
            return Err(Failure::usage("--watch takes one resource type").into());
        };
        return get.watch(target, namespace.as_ref()).await;
    }
    match args.output.format() {
        Format::Table | Format::Wide => get.tables(&targets).await,
        format => get.objects(&targets, &format, &discovery).await,
    }
}

/// What is asked for, each with its namespace if a manifest named one.
fn targets(args: &GetArgs, session: &Session, discovery: &Discovery) -> Result<Vec<(Target, Option<String>)>> {
    if args.files.filename.is_empty() {
        let targets = discovery.targets(&args.resources)?;
        if args.all_namespaces && targets.iter().any(|t| !t.names.is_empty()) {
            return Err(Failure::usage("an object cannot be named across all namespaces").into());
        }
        return Ok(targets.into_iter().map(|t| (t, None)).collect());
    }
    let mut targets = Vec::new();
    for document in manifest::read(&args.files)? {
        let resource = discovery.of_object(&document.object)?.clone();
        let namespace = Some(document.object.namespace())
            .filter(|n| !n.is_empty())
            .unwrap_or(&session.namespace);
        let names = vec![document.object.name().to_owned()];
        targets.push((Target { resource, names }, Some(namespace.to_owned())));
    }
    Ok(targets)
}

struct Get<'a> {
    args: &'a GetArgs,
    resources: Resources,
    namespace: String,
    several: bool,
}

impl Get<'_> {
    fn selection(&self) -> Selection {
        Selection {
            labels: self.args.selector.clone(),
            fields: self.args.field_selector.clone(),
        }
    }

    fn place(&self, target: &Target, namespace: Option<&String>, name: &str) -> ResourceRef {
        reference(&target.resource, namespace.unwrap_or(&self.namespace), name)
    }

    /// The items of one target and, with a table view, its columns.
    async fn fetch(&self, target: &Target, namespace: Option<&String>, view: View) -> Result<(Vec<Item>, Vec<Column>)> {
        if target.names.is_empty() {
            let list = self
                .resources
                .list_items(&self.place(target, namespace, ""), &self.selection(), view)
                .await?;
            return Ok((list.items, list.columns));
        }
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for name in &target.names {
            match self
                .resources
                .get_item(&self.place(target, namespace, name), view)
                .await
            {
                Ok(mut item) => {
                    columns = std::mem::take(&mut item.columns);
                    items.push(item);
                }
                Err(error) if error.is_not_found() && self.args.ignore_not_found => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((items, columns))
    }

    fn view(&self) -> View {
        if self.args.show_labels {
            View::ObjectAndTable
        } else {
            View::Table
        }
    }

    async fn tables(&self, targets: &[(Target, Option<String>)]) -> Result<()> {
        let mut printed = 0;
        for (target, namespace) in targets {
            let (items, columns) = self.fetch(target, namespace.as_ref(), self.view()).await?;
            if items.is_empty() {
                continue;
            }
            let mut table = self.shape(target, &columns);
            for item in &items {
                table.add(item)?;
            }
            if printed > 0 {
                print("\n")?;
            }
            print(&table.table.render(!self.args.no_headers))?;
            printed += items.len();
        }
        let by_name = targets.iter().any(|(target, _)| !target.names.is_empty());
        if printed == 0 && !by_name {
            let namespaced = targets.iter().any(|(t, _)| t.resource.namespaced);
            match (namespaced, self.namespace.as_str()) {
                (false, _) | (true, "") => eprintln!("No resources found"),
                (true, namespace) => eprintln!("No resources found in {namespace} namespace."),
            }
        }
        Ok(())
    }

    fn shape(&self, target: &Target, columns: &[Column]) -> Shape {
        Shape::new(ShapeOptions {
            columns,
            wide: self.args.output.format() == Format::Wide,
            namespaces: self.args.all_namespaces && target.resource.namespaced,
            labels: self.args.show_labels,
            prefix: if self.several {
                format!("{}/", qualified(&target.resource))
            } else {
                String::new()
            },
        })
    }

    async fn objects(
        &self,
        targets: &[(Target, Option<String>)],
        format: &Format,
        discovery: &Discovery,
    ) -> Result<()> {
        let mut objects = Vec::new();
        for (target, namespace) in targets {
            let (items, _) = self.fetch(target, namespace.as_ref(), View::Object).await?;
            objects.extend(items.iter().map(object_of).collect::<Result<Vec<Object>>>()?);
        }
        let named = targets.iter().map(|(t, _)| t.names.len()).sum::<usize>();
        let single = named == 1 && targets.len() == 1;
        if single && objects.is_empty() {
            return Ok(());
        }
        print_objects(format, &objects, single, |object| name_of(object, discovery))
    }

    /// Prints the present objects, then each change. If the server forgot where the watch was, begins anew.
    async fn watch(&self, target: &Target, namespace: Option<&String>) -> Result<()> {
        let mut selection = self.selection();
        match target.names.as_slice() {
            [] => {}
            [name] => {
                let by_name = format!("metadata.name={name}");
                selection.fields = if selection.fields.is_empty() {
                    by_name
                } else {
                    format!("{},{by_name}", selection.fields)
                };
            }
            _ => return Err(Failure::usage("--watch takes one name, or none").into()),
        }
        let place = self.place(target, namespace, "");
        let format = self.args.output.format();
        let is_table = matches!(format, Format::Table | Format::Wide);
        let view = if is_table { self.view() } else { View::Object };
        loop {
            let list = self.resources.list_items(&place, &selection, view).await?;
            let mut shape = self.shape(target, &list.columns);
            for item in &list.items {
                if is_table {
                    shape.add(item)?;
                } else {
                    print_one(&format, item)?;
                }
            }
            if is_table && !shape.table.is_empty() {
                print(&shape.table.render(!self.args.no_headers))?;
            }
            let mut watch = self.resources.watch(&place, &selection, view, list.revision).patient();
            loop {
                let event = match watch.next().await {
                    Ok(WatchItem::Event(event)) => event,
                    Ok(WatchItem::Restarted) => break,
                    Err(error) if error.is_gone() => break,
                    Err(error) => return Err(error.into()),
                };
                let Some(item) = event.item.as_ref().filter(|_| event.r#type() != Type::Bookmark) else {
                    continue;
                };
                if !is_table {
                    print_one(&format, item)?;
                    continue;
                }
                let first = shape.table.is_empty();
                shape.add(item)?;
                let widths = shape.table.widths();
                print(&if first {
                    shape.table.render(!self.args.no_headers)
                } else {
                    shape.table.render_last(&widths)
                })?;
            }
            warn("the server no longer has the changes in between; the present state follows");
        }
    }
}

fn print_one(format: &Format, item: &Item) -> Result<()> {
    if *format == Format::Yaml {
        print("---\n")?;
    }
    print_objects(format, &[object_of(item)?], true, |object| {
        format!("{}/{}", object.kind().to_lowercase(), object.name())
    })
}

/// `deployment.apps/hello`.
pub(crate) fn name_of(object: &Object, discovery: &Discovery) -> String {
    let kind = discovery
        .of_object(object)
        .map_or_else(|_| object.kind().to_lowercase(), qualified);
    format!("{kind}/{}", object.name())
}

/// A table that is being filled from items.
struct Shape {
    table: Table,
    /// Positions of the cells that are shown.
    shown: Vec<usize>,
    /// Which of the server's cells is the name, if one is.
    name_cell: Option<usize>,
    namespaces: bool,
    labels: bool,
    prefix: String,
}

struct ShapeOptions<'c> {
    columns: &'c [Column],
    wide: bool,
    namespaces: bool,
    labels: bool,
    prefix: String,
}

impl Shape {
    fn new(options: ShapeOptions<'_>) -> Self {
        let ShapeOptions {
            columns,
            wide,
            namespaces,
            labels,
            prefix,
        } = options;
        let name_cell = columns.iter().position(|c| c.name.eq_ignore_ascii_case("name"));
        let shown: Vec<usize> = (0..columns.len())
            .filter(|&i| wide || columns[i].priority == 0)
            .collect();
        let mut header: Vec<&str> = Vec::new();
        if namespaces {
            header.push("namespace");
        }
        if name_cell.is_none() {
            header.push("name");
        }
        header.extend(shown.iter().map(|&i| columns[i].name.as_str()));
        if labels {
            header.push("labels");
        }
        Self {
            table: Table::new(header),
            shown,
            name_cell,
            namespaces,
            labels,
            prefix,
        }
    }

    fn add(&mut self, item: &Item) -> Result<()> {
        let mut cells = Vec::new();
        if self.namespaces {
            cells.push(item.namespace.clone());
        }
        if self.name_cell.is_none() {
            cells.push(format!("{}{}", self.prefix, item.name));
        }
        for &position in &self.shown {
            let cell = item.cells.get(position).cloned().unwrap_or_default();
            let is_name = self.name_cell == Some(position);
            cells.push(if is_name {
                format!("{}{cell}", self.prefix)
            } else {
                cell
            });
        }
        if self.labels {
            let object = object_of(item)?;
            let labels: Vec<String> = object
                .texts("/metadata/labels")
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            cells.push(if labels.is_empty() {
                "<none>".to_owned()
            } else {
                labels.join(",")
            });
        }
        self.table.row(cells);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use expect_test::expect;

    fn column(name: &str, priority: i32) -> Column {
        Column {
            name: name.to_owned(),
            priority,
            ..Default::default()
        }
    }

    fn item(cells: &[&str]) -> Item {
        let object = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"a":"b"}}}"#;
        Item {
            cells: cells.iter().map(|&c| c.to_owned()).collect(),
            namespace: "shop".to_owned(),
            name: "hello".to_owned(),
            object: object.to_vec().into(),
            ..Default::default()
        }
    }

    #[test]
    fn columns_follow_the_server() {
        let columns = [column("Ready", 0), column("Node", 1), column("Age", 0)];
        let render = |wide, namespaces, labels, prefix: &str, columns: &[Column], cells: &[&str]| {
            let options = ShapeOptions {
                columns,
                wide,
                namespaces,
                labels,
                prefix: prefix.to_owned(),
            };
            let mut shape = Shape::new(options);
            shape.add(&item(cells)).unwrap();
            shape.table.render(true)
        };
        let cells = ["1/1", "node-1", "3s"];
        let mut all = render(false, false, false, "", &columns, &cells);
        all += &render(true, true, true, "pod/", &columns, &cells);
        all += &render(
            false,
            false,
            false,
            "pod/",
            &[column("Name", 0), column("Age", 0)],
            &["hello", "3s"],
        );
        // Where the server's name is a detail, it is shown as one.
        all += &render(
            false,
            false,
            false,
            "",
            &[column("Reason", 0), column("Name", 1)],
            &["Started", "hello.1"],
        );
        expect![[r#"
            NAME    READY   AGE
            hello   1/1     3s
            NAMESPACE   NAME        READY   NODE     AGE   LABELS
            shop        pod/hello   1/1     node-1   3s    a=b
            NAME        AGE
            pod/hello   3s
            REASON
            Started
        "#]]
        .assert_eq(&all);
    }
}
