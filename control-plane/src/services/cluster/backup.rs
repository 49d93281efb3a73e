//! A backup on its way to whoever asked for it.

use futures::{StreamExt, stream, stream::BoxStream};
use tonic::Status;
use trireme_proto::v1::{BackupChunk, BackupInfo};
use trireme_store::Backup;

use super::ApiError;

/// The messages that carry a backup. An error ends them, and the receiver then has no whole file.
pub(super) fn chunks(backup: Backup) -> BoxStream<'static, Result<BackupChunk, Status>> {
    let info = BackupInfo {
        cluster_id: backup.header.cluster_id,
        revision: backup.header.revision,
        estimated_bytes: backup.estimated_bytes,
    };
    let first = BackupChunk {
        info: Some(info),
        ..BackupChunk::default()
    };
    let rest = backup.stream.map(|piece| match piece {
        Ok(data) => Ok(BackupChunk { info: None, data }),
        Err(error) => Err(ApiError::from(error).into()),
    });
    Box::pin(stream::once(async move { Ok(first) }).chain(rest))
}
