//! The bounds on what is read from outside (I9), one constant each, with its unit.

/// The deepest nesting of JSON arrays and objects that is read.
pub const JSON_DEPTH_MAX: usize = 64;

/// The most messages of one object that is read, itself and everything in it. Each takes some hundred bytes of memory, and may
/// be two bytes long when it is sent.
pub const MESSAGES_MAX: usize = 50_000;

/// The most unknown fields that are named while reading one object; further ones are dropped unnamed.
pub const JSON_UNKNOWN_FIELDS_REPORTED_MAX: usize = 100;

/// The most bytes of a label or field selector.
pub const SELECTOR_BYTES_MAX: usize = 64 * 1024;

/// The most requirements of one selector.
pub const SELECTOR_REQUIREMENTS_MAX: usize = 1_000;

/// The most bytes of a quantity.
pub const QUANTITY_BYTES_MAX: usize = 64;
