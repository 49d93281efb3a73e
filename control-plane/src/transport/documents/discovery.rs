//! `/`, `/api`, `/apis`, and a path below them for each group and version.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use bytes::Bytes;
use http::{HeaderValue, header, uri::Authority};
use prost::Message;
use serde::Serialize;
use trireme_logic::{
    discovery::{
        AggregatedVersion, Group, Typed, aggregated, api_group, api_group_list, api_resource_list, api_versions,
        groups, root_paths,
    },
    kinds::served,
};

use super::{
    accept::{Form, choose},
    not_acceptable,
    stored::Stored,
};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The forms of the older documents. Every JSON text is YAML, too.
const OLDER: &[Form] = &[Form::plain(JSON), Form::plain(YAML), Form::plain(PROTOBUF)];

/// The forms of `/api` and `/apis`.
const FORMS: &[Form] = &[
    Form::plain(JSON),
    Form::plain(YAML),
    Form::plain(PROTOBUF),
    aggregated_form(JSON, "v2"),
    aggregated_form(JSON, "v2beta1"),
    aggregated_form(PROTOBUF, "v2"),
    aggregated_form(PROTOBUF, "v2beta1"),
];

/// How long aggregated documents may be kept: for as long as the client asks again whether they are still true.
const CACHE: &str = "public";

const fn aggregated_form(media_type: &'static str, aggregated: &'static str) -> Form {
    Form { media_type, aggregated }
}

/// One of the older documents.
struct Older {
    json: Bytes,
    protobuf: Bytes,
}

impl Older {
    fn new<T: Message + Serialize>(document: &Typed<T>) -> Self {
        Self {
            json: document.to_json().into(),
            protobuf: document.to_protobuf().into(),
        }
    }

    fn answer(&self, media_type: &'static str) -> Response {
        let body = if media_type == PROTOBUF {
            &self.protobuf
        } else {
            &self.json
        };
        with_type(body.clone(), media_type)
    }
}

/// The newer documents of one path, in all their forms.
struct Aggregated(Vec<(Form, &'static str, Stored)>);

impl Aggregated {
    fn new(groups: &[Group], core: bool) -> Self {
        let mut all = Vec::new();
        for version in AggregatedVersion::ALL {
            let document = aggregated(groups, core, version);
            let (json_type, protobuf_type) = match version {
                AggregatedVersion::V2 => (
                    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                    "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                ),
                AggregatedVersion::V2Beta1 => (
                    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
                    "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
                ),
            };
            let json = Stored::new(&document.to_json());
            let protobuf = Stored::new(&document.to_protobuf());
            all.push((aggregated_form(JSON, version.name()), json_type, json));
            all.push((aggregated_form(PROTOBUF, version.name()), protobuf_type, protobuf));
        }
        Self(all)
    }

    fn answer(&self, form: Form, request: &Request) -> Option<Response> {
        let (_, content_type, stored) = self.0.iter().find(|(of, ..)| *of == form)?;
        Some(stored.answer(request.headers(), content_type, CACHE))
    }
}

static CORE: LazyLock<Aggregated> = LazyLock::new(|| Aggregated::new(&groups(&served()), true));
static NAMED: LazyLock<Aggregated> = LazyLock::new(|| Aggregated::new(&groups(&served()), false));

/// The paths.
pub(super) fn router() -> Router {
    let groups = groups(&served());
    let root = Bytes::from(serde_json::to_vec_pretty(&root_paths(&groups)).unwrap_or_default());
    let list = Arc::new(Older::new(&api_group_list(&groups)));
    let named = get(move |request: Request| async move {
        negotiated(&request, &NAMED).unwrap_or_else(|form| list.answer(form.media_type))
    });
    let core = get(|request: Request| async move {
        negotiated(&request, &CORE).unwrap_or_else(|form| {
            let document = api_versions(&trireme_logic::discovery::groups(&served()), &server_address(&request));
            Older::new(&document).answer(form.media_type)
        })
    });
    let mut router = Router::new()
        .route("/", get(move || async move { with_type(root, JSON) }))
        .route("/api", core.clone())
        .route("/api/", core)
        .route("/apis", named.clone())
        .route("/apis/", named);
    for group in &groups {
        if !group.name.is_empty() {
            let document = Older::new(&api_group(group));
            router = with_and_without_slash(router, &format!("/apis/{}", group.name), document);
        }
        for version in &group.versions {
            let document = Older::new(&api_resource_list(version));
            router = with_and_without_slash(router, &version.path(), document);
        }
    }
    router
}

/// Generated clients ask with a slash at the end, and everybody else without.
fn with_and_without_slash(router: Router, path: &str, document: Older) -> Router {
    let document = older(document);
    router
        .route(path, document.clone())
        .route(&format!("{path}/"), document)
}

/// Gives one of the older documents.
fn older(document: Older) -> MethodRouter {
    let document = Arc::new(document);
    get(move |request: Request| async move {
        match choose(request.headers(), OLDER) {
            Some(form) => document.answer(form.media_type),
            None => not_acceptable(&[JSON, YAML, PROTOBUF]),
        }
    })
}

/// The answer of `/api` or `/apis`, unless it is to be one of the older documents: then its form.
fn negotiated(request: &Request, newer: &Aggregated) -> Result<Response, Form> {
    let Some(form) = choose(request.headers(), FORMS) else {
        return Ok(not_acceptable(&[JSON, YAML, PROTOBUF]));
    };
    newer.answer(*form, request).ok_or(*form)
}

/// Under which address the client reached this server, as it says itself.
fn server_address(request: &Request) -> String {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = request.uri().authority().cloned().or(host);
    authority.map(|authority| authority.to_string()).unwrap_or_default()
}

fn with_type(body: Bytes, media_type: &'static str) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
