//! The Kubernetes API over REST: the second door to the one pipeline.
//!
//! A request goes the way that gRPC's goes: raw request, permit, decoded object, registry. Here are only the two ends, as HTTP
//! has them: paths, parameters and media types on the one, lists, tables, frames and `Status` objects on the other. What each
//! verb does is in [`services::verbs`](crate::services::verbs), for both doors.

mod answer;
mod body;
mod envelope;
mod form;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod health;
mod list;
mod logs;
mod negotiate;
mod path;
mod pretty;
mod query;
mod table;
mod verb;
mod watch;
mod writes;
mod yaml;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{Method, StatusCode, header, request::Parts};
use trireme_logic::kinds;
use trireme_proto::v1::ResourceRef;

pub(super) use self::health::{Probe, failing_probe, probe};
use self::{
    answer::{Wishes, failure, text},
    form::{Form, Include, Shown},
    negotiate::{Accepted, AnswerOf, Format},
    path::Place,
    query::{ListOptions, Query, WatchOptions},
};
use super::Peer;
use crate::{
    pipeline::{FieldManager, Identity, Permit, RawRequest, Role, Subresource, Verb},
    registry::{ListRequest, ReadFrom, Registry, Selection},
    services::{
        resources::LogSource,
        verbs::{self, Outcome, requested},
    },
    status::ApiError,
};

/// What the REST interface serves from.
pub struct RestService {
    registry: Arc<Registry>,
    logs: Arc<dyn LogSource>,
}

/// A request that may be carried out.
struct Asked<'a> {
    parts: &'a Parts,
    query: Query,
    permit: Permit,
    wishes: Wishes,
}

impl RestService {
    /// The interface to a registry; logs come from `logs`.
    #[must_use]
    pub fn new(registry: Arc<Registry>, logs: Arc<dyn LogSource>) -> Arc<Self> {
        Arc::new(Self { registry, logs })
    }

    async fn answer(&self, parts: &Parts, body: &mut axum::body::Body) -> Result<Response, ApiError> {
        let peer = known_peer(parts)?;
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        let not_found = || ApiError::not_found_other("the server could not find the requested resource");
        let place = Place::parse(parts.uri.path()).ok_or_else(not_found)?;
        let wishes = Wishes::of(parts, &query);
        if is_bindings(&place.resource) {
            return self.bind_named(peer, parts, &query, place.resource, body).await;
        }
        let ResourceRef {
            group,
            version,
            resource,
            namespace,
            name,
            subresource: _,
        } = &place.resource;
        if let Some(review) = kinds::review_by_resource(group, version, resource).filter(|_| name.is_empty()) {
            return self.review(peer, parts, &query, (review, namespace), body).await;
        }
        let verb = verb::verb_of(&parts.method, &place, &query)?;
        let permit = Permit::request(&RawRequest {
            peer,
            verb,
            resource: &place.resource,
        })?;
        let user_agent = text(&parts.headers, header::USER_AGENT);
        let permit = match FieldManager::of_request(query.get("fieldManager"), &user_agent) {
            Ok(manager) => permit.managed_by(manager),
            // The options of a write say so in their own words.
            Err(_) => permit,
        };
        let asked = Asked {
            parts,
            query,
            permit,
            wishes,
        };
        match verb {
            Verb::Get => self.get(&asked).await,
            Verb::List => self.list(&asked).await,
            Verb::Watch => self.watch(&asked).await,
            Verb::Create => self.create(&asked, body).await,
            Verb::Update => self.update(&asked, body).await,
            Verb::Patch => self.patch(&asked, body).await,
            Verb::Delete => self.delete(&asked, body).await,
            Verb::DeleteCollection => self.delete_collection(&asked, body).await,
        }
    }

    async fn get(&self, asked: &Asked<'_>) -> Result<Response, ApiError> {
        if requested(&asked.permit)?.subresource() == Subresource::Log {
            return logs::logs_answer(&self.registry, &*self.logs, &asked.permit, &asked.query).await;
        }
        let form = self.form(asked, AnswerOf::One)?;
        let from = ReadFrom::parse(asked.query.get("resourceVersion"))?;
        let outcome = verbs::get(&self.registry, &asked.permit, from).await?;
        self.shown(asked, &form, StatusCode::OK, &outcome)
    }

    async fn list(&self, asked: &Asked<'_>) -> Result<Response, ApiError> {
        let form = self.form(asked, AnswerOf::Range)?;
        let format = form.accepted.format;
        let request = list_request(asked, ListOptions::of_list(&asked.query)?)?;
        let ops = requested(&asked.permit)?.ops();
        let list = self.registry.list_in_slices(&asked.permit, ops, &request)?;
        let pieces = list::pieces(list, &asked.permit, request.limit, form).await?;
        asked.wishes.in_pieces(format, pieces).await
    }

    async fn watch(&self, asked: &Asked<'_>) -> Result<Response, ApiError> {
        let form = self.form(asked, AnswerOf::Events)?;
        let format = form.accepted.format;
        let options = WatchOptions::parse(&asked.query)?;
        let selection = list_request(asked, ListOptions::selectors(&asked.query))?.selection;
        let pieces = watch::pieces(&self.registry, &asked.permit, selection, &options, form).await?;
        Ok(answer::events(format, pieces))
    }

    fn form(&self, asked: &Asked<'_>, of: AnswerOf) -> Result<Form, ApiError> {
        Ok(Form {
            accepted: Accepted::negotiate(&text(&asked.parts.headers, header::ACCEPT), of)?,
            include: Include::parse(&asked.query)?,
            now: self.registry.environment().now(),
        })
    }

    /// An answer of one object, with the room that it takes.
    fn shown(&self, asked: &Asked<'_>, form: &Form, code: StatusCode, outcome: &Outcome) -> Result<Response, ApiError> {
        let body = form.whole(Shown::from(outcome), true)?;
        let room = self.registry.room(&asked.permit, body.len())?;
        let mut response = asked.wishes.whole(code, form.accepted.format, body)?;
        if let Some(room) = room {
            trireme_store::lanes::carry_http(&mut response, room);
        }
        Ok(response)
    }
}

/// Everything that is not gRPC and has no route of its own.
pub(super) async fn serve(State(rest): State<Arc<RestService>>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let answer = rest.answer(&parts, &mut body).await;
    body::discard(body);
    answer.unwrap_or_else(|error| failure(&parts, &error))
}

/// The other end of a connection, if it has said who it is.
fn known_peer(parts: &Parts) -> Result<&Peer, ApiError> {
    let peer = parts.extensions.get::<Peer>();
    let peer = peer.ok_or_else(|| ApiError::unauthorized("the connection has no identity"))?;
    match Identity::authenticate(peer)?.role() {
        Role::Anonymous => Err(ApiError::unauthorized("Unauthorized")),
        Role::Admin | Role::Server | Role::Node | Role::System => Ok(peer),
    }
}

fn list_request(asked: &Asked<'_>, options: ListOptions) -> Result<ListRequest, ApiError> {
    let info = requested(&asked.permit)?;
    Ok(ListRequest {
        namespace: info.key().namespace.clone(),
        selection: Selection::parse(info.kind(), &options.label_selector, &options.field_selector)?,
        limit: options.limit,
        continue_token: options.continue_token,
        from: options.from,
    })
}

/// The old way to bind a pod: a `Binding` that is created by itself, named like its pod.
fn is_bindings(resource: &ResourceRef) -> bool {
    let ResourceRef {
        group,
        version,
        resource,
        name,
        ..
    } = resource;
    (group.as_str(), version.as_str(), resource.as_str(), name.as_str()) == ("", "v1", "bindings", "")
        && kinds::by_resource("", "v1", "bindings").is_none()
}

/// What was sent with a request, by its media type.
fn body_format(parts: &Parts) -> Result<Format, ApiError> {
    let coding = text(&parts.headers, header::CONTENT_ENCODING);
    if !matches!(coding.as_str(), "" | "identity") {
        return Err(ApiError::unsupported_media_type(&["identity"]));
    }
    Format::of_body(&text(&parts.headers, header::CONTENT_TYPE))
}

fn require_post(method: &Method) -> Result<(), ApiError> {
    if *method == Method::POST {
        Ok(())
    } else {
        Err(verb::not_allowed())
    }
}

/// What an envelope holds.
#[cfg(test)]
pub(super) fn unwrapped_for_tests(body: &[u8]) -> bytes::Bytes {
    envelope::unwrap(&bytes::Bytes::copy_from_slice(body))
        .expect("an envelope")
        .raw
}

/// The events of a stream in protobuf: type, kind and bytes of each.
#[cfg(test)]
pub(super) fn events_for_tests(stream: &[u8]) -> Vec<(String, String, bytes::Bytes)> {
    envelope::testing::events(stream)
}
