//! Logs: which file somebody asked for, and rotation for runtimes that do not rotate by themselves.

use super::{Driver, LOG_ROTATION_PERIOD};
use crate::limits;
use crate::logs::{LogOptions, log_file};
use crate::pod::containers::record_observations;
use crate::runtime::ContainerState;
use crate::session::{self, LogJob};
use crate::time::{Moment, wall_now};
use std::sync::Arc;
use tokio::time::Instant;
use trireme_proto::v1;

impl Driver {
    /// A runtime that does not rotate by itself has its log files moved away under it.
    pub(super) fn rotate_logs_if_due(&mut self) {
        if Instant::now() < self.rotation_at {
            return;
        }
        self.rotation_at = Instant::now() + LOG_ROTATION_PERIOD;
        if self.workshop.node.runtime_name == "process" {
            return;
        }
        let mut candidates = Vec::new();
        for (uid, state) in &self.pods {
            for container in &state.observed.containers {
                let path = self
                    .workshop
                    .layout
                    .container_log(uid, &container.name, container.attempt);
                if let (ContainerState::Running, Ok(path)) = (container.state, path) {
                    candidates.push((container.id.clone(), path));
                }
            }
        }
        let runtime = Arc::clone(&self.workshop.runtime);
        self.tasks.spawn(async move {
            for (id, path) in candidates {
                let size = tokio::fs::metadata(&path).await.map_or(0, |metadata| metadata.len());
                if size >= limits::LOG_FILE_MAX_BYTES && crate::logs::shift_rotated(&path).is_ok() {
                    let _ = runtime.reopen_log(&id).await;
                }
            }
        });
    }

    pub(super) fn send_log(&mut self, command: v1::FetchLogs) {
        let logs = command.logs.unwrap_or_default();
        let options = LogOptions {
            tail_lines: logs.tail_lines.map(|lines| u64::try_from(lines).unwrap_or(0)),
            since: logs
                .since_seconds
                .map(|seconds| Moment::from_seconds(wall_now().seconds().saturating_sub(seconds))),
            timestamps: logs.timestamps,
        };
        let (source, attempt) = self.find_log(&command.pod_uid, &logs.container, logs.previous);
        let follows = logs.follow && !logs.previous;
        let follow = attempt
            .filter(|_| follows)
            .map(|attempt| (command.pod_uid, logs.container, attempt));
        let job = LogJob {
            request_id: command.request_id,
            source,
            options,
            follow,
            running: self.running.subscribe(),
        };
        let (cluster, permits) = (self.cluster.clone(), Arc::clone(&self.log_permits));
        self.tasks.spawn(async move {
            let _permit = permits.acquire_owned().await.ok();
            session::send_logs(cluster, job).await;
        });
    }

    pub(super) fn find_log(
        &self,
        uid: &str,
        container: &str,
        previous: bool,
    ) -> (Result<std::path::PathBuf, String>, Option<u32>) {
        let Some(state) = self.pods.get(uid) else {
            return (Err("the pod is not on this node".to_owned()), None);
        };
        // The list may be newer than the last decision, which the journal is of.
        let mut journal = state.observed.journal.clone();
        record_observations(&mut journal, &state.observed.containers, wall_now());
        let attempt = journal.containers.get(container).map(|entry| entry.attempt);
        let which = if previous { "previous " } else { "" };
        let source = match log_file(&self.workshop.layout, uid, container, attempt, previous) {
            Ok(Some(path)) => Ok(path),
            Ok(None) => Err(format!("there is no {which}run of container {container:?}")),
            Err(error) => Err(error.to_string()),
        };
        (source, attempt)
    }
}
