//! Clients that learn from the server which kinds there are.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use kube::{
    Api, Client, Discovery, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
    discovery::{Scope, verbs},
};
use serde_json::json;

use super::client::namespace;

/// Both forms of discovery tell the same, and each kind they tell of can be listed as they say.
pub(super) async fn discovery(client: &Client) -> Result<()> {
    let version = client.apiserver_version().await?;
    ensure!(version.major == "1", "{version:?}");
    let documents = Discovery::new(client.clone()).run().await?;
    let aggregated = Discovery::new(client.clone()).run_aggregated().await?;
    let told = resources(&documents);
    ensure!(told == resources(&aggregated), "{told:?}\n{:?}", resources(&aggregated));
    for known in [
        ("v1", "pods"),
        ("apps/v1", "deployments"),
        ("batch/v1", "cronjobs"),
        ("autoscaling/v2", "horizontalpodautoscalers"),
        ("coordination.k8s.io/v1", "leases"),
    ] {
        let known = (known.0.to_owned(), known.1.to_owned());
        ensure!(told.contains(&known), "{known:?} is not among {told:?}");
    }
    for group in documents.groups() {
        for (resource, capabilities) in group.resources_by_stability() {
            if !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            let list = Api::<DynamicObject>::all_with(client.clone(), &resource)
                .list(&ListParams::default().limit(3))
                .await
                .with_context(|| format!("listing {}/{}", resource.api_version, resource.plural))?;
            let kind = format!("{}List", resource.kind);
            ensure!(list.types.kind == kind, "{kind}: {:?}", list.types);
        }
    }
    Ok(())
}

/// The version and the name of each resource.
fn resources(discovery: &Discovery) -> BTreeSet<(String, String)> {
    let groups = discovery.groups();
    groups
        .flat_map(kube::discovery::ApiGroup::resources_by_stability)
        .map(|(resource, _)| (resource.api_version, resource.plural))
        .collect()
}

/// Objects of kinds that this test's program has no types of.
pub(super) async fn objects(client: &Client) -> Result<()> {
    namespace(client, "dynamic").await?;
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let specs = [
        ("", "ConfigMap", json!({"data": {"k": "v"}})),
        ("", "Secret", json!({"stringData": {"password": "p"}})),
        (
            "",
            "Service",
            json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}),
        ),
        (
            "policy",
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}}),
        ),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
        ),
        (
            "rbac.authorization.k8s.io",
            "Role",
            json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        ),
    ];
    for (group, kind, body) in specs {
        let gvk = GroupVersionKind::gvk(group, "v1", kind);
        let (resource, capabilities) = discovery.resolve_gvk(&gvk).with_context(|| format!("{gvk:?}"))?;
        ensure!(capabilities.scope == Scope::Namespaced, "{resource:?}");
        let object = DynamicObject::new("one", &resource).within("dynamic").data(body);
        one(client, &resource, &object)
            .await
            .with_context(|| format!("{group}/{kind}"))?;
    }
    Ok(())
}

async fn one(client: &Client, resource: &ApiResource, object: &DynamicObject) -> Result<()> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "dynamic", resource);
    let made = api.create(&PostParams::default(), object).await?;
    let types = made.types.clone().context("an object says what it is")?;
    ensure!(types.kind == resource.kind, "{types:?}");
    let note = json!({"metadata": {"annotations": {"note": "1"}}});
    let patched = api.patch("one", &PatchParams::default(), &Patch::Merge(note)).await?;
    ensure!(patched.annotations()["note"] == "1", "{patched:?}");
    ensure!(api.get("one").await? == patched, "what was patched is what is got");
    let listed = api.list(&ListParams::default().fields("metadata.name=one")).await?;
    ensure!(listed.items.len() == 1, "{listed:?}");
    api.delete("one", &DeleteParams::default()).await?;
    ensure!(api.get_opt("one").await?.is_none(), "it was deleted");
    Ok(())
}
