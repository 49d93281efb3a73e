//! What must be true of the members at any time, whatever is changed about them and whoever dies meanwhile: no two have
//! one id or one name, and an id names one server for ever. Pure: what was seen comes in, what is wrong comes out.

use std::collections::{BTreeMap, BTreeSet};

/// What was seen of the members so far.
#[derive(Debug, Clone, Default)]
pub struct Members {
    /// Everyone who was ever seen, by id.
    names: BTreeMap<u64, String>,
    gone: BTreeSet<u64>,
}

impl Members {
    /// Takes in a list of ids and names, each newer than the last; gives what is wrong with it.
    pub fn observe(&mut self, list: &[(u64, String)]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let ids: BTreeSet<u64> = list.iter().map(|(id, _)| *id).collect();
        let names: BTreeSet<&String> = list.iter().map(|(_, name)| name).collect();
        if ids.len() < list.len() || names.len() < list.len() {
            found.push(format!("two members have one id or one name: {list:?}"));
        }
        for (id, name) in list {
            if self.gone.contains(id) {
                found.push(format!(
                    "id {id} was another server's, which has gone, and is now `{name}`'s"
                ));
            }
            let known = self.names.entry(*id).or_insert_with(|| name.clone());
            if known != name {
                found.push(format!("id {id} was `{known}`'s and is now `{name}`'s"));
            }
        }
        self.gone.extend(self.names.keys().filter(|id| !ids.contains(id)));
        found.into_iter().map(|what| ("members".to_owned(), what)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lists: &[&[(u64, &str)]]) -> usize {
        let mut members = Members::default();
        let list = |list: &[(u64, &str)]| -> Vec<(u64, String)> {
            list.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
        };
        lists
            .iter()
            .map(|members_now| members.observe(&list(members_now)).len())
            .sum()
    }

    #[test]
    fn members_come_and_go_under_ids_of_their_own() {
        assert_eq!(
            check(&[&[(1, "a")], &[(1, "a"), (2, "b")], &[(2, "b")], &[(2, "b"), (3, "a")]]),
            0
        );
    }

    #[test]
    fn an_id_that_two_servers_have_is_found() {
        assert_eq!(check(&[&[(1, "a"), (2, "b")], &[(1, "a")], &[(1, "a"), (2, "b")]]), 1);
        assert_eq!(check(&[&[(1, "a"), (2, "b")], &[(1, "a"), (2, "c")]]), 1);
        assert_eq!(check(&[&[(1, "a"), (2, "a")]]), 1);
    }
}
