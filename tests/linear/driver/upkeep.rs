//! What goes on beside the clients: compaction, and the comparison of the members' states.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use trireme_proto::etcd::server::{
    CompactionRequest, HashKvRequest, kv_client::KvClient, maintenance_client::MaintenanceClient,
};

use super::link::Shared;

/// How often the past is forgotten.
const COMPACTION_PERIOD: Duration = Duration::from_millis(700);
/// How many revisions are kept. A member that was away for longer cannot resume its watch, which is allowed.
const KEPT_REVISIONS: i64 = 700;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Compacts now and then, through one member after the other, until the run stops.
pub async fn compact_now_and_then(shared: Arc<Shared>) {
    let mut member = 0;
    while !shared.is_stopped() {
        tokio::time::sleep(COMPACTION_PERIOD).await;
        let revision = shared.newest() - KEPT_REVISIONS;
        if revision <= shared.compacted() {
            continue;
        }
        member = (member + 1) % shared.members();
        // It may be carried out even if it fails.
        shared.compacted_at(revision);
        let ask = async {
            let request = CompactionRequest {
                revision,
                physical: false,
            };
            KvClient::new(shared.connect(member).await?).compact(request).await?;
            anyhow::Ok(())
        };
        // A member that is down compacts nothing; the next one is asked next time.
        let _ = tokio::time::timeout(TIMEOUT, ask).await;
    }
}

/// A member's hash of everything up to a revision, and the revision that it had compacted by then.
///
/// # Errors
/// If it does not answer.
pub async fn state_hash(shared: &Shared, member: usize, revision: i64) -> Result<(u32, i64)> {
    let ask = async {
        let mut client = MaintenanceClient::new(shared.connect(member).await?);
        let answer = client.hash_kv(HashKvRequest { revision }).await?.into_inner();
        anyhow::Ok((answer.hash, answer.compact_revision))
    };
    tokio::time::timeout(TIMEOUT, ask)
        .await
        .with_context(|| format!("member {member} does not tell its hash"))?
}
