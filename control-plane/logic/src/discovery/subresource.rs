//! What each subresource is: the one table of them, to which the names in
//! [`KindInfo::subresources`] refer.

use super::messages::GroupVersionKind;
use crate::kind::KindInfo;

/// A subresource of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// Its name in paths, such as `status`.
    pub name: &'static str,
    /// The kind that it takes and gives.
    pub kind: GroupVersionKind,
    /// What can be done with it.
    pub verbs: &'static [&'static str],
    /// Its requests become streams of bytes, or requests of another server: `exec`, `proxy`.
    pub connects: bool,
}

/// Verbs of a part of an object.
const PART: &[&str] = &["get", "patch", "update"];

/// Verbs of a connection that is opened by `GET` or `POST`.
const CONNECTION: &[&str] = &["create", "get"];

/// Verbs of requests that go on to another server.
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// The subresource of the name; `None` if there is none of this name in any kind.
pub fn subresource(info: &KindInfo, name: &str) -> Option<Subresource> {
    let own = |kind: &str| gvk(info.group, info.version, kind);
    let (name, kind, verbs) = match name {
        "status" => ("status", own(info.kind), PART),
        "approval" => ("approval", own(info.kind), PART),
        "ephemeralcontainers" => ("ephemeralcontainers", own(info.kind), PART),
        "resize" => ("resize", own(info.kind), PART),
        "scale" => ("scale", gvk("autoscaling", "v1", "Scale"), PART),
        "finalize" => ("finalize", own(info.kind), ["update"].as_slice()),
        "log" => ("log", own(info.kind), ["get"].as_slice()),
        "binding" => ("binding", gvk("", "v1", "Binding"), ["create"].as_slice()),
        "eviction" => ("eviction", gvk("policy", "v1", "Eviction"), ["create"].as_slice()),
        "token" => (
            "token",
            gvk("authentication.k8s.io", "v1", "TokenRequest"),
            ["create"].as_slice(),
        ),
        "exec" => ("exec", own("PodExecOptions"), CONNECTION),
        "attach" => ("attach", own("PodAttachOptions"), CONNECTION),
        "portforward" => ("portforward", own("PodPortForwardOptions"), CONNECTION),
        "proxy" => ("proxy", own(&format!("{}ProxyOptions", info.kind)), PROXY),
        _ => return None,
    };
    Some(Subresource {
        name,
        kind,
        verbs,
        connects: verbs == CONNECTION || verbs == PROXY,
    })
}

/// The subresources of the kind, by name.
pub fn subresources(info: &KindInfo) -> Vec<Subresource> {
    let mut list: Vec<_> = info
        .subresources
        .iter()
        .filter_map(|name| subresource(info, name))
        .collect();
    list.sort_by_key(|subresource| subresource.name);
    list
}

fn gvk(group: &str, version: &str, kind: &str) -> GroupVersionKind {
    GroupVersionKind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
    }
}
