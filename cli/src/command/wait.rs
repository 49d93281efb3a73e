//! `wait`: waits until objects meet a condition.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::duration;
use crate::exit::{Exit, Failure};
use crate::follow::Follow;
use crate::input::manifest::{self, FileArgs};
use crate::object::Object;
use crate::output::jsonpath::JsonPath;
use crate::output::say;
use crate::resolve::{Discovery, qualified, reference};
use crate::resources::{Resources, Selection};
use crate::session::Session;

/// What is waited for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// `condition=Type[=Status]`: a condition of the status.
    Status(String, String),
    /// `jsonpath=PATH[=VALUE]`: a field has a value, or any.
    Path(JsonPath, Option<String>),
    /// `create`: the object is there.
    Create,
    /// `delete`: the object is gone.
    Delete,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(condition) = text.strip_prefix("condition=") {
            let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
            return Ok(Self::Status(kind.to_owned(), status.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            // The value stands behind the braces; the path itself may hold `==`.
            let end = rest.rfind('}').map_or(0, |p| p + 1);
            let (path, value) = match rest[end..].split_once('=') {
                Some((more, value)) => (
                    format!("{}{more}", &rest[..end]),
                    Some(value.trim_matches(['\'', '"']).to_owned()),
                ),
                None => (rest.to_owned(), None),
            };
            return Ok(Self::Path(path.parse()?, value));
        }
        match text {
            "create" => Ok(Self::Create),
            "delete" => Ok(Self::Delete),
            _ => Err("use condition=TYPE[=STATUS], jsonpath=PATH[=VALUE], create or delete".to_owned()),
        }
    }
}

impl Condition {
    /// Whether the condition holds; `object` is none if there is none.
    pub(crate) fn holds(&self, object: Option<&Object>) -> bool {
        match (self, object) {
            (Self::Delete, object) => object.is_none(),
            (Self::Create, object) => object.is_some(),
            (_, None) => false,
            (Self::Status(kind, wanted), Some(object)) => object
                .condition(kind)
                .is_some_and(|(status, _, _)| status.eq_ignore_ascii_case(wanted)),
            (Self::Path(path, wanted), Some(object)) => {
                let values = path.values(object.value());
                match wanted {
                    None => !values.is_empty(),
                    Some(wanted) => !values.is_empty() && values.iter().all(|value| value == wanted),
                }
            }
        }
    }
}

/// Flags of `wait`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme wait deploy/hello --for condition=Available --timeout 60s
  trireme wait pods -l app=hello --for condition=Ready
  trireme wait pod/hello --for jsonpath='{.status.phase}'=Running
  trireme wait pod/hello --for delete")]
pub(crate) struct WaitArgs {
    /// TYPE NAME..., TYPE/NAME..., or TYPE with -l or --all
    resources: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// condition=TYPE[=STATUS], jsonpath=PATH[=VALUE], create, or delete
    #[arg(long = "for", value_name = "CONDITION")]
    condition: Condition,
    /// How long; 0 looks once
    #[arg(long, default_value = "30s", value_parser = duration::parse, value_name = "DURATION")]
    timeout: Duration,
    /// Label selector
    #[arg(
        short = 'l',
        long,
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    selector: String,
    /// Field selector
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    field_selector: String,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
}

struct Awaited {
    resource: trireme_proto::v1::ApiResource,
    namespace: String,
    name: String,
    /// Set for `delete`: a new object of the same name is another one.
    uid: String,
}

/// Runs the verb.
pub(crate) async fn run(args: WaitArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let resources = session.resources();
    let awaited = find(&args, session, &discovery, &resources).await?;
    if awaited.is_empty() {
        if args.condition == Condition::Delete {
            return Ok(());
        }
        return Err(Failure::new(Exit::NotFound, "there are no such objects").into());
    }
    let deadline = args.timeout.max(Duration::from_secs(1));
    let waits = awaited.iter().map(|one| async {
        match tokio::time::timeout(deadline, wait_one(&resources, one, &args.condition)).await {
            Ok(result) => result,
            Err(_) => {
                let title = format!("{}/{}", qualified(&one.resource), one.name);
                let help = format!("see `trireme describe {title}`");
                Err(
                    Failure::new(Exit::Timeout, format!("{title} did not meet the condition in time"))
                        .help(help)
                        .into(),
                )
            }
        }
    });
    let results = futures::future::join_all(waits).await;
    results.into_iter().collect::<Result<Vec<()>>>().map(drop)
}

async fn wait_one(resources: &Resources, one: &Awaited, condition: &Condition) -> Result<()> {
    let title = format!("{}/{}", qualified(&one.resource), one.name);
    if !matches!(condition, Condition::Create | Condition::Delete) {
        // Tells at once, with the server's words, if there is no such object.
        resources
            .get(&reference(&one.resource, &one.namespace, &one.name))
            .await?;
    }
    let mut follow = Follow::object(resources, &one.resource, &one.namespace, &one.name);
    follow
        .until(|now| {
            let object = now
                .first()
                .filter(|object| one.uid.is_empty() || object.uid() == one.uid);
            if object.is_none() && !matches!(condition, Condition::Create | Condition::Delete) {
                return Err(Failure::new(Exit::NotFound, format!("{title} was deleted")).into());
            }
            Ok(condition.holds(object).then_some(()))
        })
        .await?;
    say(format!(
        "{title} {}",
        if *condition == Condition::Delete {
            "deleted"
        } else {
            "condition met"
        }
    ))
}

async fn find(
    args: &WaitArgs,
    session: &Session,
    discovery: &Discovery,
    resources: &Resources,
) -> Result<Vec<Awaited>> {
    let mut awaited = Vec::new();
    for document in if args.files.filename.is_empty() {
        Vec::new()
    } else {
        manifest::read(&args.files)?
    } {
        let resource = discovery.of_object(&document.object)?.clone();
        let namespace = Some(document.object.namespace())
            .filter(|n| !n.is_empty())
            .unwrap_or(&session.namespace)
            .to_owned();
        awaited.push(Awaited {
            resource,
            namespace,
            name: document.object.name().to_owned(),
            uid: String::new(),
        });
    }
    let selected = args.all || !args.selector.is_empty() || !args.field_selector.is_empty();
    let targets = match (args.resources.is_empty(), selected) {
        (true, _) if !awaited.is_empty() => Vec::new(),
        (_, true) => discovery.targets(&args.resources)?,
        (_, false) => discovery
            .named_targets(&args.resources)
            .map_err(|f| f.help("name the objects, or pass -l SELECTOR or --all"))?,
    };
    for target in targets {
        let names: Vec<(String, String)> = if target.names.is_empty() {
            let selection = Selection {
                labels: args.selector.clone(),
                fields: args.field_selector.clone(),
            };
            let objects = resources
                .list(&reference(&target.resource, &session.namespace, ""), &selection)
                .await?;
            objects
                .iter()
                .map(|o| (o.name().to_owned(), o.uid().to_owned()))
                .collect()
        } else {
            target.names.iter().map(|name| (name.clone(), String::new())).collect()
        };
        for (name, uid) in names {
            let uid = if args.condition == Condition::Delete {
                uid
            } else {
                String::new()
            };
            awaited.push(Awaited {
                resource: target.resource.clone(),
                namespace: session.namespace.clone(),
                name,
                uid,
            });
        }
    }
    Ok(awaited)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions() {
        let object = Object::new(json!({
            "apiVersion": "v1", "kind": "Pod",
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "Bad", "status": "False"}]},
        }))
        .unwrap();
        for (text, there, gone) in [
            ("condition=Ready", true, false),
            ("condition=ready=true", true, false),
            ("condition=Bad", false, false),
            ("condition=Bad=False", true, false),
            ("condition=Missing", false, false),
            ("jsonpath={.status.phase}=Running", true, false),
            ("jsonpath={.status.phase}", true, false),
            ("jsonpath=.status.phase=Pending", false, false),
            (
                "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True",
                true,
                false,
            ),
            ("jsonpath={.status.x}", false, false),
            ("create", true, false),
            ("delete", false, true),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(
                (condition.holds(Some(&object)), condition.holds(None)),
                (there, gone),
                "{text}"
            );
        }
        assert!("ready".parse::<Condition>().is_err());
    }
}
