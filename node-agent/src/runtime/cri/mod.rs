//! Pods by the container runtime interface (CRI) of containerd or CRI-O, over its Unix socket.
//!
//! This file makes the calls; `messages` translates. Details of ended containers are asked for once
//! and kept, so that listing a hundred pods costs two calls.

mod messages;

pub(crate) use messages::cgroup_parent;

use super::{
    ContainerConfig, ContainerInfo, ExecOutcome, ImageInfo, Inventory, LABEL_NODE, Runtime, RuntimeError,
    RuntimeVersion, SandboxConfig, SandboxInfo, SandboxState,
};
use crate::limits;
use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use trireme_proto::cri::v1 as cri;
use trireme_proto::cri::v1::image_service_client::ImageServiceClient;
use trireme_proto::cri::v1::runtime_service_client::RuntimeServiceClient;

/// The largest answer that is read, in bytes: a list of all pods of a large node.
const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;
/// containerd's namespace for what the CRI made.
const CONTAINERD_NAMESPACE: &str = "k8s.io";

/// A runtime behind the CRI.
pub struct CriRuntime {
    socket: PathBuf,
    node: String,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    /// Details by container and sandbox id, as long as they cannot change.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    containers: BTreeMap<String, (i32, cri::ContainerStatus)>,
    sandboxes: BTreeMap<String, SandboxInfo>,
}

impl std::fmt::Debug for CriRuntime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CriRuntime")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl CriRuntime {
    /// A client of the runtime at `socket`, which sees only what carries the label of `node`. Connects
    /// when it is first used, and again whenever the runtime was restarted.
    #[must_use]
    pub fn new(socket: &Path, node: &str) -> Self {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The address is never looked at: the connector knows the socket.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Self {
            socket: socket.to_owned(),
            node: node.to_owned(),
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_MAX_BYTES),
            images: ImageServiceClient::new(channel).max_decoding_message_size(ANSWER_MAX_BYTES),
            known: Mutex::new(Known::default()),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // The cache holds no invariant that a panic could break.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL_NODE.to_owned(), self.node.clone())])
    }

    async fn sandbox_info(&self, listed: cri::PodSandbox) -> Result<Option<SandboxInfo>, RuntimeError> {
        let known = self.known().sandboxes.get(&listed.id).cloned();
        if let Some(mut known) = known {
            known.state = messages::sandbox_state(listed.state);
            if known.state == SandboxState::NotReady {
                known.addresses.clear();
            }
            return Ok(Some(known));
        }
        let request = cri::PodSandboxStatusRequest {
            pod_sandbox_id: listed.id.clone(),
            verbose: false,
        };
        let answer = call("asking for a sandbox", self.runtime.clone().pod_sandbox_status(request)).await;
        let status = match answer {
            Ok(answer) => answer.status,
            // It was removed since it was listed.
            Err(RuntimeError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let info = messages::sandbox_info(listed, status.as_ref());
        if info.state == SandboxState::Ready {
            self.known().sandboxes.insert(info.id.clone(), info.clone());
        }
        Ok(Some(info))
    }

    async fn container_info(&self, listed: cri::Container) -> Result<Option<ContainerInfo>, RuntimeError> {
        let known = self.known().containers.get(&listed.id).cloned();
        if let Some((state, status)) = known
            && state == listed.state
        {
            return Ok(Some(messages::container_info(listed, status)));
        }
        let request = cri::ContainerStatusRequest {
            container_id: listed.id.clone(),
            verbose: false,
        };
        let answer = call("asking for a container", self.runtime.clone().container_status(request)).await;
        let status = match answer {
            Ok(answer) => answer.status.unwrap_or_default(),
            Err(RuntimeError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.known()
            .containers
            .insert(listed.id.clone(), (status.state, status.clone()));
        Ok(Some(messages::container_info(listed, status)))
    }

    fn forget_missing(&self, sandboxes: &[SandboxInfo], containers: &[ContainerInfo]) {
        let mut known = self.known();
        known
            .sandboxes
            .retain(|id, _| sandboxes.iter().any(|sandbox| sandbox.id == *id));
        known
            .containers
            .retain(|id, _| containers.iter().any(|container| container.id == *id));
    }
}

/// Awaits one call, bounded in time, and translates its failure.
async fn call<T>(
    operation: &'static str,
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, RuntimeError> {
    call_within(operation, limits::RUNTIME_CALL_TIMEOUT, answer).await
}

async fn call_within<T>(
    operation: &'static str,
    timeout: Duration,
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, RuntimeError> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(match status.code() {
            tonic::Code::NotFound => RuntimeError::NotFound {
                what: status.message().to_owned(),
            },
            tonic::Code::Unavailable => RuntimeError::Unreachable {
                message: status.message().to_owned(),
            },
            _ => RuntimeError::Failed {
                operation,
                message: status.message().to_owned(),
            },
        }),
        Err(_) => Err(RuntimeError::Failed {
            operation,
            message: format!("no answer after {} s", timeout.as_secs()),
        }),
    }
}

/// What is gone already needs no stopping and no removing.
fn or_gone<T>(outcome: Result<T, RuntimeError>) -> Result<(), RuntimeError> {
    match outcome {
        Ok(_) | Err(RuntimeError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Runtime for CriRuntime {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        let request = cri::VersionRequest {
            version: "v1".to_owned(),
        };
        let answer = call("asking for the version", self.runtime.clone().version(request)).await?;
        Ok(RuntimeVersion {
            name: answer.runtime_name,
            version: answer.runtime_version,
        })
    }

    async fn check_ready(&self) -> Result<(), RuntimeError> {
        let request = cri::StatusRequest { verbose: false };
        let answer = call("asking for the status", self.runtime.clone().status(request)).await?;
        let conditions = answer.status.unwrap_or_default().conditions;
        match conditions.into_iter().find(|condition| !condition.status) {
            None => Ok(()),
            Some(condition) => Err(RuntimeError::Failed {
                operation: "checking the runtime",
                message: format!(
                    "{} is false: {} {}",
                    condition.r#type, condition.reason, condition.message
                ),
            }),
        }
    }

    async fn inventory(&self) -> Result<Inventory, RuntimeError> {
        let filter = cri::PodSandboxFilter {
            label_selector: self.selector(),
            ..Default::default()
        };
        let request = cri::ListPodSandboxRequest { filter: Some(filter) };
        let listed = call("listing sandboxes", self.runtime.clone().list_pod_sandbox(request)).await?;
        let mut inventory = Inventory::default();
        for sandbox in listed.items {
            inventory.sandboxes.extend(self.sandbox_info(sandbox).await?);
        }
        let filter = cri::ContainerFilter {
            label_selector: self.selector(),
            ..Default::default()
        };
        let request = cri::ListContainersRequest { filter: Some(filter) };
        let listed = call("listing containers", self.runtime.clone().list_containers(request)).await?;
        for container in listed.containers {
            inventory.containers.extend(self.container_info(container).await?);
        }
        self.forget_missing(&inventory.sandboxes, &inventory.containers);
        Ok(inventory)
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<String, RuntimeError> {
        make_directory(&config.log_directory)?;
        let config = messages::sandbox_config(config, &self.node);
        let request = cri::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: String::new(),
        };
        let answer = call("making a sandbox", self.runtime.clone().run_pod_sandbox(request)).await?;
        Ok(answer.pod_sandbox_id)
    }

    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        let request = cri::StopPodSandboxRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
        };
        or_gone(call("stopping a sandbox", self.runtime.clone().stop_pod_sandbox(request)).await)
    }

    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        // A removal of what still runs is refused by some runtimes, so it is always stopped before.
        self.stop_sandbox(sandbox_id).await?;
        let request = cri::RemovePodSandboxRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
        };
        or_gone(call("removing a sandbox", self.runtime.clone().remove_pod_sandbox(request)).await)
    }

    async fn image(&self, image: &str) -> Result<Option<ImageInfo>, RuntimeError> {
        let request = cri::ImageStatusRequest {
            image: Some(messages::image_spec(image)),
            verbose: false,
        };
        let answer = call("looking up an image", self.images.clone().image_status(request)).await?;
        Ok(answer.image.map(|image| ImageInfo {
            id: image.id,
            names: image.repo_tags,
        }))
    }

    async fn pull_image(&self, image: &str) -> Result<ImageInfo, RuntimeError> {
        let request = cri::PullImageRequest {
            image: Some(messages::image_spec(image)),
            ..Default::default()
        };
        let mut images = self.images.clone();
        let pulled = images.pull_image(request);
        let answer = call_within("pulling an image", limits::IMAGE_PULL_TIMEOUT, pulled).await;
        let answer = answer.map_err(|error| RuntimeError::Pull {
            image: image.to_owned(),
            message: error.to_string(),
        })?;
        Ok(ImageInfo {
            id: answer.image_ref,
            names: vec![image.to_owned()],
        })
    }

    async fn import_image(&self, archive: &Path) -> Result<Vec<String>, RuntimeError> {
        let (path, parsed) = (archive.to_owned(), archive.to_owned());
        let names = tokio::task::spawn_blocking(move || {
            let images = crate::image::Archive::open(&parsed)?.images()?;
            Ok::<_, crate::image::ImageError>(images.into_iter().flat_map(|image| image.names).collect())
        });
        let failed = |message: String| RuntimeError::Failed {
            operation: "importing an image",
            message,
        };
        let names: Vec<String> = names.await.map_err(|error| failed(error.to_string()))??;
        // The CRI has no call for this; containerd's own tool does it. Images that are there are left.
        let output = tokio::process::Command::new("ctr")
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", CONTAINERD_NAMESPACE, "images", "import"])
            .arg(&path)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(limits::RUNTIME_CALL_TIMEOUT, output).await;
        match output {
            Ok(Ok(output)) if output.status.success() => Ok(names),
            Ok(Ok(output)) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
            Ok(Err(error)) => Err(failed(format!("containerd's tool ctr cannot be run: {error}"))),
            Err(_) => Err(failed("ctr did not end in time".to_owned())),
        }
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        sandbox: &SandboxConfig,
        config: &ContainerConfig,
    ) -> Result<String, RuntimeError> {
        make_directory(&sandbox.log_directory.join(&config.name))?;
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
            config: Some(messages::container_config(sandbox, config, &self.node)),
            sandbox_config: Some(messages::sandbox_config(sandbox, &self.node)),
        };
        let answer = call("creating a container", self.runtime.clone().create_container(request)).await?;
        Ok(answer.container_id)
    }

    async fn start_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        let request = cri::StartContainerRequest {
            container_id: container_id.to_owned(),
        };
        call("starting a container", self.runtime.clone().start_container(request))
            .await
            .map(|_| ())
    }

    async fn stop_container(&self, container_id: &str, grace: Duration) -> Result<(), RuntimeError> {
        // Whole seconds, upwards: a grace of less than a second is still a grace.
        let timeout = i64::try_from(grace.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
        let request = cri::StopContainerRequest {
            container_id: container_id.to_owned(),
            timeout,
        };
        let patience = grace.saturating_add(limits::RUNTIME_CALL_TIMEOUT);
        let mut runtime = self.runtime.clone();
        let stopped = runtime.stop_container(request);
        or_gone(call_within("stopping a container", patience, stopped).await)
    }

    async fn remove_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        self.stop_container(container_id, Duration::ZERO).await?;
        let request = cri::RemoveContainerRequest {
            container_id: container_id.to_owned(),
        };
        or_gone(call("removing a container", self.runtime.clone().remove_container(request)).await)
    }

    async fn exec(
        &self,
        container_id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutcome, RuntimeError> {
        let request = cri::ExecSyncRequest {
            container_id: container_id.to_owned(),
            cmd: command.to_vec(),
            timeout: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX).max(1),
        };
        let patience = timeout.saturating_add(limits::RUNTIME_CALL_TIMEOUT);
        let answer = call_within("running a command", patience, self.runtime.clone().exec_sync(request)).await?;
        let mut output = answer.stdout.to_vec();
        output.extend_from_slice(&answer.stderr);
        Ok(ExecOutcome {
            exit_code: answer.exit_code,
            output,
        })
    }

    async fn reopen_log(&self, container_id: &str) -> Result<(), RuntimeError> {
        let request = cri::ReopenContainerLogRequest {
            container_id: container_id.to_owned(),
        };
        or_gone(call("reopening a log", self.runtime.clone().reopen_container_log(request)).await)
    }
}

fn make_directory(path: &Path) -> Result<(), RuntimeError> {
    crate::paths::make_private_directory(path).map_err(|source| RuntimeError::Io {
        operation: "making a log directory",
        source,
    })
}
