//! The cluster service over gRPC: joining, certificates, members, tokens.
//!
//! Any server serves all of it: what only the leader can do, [`ClusterControl`] brings there.

mod alarms;
mod backup;
mod control;
mod health;
mod join;
mod members;

use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;
use tonic::{Request, Response, Status};
use trireme_client::token::TokenRole;
use trireme_proto::v1::{
    BackupChunk, BackupRequest, ClearAlarmRequest, ClearAlarmResponse, CreateTokenRequest, CreateTokenResponse,
    JoinRequest, JoinResponse, JoinRole, ListTokensRequest, ListTokensResponse, PromoteMemberRequest,
    PromoteMemberResponse, RemoveMemberRequest, RemoveMemberResponse, RenewCertificateRequest,
    RenewCertificateResponse, RevokeTokenRequest, RevokeTokenResponse, StatusRequest, StatusResponse, TokenInfo,
    TransferLeadershipRequest, TransferLeadershipResponse,
    cluster_server::{Cluster, ClusterServer},
};

pub use control::ClusterControl;
pub use members::{StatusSource, local_status};

use crate::{
    environment::Environment,
    pipeline::Identity,
    pki::{CertificateAuthority, NewToken, TokenError, TokenStore, TokenSummary},
    status::ApiError,
};

/// What the service works with.
pub struct ClusterService {
    /// The cluster's id.
    pub cluster_id: String,
    /// Membership.
    pub control: Arc<dyn ClusterControl>,
    /// The other servers' states.
    pub peers: Arc<dyn StatusSource>,
    /// Signs certificates.
    pub authority: Arc<CertificateAuthority>,
    /// Join tokens.
    pub tokens: TokenStore,
    /// Time and chance.
    pub environment: Environment,
}

impl ClusterService {
    /// As it is added to the routes.
    #[must_use]
    pub fn into_server(self) -> ClusterServer<Self> {
        const MESSAGE_MAX_BYTES: usize = 128 << 10;
        ClusterServer::new(self).max_decoding_message_size(MESSAGE_MAX_BYTES)
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Store(error) => error.into(),
            TokenError::Wish(why) => Self::bad_request(why),
            TokenError::NoSuchId(_) => Self::not_found_other(error.to_string()),
            TokenError::WrongRole { .. } => Self::forbidden(error.to_string()),
            TokenError::WrongCluster { .. }
            | TokenError::Unknown { .. }
            | TokenError::Expired { .. }
            | TokenError::Revoked { .. } => Self::unauthorized(error.to_string()),
        }
    }
}

fn role_to_wire(role: TokenRole) -> i32 {
    let role = match role {
        TokenRole::Server => JoinRole::Server,
        TokenRole::Node => JoinRole::Node,
    };
    role as i32
}

fn role_from_wire(role: i32) -> Result<TokenRole, ApiError> {
    match JoinRole::try_from(role) {
        Ok(JoinRole::Server) => Ok(TokenRole::Server),
        Ok(JoinRole::Node) => Ok(TokenRole::Node),
        Ok(JoinRole::Unspecified) | Err(_) => Err(ApiError::bad_request("a token's role must be server or node")),
    }
}

fn token_info(token: TokenSummary) -> TokenInfo {
    TokenInfo {
        id: token.id,
        role: role_to_wire(token.role),
        expires_at_seconds: token.expires_at_seconds,
        description: token.description,
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    type BackupStream = BoxStream<'static, Result<BackupChunk, Status>>;

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        Ok(Response::new(self.admit(request.into_inner()).await?))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let identity = Identity::of_request(&request)?;
        let certificate_pem = self.renew(&identity, &request.get_ref().csr_pem)?;
        Ok(Response::new(RenewCertificateResponse { certificate_pem }))
    }

    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(self.members_status().await))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        self.control.remove(request.get_ref().id).await?;
        Ok(Response::new(RemoveMemberResponse {}))
    }

    async fn promote_member(
        &self,
        request: Request<PromoteMemberRequest>,
    ) -> Result<Response<PromoteMemberResponse>, Status> {
        self.control.promote(request.get_ref().id).await?;
        Ok(Response::new(PromoteMemberResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        self.control.transfer_leadership(request.get_ref().to).await?;
        Ok(Response::new(TransferLeadershipResponse {}))
    }

    async fn backup(&self, _request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let backup = self.control.backup().await?;
        tracing::info!(revision = backup.header.revision, "a backup is being made");
        Ok(Response::new(backup::chunks(backup)))
    }

    async fn clear_alarm(&self, request: Request<ClearAlarmRequest>) -> Result<Response<ClearAlarmResponse>, Status> {
        let request = request.get_ref();
        let kind = alarms::kind_from_wire(&request.kind)?;
        let was_raised = self.control.clear_alarm(kind, request.member_id).await?;
        Ok(Response::new(ClearAlarmResponse { was_raised }))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let request = request.into_inner();
        let new = NewToken {
            role: role_from_wire(request.role)?,
            ttl: Duration::from_secs(request.ttl_seconds),
            description: request.description,
        };
        let (token, summary) = self.tokens.create(new).await.map_err(ApiError::from)?;
        Ok(Response::new(CreateTokenResponse {
            info: Some(token_info(summary)),
            token: token.to_string(),
        }))
    }

    async fn list_tokens(&self, _request: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        let tokens = self.tokens.list().await.map_err(ApiError::from)?;
        Ok(Response::new(ListTokensResponse {
            tokens: tokens.into_iter().map(token_info).collect(),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        self.tokens
            .revoke(&request.get_ref().id)
            .await
            .map_err(ApiError::from)?;
        Ok(Response::new(RevokeTokenResponse {}))
    }
}
