//! `/livez`, `/readyz` and `/healthz`: whether the server lives, and whether it can serve, in the words of Kubernetes.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};

use super::query::Query;
use crate::transport::Readiness;

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
        let ping = Check {
            name: "ping",
            outcome: Ok(()),
        };
        match self {
            Self::Live | Self::Health => vec![ping],
            Self::Ready => vec![
                ping,
                Check {
                    name: "store",
                    outcome: readiness(),
                },
            ],
        }
    }
}

/// Answers a probe: `/readyz`, `/readyz?verbose`, `/readyz?exclude=store`, `/readyz/store`.
pub(in super::super) fn probe(probe: Probe, uri: &Uri, readiness: &Readiness) -> Response {
    let query = Query::parse(uri.query().unwrap_or_default()).unwrap_or_default();
    let mut checks = probe.checks(readiness);
    let one = uri.path().trim_matches('/').split_once('/').map(|(_, name)| name);
    if let Some(name) = one {
        checks.retain(|check| check.name == name);
        if checks.is_empty() {
            return (StatusCode::NOT_FOUND, format!("there is no check {name:?}\n")).into_response();
        }
    }
    checks.retain(|check| !query.all("exclude").iter().any(|name| name == check.name));
    let failed = checks.iter().find_map(|check| check.outcome.as_ref().err());
    let code = if failed.is_some() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let body = match (failed, query.find("verbose")) {
        (None, None) => "ok".to_owned(),
        (Some(why), None) => format!("not ready: {why}"),
        (_, Some(_)) => verbose(probe, &checks),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (code, headers, body).into_response()
}

fn verbose(probe: Probe, checks: &[Check]) -> String {
    let mut lines = String::new();
    for check in checks {
        lines += &match &check.outcome {
            Ok(()) => format!("[+]{} ok\n", check.name),
            Err(why) => format!("[-]{} failed: {why}\n", check.name),
        };
    }
    let is_good = checks.iter().all(|check| check.outcome.is_ok());
    let outcome = if is_good { "passed" } else { "failed" };
    lines + &format!("{} check {outcome}\n", probe.path())
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
            (Ready, "/readyz", false, 503, "not ready: no leader"),
            (Ready, "/readyz?exclude=store", false, 200, "ok"),
            (Ready, "/readyz/ping", false, 200, "ok"),
            (Ready, "/readyz/store", false, 503, "not ready: no leader"),
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
                503,
                "[+]ping ok\n[-]store failed: no leader\nreadyz check failed\n",
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
}
