//! From what people type (`po`, `deploy/hello`, `pods,svc`, `all`) to resource types. Pure, over the list of kinds that a
//! server gave; the command line itself knows none.

use trireme_proto::v1::{ApiResource, ResourceRef};

use crate::exit::{Exit, Failure};
use crate::object::Object;

/// The kinds that a server knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Discovery {
    resources: Vec<ApiResource>,
}

/// One resource type, and the names that were asked for; none for all.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// The type.
    pub(crate) resource: ApiResource,
    /// The names; empty for all.
    pub(crate) names: Vec<String>,
}

/// `deployment.apps`, as kubectl prints types.
pub(crate) fn qualified(resource: &ApiResource) -> String {
    if resource.group.is_empty() {
        resource.singular.clone()
    } else {
        format!("{}.{}", resource.singular, resource.group)
    }
}

/// `apps/v1`, or `v1` in the core group.
pub(crate) fn api_version(resource: &ApiResource) -> String {
    if resource.group.is_empty() {
        resource.version.clone()
    } else {
        format!("{}/{}", resource.group, resource.version)
    }
}

/// The reference to an object, or with an empty name to the type in a namespace. The namespace of
/// cluster-scoped kinds is dropped.
pub(crate) fn reference(resource: &ApiResource, namespace: &str, name: &str) -> ResourceRef {
    ResourceRef {
        group: resource.group.clone(),
        version: resource.version.clone(),
        resource: resource.plural.clone(),
        namespace: if resource.namespaced {
            namespace.to_owned()
        } else {
            String::new()
        },
        name: name.to_owned(),
        subresource: String::new(),
    }
}

impl Discovery {
    /// Over a server's list.
    pub(crate) fn new(resources: Vec<ApiResource>) -> Self {
        Self { resources }
    }

    /// Every kind, in the server's order.
    pub(crate) fn resources(&self) -> &[ApiResource] {
        &self.resources
    }

    /// The type of an object of a manifest.
    pub(crate) fn of_object(&self, object: &Object) -> Result<&ApiResource, Failure> {
        let (api_version_wanted, kind) = (object.api_version(), object.kind());
        let found = self
            .resources
            .iter()
            .find(|r| r.kind == kind && api_version(r) == api_version_wanted);
        found.ok_or_else(|| {
            let mut known: Vec<String> = self
                .resources
                .iter()
                .filter(|r| r.kind == kind)
                .map(|r| format!("{} of {}", r.kind, api_version(r)))
                .collect();
            known.sort();
            let help = if known.is_empty() {
                "see `trireme api-resources` for the kinds that exist".to_owned()
            } else {
                format!("there is {}; correct apiVersion", known.join(", "))
            };
            Failure::new(
                Exit::NotFound,
                format!("kind: there is no kind {kind:?} of {api_version_wanted:?}"),
            )
            .help(help)
        })
    }

    /// One type by any of its names: plural, singular, short, kind; with `.group` or `.version.group` behind it.
    pub(crate) fn resource(&self, text: &str) -> Result<&ApiResource, Failure> {
        let lower = text.to_lowercase();
        let (name, rest) = lower.split_once('.').unwrap_or((&lower, ""));
        let matches_group = |r: &ApiResource| {
            rest.is_empty()
                || r.group == rest
                || (r.group.is_empty() && rest == r.version)
                || rest.strip_prefix(&r.version).and_then(|g| g.strip_prefix('.')) == Some(&r.group)
        };
        let matches_name = |r: &ApiResource| {
            r.plural == name
                || r.singular == name
                || r.kind.to_lowercase() == name
                || r.short_names.iter().any(|s| s == name)
        };
        let found = self.resources.iter().find(|r| matches_name(r) && matches_group(r));
        found.ok_or_else(|| {
            let near = self.nearest(name);
            let help = match near {
                Some(near) => format!("did you mean {near:?}? See `trireme api-resources`"),
                None => "see `trireme api-resources` for the kinds that exist".to_owned(),
            };
            Failure::new(Exit::NotFound, format!("there is no resource type {text:?}")).help(help)
        })
    }

    /// The types of a category, such as `all`, each in its first version.
    fn category(&self, name: &str) -> Vec<&ApiResource> {
        let mut found: Vec<&ApiResource> = Vec::new();
        for resource in self.resources.iter().filter(|r| r.categories.iter().any(|c| c == name)) {
            let is_known = |known: &&ApiResource| known.group == resource.group && known.plural == resource.plural;
            if !found.iter().any(is_known) {
                found.push(resource);
            }
        }
        found
    }

    /// Reads the positional arguments of most verbs: `pods`, `pods a b`, `pods,svc`, `all`, `deploy/a svc/b`.
    pub(crate) fn targets(&self, arguments: &[String]) -> Result<Vec<Target>, Failure> {
        let Some(first) = arguments.first() else {
            return Err(Failure::usage("no resource type is given")
                .help("name one, such as `pods` or `deploy/hello`; see `trireme api-resources`"));
        };
        if arguments.iter().any(|a| a.contains('/')) {
            return self.slashed(arguments);
        }
        let names = arguments[1..].to_vec();
        let mut targets = Vec::new();
        for part in first.split(',').filter(|p| !p.is_empty()) {
            let category = self.category(&part.to_lowercase());
            if category.is_empty() {
                targets.push(Target {
                    resource: self.resource(part)?.clone(),
                    names: names.clone(),
                });
            } else if names.is_empty() {
                targets.extend(category.into_iter().map(|r| Target {
                    resource: r.clone(),
                    names: Vec::new(),
                }));
            } else {
                return Err(Failure::usage(format!(
                    "{part:?} stands for several types, so it takes no names"
                )));
            }
        }
        Ok(targets)
    }

    fn slashed(&self, arguments: &[String]) -> Result<Vec<Target>, Failure> {
        let mut targets: Vec<Target> = Vec::new();
        for argument in arguments {
            let Some((kind, name)) = argument.split_once('/').filter(|(k, n)| !k.is_empty() && !n.is_empty()) else {
                return Err(Failure::usage(format!(
                    "{argument:?} is not TYPE/NAME, as the other arguments are"
                )));
            };
            let resource = self.resource(kind)?;
            match targets.last_mut() {
                Some(last) if last.resource == *resource => last.names.push(name.to_owned()),
                _ => targets.push(Target {
                    resource: resource.clone(),
                    names: vec![name.to_owned()],
                }),
            }
        }
        Ok(targets)
    }

    /// As [`Discovery::targets`], where a type without a name makes no sense.
    pub(crate) fn named_targets(&self, arguments: &[String]) -> Result<Vec<Target>, Failure> {
        let targets = self.targets(arguments)?;
        match targets.iter().find(|t| t.names.is_empty()) {
            None => Ok(targets),
            Some(target) => Err(
                Failure::usage(format!("which of the {}? A name is missing", target.resource.plural))
                    .help(format!("write {}/NAME", target.resource.singular)),
            ),
        }
    }

    /// The arguments name exactly one object.
    pub(crate) fn one(&self, arguments: &[String]) -> Result<(ApiResource, String), Failure> {
        let targets = self.named_targets(arguments)?;
        match targets.as_slice() {
            [Target { resource, names }] if names.len() == 1 => Ok((resource.clone(), names[0].clone())),
            _ => Err(Failure::usage("exactly one object is expected here")),
        }
    }

    /// The known name that is closest to a mistyped one.
    fn nearest(&self, name: &str) -> Option<&str> {
        let names = self
            .resources
            .iter()
            .flat_map(|r| [r.plural.as_str(), r.singular.as_str()]);
        names
            .map(|known| (distance(name, known), known))
            .filter(|(d, _)| *d <= 2)
            .min()
            .map(|(_, known)| known)
    }
}

/// Edits between two words (insert, delete, replace).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn mk(group: &str, kind: &str, plural: &str, short: &[&str], categories: &[&str]) -> ApiResource {
        ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            singular: kind.to_lowercase(),
            short_names: short.iter().map(|&s| s.to_owned()).collect(),
            namespaced: kind != "Node",
            categories: categories.iter().map(|&s| s.to_owned()).collect(),
            ..Default::default()
        }
    }

    fn discovery() -> Discovery {
        Discovery::new(vec![
            mk("", "Pod", "pods", &["po"], &["all"]),
            mk("", "Service", "services", &["svc"], &["all"]),
            mk("", "Node", "nodes", &["no"], &[]),
            mk("", "Event", "events", &["ev"], &[]),
            mk("events.k8s.io", "Event", "events", &["ev"], &[]),
            mk("apps", "Deployment", "deployments", &["deploy"], &["all"]),
            ApiResource {
                version: "v0".to_owned(),
                ..mk("apps", "Deployment", "deployments", &["deploy"], &["all"])
            },
        ])
    }

    fn show(arguments: &str) -> String {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        match discovery().targets(&arguments) {
            Ok(targets) => {
                let one = |t: &Target| format!("{}{:?}", qualified(&t.resource), t.names);
                targets.iter().map(one).collect::<Vec<_>>().join(" ")
            }
            Err(failure) => format!("{failure} | {}", failure.help),
        }
    }

    #[test]
    fn targets() {
        for (arguments, expected) in [
            ("pods", "pod[]"),
            ("Pod a b", r#"pod["a", "b"]"#),
            ("po,svc", "pod[] service[]"),
            ("all", "pod[] service[] deployment.apps[]"),
            (
                "deploy/a deployment/b svc/c",
                r#"deployment.apps["a", "b"] service["c"]"#,
            ),
            ("deployments.apps", "deployment.apps[]"),
            ("deployments.v1.apps a", r#"deployment.apps["a"]"#),
            ("events", "event[]"),
            ("events.events.k8s.io", "event.events.k8s.io[]"),
            ("all x", "\"all\" stands for several types, so it takes no names | "),
            ("po/a svc", "\"svc\" is not TYPE/NAME, as the other arguments are | "),
            ("pod/", "\"pod/\" is not TYPE/NAME, as the other arguments are | "),
            (
                "pds",
                "there is no resource type \"pds\" | did you mean \"pods\"? See `trireme api-resources`",
            ),
            (
                "galleys",
                "there is no resource type \"galleys\" | see `trireme api-resources` for the kinds that exist",
            ),
        ] {
            assert_eq!(show(arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn objects() {
        let object = |v: serde_json::Value| Object::new(v).unwrap();
        let discovery = discovery();
        let found = discovery
            .of_object(&object(json!({"apiVersion": "apps/v1", "kind": "Deployment"})))
            .unwrap();
        assert_eq!(found.plural, "deployments");
        let error = discovery
            .of_object(&object(json!({"apiVersion": "v1", "kind": "Deployment"})))
            .unwrap_err();
        assert_eq!(error.exit, Exit::NotFound);
        assert_eq!(
            error.help,
            "there is Deployment of apps/v0, Deployment of apps/v1; correct apiVersion"
        );
        let found = discovery
            .of_object(&object(json!({"apiVersion": "apps/v0", "kind": "Deployment"})))
            .unwrap();
        assert_eq!(found.version, "v0");
    }

    #[test]
    fn cluster_scoped_kinds_have_no_namespace() {
        let discovery = discovery();
        assert_eq!(
            reference(discovery.resource("no").unwrap(), "default", "n").namespace,
            ""
        );
        assert_eq!(
            reference(discovery.resource("po").unwrap(), "default", "p").namespace,
            "default"
        );
    }
}
