//! Follows one object, or the objects of a selection, through a watch that survives servers.

use std::collections::BTreeMap;

use anyhow::Result;
use trireme_client::{Watch, WatchItem};
use trireme_proto::v1::watch_event::Type;
use trireme_proto::v1::{ApiResource, View};

use crate::object::Object;
use crate::resolve::reference;
use crate::resources::{Resources, Selection, object_of};

/// The present state of a selection, kept fresh.
#[derive(Debug)]
pub(crate) struct Follow {
    watch: Watch,
    objects: BTreeMap<(String, String), Object>,
    complete: bool,
}

impl Follow {
    /// Follows the objects of a selection.
    pub(crate) fn selection(
        resources: &Resources,
        resource: &ApiResource,
        namespace: &str,
        selection: &Selection,
    ) -> Self {
        let watch = resources.watch(&reference(resource, namespace, ""), selection, View::Object, 0);
        Self {
            watch,
            objects: BTreeMap::new(),
            complete: false,
        }
    }

    /// Follows one object.
    pub(crate) fn object(resources: &Resources, resource: &ApiResource, namespace: &str, name: &str) -> Self {
        let selection = Selection {
            fields: format!("metadata.name={name}"),
            ..Default::default()
        };
        Self::selection(resources, resource, namespace, &selection)
    }

    /// Waits until something changed; the first time, until the present state is complete. Safe to drop and call again.
    pub(crate) async fn changed(&mut self) -> Result<()> {
        loop {
            let event = match self.watch.next().await? {
                WatchItem::Restarted => {
                    self.objects.clear();
                    self.complete = false;
                    continue;
                }
                WatchItem::Event(event) => event,
            };
            match event.r#type() {
                Type::Bookmark if event.initial_events_end => {
                    self.complete = true;
                    return Ok(());
                }
                Type::Bookmark | Type::Unspecified => continue,
                kind @ (Type::Added | Type::Modified | Type::Deleted) => {
                    let item = event.item.unwrap_or_default();
                    let object = object_of(&item)?;
                    let key = (object.namespace().to_owned(), object.name().to_owned());
                    if kind == Type::Deleted {
                        self.objects.remove(&key);
                    } else {
                        self.objects.insert(key, object);
                    }
                }
            }
            if self.complete {
                return Ok(());
            }
        }
    }

    /// The objects, by namespace and name.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// The object, if there is one.
    pub(crate) fn first(&self) -> Option<&Object> {
        self.objects.values().next()
    }

    /// Waits until `done` says so, looking at the state now and after each change.
    pub(crate) async fn until<T>(&mut self, mut done: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        loop {
            self.changed().await?;
            if let Some(outcome) = done(self)? {
                return Ok(outcome);
            }
        }
    }
}
