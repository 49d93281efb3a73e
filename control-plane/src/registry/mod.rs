//! Objects of every kind on top of the store: the only place that reads and writes them.
//!
//! Every function takes a [`Permit`] that covers what it does. A write is one transaction with the revision of what
//! it was decided on as its precondition, so that nothing is overwritten unseen; a write without a precondition of
//! the client's is decided again when another got in between. Stored are objects in protobuf without their
//! `resourceVersion`, which is the store's revision (D2).

mod ahead;
mod apply;
mod bind;
mod bootstrap;
mod change;
mod charge;
mod continue_token;
mod create;
mod delete;
mod delete_collection;
mod evict;
mod find;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod list;
mod node;
mod patch;
mod policy;
mod read;
mod scale;
mod selection;
mod shared_events;
mod stored;
mod told;
mod topics;
mod turns;
mod update;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use tokio_util::sync::{CancellationToken, DropGuard};
use trireme_logic::{
    kind::KindInfo,
    kinds,
    object::{KindOps, ObjectKey},
};
use trireme_store::kv::{Compare, CompareResult, CompareTarget, KeyRange, Kv, Op, Revision, Txn, TxnResponse};

pub use ahead::ListAhead;
pub use apply::{AppliedObject, ApplyRequest};
pub use change::Changed;
pub use delete::{DeleteOptions, Deleted, Propagation};
pub use evict::Eviction;
pub use find::{Finder, Found};
pub use list::{ListEnd, ObjectList};
pub use node::ReportOutcome;
pub use patch::PatchRequest;
pub use read::{ListPage, ListRequest, ReadFrom};
pub use selection::Selection;
pub use stored::Stored;
#[cfg(test)]
pub(crate) use told::shared_for_tests;
pub use told::{Door, Told, ToldAs};
pub use watch::{ObjectWatch, WatchChange, WatchRequest};

use crate::{environment::Environment, pipeline::Permit, status::ApiError};
use policy::PolicyCache;
use shared_events::SharedEvents;

/// Objects of every kind.
pub struct Registry {
    kv: Arc<dyn Kv>,
    environment: Environment,
    policies: Arc<PolicyCache>,
    /// Names objects by their labels and fields, if somebody does.
    finder: OnceLock<Arc<dyn Finder>>,
    shared_events: Arc<SharedEvents>,
    _stop_policies: DropGuard,
}

impl Registry {
    /// Objects in `kv`. Begins to follow the namespaces and quotas that creates depend on, on the current runtime, until it
    /// is dropped.
    #[must_use]
    pub fn start(kv: Arc<dyn Kv>, environment: Environment) -> Arc<Self> {
        let stop = CancellationToken::new();
        let policies = PolicyCache::start(kv.clone(), &stop);
        Arc::new(Self {
            kv,
            environment,
            policies,
            finder: OnceLock::new(),
            shared_events: Arc::default(),
            _stop_policies: stop.drop_guard(),
        })
    }

    /// Time and chance, as this registry uses them.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The revision that this server's replica has applied.
    #[must_use]
    pub fn applied_revision(&self) -> Revision {
        self.kv.applied_revision()
    }

    async fn commit(&self, permit: &Permit, txn: Txn) -> Result<TxnResponse, ApiError> {
        let lane = permit.asker(0).lane;
        Ok(self.kv.txn_in(lane, txn, permit.fence()).await?)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Registry")
    }
}

/// The functions of a kind that this package names by itself.
pub(crate) fn ops_of(group: &str, plural: &str) -> &'static dyn KindOps {
    kinds::by_resource(group, "", plural).expect("the list of kinds holds every kind that the control plane names")
}

fn object_range(info: &KindInfo, key: &ObjectKey) -> KeyRange {
    KeyRange::key(kinds::storage_key(info, key))
}

/// Holds if the one key has this revision; 0 if it does not exist.
fn at_revision(range: KeyRange, revision: Revision) -> Compare {
    Compare {
        range,
        result: CompareResult::Equal,
        target: CompareTarget::ModRevision(revision),
    }
}

fn put(range: &KeyRange, value: bytes::Bytes) -> Op {
    Op::put(range.start.clone(), value)
}
