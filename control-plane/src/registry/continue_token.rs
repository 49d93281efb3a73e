//! Where the next page of a list begins, as clients carry it: opaque to them, and in Kubernetes' own form.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trireme_store::kv::Revision;

use crate::{limits, status::ApiError};

const VERSION: &str = "meta.k8s.io/v1";

/// A page's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContinueToken {
    /// The revision that all pages show.
    pub(super) revision: Revision,
    /// The store key to go on with.
    pub(super) start: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: String,
    rv: Revision,
    start: String,
}

impl ContinueToken {
    /// `prefix` is the range's; the token carries only what comes after it.
    pub(super) fn encode(&self, prefix: &[u8]) -> Result<String, ApiError> {
        let rest = self
            .start
            .strip_prefix(prefix)
            .and_then(|rest| std::str::from_utf8(rest).ok());
        let start = rest
            .ok_or_else(|| ApiError::internal("a page ends outside its range"))?
            .to_owned();
        let wire = Wire {
            v: VERSION.to_owned(),
            rv: self.revision,
            start,
        };
        let text = serde_json::to_vec(&wire)
            .map_err(|error| ApiError::internal("cannot encode a page's place").context(error))?;
        Ok(URL_SAFE_NO_PAD.encode(text))
    }

    /// Reads a token back; it can lead nowhere but into the range.
    pub(super) fn decode(text: &str, prefix: &[u8]) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request("the continue key is not valid");
        if text.len() > limits::CONTINUE_MAX_BYTES {
            return Err(invalid());
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| invalid())?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        let inside =
            !wire.start.is_empty() && !wire.start.starts_with('/') && !wire.start.split('/').any(|part| part == "..");
        if wire.v != VERSION || wire.rv <= 0 || !inside {
            return Err(invalid());
        }
        let start = [prefix, wire.start.as_bytes()].concat();
        Ok(Self {
            revision: wire.rv,
            start: start.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_back_and_forth() {
        let token = ContinueToken {
            revision: 42,
            start: Bytes::from("/registry/core/pods/shop/web\0"),
        };
        for prefix in ["/registry/core/pods/", "/registry/core/pods/shop/"] {
            let text = token.encode(prefix.as_bytes()).expect("encoded");
            assert_eq!(ContinueToken::decode(&text, prefix.as_bytes()).expect("decoded"), token);
        }
    }

    #[test]
    fn the_longest_token_is_read() {
        // Three bytes are four letters.
        let of = |letters: usize| {
            let empty = r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#.len();
            let key = "x".repeat(letters / 4 * 3 - empty);
            URL_SAFE_NO_PAD.encode(format!(r#"{{"v":"meta.k8s.io/v1","rv":1,"start":"{key}"}}"#))
        };
        let (most, more) = (of(limits::CONTINUE_MAX_BYTES), of(limits::CONTINUE_MAX_BYTES + 4));
        assert_eq!(most.len(), limits::CONTINUE_MAX_BYTES);
        assert!(ContinueToken::decode(&most, b"/registry/core/pods/").is_ok());
        assert!(ContinueToken::decode(&more, b"/registry/core/pods/").is_err());
    }

    #[test]
    fn foreign_tokens_are_refused() {
        let make = |json: &str| URL_SAFE_NO_PAD.encode(json);
        for text in [
            String::new(),
            "!".to_owned(),
            make("{}"),
            make(r#"{"v":"meta.k8s.io/v2","rv":1,"start":"a"}"#),
            make(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#),
            make(r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#),
            make(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../secrets/a"}"#),
            "x".repeat(limits::CONTINUE_MAX_BYTES + 1),
        ] {
            assert!(ContinueToken::decode(&text, b"/registry/core/pods/").is_err(), "{text}");
        }
    }
}
