//! Which of several forms of a document a client wants most.

use http::{HeaderMap, header};

use crate::transport::media::Media;

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

/// The form among `forms` that the client wants most; the first one if it says nothing. `None` if it accepts none.
pub(super) fn choose<'f>(headers: &HeaderMap, forms: &'f [Form]) -> Option<&'f Form> {
    let accept: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let accept = accept.join(",");
    if accept.trim().is_empty() {
        return forms.iter().find(|form| form.aggregated.is_empty());
    }
    Media::accepted(&accept)
        .iter()
        .find_map(|media| forms.iter().find(|form| fits(media, form)))
}

fn fits(media: &Media, form: &Form) -> bool {
    let is_of_kind = if media.kind.is_empty() {
        form.aggregated.is_empty()
    } else {
        media.kind == "APIGroupDiscoveryList"
            && media.group == "apidiscovery.k8s.io"
            && media.version == form.aggregated
    };
    media.covers(form.media_type) && is_of_kind
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
}
