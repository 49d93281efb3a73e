//! `/livez`, `/readyz` and `/healthz`: whether the server lives, and whether it can serve, in the words of Kubernetes.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};

use super::query::Query;
use crate::transport::Readiness;

/// The check of whether this server can read and write.
const STORE: &str = "store";

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Probe {
    /// The process answers.
    Live,
    /// It answers; the older name.
    Health,
    /// It can serve.
    Ready,
}

/// One thing that is looked at.
struct Check {
    name: &'static str,
    outcome: Result<(), String>,
}

impl Probe {
    fn path(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Health => "healthz",
            Self::Ready => "readyz",
        }
    }

    fn checks(self, readiness: &Readiness) -> Vec<Check> {
        let ping = Check::of("ping", Ok(()));
        match self {
            Self::Live | Self::Health => vec![ping],
            Self::Ready => vec![ping, Check::of(STORE, readiness())],
        }
    }
}

impl Check {
    fn of(name: &'static str, outcome: Result<(), String>) -> Self {
        Self { name, outcome }
    }
}

/// Answers a probe: `/readyz`, `/readyz?verbose`, `/readyz?exclude=store`, `/readyz/store`.
pub(in super::super) fn probe(probe: Probe, uri: &Uri, readiness: &Readiness) -> Response {
    answer(probe, uri, probe.checks(readiness))
}

/// Answers a probe of a server that does not serve, and says why.
pub(in super::super) fn failing_probe(probe: Probe, uri: &Uri, why: &str) -> Response {
    let checks = vec![Check::of("ping", Ok(())), Check::of(STORE, Err(why.to_owned()))];
    answer(probe, uri, checks)
}

fn answer(probe: Probe, uri: &Uri, mut checks: Vec<Check>) -> Response {
    let query = Query::parse(uri.query().unwrap_or_default()).unwrap_or_default();
    let one = uri.path().trim_matches('/').split_once('/').map(|(_, name)| name);
    if let Some(name) = one {
        checks.retain(|check| check.name == name);
        let Some(check) = checks.pop() else {
            return (StatusCode::NOT_FOUND, format!("there is no check {name:?}\n")).into_response();
        };
        return match check.outcome {
            Ok(()) => said(StatusCode::OK, "ok".to_owned()),
            Err(why) => said(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("internal server error: {why}\n"),
            ),
        };
    }
    let (is_good, lines) = looked_at(&checks, query.all("exclude"));
    let path = probe.path();
    match (is_good, query.find("verbose")) {
        (true, None) => said(StatusCode::OK, "ok".to_owned()),
        (true, Some(_)) => said(StatusCode::OK, format!("{lines}{path} check passed\n")),
        // Whoever is told no is told why.
        (false, _) => said(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("{lines}{path} check failed\n"),
        ),
    }
}

/// Whether all is well, but for what is left out; and a line for each check.
fn looked_at(checks: &[Check], excluded: &[String]) -> (bool, String) {
    let (mut is_good, mut lines) = (true, String::new());
    for check in checks {
        lines += &match &check.outcome {
            _ if excluded.iter().any(|name| name == check.name) => format!("[+]{} excluded: ok\n", check.name),
            Ok(()) => format!("[+]{} ok\n", check.name),
            Err(why) => {
                is_good = false;
                format!("[-]{} failed: {why}\n", check.name)
            }
        };
    }
    (is_good, lines)
}

fn said(code: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (code, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;

    async fn ask(which: Probe, target: &str, is_ready: bool) -> (u16, String) {
        let readiness: Readiness = Arc::new(move || if is_ready { Ok(()) } else { Err("no leader".to_owned()) });
        let response = probe(which, &target.parse().expect("a target"), &readiness);
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (code, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn probes_say_what_is_wrong() {
        use Probe::{Health, Live, Ready};
        for (which, target, is_ready, code, body) in [
            (Live, "/livez", false, 200, "ok"),
            (Health, "/healthz", false, 200, "ok"),
            (Ready, "/readyz", true, 200, "ok"),
            (
                Ready,
                "/readyz",
                false,
                500,
                "[+]ping ok\n[-]store failed: no leader\nreadyz check failed\n",
            ),
            (Ready, "/readyz?exclude=store", false, 200, "ok"),
            (Ready, "/readyz/ping", false, 200, "ok"),
            (Ready, "/readyz/store", false, 500, "internal server error: no leader\n"),
            (Ready, "/readyz/store", true, 200, "ok"),
            (Ready, "/readyz/oars", true, 404, "there is no check \"oars\"\n"),
            (
                Ready,
                "/readyz?verbose",
                true,
                200,
                "[+]ping ok\n[+]store ok\nreadyz check passed\n",
            ),
            (
                Ready,
                "/readyz?verbose",
                false,
                500,
                "[+]ping ok\n[-]store failed: no leader\nreadyz check failed\n",
            ),
            (
                Ready,
                "/readyz?verbose&exclude=store",
                false,
                200,
                "[+]ping ok\n[+]store excluded: ok\nreadyz check passed\n",
            ),
            (
                Live,
                "/livez?verbose=true",
                true,
                200,
                "[+]ping ok\nlivez check passed\n",
            ),
        ] {
            assert_eq!(ask(which, target, is_ready).await, (code, body.to_owned()), "{target}");
        }
    }

    #[tokio::test]
    async fn a_server_that_does_not_serve_says_why() {
        let response = failing_probe(Probe::Health, &Uri::from_static("/healthz"), "it is damaged");
        assert_eq!(response.status(), 500);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(
            String::from_utf8_lossy(&body),
            "[+]ping ok\n[-]store failed: it is damaged\nhealthz check failed\n"
        );
    }
}
