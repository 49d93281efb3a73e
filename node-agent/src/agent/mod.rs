//! The agent as a whole: starts the runtime, joins, and runs the driver until it is told to stop.
//!
//! Stopping the agent stops no container and no containerd: the next agent adopts them.

mod driver;
mod pods;
mod world;

use crate::config::{AgentConfig, RuntimeChoice};
use crate::image::pack::PAUSE_IMAGE;
use crate::journal::JournalStore;
use crate::node;
use crate::operations::{Workshop, import_images};
use crate::paths::{Layout, make_private_directory, write_file_durably};
use crate::pod::NodeFacts;
use crate::runtime::containerd::{Containerd, ContainerdConfig, ContainerdError};
use crate::runtime::cri::CriRuntime;
use crate::runtime::process::ProcessRuntime;
use crate::runtime::{Runtime, RuntimeError, RuntimeVersion};
use crate::session::connection::{Cluster, Credentials, join_cluster};
use crate::session::event_recorder::EventRecorder;
use crate::session::identity::{IdentityStore, Validity};
use crate::time::wall_now;
use nix::fcntl::{Flock, FlockArg};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data directory cannot be used.
    #[error("the data directory {path} cannot be used")]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another agent runs on the same data directory.
    #[error("another agent is using the data directory {path}")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The own containerd cannot be used.
    #[error("the container runtime cannot be started")]
    Containerd(#[from] ContainerdError),
    /// The runtime cannot be used.
    #[error("the container runtime cannot be used")]
    Runtime(#[from] RuntimeError),
    /// The image that holds a pod's namespaces open was never imported.
    #[error("image {PAUSE_IMAGE} is not there; put its archive into the image directory")]
    NoPauseImage,
    /// There is no certificate yet, and no token to get one.
    #[error("this node has not joined a cluster yet; give it a join token and the address of a server")]
    NoToken,
    /// The stored certificate has ended, and there is no token to get another.
    #[error("this node's certificate has expired; give it a fresh join token")]
    Expired,
    /// The cluster did not let the node in, or the token cannot be used.
    #[error("joining the cluster failed")]
    Join(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The stored certificate or the servers' addresses cannot be used.
    #[error("the cluster's addresses or the node's certificate cannot be used")]
    Client(#[from] trireme_client::ConfigError),
}

/// Runs the agent until `shutdown` is cancelled. Containers go on running. Once it returns, nothing of it is at work in
/// the data directory any more.
///
/// # Errors
/// See [`AgentError`]. Once the agent has joined it ends only by `shutdown`: a cluster or a runtime
/// that cannot be reached is waited for.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> Result<(), AgentError> {
    let work = start(&config);
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(()),
        started = work => {
            let (driver, _lock, supervisor) = started?;
            tokio::select! {
                () = supervise(supervisor) => Ok(()),
                () = driver.run(shutdown) => Ok(()),
            }
        }
    }
}

async fn supervise(containerd: Option<Containerd>) {
    match containerd {
        Some(containerd) => containerd.supervise().await,
        None => std::future::pending().await,
    }
}

type Started = (driver::Driver, Flock<std::fs::File>, Option<Containerd>);

async fn start(config: &AgentConfig) -> Result<Started, AgentError> {
    let unusable = |source| AgentError::DataDirectory {
        path: config.data_dir.clone(),
        source,
    };
    let layout = config.layout().map_err(unusable)?;
    let lock = open_data_directory(config, &layout)?;
    let store = IdentityStore::open(&layout).map_err(unusable)?;
    // Joining comes first: a wrong token is told before anything is started.
    let credentials = credentials(config, &store).await?;
    let (runtime, containerd) = start_runtime(config, &layout).await?;
    forget_service(&layout);
    let version = runtime.version().await?;
    prepare_images(config, &layout, runtime.as_ref()).await?;
    let cluster = Cluster::new(&credentials, store)?;
    let capacity = node::measure(layout.root());
    let address = config
        .address
        .unwrap_or_else(|| node::own_address(&credentials.servers));
    let facts = NodeFacts {
        name: config.node_name.clone(),
        addresses: vec![address],
        cpu_millis: capacity.cpu_millis,
        memory_bytes: capacity.memory_bytes,
        runtime_name: version.name.clone(),
        layout: layout.clone(),
    };
    let object = node::object(config, address, capacity, &version);
    log_start(config, &version);
    let journals = JournalStore::open(&layout).map_err(unusable)?;
    let known = journals.load().map_err(unusable)?;
    let workshop = Workshop {
        runtime,
        journals,
        layout,
        node: Arc::new(facts),
        events: EventRecorder::default(),
    };
    Ok((
        driver::Driver::start(cluster, object, workshop, known),
        lock,
        containerd,
    ))
}

/// The mark that an agent has the whole of its node's pods in hand, as its process id.
fn service_mark(data_dir: &Path) -> PathBuf {
    data_dir.join("in-service")
}

/// An agent that starts has its pods in hand no more than one that has ended.
fn forget_service(layout: &Layout) {
    let _ = std::fs::remove_file(service_mark(layout.root()));
}

/// Leaves the mark for [`is_in_service`].
fn mark_service(layout: &Layout) -> std::io::Result<()> {
    let text = std::process::id().to_string();
    write_file_durably(&service_mark(layout.root()), text.as_bytes(), 0o600)
}

/// True if the agent with this process id has, since it started, heard all that is wanted of the node whose data directory
/// this is, and told the cluster how its pods are.
#[must_use]
pub fn is_in_service(data_dir: &Path, process_id: u32) -> bool {
    let text = std::fs::read_to_string(service_mark(data_dir)).unwrap_or_default();
    text.trim().parse() == Ok(process_id)
}

fn log_start(config: &AgentConfig, version: &RuntimeVersion) {
    tracing::info!(
        node = config.node_name,
        runtime = version.name,
        runtime_version = version.version,
        pod_addresses = %config.pod_addresses(),
        "the agent is up"
    );
}

fn open_data_directory(config: &AgentConfig, layout: &Layout) -> Result<Flock<std::fs::File>, AgentError> {
    let unusable = |source| AgentError::DataDirectory {
        path: config.data_dir.clone(),
        source,
    };
    // Volumes lie below it, so others may pass through, but not list it.
    make_private_directory(layout.root()).map_err(unusable)?;
    for directory in [
        layout.root().to_owned(),
        layout.root().join("pods"),
        layout.root().join("logs"),
    ] {
        make_private_directory(&directory).map_err(unusable)?;
        let passable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(&directory, passable).map_err(unusable)?;
    }
    let file = std::fs::File::create(layout.root().join("lock")).map_err(unusable)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| AgentError::InUse {
        path: config.data_dir.clone(),
    })
}

async fn credentials(config: &AgentConfig, store: &IdentityStore) -> Result<Credentials, AgentError> {
    let unusable = |source| AgentError::DataDirectory {
        path: config.data_dir.clone(),
        source,
    };
    if let Some(mut stored) = store.load().map_err(unusable)? {
        let has_ended = Validity::of(&stored.identity.cert_pem).is_none_or(|validity| validity.has_ended(wall_now()));
        if !has_ended {
            // What was given by hand may be fresher than what was stored, and costs only a try.
            let missing: Vec<String> = config
                .servers
                .iter()
                .filter(|server| !stored.servers.contains(server))
                .cloned()
                .collect();
            stored.servers.extend(missing);
            return Ok(stored);
        }
        if config.token.is_none() {
            return Err(AgentError::Expired);
        }
    }
    let token = config.token.as_ref().ok_or(AgentError::NoToken)?;
    let joined = join_cluster(&config.node_name, &config.servers, token).await;
    let joined = joined.map_err(|error| AgentError::Join(Box::new(error)))?;
    store.save(&joined).map_err(unusable)?;
    Ok(joined)
}

fn containerd_config(config: &AgentConfig, layout: &Layout) -> ContainerdConfig {
    ContainerdConfig {
        directory: layout.containerd(),
        run_directory: ContainerdConfig::default_run_directory(layout.root()),
        node: config.instance(),
        pod_cidr: config.pod_addresses(),
    }
}

async fn start_runtime(
    config: &AgentConfig,
    layout: &Layout,
) -> Result<(Arc<dyn Runtime>, Option<Containerd>), AgentError> {
    Ok(match &config.runtime {
        RuntimeChoice::Containerd => {
            let containerd = Containerd::start(containerd_config(config, layout)).await?;
            (Arc::new(containerd.runtime()), Some(containerd))
        }
        RuntimeChoice::Cri { socket } => (Arc::new(CriRuntime::new(socket, &config.instance())), None),
        RuntimeChoice::Process => {
            let directory = layout.process_runtime();
            let runtime = ProcessRuntime::open(&directory, config.pod_addresses(), config.shim.clone())?;
            (Arc::new(runtime), None)
        }
    })
}

/// Imports what the operator laid ready. The own containerd needs the pause image before any pod.
async fn prepare_images(config: &AgentConfig, layout: &Layout, runtime: &dyn Runtime) -> Result<(), AgentError> {
    if let Some(directory) = &config.image_dir {
        import_images(runtime, directory).await;
    }
    let bundled = layout.root().join("images");
    if bundled.is_dir() {
        import_images(runtime, &bundled).await;
    }
    let needs_pause = config.runtime == RuntimeChoice::Containerd;
    if needs_pause && runtime.image(PAUSE_IMAGE).await?.is_none() {
        return Err(AgentError::NoPauseImage);
    }
    Ok(())
}

/// Ends every pod of this node, then its own containerd and network. The agent must not run.
///
/// # Errors
/// See [`AgentError`]. What is already gone is fine.
pub async fn teardown(config: &AgentConfig) -> Result<(), AgentError> {
    let unusable = |source| AgentError::DataDirectory {
        path: config.data_dir.clone(),
        source,
    };
    let layout = config.layout().map_err(unusable)?;
    let _lock = open_data_directory(config, &layout)?;
    let (runtime, containerd) = start_runtime(config, &layout).await?;
    for sandbox in runtime.inventory().await?.sandboxes {
        runtime.remove_sandbox(&sandbox.id).await?;
    }
    if let Some(containerd) = containerd {
        containerd.remove_network().await;
        containerd.stop().await?;
        containerd.remove_run_directory();
    }
    Ok(())
}
