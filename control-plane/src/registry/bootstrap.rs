//! The objects that every cluster has from its first moment.

use trireme_logic::{kinds::priority_class::SYSTEM_PRIORITY_CLASSES, object::Object};
use trireme_proto::api::{core::v1::Namespace, meta::v1::ObjectMeta, scheduling::v1::PriorityClass};

use super::Registry;
use crate::{
    pipeline::{Decoded, Permit},
    status::{ApiError, Reason},
};

/// The namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

impl Registry {
    /// Creates the objects that every cluster has, where they are missing.
    ///
    /// # Errors
    /// What the store says.
    pub async fn bootstrap(&self) -> Result<(), ApiError> {
        let permit = Permit::system("bootstrap", None);
        let metadata = |name: &str| {
            Some(ObjectMeta {
                name: name.to_owned(),
                ..ObjectMeta::default()
            })
        };
        let mut objects: Vec<Box<dyn Object>> = Vec::new();
        for name in NAMESPACES {
            objects.push(Box::new(Namespace {
                metadata: metadata(name),
                ..Namespace::default()
            }));
        }
        for class in SYSTEM_PRIORITY_CLASSES {
            objects.push(Box::new(PriorityClass {
                metadata: metadata(class.name),
                value: class.value,
                description: class.description.to_owned(),
                ..PriorityClass::default()
            }));
        }
        for object in objects {
            match self.create(&permit, Decoded::internal(object), false).await {
                Ok(_) => {}
                Err(error) if error.reason() == Reason::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
