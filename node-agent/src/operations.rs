//! Carries out one operation of a pod. No decisions: what failed is told back, with the word that the
//! pod's status will show; people are told by events.

mod containers;
mod images;

pub(crate) use containers::{Target, Targets};
pub(crate) use images::import_images;

use crate::events::PodEvent;
use crate::journal::{JournalStore, PodJournal};
use crate::limits;
use crate::logs::remove_log;
use crate::paths::Layout;
use crate::pod::env::Context;
use crate::pod::{NodeFacts, Operation, References};
use crate::runtime::{PodIdentity, Runtime, RuntimeError};
use crate::session::event_recorder::EventRecorder;
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
    /// Where people are told.
    pub(crate) events: EventRecorder,
}

/// One order: save the journal if it changed, then do the operation if there is one.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) identity: PodIdentity,
    pub(crate) journal: Option<PodJournal>,
    pub(crate) operation: Option<Operation>,
    pub(crate) pod: Option<Pod>,
    pub(crate) references: Arc<References>,
    pub(crate) pod_addresses: Vec<IpAddr>,
    /// The pod's containers, as far as they may have to be ended.
    pub(crate) targets: Targets,
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
                    pod = %order.identity,
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
            Operation::PrepareVolumes => {
                let identity = order.identity.clone();
                let prepared = self.prepare_volumes(order).await;
                self.tell_failure(&identity, "FailedMount", "MountVolume.SetUp failed for ", prepared)
            }
            Operation::RunSandbox(config) => {
                let made = runtime.run_sandbox(&config).await;
                let made = made.map(|_| ()).map_err(of_runtime("FailedCreatePodSandBox"));
                let doing = "Failed to create pod sandbox: ";
                self.tell_failure(&order.identity, "FailedCreatePodSandBox", doing, made)
            }
            Operation::EnsureImage { image, policy } => self.ensure_image(&order, &image, policy).await,
            Operation::RunContainer {
                sandbox_id,
                sandbox,
                container,
            } => self.run_container(&order, &sandbox_id, &sandbox, *container).await,
            Operation::StartContainer { container_id } => {
                let target = order.targets.get(&container_id).cloned().unwrap_or_default();
                self.start_container(&order, &container_id, &target.name).await
            }
            Operation::StopContainers { container_ids, grace } => {
                self.stop_containers(order, container_ids, grace).await
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
                if let Ok(path) = self.layout.container_log(&order.identity.uid, &name, attempt) {
                    remove_log(&path);
                }
                Ok(())
            }
            Operation::RemoveSandbox { sandbox_id } => runtime
                .remove_sandbox(&sandbox_id)
                .await
                .map_err(of_runtime("RemovePodSandboxError")),
            Operation::RemoveData => {
                let (layout, uid) = (self.layout.clone(), order.identity.uid);
                let removed = tokio::task::spawn_blocking(move || volume::remove(&layout, &uid)).await;
                removed
                    .map_err(|error| failure("RemoveDataError", error.to_string()))?
                    .map_err(|error| failure("RemoveDataError", format!("cannot remove the pod's files: {error}")))
            }
        }
    }

    /// Tells of a failure of the pod as a whole, and hands it on.
    fn tell_failure(
        &self,
        pod: &PodIdentity,
        reason: &'static str,
        doing: &str,
        outcome: Result<(), OrderFailure>,
    ) -> Result<(), OrderFailure> {
        if let Err(failure) = &outcome {
            let message = format!("{doing}{}", failure.message);
            self.events.tell(pod, PodEvent::warning(reason, message));
        }
        outcome
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
            volume::prepare(&context, &layout, &order.identity.uid).map_err(|error| crate::error_chain(&error))
        });
        prepared
            .await
            .map_err(|error| failure("FailedMount", error.to_string()))?
            .map_err(|message| failure("FailedMount", message))
    }
}

/// The delay before a failed operation is tried again.
pub(crate) fn retry_delay(operation: Option<&Operation>, failures: u32) -> Duration {
    let (base, max) = match operation {
        Some(Operation::EnsureImage { .. }) => (limits::IMAGE_BACKOFF_BASE, limits::IMAGE_BACKOFF_MAX),
        _ => (limits::OPERATION_BACKOFF_BASE, limits::OPERATION_BACKOFF_MAX),
    };
    crate::pod::restart::exponential(base, failures.saturating_sub(1), max)
}
