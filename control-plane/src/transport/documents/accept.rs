//! Which of several forms of a document a client wants most.

use http::{HeaderMap, header};

use crate::limits;

/// A form in which a document can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Type without parameters, such as `application/json`.
    pub(super) media_type: &'static str,
    /// Version of the aggregated discovery document; empty for all other documents.
    pub(super) aggregated: &'static str,
}

impl Form {
    /// A form without parameters.
    pub(super) const fn plain(media_type: &'static str) -> Self {
        Self {
            media_type,
            aggregated: "",
        }
    }
}

/// One range of media types in `Accept`.
#[derive(Debug, Default)]
struct Clause<'a> {
    main: &'a str,
    sub: &'a str,
    /// In thousandths, so that it can be ordered.
    quality: u32,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

/// The form among `forms` that the client wants most; the first one if it says nothing. `None` if it accepts none.
pub(super) fn choose<'f>(headers: &HeaderMap, forms: &'f [Form]) -> Option<&'f Form> {
    let mut wanted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
        .take(limits::ACCEPT_CLAUSES_MAX)
        .peekable();
    if wanted.peek().is_none() {
        return forms.iter().find(|form| form.aggregated.is_empty());
    }
    let mut clauses: Vec<_> = wanted.map(parse).filter(|clause| clause.quality > 0).collect();
    // Stable: what is wanted equally much is taken in the client's order.
    clauses.sort_by_key(|clause| std::cmp::Reverse(clause.quality));
    clauses
        .iter()
        .find_map(|clause| forms.iter().find(|form| matches(clause, form)))
}

fn parse(text: &str) -> Clause<'_> {
    const WHOLE: u32 = 1_000;
    let mut parts = text.split(';').map(str::trim);
    let (main, sub) = parts.next().unwrap_or_default().split_once('/').unwrap_or_default();
    let mut clause = Clause {
        main,
        sub,
        quality: WHOLE,
        ..Clause::default()
    };
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim() {
            // What is no number counts as the most, as if it had not been said.
            "q" => clause.quality = value.trim().parse::<f32>().map_or(WHOLE, thousandths),
            "g" => clause.group = value.trim(),
            "v" => clause.version = value.trim(),
            "as" => clause.kind = value.trim(),
            _ => {}
        }
    }
    clause
}

/// A share from 0 to 1 in whole thousandths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is clamped to between 0 and 1000"
)]
fn thousandths(share: f32) -> u32 {
    (share.clamp(0.0, 1.0) * 1_000.0) as u32
}

fn matches(clause: &Clause<'_>, form: &Form) -> bool {
    let (main, sub) = form.media_type.split_once('/').unwrap_or_default();
    let of_type = matches!(clause.main, "*") || clause.main == main;
    let of_subtype = matches!(clause.sub, "*") || clause.sub == sub;
    let of_kind = if clause.kind.is_empty() {
        form.aggregated.is_empty()
    } else {
        clause.kind == "APIGroupDiscoveryList"
            && clause.group == "apidiscovery.k8s.io"
            && clause.version == form.aggregated
    };
    of_type && of_subtype && of_kind
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const FORMS: &[Form] = &[
        Form::plain("application/json"),
        Form::plain("application/vnd.kubernetes.protobuf"),
        Form {
            media_type: "application/json",
            aggregated: "v2",
        },
        Form {
            media_type: "application/json",
            aggregated: "v2beta1",
        },
    ];

    fn chosen(accept: &str) -> Option<(&'static str, &'static str)> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(accept).expect("a header");
        headers.insert(header::ACCEPT, value);
        choose(&headers, FORMS).map(|form| (form.media_type, form.aggregated))
    }

    #[test]
    fn clients_get_what_they_want_most() {
        let json = "application/json";
        let protobuf = "application/vnd.kubernetes.protobuf";
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        for (accept, expected) in [
            ("", Some((json, ""))),
            ("*/*", Some((json, ""))),
            ("application/*", Some((json, ""))),
            ("application/json, */*", Some((json, ""))),
            ("application/json;charset=utf-8", Some((json, ""))),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                Some((protobuf, "")),
            ),
            (
                "application/vnd.kubernetes.protobuf;q=0.5,application/json",
                Some((json, "")),
            ),
            ("application/json;q=0, */*", Some((json, ""))),
            ("text/html", None),
            ("text/html, */*;q=0.1", Some((json, ""))),
            ("application/json;q=0", None),
            (v2, Some((json, "v2"))),
            (beta, Some((json, "v2beta1"))),
            (&format!("{v2},{beta},{json}"), Some((json, "v2"))),
            (&format!("{beta},{json}"), Some((json, "v2beta1"))),
            (&format!("{},{json}", v2.replace("v2", "v3")), Some((json, ""))),
            ("application/json;g=meta.k8s.io;v=v1;as=Table", None),
            ("rubbish", None),
        ] {
            assert_eq!(chosen(accept), expected, "{accept}");
        }
        assert_eq!(choose(&HeaderMap::new(), FORMS).map(|form| form.media_type), Some(json));
    }

    #[test]
    fn only_the_first_clauses_count() {
        let many = |count: usize| format!("{}application/json", "text/html,".repeat(count));
        assert!(chosen(&many(limits::ACCEPT_CLAUSES_MAX - 1)).is_some());
        assert!(chosen(&many(limits::ACCEPT_CLAUSES_MAX)).is_none());
    }
}
