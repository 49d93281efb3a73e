//! Server-side apply: who owns which fields of an object, and what applying a configuration makes of it.
//!
//! As in Kubernetes (KEP-555), ownership is a list of entries in the object's metadata. Everything here is a function of
//! JSON, a schema and these entries; the present is handed in. What the outcome must be is checked by whoever decodes it,
//! as with a patch.
//!
//! | file | what it is |
//! |---|---|
//! | `path`, `field_set`, `fields_v1`, `edit` | names of fields, sets of them, their stored form, and changes of that |
//! | `types` | what the schema says of owning a field in parts |
//! | `extract`, `new_fields`, `compare` | the sets of a configuration, of a new object, of a change |
//! | `merge`, `remove` | putting values in and taking them out |
//! | `managers`, `part` | the entries, and what can be owned through which subresource |
//! | `update`, `applying`, `conflict`, `client_side` | what requests do to owners |
//! | `versions` | what a change is to owners of another version |

mod applying;
mod client_side;
mod compare;
mod conflict;
mod edit;
mod extract;
mod field_set;
mod fields_v1;
mod managers;
mod merge;
mod new_fields;
mod part;
mod path;
mod remove;
#[cfg(test)]
mod tests;
mod types;
mod update;
mod versions;

pub use self::{
    applying::{Applied, ApplyError, Config, apply},
    compare::Comparison,
    conflict::{Conflict, ConflictCause, Conflicts},
    extract::InvalidConfig,
    field_set::{FieldSet, Node},
    fields_v1::{InvalidFields, from_json, to_json},
    managers::{InvalidEntry, Managed, ManagerId, Managers, Operation, same_but_times},
    new_fields::new_fields,
    part::Part,
    path::{Name, PathElement, Scalar},
    update::{Change, UNKNOWN_MANAGER, is_reset, owners_before, owners_of_changed, owners_of_new},
};
