//! Calls on objects of one Rust type, in Kubernetes' protobuf encoding.

use std::marker::PhantomData;

use trireme_proto::{TypedObject, v1};

use crate::client::{Client, resources_on};
use crate::connection::Link;
use crate::error::ClientError;
use crate::limits;
use crate::watch::{Watch, WatchItem};

/// The objects of one kind, in one namespace or in all.
#[derive(Debug, Clone)]
pub struct Api<K> {
    client: Client,
    namespace: String,
    kind: PhantomData<fn() -> K>,
}

/// A list at one revision.
#[derive(Debug, Clone)]
pub struct Listed<K> {
    /// The objects, ordered by namespace and name.
    pub items: Vec<K>,
    /// The revision that they show; a watch from here misses nothing.
    pub revision: i64,
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Seconds a pod has to end; none for the pod's own value.
    pub grace_period_seconds: Option<i64>,
    /// What happens to owned objects.
    pub propagation_policy: v1::PropagationPolicy,
    /// Refuse unless the object has this uid.
    pub uid: String,
    /// Refuse unless the object has this resource version.
    pub resource_version: String,
}

/// A step of a typed watch.
#[derive(Debug, Clone)]
pub enum TypedWatchItem<K> {
    /// The object is there, new or changed.
    Applied(K, i64),
    /// The object left the range; this is its last state.
    Deleted(K, i64),
    /// Everything up to the revision has been delivered. The flag is set once the present objects are complete.
    Bookmark(i64, bool),
    /// See [`WatchItem::Restarted`].
    Restarted,
}

impl<K: TypedObject> Api<K> {
    /// The objects of one namespace.
    #[must_use]
    pub fn namespaced(client: &Client, namespace: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            kind: PhantomData,
        }
    }

    /// The objects of a cluster-scoped kind, or of all namespaces (then for list and watch only).
    #[must_use]
    pub fn all(client: &Client) -> Self {
        Self::namespaced(client, "")
    }

    fn resource(&self, name: &str, subresource: &str) -> Option<v1::ResourceRef> {
        Some(v1::ResourceRef {
            group: K::GROUP.to_owned(),
            version: K::VERSION.to_owned(),
            resource: plural_of(<K as TypedObject>::KIND),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }

    /// Reads one object, linearizably.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn get(&self, name: &str) -> Result<K, ClientError> {
        let request = v1::GetRequest {
            resource: self.resource(name, ""),
            ..Default::default()
        };
        let call = |link: Link| {
            let request = request.clone();
            async move { resources_on(&link).get(request).await }
        };
        decode(&self.client.read(call).await?.object)
    }

    /// Reads one object; none if it does not exist.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn get_opt(&self, name: &str) -> Result<Option<K>, ClientError> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all objects that the selectors choose, page by page, at one revision.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn list(&self, label_selector: &str, field_selector: &str) -> Result<Listed<K>, ClientError> {
        let mut request = v1::ListRequest {
            resource: self.resource("", ""),
            label_selector: label_selector.to_owned(),
            field_selector: field_selector.to_owned(),
            limit: limits::LIST_PAGE_ITEMS,
            ..Default::default()
        };
        let mut items = Vec::new();
        loop {
            let call = |link: Link| {
                let request = request.clone();
                async move { resources_on(&link).list(request).await }
            };
            let page = self.client.read(call).await?;
            for item in &page.items {
                items.push(decode(&item.object)?);
            }
            if page.r#continue.is_empty() {
                return Ok(Listed {
                    items,
                    revision: page.revision,
                });
            }
            request.r#continue = page.r#continue;
        }
    }

    /// Watches from just after `revision`; from 0, the present objects come first.
    #[must_use]
    pub fn watch(&self, label_selector: &str, field_selector: &str, revision: i64) -> TypedWatch<K> {
        let request = v1::WatchRequest {
            resource: self.resource("", ""),
            label_selector: label_selector.to_owned(),
            field_selector: field_selector.to_owned(),
            resource_version: revision,
            allow_bookmarks: true,
            ..Default::default()
        };
        TypedWatch {
            watch: Watch::new(&self.client, request),
            kind: PhantomData,
        }
    }

    /// Stores a new object. If an attempt's answer was lost, `AlreadyExists` is reported as an unknown outcome.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn create(&self, object: &K) -> Result<K, ClientError> {
        let request = v1::CreateRequest {
            resource: self.resource("", ""),
            object: object.encode_to_vec().into(),
            ..Default::default()
        };
        let call = |link: Link| {
            let request = request.clone();
            async move { resources_on(&link).create(request).await }
        };
        decode(&self.client.write(call).await?.object)
    }

    /// Replaces an object, if it is still at the resource version that `object` names.
    ///
    /// # Errors
    /// As [`Client::write_preconditioned`] if it names one, else as [`Client::write`].
    pub async fn update(&self, object: &K) -> Result<K, ClientError> {
        self.replace(object, "").await
    }

    /// Replaces an object's status. See [`Api::update`].
    ///
    /// # Errors
    /// See [`Api::update`].
    pub async fn update_status(&self, object: &K) -> Result<K, ClientError> {
        self.replace(object, "status").await
    }

    async fn replace(&self, object: &K, subresource: &str) -> Result<K, ClientError> {
        let preconditioned = !object.resource_version().is_empty();
        let request = v1::UpdateRequest {
            resource: self.resource(object.name(), subresource),
            object: object.encode_to_vec().into(),
            ..Default::default()
        };
        let call = |link: Link| {
            let request = request.clone();
            async move { resources_on(&link).update(request).await }
        };
        let item = if preconditioned {
            self.client.write_preconditioned(call).await?
        } else {
            self.client.write(call).await?
        };
        decode(&item.object)
    }

    /// Changes part of an object by a patch in JSON.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn patch(&self, name: &str, patch_type: v1::PatchType, patch: &[u8]) -> Result<K, ClientError> {
        let request = v1::PatchRequest {
            resource: self.resource(name, ""),
            patch_type: patch_type.into(),
            patch: patch.to_vec().into(),
            ..Default::default()
        };
        let call = |link: Link| {
            let request = request.clone();
            async move { resources_on(&link).patch(request).await }
        };
        decode(&self.client.write(call).await?.object)
    }

    /// Deletes an object, or marks it for deletion; true if it is gone.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<bool, ClientError> {
        let request = v1::DeleteRequest {
            resource: self.resource(name, ""),
            grace_period_seconds: options.grace_period_seconds,
            propagation_policy: options.propagation_policy.into(),
            precondition_uid: options.uid.clone(),
            precondition_resource_version: options.resource_version.clone(),
            ..Default::default()
        };
        let call = |link: Link| {
            let request = request.clone();
            async move { resources_on(&link).delete(request).await }
        };
        Ok(self.client.write(call).await?.gone)
    }
}

/// A watch of objects of one type. See [`Watch`].
#[derive(Debug)]
pub struct TypedWatch<K> {
    watch: Watch,
    kind: PhantomData<fn() -> K>,
}

impl<K: TypedObject> TypedWatch<K> {
    /// Never gives up. See [`Watch::patient`].
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.watch = self.watch.patient();
        self
    }

    /// Waits for the next step.
    ///
    /// # Errors
    /// As [`Watch::next`], and [`ClientError::Decode`].
    pub async fn next(&mut self) -> Result<TypedWatchItem<K>, ClientError> {
        use v1::watch_event::Type;
        let event = match self.watch.next().await? {
            WatchItem::Restarted => return Ok(TypedWatchItem::Restarted),
            WatchItem::Event(event) => event,
        };
        let object = || decode(event.item.as_ref().map(|item| item.object.as_ref()).unwrap_or_default());
        Ok(match event.r#type() {
            Type::Added | Type::Modified => TypedWatchItem::Applied(object()?, event.revision),
            Type::Deleted => TypedWatchItem::Deleted(object()?, event.revision),
            Type::Bookmark => TypedWatchItem::Bookmark(event.revision, event.initial_events_end),
            Type::Unspecified => return Err(ClientError::Decode("a watch event has no type".to_owned())),
        })
    }
}

fn decode<K: TypedObject>(bytes: &[u8]) -> Result<K, ClientError> {
    K::decode(bytes).map_err(|e| ClientError::Decode(e.to_string()))
}

/// The plural by which a kind's resource goes: `pods`, `endpointslices`, `policies`.
fn plural_of(kind: &str) -> String {
    let singular = kind.to_lowercase();
    if singular == "endpoints" {
        return singular;
    }
    if singular.ends_with(['s', 'x']) || singular.ends_with("ch") || singular.ends_with("sh") {
        return singular + "es";
    }
    match singular.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => singular + "s",
    }
}

#[cfg(test)]
mod tests {
    use super::plural_of;

    #[test]
    fn plurals() {
        for (kind, plural) in [
            ("Pod", "pods"),
            ("EndpointSlice", "endpointslices"),
            ("Endpoints", "endpoints"),
            ("Ingress", "ingresses"),
            ("NetworkPolicy", "networkpolicies"),
            ("Gateway", "gateways"),
        ] {
            assert_eq!(plural_of(kind), plural);
        }
    }
}
