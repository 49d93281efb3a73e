//! `delete`: deletes objects, and waits until they are gone.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use trireme_client::ClientError;
use trireme_proto::v1::{ApiResource, DeleteRequest, PropagationPolicy};

use crate::duration;
use crate::exit::{Exit, Failure};
use crate::follow::Follow;
use crate::input::manifest::{self, FileArgs};
use crate::output::say;
use crate::resolve::{Discovery, qualified, reference};
use crate::resources::{Resources, Selection};
use crate::session::Session;

/// What happens to owned objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cascade {
    /// They are deleted afterwards.
    #[default]
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay, without an owner.
    Orphan,
}

/// Flags of `delete`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme delete pod hello
  trireme delete deploy/hello svc/hello
  trireme delete -f hello.yaml
  trireme delete pods -l app=hello --grace-period 1
  trireme delete pods --all -n shop --wait=false")]
pub(crate) struct DeleteArgs {
    /// TYPE NAME..., TYPE/NAME..., or TYPE with -l or --all
    resources: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
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
    /// Seconds a pod has to end
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<i64>,
    /// Remove at once, whether or not the node has stopped it
    #[arg(long)]
    force: bool,
    /// Wait until the objects are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    wait: bool,
    /// How long to wait; 0 for ever
    #[arg(long, default_value = "0", value_parser = duration::parse, value_name = "DURATION")]
    timeout: Duration,
    /// What happens to the objects that these own
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    cascade: Cascade,
    /// An object that does not exist is no failure
    #[arg(long)]
    ignore_not_found: bool,
    /// Do everything but delete
    #[arg(long)]
    dry_run: bool,
}

/// An object that is to go.
struct Victim {
    resource: ApiResource,
    namespace: String,
    name: String,
    uid: String,
}

/// Runs the verb.
pub(crate) async fn run(args: DeleteArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let resources = session.resources();
    let victims = find(&args, session, &discovery, &resources).await?;
    if victims.is_empty() {
        eprintln!("No resources found");
    }
    let mut going = Vec::new();
    for victim in victims {
        let request = DeleteRequest {
            resource: Some(reference(&victim.resource, &victim.namespace, &victim.name)),
            grace_period_seconds: if args.force { Some(0) } else { args.grace_period },
            propagation_policy: match args.cascade {
                Cascade::Background => PropagationPolicy::Background,
                Cascade::Foreground => PropagationPolicy::Foreground,
                Cascade::Orphan => PropagationPolicy::Orphan,
            }
            .into(),
            precondition_uid: victim.uid.clone(),
            dry_run: args.dry_run,
            ..Default::default()
        };
        let gone = delete(&resources, request, &victim).await?;
        let suffix = if args.dry_run {
            " (server dry run)"
        } else if args.force {
            " by force"
        } else {
            ""
        };
        say(format!(
            "{} \"{}\" deleted{suffix}",
            qualified(&victim.resource),
            victim.name
        ))?;
        if !gone {
            going.push(victim);
        }
    }
    if !args.wait || args.dry_run {
        return Ok(());
    }
    let waiting = wait(&resources, &going);
    if args.timeout.is_zero() {
        return waiting.await;
    }
    tokio::time::timeout(args.timeout, waiting).await.unwrap_or_else(|_| {
        let help = "something holds them: see their finalizers with `trireme get -o yaml`";
        Err(Failure::new(
            Exit::Timeout,
            "the objects are marked for deletion but not gone in time",
        )
        .help(help)
        .into())
    })
}

/// Deletes one object; true if it is gone. That it is gone already when an answer was lost is what was wanted.
async fn delete(resources: &Resources, request: DeleteRequest, victim: &Victim) -> Result<bool> {
    match resources.delete(request).await {
        Ok(answer) => Ok(answer.gone),
        Err(error @ ClientError::UnknownOutcome { .. }) => {
            let place = reference(&victim.resource, &victim.namespace, &victim.name);
            match resources.get_opt(&place).await {
                Ok(None) => Ok(true),
                Ok(Some(present)) if present.uid() != victim.uid => Ok(true),
                Ok(Some(present)) if !present.text("/metadata/deletionTimestamp").is_empty() => Ok(false),
                _ => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

async fn find(
    args: &DeleteArgs,
    session: &Session,
    discovery: &Discovery,
    resources: &Resources,
) -> Result<Vec<Victim>> {
    let mut named = Vec::new();
    let mut victims = Vec::new();
    if !args.files.filename.is_empty() {
        for document in manifest::read(&args.files)? {
            let resource = discovery
                .of_object(&document.object)
                .with_context(|| document.place.clone())?;
            let namespace = Some(document.object.namespace())
                .filter(|n| !n.is_empty())
                .unwrap_or(&session.namespace);
            named.push((
                resource.clone(),
                namespace.to_owned(),
                document.object.name().to_owned(),
            ));
        }
    }
    let selected = args.all || !args.selector.is_empty() || !args.field_selector.is_empty();
    let targets = match (args.resources.is_empty(), selected) {
        (true, _) if !args.files.filename.is_empty() => Vec::new(),
        (_, true) => discovery.targets(&args.resources)?,
        (_, false) => discovery
            .named_targets(&args.resources)
            .map_err(|f| f.help("name the objects, or pass -l SELECTOR or --all"))?,
    };
    for target in targets {
        if target.names.is_empty() {
            let selection = Selection {
                labels: args.selector.clone(),
                fields: args.field_selector.clone(),
            };
            let place = reference(&target.resource, &session.namespace, "");
            for object in resources.list(&place, &selection).await? {
                victims.push(Victim {
                    resource: target.resource.clone(),
                    namespace: object.namespace().to_owned(),
                    name: object.name().to_owned(),
                    uid: object.uid().to_owned(),
                });
            }
        }
        named.extend(
            target
                .names
                .into_iter()
                .map(|name| (target.resource.clone(), session.namespace.clone(), name)),
        );
    }
    for (resource, namespace, name) in named {
        // Its uid makes the deletion safe to repeat, and says later whether this very object is gone.
        match resources.get(&reference(&resource, &namespace, &name)).await {
            Ok(object) => victims.push(Victim {
                uid: object.uid().to_owned(),
                resource,
                namespace,
                name,
            }),
            Err(error) => {
                let missing = error
                    .downcast_ref::<ClientError>()
                    .is_some_and(ClientError::is_not_found);
                if !(missing && (args.ignore_not_found || !args.files.filename.is_empty())) {
                    return Err(error);
                }
            }
        }
    }
    Ok(victims)
}

async fn wait(resources: &Resources, going: &[Victim]) -> Result<()> {
    futures::future::try_join_all(going.iter().map(|victim| gone(resources, victim))).await?;
    Ok(())
}

async fn gone(resources: &Resources, victim: &Victim) -> Result<()> {
    let mut follow = Follow::object(resources, &victim.resource, &victim.namespace, &victim.name);
    follow
        .until(|now| {
            Ok(now
                .first()
                .is_none_or(|object| object.uid() != victim.uid)
                .then_some(()))
        })
        .await
}
