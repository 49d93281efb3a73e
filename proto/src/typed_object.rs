//! What all kinds of objects have in common in Rust.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::meta::v1::ObjectMeta;
use crate::json::JsonMessage;

/// An object of the API: its type says its kind, and it has metadata. Implemented by generated code.
pub trait TypedObject:
    JsonMessage + prost::Message + Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// `group/version`, or just the version in the core group.
    const API_VERSION: &'static str;
    /// API group; empty for core.
    const GROUP: &'static str;
    /// API version.
    const VERSION: &'static str;
    /// Kind, such as `Pod`.
    const KIND: &'static str;

    /// The metadata, if the object has any.
    fn metadata(&self) -> Option<&ObjectMeta>;

    /// The metadata's place.
    fn metadata_mut(&mut self) -> &mut Option<ObjectMeta>;

    /// The metadata, made first if there is none.
    fn metadata_or_default(&mut self) -> &mut ObjectMeta {
        self.metadata_mut().get_or_insert_default()
    }

    /// The name; empty if it has none.
    fn name(&self) -> &str {
        self.metadata().map_or("", |metadata| &metadata.name)
    }

    /// The namespace; empty if it has none.
    fn namespace(&self) -> &str {
        self.metadata().map_or("", |metadata| &metadata.namespace)
    }

    /// The uid; empty if it has none yet.
    fn uid(&self) -> &str {
        self.metadata().map_or("", |metadata| &metadata.uid)
    }

    /// The resource version; empty if it has none yet.
    fn resource_version(&self) -> &str {
        self.metadata().map_or("", |metadata| &metadata.resource_version)
    }
}
