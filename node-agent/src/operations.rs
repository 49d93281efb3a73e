//! Carries out one operation of a pod. No decisions: what failed is told back, with the word that the
//! pod's status will show.

use crate::journal::{JournalStore, PodJournal};
use crate::limits;
use crate::logs::remove_log;
use crate::paths::Layout;
use crate::pod::env::Context;
use crate::pod::{NodeFacts, Operation, PullPolicy, References};
use crate::runtime::{ContainerConfig, Runtime, RuntimeError, SandboxConfig};
use crate::volume;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use trireme_proto::api::core::v1::Pod;

/// What operations work with.
#[derive(Clone)]
pub(crate) struct Workshop {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) journals: JournalStore,
    pub(crate) layout: Layout,
    pub(crate) node: Arc<NodeFacts>,
}

/// One order: save the journal if it changed, then do the operation if there is one.
pub(crate) struct Order {
    pub(crate) uid: String,
    pub(crate) journal: Option<PodJournal>,
    pub(crate) operation: Option<Operation>,
    pub(crate) pod: Option<Pod>,
    pub(crate) references: Arc<References>,
    pub(crate) pod_addresses: Vec<IpAddr>,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderOutcome {
    /// The journal on disk is the order's.
    pub(crate) journal_saved: bool,
    pub(crate) result: Result<(), OrderFailure>,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderFailure {
    /// The word for the status.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

fn failure(reason: &'static str, message: String) -> OrderFailure {
    OrderFailure { reason, message }
}

fn of_runtime(reason: &'static str) -> impl Fn(RuntimeError) -> OrderFailure {
    move |error| failure(reason, error.one_line())
}

impl Workshop {
    /// Carries out an order. A journal that cannot be saved stops what makes things, and never what
    /// ends them: a full disk must not keep pods alive.
    pub(crate) async fn carry_out(&self, order: Order) -> OrderOutcome {
        let saved = self.save(order.journal.clone()).await;
        let journal_saved = saved.is_ok();
        let result = match (saved, order.operation.clone()) {
            (Err(unsaved), Some(operation)) if operation.is_ending() => {
                tracing::warn!(
                    uid = order.uid,
                    message = unsaved.message,
                    "ending a pod without its journal"
                );
                self.operate(operation, order).await
            }
            (Err(unsaved), _) => Err(unsaved),
            (Ok(()), Some(operation)) => self.operate(operation, order).await,
            (Ok(()), None) => Ok(()),
        };
        OrderOutcome { journal_saved, result }
    }

    async fn save(&self, journal: Option<PodJournal>) -> Result<(), OrderFailure> {
        let Some(journal) = journal else { return Ok(()) };
        let store = self.journals.clone();
        let saved = tokio::task::spawn_blocking(move || store.save(&journal)).await;
        saved
            .map_err(|error| failure("JournalError", error.to_string()))?
            .map_err(|error| failure("JournalError", format!("cannot save the pod's journal: {error}")))
    }

    async fn operate(&self, operation: Operation, order: Order) -> Result<(), OrderFailure> {
        let runtime = self.runtime.as_ref();
        match operation {
            Operation::PrepareVolumes => self.prepare_volumes(order).await,
            Operation::RunSandbox(config) => {
                let made = runtime.run_sandbox(&config).await;
                made.map(|_| ()).map_err(of_runtime("FailedCreatePodSandBox"))
            }
            Operation::EnsureImage { image, policy } => ensure_image(runtime, &image, policy).await,
            Operation::RunContainer {
                sandbox_id,
                sandbox,
                container,
            } => run_container(runtime, &sandbox_id, &sandbox, *container).await,
            Operation::StartContainer { container_id } => runtime
                .start_container(&container_id)
                .await
                .map_err(of_runtime("RunContainerError")),
            Operation::StopContainers { container_ids, grace } => {
                stop_containers(Arc::clone(&self.runtime), container_ids, grace).await
            }
            Operation::StopSandbox { sandbox_id } => runtime
                .stop_sandbox(&sandbox_id)
                .await
                .map_err(of_runtime("KillPodSandboxError")),
            Operation::RemoveContainer {
                container_id,
                name,
                attempt,
            } => {
                runtime
                    .remove_container(&container_id)
                    .await
                    .map_err(of_runtime("RemoveContainerError"))?;
                if let Ok(path) = self.layout.container_log(&order.uid, &name, attempt) {
                    remove_log(&path);
                }
                Ok(())
            }
            Operation::RemoveSandbox { sandbox_id } => runtime
                .remove_sandbox(&sandbox_id)
                .await
                .map_err(of_runtime("RemovePodSandboxError")),
            Operation::RemoveData => {
                let (layout, uid) = (self.layout.clone(), order.uid);
                let removed = tokio::task::spawn_blocking(move || volume::remove(&layout, &uid)).await;
                removed
                    .map_err(|error| failure("RemoveDataError", error.to_string()))?
                    .map_err(|error| failure("RemoveDataError", format!("cannot remove the pod's files: {error}")))
            }
        }
    }

    async fn prepare_volumes(&self, order: Order) -> Result<(), OrderFailure> {
        let (layout, node) = (self.layout.clone(), Arc::clone(&self.node));
        let prepared = tokio::task::spawn_blocking(move || {
            let Some(pod) = &order.pod else { return Ok(()) };
            let context = Context {
                pod,
                references: &order.references,
                node: &node,
                pod_addresses: &order.pod_addresses,
            };
            volume::prepare(&context, &layout, &order.uid).map_err(|error| crate::error_chain(&error))
        });
        prepared
            .await
            .map_err(|error| failure("FailedMount", error.to_string()))?
            .map_err(|message| failure("FailedMount", message))
    }
}

async fn ensure_image(runtime: &dyn Runtime, image: &str, policy: PullPolicy) -> Result<(), OrderFailure> {
    if let Err(error) = crate::image::normalise(image) {
        return Err(failure("InvalidImageName", error.to_string()));
    }
    if policy != PullPolicy::Always {
        let found = runtime.image(image).await.map_err(of_runtime("ImageInspectError"))?;
        if found.is_some() {
            return Ok(());
        }
        if policy == PullPolicy::Never {
            let message = format!("image {image:?} is not there and the pod's pull policy is Never");
            return Err(failure("ErrImageNeverPull", message));
        }
    }
    runtime
        .pull_image(image)
        .await
        .map(|_| ())
        .map_err(of_runtime("ErrImagePull"))
}

async fn run_container(
    runtime: &dyn Runtime,
    sandbox_id: &str,
    sandbox: &SandboxConfig,
    mut container: ContainerConfig,
) -> Result<(), OrderFailure> {
    volume::resolve_sub_paths(&mut container).map_err(|error| {
        failure(
            "CreateContainerConfigError",
            format!("a subPath cannot be used: {error}"),
        )
    })?;
    let id = runtime.create_container(sandbox_id, sandbox, &container).await;
    let id = id.map_err(of_runtime("CreateContainerError"))?;
    runtime
        .start_container(&id)
        .await
        .map_err(of_runtime("RunContainerError"))
}

/// Ends all at the same time, so that a pod needs its grace period once.
async fn stop_containers(
    runtime: Arc<dyn Runtime>,
    container_ids: Vec<String>,
    grace: Duration,
) -> Result<(), OrderFailure> {
    let mut stops = tokio::task::JoinSet::new();
    for id in container_ids {
        let runtime = Arc::clone(&runtime);
        stops.spawn(async move { runtime.stop_container(&id, grace).await });
    }
    let mut outcome = Ok(());
    while let Some(stopped) = stops.join_next().await {
        match stopped {
            Ok(Ok(())) => {}
            Ok(Err(error)) => outcome = Err(failure("KillContainerError", error.one_line())),
            Err(error) => outcome = Err(failure("KillContainerError", error.to_string())),
        }
    }
    outcome
}

/// Imports every archive of a directory; one that cannot be imported is reported and left out.
pub(crate) async fn import_images(runtime: &dyn Runtime, directory: &std::path::Path) {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(directory = %directory.display(), %error, "the image directory cannot be read");
            return;
        }
    };
    let mut archives: Vec<std::path::PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    archives.sort();
    for archive in archives {
        if is_imported(runtime, &archive).await {
            continue;
        }
        match runtime.import_image(&archive).await {
            Ok(names) => tracing::info!(?names, "images imported"),
            Err(error) => {
                tracing::warn!(archive = %archive.display(), error = error.one_line(), "an image was not imported");
            }
        }
    }
}

/// True if the runtime has every image of the archive under each of its names, with the same content.
async fn is_imported(runtime: &dyn Runtime, archive: &std::path::Path) -> bool {
    let path = archive.to_owned();
    let read = tokio::task::spawn_blocking(move || crate::image::Archive::open(&path)?.images()).await;
    let Ok(Ok(images)) = read else {
        // The import says what is wrong with it.
        return false;
    };
    for image in images {
        for name in &image.names {
            let found = runtime.image(name).await.ok().flatten();
            if found.is_none_or(|found| found.id != format!("sha256:{}", image.id)) {
                return false;
            }
        }
    }
    true
}

/// The delay before a failed operation is tried again.
pub(crate) fn retry_delay(operation: Option<&Operation>, failures: u32) -> Duration {
    let (base, max) = match operation {
        Some(Operation::EnsureImage { .. }) => (limits::IMAGE_BACKOFF_BASE, limits::IMAGE_BACKOFF_MAX),
        _ => (limits::OPERATION_BACKOFF_BASE, limits::OPERATION_BACKOFF_MAX),
    };
    crate::pod::restart::exponential(base, failures.saturating_sub(1), max)
}
