//! Who is asking.

use std::fmt;

use trireme_store::lanes::Flow;

use crate::{
    pki::{GROUP_ADMINS, GROUP_NODES, GROUP_SERVERS, Subject},
    status::ApiError,
    transport::Peer,
};

/// What an identity may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A person with all rights.
    Admin,
    /// A server of the cluster.
    Server,
    /// A node's agent.
    Node,
    /// Someone without a certificate.
    Anonymous,
    /// A loop in this process.
    System,
}

/// Who is asking. Made from a connection's verified certificate, and in no other way from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    role: Role,
    name: String,
    flow: Flow,
}

impl Identity {
    /// Authentication: reads who the other end of a connection is.
    ///
    /// # Errors
    /// [`Unauthorized`](crate::status::Reason::Unauthorized) if its certificate names nobody known.
    pub fn authenticate(peer: &Peer) -> Result<Self, ApiError> {
        if peer.has_unknown_certificate() {
            return Err(ApiError::unauthorized(
                "the client certificate names neither an admin, nor a server, nor a node of this cluster",
            ));
        }
        let (role, name) = match peer.subject() {
            Some(Subject::Admin) => (Role::Admin, Subject::Admin.common_name()),
            Some(Subject::Server(name)) => (Role::Server, name.clone()),
            Some(Subject::Node(name)) => (Role::Node, name.clone()),
            None => (Role::Anonymous, "system:anonymous".to_owned()),
        };
        let flow = peer.flow();
        Ok(Self { role, name, flow })
    }

    /// Authentication of a gRPC request.
    ///
    /// # Errors
    /// [`Unauthorized`](crate::status::Reason::Unauthorized).
    pub fn of_request<T>(request: &tonic::Request<T>) -> Result<Self, ApiError> {
        // Without a peer the request did not come through the listener: nothing is known of it.
        let peer = request.extensions().get::<Peer>();
        peer.map_or_else(
            || Err(ApiError::unauthorized("the connection has no identity")),
            Self::authenticate,
        )
    }

    pub(super) fn system(name: &str) -> Self {
        Self {
            role: Role::System,
            name: name.to_owned(),
            flow: Flow::default(),
        }
    }

    /// Its connection, as one that takes turns with others.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Its role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The server's, node's or controller's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's name, if it is a node.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        (self.role == Role::Node).then_some(self.name.as_str())
    }

    /// The user name, as Kubernetes writes it.
    #[must_use]
    pub fn user(&self) -> String {
        match self.role {
            Role::Server => Subject::Server(self.name.clone()).common_name(),
            Role::Node => Subject::Node(self.name.clone()).common_name(),
            Role::System => format!("system:controller:{}", self.name),
            Role::Admin | Role::Anonymous => self.name.clone(),
        }
    }

    /// The groups, as Kubernetes names them.
    #[must_use]
    pub fn groups(&self) -> &'static [&'static str] {
        match self.role {
            Role::Admin => &[GROUP_ADMINS, "system:authenticated"],
            Role::Server => &[GROUP_SERVERS, "system:authenticated"],
            Role::Node => &[GROUP_NODES, "system:authenticated"],
            Role::System => &["system:controllers", "system:authenticated"],
            Role::Anonymous => &["system:unauthenticated"],
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.user())
    }
}
