//! Where a local cluster keeps its things.
//!
//! ```text
//! DIR/admin.kubeconfig    the admin's credentials, and all servers' addresses
//! DIR/cluster.json        the plan: which servers and agents there are
//! DIR/etcd-endpoints      where etcd's API is served, if it is; comma-separated
//! DIR/servers/NAME/       a server's data
//! DIR/agents/NAME/        an agent's data
//! DIR/logs/NAME.log       what a process says
//! DIR/run/NAME.json       which process it is
//! ```

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::exit::{Exit, Failure};

/// The folder of a local cluster. Its path is absolute, since processes outlive the one that starts them.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// A cluster's folder.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).with_context(|| format!("{} is no usable path", root.display()))?;
        Ok(Self { root })
    }

    /// Makes the folders, for their owner only.
    pub(crate) fn create(&self) -> Result<()> {
        for path in [
            self.root.clone(),
            self.root.join("servers"),
            self.root.join("agents"),
            self.root.join("logs"),
            self.root.join("run"),
        ] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.with_context(|| format!("cannot make the folder {}", path.display()))?;
        }
        Ok(())
    }

    /// Keeps other `up`s and `down`s away until the lock is dropped.
    pub(crate) fn lock(&self) -> Result<Flock<std::fs::File>> {
        let path = self.root.join("run").join("lock");
        let file = std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
            let message = format!(
                "another `trireme up` or `trireme down` is at work on {}",
                self.root.display()
            );
            Failure::new(Exit::Local, message)
                .help("wait for it; a `trireme up` in the foreground is stopped with Ctrl-C")
                .into()
        })
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The admin's credentials.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.root.join("admin.kubeconfig")
    }

    /// The plan.
    pub(crate) fn plan(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    /// Where etcd's API is served.
    pub(crate) fn etcd_endpoints(&self) -> PathBuf {
        self.root.join("etcd-endpoints")
    }

    /// A server's data.
    pub(crate) fn server(&self, name: &str) -> PathBuf {
        self.root.join("servers").join(name)
    }

    /// An agent's data.
    pub(crate) fn agent(&self, name: &str) -> PathBuf {
        self.root.join("agents").join(name)
    }

    /// What a process says.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// Which process it is.
    pub(crate) fn pid(&self, name: &str) -> PathBuf {
        self.root.join("run").join(format!("{name}.json"))
    }
}
