//! The resource API over gRPC: every kind through one service.
//!
//! Each method reads as the pipeline does: raw request, permit, decoded object, registry, item.

mod discovery;
mod explain;
mod item;
pub(crate) mod logs;
mod watch_wire;
mod watching;

use std::sync::Arc;

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{BoxStream, Empty},
};
use tonic::{Request, Response, Status};
use trireme_logic::{object::ObjectKey, patch::PatchType};
use trireme_proto::v1::{
    self, CreateRequest, DeleteRequest, DeleteResponse, DiscoverRequest, DiscoverResponse, ExplainRequest,
    ExplainResponse, FieldValidation, GetRequest, Item, ListRequest, ListResponse, LogsChunk, LogsRequest,
    PatchRequest, ResourceRef, UpdateRequest, WatchEvent, WatchRequest, resources_server::Resources,
};

use trireme_store::lanes::carry;

pub use logs::LogSource;
pub use watch_wire::ResourcesRoute;

use self::item::Answer;
use crate::{
    limits,
    pipeline::{FieldManager, Identity, Permit, RawRequest, Validation, Verb, refuse_force},
    registry::{self, DeleteOptions, Propagation, ReadFrom, Registry, Selection},
    services::verbs::{self, Sent, WriteOptions, requested},
    status::ApiError,
    transport::Peer,
};

/// How large a request may be, in bytes. Beside the object it has a few names.
const MESSAGE_MAX_BYTES: usize = limits::REQUEST_MAX_BYTES + (64 << 10);

/// The service.
pub struct ResourcesService {
    registry: Arc<Registry>,
    logs: Arc<dyn LogSource>,
}

impl ResourcesService {
    /// The service on a registry; logs come from `logs`.
    #[must_use]
    pub fn new(registry: Arc<Registry>, logs: Arc<dyn LogSource>) -> Self {
        Self { registry, logs }
    }

    /// As it is added to the routes, with its limits.
    #[must_use]
    pub fn into_server(self) -> ResourcesRoute {
        ResourcesRoute::new(self)
    }

    /// Begins a watch, as a stream of frames.
    async fn begin_watch(
        &self,
        request: &Request<WatchRequest>,
    ) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let permit = permit(request, Verb::Watch, request.get_ref().resource.as_ref())?;
        Ok(watching::watch(&self.registry, &permit, request.get_ref()).await?)
    }

    fn answer(&self, encoding: i32, view: i32) -> Result<Answer, ApiError> {
        Answer::new(encoding, view, self.registry.environment().now())
    }

    async fn get_item(&self, permit: &Permit, request: &GetRequest) -> Result<Item, ApiError> {
        let answer = self.answer(request.encoding, request.view)?;
        let from = ReadFrom::parse(&request.resource_version)?;
        answer.outcome(&verbs::get(&self.registry, permit, from).await?, Vec::new())
    }

    async fn list_items(&self, permit: &Permit, request: ListRequest) -> Result<Response<ListResponse>, ApiError> {
        let (info, answer) = (requested(permit)?, self.answer(request.encoding, request.view)?);
        let list = registry::ListRequest {
            namespace: info.key().namespace.clone(),
            selection: Selection::parse(info.kind(), &request.label_selector, &request.field_selector)?,
            limit: usize::try_from(request.limit)
                .map_err(|_| ApiError::bad_request("the limit must not be negative"))?,
            continue_token: request.r#continue,
            from: ReadFrom::parse(&request.resource_version)?,
        };
        let page = self.registry.list(permit, info.ops(), &list).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for chunk in page.items.chunks(limits::ENCODE_CHUNK_ITEMS) {
            if !items.is_empty() {
                // Others have their turn on this thread.
                tokio::task::yield_now().await;
            }
            for stored in chunk {
                items.push(answer.item(stored)?);
            }
        }
        let mut response = Response::new(ListResponse {
            items,
            revision: page.revision,
            r#continue: page.continue_token,
            remaining_item_count: page.remaining,
            columns: answer.columns(info.kind()),
        });
        if let Some(room) = page.room {
            carry(&mut response, room);
        }
        Ok(response)
    }

    /// One object, with the room that it takes.
    fn single(&self, permit: &Permit, item: Item) -> Result<Response<Item>, ApiError> {
        let room = self.registry.room(permit, item.object.len())?;
        let mut response = Response::new(item);
        if let Some(room) = room {
            carry(&mut response, room);
        }
        Ok(response)
    }

    async fn create_item(&self, permit: &Permit, request: CreateRequest) -> Result<Item, ApiError> {
        let answer = self.answer(request.encoding, request.view)?;
        let (sent, options) = (
            sent(request.object, &answer),
            options(request.dry_run, request.field_validation)?,
        );
        let written = verbs::create(&self.registry, permit, sent, options).await?;
        answer.outcome(&written.outcome, written.warnings)
    }

    async fn update_item(&self, permit: &Permit, request: UpdateRequest) -> Result<Item, ApiError> {
        let answer = self.answer(request.encoding, request.view)?;
        let (sent, options) = (
            sent(request.object, &answer),
            options(request.dry_run, request.field_validation)?,
        );
        let written = verbs::update(&self.registry, permit, sent, options).await?;
        answer.outcome(&written.outcome, written.warnings)
    }

    async fn patch_item(&self, permit: &Permit, request: PatchRequest) -> Result<Item, ApiError> {
        let answer = self.answer(request.encoding, request.view)?;
        let patch_type = match v1::PatchType::try_from(request.patch_type) {
            Ok(v1::PatchType::Merge) => PatchType::Merge,
            Ok(v1::PatchType::Json) => PatchType::Json,
            Ok(v1::PatchType::StrategicMerge) => PatchType::StrategicMerge,
            Ok(v1::PatchType::Apply) => return self.apply_item(permit, request).await,
            Err(_) => return Err(unknown("patch type", request.patch_type)),
        };
        refuse_force(request.force)?;
        let options = options(request.dry_run, request.field_validation)?;
        let written = verbs::patch(&self.registry, permit, patch_type, request.patch, options).await?;
        answer.outcome(&written.outcome, written.warnings)
    }

    async fn apply_item(&self, permit: &Permit, request: PatchRequest) -> Result<Item, ApiError> {
        let answer = self.answer(request.encoding, request.view)?;
        let options = options(request.dry_run, request.field_validation)?;
        let (written, _) = verbs::apply(&self.registry, permit, request.patch, request.force, options).await?;
        answer.outcome(&written.outcome, written.warnings)
    }

    async fn delete_item(&self, permit: &Permit, request: DeleteRequest) -> Result<DeleteResponse, ApiError> {
        let answer = self.answer(request.encoding, v1::View::Object as i32)?;
        let propagation = match v1::PropagationPolicy::try_from(request.propagation_policy) {
            Ok(v1::PropagationPolicy::Background) => Propagation::Background,
            Ok(v1::PropagationPolicy::Foreground) => Propagation::Foreground,
            Ok(v1::PropagationPolicy::Orphan) => Propagation::Orphan,
            Err(_) => return Err(unknown("propagation policy", request.propagation_policy)),
        };
        let options = DeleteOptions {
            grace_period_seconds: request.grace_period_seconds,
            propagation,
            uid: request.precondition_uid,
            resource_version: request.precondition_resource_version,
            dry_run: request.dry_run,
        };
        let deleted = verbs::delete(&self.registry, permit, &options).await?;
        Ok(DeleteResponse {
            item: Some(answer.item(&deleted.stored)?),
            gone: deleted.gone,
        })
    }
}

/// The first three steps: from a message to its permit.
fn permit<T>(request: &Request<T>, verb: Verb, resource: Option<&ResourceRef>) -> Result<Permit, ApiError> {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.ok_or_else(|| ApiError::unauthorized("the connection has no identity"))?;
    let resource = resource.ok_or_else(|| ApiError::bad_request("the request names no resource"))?;
    Permit::request(&RawRequest { peer, verb, resource })
}

/// The same for a change, whose fields somebody comes to own.
fn permit_of_change<T>(
    request: &Request<T>,
    verb: Verb,
    resource: Option<&ResourceRef>,
    field_manager: &str,
) -> Result<Permit, ApiError> {
    let user_agent = request.metadata().get("user-agent");
    let user_agent = user_agent.and_then(|name| name.to_str().ok()).unwrap_or_default();
    let manager = FieldManager::of_request(field_manager, user_agent)?;
    Ok(permit(request, verb, resource)?.managed_by(manager))
}

/// What a request sends, in the form in which it wants its answer.
fn sent(body: Bytes, answer: &Answer) -> Sent {
    let encoding = answer.encoding();
    Sent { body, encoding }
}

fn options(dry_run: bool, field_validation: i32) -> Result<WriteOptions, ApiError> {
    let validation = validation(field_validation)?;
    Ok(WriteOptions { dry_run, validation })
}

fn validation(value: i32) -> Result<Validation, ApiError> {
    match FieldValidation::try_from(value) {
        Ok(FieldValidation::Warn) => Ok(Validation::Warn),
        Ok(FieldValidation::Strict) => Ok(Validation::Strict),
        Ok(FieldValidation::Ignore) => Ok(Validation::Ignore),
        Err(_) => Err(unknown("field validation", value)),
    }
}

fn unknown(what: &str, value: i32) -> ApiError {
    ApiError::bad_request(format!("{value} is not a {what} that this server knows"))
}

#[tonic::async_trait]
impl Resources for ResourcesService {
    async fn discover(&self, request: Request<DiscoverRequest>) -> Result<Response<DiscoverResponse>, Status> {
        Identity::of_request(&request)?;
        Ok(Response::new(discovery::discover()))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        Identity::of_request(&request)?;
        Ok(Response::new(explain::explain(request.get_ref())?))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Item>, Status> {
        let permit = permit(&request, Verb::Get, request.get_ref().resource.as_ref())?;
        let item = self.get_item(&permit, request.get_ref()).await?;
        Ok(self.single(&permit, item)?)
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let permit = permit(&request, Verb::List, request.get_ref().resource.as_ref())?;
        Ok(self.list_items(&permit, request.into_inner()).await?)
    }

    type WatchStream = Empty<Result<WatchEvent, Status>>;

    /// Never called: [`ResourcesRoute`] answers watches.
    async fn watch(&self, _request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("a watch came to where none is answered"))
    }

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<Item>, Status> {
        let change = request.get_ref();
        let permit = permit_of_change(&request, Verb::Create, change.resource.as_ref(), &change.field_manager)?;
        Ok(Response::new(self.create_item(&permit, request.into_inner()).await?))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<Item>, Status> {
        let change = request.get_ref();
        let permit = permit_of_change(&request, Verb::Update, change.resource.as_ref(), &change.field_manager)?;
        Ok(Response::new(self.update_item(&permit, request.into_inner()).await?))
    }

    async fn patch(&self, request: Request<PatchRequest>) -> Result<Response<Item>, Status> {
        let change = request.get_ref();
        let permit = permit_of_change(&request, Verb::Patch, change.resource.as_ref(), &change.field_manager)?;
        Ok(Response::new(self.patch_item(&permit, request.into_inner()).await?))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let permit = permit(&request, Verb::Delete, request.get_ref().resource.as_ref())?;
        Ok(Response::new(self.delete_item(&permit, request.into_inner()).await?))
    }

    type LogsStream = BoxStream<'static, Result<LogsChunk, Status>>;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let wanted = request.get_ref();
        let pod = ResourceRef {
            resource: "pods".to_owned(),
            namespace: wanted.namespace.clone(),
            name: wanted.pod.clone(),
            subresource: "log".to_owned(),
            ..ResourceRef::default()
        };
        let permit = permit(&request, Verb::Get, Some(&pod))?;
        let key = ObjectKey::new(wanted.namespace.as_str(), wanted.pod.as_str());
        let stream = logs::logs(&self.registry, &*self.logs, &permit, &key, request.into_inner()).await?;
        Ok(Response::new(stream.map(|chunk| chunk.map_err(Status::from)).boxed()))
    }
}
