//! Headers of requests as text. Pure.

use http::{HeaderMap, header::HeaderName};

/// The text of a header that may be given several times; empty if it is not there or no text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> String {
    let all: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    all.join(",")
}
