//! A cluster made anew: out of a backup, or out of the data of a server that survived when too many others were lost.
//!
//! Either gives a folder with one server in it, of a cluster with an id of its own; started, it is that cluster, and others
//! join it as usual. After a recovery the certificates stay as they are. After a restore the authority is a new one, unless
//! that of the old cluster is handed in: a backup does not hold it, since whoever has it can be anyone.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use trireme_store::{BackupHeader, MemberNode, RecoverError, Refounded, RestoreError, Survivor};

use super::home::{Home, HomeError, ServerIdentity};
use crate::{
    environment::Environment,
    pki::{CertificateAuthority, PkiError},
};

/// What to restore, and into what.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The backup.
    pub backup: PathBuf,
    /// The new server's folder: absent or empty.
    pub data_dir: PathBuf,
    /// The new server's name.
    pub name: String,
    /// A folder with `ca.crt` and `ca.key` of the old cluster, whose agents and admins then go on with their
    /// certificates. Without it a new authority is made.
    pub pki: Option<PathBuf>,
}

/// Why a cluster was not made anew.
#[derive(Debug, thiserror::Error)]
pub enum RefoundError {
    /// The backup, or the data made of it.
    #[error("cannot restore {}", file.display())]
    Restore {
        /// The backup.
        file: PathBuf,
        /// Why not.
        #[source]
        source: RestoreError,
    },
    /// The survivor's data.
    #[error("cannot recover {}", data_dir.display())]
    Recover {
        /// The survivor's folder.
        data_dir: PathBuf,
        /// Why not.
        #[source]
        source: RecoverError,
    },
    /// The folder holds something already.
    #[error("{} is not empty; nothing was changed", data_dir.display())]
    NotEmpty {
        /// The folder.
        data_dir: PathBuf,
    },
    /// The server's folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The authority.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A folder could not be made or moved.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// With which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Makes a server of a new cluster out of a backup. The folder appears when it is whole, or not at all.
///
/// # Errors
/// See [`RefoundError`]; then nothing is there that was not there before.
pub async fn restore(wish: Restore) -> Result<(BackupHeader, Refounded), RefoundError> {
    let environment = Environment::system();
    let Restore {
        backup,
        data_dir,
        name,
        pki,
    } = wish;
    if fs::read_dir(&data_dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(RefoundError::NotEmpty { data_dir });
    }
    let cluster_id = environment.uid();
    let authority = match &pki {
        Some(pki) => CertificateAuthority::load(pki)?,
        None => CertificateAuthority::create(&cluster_id, environment.timestamp())?,
    };
    let beside = beside(&data_dir);
    remove(&beside)?;
    let node = MemberNode {
        name: name.clone(),
        ..MemberNode::default()
    };
    let made = async {
        let restored = trireme_store::restore(&backup, &beside.join("store"), &cluster_id, node).await;
        let (header, refounded) = restored.map_err(|source| RefoundError::Restore { file: backup, source })?;
        let identity = ServerIdentity {
            cluster_id: cluster_id.clone(),
            server_id: refounded.server_id,
            name,
            api_address: String::new(),
            peer_address: String::new(),
            founder: false,
        };
        Home::make(beside.clone(), identity, authority, &environment)?;
        put_in_place(&beside, &data_dir)?;
        Ok((header, refounded))
    };
    let made = made.await;
    if made.is_err() {
        remove(&beside)?;
    }
    made
}

/// Looks at the data of a server that survived, without changing them.
///
/// # Errors
/// [`RefoundError::Recover`].
pub async fn inspect(data_dir: &Path) -> Result<Survivor, RefoundError> {
    let home = Home::open(data_dir)?;
    trireme_store::inspect(&home.store_dir())
        .await
        .map_err(|source| RefoundError::Recover {
            data_dir: data_dir.to_owned(),
            source,
        })
}

/// Makes a cluster of one out of the data of a server that survived. It keeps its name, addresses and authority.
///
/// # Errors
/// See [`RefoundError`]. It can be tried again.
pub async fn recover(data_dir: &Path) -> Result<(Survivor, Refounded), RefoundError> {
    let environment = Environment::system();
    let mut home = Home::open(data_dir)?;
    let cluster_id = environment.uid();
    let node = MemberNode {
        name: home.identity.name.clone(),
        api_address: home.identity.api_address.clone(),
        peer_address: home.identity.peer_address.clone(),
    };
    let recovered = trireme_store::recover(&home.store_dir(), &cluster_id, node).await;
    let (survivor, refounded) = recovered.map_err(|source| RefoundError::Recover {
        data_dir: data_dir.to_owned(),
        source,
    })?;
    home.become_another(cluster_id, refounded.server_id, &environment)?;
    Ok((survivor, refounded))
}

/// Where the folder is made until it is whole.
fn beside(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    data_dir.with_file_name(name)
}

fn remove(path: &Path) -> Result<(), RefoundError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RefoundError::Io {
            doing: "remove",
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

fn put_in_place(beside: &Path, data_dir: &Path) -> Result<(), RefoundError> {
    let failed = |source| RefoundError::Io {
        doing: "make",
        path: data_dir.to_owned(),
        source,
    };
    // An empty folder gives way to the one that is renamed.
    fs::rename(beside, data_dir).map_err(failed)?;
    let parent = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))
        .and_then(|parent| parent.sync_all())
        .map_err(failed)
}
