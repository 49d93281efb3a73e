//! The objects that every cluster has from its first moment.

use trireme_proto::api::{core::v1::Namespace, meta::v1::ObjectMeta};

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
        for name in NAMESPACES {
            let metadata = Some(ObjectMeta {
                name: name.to_owned(),
                ..ObjectMeta::default()
            });
            let namespace = Namespace {
                metadata,
                ..Namespace::default()
            };
            match self
                .create(&permit, Decoded::internal(Box::new(namespace)), false)
                .await
            {
                Ok(_) => {}
                Err(error) if error.reason() == Reason::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
