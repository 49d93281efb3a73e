//! Quotas where an object that exists comes to take up more, or less: a service that opens ports on the nodes, a claim
//! that grows.
//!
//! Most changes take up nothing, and cost nothing here. What a finished pod gives back is summed up by the quota
//! controller, so that the states of a namespace's pods do not all wait for one quota.

use bytes::Bytes;
use trireme_logic::object::Object;
use trireme_proto::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use trireme_store::kv::{Consistency, Txn};

use super::{Registry, at_revision, object_range, ops_of, put, stored::encode};
use crate::{
    pipeline::admit::{Charge, charge_quotas},
    status::ApiError,
};

impl Registry {
    /// What a change charges the quotas of its namespace with. Unless `certain`, they may be read a little late; a refusal
    /// is always decided on what they are.
    ///
    /// # Errors
    /// `Forbidden` if a quota has no room.
    pub(super) async fn charges_of_change(
        &self,
        old: &dyn Object,
        new: &dyn Object,
        certain: bool,
    ) -> Result<Vec<Charge>, ApiError> {
        if !may_take_more(old, new) {
            return Ok(Vec::new());
        }
        let namespace = &new.metadata().namespace;
        if !certain {
            let surroundings = self.policies.surroundings(namespace).await?;
            if let Ok(charges) = charge_quotas(Some(old), new, &surroundings) {
                return Ok(charges);
            }
        }
        let surroundings = self.policies.read(namespace, Consistency::Linearizable).await?;
        charge_quotas(Some(old), new, &surroundings)
    }
}

/// True if the change is of a kind that may take up more than before.
fn may_take_more(old: &dyn Object, new: &dyn Object) -> bool {
    if let (Some(old), Some(new)) = (old.downcast_ref::<Service>(), new.downcast_ref::<Service>()) {
        return old.spec != new.spec;
    }
    if let (Some(old), Some(new)) = (
        old.downcast_ref::<PersistentVolumeClaim>(),
        new.downcast_ref::<PersistentVolumeClaim>(),
    ) {
        return old.spec != new.spec || old.status != new.status;
    }
    if let (Some(old), Some(new)) = (old.downcast_ref::<Pod>(), new.downcast_ref::<Pod>()) {
        let containers = |pod: &Pod| {
            let spec = pod.spec.as_ref();
            spec.map(|spec| (spec.containers.clone(), spec.init_containers.clone()))
        };
        return old.spec != new.spec && containers(old) != containers(new);
    }
    false
}

/// Makes each charged quota's revision a precondition, and its new value part of the write. Answers with the charged quotas
/// by name.
pub(super) fn add_charges(
    charges: &[Charge],
    namespace: &str,
    txn: &mut Txn,
) -> Result<Vec<(String, ResourceQuota)>, ApiError> {
    let mut charged = Vec::with_capacity(charges.len());
    for charge in charges {
        let range = object_range(ops_of("", "resourcequotas").info(), &charge.key(namespace));
        txn.compares.push(at_revision(range.clone(), charge.revision));
        let mut quota = charge.quota.clone();
        let value: Bytes = encode(&mut quota)?;
        txn.success.push(put(&range, value));
        charged.push((charge.name.clone(), quota));
    }
    Ok(charged)
}
