//! The kinds by group and version, in the order in which clients should prefer them.

use crate::object::KindOps;

/// An API group.
pub struct Group {
    /// Its name; empty for core.
    pub name: &'static str,
    /// Its versions, the preferred one first. There is at least one.
    pub versions: Vec<Version>,
}

/// A version of a group.
pub struct Version {
    /// The group's name; empty for core.
    pub group: &'static str,
    /// Its name, such as `v1`.
    pub name: &'static str,
    /// Its kinds, in the order of their plural names.
    pub kinds: Vec<&'static dyn KindOps>,
}

impl Version {
    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.name.to_owned(),
            group => format!("{group}/{}", self.name),
        }
    }

    /// Where it is served, such as `/api/v1` or `/apis/apps/v1`.
    pub fn path(&self) -> String {
        match self.group {
            "" => format!("/api/{}", self.name),
            group => format!("/apis/{group}/{}", self.name),
        }
    }
}

/// The groups of the kinds: core first, the others in the order in which their first kinds stand in the list.
pub fn groups(kinds: &[&'static dyn KindOps]) -> Vec<Group> {
    let mut groups = vec![Group {
        name: "",
        versions: Vec::new(),
    }];
    for ops in kinds {
        let info = ops.info();
        let found = groups.iter().position(|group| group.name == info.group);
        let index = found.unwrap_or_else(|| {
            groups.push(Group {
                name: info.group,
                versions: Vec::new(),
            });
            groups.len() - 1
        });
        add(&mut groups[index].versions, *ops);
    }
    groups.retain(|group| !group.versions.is_empty());
    for group in &mut groups {
        group
            .versions
            .sort_by_key(|version| std::cmp::Reverse(preference(version.name)));
        for version in &mut group.versions {
            version.kinds.sort_by_key(|ops| ops.info().plural);
        }
    }
    groups
}

fn add(versions: &mut Vec<Version>, ops: &'static dyn KindOps) {
    let info = ops.info();
    match versions.iter_mut().find(|version| version.name == info.version) {
        Some(version) => version.kinds.push(ops),
        None => versions.push(Version {
            group: info.group,
            name: info.version,
            kinds: vec![ops],
        }),
    }
}

/// How much a version is to be preferred: stable ones before betas before alphas, higher ones before lower ones.
fn preference(version: &str) -> (u8, u32, u32) {
    const UNKNOWN: (u8, u32, u32) = (0, 0, 0);
    let Some(rest) = version.strip_prefix('v') else {
        return UNKNOWN;
    };
    let (stage, (major, minor)) = if let Some(parts) = rest.split_once("alpha") {
        (1, parts)
    } else if let Some(parts) = rest.split_once("beta") {
        (2, parts)
    } else {
        (3, (rest, "0"))
    };
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => (stage, major, minor),
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_preferred_as_kubernetes_does() {
        let expected = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "foo1",
        ];
        let mut versions = expected;
        versions.reverse();
        versions.sort_by_key(|version| std::cmp::Reverse(preference(version)));
        assert_eq!(versions, expected);
    }
}
