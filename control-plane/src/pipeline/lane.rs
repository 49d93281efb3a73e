//! Which lane of the store a request belongs into. Pure.

use trireme_store::{lanes::Lane, limits::SMALL_RANGE_KEYS};

use super::{Role, Verb};

/// The lane of what somebody of that role asks for; `limit` is that of a list, 0 for none.
///
/// Whatever the cluster does for itself goes first. What nobody else could make large is a user's: one object, a page, the
/// beginning of a watch. The objects that a watch begins with, and what comes behind a page's first chunk, is large work,
/// whoever asks.
#[must_use]
pub fn lane_of(role: Role, verb: Verb, limit: usize) -> Lane {
    match (role, verb) {
        (Role::Server | Role::Node | Role::System, _) => Lane::System,
        (Role::Admin | Role::Anonymous, Verb::DeleteCollection) => Lane::Bulk,
        (Role::Admin | Role::Anonymous, Verb::List) if !(1..=SMALL_RANGE_KEYS).contains(&limit) => Lane::Bulk,
        (
            Role::Admin | Role::Anonymous,
            Verb::Get | Verb::List | Verb::Watch | Verb::Create | Verb::Update | Verb::Patch | Verb::Delete,
        ) => Lane::Users,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_what_decides() {
        for (role, verb, limit, lane) in [
            (Role::Node, Verb::Get, 0, Lane::System),
            (Role::Node, Verb::Create, 0, Lane::System),
            (Role::Server, Verb::List, 0, Lane::System),
            (Role::System, Verb::Update, 0, Lane::System),
            (Role::Admin, Verb::Get, 0, Lane::Users),
            (Role::Admin, Verb::Watch, 0, Lane::Users),
            (Role::Admin, Verb::Patch, 0, Lane::Users),
            (Role::Admin, Verb::List, 1, Lane::Users),
            (Role::Admin, Verb::List, SMALL_RANGE_KEYS, Lane::Users),
            (Role::Admin, Verb::List, SMALL_RANGE_KEYS + 1, Lane::Bulk),
            (Role::Admin, Verb::List, 0, Lane::Bulk),
            (Role::Admin, Verb::DeleteCollection, 0, Lane::Bulk),
        ] {
            assert_eq!(lane_of(role, verb, limit), lane, "{role:?} {verb:?} {limit}");
        }
    }
}
