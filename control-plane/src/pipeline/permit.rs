//! Who may do what, and the proof that it was asked.
//!
//! What each role may do, [`access`](super::access) says. A [`Permit`] names what it allows, and the registry refuses to do anything else with it. A node gets
//! its objects through the node agents' service, which hands it only what is its own (I6).

use trireme_logic::{admission::group_resource, kind::KindInfo, kinds, object::ObjectKey};
use trireme_store::{
    kv::Leadership,
    lanes::{Asker, Lane},
};

use super::{
    FieldManager, Identity, RawRequest, RequestInfo, Role, Subresource, Verb,
    access::{Access, Actor},
    lane_of,
};
use crate::status::ApiError;

/// Allows one request, or the work of one loop or node.
#[derive(Debug, Clone)]
pub struct Permit {
    identity: Identity,
    scope: Scope,
    fence: Option<Leadership>,
    manager: Option<FieldManager>,
}

#[derive(Debug, Clone)]
enum Scope {
    /// Just this request.
    Request(RequestInfo),
    /// Anything: a controller of this process.
    System,
    /// What the registry's functions for nodes do.
    Node,
}

impl Permit {
    /// All the steps from a raw request to its permit.
    ///
    /// # Errors
    /// Those of [`RequestInfo::parse`], [`Identity::authenticate`] and [`authorize`](Self::authorize).
    pub fn request(raw: &RawRequest<'_>) -> Result<Self, ApiError> {
        let identity = Identity::authenticate(raw.peer)?;
        let info = RequestInfo::parse(raw)?;
        Self::authorize(identity, info)
    }

    /// Authorization.
    ///
    /// # Errors
    /// [`Forbidden`](crate::status::Reason::Forbidden), or
    /// [`Unauthorized`](crate::status::Reason::Unauthorized) for someone without a certificate.
    pub fn authorize(identity: Identity, info: RequestInfo) -> Result<Self, ApiError> {
        if identity.role() == Role::Anonymous {
            return Err(no_certificate());
        }
        let access = Access {
            verb: info.verb().as_str(),
            group: info.kind().group,
            resource: info.kind().plural,
            subresource: info.subresource().as_str(),
            name: &info.key().name,
        };
        if Actor::of_role(identity.role(), identity.name()).may(access) {
            Ok(Self {
                identity,
                scope: Scope::Request(info),
                fence: None,
                manager: None,
            })
        } else {
            Err(forbidden(
                &identity,
                info.verb(),
                info.kind(),
                info.subresource(),
                info.key(),
            ))
        }
    }

    /// For a loop of this process. With a `fence`, its writes take effect only under that leadership (I5).
    pub(crate) fn system(controller: &str, fence: Option<Leadership>) -> Self {
        Self {
            identity: Identity::system(controller),
            scope: Scope::System,
            fence,
            manager: None,
        }
    }

    /// For a node's agent, to be used with the registry's functions for nodes.
    ///
    /// # Errors
    /// [`Forbidden`](crate::status::Reason::Forbidden) if it is not a node.
    pub(crate) fn node(identity: Identity) -> Result<Self, ApiError> {
        if identity.role() != Role::Node {
            return Err(ApiError::forbidden(format!("{identity} is not a node")));
        }
        Ok(Self {
            identity,
            scope: Scope::Node,
            fence: None,
            manager: None,
        })
    }

    /// The same, for a request whose changes are owned by a manager. What servers and nodes write, such as events, is the
    /// control plane's own and owned by nobody.
    #[must_use]
    pub fn managed_by(mut self, manager: FieldManager) -> Self {
        self.manager = match self.identity.role() {
            Role::Admin | Role::Anonymous => Some(manager),
            Role::Server | Role::Node | Role::System => None,
        };
        self
    }

    /// Who owns what is changed; nobody for loops, and for what no door has named.
    pub(crate) fn manager(&self) -> Option<&FieldManager> {
        self.manager.as_ref()
    }

    /// Who asks.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is asked, if it is one request.
    #[must_use]
    pub fn request_info(&self) -> Option<&RequestInfo> {
        match &self.scope {
            Scope::Request(info) => Some(info),
            Scope::System | Scope::Node => None,
        }
    }

    /// Who asks, and in which lane: for a list with `limit`, 0 for none.
    pub(crate) fn asker(&self, limit: usize) -> Asker {
        let lane = match &self.scope {
            Scope::Request(info) => lane_of(self.identity.role(), info.verb(), limit),
            Scope::System | Scope::Node => Lane::System,
        };
        Asker {
            lane,
            flow: self.identity.flow(),
        }
    }

    pub(crate) fn fence(&self) -> Option<Leadership> {
        self.fence
    }

    pub(crate) fn is_system(&self) -> bool {
        matches!(self.scope, Scope::System)
    }

    /// The name of the node that it was given to.
    pub(crate) fn require_node(&self) -> Result<&str, ApiError> {
        match (&self.scope, self.identity.node_name()) {
            (Scope::Node, Some(name)) => Ok(name),
            _ => Err(ApiError::forbidden(format!(
                "{} does not act for a node",
                self.identity
            ))),
        }
    }

    /// Refuses anything but what was permitted. A request's permit may come with several verbs that lead to
    /// the same change (an update by patch), so the caller names those it serves.
    pub(crate) fn require(
        &self,
        verbs: &[Verb],
        kind: &KindInfo,
        subresource: Subresource,
        key: &ObjectKey,
    ) -> Result<(), ApiError> {
        let covered = match &self.scope {
            Scope::System => true,
            Scope::Node => false,
            Scope::Request(info) => {
                // A create does not name its object yet.
                let stored = kinds::stored_as(kind);
                let name_fits =
                    info.key().name == key.name || (info.key().name.is_empty() && info.verb() == Verb::Create);
                verbs.contains(&info.verb())
                    && is_kind(info.kind(), stored.group, stored.plural)
                    && info.subresource() == subresource
                    && info.key().namespace == key.namespace
                    && name_fits
            }
        };
        if covered {
            Ok(())
        } else {
            Err(forbidden(&self.identity, verbs[0], kind, subresource, key))
        }
    }
}

/// What someone without a certificate is told.
pub(super) fn no_certificate() -> ApiError {
    ApiError::unauthorized("a client certificate is needed; see the kubeconfig of this cluster")
}

/// Whatever version of the kind it is.
fn is_kind(kind: &KindInfo, group: &str, plural: &str) -> bool {
    let kind = kinds::stored_as(kind);
    kind.plural == plural && kind.group == group
}

pub(super) fn forbidden(
    identity: &Identity,
    verb: Verb,
    kind: &KindInfo,
    subresource: Subresource,
    key: &ObjectKey,
) -> ApiError {
    let resource = match subresource {
        Subresource::None => kind.plural.to_owned(),
        part => format!("{}/{}", kind.plural, part.as_str()),
    };
    let place = match (kind.namespaced, key.namespace.as_str()) {
        (true, "") | (false, _) => "at the cluster scope".to_owned(),
        (true, namespace) => format!("in the namespace \"{namespace}\""),
    };
    let name = if key.name.is_empty() {
        String::new()
    } else {
        format!(" \"{}\"", key.name)
    };
    ApiError::forbidden(format!(
        "{}{name} is forbidden: User \"{identity}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
        group_resource(kind),
        verb.as_str(),
        kind.group,
    ))
}

#[cfg(test)]
mod tests {
    use trireme_proto::v1::ResourceRef;

    use super::*;
    use crate::{pki::Subject, status::Reason, transport::Peer};

    fn ask(
        subject: Option<Subject>,
        verb: Verb,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Permit, ApiError> {
        let peer = Peer::for_tests(subject);
        let resource = ResourceRef {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..ResourceRef::default()
        };
        Permit::request(&RawRequest {
            peer: &peer,
            verb,
            resource: &resource,
        })
    }

    #[test]
    fn roles_and_what_they_may() {
        let admin = || Some(Subject::Admin);
        let server = || Some(Subject::Server("s1".into()));
        let node = || Some(Subject::Node("n1".into()));
        for (subject, verb, resource, namespace, name, expected) in [
            (admin(), Verb::Delete, "nodes", "", "n1", None),
            (admin(), Verb::Get, "secrets", "shop", "key", None),
            (server(), Verb::Update, "pods", "shop", "web", None),
            (node(), Verb::Get, "nodes", "", "n1", None),
            (node(), Verb::Get, "nodes", "", "n2", Some(Reason::Forbidden)),
            (node(), Verb::Update, "nodes", "", "n1", Some(Reason::Forbidden)),
            (node(), Verb::List, "nodes", "", "", Some(Reason::Forbidden)),
            (node(), Verb::Watch, "pods", "", "", Some(Reason::Forbidden)),
            (node(), Verb::Get, "pods", "shop", "web", Some(Reason::Forbidden)),
            (node(), Verb::Get, "secrets", "shop", "key", Some(Reason::Forbidden)),
            (node(), Verb::Get, "configmaps", "shop", "n1", Some(Reason::Forbidden)),
            (node(), Verb::Create, "pods", "shop", "", Some(Reason::Forbidden)),
            (node(), Verb::Create, "events", "shop", "", None),
            (node(), Verb::Update, "events", "shop", "web.1", None),
            (node(), Verb::List, "events", "shop", "", Some(Reason::Forbidden)),
            (node(), Verb::Delete, "events", "shop", "web.1", Some(Reason::Forbidden)),
            (None, Verb::Get, "pods", "shop", "web", Some(Reason::Unauthorized)),
            (None, Verb::List, "namespaces", "", "", Some(Reason::Unauthorized)),
        ] {
            let outcome = ask(subject.clone(), verb, resource, namespace, name)
                .map_err(|error| error.reason())
                .err();
            assert_eq!(outcome, expected, "{subject:?} {verb:?} {resource} {namespace}/{name}");
        }
    }

    #[test]
    fn a_refusal_names_all_of_it() {
        let error = ask(Some(Subject::Node("n1".into())), Verb::List, "pods", "shop", "").expect_err("refused");
        assert_eq!(
            error.message(),
            "pods is forbidden: User \"system:node:n1\" cannot list resource \"pods\" in API group \"\" in the namespace \"shop\""
        );
    }

    #[test]
    fn a_permit_allows_what_it_was_given_for_and_nothing_else() {
        let permit = ask(Some(Subject::Admin), Verb::Get, "pods", "shop", "web").expect("granted");
        let pods = kinds::by_resource("", "v1", "pods").expect("a kind").info();
        let services = kinds::by_resource("", "v1", "services").expect("a kind").info();
        let web = ObjectKey::new("shop", "web");
        let none = Subresource::None;
        assert!(permit.require(&[Verb::Get], pods, none, &web).is_ok());
        assert!(permit.require(&[Verb::Delete], pods, none, &web).is_err());
        assert!(permit.require(&[Verb::Get], services, none, &web).is_err());
        assert!(permit.require(&[Verb::Get], pods, Subresource::Status, &web).is_err());
        assert!(
            permit
                .require(&[Verb::Get], pods, none, &ObjectKey::new("shop", "other"))
                .is_err()
        );
        assert!(
            permit
                .require(&[Verb::Get], pods, none, &ObjectKey::new("other", "web"))
                .is_err()
        );
        assert!(permit.require_node().is_err());
    }

    #[test]
    fn only_people_own_what_they_write() {
        let manager = || FieldManager::of_request("me", "").expect("good");
        for (subject, is_owner) in [
            (Subject::Admin, true),
            (Subject::Node("n1".into()), false),
            (Subject::Server("s1".into()), false),
        ] {
            let permit = ask(Some(subject.clone()), Verb::Create, "events", "shop", "").expect("granted");
            assert!(permit.manager().is_none());
            let managed = permit.managed_by(manager());
            assert_eq!(managed.manager().is_some(), is_owner, "{subject:?}");
        }
    }
}
