//! What a server does about its own place in the cluster: becomes a voter, tells everyone of new servers, and
//! keeps its certificate fresh.

use std::{path::PathBuf, sync::Arc};

use tokio::{task::JoinSet, time::MissedTickBehavior};
use trireme_client::Kubeconfig;
use trireme_store::{Member, Store};

use super::{
    Server, ServerError,
    home::{Home, save_certificate},
};
use crate::{
    environment::Environment,
    limits::{CERTIFICATE_CHECK_PERIOD, PROMOTION_RETRY},
    pki::{CertificateAuthority, Profile, renewal_due},
    run::servers::ServerList,
    status::ApiError,
    transport::CertificateSource,
};

/// Spawns all of it.
pub(super) fn spawn(
    tasks: &mut JoinSet<Result<(), ServerError>>,
    home: &Home,
    server: &Server,
    certificates: Arc<CertificateSource>,
    environment: Environment,
) {
    tasks.spawn(follow_members(
        server.store.clone(),
        server.servers.clone(),
        home.kubeconfig_path(),
    ));
    let renewal = Renewal {
        directory: home.directory().to_owned(),
        authority: home.authority.clone(),
        certificates,
        certificate_pem: home.certificate_pem.clone(),
        profile: Profile::server(
            &*home.identity.name,
            home.identity.server_id,
            [
                home.identity.name.clone(),
                home.identity.api_address.clone(),
                home.identity.peer_address.clone(),
            ],
        ),
        environment,
    };
    tasks.spawn(renewal.run());
    let (store, registry, founder) = (server.store.clone(), server.registry.clone(), home.identity.founder);
    tasks.spawn(async move {
        become_voter(&store).await;
        if founder {
            while let Err(error) = registry.bootstrap().await {
                tracing::debug!(%error, "the first objects could not be stored; trying again");
                tokio::time::sleep(PROMOTION_RETRY).await;
            }
        }
        // Nothing is left to do, but an ended task would end the server.
        std::future::pending().await
    });
}

/// Asks to become a voter until this server is one. It asks again and again instead of letting the leader wait for it, since
/// other changes of the membership would have to wait, too.
async fn become_voter(store: &Store) {
    let own = store.server_id();
    while !store.members().iter().any(|member| member.id == own && member.voter) {
        if let Err(error) = store.promote_ready(own).await {
            tracing::debug!(error = %ApiError::from(error), "not a voter yet; asking again");
            tokio::time::sleep(PROMOTION_RETRY).await;
        }
    }
}

/// Tells the agents, and the admin's kubeconfig, of the servers as they come and go.
async fn follow_members(store: Arc<Store>, servers: Arc<ServerList>, kubeconfig: PathBuf) -> Result<(), ServerError> {
    let mut members = store.members_watch();
    loop {
        let addresses = api_addresses(&members.borrow_and_update());
        if !addresses.is_empty() && servers.get() != addresses {
            servers.set(addresses.clone());
            if let Err(error) = update_kubeconfig(&kubeconfig, &addresses) {
                tracing::warn!(%error, "the admin's kubeconfig could not be told of the servers");
            }
        }
        if members.changed().await.is_err() {
            return Err(ServerError::Ended {
                what: "following the members",
                why: "the store has stopped".into(),
            });
        }
    }
}

fn api_addresses(members: &[Member]) -> Vec<String> {
    members
        .iter()
        .filter(|member| !member.api_address.is_empty())
        .map(|member| member.api_address.clone())
        .collect()
}

/// Tells an admin's kubeconfig where the servers are.
///
/// # Errors
/// If it cannot be read or written.
pub(super) fn update_kubeconfig(
    path: &std::path::Path,
    servers: &[String],
) -> Result<(), trireme_client::KubeconfigError> {
    let mut kubeconfig = Kubeconfig::read(path)?;
    kubeconfig.set_servers(servers)?;
    kubeconfig.write(path)
}

/// Renews this server's certificate: it holds the authority, so it asks nobody.
struct Renewal {
    directory: PathBuf,
    authority: Arc<CertificateAuthority>,
    certificates: Arc<CertificateSource>,
    certificate_pem: String,
    profile: Profile,
    environment: Environment,
}

impl Renewal {
    async fn run(mut self) -> Result<(), ServerError> {
        let mut ticks = tokio::time::interval(CERTIFICATE_CHECK_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.renew_if_due() {
                Ok(false) => {}
                Ok(true) => tracing::info!("this server's certificate was renewed"),
                Err(error) => tracing::error!(%error, "this server's certificate could not be renewed"),
            }
        }
    }

    fn renew_if_due(&mut self) -> Result<bool, ServerError> {
        let now = self.environment.timestamp();
        if !renewal_due(&self.certificate_pem, now)? {
            return Ok(false);
        }
        let issued = self
            .authority
            .issue_with_key(&self.profile, self.environment.bytes(), now)?;
        save_certificate(&self.directory, &issued.certificate_pem, &issued.key_pem)?;
        self.certificates.replace(&issued.certificate_pem, &issued.key_pem)?;
        self.certificate_pem = issued.certificate_pem;
        Ok(true)
    }
}
