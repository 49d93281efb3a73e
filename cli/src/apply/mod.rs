//! What `apply` decides: the wanted state of an object from three versions of it, and the patch that leads there. Pure.

pub(crate) mod diff;
pub(crate) mod three_way;

/// The annotation that keeps what was applied last, so that fields that the user took out are removed, and
/// fields that others set are left alone.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
