//! The documents that describe the API: which groups, versions and resources there are, and what their objects look
//! like. They follow from the list of kinds and never change while the program runs.
//!
//! What they say is decided in `trireme_logic::discovery` and `trireme_logic::openapi`; here they are negotiated,
//! compressed and cached. Each is made when it is first asked for.

mod accept;
mod discovery;
mod openapi;
mod stored;

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use trireme_proto::api::meta::v1::Status;

use super::Peer;
use crate::{
    pipeline::{Identity, Role},
    status::ApiError,
};

/// The paths of the documents: `/`, `/api`, `/apis`, one below them for each group and version, and `/openapi`.
///
/// Groups and versions have routes of their own rather than a pattern, so that what else is served below `/api` and
/// `/apis` may have any pattern.
pub(crate) fn router() -> Router {
    discovery::router()
        .merge(openapi::router())
        .route_layer(middleware::from_fn(check_identity))
}

/// The documents are for everybody whom the cluster knows.
async fn check_identity(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>();
    let identity = peer.map_or_else(
        || Err(ApiError::unauthorized("the connection has no identity")),
        Identity::authenticate,
    );
    let refused = match identity {
        Ok(identity) if identity.role() == Role::Anonymous => ApiError::forbidden(format!(
            "forbidden: User {:?} cannot get path {:?}",
            identity.name(),
            request.uri().path()
        )),
        Ok(_) => return next.run(request).await,
        Err(error) => error,
    };
    refusal(&refused)
}

/// Says why a request is refused.
fn refusal(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.reason().http_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    status_answer(status, &error.to_status())
}

/// Nothing that the client accepts can be given.
fn not_acceptable(offered: &[&str]) -> Response {
    let status = Status {
        status: "Failure".to_owned(),
        message: format!("only the following media types are accepted: {}", offered.join(", ")),
        reason: "NotAcceptable".to_owned(),
        code: i32::from(StatusCode::NOT_ACCEPTABLE.as_u16()),
        ..Status::default()
    };
    status_answer(StatusCode::NOT_ACCEPTABLE, &status)
}

fn status_answer(code: StatusCode, status: &Status) -> Response {
    let body = trireme_proto::json::encode(status).unwrap_or_default();
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests;
