//! Manifests given to `up`: applied, and waited for until what they describe runs.

use anyhow::Result;
use trireme_client::{Client, Kubeconfig};

use super::{Up, is_ready};
use crate::command::apply::{Applier, WriteArgs};
use crate::exit::{Exit, Failure};
use crate::follow::Follow;
use crate::input::manifest::Document;
use crate::limits;
use crate::object::Object;
use crate::resolve::reference;
use crate::resources::Selection;
use crate::rollout;
use crate::session::Session;

impl Up {
    /// Applies manifests, and waits until what they describe runs.
    pub(crate) async fn apply(&mut self, documents: &[Document]) -> Result<()> {
        if documents.is_empty() {
            return Ok(());
        }
        let session = self.session()?;
        let discovery = session.discovery().await?;
        let resources = session.resources();
        let applier = Applier {
            session: &session,
            discovery,
            resources,
            write: WriteArgs::default(),
        };
        let mut applied = Vec::new();
        for document in documents {
            let (object, outcome) = applier.apply(document).await?;
            let name = crate::command::get::name_of(&object, &applier.discovery);
            self.progress.step(format!("{name} {}", outcome.as_str()));
            applied.push(object);
        }
        for object in applied {
            let wait = self.wait_until_it_runs(&applier, &object);
            tokio::time::timeout(limits::UP_PODS_TIMEOUT, wait)
                .await
                .unwrap_or_else(|_| {
                    let title = crate::command::get::name_of(&object, &applier.discovery);
                    let help = format!("see `trireme describe {title}` and `trireme events`; the cluster itself is up");
                    Err(Failure::new(Exit::Timeout, format!("{title} does not run yet"))
                        .help(help)
                        .into())
                })?;
        }
        Ok(())
    }

    async fn wait_until_it_runs(&self, applier: &Applier<'_>, object: &Object) -> Result<()> {
        if !matches!(object.kind(), "Deployment" | "Pod") {
            return Ok(());
        }
        let resource = applier.discovery.of_object(object)?;
        let mut follow = Follow::object(&applier.resources, resource, object.namespace(), object.name());
        let mut last = String::new();
        let mut step = |now: &Follow| {
            let Some(object) = now.first() else {
                return Err(Failure::new(Exit::NotFound, format!("{} was deleted", object.name())).into());
            };
            let progress = match object.kind() {
                "Deployment" => rollout::progress(object),
                _ if is_ready(object) => rollout::Progress::Done(format!("pod {:?} runs", object.name())),
                _ => rollout::Progress::Waiting(format!("Waiting for pod {:?} to run...", object.name())),
            };
            match progress {
                rollout::Progress::Waiting(text) => {
                    if text != last {
                        self.progress.step(&text);
                        last = text;
                    }
                    Ok(None)
                }
                rollout::Progress::Done(text) => {
                    self.progress.step(text);
                    Ok(Some(()))
                }
                rollout::Progress::Failed(text) => Err(Failure::new(Exit::Other, text).into()),
            }
        };
        loop {
            tokio::select! {
                outcome = follow.until(&mut step) => return outcome,
                () = tokio::time::sleep(limits::UP_STALL) => {
                    if let Some(reason) = why_not(applier, object.namespace()).await {
                        self.progress.step(reason);
                    }
                }
            }
        }
    }

    fn session(&self) -> Result<Session> {
        let mut config = Kubeconfig::read(&self.layout.kubeconfig())?
            .access(None, self.layout.root())?
            .config;
        config.retry_for = limits::RETRY_FOR;
        let client = Client::new(config)?;
        Ok(Session {
            client,
            namespace: "default".to_owned(),
            namespace_is_explicit: false,
        })
    }
}

/// Why a pod of the namespace does not run: what its node or the scheduler says of it.
async fn why_not(applier: &Applier<'_>, namespace: &str) -> Option<String> {
    let kind = applier.discovery.resource("pods").ok()?;
    let pods = applier
        .resources
        .list(&reference(kind, namespace, ""), &Selection::default())
        .await
        .ok()?;
    pods.iter().filter(|pod| !is_ready(pod)).find_map(|pod| {
        let reason = reason_of(pod)?;
        Some(format!("pod {:?} does not run yet: {reason}", pod.name()))
    })
}

/// The reason that a pod's status gives.
fn reason_of(pod: &Object) -> Option<String> {
    if let Some(("False", reason, message)) = pod.condition("PodScheduled") {
        return Some(format!("{reason}: {message}"));
    }
    pod.list("/status/containerStatuses").iter().find_map(|status| {
        let waiting = status.pointer("/state/waiting")?;
        let field = |name: &str| {
            waiting
                .get(name)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
        };
        Some(format!("{}: {}", field("reason"), field("message"))).filter(|text| text != ": ")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_say_why_they_do_not_run() {
        let check = |status: serde_json::Value, expected: Option<&str>| {
            let pod = Object::new(json!({"apiVersion": "v1", "kind": "Pod", "status": status})).unwrap();
            assert_eq!(reason_of(&pod).as_deref(), expected);
        };
        let condition =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes fit"});
        check(json!({"conditions": [condition]}), Some("Unschedulable: 0/2 nodes fit"));
        let waiting = json!({"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}});
        check(
            json!({"containerStatuses": [{"state": {"running": {}}}, waiting]}),
            Some("ErrImagePull: no such image"),
        );
        check(json!({}), None);
    }
}
