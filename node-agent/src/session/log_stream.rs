//! A log on its way back to whoever asked for it.

use super::connection::Cluster;
use crate::limits;
use crate::logs::{LogOptions, LogReader};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use trireme_proto::v1;

/// Frames that may wait to be sent.
const FRAME_QUEUE: usize = 4;

/// The containers that run: uid, container, attempt.
pub(crate) type RunningContainers = Arc<BTreeSet<(String, String, u32)>>;

/// One log to send.
#[derive(Debug)]
pub(crate) struct LogJob {
    pub(crate) request_id: String,
    /// The file, or why there is none.
    pub(crate) source: Result<PathBuf, String>,
    pub(crate) options: LogOptions,
    /// Go on with new lines while this run of the container goes on.
    pub(crate) follow: Option<(String, String, u32)>,
    pub(crate) running: watch::Receiver<RunningContainers>,
}

/// Sends a log. Ends when it is sent, when the container ended, or when nobody listens any more.
pub(crate) async fn send(cluster: Cluster, job: LogJob) {
    let (frames, queue) = mpsc::channel(FRAME_QUEUE);
    let first = v1::SendLogsRequest {
        request_id: job.request_id.clone(),
        ..Default::default()
    };
    // The queue is empty, so this cannot wait.
    let _ = frames.send(first).await;
    let sending = async {
        let (mut stub, link) = cluster.node_agent().await.map_err(|error| error.to_string())?;
        let outcome = stub.send_logs(ReceiverStream::new(queue)).await;
        outcome
            .map(|_| link.endpoint)
            .map_err(|status| status.message().to_owned())
    };
    let (sent, ()) = tokio::join!(sending, read(job, frames));
    if let Err(error) = sent {
        tracing::debug!(error, "a log was not sent to its end");
    }
}

async fn read(mut job: LogJob, frames: mpsc::Sender<v1::SendLogsRequest>) {
    let failed = |error: String| v1::SendLogsRequest {
        error,
        ..Default::default()
    };
    let opened = match &job.source {
        Ok(path) => LogReader::open(path, job.options)
            .await
            .map_err(|error| format!("cannot read the log: {error}")),
        Err(error) => Err(error.clone()),
    };
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(error) => {
            let _ = frames.send(failed(error)).await;
            return;
        }
    };
    loop {
        // Asked before reading: what was written up to the container's end is read after it.
        let goes_on = job
            .follow
            .as_ref()
            .is_some_and(|run| job.running.borrow_and_update().contains(run));
        match reader.next().await {
            Ok(data) if data.is_empty() && !goes_on => return,
            Ok(data) if data.is_empty() => {
                tokio::select! {
                    () = frames.closed() => return,
                    () = tokio::time::sleep(limits::LOG_FOLLOW_PERIOD) => {}
                }
            }
            Ok(data) => {
                let frame = v1::SendLogsRequest {
                    data: data.into(),
                    ..Default::default()
                };
                if frames.send(frame).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let _ = frames.send(failed(format!("cannot read the log: {error}"))).await;
                return;
            }
        }
    }
}
