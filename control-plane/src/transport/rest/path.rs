//! What a path of the API names. Pure.
//!
//! Nothing is known here of which kinds there are: that is for the pipeline to find out.

use percent_encoding::percent_decode_str;
use trireme_proto::v1::ResourceRef;

/// Subresources of a namespace, which stand where the resources in it do.
const OF_NAMESPACES: [&str; 2] = ["status", "finalize"];
/// The subresource whose path goes on with one of somebody else's.
const PROXY: &str = "proxy";

/// A range of objects, one of them, or part of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Place {
    /// Which, in the pipeline's terms.
    pub(super) resource: ResourceRef,
    /// It has the old prefix by which watches were told from lists.
    pub(super) is_watch: bool,
}

impl Place {
    /// Reads a path such as `/apis/apps/v1/namespaces/shop/deployments/web/scale`; `None` if it is none of a resource.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let parts: Vec<String> = path.split('/').map(decoded).collect::<Option<_>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (is_watch, rest) = match rest {
            ["watch", rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let mut resource = below(rest)?;
        if is_watch && !resource.subresource.is_empty() {
            return None;
        }
        group.clone_into(&mut resource.group);
        version.clone_into(&mut resource.version);
        Some(Self { resource, is_watch })
    }
}

/// What comes below a version.
fn below(parts: &[&str]) -> Option<ResourceRef> {
    let (namespace, resource, rest) = match parts {
        ["namespaces", _, part, ..] if OF_NAMESPACES.contains(part) => ("", "namespaces", &parts[1..]),
        ["namespaces", namespace, resource, rest @ ..] => (*namespace, *resource, rest),
        [resource, rest @ ..] => ("", *resource, rest),
        [] => return None,
    };
    let (name, subresource) = match rest {
        [] => ("", ""),
        [name] => (*name, ""),
        [name, subresource] => (*name, *subresource),
        [name, PROXY, ..] => (*name, PROXY),
        _ => return None,
    };
    Some(ResourceRef {
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        ..ResourceRef::default()
    })
}

/// One part of a path; `None` if there is nothing in it, or no text.
fn decoded(part: &str) -> Option<String> {
    let text = percent_decode_str(part).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_name() {
        // Group, version, resource, namespace, name, subresource.
        for (path, expected, is_watch) in [
            ("/api/v1/pods", "|v1|pods|||", false),
            ("/api/v1/namespaces/shop/pods", "|v1|pods|shop||", false),
            ("/api/v1/namespaces/shop/pods/", "|v1|pods|shop||", false),
            ("/api/v1/namespaces/shop/pods/web", "|v1|pods|shop|web|", false),
            ("/api/v1/namespaces/shop/pods/web/log", "|v1|pods|shop|web|log", false),
            ("/api/v1/namespaces", "|v1|namespaces|||", false),
            ("/api/v1/namespaces/shop", "|v1|namespaces||shop|", false),
            ("/api/v1/namespaces/shop/status", "|v1|namespaces||shop|status", false),
            (
                "/api/v1/namespaces/shop/finalize",
                "|v1|namespaces||shop|finalize",
                false,
            ),
            ("/api/v1/nodes/n1", "|v1|nodes||n1|", false),
            ("/api/v1/nodes/n1/proxy/stats/summary", "|v1|nodes||n1|proxy", false),
            (
                "/api/v1/namespaces/a/services/b:80/proxy/x",
                "|v1|services|a|b:80|proxy",
                false,
            ),
            ("/apis/apps/v1/deployments", "apps|v1|deployments|||", false),
            (
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "apps|v1|deployments|a|b|scale",
                false,
            ),
            ("/api/v1/watch/pods", "|v1|pods|||", true),
            ("/api/v1/watch/namespaces/shop/pods/web", "|v1|pods|shop|web|", true),
            ("/api/v1/watch/namespaces/shop", "|v1|namespaces||shop|", true),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "rbac.authorization.k8s.io|v1|clusterroles||system:node|",
                false,
            ),
            // What is in a name is for the pipeline to refuse.
            ("/api/v1/namespaces/a/pods/b%2Fc", "|v1|pods|a|b/c|", false),
        ] {
            let place = Place::parse(path).unwrap_or_else(|| panic!("{path} names something"));
            let ResourceRef {
                group,
                version,
                resource,
                namespace,
                name,
                subresource,
            } = place.resource;
            let actual = [group, version, resource, namespace, name, subresource].join("|");
            assert_eq!((actual.as_str(), place.is_watch), (expected, is_watch), "{path}");
        }
    }

    #[test]
    fn other_paths_name_nothing() {
        for path in [
            "",
            "/",
            "/api",
            "/api/v1",
            "/api/v1/",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/openapi/v3",
            "/healthz",
            "/api/v1/watch",
            "/api/v1//pods",
            "/api/v1/namespaces//pods",
            "/api/v1/namespaces/a/pods/b/log/more",
            "/api/v1/watch/namespaces/a/pods/b/log",
            "/api/v1/pods%ff",
            "api/v1/pods",
        ] {
            assert_eq!(Place::parse(path), None, "{path}");
        }
    }
}
