//! Kubernetes JSON for the messages of the `kubernetes` packages.
//!
//! Generated code lists each message's fields ([`JsonMessage`]); how values look is here ([`JsonValue`]).
//! `null` is the same as an absent field, and in a list or a map an empty value. Unset and empty fields are not
//! written, unless the `.proto` file says `always`. A field given twice is an error. Unknown fields are skipped, and
//! named by [`decode`].
//!
//! [`decode`] and [`encode`] are the way in and out, [`transcode`] that of what is stored and only shown; the messages also implement serde's traits, for use
//! inside other formats.

mod canonical;
mod context;
mod decode;
mod message;
mod transcode;
mod value;

pub use context::Context;
pub use decode::{DecodeError, Decoded, TypeMeta, decode, decode_value, encode, encode_value};
pub use message::{JsonMessage, deserialize_message, serialize_message};
pub use transcode::{TranscodeError, transcode};
pub use value::JsonValue;

pub(crate) use message::{impl_serde, read, read_optional, write, write_always};
