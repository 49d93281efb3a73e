//! Objects live in namespaces that exist and are not ending, and some namespaces never end.

use super::{
    AdmissionError, AdmissionLookup, AdmissionPlugin, AdmissionReason, AdmissionRequest, NamespacePhase, Operation,
};
use crate::object::Object;

/// Namespaces that the cluster itself needs.
const PERMANENT: &[&str] = &["default", "kube-system", "kube-public"];

/// See the file's comment.
#[derive(Debug, Clone, Copy)]
pub struct NamespaceLifecycle;

impl AdmissionPlugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn validate(
        &self,
        request: &AdmissionRequest,
        _object: &dyn Object,
        lookup: &dyn AdmissionLookup,
    ) -> Result<(), AdmissionError> {
        let namespace = request.key.namespace.as_str();
        match request.operation {
            Operation::Delete if request.info.kind == "Namespace" && PERMANENT.contains(&request.key.name.as_str()) => {
                Err(AdmissionError::forbidden(request, "this namespace may not be deleted"))
            }
            Operation::Create if request.info.namespaced => match lookup.namespace(namespace) {
                Some(NamespacePhase::Active) => Ok(()),
                Some(NamespacePhase::Terminating) => Err(AdmissionError::forbidden(
                    request,
                    format_args!(
                        "unable to create new content in namespace {namespace} because it is being terminated"
                    ),
                )),
                None => Err(AdmissionError {
                    reason: AdmissionReason::NotFound,
                    message: format!("namespaces {namespace:?} not found"),
                }),
            },
            Operation::Create | Operation::Update | Operation::Delete => Ok(()),
        }
    }
}
