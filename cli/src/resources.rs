//! Calls on objects of any kind as JSON, each repeated as far as that is safe.

use anyhow::{Context, Result};
use serde_json::Value;
use trireme_client::{Client, ClientError, Link, Watch};
use trireme_proto::v1::resources_client::ResourcesClient;
use trireme_proto::v1::{self, ResourceRef};

use crate::limits;
use crate::object::Object;

/// The name under which the command line's changes are recorded.
const FIELD_MANAGER: &str = "trireme";

/// Calls on objects.
#[derive(Debug, Clone)]
pub(crate) struct Resources {
    client: Client,
}

/// How an object is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WriteOptions {
    /// Do everything but store it.
    pub(crate) dry_run: bool,
    /// Treatment of unknown fields.
    pub(crate) validation: v1::FieldValidation,
}

/// Which objects of a type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// Label selector.
    pub(crate) labels: String,
    /// Field selector.
    pub(crate) fields: String,
}

fn stub(link: &Link) -> ResourcesClient<tonic::transport::Channel> {
    let bound = trireme_client::limits::RESPONSE_MAX_BYTES;
    ResourcesClient::new(link.channel.clone())
        .max_decoding_message_size(bound)
        .max_encoding_message_size(bound)
}

impl Resources {
    /// Over a client.
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone() }
    }

    /// Reads an object.
    pub(crate) async fn get(&self, resource: &ResourceRef) -> Result<Object> {
        object_of(&self.get_item(resource, v1::View::Object).await?)
    }

    /// Reads an object; none if it does not exist.
    pub(crate) async fn get_opt(&self, resource: &ResourceRef) -> Result<Option<Object>> {
        match self.get_item(resource, v1::View::Object).await {
            Ok(item) => object_of(&item).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads an object in some view.
    pub(crate) async fn get_item(&self, resource: &ResourceRef, view: v1::View) -> Result<v1::Item, ClientError> {
        let request = v1::GetRequest {
            resource: Some(resource.clone()),
            encoding: v1::Encoding::Json.into(),
            view: view.into(),
            resource_version: String::new(),
        };
        let call = |link: Link| {
            let request = request.clone();
            async move { stub(&link).get(request).await }
        };
        self.client.read(call).await
    }

    /// Reads all objects of a selection, page by page, in some view.
    pub(crate) async fn list_items(
        &self,
        resource: &ResourceRef,
        selection: &Selection,
        view: v1::View,
    ) -> Result<v1::ListResponse, ClientError> {
        let mut request = v1::ListRequest {
            resource: Some(resource.clone()),
            encoding: v1::Encoding::Json.into(),
            view: view.into(),
            label_selector: selection.labels.clone(),
            field_selector: selection.fields.clone(),
            limit: limits::LIST_PAGE_ITEMS,
            ..Default::default()
        };
        let mut all: Option<v1::ListResponse> = None;
        loop {
            let call = |link: Link| {
                let request = request.clone();
                async move { stub(&link).list(request).await }
            };
            let mut page = self.client.read(call).await?;
            request.r#continue = std::mem::take(&mut page.r#continue);
            match &mut all {
                None => all = Some(page),
                Some(all) => all.items.extend(page.items),
            }
            if request.r#continue.is_empty() {
                return Ok(all.unwrap_or_default());
            }
        }
    }

    /// Reads all objects of a selection.
    pub(crate) async fn list(&self, resource: &ResourceRef, selection: &Selection) -> Result<Vec<Object>> {
        let list = self.list_items(resource, selection, v1::View::Object).await?;
        list.items.iter().map(object_of).collect()
    }

    /// Watches a selection from just after a revision; from 0, the present objects come first.
    pub(crate) fn watch(&self, resource: &ResourceRef, selection: &Selection, view: v1::View, revision: i64) -> Watch {
        let request = v1::WatchRequest {
            resource: Some(resource.clone()),
            encoding: v1::Encoding::Json.into(),
            view: view.into(),
            label_selector: selection.labels.clone(),
            field_selector: selection.fields.clone(),
            resource_version: revision,
            allow_bookmarks: true,
        };
        Watch::new(&self.client, request)
    }

    /// Stores a new object. The answer carries the server's warnings.
    pub(crate) async fn create(
        &self,
        resource: &ResourceRef,
        object: &Object,
        options: WriteOptions,
    ) -> Result<v1::Item, ClientError> {
        let request = v1::CreateRequest {
            resource: Some(resource.clone()),
            encoding: v1::Encoding::Json.into(),
            object: object.value().to_string().into_bytes().into(),
            dry_run: options.dry_run,
            field_validation: options.validation.into(),
            field_manager: FIELD_MANAGER.to_owned(),
            ..Default::default()
        };
        let call = |link: Link| {
            let request = request.clone();
            async move { stub(&link).create(request).await }
        };
        self.client.write(call).await
    }

    /// Changes part of an object by a JSON merge patch. If the patch names `metadata.resourceVersion`, it cannot be carried
    /// out twice, and is repeated until a server decides.
    pub(crate) async fn merge_patch(
        &self,
        resource: &ResourceRef,
        patch: &Value,
        options: WriteOptions,
    ) -> Result<v1::Item, ClientError> {
        let request = v1::PatchRequest {
            resource: Some(resource.clone()),
            encoding: v1::Encoding::Json.into(),
            patch_type: v1::PatchType::Merge.into(),
            patch: patch.to_string().into_bytes().into(),
            dry_run: options.dry_run,
            field_validation: options.validation.into(),
            field_manager: FIELD_MANAGER.to_owned(),
            ..Default::default()
        };
        let call = |link: Link| {
            let request = request.clone();
            async move { stub(&link).patch(request).await }
        };
        if patch.pointer("/metadata/resourceVersion").is_some() {
            self.client.write_preconditioned(call).await
        } else {
            self.client.write(call).await
        }
    }

    /// Deletes an object. With a uid as precondition it is repeated until a server decides; without one it is found first.
    pub(crate) async fn delete(&self, request: v1::DeleteRequest) -> Result<v1::DeleteResponse, ClientError> {
        let preconditioned = !request.precondition_uid.is_empty();
        let request = v1::DeleteRequest {
            encoding: v1::Encoding::Json.into(),
            ..request
        };
        let call = |link: Link| {
            let request = request.clone();
            async move { stub(&link).delete(request).await }
        };
        if preconditioned {
            self.client.write_preconditioned(call).await
        } else {
            self.client.write(call).await
        }
    }

    /// Reads an object, computes a change, and writes it if the object is still the same; again if it is not.
    /// `change` gives the wanted object; no change writes nothing.
    pub(crate) async fn change(
        &self,
        resource: &ResourceRef,
        options: WriteOptions,
        change: impl Fn(&Object) -> Result<Value>,
    ) -> Result<Changed> {
        let mut attempt = 0;
        loop {
            let live = self.get(resource).await?;
            let wanted = change(&live)?;
            let patch = crate::apply::diff::between(live.value(), &wanted);
            match self.patch_live(resource, &live, patch, options).await {
                Err(error) if error.is_conflict() && attempt < limits::CONFLICT_RETRIES => attempt += 1,
                other => return Ok(other?),
            }
        }
    }

    /// Patches an object as it was read: refused if it changed since.
    pub(crate) async fn patch_live(
        &self,
        resource: &ResourceRef,
        live: &Object,
        mut patch: Value,
        options: WriteOptions,
    ) -> Result<Changed, ClientError> {
        if patch.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(Changed {
                object: live.clone(),
                changed: false,
                warnings: Vec::new(),
            });
        }
        patch["metadata"]["resourceVersion"] = Value::from(live.resource_version());
        let item = self.merge_patch(resource, &patch, options).await?;
        let object = object_of(&item).map_err(|e| ClientError::Decode(format!("{e:#}")))?;
        // The server fills in defaults and brings values to one form: only it knows whether anything changed.
        let changed = if options.dry_run {
            !same_but_version(&object, live)
        } else {
            object.resource_version() != live.resource_version()
        };
        Ok(Changed {
            changed,
            object,
            warnings: item.warnings,
        })
    }
}

fn same_but_version(a: &Object, b: &Object) -> bool {
    let strip = |object: &Object| {
        let mut object = object.clone();
        for field in ["resourceVersion", "generation", "managedFields"] {
            object.remove_metadata(field);
        }
        object
    };
    strip(a) == strip(b)
}

/// What became of a change.
#[derive(Debug, Clone)]
pub(crate) struct Changed {
    /// The object now.
    pub(crate) object: Object,
    /// Whether it is another than before.
    pub(crate) changed: bool,
    /// The server's sentences for the user.
    pub(crate) warnings: Vec<String>,
}

/// The object of an answer.
pub(crate) fn object_of(item: &v1::Item) -> Result<Object> {
    let value: Value = serde_json::from_slice(&item.object).context("the server's answer is not JSON")?;
    Object::new(value).context("the server's answer is not an object")
}
