//! One change in the words of each version of its kind, for owners whose fields are named in another than the change is.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{compare::Comparison, managers::Managers, types::Type, update::Change};
use crate::{kinds, object::KindOps};

impl Change<'_> {
    /// What changed, by the version in which an owner's fields are named; `own` is what changed in that of the change. There
    /// is nothing for a version that the kind does not have.
    pub(super) fn in_versions(
        &self,
        own: Comparison,
        managers: &Managers,
        old: &Value,
        new: &Value,
    ) -> BTreeMap<String, Comparison> {
        let mut by_version = BTreeMap::from([(self.api_version.to_owned(), own)]);
        for managed in managers.entries.values() {
            if by_version.contains_key(&managed.api_version) {
                continue;
            }
            if let Some((of, other)) = self.versions_with(&managed.api_version) {
                // What cannot be said in a version is no change there: better an owner too many than none.
                let comparison = self.compare_in(of, other, old, new).unwrap_or_default();
                by_version.insert(managed.api_version.clone(), comparison);
            }
        }
        by_version
    }

    /// The kind in the version of this change, and in another.
    fn versions_with(&self, api_version: &str) -> Option<(&'static dyn KindOps, &'static dyn KindOps)> {
        let kind = self.schema?.kind?.kind;
        let of = kinds::by_api_version(self.api_version, kind)?;
        let other = kinds::by_api_version(api_version, kind)?;
        kinds::is_same(of.stored().info(), other.stored().info()).then_some((of, other))
    }

    fn compare_in(&self, of: &dyn KindOps, other: &dyn KindOps, old: &Value, new: &Value) -> Option<Comparison> {
        let (old, new) = (converted(of, other, old)?, converted(of, other, new)?);
        let comparison = Comparison::of(Type::root(other.schema()), &old, &new);
        Some(comparison.filtered(|set| self.part.reach(set)))
    }
}

/// The JSON of an object in another version of its kind.
fn converted(of: &dyn KindOps, other: &dyn KindOps, json: &Value) -> Option<Value> {
    let object = of.from_json_value(json.clone()).ok()?;
    serde_json::from_slice(&other.json_of(&*object).ok()?).ok()
}
