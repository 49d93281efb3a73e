//! `rollout`: watches and steers the rollout of a deployment. Revisions are kept in its replica sets.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::duration;
use crate::exit::{Exit, Failure};
use crate::follow::Follow;
use crate::object::Object;
use crate::output::table::Table;
use crate::output::{print, say, yaml};
use crate::resolve::{Discovery, qualified, reference};
use crate::resources::{Resources, Selection, WriteOptions};
use crate::rollout::{Progress, is_controlled_by, progress, revision};
use crate::session::Session;

/// Annotation of the template whose change makes new pods.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Annotation with the reason of a revision.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Label that the deployment's controller gives to each template.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Flags of `rollout`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme rollout status deploy/hello
  trireme rollout history deploy/hello --revision 2
  trireme rollout undo deploy/hello --to-revision 1
  trireme rollout restart deploy/hello")]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Watch a rollout until it is done
    Status {
        /// TYPE NAME, or TYPE/NAME
        #[arg(required = true)]
        resource: Vec<String>,
        /// Go on until it is done
        #[arg(short = 'w', long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
        watch: bool,
        /// How long to wait; 0 for ever
        #[arg(long, default_value = "0", value_parser = duration::parse, value_name = "DURATION")]
        timeout: Duration,
    },
    /// Show the revisions
    History {
        /// TYPE NAME, or TYPE/NAME
        #[arg(required = true)]
        resource: Vec<String>,
        /// Show the template of this one
        #[arg(long)]
        revision: Option<i64>,
    },
    /// Go back to an earlier revision
    Undo {
        /// TYPE NAME, or TYPE/NAME
        #[arg(required = true)]
        resource: Vec<String>,
        /// Which; 0 for the one before the present one
        #[arg(long, default_value_t = 0)]
        to_revision: i64,
    },
    /// Stop making new pods of changes
    Pause {
        /// TYPE NAME, or TYPE/NAME
        #[arg(required = true)]
        resource: Vec<String>,
    },
    /// Go on after a pause
    Resume {
        /// TYPE NAME, or TYPE/NAME
        #[arg(required = true)]
        resource: Vec<String>,
    },
    /// Replace all pods by new ones, by the same rules as any change
    Restart {
        /// TYPE NAME, or TYPE/NAME
        #[arg(required = true)]
        resource: Vec<String>,
    },
}

/// Runs the verb.
pub(crate) async fn run(args: RolloutArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let resources = session.resources();
    match args.verb {
        Verb::Status {
            resource,
            watch,
            timeout,
        } => {
            let what = What::find(&discovery, &resource, session)?;
            let status = what.status(&resources, watch);
            if timeout.is_zero() {
                return status.await;
            }
            tokio::time::timeout(timeout, status).await.unwrap_or_else(|_| {
                let help = format!("see `trireme describe {}` and its pods' events", what.title());
                Err(
                    Failure::new(Exit::Timeout, format!("{} is not rolled out in time", what.title()))
                        .help(help)
                        .into(),
                )
            })
        }
        Verb::History { resource, revision } => {
            What::find(&discovery, &resource, session)?
                .history(&resources, &discovery, revision)
                .await
        }
        Verb::Undo { resource, to_revision } => {
            What::find(&discovery, &resource, session)?
                .undo(&resources, &discovery, to_revision)
                .await
        }
        Verb::Pause { resource } => {
            What::find(&discovery, &resource, session)?
                .pause(&resources, true)
                .await
        }
        Verb::Resume { resource } => {
            What::find(&discovery, &resource, session)?
                .pause(&resources, false)
                .await
        }
        Verb::Restart { resource } => What::find(&discovery, &resource, session)?.restart(&resources).await,
    }
}

/// The object whose rollout is meant.
struct What {
    resource: trireme_proto::v1::ApiResource,
    namespace: String,
    name: String,
}

impl What {
    fn find(discovery: &Discovery, arguments: &[String], session: &Session) -> Result<Self> {
        let (resource, name) = discovery.one(arguments)?;
        if resource.kind != "Deployment" {
            let message = format!("{} have no rollout", resource.plural);
            return Err(Failure::usage(message)
                .help("name a deployment, such as deploy/hello")
                .into());
        }
        Ok(Self {
            resource,
            namespace: session.namespace.clone(),
            name,
        })
    }

    fn title(&self) -> String {
        format!("{}/{}", qualified(&self.resource), self.name)
    }

    fn place(&self) -> trireme_proto::v1::ResourceRef {
        reference(&self.resource, &self.namespace, &self.name)
    }

    async fn status(&self, resources: &Resources, watch: bool) -> Result<()> {
        // Tells at once, with the server's words, if there is no such object.
        let present = resources.get(&self.place()).await?;
        if !watch {
            return match progress(&present) {
                Progress::Waiting(text) | Progress::Done(text) => say(text),
                Progress::Failed(text) => Err(Failure::new(Exit::Other, text).into()),
            };
        }
        let mut follow = Follow::object(resources, &self.resource, &self.namespace, &self.name);
        let mut last = String::new();
        let mut step = |now: &Follow| {
            let Some(object) = now.first() else {
                return Err(Failure::new(Exit::NotFound, format!("{} was deleted", self.title())).into());
            };
            match progress(object) {
                Progress::Waiting(text) => {
                    if text != last {
                        say(&text)?;
                        last = text;
                    }
                    Ok(None)
                }
                Progress::Done(text) => say(text).map(Some),
                Progress::Failed(text) => Err(Failure::new(Exit::Other, text)
                    .help(format!(
                        "see `trireme describe {}`, or go back with `trireme rollout undo {}`",
                        self.title(),
                        self.title()
                    ))
                    .into()),
            }
        };
        follow.until(&mut step).await
    }

    /// The replica sets that the deployment controls, oldest revision first, and the deployment.
    async fn revisions(&self, resources: &Resources, discovery: &Discovery) -> Result<(Object, Vec<Object>)> {
        let deployment = resources.get(&self.place()).await?;
        let kind = discovery.resource("replicasets.apps")?;
        let all = resources
            .list(&reference(kind, &self.namespace, ""), &Selection::default())
            .await?;
        let mut mine: Vec<Object> = all
            .into_iter()
            .filter(|set| is_controlled_by(set, &deployment))
            .collect();
        mine.sort_by_key(|set| (revision(set), set.name().to_owned()));
        Ok((deployment, mine))
    }

    async fn history(&self, resources: &Resources, discovery: &Discovery, wanted: Option<i64>) -> Result<()> {
        let (_, sets) = self.revisions(resources, discovery).await?;
        if let Some(wanted) = wanted {
            let set = sets
                .iter()
                .find(|set| revision(set) == wanted)
                .ok_or_else(|| self.no_revision(wanted, &sets))?;
            let template = template_of(set).context("the replica set has no template")?;
            return print(&format!(
                "{} with revision #{wanted}\n{}",
                self.title(),
                yaml::to_string(&template)
            ));
        }
        let mut table = Table::new(["Revision", "Change-Cause"]);
        for set in &sets {
            table.row([
                revision(set).to_string(),
                set.annotation(CHANGE_CAUSE).unwrap_or("<none>").to_owned(),
            ]);
        }
        print(&format!("{}\n{}", self.title(), table.render(true)))
    }

    fn no_revision(&self, wanted: i64, sets: &[Object]) -> Failure {
        let known: Vec<String> = sets.iter().map(|set| revision(set).to_string()).collect();
        Failure::new(Exit::NotFound, format!("{} has no revision {wanted}", self.title()))
            .help(format!("its revisions are {}", known.join(", ")))
    }

    async fn undo(&self, resources: &Resources, discovery: &Discovery, to_revision: i64) -> Result<()> {
        let (deployment, sets) = self.revisions(resources, discovery).await?;
        if deployment.value().pointer("/spec/paused") == Some(&Value::Bool(true)) {
            let help = format!("go on first with `trireme rollout resume {}`", self.title());
            return Err(Failure::new(Exit::Conflict, format!("{} is paused", self.title()))
                .help(help)
                .into());
        }
        let present = revision(&deployment);
        let target = if to_revision > 0 {
            sets.iter()
                .find(|set| revision(set) == to_revision)
                .ok_or_else(|| self.no_revision(to_revision, &sets))?
        } else {
            let before = sets.iter().rfind(|set| revision(set) < present);
            before.ok_or_else(|| Failure::new(Exit::NotFound, format!("{} has no earlier revision", self.title())))?
        };
        let template = template_of(target).context("the replica set has no template")?;
        let change = |live: &Object| {
            let mut wanted = live.value().clone();
            wanted["spec"]["template"] = template.clone();
            Ok(wanted)
        };
        let changed = resources.change(&self.place(), WriteOptions::default(), change).await?;
        if changed.changed {
            say(format!("{} rolled back to revision {}", self.title(), revision(target)))
        } else {
            say(format!("{} is at revision {} already", self.title(), revision(target)))
        }
    }

    async fn pause(&self, resources: &Resources, paused: bool) -> Result<()> {
        let change = |live: &Object| {
            let mut wanted = live.value().clone();
            let is_paused = wanted.pointer("/spec/paused") == Some(&Value::Bool(true));
            if paused != is_paused {
                wanted["spec"]["paused"] = Value::Bool(paused);
            }
            Ok(wanted)
        };
        let changed = resources.change(&self.place(), WriteOptions::default(), change).await?;
        let state = if paused { "paused" } else { "resumed" };
        let already = if changed.changed { "" } else { " already" };
        say(format!("{} {state}{already}", self.title()))
    }

    async fn restart(&self, resources: &Resources) -> Result<()> {
        let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second())?.to_string();
        let change = |live: &Object| {
            if live.value().pointer("/spec/paused") == Some(&Value::Bool(true)) {
                let help = format!("go on first with `trireme rollout resume {}`", self.title());
                return Err(Failure::new(Exit::Conflict, format!("{} is paused", self.title()))
                    .help(help)
                    .into());
            }
            let mut wanted = live.value().clone();
            wanted["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] = Value::from(now.as_str());
            Ok(wanted)
        };
        // The controller writes a deployment's status at any time: that must not keep people from restarting it.
        resources.change(&self.place(), WriteOptions::default(), change).await?;
        say(format!("{} restarted", self.title()))
    }
}

/// The template as the user wrote it, without the controller's label.
fn template_of(set: &Object) -> Option<Value> {
    let mut template = set.value().pointer("/spec/template")?.clone();
    if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
        labels.remove(TEMPLATE_HASH);
    }
    if let Some(Value::Object(metadata)) = template.pointer_mut("/metadata") {
        metadata.remove("creationTimestamp");
    }
    Some(template)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_template_loses_the_controllers_label() {
        let set = Object::new(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "spec": {"template": {"metadata": {"creationTimestamp": null, "labels": {"app": "a", TEMPLATE_HASH: "x"}}, "spec": {"n": 1}}},
        }))
        .unwrap();
        assert_eq!(
            template_of(&set).unwrap(),
            json!({"metadata": {"labels": {"app": "a"}}, "spec": {"n": 1}})
        );
    }
}
