//! Clients of the `kube` crate with the administrator's credentials.

use anyhow::{Context, Result, bail};
use k8s_openapi::{api::core::v1::Namespace, serde::de::DeserializeOwned};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::Status,
};
use serde_json::{Value, json};
use trireme_tests::harness::Cluster;

/// A client, as the kubeconfig has it.
///
/// # Errors
/// If the kubeconfig cannot be used.
pub(super) async fn of(cluster: &Cluster) -> Result<Client> {
    client(Kubeconfig::read_from(cluster.kubeconfig())?).await
}

/// A client that speaks to one address only.
///
/// # Errors
/// If the kubeconfig cannot be used.
pub(super) async fn at(cluster: &Cluster, address: &str) -> Result<Client> {
    let mut kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    for named in &mut kubeconfig.clusters {
        let cluster = named.cluster.as_mut().context("a cluster has an address")?;
        cluster.server = Some(format!("https://{address}"));
    }
    client(kubeconfig).await
}

async fn client(kubeconfig: Kubeconfig) -> Result<Client> {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Makes a namespace.
///
/// # Errors
/// If it cannot be made.
pub(super) async fn namespace(client: &Client, name: &str) -> Result<()> {
    let namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(())
}

/// An object of a type from its JSON; its kind and version are of the type.
///
/// # Errors
/// If the type has no such fields.
pub(super) fn object<K: DeserializeOwned>(json: Value) -> Result<K> {
    Ok(serde_json::from_value(json)?)
}

/// The status with which a request was refused.
///
/// # Errors
/// If it was not, or otherwise.
pub(super) fn refusal<T>(result: kube::Result<T>) -> Result<Status> {
    match result {
        Err(kube::Error::Api(status)) => Ok(*status),
        Err(other) => Err(other).context("a status was expected"),
        Ok(_) => bail!("this should have been refused"),
    }
}
