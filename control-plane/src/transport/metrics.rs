//! `/metrics`: the page of numbers that Prometheus reads, for administrators.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::future::BoxFuture;
use http::{StatusCode, header};
use trireme_store::metrics::Page;

use super::Peer;
use crate::pipeline::{Identity, Role};

/// Makes the page.
pub type MetricsSource = Arc<dyn Fn() -> BoxFuture<'static, Page> + Send + Sync>;

/// Who may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsReaders {
    /// Whoever reaches the port. For a loopback address only.
    Anyone,
    /// Administrators, by their certificate.
    Admins,
}

/// The path, to be merged into what else answers on a port.
pub fn metrics_router(source: MetricsSource, readers: MetricsReaders) -> Router {
    Router::new().route("/metrics", get(show).with_state((source, readers)))
}

async fn show(State((source, readers)): State<(MetricsSource, MetricsReaders)>, request: Request) -> Response {
    if readers == MetricsReaders::Admins
        && let Err((status, why)) = check_admin(&request)
    {
        return (status, why).into_response();
    }
    let text = source().await.to_text();
    ([(header::CONTENT_TYPE, Page::CONTENT_TYPE)], text).into_response()
}

fn check_admin(request: &Request) -> Result<(), (StatusCode, &'static str)> {
    let peer = request.extensions().get::<Peer>();
    let identity = peer.and_then(|peer| Identity::authenticate(peer).ok());
    match identity.map(|identity| identity.role()) {
        Some(Role::Admin) => Ok(()),
        None | Some(Role::Anonymous) => Err((
            StatusCode::UNAUTHORIZED,
            "metrics are for administrators: come with an administrator's client certificate\n",
        )),
        Some(Role::Server | Role::Node | Role::System) => {
            Err((StatusCode::FORBIDDEN, "metrics are for administrators\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::pki::Subject;

    async fn ask(readers: MetricsReaders, subject: Option<Subject>) -> (u16, String) {
        let source: MetricsSource = Arc::new(|| async { Page::default() }.boxed());
        let mut request = Request::builder()
            .uri("/metrics")
            .body(Body::empty())
            .expect("a request");
        request.extensions_mut().insert(Peer::for_tests(subject));
        let answer = metrics_router(source, readers)
            .oneshot(request)
            .await
            .expect("an answer");
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (parts.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn only_administrators_read_it_where_they_can_be_told() {
        use MetricsReaders::{Admins, Anyone};
        assert_eq!(ask(Admins, Some(Subject::Admin)).await, (200, String::new()));
        let (status, why) = ask(Admins, None).await;
        assert_eq!(status, 401);
        assert!(why.contains("client certificate"), "{why}");
        for subject in [Subject::Server("s".to_owned()), Subject::Node("n".to_owned())] {
            assert_eq!(ask(Admins, Some(subject)).await.0, 403);
        }
        assert_eq!(ask(Anyone, None).await.0, 200);
    }
}
