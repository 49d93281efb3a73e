//! What a server keeps on disk beside its replica: who it is, its certificate, the cluster's authority.
//!
//! ```text
//! DIR/server.json        who it is; written last, so that it exists only if all else does
//! DIR/pki/               the authority (ca.crt, ca.key) and this server's certificate (server.crt, server.key)
//! DIR/admin.kubeconfig   an admin's access to this cluster
//! DIR/store/             the replica
//! ```

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use trireme_client::{
    JoinError, JoinParams, KubeconfigError,
    join::join_in_place_of,
    token::{CaDigest, Token, TokenRole},
};

use super::{ServerConfig, Start, membership::update_kubeconfig};
use crate::{
    environment::Environment,
    pki::{CertificateAuthority, PkiError, Profile, files, write_admin_kubeconfig},
};

const IDENTITY_FILE: &str = "server.json";
const CERTIFICATE_FILE: &str = "server.crt";
const KEY_FILE: &str = "server.key";
/// Where a server's API is if nobody says otherwise.
const USUAL_ADDRESS: &str = "127.0.0.1:6443";
/// Raft id of a cluster's first server.
const FOUNDER_ID: u64 = 1;

/// Who a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// Its id in Raft.
    pub server_id: u64,
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub api_address: String,
    /// Where the other servers reach it.
    pub peer_address: String,
    /// Whether it founded the cluster.
    pub founder: bool,
}

/// A server's folder, opened.
pub(super) struct Home {
    directory: PathBuf,
    /// Who it is.
    pub identity: ServerIdentity,
    /// The cluster's authority.
    pub authority: Arc<CertificateAuthority>,
    /// Its certificate, followed by the authority's, PEM.
    pub certificate_pem: String,
    /// Its key, PEM.
    pub key_pem: String,
}

/// Why a server's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no server, and none was to be made.
    #[error(
        "{} holds no server; start a new cluster with --cluster-init, or join one with --join ADDR --token TOKEN",
        directory.display()
    )]
    Empty {
        /// The folder.
        directory: PathBuf,
    },
    /// There is a server of another cluster.
    #[error(
        "{} belongs to cluster {cluster_id} (CA {found}), but the token is of another (CA {wanted}); \
         give this server a folder of its own, or delete that one if its cluster is gone",
        directory.display()
    )]
    OtherCluster {
        /// The folder.
        directory: PathBuf,
        /// Whose it is.
        cluster_id: String,
        /// The digest of its authority.
        found: CaDigest,
        /// The digest in the token.
        wanted: CaDigest,
    },
    /// There is another server of the same cluster.
    #[error("{} belongs to server {found:?}, not to {wanted:?}; give each server a folder of its own", directory.display())]
    OtherServer {
        /// The folder.
        directory: PathBuf,
        /// Whose it is.
        found: String,
        /// Who we are.
        wanted: String,
    },
    /// The file that says who it is cannot be understood.
    #[error("{} is damaged: {reason}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Joining failed.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Keys, certificates or files.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The admin's kubeconfig could not be written.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
}

impl Home {
    /// Opens the server in the folder; if there is none, founds a cluster or joins one, as the configuration says.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub(super) async fn open_or_found(
        config: &ServerConfig,
        api_port: u16,
        environment: &Environment,
    ) -> Result<Self, HomeError> {
        if config.data_dir.join(IDENTITY_FILE).exists() {
            let mut home = Self::open(&config.data_dir)?;
            home.check(config)?;
            home.move_to(config, &Addresses::of(config, api_port), environment)?;
            return Ok(home);
        }
        let addresses = Addresses::of(config, api_port);
        match &config.start {
            Start::ClusterInit => Self::found(config, &addresses, environment),
            Start::Join {
                servers,
                token,
                replaces,
            } => Self::join(config, &addresses, (servers, token, replaces), environment).await,
            Start::Resume => Err(HomeError::Empty {
                directory: config.data_dir.clone(),
            }),
        }
    }

    /// Takes the addresses that the flags say now. Their names come into the certificate; the others are told once the
    /// replica runs.
    fn move_to(
        &mut self,
        config: &ServerConfig,
        addresses: &Addresses,
        environment: &Environment,
    ) -> Result<(), HomeError> {
        if self.identity.api_address == addresses.api && self.identity.peer_address == addresses.peer {
            return Ok(());
        }
        tracing::info!(
            from = self.identity.peer_address,
            to = addresses.peer,
            "this server has moved"
        );
        self.identity.api_address.clone_from(&addresses.api);
        self.identity.peer_address.clone_from(&addresses.peer);
        self.renew_certificate(addresses.alt_names(config), environment)?;
        // The others' addresses come back as soon as the members are known.
        if let Err(error) = update_kubeconfig(&self.kubeconfig_path(), std::slice::from_ref(&addresses.api)) {
            tracing::warn!(%error, "the admin's kubeconfig could not be told of the new address");
        }
        self.save_identity()
    }

    /// Makes this server, which has moved or was made out of another's data, a certificate of what it is now.
    fn renew_certificate(&mut self, alt_names: Vec<String>, environment: &Environment) -> Result<(), HomeError> {
        let profile = Profile::server(&*self.identity.name, self.identity.server_id, alt_names);
        let issued = self
            .authority
            .issue_with_key(&profile, environment.bytes(), environment.timestamp())?;
        (self.certificate_pem, self.key_pem) = (issued.certificate_pem, issued.key_pem);
        Ok(self.save_certificate(&self.certificate_pem, &self.key_pem)?)
    }

    /// A server that is in the folder, not running, and that is another from now on: of another cluster, with another id.
    pub(super) fn become_another(
        &mut self,
        cluster_id: String,
        server_id: u64,
        environment: &Environment,
    ) -> Result<(), HomeError> {
        self.identity.cluster_id = cluster_id;
        self.identity.server_id = server_id;
        self.identity.founder = false;
        let names = [
            self.identity.name.clone(),
            self.identity.api_address.clone(),
            self.identity.peer_address.clone(),
        ];
        self.renew_certificate(names.to_vec(), environment)?;
        self.save_identity()
    }

    /// Makes the folder of a server whose replica is there already. It gets its addresses when it is started.
    pub(super) fn make(
        directory: PathBuf,
        identity: ServerIdentity,
        authority: CertificateAuthority,
        environment: &Environment,
    ) -> Result<Self, HomeError> {
        let profile = Profile::server(&*identity.name, identity.server_id, [identity.name.clone()]);
        let issued = authority.issue_with_key(&profile, environment.bytes(), environment.timestamp())?;
        let home = Self {
            directory,
            identity,
            authority: Arc::new(authority),
            certificate_pem: issued.certificate_pem,
            key_pem: issued.key_pem,
        };
        home.save(environment)?;
        Ok(home)
    }

    /// Opens the server in the folder as it is.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub(super) fn open(directory: &Path) -> Result<Self, HomeError> {
        let path = directory.join(IDENTITY_FILE);
        let identity = serde_json::from_str(&files::read_text(&path)?).map_err(|error| HomeError::Identity {
            path,
            reason: error.to_string(),
        })?;
        let pki = pki_dir(directory);
        Ok(Self {
            directory: directory.to_owned(),
            identity,
            authority: Arc::new(CertificateAuthority::load(&pki)?),
            certificate_pem: files::read_text(&pki.join(CERTIFICATE_FILE))?,
            key_pem: files::read_text(&pki.join(KEY_FILE))?,
        })
    }

    /// A folder is one server's of one cluster, for good.
    fn check(&self, config: &ServerConfig) -> Result<(), HomeError> {
        if self.identity.name != config.name {
            return Err(HomeError::OtherServer {
                directory: self.directory.clone(),
                found: self.identity.name.clone(),
                wanted: config.name.clone(),
            });
        }
        if let Start::Join { token, .. } = &config.start
            && token.ca_digest != self.authority.digest()
        {
            return Err(HomeError::OtherCluster {
                directory: self.directory.clone(),
                cluster_id: self.identity.cluster_id.clone(),
                found: self.authority.digest(),
                wanted: token.ca_digest,
            });
        }
        Ok(())
    }

    fn found(config: &ServerConfig, addresses: &Addresses, environment: &Environment) -> Result<Self, HomeError> {
        let cluster_id = environment.uid();
        let authority = CertificateAuthority::create(&cluster_id, environment.timestamp())?;
        let profile = Profile::server(&*config.name, FOUNDER_ID, addresses.alt_names(config));
        let issued = authority.issue_with_key(&profile, environment.bytes(), environment.timestamp())?;
        let home = Self {
            directory: config.data_dir.clone(),
            identity: addresses.identity(config, cluster_id, FOUNDER_ID, true),
            authority: Arc::new(authority),
            certificate_pem: issued.certificate_pem,
            key_pem: issued.key_pem,
        };
        home.save(environment)?;
        Ok(home)
    }

    async fn join(
        config: &ServerConfig,
        addresses: &Addresses,
        (servers, token, replaces): (&[String], &Token, &str),
        environment: &Environment,
    ) -> Result<Self, HomeError> {
        let params = JoinParams {
            servers: servers.to_vec(),
            token: token.clone(),
            role: TokenRole::Server,
            name: config.name.clone(),
            api_address: addresses.api.clone(),
            peer_address: addresses.peer.clone(),
            subject_alt_names: config.subject_alt_names.clone(),
        };
        let joined = join_in_place_of(params, replaces.to_owned()).await?;
        let home = Self {
            directory: config.data_dir.clone(),
            identity: addresses.identity(config, joined.cluster_id, joined.server_id, false),
            authority: Arc::new(CertificateAuthority::from_pem(&joined.ca_pem, &joined.ca_key_pem)?),
            certificate_pem: joined.identity.cert_pem,
            key_pem: joined.identity.key_pem,
        };
        home.save(environment)?;
        Ok(home)
    }

    fn save(&self, environment: &Environment) -> Result<(), HomeError> {
        files::create_private_directory(&self.directory)?;
        let pki = pki_dir(&self.directory);
        self.authority.save(&pki)?;
        self.save_certificate(&self.certificate_pem, &self.key_pem)?;
        let admin = self
            .authority
            .issue_with_key(&Profile::admin(), environment.bytes(), environment.timestamp())?;
        // A server that has no address yet gets one when it is started; until then only the usual one can be guessed.
        let known = !self.identity.api_address.is_empty();
        let servers = [if known {
            &self.identity.api_address
        } else {
            USUAL_ADDRESS
        }
        .to_owned()];
        write_admin_kubeconfig(&self.kubeconfig_path(), "trireme", &servers, &self.authority, &admin)?;
        self.save_identity()
    }

    fn save_identity(&self) -> Result<(), HomeError> {
        let identity = serde_json::to_vec_pretty(&self.identity).map_err(|error| HomeError::Identity {
            path: self.directory.join(IDENTITY_FILE),
            reason: error.to_string(),
        })?;
        files::write_private(&self.directory.join(IDENTITY_FILE), &identity)?;
        Ok(())
    }

    /// Replaces the server's certificate on disk.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn save_certificate(&self, certificate_pem: &str, key_pem: &str) -> Result<(), PkiError> {
        save_certificate(&self.directory, certificate_pem, key_pem)
    }

    /// Where the replica lives.
    pub(super) fn store_dir(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// Where the admin's kubeconfig lives.
    pub(super) fn kubeconfig_path(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    /// The folder.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Replaces the certificate of the server in `directory` on disk.
///
/// # Errors
/// If it cannot be written.
pub(super) fn save_certificate(directory: &Path, certificate_pem: &str, key_pem: &str) -> Result<(), PkiError> {
    let pki = pki_dir(directory);
    files::create_private_directory(&pki)?;
    files::write_private(&pki.join(KEY_FILE), key_pem.as_bytes())?;
    files::write_private(&pki.join(CERTIFICATE_FILE), certificate_pem.as_bytes())
}

fn pki_dir(directory: &Path) -> PathBuf {
    directory.join("pki")
}

/// How others reach a server.
struct Addresses {
    api: String,
    peer: String,
}

impl Addresses {
    fn of(config: &ServerConfig, api_port: u16) -> Self {
        let host = match config.advertise_host.parse() {
            Ok(std::net::IpAddr::V6(address)) => format!("[{address}]"),
            _ => config.advertise_host.clone(),
        };
        Self {
            api: format!("{host}:{api_port}"),
            peer: format!("{host}:{}", config.peer_listen.port()),
        }
    }

    fn alt_names(&self, config: &ServerConfig) -> Vec<String> {
        let mut names = config.subject_alt_names.clone();
        names.extend([config.name.clone(), config.advertise_host.clone()]);
        names
    }

    fn identity(&self, config: &ServerConfig, cluster_id: String, server_id: u64, founder: bool) -> ServerIdentity {
        ServerIdentity {
            cluster_id,
            server_id,
            name: config.name.clone(),
            api_address: self.api.clone(),
            peer_address: self.peer.clone(),
            founder,
        }
    }
}
