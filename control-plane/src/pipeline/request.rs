//! What is asked: from names in a request to a kind, a verb and one object or a range.

use trireme_logic::{
    admission::group_resource,
    kind::KindInfo,
    kinds,
    object::{KindOps, ObjectKey},
    validation::names,
};
use trireme_proto::v1::ResourceRef;

use crate::{status::ApiError, transport::Peer};

/// A request as a transport read it; nothing in it is trusted.
#[derive(Debug)]
pub struct RawRequest<'a> {
    /// The other end of its connection.
    pub peer: &'a Peer,
    /// What to do.
    pub verb: Verb,
    /// With what.
    pub resource: &'a ResourceRef,
}

/// What to do with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read a range.
    List,
    /// Follow a range.
    Watch,
    /// Store a new object.
    Create,
    /// Replace an object.
    Update,
    /// Change part of an object.
    Patch,
    /// Delete an object.
    Delete,
    /// Delete the objects of a range.
    DeleteCollection,
}

/// Part of an object that is served on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subresource {
    /// The object itself.
    None,
    /// Its status.
    Status,
    /// Its number of replicas.
    Scale,
    /// A pod's binding to a node.
    Binding,
    /// A namespace's finalizers.
    Finalize,
    /// A pod's log.
    Log,
    /// A pod's removal, as far as its disruption budgets allow.
    Eviction,
    /// Containers that are added to a pod that runs.
    EphemeralContainers,
    /// What a pod's containers may use, changed while it runs.
    Resize,
    /// Whether a request for a certificate is approved.
    Approval,
}

/// What is asked, in known terms.
#[derive(Clone)]
pub struct RequestInfo {
    verb: Verb,
    ops: &'static dyn KindOps,
    subresource: Subresource,
    key: ObjectKey,
}

impl Verb {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    fn names_one_object(self) -> bool {
        matches!(self, Self::Get | Self::Update | Self::Patch | Self::Delete)
    }
}

impl Subresource {
    /// As it stands in a path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Finalize => "finalize",
            Self::Log => "log",
            Self::Eviction => "eviction",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Approval => "approval",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [
            Self::None,
            Self::Status,
            Self::Scale,
            Self::Binding,
            Self::Finalize,
            Self::Log,
            Self::Eviction,
            Self::EphemeralContainers,
            Self::Resize,
            Self::Approval,
        ]
        .into_iter()
        .find(|subresource| subresource.as_str() == name)
    }

    fn has_verb(self, verb: Verb) -> bool {
        match self {
            Self::None => true,
            Self::Status | Self::Scale | Self::EphemeralContainers | Self::Resize | Self::Approval => {
                matches!(verb, Verb::Get | Verb::Update | Verb::Patch)
            }
            Self::Binding | Self::Eviction => verb == Verb::Create,
            Self::Finalize => verb == Verb::Update,
            Self::Log => verb == Verb::Get,
        }
    }
}

impl RequestInfo {
    /// Finds the kind, and checks that the names fit it and the verb.
    ///
    /// # Errors
    /// `NotFound` for a kind that is not known, `MethodNotAllowed` for a verb that it does not have, `BadRequest` for
    /// names that do not fit.
    pub fn parse(raw: &RawRequest<'_>) -> Result<Self, ApiError> {
        let RawRequest { verb, resource, .. } = *raw;
        let ops = kinds::by_resource(&resource.group, &resource.version, &resource.resource)
            .ok_or_else(|| unknown_resource(resource))?;
        let info = ops.info();
        let subresource = Subresource::parse(&resource.subresource)
            .filter(|subresource| {
                *subresource == Subresource::None || info.subresources.contains(&subresource.as_str())
            })
            .ok_or_else(|| unknown_resource(resource))?;
        if !subresource.has_verb(verb) {
            let what = format!("{}/{}", group_resource(info), subresource.as_str());
            return Err(ApiError::method_not_allowed(format!(
                "{what} cannot be used with {}",
                verb.as_str()
            )));
        }
        let one_object = verb.names_one_object() || subresource != Subresource::None;
        check_names(info, verb, resource, one_object)?;
        let key = ObjectKey::new(resource.namespace.as_str(), resource.name.as_str());
        Ok(Self {
            verb,
            ops,
            subresource,
            key,
        })
    }

    /// What to do.
    #[must_use]
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// With what kind.
    #[must_use]
    pub fn ops(&self) -> &'static dyn KindOps {
        self.ops
    }

    /// The facts of that kind.
    #[must_use]
    pub fn kind(&self) -> &'static KindInfo {
        self.ops.info()
    }

    /// With what part.
    #[must_use]
    pub fn subresource(&self) -> Subresource {
        self.subresource
    }

    /// With which object; the name is empty for ranges and in a create, the namespace for all namespaces.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }
}

impl std::fmt::Debug for RequestInfo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (verb, what, part) = (
            self.verb.as_str(),
            group_resource(self.kind()),
            self.subresource.as_str(),
        );
        write!(formatter, "{verb} {what} {} {part}", self.key)
    }
}

fn unknown_resource(resource: &ResourceRef) -> ApiError {
    let mut what = resource.resource.clone();
    if !resource.subresource.is_empty() {
        what = format!("{what}/{}", resource.subresource);
    }
    let version = if resource.version.is_empty() {
        String::new()
    } else {
        format!(" version {:?}", resource.version)
    };
    ApiError::not_found_other(format!(
        "the server could not find the requested resource: {what:?} in API group {:?}{version}",
        resource.group
    ))
}

fn check_names(info: &KindInfo, verb: Verb, resource: &ResourceRef, one_object: bool) -> Result<(), ApiError> {
    let (namespace, name) = (&resource.namespace, &resource.name);
    if !info.namespaced && !namespace.is_empty() {
        return Err(ApiError::bad_request(format!(
            "{} are not in namespaces, but {namespace:?} was given",
            group_resource(info)
        )));
    }
    if one_object && name.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the {} must be given",
            info.singular
        )));
    }
    // A list or watch over all namespaces has none; with a name it cannot but be one object.
    let needs_namespace = info.namespaced && (one_object || verb == Verb::Create || !name.is_empty());
    if needs_namespace && namespace.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the namespace of the {} must be given",
            info.singular
        )));
    }
    // Names become parts of storage keys: nothing but a proper one may (I9).
    if !namespace.is_empty() && !names::dns_label(namespace).is_empty() {
        return Err(ApiError::bad_request(format!(
            "{namespace:?} is not the name of a namespace"
        )));
    }
    if !name.is_empty() && !is_path_segment(name) {
        return Err(ApiError::bad_request(format!(
            "{name:?} is not the name of a {}",
            info.singular
        )));
    }
    Ok(())
}

fn is_path_segment(name: &str) -> bool {
    name.len() <= 253 && !matches!(name, "." | "..") && !name.bytes().any(|byte| matches!(byte, b'/' | b'%' | 0..=0x1f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Reason;

    fn parse(verb: Verb, path: &str) -> Result<RequestInfo, ApiError> {
        let peer = Peer::for_tests(None);
        let parts: Vec<&str> = path.split('|').collect();
        let part = |index: usize| parts.get(index).map_or_else(String::new, |part| (*part).to_owned());
        let resource = ResourceRef {
            group: part(0),
            version: part(1),
            resource: part(2),
            namespace: part(3),
            name: part(4),
            subresource: part(5),
        };
        RequestInfo::parse(&RawRequest {
            peer: &peer,
            verb,
            resource: &resource,
        })
    }

    #[test]
    fn good_requests_are_understood() {
        for (verb, path) in [
            (Verb::Get, "||pods|shop|web"),
            (Verb::Get, "|v1|pods|shop|web|status"),
            (Verb::Update, "apps|v1|deployments|shop|web|scale"),
            (
                Verb::Update,
                "certificates.k8s.io|v1|certificatesigningrequests||robot|approval",
            ),
            (Verb::Create, "||pods|shop|web|binding"),
            (Verb::Create, "||pods|shop"),
            (Verb::List, "||pods"),
            (Verb::Watch, "||pods|shop|web"),
            (Verb::Create, "||nodes"),
        ] {
            assert!(parse(verb, path).is_ok(), "{verb:?} {path}");
        }
    }

    #[test]
    fn bad_requests_say_what_is_wrong() {
        for (verb, path, reason, words) in [
            (
                Verb::Get,
                "||ships|a|b",
                Reason::NotFound,
                "could not find the requested resource",
            ),
            (Verb::Get, "|v9|pods|a|b", Reason::NotFound, "version \"v9\""),
            (Verb::Get, "||pods|a|b|sail", Reason::NotFound, "pods/sail"),
            (
                Verb::Get,
                "||configmaps|a|b|scale",
                Reason::NotFound,
                "configmaps/scale",
            ),
            (
                Verb::Delete,
                "||pods|a|b|status",
                Reason::MethodNotAllowed,
                "cannot be used with delete",
            ),
            (
                Verb::Get,
                "||pods|a|b|binding",
                Reason::MethodNotAllowed,
                "cannot be used with get",
            ),
            (Verb::Get, "||nodes|a|b", Reason::BadRequest, "not in namespaces"),
            (
                Verb::Get,
                "||pods|a",
                Reason::BadRequest,
                "name of the pod must be given",
            ),
            (
                Verb::Get,
                "||pods||b",
                Reason::BadRequest,
                "namespace of the pod must be given",
            ),
            (
                Verb::Create,
                "||pods",
                Reason::BadRequest,
                "namespace of the pod must be given",
            ),
            (
                Verb::Get,
                "||pods|A_B|b",
                Reason::BadRequest,
                "not the name of a namespace",
            ),
            (
                Verb::Get,
                "||pods|a|b/../c",
                Reason::BadRequest,
                "not the name of a pod",
            ),
            (Verb::Get, "||pods|a|..", Reason::BadRequest, "not the name of a pod"),
        ] {
            let error = parse(verb, path).expect_err(path);
            assert_eq!(error.reason(), reason, "{path}");
            assert!(error.message().contains(words), "{path}: {error}");
        }
    }
}
