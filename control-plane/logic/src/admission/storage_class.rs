//! A claim that names no storage class gets the default one, if there is one.
//!
//! An empty class is a name as well: the wish for a volume of no class. Such a claim stays as it is.

use trireme_proto::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};

use super::{AdmissionLookup, AdmissionPlugin, AdmissionRequest, Operation};
use crate::{
    kinds::{persistent_volume_claim::storage_class, storage_class::is_default},
    object::Object,
};

/// See the file's comment.
#[derive(Debug, Clone, Copy)]
pub struct DefaultStorageClass;

impl AdmissionPlugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn mutate(&self, request: &AdmissionRequest, object: &mut dyn Object, lookup: &dyn AdmissionLookup) {
        let claim = object
            .downcast_mut::<PersistentVolumeClaim>()
            .filter(|claim| request.operation == Operation::Create && storage_class(claim).is_none());
        if let Some(claim) = claim {
            claim.spec.get_or_insert_default().storage_class_name = lookup.default_storage_class();
        }
    }
}

/// The class of claims that name none: the newest of those that are marked as the default, the first by name of
/// several that are equally new.
pub fn default_of<'a>(classes: impl IntoIterator<Item = &'a StorageClass>) -> Option<&'a str> {
    let marked = classes.into_iter().filter(|class| is_default(class));
    let described = marked.filter_map(|class| {
        let meta = class.metadata.as_ref()?;
        let created = meta.creation_timestamp.as_ref().map_or(0, |time| time.seconds);
        Some((std::cmp::Reverse(created), meta.name.as_str()))
    });
    described.min().map(|(_, name)| name)
}
