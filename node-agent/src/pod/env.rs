//! A container's environment and command line: references resolved, `$(NAME)` expanded. Pure.
//!
//! A reference that leads nowhere is a [`ConfigProblem`]; the container waits until the object it
//! names is there.

use super::{NodeFacts, References};
use crate::convert::quantity_value;
use crate::limits;
use std::collections::BTreeMap;
use std::net::IpAddr;
use trireme_proto::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, Pod, ResourceFieldSelector, ResourceRequirements,
};

/// Why a container cannot be configured, in one sentence for its status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigProblem(pub(crate) String);

/// What references may lead to.
pub(crate) struct Context<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) references: &'a References,
    pub(crate) node: &'a NodeFacts,
    /// The pod's addresses; the host's for a pod on the host's network.
    pub(crate) pod_addresses: &'a [IpAddr],
}

impl Context<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.as_ref().map_or("", |meta| meta.namespace.as_str())
    }
}

/// The container's environment, in the order of the object; `envFrom` first.
pub(crate) fn resolve(context: &Context<'_>, container: &Container) -> Result<Vec<(String, String)>, ConfigProblem> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for source in &container.env_from {
        for (name, value) in from_source(context, source)? {
            known.insert(name.clone(), value.clone());
            variables.push((name, value));
        }
    }
    for variable in &container.env {
        let Some(value) = value_of(context, container, variable, &known)? else {
            continue;
        };
        known.insert(variable.name.clone(), value.clone());
        variables.push((variable.name.clone(), value));
    }
    Ok(variables)
}

/// Expands `$(NAME)` in a word of the command line. Unknown names stay as written, `$$(NAME)` is the
/// literal `$(NAME)`.
pub(crate) fn expand(text: &str, known: &BTreeMap<String, String>) -> Result<String, ConfigProblem> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after_escape) = after.strip_prefix('$') {
            result.push('$');
            rest = after_escape;
            continue;
        }
        let reference = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match reference {
            Some((name, after_reference)) => {
                match known.get(name) {
                    Some(value) => result.push_str(value),
                    None => result.push_str(&rest[at..at + name.len() + 3]),
                }
                rest = after_reference;
            }
            None => {
                result.push('$');
                rest = after;
            }
        }
        if result.len() > limits::EXPANDED_VALUE_MAX_BYTES {
            return Err(ConfigProblem(
                "a value is too large after its references are expanded".to_owned(),
            ));
        }
    }
    result.push_str(rest);
    Ok(result)
}

fn from_source(context: &Context<'_>, source: &EnvFromSource) -> Result<Vec<(String, String)>, ConfigProblem> {
    let mut pairs = Vec::new();
    if let Some(reference) = &source.config_map_ref {
        let name = reference
            .local_object_reference
            .as_ref()
            .map_or("", |name| name.name.as_str());
        match context
            .references
            .config_maps
            .get(&(context.namespace().to_owned(), name.to_owned()))
        {
            Some(map) => pairs.extend(map.data.iter().map(|(key, value)| (key.clone(), value.clone()))),
            None if reference.optional.unwrap_or(false) => {}
            None => return Err(missing("configmap", name)),
        }
    }
    if let Some(reference) = &source.secret_ref {
        let name = reference
            .local_object_reference
            .as_ref()
            .map_or("", |name| name.name.as_str());
        match context
            .references
            .secrets
            .get(&(context.namespace().to_owned(), name.to_owned()))
        {
            Some(secret) => {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                pairs.extend(secret.data.iter().map(|(key, value)| (key.clone(), text(value))));
            }
            None if reference.optional.unwrap_or(false) => {}
            None => return Err(missing("secret", name)),
        }
    }
    let mut pairs: Vec<(String, String)> = pairs
        .into_iter()
        .map(|(key, value)| (format!("{}{key}", source.prefix), value))
        .collect();
    // A key that cannot name a variable is skipped, as Kubernetes does.
    pairs.retain(|(name, _)| !name.is_empty() && !name.contains(['=', '\0']));
    pairs.sort();
    Ok(pairs)
}

fn missing(kind: &str, name: &str) -> ConfigProblem {
    ConfigProblem(format!("{kind} {name:?} not found"))
}

fn value_of(
    context: &Context<'_>,
    container: &Container,
    variable: &EnvVar,
    known: &BTreeMap<String, String>,
) -> Result<Option<String>, ConfigProblem> {
    match &variable.value_from {
        Some(source) => from_reference(context, container, source),
        None => expand(&variable.value, known).map(Some),
    }
}

fn from_reference(
    context: &Context<'_>,
    container: &Container,
    source: &EnvVarSource,
) -> Result<Option<String>, ConfigProblem> {
    if let Some(field) = &source.field_ref {
        return field_value(context, &field.field_path).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_value(context, Some(container), resource).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        let name = key
            .local_object_reference
            .as_ref()
            .map_or("", |name| name.name.as_str());
        let map = context
            .references
            .config_maps
            .get(&(context.namespace().to_owned(), name.to_owned()));
        return match map.map(|map| map.data.get(&key.key)) {
            Some(Some(value)) => Ok(Some(value.clone())),
            _ if key.optional.unwrap_or(false) => Ok(None),
            Some(None) => Err(ConfigProblem(format!("configmap {name:?} has no key {:?}", key.key))),
            None => Err(missing("configmap", name)),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let name = key
            .local_object_reference
            .as_ref()
            .map_or("", |name| name.name.as_str());
        let secret = context
            .references
            .secrets
            .get(&(context.namespace().to_owned(), name.to_owned()));
        return match secret.map(|secret| secret.data.get(&key.key)) {
            Some(Some(value)) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            _ if key.optional.unwrap_or(false) => Ok(None),
            Some(None) => Err(ConfigProblem(format!("secret {name:?} has no key {:?}", key.key))),
            None => Err(missing("secret", name)),
        };
    }
    Err(ConfigProblem(
        "an environment variable has an unsupported source".to_owned(),
    ))
}

/// The value of a field of the pod, such as `metadata.name` or `metadata.labels['app']`.
pub(crate) fn field_value(context: &Context<'_>, path: &str) -> Result<String, ConfigProblem> {
    let unsupported = || ConfigProblem(format!("field {path:?} cannot be referred to"));
    let meta = context.pod.metadata.as_ref().ok_or_else(unsupported)?;
    let spec = context.pod.spec.as_ref().ok_or_else(unsupported)?;
    let join = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let first = |addresses: &[IpAddr]| addresses.first().map(ToString::to_string).unwrap_or_default();
    if let Some(key) = subscript(path, "metadata.labels") {
        return Ok(meta.labels.get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript(path, "metadata.annotations") {
        return Ok(meta.annotations.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => listing(meta.labels.iter()),
        "metadata.annotations" => listing(meta.annotations.iter()),
        "spec.nodeName" => context.node.name.clone(),
        "spec.serviceAccountName" => spec.service_account_name.clone(),
        "status.hostIP" => first(&context.node.addresses),
        "status.hostIPs" => join(&context.node.addresses),
        "status.podIP" => first(context.pod_addresses),
        "status.podIPs" => join(context.pod_addresses),
        _ => return Err(unsupported()),
    })
}

/// `key` of a path `base['key']`.
fn subscript<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    path.strip_prefix(base)?.strip_prefix("['")?.strip_suffix("']")
}

/// One `key="value"` a line, as files of the downward API have it.
fn listing<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let ordered: BTreeMap<&String, &String> = pairs.collect();
    ordered
        .iter()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The value of a container's bound or request, divided by the selector's divisor and rounded up.
pub(crate) fn resource_value(
    context: &Context<'_>,
    default_container: Option<&Container>,
    selector: &ResourceFieldSelector,
) -> Result<String, ConfigProblem> {
    let spec = context.pod.spec.as_ref();
    let named = spec.and_then(|spec| {
        spec.containers
            .iter()
            .chain(&spec.init_containers)
            .find(|other| other.name == selector.container_name)
    });
    let container = if selector.container_name.is_empty() {
        default_container
    } else {
        named
    };
    let container =
        container.ok_or_else(|| ConfigProblem(format!("there is no container {:?}", selector.container_name)))?;
    let unsupported = || ConfigProblem(format!("resource {:?} cannot be referred to", selector.resource));
    let (side, resource) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let empty = ResourceRequirements::default();
    let resources = container.resources.as_ref().unwrap_or(&empty);
    let is_limit = side == "limits";
    let quantity = match side {
        "limits" => resources.limits.get(resource),
        "requests" => resources.requests.get(resource),
        _ => return Err(unsupported()),
    };
    // An absent bound is what the node has; an absent request is nothing.
    let milli_value = match (quantity.and_then(quantity_value), resource) {
        (Some(value), _) => value,
        (None, "cpu") if is_limit => i128::from(context.node.cpu_millis),
        (None, "memory") if is_limit => i128::from(context.node.memory_bytes) * 1_000,
        (None, _) => 0,
    };
    let divisor = selector
        .divisor
        .as_ref()
        .and_then(quantity_value)
        .filter(|divisor| *divisor > 0);
    let divisor = divisor.unwrap_or(1_000);
    Ok(((milli_value + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())]);
        for (text, expected) in [
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$$(A)", "$(A)"),
            ("$(B)", "$(A)"),
            ("$", "$"),
            ("a$b", "a$b"),
            ("$(A", "$(A"),
            ("$$$$", "$$"),
            ("ü$(A)ü", "ü1ü"),
        ] {
            assert_eq!(expand(text, &known).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn expansion_is_bounded() {
        let known = BTreeMap::from([("A".to_owned(), "x".repeat(limits::EXPANDED_VALUE_MAX_BYTES))]);
        assert!(expand("$(A)$(A)", &known).is_err());
    }
}
