//! A verb's way to the cluster: which kubeconfig, which servers, which namespace, and the kinds that exist there.

use std::path::{Path, PathBuf};

use anyhow::Result;
use trireme_client::kubeconfig::Access;
use trireme_client::{Client, Kubeconfig};

use crate::exit::{Exit, Failure};
use crate::limits;
use crate::resolve::Discovery;
use crate::resources::Resources;

/// The flags of every verb that speaks to a cluster.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConnectArgs {
    /// File with the credentials and the servers' addresses
    #[arg(
        long,
        global = true,
        env = "KUBECONFIG",
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) kubeconfig: Option<String>,
    /// Context of the kubeconfig file, if not its current one
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub(crate) context: Option<String>,
    /// Address (host:port) of a server, instead of those in the kubeconfig file; repeatable
    #[arg(long, global = true, value_name = "HOST:PORT", help_heading = "Global options")]
    pub(crate) server: Vec<String>,
    /// Namespace; otherwise that of the context, or `default`
    #[arg(
        short = 'n',
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Global options"
    )]
    pub(crate) namespace: Option<String>,
}

/// Where a kubeconfig is looked for when none is named.
const USUAL_PLACES: [&str; 2] = [".trireme/admin.kubeconfig", "/var/lib/trireme/admin.kubeconfig"];

/// A connection to a cluster, for one verb.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The client.
    pub(crate) client: Client,
    /// The namespace to work in.
    pub(crate) namespace: String,
    /// Whether the namespace was named by a flag.
    pub(crate) namespace_is_explicit: bool,
}

impl Session {
    /// Reads the kubeconfig; connects when first used.
    pub(crate) fn open(args: &ConnectArgs) -> Result<Self> {
        let access = read_access(args)?;
        let mut config = access.config;
        if !args.server.is_empty() {
            config.endpoints = args
                .server
                .iter()
                .map(|s| s.trim_start_matches("https://").to_owned())
                .collect();
        }
        config.retry_for = limits::RETRY_FOR;
        let client = Client::new(config)?;
        let from_context = Some(access.namespace).filter(|n| !n.is_empty());
        let namespace = args
            .namespace
            .clone()
            .or(from_context)
            .unwrap_or_else(|| "default".to_owned());
        Ok(Self {
            client,
            namespace,
            namespace_is_explicit: args.namespace.is_some(),
        })
    }

    /// The kinds of the cluster.
    pub(crate) async fn discovery(&self) -> Result<Discovery> {
        Ok(Discovery::new(self.client.discover().await?.resources))
    }

    /// Calls on objects as JSON.
    pub(crate) fn resources(&self) -> Resources {
        Resources::new(&self.client)
    }
}

fn read_access(args: &ConnectArgs) -> Result<Access> {
    let path = find_kubeconfig(args.kubeconfig.as_deref())?;
    let directory = path.parent().unwrap_or(Path::new(".")).to_owned();
    Ok(Kubeconfig::read(&path)?.access(args.context.as_deref(), &directory)?)
}

/// The file that is named, or the first that exists of several that are, or of the usual ones.
fn find_kubeconfig(named: Option<&str>) -> Result<PathBuf, Failure> {
    if let Some(named) = named.filter(|n| !n.is_empty()) {
        let mut candidates = named.split(':').filter(|p| !p.is_empty()).map(PathBuf::from);
        let first = candidates.next().unwrap_or_default();
        return Ok(std::iter::once(first.clone())
            .chain(candidates)
            .find(|p| p.exists())
            .unwrap_or(first));
    }
    let home = std::env::home_dir().map(|home| home.join(".kube/config"));
    let found = USUAL_PLACES
        .iter()
        .map(PathBuf::from)
        .chain(home)
        .find(|path| path.exists());
    found.ok_or_else(|| {
        Failure::new(
            Exit::Local,
            "no kubeconfig file is named, and none is in the usual places",
        )
        .help("set KUBECONFIG or pass --kubeconfig FILE; `trireme up` starts a local cluster and makes one")
    })
}
