//! What the fuzz targets drive of lists: the tokens with which clients go on.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;

use super::continue_token::ContinueToken;

/// The range that tokens are read for.
const RANGE: &[u8] = b"/registry/core/pods/shop/";

/// A `continue` token, or what stands in one: it leads nowhere but into its range, and is the same when it is written again.
pub fn continue_token(input: &[u8]) -> bool {
    let as_it_is = std::str::from_utf8(input).is_ok_and(accepted);
    // A fuzzer seldom finds what is in the letters of base64.
    let within = accepted(&URL_SAFE_NO_PAD.encode(input));
    as_it_is || within
}

fn accepted(text: &str) -> bool {
    let Ok(token) = ContinueToken::decode(text, RANGE) else {
        return false;
    };
    assert!(token.start.len() > RANGE.len() && token.start.starts_with(RANGE));
    assert!(token.revision > 0);
    let again = token.encode(RANGE).expect("it lies in its range");
    assert_eq!(ContinueToken::decode(&again, RANGE).ok(), Some(token));
    true
}

/// Tokens of pages, and what stands in them.
pub fn continue_token_seeds() -> Vec<Vec<u8>> {
    let token = |key: &str| {
        let token = ContinueToken {
            revision: 42,
            start: Bytes::from([RANGE, key.as_bytes()].concat()),
        };
        token.encode(RANGE).expect("it lies in its range").into_bytes()
    };
    vec![
        token("web\0"),
        token("web-7d4b\0"),
        br#"{"v":"meta.k8s.io/v1","rv":9007199254740993,"start":"web\u0000"}"#.to_vec(),
    ]
}
