//! Every pod runs as some service account: `default` unless it says otherwise.
//!
//! Tokens are not mounted into pods yet, so no volume is added here.

use trireme_proto::api::core::v1::Pod;

use super::{AdmissionLookup, AdmissionPlugin, AdmissionRequest, Operation};
use crate::object::Object;

/// The account of a pod that names none.
const DEFAULT_ACCOUNT: &str = "default";

/// See the file's comment.
#[derive(Debug, Clone, Copy)]
pub struct ServiceAccountDefault;

impl AdmissionPlugin for ServiceAccountDefault {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn mutate(&self, request: &AdmissionRequest, object: &mut dyn Object, _lookup: &dyn AdmissionLookup) {
        let Some(pod) = object
            .downcast_mut::<Pod>()
            .filter(|_| request.operation == Operation::Create)
        else {
            return;
        };
        let spec = pod.spec.get_or_insert_default();
        if spec.service_account_name.is_empty() {
            spec.service_account_name = DEFAULT_ACCOUNT.into();
            spec.service_account = DEFAULT_ACCOUNT.into();
        }
    }
}
