//! Logs from nodes, through whichever server the node is connected to (D10: agents only dial out).

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use trireme_proto::v1::{FetchLogs, FetchNodeLogsRequest, LogsChunk};

use super::{
    peers::ServerPeers,
    sessions::{LogFrame, NodeSessions},
};
use crate::{limits::LOG_ANSWER_DEADLINE, services::resources::LogSource, status::ApiError};

/// Finds a node's session, here or on another server.
pub struct NodeTunnel {
    /// Who is connected here.
    pub sessions: Arc<NodeSessions>,
    /// Who else there is to ask.
    pub peers: Arc<ServerPeers>,
}

impl NodeTunnel {
    /// A log from a node that is connected to this server; `None` if it is not.
    pub fn local_logs(&self, node: &str, fetch: FetchLogs) -> Option<BoxStream<'static, Result<LogsChunk, ApiError>>> {
        let frames = self.sessions.fetch_logs(node, fetch)?;
        Some(chunks(node.to_owned(), frames))
    }

    async fn remote_logs(
        &self,
        node: &str,
        fetch: &FetchLogs,
    ) -> Result<Option<BoxStream<'static, Result<LogsChunk, ApiError>>>, ApiError> {
        for server in self.peers.others() {
            let mut client = self.peers.client(&server)?;
            let request = FetchNodeLogsRequest {
                node: node.to_owned(),
                fetch: Some(fetch.clone()),
            };
            match within_deadline(client.fetch_node_logs(request)).await {
                Some(Ok(response)) => {
                    let stream = response
                        .into_inner()
                        .map(|chunk| chunk.map_err(|status| ApiError::internal(status.message())));
                    return Ok(Some(stream.boxed()));
                }
                Some(Err(status)) if status.code() == Code::NotFound => {}
                Some(Err(status)) => {
                    tracing::debug!(server = server.name, %status, "a server could not be asked for a node's log");
                }
                None => {}
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl LogSource for NodeTunnel {
    async fn logs(
        &self,
        node: &str,
        fetch: FetchLogs,
    ) -> Result<BoxStream<'static, Result<LogsChunk, ApiError>>, ApiError> {
        if let Some(stream) = self.local_logs(node, fetch.clone()) {
            return Ok(stream);
        }
        match self.remote_logs(node, &fetch).await? {
            Some(stream) => Ok(stream),
            None => Err(ApiError::unavailable(format!(
                "node {node:?} is not connected to any server at present"
            ))),
        }
    }
}

async fn within_deadline<T>(call: impl Future<Output = T>) -> Option<T> {
    timeout(LOG_ANSWER_DEADLINE, call).await.ok()
}

/// Passes frames on. The first must come soon; after that a quiet log may be quiet for as long as it likes.
fn chunks(node: String, mut frames: mpsc::Receiver<LogFrame>) -> BoxStream<'static, Result<LogsChunk, ApiError>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut next = within_deadline(frames.recv()).await.unwrap_or_else(|| {
            Some(Err(format!(
                "node {node:?} did not answer within {} s",
                LOG_ANSWER_DEADLINE.as_secs()
            )))
        });
        while let Some(frame) = next {
            let failed = frame.is_err();
            let chunk = match frame {
                Ok(data) => Ok(LogsChunk { data }),
                Err(why) => Err(ApiError::bad_request(why)),
            };
            if sender.send(chunk).await.is_err() || failed {
                return;
            }
            next = tokio::select! {
                frame = frames.recv() => frame,
                () = sender.closed() => return,
            };
        }
    });
    ReceiverStream::new(receiver).boxed()
}
