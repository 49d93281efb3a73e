//! Where objects live in the store (decision D2).
//!
//! `/registry/<group>/<resource>/<namespace>/<name>`, the core group written as `core`; cluster-scoped
//! kinds have no namespace segment. All versions of a kind live in one place. A prefix always ends with a slash, so that no resource and no
//! namespace is the prefix of another.

use std::{collections::HashMap, sync::LazyLock};

use super::{KINDS, stored_as};
use crate::{
    kind::KindInfo,
    object::{KindOps, ObjectKey},
};

/// Where every object lives.
pub const REGISTRY_PREFIX: &str = "/registry/";

/// How the core group, whose name is empty, is written in keys.
const CORE_GROUP: &str = "core";

/// The kinds by the group and resource of their keys. It is asked for every object that is read.
static PLACES: LazyLock<HashMap<(&str, &str), &dyn KindOps>> = LazyLock::new(|| {
    let stored = KINDS.iter().map(|ops| ops.stored());
    stored
        .map(|ops| ((group_of(ops.info()), ops.info().plural), ops))
        .collect()
});

fn group_of(info: &KindInfo) -> &'static str {
    if info.group.is_empty() { CORE_GROUP } else { info.group }
}

/// The prefix of all objects of a kind.
pub fn storage_prefix(info: &KindInfo) -> String {
    let info = stored_as(info);
    format!("{REGISTRY_PREFIX}{}/{}/", group_of(info), info.plural)
}

/// The prefix of the objects of a kind in one namespace; of all of them for an empty namespace.
pub fn namespace_prefix(info: &KindInfo, namespace: &str) -> String {
    let mut prefix = storage_prefix(info);
    if !namespace.is_empty() {
        prefix.push_str(namespace);
        prefix.push('/');
    }
    prefix
}

/// The key of one object.
pub fn storage_key(info: &KindInfo, key: &ObjectKey) -> String {
    let mut path = namespace_prefix(info, if info.namespaced { &key.namespace } else { "" });
    path.push_str(&key.name);
    path
}

/// The kind and key of a stored object; `None` if the store's key is not one of an object.
pub fn parse_storage_key(path: &str) -> Option<(&'static dyn KindOps, ObjectKey)> {
    let mut segments = path.strip_prefix(REGISTRY_PREFIX)?.split('/');
    let (group, plural) = (segments.next()?, segments.next()?);
    let ops = *PLACES.get(&(group, plural))?;
    let namespace = if ops.info().namespaced { segments.next()? } else { "" };
    let name = segments.next()?;
    let whole = segments.next().is_none() && !name.is_empty() && ops.info().namespaced != namespace.is_empty();
    whole.then(|| (ops, ObjectKey::new(namespace, name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::by_resource;

    #[test]
    fn keys_go_back_and_forth() {
        for ops in KINDS {
            let info = ops.info();
            let key = ObjectKey::new(if info.namespaced { "shop" } else { "" }, "web-1");
            let path = storage_key(info, &key);
            let (parsed, parsed_key) = parse_storage_key(&path).expect("a key of ours");
            let stored = ops.stored().info();
            assert_eq!(
                (parsed.info().kind, parsed.info().version, parsed_key),
                (stored.kind, stored.version, key),
                "{path}"
            );
        }
    }

    #[test]
    fn keys_look_as_designed() {
        let pods = by_resource("", "v1", "pods").expect("pods are a kind").info();
        assert_eq!(
            storage_key(pods, &ObjectKey::new("shop", "web")),
            "/registry/core/pods/shop/web"
        );
        let deployments = by_resource("apps", "v1", "deployments").expect("a kind").info();
        assert_eq!(
            namespace_prefix(deployments, "shop"),
            "/registry/apps/deployments/shop/"
        );
        assert_eq!(namespace_prefix(deployments, ""), "/registry/apps/deployments/");
    }

    #[test]
    fn other_keys_are_refused() {
        for path in [
            "",
            "/registry/core/pods/web",
            "/registry/core/pods/shop/",
            "/registry/core/pods//web",
            "/registry/core/pods/shop/web/x",
            "/registry/core/ships/shop/web",
            "/registry/events.k8s.io/events/shop/web",
            "/registry/core/nodes/shop/n1",
            "/other/core/pods/shop/web",
        ] {
            assert!(parse_storage_key(path).is_none(), "{path}");
        }
    }
}
