//! What each role may do: the one rule, which permits and reviews alike ask.
//!
//! Admins, servers and loops may do everything. What a node may do is a list of rules, so that it can be told as well as
//! asked. Roles and bindings are stored, but have no say yet.

use trireme_proto::api::authorization::v1::{NonResourceRule, ResourceRule};

use super::Role;
use crate::pki::Subject;

/// Stands for everything of its sort.
const ALL: &str = "*";

/// Paths that are no resources, and that everybody with a certificate may read: what there is, and whether it is well.
const OPEN_PATHS: &[&str] = &[
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
];

/// Who acts, as far as the rule is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Somebody who may do everything.
    Unbounded,
    /// The agent of a node, by the node's name.
    Node(String),
    /// Somebody without a role: they may do nothing.
    Nobody,
}

/// Something that may be done with a resource, in the words of requests. In a question, `*` stands for everything of its
/// sort.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Access<'a> {
    /// Such as `get`.
    pub(crate) verb: &'a str,
    /// API group; empty for core.
    pub(crate) group: &'a str,
    /// Plural name.
    pub(crate) resource: &'a str,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// The object; empty for a range, and for an object that is not named yet.
    pub(crate) name: &'a str,
}

impl Actor {
    /// The one of a role. `name` is a node's.
    pub(crate) fn of_role(role: Role, name: &str) -> Self {
        match role {
            Role::Admin | Role::Server | Role::System => Self::Unbounded,
            Role::Node => Self::Node(name.to_owned()),
            Role::Anonymous => Self::Nobody,
        }
    }

    /// The one of a user with groups, as a certificate would name them.
    pub(crate) fn of_user(user: &str, groups: &[String]) -> Self {
        let named = groups.iter().find_map(|group| Subject::parse(group, user));
        match named {
            Some(Subject::Admin | Subject::Server(_)) => Self::Unbounded,
            Some(Subject::Node(name)) => Self::Node(name),
            None => Self::Nobody,
        }
    }

    /// Whether this may be done with a resource.
    pub(crate) fn may(&self, access: Access<'_>) -> bool {
        match self {
            // Nearly every request is one of these, so it costs nothing.
            Self::Unbounded => true,
            Self::Nobody => false,
            Self::Node(_) => self.resource_rules().iter().any(|rule| covers(rule, access)),
        }
    }

    /// Whether a path that is no resource may be used so.
    pub(crate) fn may_use_path(&self, verb: &str, path: &str) -> bool {
        self.path_rules().iter().any(|rule| {
            let of_verb = rule.verbs.iter().any(|allowed| allowed == ALL || allowed == verb);
            of_verb
                && rule
                    .non_resource_urls
                    .iter()
                    .any(|allowed| match allowed.strip_suffix(ALL) {
                        Some(beginning) => path.starts_with(beginning),
                        None => path == allowed,
                    })
        })
    }

    /// All that may be done with resources.
    pub(crate) fn resource_rules(&self) -> Vec<ResourceRule> {
        match self {
            Self::Unbounded => vec![rule(&[ALL], ALL, &[ALL])],
            Self::Node(name) => vec![
                // A node reads itself.
                ResourceRule {
                    resource_names: vec![name.clone()],
                    ..rule(&["get"], "", &["nodes", "nodes/status"])
                },
                // It tells people what it does. That it tells it in its own name, of itself and its own pods, is for the
                // registry to check, which sees the event.
                rule(&["create", "update"], "", &["events"]),
                // Everybody may ask about himself.
                rule(&["create"], "authentication.k8s.io", &["selfsubjectreviews"]),
                rule(
                    &["create"],
                    "authorization.k8s.io",
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                ),
            ],
            Self::Nobody => Vec::new(),
        }
    }

    /// All that may be done with paths that are no resources.
    pub(crate) fn path_rules(&self) -> Vec<NonResourceRule> {
        let (verb, paths): (&str, &[&str]) = match self {
            Self::Unbounded => (ALL, &[ALL]),
            Self::Node(_) => ("get", OPEN_PATHS),
            Self::Nobody => return Vec::new(),
        };
        vec![NonResourceRule {
            verbs: texts(&[verb]),
            non_resource_urls: texts(paths),
        }]
    }
}

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> ResourceRule {
    ResourceRule {
        verbs: texts(verbs),
        api_groups: texts(&[group]),
        resources: texts(resources),
        resource_names: Vec::new(),
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn covers(rule: &ResourceRule, access: Access<'_>) -> bool {
    let has = |list: &[String], value: &str| list.iter().any(|allowed| allowed == ALL || allowed == value);
    let of_resource = rule.resources.iter().any(|allowed| match allowed.split_once('/') {
        Some((resource, part)) => resource == access.resource && part == access.subresource,
        None => allowed == ALL || (allowed == access.resource && access.subresource.is_empty()),
    });
    has(&rule.verbs, access.verb)
        && has(&rule.api_groups, access.group)
        && of_resource
        && (rule.resource_names.is_empty() || rule.resource_names.iter().any(|name| name == access.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access<'a>(verb: &'a str, group: &'a str, resource: &'a str, name: &'a str) -> Access<'a> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Access {
            verb,
            group,
            resource,
            subresource,
            name,
        }
    }

    #[test]
    fn who_is_who() {
        let groups = |list: &[&str]| texts(list);
        for (user, list, expected) in [
            ("ann", groups(&["friends", "system:masters"]), Actor::Unbounded),
            ("system:server:s1", groups(&["system:servers"]), Actor::Unbounded),
            ("system:node:n1", groups(&["system:nodes"]), Actor::Node("n1".into())),
            ("system:node:n1", groups(&["friends"]), Actor::Nobody),
            ("ann", groups(&["system:nodes"]), Actor::Nobody),
            ("ann", groups(&[]), Actor::Nobody),
        ] {
            assert_eq!(Actor::of_user(user, &list), expected, "{user} {list:?}");
        }
        assert_eq!(Actor::of_role(Role::Node, "n1"), Actor::Node("n1".into()));
        assert_eq!(Actor::of_role(Role::Anonymous, ""), Actor::Nobody);
    }

    #[test]
    fn what_a_node_may_do_with_resources() {
        let node = Actor::Node("n1".into());
        for (asked, expected) in [
            (access("get", "", "nodes", "n1"), true),
            (access("get", "", "nodes/status", "n1"), true),
            (access("get", "", "nodes", "n2"), false),
            (access("get", "", "nodes", ""), false),
            (access("list", "", "nodes", ""), false),
            (access("update", "", "nodes", "n1"), false),
            (access("get", "apps", "nodes", "n1"), false),
            (access("create", "", "events", ""), true),
            (access("update", "", "events", "web.1"), true),
            (access("update", "", "events/status", "web.1"), false),
            (access("delete", "", "events", "web.1"), false),
            (
                access("create", "authorization.k8s.io", "selfsubjectaccessreviews", ""),
                true,
            ),
            (
                access("create", "authorization.k8s.io", "subjectaccessreviews", ""),
                false,
            ),
            (access("*", "*", "*", ""), false),
            (access("*", "", "events", ""), false),
        ] {
            assert_eq!(node.may(asked), expected, "{asked:?}");
            assert!(Actor::Unbounded.may(asked) && !Actor::Nobody.may(asked), "{asked:?}");
        }
    }

    #[test]
    fn what_is_open_to_read() {
        let node = Actor::Node("n1".into());
        for (verb, path, expected) in [
            ("get", "/version", true),
            ("get", "/api/v1", true),
            ("get", "/api", true),
            ("get", "/apis/apps/v1", true),
            ("get", "/openapi/v3", true),
            ("get", "/metrics", false),
            ("get", "/apish", false),
            ("post", "/version", false),
            ("*", "/version", false),
        ] {
            assert_eq!(node.may_use_path(verb, path), expected, "{verb} {path}");
            assert!(Actor::Unbounded.may_use_path(verb, path) && !Actor::Nobody.may_use_path(verb, path));
        }
    }

    #[test]
    fn what_is_told_is_what_is_allowed() {
        for actor in [Actor::Unbounded, Actor::Node("n1".into()), Actor::Nobody] {
            for rule in actor.resource_rules() {
                let name = rule.resource_names.first().map_or("", String::as_str);
                for (verb, resource) in rule
                    .verbs
                    .iter()
                    .flat_map(|verb| rule.resources.iter().map(move |r| (verb, r)))
                {
                    assert!(actor.may(access(verb, &rule.api_groups[0], resource, name)), "{rule:?}");
                }
            }
        }
    }
}
