//! Joining with a token, and renewing certificates. The identity in a certificate is decided here.

use trireme_client::token::{Token, TokenRole};
use trireme_logic::validation::names;
use trireme_proto::v1::{JoinRequest, JoinResponse};
use trireme_store::{Member, MemberNode};

use super::{ApiError, ClusterService};
use crate::{
    limits,
    pipeline::{Identity, Role},
    pki::{PkiError, Profile},
};

impl From<PkiError> for ApiError {
    fn from(error: PkiError) -> Self {
        match error {
            PkiError::Request { .. } | PkiError::Name { .. } => Self::bad_request(error.to_string()),
            PkiError::Generate(_) | PkiError::Parse { .. } | PkiError::KeyMismatch | PkiError::File { .. } => {
                Self::internal("the certificate could not be made").context(error)
            }
        }
    }
}

impl ClusterService {
    /// Lets a server or node in that has a good token.
    pub(super) async fn admit(&self, request: JoinRequest) -> Result<JoinResponse, ApiError> {
        let token: Token = request
            .token
            .parse()
            .map_err(|error| ApiError::unauthorized(format!("{error}")))?;
        // Nothing is looked at, let alone changed, before the token is known to be good.
        self.tokens.verify(&token, token.role).await?;
        check_name(&request.name)?;
        if request.subject_alt_names.len() > limits::SUBJECT_ALT_NAMES_MAX {
            let limit = limits::SUBJECT_ALT_NAMES_MAX;
            return Err(ApiError::bad_request(format!(
                "at most {limit} extra names may stand in a certificate"
            )));
        }
        match token.role {
            TokenRole::Node => self.admit_node(&request),
            TokenRole::Server => self.admit_server(request).await,
        }
    }

    fn admit_node(&self, request: &JoinRequest) -> Result<JoinResponse, ApiError> {
        let certificate_pem = self.issue(&Profile::node(request.name.as_str()), &request.csr_pem)?;
        Ok(JoinResponse {
            certificate_pem,
            ..self.welcome()
        })
    }

    async fn admit_server(&self, request: JoinRequest) -> Result<JoinResponse, ApiError> {
        let node = MemberNode {
            name: request.name,
            api_address: request.api_address,
            peer_address: request.peer_address,
        };
        for (what, address) in [("API", &node.api_address), ("peer", &node.peer_address)] {
            check_address(what, address)?;
        }
        if !request.replaces.is_empty() {
            self.remove_dead(&request.replaces).await?;
        }
        self.make_way(&node).await?;
        let id = self.control.allocate_server_id().await?;
        let mut alt_names = request.subject_alt_names;
        alt_names.extend([node.name.clone(), node.api_address.clone(), node.peer_address.clone()]);
        // The certificate first: a request that cannot have one must not leave a member behind.
        let certificate_pem = self.issue(&Profile::server(node.name.as_str(), id, alt_names), &request.csr_pem)?;
        self.control.add_learner(id, node).await?;
        Ok(JoinResponse {
            certificate_pem,
            ca_key_pem: self.authority.key_pem().to_owned(),
            server_id: id,
            ..self.welcome()
        })
    }

    /// Removes the server whose place another takes. If it is no member any more, that was done before.
    async fn remove_dead(&self, dead: &str) -> Result<(), ApiError> {
        let members = self.control.members();
        let found = members
            .iter()
            .find(|member| member.name == dead || member.id.to_string() == dead);
        let Some(member) = found else { return Ok(()) };
        let own = member.id == self.control.status().id;
        let alive = own
            || self
                .ask(member)
                .await
                .1
                .is_ok_and(|answer| answer.quarantine.is_empty());
        if alive {
            return Err(ApiError::conflict_other(format!(
                "server \"{}\" is alive, so its place cannot be taken; stop it first, or remove it with \
                 `trireme cluster remove {}`",
                member.name, member.name
            )));
        }
        self.control.remove(member.id).await
    }

    /// A name and an address belong to one server. A learner of the same name and address is what an earlier
    /// attempt of the same server left behind, and gives way; so does one without a name, which was announced by
    /// its address alone.
    async fn make_way(&self, node: &MemberNode) -> Result<(), ApiError> {
        for member in self.control.members() {
            let (same_name, same_place) = (member.name == node.name, member.peer_address == node.peer_address);
            let same = same_name || member.name.is_empty();
            if same && same_place && !member.voter {
                self.control.remove(member.id).await?;
            } else if same_name || same_place {
                return Err(taken(&member, node));
            }
        }
        Ok(())
    }

    fn welcome(&self) -> JoinResponse {
        JoinResponse {
            ca_certificate_pem: self.authority.certificate_pem().to_owned(),
            servers: self
                .control
                .members()
                .into_iter()
                .map(|member| member.api_address)
                .collect(),
            cluster_id: self.cluster_id.clone(),
            ..JoinResponse::default()
        }
    }

    /// A fresh certificate of the identity that asks.
    pub(super) fn renew(&self, identity: &Identity, csr_pem: &str) -> Result<String, ApiError> {
        let profile = match identity.role() {
            Role::Admin => Profile::admin(),
            Role::Node => Profile::node(identity.name()),
            Role::Server => {
                let members = self.control.members();
                let member = members
                    .iter()
                    .find(|member| member.name == identity.name())
                    .ok_or_else(|| {
                        ApiError::forbidden(format!(
                            "server \"{}\" is no member of this cluster any more",
                            identity.name()
                        ))
                    })?;
                let names = [
                    member.name.clone(),
                    member.api_address.clone(),
                    member.peer_address.clone(),
                ];
                Profile::server(identity.name(), member.id, names)
            }
            Role::Anonymous | Role::System => {
                return Err(ApiError::unauthorized("only the holder of a certificate can renew it"));
            }
        };
        self.issue(&profile, csr_pem)
    }

    fn issue(&self, profile: &Profile, csr_pem: &str) -> Result<String, ApiError> {
        let (serial, now) = (self.environment.bytes(), self.environment.timestamp());
        Ok(self.authority.issue(profile, csr_pem, serial, now)?)
    }
}

fn taken(member: &Member, node: &MemberNode) -> ApiError {
    let what = if member.name == node.name {
        "name"
    } else {
        "peer address"
    };
    ApiError::conflict_other(format!(
        "the {what} of server \"{}\" belongs to server {} (\"{}\", {}); choose another, or remove that one with \
         `trireme cluster remove {}`",
        node.name, member.id, member.name, member.peer_address, member.id
    ))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let complaints = names::dns_subdomain(name);
    match complaints.first() {
        None => Ok(()),
        Some(complaint) => Err(ApiError::bad_request(format!(
            "the name {name:?} cannot be used: {complaint}"
        ))),
    }
}

fn check_address(what: &str, address: &str) -> Result<(), ApiError> {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .map(|(_, port)| port);
    if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "the {what} address {address:?} must read host:port"
    )))
}
