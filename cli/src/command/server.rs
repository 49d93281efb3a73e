//! `server`: runs a server. The one place where its flags become the control plane's configuration.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result};
use clap::Args;
use tokio_util::sync::CancellationToken;
use trireme_client::token::Token;
use trireme_control_plane::server::ServerIdentity;
use trireme_control_plane::{EtcdListen, Retention, ServerConfig, ServerError, Start};

use crate::exit::{Exit, Failure};
use crate::{duration, limits};

/// Flags of `server`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme server --cluster-init --name oar-1 --data-dir /var/lib/trireme
  trireme server --join 10.0.0.1:6443 --token TOKEN --name oar-2 --data-dir /var/lib/trireme
  trireme server --join 10.0.0.1:6443 --token TOKEN --name oar-4 --replace oar-2

A server whose data directory is there already goes on as what it is: --cluster-init, --join and --token are
then not needed. Make tokens with `trireme token create --role server`.")]
pub(crate) struct ServerArgs {
    /// Found a new cluster
    #[arg(long, conflicts_with = "join")]
    cluster_init: bool,
    /// Address (host:port) of a server of the cluster to join; repeatable
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    join: Vec<String>,
    /// The join token
    #[arg(long, env = "TRIREME_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Name or id of the dead or quarantined server whose place it takes
    #[arg(long, value_name = "NAME", requires = "join")]
    replace: Option<String>,
    /// The server's name, unique in the cluster; otherwise the host's name
    #[arg(long)]
    name: Option<String>,
    /// Where the server keeps everything
    #[arg(long, default_value = "/var/lib/trireme", value_name = "DIR")]
    data_dir: PathBuf,
    /// Address for clients, agents and joining servers
    #[arg(long, default_value = "0.0.0.0:6443", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Address for the other servers
    #[arg(long, default_value = "0.0.0.0:6444", value_name = "IP:PORT")]
    peer_listen: SocketAddr,
    /// Address for clients of etcd's API, version 3, who need an administrator's certificate; not served if unset
    #[arg(long, value_name = "IP:PORT")]
    etcd_listen: Option<SocketAddr>,
    /// Serve etcd's API without TLS, to whoever reaches it; for a loopback address only
    #[arg(long, requires = "etcd_listen")]
    etcd_insecure: bool,
    /// Host name or address under which others reach this server; found out if unset
    #[arg(long, value_name = "HOST")]
    advertise_address: Option<String>,
    /// Another name or address for the certificate; repeatable
    #[arg(long, value_name = "NAME")]
    tls_san: Vec<String>,
    /// Keep changes in the history that are younger than this, for reads of the past and watches
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = parse_history_age)]
    history_min_age: Duration,
    /// Keep this many of the latest revisions in the history, however old
    #[arg(long, default_value_t = Retention::default().min_revisions, value_name = "COUNT",
        value_parser = clap::value_parser!(i64).range(0..))]
    history_min_revisions: i64,
    /// Period of the leader's heartbeats
    #[arg(long, hide = true, value_name = "MS")]
    heartbeat_period_ms: Option<u64>,
    /// Shortest silence before an election
    #[arg(long, hide = true, value_name = "MS")]
    election_timeout_min_ms: Option<u64>,
    /// Longest silence before an election
    #[arg(long, hide = true, value_name = "MS")]
    election_timeout_max_ms: Option<u64>,
    #[cfg(feature = "faults")]
    #[command(flatten)]
    faults: FaultArgs,
}

/// Flags of a program that was built to be broken.
#[cfg(feature = "faults")]
#[derive(Debug, Args)]
struct FaultArgs {
    /// A bug to have
    #[arg(long, env = "TRIREME_PLANTED", hide = true, value_name = "NAME")]
    planted: Option<trireme_control_plane::server::Planted>,
    /// Crash at the failpoints that the file DATA_DIR.failpoints names
    #[arg(long, hide = true)]
    failpoints: bool,
    /// Entries of the log after which a snapshot is made
    #[arg(long, hide = true, value_name = "COUNT")]
    snapshot_log_entries: Option<u64>,
}

#[cfg(feature = "faults")]
impl FaultArgs {
    fn options(self) -> trireme_control_plane::server::FaultOptions {
        trireme_control_plane::server::FaultOptions {
            planted: self.planted,
            failpoints: self.failpoints,
            snapshot_log_entries: self.snapshot_log_entries,
        }
    }
}

impl ServerArgs {
    /// Resolves the flags, once.
    fn config(self) -> Result<ServerConfig, Failure> {
        let start = self.start()?;
        let advertise_host = match self.advertise_address {
            Some(host) => host,
            None if !self.listen.ip().is_unspecified() => self.listen.ip().to_string(),
            None => known_host(&self.data_dir)
                .unwrap_or_else(|| own_address(self.join.first().map(String::as_str)).to_string()),
        };
        let mut config = ServerConfig {
            name: self.name.map_or_else(host_name, Ok)?,
            data_dir: self.data_dir,
            start,
            listen: self.listen,
            peer_listen: self.peer_listen,
            etcd_listen: self.etcd_listen.map(|address| EtcdListen {
                address,
                insecure: self.etcd_insecure,
            }),
            advertise_host,
            subject_alt_names: self.tls_san,
            timings: Default::default(),
            retention: Retention {
                min_age: self.history_min_age,
                min_revisions: self.history_min_revisions,
            },
            #[cfg(feature = "faults")]
            faults: self.faults.options(),
        };
        let timings = &mut config.timings;
        timings.heartbeat_period_ms = self.heartbeat_period_ms.unwrap_or(timings.heartbeat_period_ms);
        timings.election_timeout_min_ms = self.election_timeout_min_ms.unwrap_or(timings.election_timeout_min_ms);
        timings.election_timeout_max_ms = self.election_timeout_max_ms.unwrap_or(timings.election_timeout_max_ms);
        Ok(config)
    }

    fn start(&self) -> Result<Start, Failure> {
        if self.cluster_init {
            return Ok(Start::ClusterInit);
        }
        if self.join.is_empty() {
            return Ok(Start::Resume);
        }
        let token = self.token.as_deref().ok_or_else(|| {
            Failure::usage("--join needs a token")
                .help("make one with `trireme token create --role server` and pass --token TOKEN")
        })?;
        Ok(Start::Join {
            servers: self.join.clone(),
            token: parse_token(token)?,
            replaces: self.replace.clone().unwrap_or_default(),
        })
    }
}

/// Reads the least age of the history. A list that is read page by page, and a watch that reconnects, live on it.
fn parse_history_age(text: &str) -> Result<Duration, String> {
    let age = duration::parse(text)?;
    if age < limits::HISTORY_AGE_MIN {
        return Err(format!(
            "a history of less than {} s would break lists that are read page by page; pass more",
            limits::HISTORY_AGE_MIN.as_secs()
        ));
    }
    Ok(age)
}

/// Reads a token; a mistake is the command line's.
pub(crate) fn parse_token(token: &str) -> Result<Token, Failure> {
    token.parse().map_err(|error: trireme_client::token::TokenError| {
        Failure::usage(error.to_string()).help("copy the token whole, or make a new one with `trireme token create`")
    })
}

/// The host's name, as far as it can be an object's name.
pub(crate) fn host_name() -> Result<String, Failure> {
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let name: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '.')
        .collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() {
        return Err(Failure::new(Exit::Local, "this machine has no usable host name").help("pass --name NAME"));
    }
    Ok(name)
}

/// The host under which the server in this folder is known, if there is one. Only an address that is given can move it: one
/// that is found out may be another interface's each time.
fn known_host(data_dir: &Path) -> Option<String> {
    let identity = std::fs::read_to_string(data_dir.join("server.json")).ok()?;
    let identity: ServerIdentity = serde_json::from_str(&identity).ok()?;
    let (host, _) = identity.api_address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_owned())
}

/// This machine's address on the way to another, or on the way out. Nothing is sent.
fn own_address(peer: Option<&str>) -> IpAddr {
    // An address that is reserved for documentation: the question is only which interface leads outside.
    let target = peer.unwrap_or("192.0.2.1:6443");
    let probe = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(target)?;
        Ok(socket.local_addr()?.ip())
    };
    probe().unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

/// Runs the server until it is told to stop.
pub(crate) fn run(args: ServerArgs) -> Result<()> {
    let config = args.config()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop_on_signal(&shutdown)?;
        trireme_control_plane::run_server(config, shutdown)
            .await
            .map_err(explain)
    })
}

/// Cancels the token on the first SIGTERM or SIGINT.
pub(crate) fn stop_on_signal(shutdown: &CancellationToken) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("stopping: asked by SIGTERM"),
            _ = interrupt.recv() => tracing::info!("stopping: asked by SIGINT"),
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Gives each failure its exit code and remedy.
fn explain(error: ServerError) -> Error {
    use trireme_control_plane::server::HomeError;
    let message = error.to_string();
    match error {
        ServerError::Home(HomeError::Join(error)) => error.into(),
        ServerError::Home(HomeError::Kubeconfig(error)) => error.into(),
        ServerError::Home(HomeError::Empty { .. }) => Failure::usage(message)
            .help("make a token on a running server with `trireme token create --role server`, or check --data-dir")
            .into(),
        ServerError::Home(HomeError::OtherCluster { .. } | HomeError::OtherServer { .. }) => {
            Failure::new(Exit::WrongCluster, message)
                .help("check --data-dir, --name and --token")
                .into()
        }
        ServerError::EtcdExposed { .. } => Failure::usage(message)
            .help("leave --etcd-insecure out, and give clients the admin's certificate; or listen on 127.0.0.1")
            .into(),
        ServerError::Listen(_) => Failure::new(Exit::Local, message)
            .help("choose others with --listen, --peer-listen and --etcd-listen")
            .into(),
        other => Error::new(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_has_a_least_age() {
        assert_eq!(parse_history_age("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_history_age("10"), Ok(limits::HISTORY_AGE_MIN));
        assert!(parse_history_age("9s").is_err_and(|why| why.contains("page by page")));
        assert!(parse_history_age("soon").is_err_and(|why| why.contains("is not a duration")));
    }
}
