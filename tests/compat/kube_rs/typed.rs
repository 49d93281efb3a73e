//! The typed API: what is written comes back, what is refused is refused with a reason.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, EvictParams, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::{conditions, wait::await_condition},
};
use serde_json::json;

use super::client::{namespace, object, refusal};

/// How long a deployment may take to get where it should be.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) async fn objects(client: &Client) -> Result<()> {
    namespace(client, "typed").await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "typed");
    let post = PostParams::default();
    let patch = PatchParams::default();

    let made = api
        .create(&post, &object(json!({"metadata": {"name": "a"}, "data": {"k": "v"}}))?)
        .await?;
    ensure!(made.uid().is_some() && made.resource_version().is_some(), "{made:?}");
    ensure!(api.get("a").await? == made, "what was made is what is got");
    ensure!(api.get_opt("none").await?.is_none(), "there is no such object");
    let exists = refusal(api.create(&post, &object(json!({"metadata": {"name": "a"}}))?).await)?;
    ensure!(exists.code == 409 && exists.reason == "AlreadyExists", "{exists:?}");

    let patched = api
        .patch("a", &patch, &Patch::Merge(json!({"data": {"k": "w"}})))
        .await?;
    let stale = refusal(api.replace("a", &post, &made).await)?;
    ensure!(stale.code == 409 && stale.reason == "Conflict", "{stale:?}");
    let mut newer = patched;
    newer
        .data
        .get_or_insert_default()
        .insert("l".to_owned(), "x".to_owned());
    let replaced = api.replace("a", &post, &newer).await?;
    let labels = json!({"metadata": {"labels": {"tier": "front"}}});
    let labelled = api.patch("a", &patch, &Patch::Strategic(labels)).await?;
    ensure!(labelled.labels()["tier"] == "front", "{labelled:?}");
    ensure!(labelled.data == replaced.data, "{labelled:?}");
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    api.create(&dry, &object(json!({"metadata": {"name": "dry"}}))?).await?;
    ensure!(api.get_opt("dry").await?.is_none(), "a dry run makes nothing");

    let unnamed = json!({"metadata": {"generateName": "some-"}});
    let named = api.create(&post, &object(unnamed)?).await?.name_any();
    ensure!(named.starts_with("some-") && named.len() > "some-".len(), "{named}");
    let wrong = refusal(
        api.create(&post, &object(json!({"metadata": {"name": "Not A Name"}}))?)
            .await,
    )?;
    ensure!(wrong.code == 422 && wrong.reason == "Invalid", "{wrong:?}");
    let causes = wrong.details.context("what is invalid is named")?.causes;
    ensure!(causes.iter().any(|cause| cause.field == "metadata.name"), "{causes:?}");

    for index in 0..5 {
        let one = json!({"metadata": {"name": format!("page-{index}"), "labels": {"paged": "yes"}}});
        api.create(&post, &object(one)?).await?;
    }
    pages(&api).await?;

    let other = Preconditions {
        uid: Some("00000000-0000-0000-0000-000000000000".to_owned()),
        resource_version: None,
    };
    let kept = refusal(api.delete("a", &DeleteParams::default().preconditions(other)).await)?;
    ensure!(kept.code == 409, "{kept:?}");
    api.delete("a", &DeleteParams::default()).await?;
    let gone = refusal(api.get("a").await)?;
    ensure!(gone.code == 404 && gone.reason == "NotFound", "{gone:?}");
    api.delete_collection(&DeleteParams::default(), &ListParams::default().labels("paged=yes"))
        .await?;
    let left = api.list(&ListParams::default().labels("paged")).await?;
    ensure!(left.items.is_empty(), "{left:?}");
    Ok(())
}

/// Pages of two hold each object once, and all show the first one's revision.
async fn pages(api: &Api<ConfigMap>) -> Result<()> {
    let mut params = ListParams::default().labels("paged in (yes),!unpaged").limit(2);
    let mut names = BTreeSet::new();
    let mut revisions = BTreeSet::new();
    let mut count = 0;
    loop {
        let page = api.list_metadata(&params).await?;
        ensure!(page.items.len() <= 2, "{page:?}");
        count += page.items.len();
        names.extend(page.iter().map(ResourceExt::name_any));
        revisions.extend(page.metadata.resource_version);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    ensure!(names.len() == 5 && count == 5, "{names:?} in {count}");
    ensure!(revisions.len() == 1, "{revisions:?}");
    Ok(())
}

pub(super) async fn workload(client: &Client) -> Result<()> {
    namespace(client, "workload").await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "workload");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "workload");
    let hello = object(json!({
        "metadata": {"name": "hello"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "hello"}},
            "template": {
                "metadata": {"labels": {"app": "hello"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "hello", "image": "trireme.local/hello:1"}],
                },
            },
        },
    }))?;
    deployments.create(&PostParams::default(), &hello).await?;
    let completed = await_condition(deployments.clone(), "hello", conditions::is_deployment_completed());
    tokio::time::timeout(PATIENCE, completed)
        .await
        .context("the deployment to complete")??;

    let scale = deployments.get_scale("hello").await?;
    ensure!(scale.spec.and_then(|spec| spec.replicas) == Some(1), "one replica");
    let two = Patch::Merge(json!({"spec": {"replicas": 2}}));
    deployments.patch_scale("hello", &PatchParams::default(), &two).await?;
    let both = |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status.and_then(|status| status.ready_replicas) == Some(2)
    };
    tokio::time::timeout(PATIENCE, await_condition(deployments.clone(), "hello", both))
        .await
        .context("a second replica")??;

    let running = pods
        .list(&ListParams::default().labels("app=hello").fields("status.phase=Running"))
        .await?;
    let first = running.items.first().context("a pod runs")?;
    let (name, uid) = (first.name_any(), first.uid().context("a pod has a uid")?);
    let log = pods
        .logs(
            &name,
            &LogParams {
                tail_lines: Some(1),
                ..LogParams::default()
            },
        )
        .await?;
    ensure!(log.lines().count() == 1, "{log:?}");
    pods.evict(&name, &EvictParams::default()).await?;
    let deleted = await_condition(pods.clone(), &name, conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, deleted)
        .await
        .context("an evicted pod to go")??;
    deployments.delete("hello", &DeleteParams::foreground()).await?;
    Ok(())
}
