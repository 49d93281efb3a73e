//! An answer on its way out: indented, as YAML or compressed, if that was asked for; with its warnings; and failures.

use std::io::Write as _;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use prost::Message;
use trireme_proto::api::meta::v1::Status;

use super::{
    envelope,
    negotiate::{Accepted, Format},
    pretty::Pretty,
    query::Query,
    yaml,
};
use crate::{
    limits,
    status::{ApiError, Reason},
    transport::headers::text,
};

/// Fast rather than small: what is compressed is large, and somebody waits.
const LEVEL: Compression = Compression::new(1);
/// People who use these have no other way to ask for it.
const AGENTS_OF_PEOPLE: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// How a client wants its answer, beside its form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes {
    gzip: bool,
    pretty: bool,
}

/// Pieces of an answer.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, ApiError>>;

impl Wishes {
    pub(super) fn of(parts: &Parts, query: &Query) -> Self {
        let agent = text(&parts.headers, header::USER_AGENT);
        let is_person = AGENTS_OF_PEOPLE.iter().any(|name| agent.starts_with(name));
        Self {
            gzip: accepts_gzip(&parts.headers),
            pretty: query.boolean("pretty").unwrap_or(is_person),
        }
    }

    /// An answer that is there: JSON, or protobuf in its envelope.
    pub(super) fn whole(self, status: StatusCode, format: Format, body: Vec<u8>) -> Result<Response, ApiError> {
        let mut body = match format {
            Format::Json if self.pretty => Pretty::default().feed(&body),
            Format::Json | Format::Protobuf => body,
            Format::Yaml => yaml::write(&body)?.into_bytes(),
        };
        if format == Format::Json {
            body.push(b'\n');
        }
        let is_gzip = self.gzip && body.len() >= limits::GZIP_MIN_BYTES;
        if is_gzip {
            let mut gzip = Gzip::new();
            body = [gzip.feed(&body)?, gzip.finish()?].concat();
        }
        let mut response = (status, Body::from(body)).into_response();
        set_headers(&mut response, format.media_type(), is_gzip);
        Ok(response)
    }

    /// An answer that is made while it is sent. What fails before the first pieces are there is a failure like any other;
    /// after that, the answer breaks off.
    pub(super) async fn in_pieces(self, format: Format, pieces: Pieces) -> Result<Response, ApiError> {
        let mut pieces = if self.pretty && format == Format::Json {
            indented(pieces)
        } else {
            pieces
        };
        let (mut first, mut length) = (Vec::new(), 0);
        let is_all = loop {
            if length >= limits::GZIP_MIN_BYTES {
                break false;
            }
            match pieces.next().await {
                Some(piece) => {
                    let piece = piece?;
                    length += piece.len();
                    first.push(Ok(piece));
                }
                None => break true,
            }
        };
        let is_gzip = self.gzip && length >= limits::GZIP_MIN_BYTES;
        let is_there = is_all && !is_gzip;
        let body = if is_there {
            let whole: Result<Vec<Bytes>, ApiError> = first.into_iter().collect();
            Body::from(whole?.concat())
        } else {
            let all = stream::iter(first).chain(pieces);
            Body::from_stream(if is_gzip { compressed(all).boxed() } else { all.boxed() })
        };
        let mut response = body.into_response();
        set_headers(&mut response, format.media_type(), is_gzip);
        if !is_there {
            trireme_store::lanes::look_after(&mut response);
        }
        Ok(response)
    }
}

/// An answer that goes on: frames of a watch.
pub(super) fn events(format: Format, pieces: Pieces) -> Response {
    let mut response = Body::from_stream(pieces).into_response();
    let media_type = match format {
        Format::Json | Format::Yaml => Format::Json.media_type(),
        Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
    };
    set_headers(&mut response, media_type, false);
    response
}

fn set_headers(response: &mut Response, media_type: &'static str, is_gzip: bool) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if is_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Adds a `Warning` header for each sentence.
pub(super) fn warn(response: &mut Response, warnings: &[String]) {
    for warning in warnings.iter().take(limits::WARNINGS_MAX) {
        let mut end = warning.len().min(limits::WARNING_MAX_BYTES);
        while !warning.is_char_boundary(end) {
            end -= 1;
        }
        let text: String = warning[..end].chars().filter(|letter| !letter.is_control()).collect();
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// A status as bytes: JSON, or protobuf in its envelope.
pub(super) fn status_bytes(status: &Status, format: Format) -> Result<Vec<u8>, ApiError> {
    match format {
        Format::Protobuf => Ok(envelope::wrap("v1", "Status", &status.encode_to_vec())),
        Format::Json | Format::Yaml => {
            serde_json::to_vec(status).map_err(|error| ApiError::internal("a status has no JSON").context(error))
        }
    }
}

/// What a request that failed is answered with.
pub(super) fn failure(parts: &Parts, error: &ApiError) -> Response {
    if error.reason() == Reason::InternalError {
        tracing::error!(error = ?error, path = parts.uri.path(), "a request failed inside the server");
    }
    let format = Accepted::of_failure(&text(&parts.headers, header::ACCEPT));
    let query = Query::parse(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    let code = StatusCode::from_u16(error.reason().http_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let status = error.to_status();
    let body = status_bytes(&status, format).and_then(|body| Wishes::of(parts, &query).whole(code, format, body));
    let mut response = body.unwrap_or_else(|_| code.into_response());
    if let Some(seconds) = status
        .details
        .map(|details| details.retry_after_seconds)
        .filter(|seconds| *seconds > 0)
    {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = text(headers, header::ACCEPT_ENCODING);
    accepted.split(',').any(|clause| {
        let (coding, weight) = clause.split_once(';').unwrap_or((clause, ""));
        let is_refused = weight
            .trim()
            .strip_prefix("q=")
            .is_some_and(|weight| weight.trim().trim_matches(['0', '.']).is_empty());
        coding.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

fn indented(pieces: Pieces) -> Pieces {
    let mut pretty = Pretty::default();
    pieces
        .map(move |piece| {
            piece.map(|piece| {
                let mut lines = pretty.feed(&piece);
                // The one line end that the text has is its last, and no space between its parts.
                if piece.ends_with(b"\n") {
                    lines.push(b'\n');
                }
                lines.into()
            })
        })
        .boxed()
}

/// Compresses as it goes.
struct Gzip(GzEncoder<Vec<u8>>);

impl Gzip {
    fn new() -> Self {
        Self(GzEncoder::new(Vec::new(), LEVEL))
    }

    fn feed(&mut self, piece: &[u8]) -> Result<Vec<u8>, ApiError> {
        self.0.write_all(piece).map_err(not_compressed)?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    fn finish(self) -> Result<Vec<u8>, ApiError> {
        self.0.finish().map_err(not_compressed)
    }
}

fn not_compressed(error: std::io::Error) -> ApiError {
    ApiError::internal("an answer could not be compressed").context(error)
}

fn compressed(
    pieces: impl Stream<Item = Result<Bytes, ApiError>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, ApiError>> + Send {
    let state = Some((pieces.boxed(), Gzip::new()));
    let all = stream::unfold(state, |state| async move {
        let (mut pieces, mut gzip) = state?;
        match pieces.next().await {
            Some(Ok(piece)) => Some((gzip.feed(&piece).map(Bytes::from), Some((pieces, gzip)))),
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((gzip.finish().map(Bytes::from), None)),
        }
    });
    // The encoder keeps small pieces to itself for a while.
    all.filter(|piece| std::future::ready(!matches!(piece, Ok(piece) if piece.is_empty())))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use http_body_util::BodyExt;

    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn who_accepts_gzip() {
        for (value, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("deflate", false),
            ("", false),
        ] {
            assert_eq!(
                accepts_gzip(&headers(header::ACCEPT_ENCODING, value)),
                expected,
                "{value}"
            );
        }
    }

    async fn bytes(response: Response) -> Vec<u8> {
        response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes()
            .to_vec()
    }

    #[tokio::test]
    async fn what_is_large_is_compressed_and_nothing_else() {
        for (gzip, length, is_compressed) in [
            (true, limits::GZIP_MIN_BYTES - 1, false),
            (true, limits::GZIP_MIN_BYTES, true),
            (false, limits::GZIP_MIN_BYTES, false),
        ] {
            let text: Vec<u8> = (0..length).map(|index| b'a' + (index % 23) as u8).collect();
            let wishes = Wishes { gzip, pretty: false };
            let pieces: Vec<_> = text
                .chunks(1_000)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect();
            let whole = wishes
                .whole(StatusCode::OK, Format::Protobuf, text.clone())
                .expect("an answer");
            let in_pieces = wishes
                .in_pieces(Format::Protobuf, stream::iter(pieces).boxed())
                .await
                .expect("an answer");
            for response in [whole, in_pieces] {
                assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), is_compressed);
                let mut body = bytes(response).await;
                if is_compressed {
                    let mut plain = Vec::new();
                    flate2::read::GzDecoder::new(body.as_slice())
                        .read_to_end(&mut plain)
                        .expect("gzip");
                    body = plain;
                }
                assert_eq!(body, text);
            }
        }
    }

    #[tokio::test]
    async fn a_failure_before_anything_is_sent_is_told() {
        let wishes = Wishes {
            gzip: true,
            pretty: false,
        };
        let pieces = stream::iter([Ok(Bytes::from_static(b"[")), Err(ApiError::expired("gone"))]);
        let error = wishes
            .in_pieces(Format::Json, pieces.boxed())
            .await
            .expect_err("it failed");
        assert_eq!(error.reason(), Reason::Expired);
    }

    #[test]
    fn warnings_are_quoted_and_bounded() {
        let mut response = Response::new(Body::empty());
        let long = "é".repeat(limits::WARNING_MAX_BYTES);
        let mut warnings = vec!["unknown field \"a\\b\"\n".to_owned(), long];
        warnings.extend(vec!["more".to_owned(); limits::WARNINGS_MAX]);
        warn(&mut response, &warnings);
        let values: Vec<_> = response.headers().get_all(header::WARNING).iter().collect();
        assert_eq!(values.len(), limits::WARNINGS_MAX);
        assert_eq!(values[0], r#"299 - "unknown field \"a\\b\"""#);
        assert!(values[1].len() <= limits::WARNING_MAX_BYTES + 8);
    }
}
