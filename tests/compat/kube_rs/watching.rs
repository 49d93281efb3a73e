//! Watchers and reflectors, listing first and streaming from the beginning.

use std::{pin::pin, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt, reflector,
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;
use trireme_tests::harness::wait_until;

use super::client::{namespace, object};

/// How long an event may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Each kind of watcher is told what there is, and then of each change.
pub(super) async fn watchers(client: &Client) -> Result<()> {
    namespace(client, "watched").await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "watched");
    let pages = watcher::Config::default().page_size(2);
    let streaming = watcher::Config::default().streaming_lists();
    follow(&api, watcher(api.clone(), pages.clone()))
        .await
        .context("a list, then a watch")?;
    follow(&api, watcher(api.clone(), streaming.clone()))
        .await
        .context("a streaming list")?;
    let metadata: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), "watched");
    follow(&api, watcher(metadata.clone(), pages))
        .await
        .context("metadata alone")?;
    follow(&api, watcher(metadata, streaming))
        .await
        .context("metadata alone, streaming")
}

/// Whether a watcher tells what it should of a few objects that are made, changed and deleted.
async fn follow<K: Resource>(
    api: &Api<ConfigMap>,
    events: impl Stream<Item = watcher::Result<Event<K>>>,
) -> Result<()> {
    let post = PostParams::default();
    for name in ["a", "b", "c"] {
        api.create(&post, &object(json!({"metadata": {"name": name}}))?).await?;
    }
    let mut events = pin!(events);
    ensure!(next(&mut events).await? == "Init", "a watcher begins");
    let mut listed = Vec::new();
    for _ in 0..3 {
        listed.push(next(&mut events).await?);
    }
    listed.sort();
    ensure!(listed == ["InitApply(a)", "InitApply(b)", "InitApply(c)"], "{listed:?}");
    ensure!(next(&mut events).await? == "InitDone", "that is all there is");
    let change = Patch::Merge(json!({"data": {"k": "v"}}));
    api.patch("b", &PatchParams::default(), &change).await?;
    let told = next(&mut events).await?;
    ensure!(told == "Apply(b)", "{told}");
    api.delete("a", &DeleteParams::default()).await?;
    let told = next(&mut events).await?;
    ensure!(told == "Delete(a)", "{told}");
    api.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    let mut gone = vec![next(&mut events).await?, next(&mut events).await?];
    gone.sort();
    ensure!(gone == ["Delete(b)", "Delete(c)"], "{gone:?}");
    Ok(())
}

/// The next event, in a word.
async fn next<K: Resource>(events: &mut (impl Stream<Item = watcher::Result<Event<K>>> + Unpin)) -> Result<String> {
    let event = tokio::time::timeout(PATIENCE, events.next())
        .await
        .context("an event")?;
    Ok(match event.context("watchers go on")?? {
        Event::Init => "Init".to_owned(),
        Event::InitDone => "InitDone".to_owned(),
        Event::InitApply(object) => format!("InitApply({})", object.meta().name.as_deref().unwrap_or_default()),
        Event::Apply(object) => format!("Apply({})", object.meta().name.as_deref().unwrap_or_default()),
        Event::Delete(object) => format!("Delete({})", object.meta().name.as_deref().unwrap_or_default()),
    })
}

/// A reflector's store becomes what a list shows.
pub(super) async fn a_reflector(client: &Client) -> Result<()> {
    namespace(client, "reflected").await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "reflected");
    let (reader, writer) = reflector::store();
    let stream = watcher(api.clone(), watcher::Config::default().labels("kept=yes"))
        .default_backoff()
        .reflect(writer)
        .for_each(|_| async {});
    let reflecting = tokio::spawn(stream);
    reader.wait_until_ready().await?;
    for index in 0..20 {
        let kept = if index % 2 == 0 { "yes" } else { "no" };
        let one = json!({"metadata": {"name": format!("n{index}"), "labels": {"kept": kept}}});
        api.create(&PostParams::default(), &object(one)?).await?;
    }
    // What no longer matches the selector leaves the store as what is deleted does.
    let no = Patch::Merge(json!({"metadata": {"labels": {"kept": "no"}}}));
    api.patch("n0", &PatchParams::default(), &no).await?;
    api.delete("n2", &DeleteParams::default()).await?;
    let list = api.list(&ListParams::default().labels("kept=yes")).await?;
    ensure!(list.items.len() == 8, "{:?}", list.items.len());
    wait_until("the store to be what is listed", PATIENCE, || async {
        let mut stored: Vec<ConfigMap> = reader.state().iter().map(|object| (**object).clone()).collect();
        stored.sort_by_key(ResourceExt::name_any);
        let mut listed = list.items.clone();
        listed.sort_by_key(ResourceExt::name_any);
        Ok(stored == listed)
    })
    .await?;
    reflecting.abort();
    Ok(())
}
