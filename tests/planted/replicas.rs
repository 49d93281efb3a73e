//! Stores in this process that judge themselves, and one another.

use std::sync::Arc;

use anyhow::Result;
use trireme_store::{MemberNode, OpenError, Planted, Store};
use trireme_tests::linear::members::Members;

use crate::Findings;
use crate::support::{Cluster, Setup, put, write};

async fn start(servers: u64, planted: Option<Planted>) -> Cluster {
    let setup = Setup {
        configure: Arc::new(move |config| config.planted = planted),
        ..Setup::default()
    };
    Cluster::start_as(servers, setup).await
}

async fn fill(store: &Store, prefix: &str) {
    for number in 0..20 {
        write(store, put(&format!("{prefix}{number}"), "value")).await;
    }
}

/// A server that is alone is stopped and started. Its recovery says whether what it finds can be what it left.
pub(crate) async fn restarted_alone(planted: Option<Planted>) -> Result<Findings> {
    let mut cluster = start(1, planted).await;
    fill(&cluster.store(1), "/k/").await;
    cluster.stop(1).await;
    match cluster.restart_as(1, |_| {}).await {
        Ok(()) => {
            cluster.wait_for_leader().await;
            write(&cluster.store(1), put("/after", "x")).await;
            Ok(Vec::new())
        }
        Err(OpenError::Quarantined { cause }) => Ok(vec![("recovery".to_owned(), cause)]),
        Err(error) => Err(error.into()),
    }
}

/// One of three is stopped and started. The servers compare their states' hashes, and the odd one out is told.
pub(crate) async fn restarted_among_three(planted: Option<Planted>) -> Result<Findings> {
    let mut cluster = start(3, planted).await;
    fill(&cluster.store(1), "/k/").await;
    cluster.wait_until_equal().await;
    let victim = cluster.follower(cluster.wait_for_leader().await);
    cluster.stop(victim).await;
    cluster.restart(victim).await;
    let leader = cluster.store(cluster.wait_for_leader().await);
    fill(&leader, "/more/").await;
    let victim = cluster.store(victim);
    let same = || {
        let (leader, victim) = (leader.status(), victim.status());
        leader.state_hash_index == victim.state_hash_index && leader.state_hash == victim.state_hash
    };
    cluster
        .wait("the server to be one of the others, or to be found out", |_| {
            victim.quarantined().is_some() || same()
        })
        .await;
    let found = victim.quarantined().into_iter();
    Ok(found.map(|cause| ("state hash".to_owned(), cause)).collect())
}

/// A member goes, and another comes.
pub(crate) async fn member_replaced(planted: Option<Planted>) -> Result<Findings> {
    let cluster = start(1, planted).await;
    let store = cluster.store(1);
    let mut members = Members::default();
    let mut found = Vec::new();
    let mut look = || {
        let list = store.members().into_iter().map(|member| (member.id, member.name));
        found.extend(members.observe(&list.collect::<Vec<_>>()));
    };
    look();
    for name in ["first", "second"] {
        let id = store.allocate_server_id().await?;
        let node = MemberNode {
            name: name.to_owned(),
            ..MemberNode::default()
        };
        store.add_learner(id, node).await?;
        let there = |there: bool| {
            move |cluster: &Cluster| cluster.store(1).members().iter().any(|member| member.id == id) == there
        };
        cluster.wait("the member is known", there(true)).await;
        look();
        store.remove(id).await?;
        cluster.wait("the member has gone", there(false)).await;
        look();
    }
    Ok(found)
}
