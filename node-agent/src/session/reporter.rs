//! Statuses on their way to the cluster: the latest of each pod, in batches, until they are answered.

use super::connection::{CallError, Cluster};
use super::{SessionEvent, reconnect};
use crate::limits;
use crate::runtime::PodIdentity;
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc};
use trireme_proto::api::core::v1::PodStatus;
use trireme_proto::v1::{self, report_status_response::Outcome};

/// The statuses that wait to be sent. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Notify,
}

/// By uid, with the order in which they were set, so that a late answer does not drop a newer status.
#[derive(Debug, Default)]
struct Pending {
    next_order: u64,
    reports: BTreeMap<String, (u64, v1::PodStatusReport)>,
}

impl Reporter {
    /// Sets the latest status of a pod.
    pub(crate) fn set(&self, pod: &PodIdentity, status: &PodStatus, terminated: bool) {
        let report = v1::PodStatusReport {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            status: status.encode_to_vec().into(),
            terminated,
        };
        let mut pending = self.pending();
        pending.next_order += 1;
        let order = pending.next_order;
        pending.reports.insert(pod.uid.clone(), (order, report));
        drop(pending);
        self.shared.changed.notify_one();
    }

    /// Drops what waits for a pod that is forgotten.
    pub(crate) fn forget(&self, uid: &str) {
        self.pending().reports.remove(uid);
    }

    /// True if everything that was set has been answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending().reports.is_empty()
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // No code panics while it holds this lock.
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest reports, at most a batch of them.
    fn batch(&self) -> Vec<(u64, v1::PodStatusReport)> {
        let mut all: Vec<(u64, v1::PodStatusReport)> = self.pending().reports.values().cloned().collect();
        all.sort_by_key(|(order, _)| *order);
        all.truncate(limits::STATUS_BATCH_MAX);
        all
    }

    /// Removes reports that were answered, unless a newer one took their place.
    fn answered(&self, batch: &[(u64, v1::PodStatusReport)]) {
        let mut pending = self.pending();
        for (order, report) in batch {
            let is_same = pending
                .reports
                .get(&report.uid)
                .is_some_and(|(current, _)| current == order);
            if is_same {
                pending.reports.remove(&report.uid);
            }
        }
    }

    /// Sends for as long as the agent runs.
    pub(super) async fn run(self, cluster: Cluster, events: mpsc::Sender<SessionEvent>) {
        let mut failures = 0;
        loop {
            let batch = self.batch();
            if batch.is_empty() {
                self.shared.changed.notified().await;
                // A short wait gathers what changes together.
                tokio::time::sleep(limits::STATUS_BATCH_PERIOD).await;
                continue;
            }
            let pods = batch.iter().map(|(_, report)| report.clone()).collect();
            match cluster.report(v1::ReportStatusRequest { pods }).await {
                Ok(answer) => {
                    failures = 0;
                    self.answered(&batch);
                    announce_gone(&batch, &answer, &events).await;
                }
                Err(CallError::Status(status)) if status.code() == tonic::Code::InvalidArgument => {
                    // Repeating it would change nothing and hold up everything else.
                    tracing::error!(message = status.message(), "the servers refuse a batch of statuses");
                    self.answered(&batch);
                }
                Err(error) => {
                    let delay = reconnect::delay(failures);
                    failures += 1;
                    tracing::info!(error = crate::error_chain(&error), "statuses cannot be reported now");
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }
}

async fn announce_gone(
    batch: &[(u64, v1::PodStatusReport)],
    answer: &v1::ReportStatusResponse,
    events: &mpsc::Sender<SessionEvent>,
) {
    for ((_, report), outcome) in batch.iter().zip(&answer.outcomes) {
        match Outcome::try_from(*outcome) {
            Ok(Outcome::Gone) => {
                let _ = events
                    .send(SessionEvent::Gone {
                        uid: report.uid.clone(),
                    })
                    .await;
            }
            Ok(Outcome::NotYours | Outcome::Stale) => {
                tracing::warn!(
                    pod = report.name,
                    namespace = report.namespace,
                    outcome,
                    "a status was refused"
                );
            }
            Ok(Outcome::Stored) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> PodIdentity {
        PodIdentity {
            namespace: "default".to_owned(),
            name: "p".to_owned(),
            uid: uid.to_owned(),
        }
    }

    fn status(phase: &str) -> PodStatus {
        PodStatus {
            phase: phase.to_owned(),
            ..PodStatus::default()
        }
    }

    #[test]
    fn only_the_latest_status_of_a_pod_is_kept() {
        let reporter = Reporter::default();
        reporter.set(&pod("a"), &status("Pending"), false);
        reporter.set(&pod("b"), &status("Pending"), false);
        reporter.set(&pod("a"), &status("Running"), false);
        let batch = reporter.batch();
        let uids: Vec<&str> = batch.iter().map(|(_, report)| report.uid.as_str()).collect();
        assert_eq!(uids, ["b", "a"], "in the order in which they were set");
        assert_eq!(PodStatus::decode(batch[1].1.status.clone()).unwrap().phase, "Running");
    }

    #[test]
    fn an_answer_does_not_drop_a_newer_status() {
        let reporter = Reporter::default();
        reporter.set(&pod("a"), &status("Pending"), false);
        let sent = reporter.batch();
        reporter.set(&pod("a"), &status("Running"), false);
        reporter.answered(&sent);
        assert_eq!(reporter.batch().len(), 1);
        reporter.answered(&reporter.batch());
        assert!(reporter.batch().is_empty());
    }

    #[test]
    fn batches_are_bounded() {
        let reporter = Reporter::default();
        for number in 0..=limits::STATUS_BATCH_MAX {
            reporter.set(&pod(&number.to_string()), &status("Running"), false);
        }
        assert_eq!(reporter.batch().len(), limits::STATUS_BATCH_MAX);
    }
}
