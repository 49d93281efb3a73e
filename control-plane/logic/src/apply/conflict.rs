//! Fields that an applied configuration would change although others own them.

use std::{collections::BTreeMap, fmt};

use super::{
    field_set::FieldSet,
    managers::{ManagerId, Operation},
    path::PathElement,
};

/// One field of one owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Who owns it.
    pub owner: ManagerId,
    /// Where it is.
    pub path: Vec<PathElement>,
}

/// All the conflicts of an apply, by owner and then by field. Shown in the words of Kubernetes, since clients print them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(Vec<Conflict>);

/// A conflict for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictCause {
    /// The field's path, such as `.spec.replicas`.
    pub field: String,
    /// The sentence.
    pub message: String,
}

impl Conflicts {
    pub(super) fn of(sets: Vec<(ManagerId, FieldSet)>) -> Self {
        let conflicts = sets.into_iter().flat_map(|(owner, set)| {
            let paths = set.paths().into_iter();
            paths.map(move |path| Conflict {
                owner: owner.clone(),
                path,
            })
        });
        Self(conflicts.collect())
    }

    /// Without those whose field is in `allowed`.
    pub(super) fn except(mut self, allowed: &FieldSet) -> Self {
        self.0.retain(|conflict| !allowed.has(&conflict.path));
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each conflict.
    pub fn causes(&self) -> Vec<ConflictCause> {
        let causes = self.0.iter().map(|conflict| ConflictCause {
            field: path_text(&conflict.path),
            message: format!("conflict with {}", conflict.owner),
        });
        causes.collect()
    }
}

fn path_text(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

impl fmt::Display for ManagerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(formatter, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Update => write!(formatter, " using {}", self.api_version),
            Operation::Apply => Ok(()),
        }
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [conflict] = self.0.as_slice() {
            let (owner, path) = (&conflict.owner, path_text(&conflict.path));
            return write!(formatter, "Apply failed with 1 conflict: conflict with {owner}: {path}");
        }
        let mut by_owner: BTreeMap<&ManagerId, Vec<String>> = BTreeMap::new();
        for conflict in &self.0 {
            let paths = by_owner.entry(&conflict.owner).or_default();
            paths.push(format!("- {}", path_text(&conflict.path)));
        }
        let owners = by_owner
            .into_iter()
            .map(|(owner, paths)| format!("conflicts with {owner}:\n{}", paths.join("\n")));
        let owners: Vec<String> = owners.collect();
        write!(
            formatter,
            "Apply failed with {} conflicts: {}",
            self.0.len(),
            owners.join("\n")
        )
    }
}
