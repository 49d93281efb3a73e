//! One request, top to bottom, as a chain of types.
//!
//! [`RawRequest`] -> [`RequestInfo`] (what is asked) -> [`Identity`] (who asks) -> [`Permit`] (they may) -> [`Decoded`]
//! (what they sent) -> `Admitted` (what will be stored) -> `registry`. Each can only be made from the one before it, by
//! the step in between, so that a forgotten check does not compile. Transports differ only before the first and after the last.

pub(crate) mod access;
pub(crate) mod admit;
mod calls;
mod decode;
mod field_manager;
mod identity;
mod lane;
pub(crate) mod owners;
mod permit;
mod request;
mod review;

pub use admit::Admitted;
pub use calls::{check_call, roles_admitted};
pub use decode::{Decoded, Validation, decode_binding, decode_scale};
pub(crate) use decode::{decode_message, remarks_of_patch};
pub use field_manager::{FieldManager, refuse_force};
pub use identity::{Identity, Role};
pub use lane::lane_of;
pub use permit::Permit;
pub use request::{RawRequest, RequestInfo, Subresource, Verb};
pub use review::answer as answer_review;
