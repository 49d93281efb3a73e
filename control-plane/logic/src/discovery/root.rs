//! `/`: which paths there are.

use serde::Serialize;

use super::group::Group;

/// Paths that are there whatever the kinds.
const FIXED: &[&str] = &[
    "/api",
    "/apis",
    "/apis/",
    "/healthz",
    "/livez",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/readyz",
    "/version",
];

/// The list of paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootPaths {
    /// The paths, sorted.
    pub paths: Vec<String>,
}

/// The paths of the groups and of everything else.
pub fn root_paths(groups: &[Group]) -> RootPaths {
    let mut paths: Vec<String> = FIXED.iter().map(|path| (*path).to_owned()).collect();
    for group in groups {
        if !group.name.is_empty() {
            paths.push(format!("/apis/{}", group.name));
        }
        paths.extend(group.versions.iter().map(super::Version::path));
    }
    paths.sort();
    RootPaths { paths }
}
