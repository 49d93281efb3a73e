//! What goes on beside the clients: the past is forgotten, servers join and leave, the lead is handed over.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use trireme_store::{MembershipError, Store, kv::Kv};

use super::{client::Shared, net::MachineId, server::Access, stream::node, watcher::Goal, world::Order};

/// How often the past is forgotten, at most, in milliseconds.
const COMPACTION_PAUSE_MAX_MS: u64 = 1_200;
/// How many revisions are kept, at most.
const KEPT_REVISIONS_MAX: i64 = 250;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a change of the members may take. Longer than the store tries by itself.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(40);
/// Pause between two changes of the members, at most, in milliseconds.
const CHANGE_PAUSE_MAX_MS: u64 = 2_000;
/// With so many members none is added.
const MEMBERS_MAX: usize = 5;

/// Compacts now and then, through one server or another, until the run stops. What no watcher of everything has seen
/// stays, so that whatever else changed is known.
pub async fn compact_now_and_then(shared: Arc<Shared>, goal: Arc<Goal>) {
    let mut random = SmallRng::seed_from_u64(shared.seed ^ 0xc0);
    while !shared.is_stopped() {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..COMPACTION_PAUSE_MAX_MS))).await;
        let kept = random.random_range(0..KEPT_REVISIONS_MAX);
        let revision = (shared.newest() - kept).min(goal.seen.load(Ordering::Relaxed));
        let Some(access) = shared.any_server(&mut random) else {
            continue;
        };
        if revision <= shared.compacted() {
            continue;
        }
        // It may be carried out even if it fails.
        shared.compacted_at(revision);
        let store = access.store.clone();
        let asked = access.handle.spawn(async move { store.compact(revision).await });
        let compacted = tokio::time::timeout(TIMEOUT, asked).await;
        shared
            .outside
            .note(|| format!("compaction at {revision}: {}", matches!(compacted, Ok(Ok(Ok(()))))));
    }
}

/// What the changes of the members came to.
#[derive(Debug, Default)]
pub struct Changes {
    /// Every id that was given out, and the machine that got it.
    pub given: Vec<(u64, MachineId)>,
}

/// The changes so far. Shared with whoever judges them.
pub type ChangesSoFar = Arc<Mutex<Changes>>;

/// Lets servers join and leave and hands the lead over, until the run stops.
pub async fn change_members(shared: Arc<Shared>, changes: ChangesSoFar) {
    let mut random = SmallRng::seed_from_u64(shared.seed ^ 0xc4a9e);
    // Machines by the ids of their servers.
    let mut machines: BTreeMap<u64, MachineId> = shared
        .outside
        .reachable()
        .into_values()
        .map(|access| (access.server_id, access.machine))
        .collect();
    while !shared.is_stopped() {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..CHANGE_PAUSE_MAX_MS))).await;
        let Some(access) = shared.any_server(&mut random) else {
            continue;
        };
        let members = access.store.members();
        let outcome = match random.random_range(0..10) {
            0..4 => hand_over(&access, &mut random).await,
            _ if members.len() < MEMBERS_MAX && random.random_bool(0.6) => {
                join(&shared, &access, &mut machines, &changes).await
            }
            _ if members.iter().filter(|member| member.voter).count() > 3 => {
                leave(&shared, &access, &mut machines, &mut random).await
            }
            _ => continue,
        };
        shared
            .outside
            .note(|| format!("change of the members through {}: {outcome:?}", access.machine));
    }
}

/// Makes a change through a server.
async fn ask<T, F>(access: &Access, change: impl FnOnce(Arc<Store>) -> F) -> Result<T, String>
where
    T: Send + 'static,
    F: Future<Output = Result<T, MembershipError>> + Send + 'static,
{
    let task = access.handle.spawn(change(access.store.clone()));
    match tokio::time::timeout(CHANGE_TIMEOUT, task).await {
        Ok(Ok(changed)) => changed.map_err(|error| error.to_string()),
        Ok(Err(_)) => Err("the server is gone".to_owned()),
        Err(_) => Err("it took too long".to_owned()),
    }
}

async fn hand_over(access: &Access, random: &mut SmallRng) -> Result<String, String> {
    let members = access.store.members();
    let voters: Vec<u64> = members
        .iter()
        .filter(|member| member.voter)
        .map(|member| member.id)
        .collect();
    if voters.is_empty() {
        return Err("no voter is known".to_owned());
    }
    let to = voters[random.random_range(0..voters.len())];
    ask(access, move |store| async move { store.transfer_leadership(to).await }).await?;
    Ok(format!("{to} leads"))
}

/// A new server joins as a learner, and becomes a voter.
async fn join(
    shared: &Shared,
    access: &Access,
    machines: &mut BTreeMap<u64, MachineId>,
    changes: &ChangesSoFar,
) -> Result<String, String> {
    let id = ask(access, |store| async move { store.allocate_server_id().await }).await?;
    let machine = shared.outside.next_machine();
    changes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .given
        .push((id, machine));
    ask(access, move |store| async move {
        store.add_learner(id, node(machine)).await
    })
    .await?;
    shared.outside.order(Order::Start(machine, id));
    machines.insert(id, machine);
    ask(access, move |store| async move { store.promote(id).await }).await?;
    Ok(format!("{id} joined"))
}

/// A server leaves for good: mostly one that joined last.
async fn leave(
    shared: &Shared,
    access: &Access,
    machines: &mut BTreeMap<u64, MachineId>,
    random: &mut SmallRng,
) -> Result<String, String> {
    let members = access.store.members();
    let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
    let Some(newest) = ids.last().copied() else {
        return Err("no member is known".to_owned());
    };
    let id = if random.random_bool(0.6) {
        newest
    } else {
        ids[random.random_range(0..ids.len())]
    };
    ask(access, move |store| async move { store.remove(id).await }).await?;
    if let Some(machine) = machines.remove(&id) {
        shared.outside.order(Order::Retire(machine));
    }
    Ok(format!("{id} left"))
}
