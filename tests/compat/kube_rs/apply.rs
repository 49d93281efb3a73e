//! Server-side apply, as controllers use it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::client::{namespace, refusal};

fn configuration(data: Value) -> Patch<Value> {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}});
    object["data"] = data;
    Patch::Apply(object)
}

fn data(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Two managers share an object: a conflict names its owner, force takes the field, and what is no longer applied goes.
pub(super) async fn owners(client: &Client) -> Result<()> {
    namespace(client, "apply").await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "apply");
    let (first, second) = (PatchParams::apply("first"), PatchParams::apply("second"));

    let made = api
        .patch("shared", &first, &configuration(json!({"a": "1", "b": "1"})))
        .await?;
    let again = api
        .patch("shared", &first, &configuration(json!({"a": "1", "b": "1"})))
        .await?;
    ensure!(
        made.resource_version() == again.resource_version(),
        "the same again writes nothing"
    );
    api.patch("shared", &second, &configuration(json!({"c": "2"}))).await?;

    let conflict = refusal(api.patch("shared", &second, &configuration(json!({"a": "2"}))).await)?;
    ensure!(conflict.code == 409 && conflict.reason == "Conflict", "{conflict:?}");
    ensure!(conflict.message.contains("\"first\""), "{conflict:?}");
    let causes = conflict.details.context("a conflict names its fields")?.causes;
    ensure!(
        causes
            .iter()
            .any(|cause| cause.reason == "FieldManagerConflict" && cause.field == ".data.a"),
        "{causes:?}"
    );

    let taken = api
        .patch(
            "shared",
            &second.clone().force(),
            &configuration(json!({"a": "2", "c": "2"})),
        )
        .await?;
    ensure!(
        taken.data == Some(data(&[("a", "2"), ("b", "1"), ("c", "2")])),
        "{taken:?}"
    );
    let left = api.patch("shared", &first, &configuration(json!({}))).await?;
    ensure!(left.data == Some(data(&[("a", "2"), ("c", "2")])), "{left:?}");
    let managers: Vec<_> = left
        .managed_fields()
        .iter()
        .map(|entry| (entry.manager.as_deref(), entry.operation.as_deref()))
        .collect();
    ensure!(managers.contains(&(Some("second"), Some("Apply"))), "{managers:?}");

    let unnamed = refusal(
        api.patch("shared", &PatchParams::default(), &configuration(json!({})))
            .await,
    )?;
    ensure!(unnamed.code == 422, "{unnamed:?}");
    Ok(())
}

/// A scale that somebody else owns is kept by whoever applies the rest.
pub(super) async fn parts(client: &Client) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), "apply");
    let web = |replicas: Option<i32>| {
        let mut web = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "paused": true,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "trireme.local/hello:1"}]},
                },
            },
        });
        if let Some(replicas) = replicas {
            web["spec"]["replicas"] = json!(replicas);
        }
        Patch::Apply(web)
    };
    let manager = PatchParams::apply("deployer");
    api.patch("web", &manager, &web(Some(1))).await?;
    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let scaler = PatchParams {
        field_manager: Some("scaler".to_owned()),
        ..PatchParams::default()
    };
    api.patch_scale("web", &scaler, &none).await?;
    let conflict = refusal(api.patch("web", &manager, &web(Some(1))).await)?;
    ensure!(
        conflict.code == 409 && conflict.message.contains("scaler"),
        "{conflict:?}"
    );
    let handed = api.patch("web", &manager, &web(None)).await?;
    ensure!(
        handed.spec.as_ref().and_then(|spec| spec.replicas) == Some(0),
        "the scaler's word holds: {handed:?}"
    );
    let scaled = handed
        .managed_fields()
        .iter()
        .find(|entry| entry.manager.as_deref() == Some("scaler"))
        .context("the scaler owns something")?;
    ensure!(scaled.subresource.as_deref() == Some("scale"), "{scaled:?}");
    Ok(())
}
