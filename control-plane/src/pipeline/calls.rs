//! Which roles each gRPC method admits: one table, and everything that is not in it is refused.
//!
//! This is the coarse check that every call passes before its service sees it. What exactly a caller may
//! do with an object is decided by [`Permit`](super::Permit).

use super::{Identity, Role};
use crate::status::ApiError;

const ANYONE: &[Role] = &[Role::Admin, Role::Server, Role::Node, Role::Anonymous];
const MEMBERS: &[Role] = &[Role::Admin, Role::Server, Role::Node];
const OPERATORS: &[Role] = &[Role::Admin, Role::Server];
const SERVERS: &[Role] = &[Role::Server];
const ADMINS: &[Role] = &[Role::Admin];
const NODES: &[Role] = &[Role::Node];

/// Services of which every method has the same roles.
const SERVICES: &[(&str, &[Role])] = &[
    ("trireme.peer.v1.Peer", SERVERS),
    ("trireme.v1.ServerInternal", SERVERS),
    ("trireme.v1.NodeAgent", NODES),
    // What is static and the same for everyone.
    ("grpc.health.v1.Health", ANYONE),
    ("grpc.reflection.v1.ServerReflection", ANYONE),
    ("grpc.reflection.v1alpha.ServerReflection", ANYONE),
];

/// Methods one by one.
const METHODS: &[(&str, &[Role])] = &[
    ("trireme.v1.Cluster/Join", ANYONE),
    ("trireme.v1.Cluster/RenewCertificate", MEMBERS),
    ("trireme.v1.Cluster/Status", OPERATORS),
    ("trireme.v1.Cluster/RemoveMember", OPERATORS),
    ("trireme.v1.Cluster/PromoteMember", OPERATORS),
    ("trireme.v1.Cluster/TransferLeadership", OPERATORS),
    // Everything is in it, secrets too.
    ("trireme.v1.Cluster/Backup", ADMINS),
    ("trireme.v1.Cluster/ClearAlarm", OPERATORS),
    ("trireme.v1.Cluster/CreateToken", OPERATORS),
    ("trireme.v1.Cluster/ListTokens", OPERATORS),
    ("trireme.v1.Cluster/RevokeToken", OPERATORS),
    // Kinds and their documentation are no secret among members.
    ("trireme.v1.Resources/Discover", MEMBERS),
    ("trireme.v1.Resources/Explain", MEMBERS),
    // A node may read its own Node object; the permit sees to it.
    ("trireme.v1.Resources/Get", MEMBERS),
    ("trireme.v1.Resources/List", OPERATORS),
    ("trireme.v1.Resources/Watch", OPERATORS),
    // A node may tell events of its own; permit and registry see to it.
    ("trireme.v1.Resources/Create", MEMBERS),
    ("trireme.v1.Resources/Update", MEMBERS),
    ("trireme.v1.Resources/Patch", OPERATORS),
    ("trireme.v1.Resources/Delete", OPERATORS),
    ("trireme.v1.Resources/Logs", OPERATORS),
];

/// The roles that the gRPC method at `path` (`/package.Service/Method`) admits; none if it is not known.
#[must_use]
pub fn roles_admitted(path: &str) -> &'static [Role] {
    let method = path.strip_prefix('/').unwrap_or(path);
    let service = method.split('/').next().unwrap_or_default();
    let by_method = METHODS.iter().find(|(name, _)| *name == method);
    by_method
        .or_else(|| SERVICES.iter().find(|(name, _)| *name == service))
        .map_or(&[], |(_, roles)| roles)
}

/// Refuses a call whose caller has none of the roles that its method admits.
///
/// # Errors
/// `Unauthorized` for someone without a certificate, else `Forbidden`.
pub fn check_call(identity: &Identity, path: &str) -> Result<(), ApiError> {
    if roles_admitted(path).contains(&identity.role()) {
        return Ok(());
    }
    let method = path.strip_prefix('/').unwrap_or(path);
    Err(match identity.role() {
        Role::Anonymous => ApiError::unauthorized(format!("a client certificate is needed to call {method}")),
        Role::Admin | Role::Server | Role::Node | Role::System => ApiError::forbidden(format!(
            "User \"{identity}\" may not call {method}: its role does not admit it"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pki::Subject, transport::Peer};

    /// Every method of every service that we define, from the descriptors.
    fn all_methods() -> Vec<String> {
        use prost::Message;
        let set = prost_types::FileDescriptorSet::decode(trireme_proto::FILE_DESCRIPTOR_SET).expect("a descriptor set");
        let mut methods = Vec::new();
        for file in set.file.iter().filter(|file| file.package().starts_with("trireme")) {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                methods.extend(service.method.iter().map(|method| format!("/{name}/{}", method.name())));
            }
        }
        methods
    }

    #[test]
    fn every_method_has_roles_and_every_line_a_method() {
        let methods = all_methods();
        assert!(methods.len() > 20, "{methods:?}");
        for method in &methods {
            assert!(
                !roles_admitted(method).is_empty(),
                "{method} admits nobody: give it a line"
            );
        }
        for (line, _) in METHODS {
            assert!(methods.contains(&format!("/{line}")), "{line} is no method");
        }
    }

    #[test]
    fn roles_by_method() {
        let identity = |subject| Identity::authenticate(&Peer::for_tests(subject)).expect("known");
        let admin = identity(Some(Subject::Admin));
        let server = identity(Some(Subject::Server("s1".into())));
        let node = identity(Some(Subject::Node("n1".into())));
        let nobody = identity(None);
        // Columns: admin, server, node, anonymous.
        for (path, expected) in [
            ("/trireme.v1.Cluster/Join", [true, true, true, true]),
            ("/trireme.v1.Cluster/RenewCertificate", [true, true, true, false]),
            ("/trireme.v1.Cluster/Status", [true, true, false, false]),
            ("/trireme.v1.Cluster/CreateToken", [true, true, false, false]),
            ("/trireme.v1.Cluster/RemoveMember", [true, true, false, false]),
            ("/trireme.v1.Cluster/Backup", [true, false, false, false]),
            ("/trireme.v1.Resources/Get", [true, true, true, false]),
            ("/trireme.v1.Resources/List", [true, true, false, false]),
            ("/trireme.v1.Resources/Create", [true, true, true, false]),
            ("/trireme.v1.Resources/Patch", [true, true, false, false]),
            ("/trireme.v1.Resources/Delete", [true, true, false, false]),
            ("/trireme.v1.NodeAgent/Session", [false, false, true, false]),
            ("/trireme.v1.NodeAgent/ReportStatus", [false, false, true, false]),
            (
                "/trireme.v1.ServerInternal/ForwardHeartbeats",
                [false, true, false, false],
            ),
            ("/trireme.peer.v1.Peer/Append", [false, true, false, false]),
            ("/grpc.health.v1.Health/Check", [true, true, true, true]),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                [true, true, true, true],
            ),
            ("/trireme.v1.Resources/Unheard", [false, false, false, false]),
            ("/other.Service/Method", [false, false, false, false]),
        ] {
            let actual = [&admin, &server, &node, &nobody].map(|identity| check_call(identity, path).is_ok());
            assert_eq!(actual, expected, "{path}");
        }
    }
}
