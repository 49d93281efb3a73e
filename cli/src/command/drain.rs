//! `drain`: empties a node of its pods, so that it can be taken down.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use trireme_client::ClientError;
use trireme_proto::v1::{ApiResource, DeleteRequest};

use crate::command::cordon::set_unschedulable;
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::follow::Follow;
use crate::object::Object;
use crate::output::{say, warn};
use crate::resolve::reference;
use crate::resources::{Resources, Selection};
use crate::session::Session;

/// Flags of `drain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme drain node-1
  trireme drain node-1 --ignore-daemonsets --force --grace-period 5")]
pub(crate) struct DrainArgs {
    /// Names of nodes
    #[arg(required = true)]
    nodes: Vec<String>,
    /// Leave pods of daemon sets alone; they would come back at once
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Also delete pods that nothing will replace
    #[arg(long)]
    force: bool,
    /// Also delete pods with local data, which is lost
    #[arg(long)]
    delete_emptydir_data: bool,
    /// Seconds a pod has to end
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<i64>,
    /// How long to wait; 0 for ever
    #[arg(long, default_value = "0", value_parser = duration::parse, value_name = "DURATION")]
    timeout: Duration,
}

/// What drain does with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Delete,
    /// Leave it, for this reason.
    Leave(&'static str),
    /// Do not drain at all, unless this flag is given.
    Refuse(&'static str, &'static str),
}

/// Decides about one pod. Pure.
fn judge(pod: &Object, args: &DrainArgs) -> Verdict {
    if pod.annotation("kubernetes.io/config.mirror").is_some() {
        return Verdict::Leave("it belongs to the node itself");
    }
    let finished = matches!(pod.text("/status/phase"), "Succeeded" | "Failed");
    let controller = pod
        .list("/metadata/ownerReferences")
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
        .and_then(|owner| owner.get("kind").and_then(Value::as_str));
    if controller == Some("DaemonSet") && !finished {
        return if args.ignore_daemonsets {
            Verdict::Leave("it is of a daemon set")
        } else {
            Verdict::Refuse("is of a daemon set", "--ignore-daemonsets")
        };
    }
    if finished {
        return Verdict::Delete;
    }
    if controller.is_none() && !args.force {
        return Verdict::Refuse("has no controller that would replace it", "--force");
    }
    let local = pod
        .list("/spec/volumes")
        .iter()
        .any(|volume| volume.get("emptyDir").is_some());
    if local && !args.delete_emptydir_data {
        return Verdict::Refuse("has local data, which would be lost", "--delete-emptydir-data");
    }
    Verdict::Delete
}

/// Runs the verb.
pub(crate) async fn run(args: DrainArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let (nodes, pods) = (discovery.resource("nodes")?, discovery.resource("pods")?);
    let resources = session.resources();
    for node in &args.nodes {
        let node = node.trim_start_matches("node/").trim_start_matches("no/");
        if set_unschedulable(&resources, &reference(nodes, "", node), true).await? {
            say(format!("node/{node} cordoned"))?;
        }
        let drain = drain(&args, &resources, pods, node);
        if args.timeout.is_zero() {
            drain.await?;
        } else {
            tokio::time::timeout(args.timeout, drain).await.unwrap_or_else(|_| {
                let help = format!("see `trireme get pods -A --field-selector spec.nodeName={node}`");
                Err(Failure::new(Exit::Timeout, format!("node/{node} is not empty in time"))
                    .help(help)
                    .into())
            })?;
        }
        say(format!("node/{node} drained"))?;
    }
    Ok(())
}

async fn drain(args: &DrainArgs, resources: &Resources, kind: &ApiResource, node: &str) -> Result<()> {
    let selection = Selection {
        fields: format!("spec.nodeName={node}"),
        ..Default::default()
    };
    let mut deleted: Vec<String> = Vec::new();
    let mut follow = Follow::selection(resources, kind, "", &selection);
    let mut told = usize::MAX;
    loop {
        follow.changed().await?;
        let pods: Vec<Object> = follow.objects().cloned().collect();
        let mut to_delete = Vec::new();
        let mut refused = Vec::new();
        let mut remaining = 0;
        for pod in &pods {
            match judge(pod, args) {
                Verdict::Delete => {
                    remaining += 1;
                    if !deleted.iter().any(|uid| uid == pod.uid()) {
                        to_delete.push(pod);
                    }
                }
                Verdict::Leave(reason) => {
                    if !deleted.iter().any(|uid| uid == pod.uid()) {
                        warn(format!("pod {}/{} stays: {reason}", pod.namespace(), pod.name()));
                        deleted.push(pod.uid().to_owned());
                    }
                }
                Verdict::Refuse(reason, flag) => {
                    refused.push((format!("pod {}/{} {reason}", pod.namespace(), pod.name()), flag));
                }
            }
        }
        if let Some((reason, flag)) = refused.first() {
            let more = if refused.len() > 1 {
                format!(" (and {} more)", refused.len() - 1)
            } else {
                String::new()
            };
            let help = format!("pass {flag} to go on, or `trireme uncordon {node}` to give up");
            return Err(
                Failure::new(Exit::Conflict, format!("{reason}{more}; no pod was deleted for it"))
                    .help(help)
                    .into(),
            );
        }
        for pod in to_delete {
            delete(args, resources, kind, pod).await?;
            deleted.push(pod.uid().to_owned());
            say(format!("pod/{} in {} is being deleted", pod.name(), pod.namespace()))?;
        }
        if remaining == 0 {
            return Ok(());
        }
        if remaining != told {
            told = remaining;
            say(format!("waiting for {remaining} pods to end"))?;
        }
    }
}

async fn delete(args: &DrainArgs, resources: &Resources, kind: &ApiResource, pod: &Object) -> Result<()> {
    let request = DeleteRequest {
        resource: Some(reference(kind, pod.namespace(), pod.name())),
        grace_period_seconds: args.grace_period,
        precondition_uid: pod.uid().to_owned(),
        ..Default::default()
    };
    match resources.delete(request).await {
        Ok(_) => Ok(()),
        // Gone, or replaced by a namesake: either way it is not this pod any more. The watch tells the rest.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(ClientError::UnknownOutcome { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DrainArgs,
    }

    #[test]
    fn pods_are_judged() {
        let owned = |kind: &str| json!([{"kind": kind, "controller": true}]);
        let pod = |owners: Value, phase: &str, volumes: Value| {
            Object::new(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"ownerReferences": owners},
                "spec": {"volumes": volumes}, "status": {"phase": phase},
            }))
            .unwrap()
        };
        let local = json!([{"name": "x", "emptyDir": {}}]);
        for (flags, pod, expected) in [
            ("", pod(owned("ReplicaSet"), "Running", json!([])), "delete"),
            ("", pod(json!([]), "Running", json!([])), "--force"),
            ("--force", pod(json!([]), "Running", json!([])), "delete"),
            ("", pod(json!([]), "Succeeded", json!([])), "delete"),
            ("", pod(owned("DaemonSet"), "Running", json!([])), "--ignore-daemonsets"),
            (
                "--ignore-daemonsets",
                pod(owned("DaemonSet"), "Running", json!([])),
                "leave",
            ),
            (
                "",
                pod(owned("ReplicaSet"), "Running", local.clone()),
                "--delete-emptydir-data",
            ),
            (
                "--delete-emptydir-data",
                pod(owned("ReplicaSet"), "Running", local),
                "delete",
            ),
        ] {
            let words = ["drain", "node-1"].into_iter().chain(flags.split_whitespace());
            let args = Line::parse_from(words).args;
            let verdict = match judge(&pod, &args) {
                Verdict::Delete => "delete",
                Verdict::Leave(_) => "leave",
                Verdict::Refuse(_, flag) => flag,
            };
            assert_eq!(verdict, expected, "{flags}: {pod:?}");
        }
    }
}
