//! `/openapi/v2` and `/openapi/v3`.
//!
//! The documents are large and most servers are never asked for them, so each version is made when it is first asked
//! for, on a thread that may take its time, and kept compressed only. With 15 kinds version 2 is 350 KB of JSON and 270 KB
//! of protobuf, of which 70 KB are kept; version 3 is 65 KB compressed. Each takes about a tenth of a second to make where
//! nothing is optimised.

use std::{collections::BTreeMap, sync::OnceLock};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use prost::Message;
use serde_json::{Value, json};
use trireme_logic::{
    discovery::groups,
    kinds::served,
    openapi::{About, gnostic, v2_document, v3_document, v3_paths},
};

use super::{
    accept::{Form, choose},
    not_acceptable, refusal,
    stored::Stored,
};
use crate::{VERSION, status::ApiError};

const ABOUT: About<'static> = About {
    title: "Trireme",
    version: VERSION,
};

const JSON: &str = "application/json";

/// The protobuf form of version 2, as older and newer clients ask for it. Answers bear the second name, since the first
/// is no valid media type.
const V2_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

const V2_FORMS: &[Form] = &[
    Form::plain(JSON),
    Form::plain(V2_PROTOBUF[0]),
    Form::plain(V2_PROTOBUF[1]),
];

const V3_FORMS: &[Form] = &[Form::plain(JSON)];

/// Clients ask again whether the document is still true.
const CACHE: &str = "no-cache, private";

/// A document that is named with its hash never changes. One year, in seconds, is the most that caches are to be told.
const CACHE_FOREVER: &str = "public, immutable, max-age=31536000";

/// Version 2.
struct V2 {
    json: Stored,
    protobuf: Stored,
}

/// Version 3.
struct V3 {
    /// Which documents there are.
    index: Stored,
    /// The documents, by their paths.
    documents: BTreeMap<String, Stored>,
}

static V2: OnceLock<V2> = OnceLock::new();
static V3: OnceLock<V3> = OnceLock::new();

impl V2 {
    fn build() -> Self {
        let document = v2_document(&groups(&served()), ABOUT);
        Self {
            protobuf: Stored::new(&gnostic::document(&document).encode_to_vec()),
            json: stored(&document),
        }
    }
}

impl V3 {
    fn build() -> Self {
        let groups = groups(&served());
        let of_path = |path: String| {
            let document = v3_document(&groups, &path, ABOUT)?;
            Some((path, stored(&document)))
        };
        let documents: BTreeMap<_, _> = v3_paths(&groups).into_iter().filter_map(of_path).collect();
        let paths: serde_json::Map<String, Value> = documents
            .iter()
            .map(|(path, document)| (path.clone(), json!({"serverRelativeURL": url(path, document)})))
            .collect();
        Self {
            index: stored(&json!({"paths": paths})),
            documents,
        }
    }
}

/// The paths.
pub(super) fn router() -> Router {
    Router::new()
        .route("/openapi/v2", get(version_2))
        .route("/openapi/v3", get(index))
        .route("/openapi/v3/", get(index))
        .route("/openapi/v3/{*path}", get(version_3))
}

async fn version_2(request: Request) -> Response {
    let Some(form) = choose(request.headers(), V2_FORMS) else {
        return not_acceptable(&V2_FORMS.iter().map(|form| form.media_type).collect::<Vec<_>>());
    };
    let v2 = made(&V2, V2::build).await;
    if form.media_type == JSON {
        v2.json.answer(request.headers(), JSON, CACHE)
    } else {
        v2.protobuf.answer(request.headers(), V2_PROTOBUF[1], CACHE)
    }
}

async fn index(request: Request) -> Response {
    made(&V3, V3::build).await.index.answer(request.headers(), JSON, CACHE)
}

async fn version_3(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches("/openapi/v3/");
    let Some(document) = made(&V3, V3::build).await.documents.get(path) else {
        return refusal(&ApiError::not_found_other(
            "the server could not find the requested resource",
        ));
    };
    if choose(request.headers(), V3_FORMS).is_none() {
        return not_acceptable(&[JSON]);
    }
    match hash(request.uri().query()) {
        None => document.answer(request.headers(), JSON, CACHE),
        Some(hash) if hash == document.hash() => document.answer(request.headers(), JSON, CACHE_FOREVER),
        Some(_) => moved(&url(path, document)),
    }
}

/// The hash that a client names in its query.
fn hash(query: Option<&str>) -> Option<&str> {
    let mut parameters = query?.split('&');
    parameters
        .find_map(|parameter| parameter.strip_prefix("hash="))
        .filter(|hash| !hash.is_empty())
}

/// Sends a client that knows an older document to the present one.
fn moved(to: &str) -> Response {
    let mut response = StatusCode::MOVED_PERMANENTLY.into_response();
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

fn url(path: &str, document: &Stored) -> String {
    format!("/openapi/v3/{path}?hash={}", document.hash())
}

fn stored(document: &Value) -> Stored {
    Stored::new(document.to_string().as_bytes())
}

/// What was made, or is made now. To make it takes some tens of milliseconds, for which no other request should wait.
async fn made<T: Send + Sync + 'static>(cell: &'static OnceLock<T>, build: fn() -> T) -> &'static T {
    match cell.get() {
        Some(made) => made,
        None => match tokio::task::spawn_blocking(move || cell.get_or_init(build)).await {
            Ok(made) => made,
            // Only when the runtime is about to end, so nobody waits behind this request any more.
            Err(_) => cell.get_or_init(build),
        },
    }
}
