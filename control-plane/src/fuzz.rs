//! What meets bytes of clients, opened to the fuzz targets and to nobody else.
//!
//! Each function takes any bytes whatever, checks all that must hold of what it makes of them, and says whether they were
//! accepted. The functions of the same name with `seeds` give inputs that real clients make. Nothing here is used by a server.

pub use crate::registry::fuzz::{continue_token, continue_token_seeds};
pub use crate::transport::fuzz::{rest_body, rest_body_seeds, rest_request, rest_request_seeds};
