//! How Kubernetes calls definitions, groups and operations.

use trireme_proto::schema::MessageSchema;

/// The package of our messages that all kinds share.
const META_PACKAGE: &str = "kubernetes.meta.v1";

/// Messages that Kubernetes has in packages of their own.
const ELSEWHERE: &[(&str, &str)] = &[
    ("Quantity", "io.k8s.apimachinery.pkg.api.resource.Quantity"),
    ("IntOrString", "io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
    ("RawExtension", "io.k8s.apimachinery.pkg.runtime.RawExtension"),
];

/// The definition of a message, such as `io.k8s.api.core.v1.Pod`.
pub(super) fn definition(message: &MessageSchema) -> String {
    let package = message.full_name.rsplit_once('.').map_or("", |(package, _)| package);
    if package == META_PACKAGE {
        let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == message.name);
        return elsewhere.map_or_else(|| meta(message.name), |(_, definition)| (*definition).to_owned());
    }
    let package = package.strip_prefix("kubernetes.").unwrap_or(package);
    format!("io.k8s.api.{package}.{}", message.name)
}

/// A definition among those that all kinds share.
pub(super) fn meta(name: &str) -> String {
    format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}")
}

/// The group in names of operations, such as `Core`, `Apps` or `RbacAuthorization`.
pub(super) fn group(group: &str) -> String {
    if group.is_empty() {
        return "Core".to_owned();
    }
    let short = group.strip_suffix(".k8s.io").unwrap_or(group);
    short.split('.').map(capitalized).collect()
}

/// Group and version in names of operations, such as `CoreV1`.
pub(super) fn group_version(group_name: &str, version: &str) -> String {
    format!("{}{}", group(group_name), capitalized(version))
}

/// Group and version as a tag, such as `core_v1`.
pub(super) fn tag(group_name: &str, version: &str) -> String {
    let group = group_tag(group_name);
    format!("{group}_{version}")
}

/// The group as a tag, such as `core` or `rbacAuthorization`.
pub(super) fn group_tag(group_name: &str) -> String {
    let name = group(group_name);
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

/// The word with a capital at its beginning.
pub(super) fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use trireme_proto::schema;

    use super::*;

    #[test]
    fn names_are_those_of_kubernetes() {
        for (message, expected) in [
            ("kubernetes.apps.v1.Deployment", "io.k8s.api.apps.v1.Deployment"),
            ("kubernetes.core.v1.Pod", "io.k8s.api.core.v1.Pod"),
            (
                "kubernetes.meta.v1.ObjectMeta",
                "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
            ),
            (
                "kubernetes.meta.v1.Quantity",
                "io.k8s.apimachinery.pkg.api.resource.Quantity",
            ),
            (
                "kubernetes.meta.v1.IntOrString",
                "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
            ),
        ] {
            assert_eq!(definition(schema::message(message).expect("a message")), expected);
        }
        for (group_name, expected_group, expected_tag) in [
            ("", "CoreV1", "core_v1"),
            ("apps", "AppsV1", "apps_v1"),
            (
                "rbac.authorization.k8s.io",
                "RbacAuthorizationV1",
                "rbacAuthorization_v1",
            ),
            ("coordination.k8s.io", "CoordinationV1", "coordination_v1"),
        ] {
            assert_eq!(group_version(group_name, "v1"), expected_group);
            assert_eq!(tag(group_name, "v1"), expected_tag);
        }
    }
}
