//! Logs: which node and container a request means; the bytes come from the node.

use futures::stream::BoxStream;
use trireme_logic::object::ObjectKey;
use trireme_proto::{
    api::core::v1::{Pod, PodSpec},
    v1::{FetchLogs, LogsChunk, LogsRequest},
};

use crate::{
    pipeline::{Permit, Subresource},
    registry::{ReadFrom, Registry, ops_of},
    status::ApiError,
};

/// Fetches logs from nodes, wherever they are connected.
#[async_trait::async_trait]
pub trait LogSource: Send + Sync + 'static {
    /// The log that `fetch` names, from `node`. Its `request_id` is new and unique.
    ///
    /// # Errors
    /// `ServiceUnavailable` if the node is connected nowhere; `NotFound` and the like if it has no such log.
    async fn logs(
        &self,
        node: &str,
        fetch: FetchLogs,
    ) -> Result<BoxStream<'static, Result<LogsChunk, ApiError>>, ApiError>;
}

/// Finds the pod, and asks its node.
pub(crate) async fn logs(
    registry: &Registry,
    source: &dyn LogSource,
    permit: &Permit,
    key: &ObjectKey,
    mut request: LogsRequest,
) -> Result<BoxStream<'static, Result<LogsChunk, ApiError>>, ApiError> {
    let stored = registry
        .get_part(permit, ops_of("", "pods"), Subresource::Log, key, ReadFrom::Latest)
        .await?;
    let object = stored.object()?;
    let pod = object
        .downcast_ref::<Pod>()
        .ok_or_else(|| ApiError::internal("a pod is not a pod"))?;
    let spec = pod.spec.clone().unwrap_or_default();
    request.container = container(&spec, &key.name, &request.container)?;
    if spec.node_name.is_empty() {
        return Err(ApiError::bad_request(format!(
            "pod {} does not have a host assigned",
            key.name
        )));
    }
    let fetch = FetchLogs {
        request_id: registry.environment().uid(),
        pod_uid: object.metadata().uid.clone(),
        logs: Some(request),
    };
    source.logs(&spec.node_name, fetch).await
}

/// The container that is meant: the one named, or the only one.
fn container(spec: &PodSpec, pod: &str, wanted: &str) -> Result<String, ApiError> {
    let all: Vec<&str> = spec
        .init_containers
        .iter()
        .chain(&spec.containers)
        .map(|container| container.name.as_str())
        .collect();
    match (wanted, spec.containers.as_slice()) {
        ("", [only]) => Ok(only.name.clone()),
        ("", several) => {
            let names: Vec<&str> = several.iter().map(|container| container.name.as_str()).collect();
            Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {pod}, choose one of: [{}]",
                names.join(" ")
            )))
        }
        (name, _) if all.contains(&name) => Ok(name.to_owned()),
        (name, _) => Err(ApiError::bad_request(format!(
            "container {name} is not valid for pod {pod}; it has [{}]",
            all.join(" ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use trireme_proto::api::core::v1::Container;

    use super::*;

    #[test]
    fn the_container_is_the_only_one_or_the_one_named() {
        let named = |name: &str| Container {
            name: name.to_owned(),
            ..Container::default()
        };
        let one = PodSpec {
            containers: vec![named("a")],
            init_containers: vec![named("i")],
            ..PodSpec::default()
        };
        let two = PodSpec {
            containers: vec![named("a"), named("b")],
            ..PodSpec::default()
        };
        assert_eq!(container(&one, "p", "").expect("the only one"), "a");
        assert_eq!(container(&one, "p", "i").expect("named"), "i");
        assert_eq!(container(&two, "p", "b").expect("named"), "b");
        let error = container(&two, "p", "").expect_err("which?");
        assert!(error.message().ends_with("choose one of: [a b]"), "{error}");
        assert!(container(&two, "p", "c").is_err());
    }
}
