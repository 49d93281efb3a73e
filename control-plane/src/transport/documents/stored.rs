//! A document as it is kept: compressed only, since nearly all clients take it so, with the tag by which they know it
//! again.

use std::io::{Read, Write};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

/// A document in one form.
pub(super) struct Stored {
    gzip: Bytes,
    plain_bytes: usize,
    hash: String,
}

impl Stored {
    /// Compresses a document.
    ///
    /// # Panics
    /// Never: memory takes what is written to it.
    pub(super) fn new(plain: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let written = encoder.write_all(plain).and_then(|()| encoder.finish());
        let mut gzip = written.expect("a vector takes as much as it is given");
        gzip.shrink_to_fit();
        Self {
            gzip: gzip.into(),
            plain_bytes: plain.len(),
            hash: hex::encode_upper(Sha256::digest(plain)),
        }
    }

    /// The digest of the document, in hexadecimal.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// The document uncompressed.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.plain_bytes);
        GzDecoder::new(&*self.gzip)
            .read_to_end(&mut plain)
            .expect("what was compressed here can be decompressed");
        plain
    }

    /// Answers a request: nothing new if the client has it, and compressed if it takes that.
    pub(super) fn answer(&self, request: &HeaderMap, content_type: &'static str, cache: &'static str) -> Response {
        let tag = format!("\"{}\"", self.hash);
        let known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|value| value.trim().trim_start_matches("W/"))
            .any(|value| value == tag || value == "*");
        let compressed = takes_gzip(request);
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else if compressed {
            self.gzip.clone().into_response()
        } else {
            self.plain().into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        if known {
            headers.remove(header::CONTENT_TYPE);
        } else if compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// Whether the client said that it takes gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|clause| {
            let (coding, rest) = clause.split_once(';').unwrap_or((clause, ""));
            let refused = rest
                .trim()
                .strip_prefix("q=")
                .is_some_and(|quality| quality.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0));
            matches!(coding.trim(), "gzip" | "*") && !refused
        })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    async fn body(response: Response) -> Bytes {
        response.into_body().collect().await.expect("a body").to_bytes()
    }

    #[tokio::test]
    async fn a_document_is_given_as_the_client_takes_it() {
        let text = "all the same ".repeat(100);
        let stored = Stored::new(text.as_bytes());
        assert!(stored.gzip.len() < text.len() / 10);

        let plain = stored.answer(&HeaderMap::new(), "text/plain", "public");
        assert_eq!(plain.headers()["cache-control"], "public");
        assert_eq!(plain.headers()["content-type"], "text/plain");
        assert!(!plain.headers().contains_key("content-encoding"));
        let tag = plain.headers()["etag"].clone();
        assert_eq!(tag.to_str().expect("text"), format!("\"{}\"", stored.hash()));
        assert_eq!(body(plain).await, text);

        let gzip = stored.answer(
            &headers(&[(header::ACCEPT_ENCODING, "br, gzip;q=0.9")]),
            "text/plain",
            "public",
        );
        assert_eq!(gzip.headers()["content-encoding"], "gzip");
        assert_eq!(body(gzip).await, stored.gzip);
        let refused = stored.answer(
            &headers(&[(header::ACCEPT_ENCODING, "gzip;q=0")]),
            "text/plain",
            "public",
        );
        assert_eq!(body(refused).await, text);

        let mut known = HeaderMap::new();
        known.insert(header::IF_NONE_MATCH, tag.clone());
        let unchanged = stored.answer(&known, "text/plain", "public");
        assert_eq!((unchanged.status().as_u16(), &unchanged.headers()["etag"]), (304, &tag));
        assert!(body(unchanged).await.is_empty());
        let changed = stored.answer(
            &headers(&[(header::IF_NONE_MATCH, "\"other\"")]),
            "text/plain",
            "public",
        );
        assert_eq!(changed.status().as_u16(), 200);
    }
}
