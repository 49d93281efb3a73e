//! Making a cluster of one out of what is left: of a backup, or of the data of one server that survived its cluster.
//!
//! Both give the state another log, under a server id that the former cluster never used, and let the revision jump, so that
//! nobody takes a revision of the new cluster for one of the old (I2). The log begins behind the state: whoever joins gets
//! the state first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use trireme_mvcc::types::{KeyRange, RangeRequest, Revision};

use super::identity::{Identity, IdentityError};
use super::log::{LogOpenError, LogStore};
use super::membership::SERVER_ID_KEY;
use super::state_machine::{decode_membership, encode_membership};
use super::types::{LogId, MemberNode, RaftMembership, StoredMembership, Vote, log_id};
use super::{config, verify};
use crate::backup::{BackupError, BackupFile, BackupHeader};
use crate::engine::{AppliedPosition, Engine, EngineError, EngineOptions, Entry};
use crate::{limits, quarantine};

/// A cluster of one that was made out of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refounded {
    /// The Raft id of its server.
    pub server_id: u64,
    /// The revision that the state had.
    pub former_revision: Revision,
    /// The revision that it has now.
    pub revision: Revision,
}

/// Why a backup was not restored. The directory is to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The directory holds something.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The new server's data could not be written.
    #[error(transparent)]
    Write(#[from] RefoundError),
}

/// Why a server's data were not made a cluster of their own.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There are none.
    #[error("{} holds no server's data", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// They are damaged.
    #[error("the data are damaged ({0}); restore a backup, or recover another server that survived")]
    Damaged(String),
    /// They could not be read or written.
    #[error(transparent)]
    Write(#[from] RefoundError),
}

/// Why data could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RefoundError {
    /// The state.
    #[error("the state cannot be used")]
    State(#[from] EngineError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The disk.
    #[error("cannot {doing}")]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// What a server that survived its cluster has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// The cluster's id.
    pub cluster_id: String,
    /// The server's Raft id.
    pub server_id: u64,
    /// The names of the servers that it knows of.
    pub members: Vec<String>,
    /// Term and index of the last entry of its log.
    pub last_entry: (u64, u64),
    /// Up to which index it knows for certain that entries were committed.
    pub committed_index: u64,
    /// The index and the revision of its state, without the entries of the log behind it.
    pub applied: (u64, Revision),
}

fn io(doing: &'static str) -> impl Fn(std::io::Error) -> RefoundError {
    move |source| RefoundError::Io { doing, source }
}

/// Makes the data of a cluster of one in `directory`, which is absent or empty, out of a backup.
///
/// # Errors
/// [`RestoreError`]. If it is of the backup, nothing was made.
pub async fn restore(
    backup: &Path,
    directory: &Path,
    cluster_id: &str,
    node: MemberNode,
) -> Result<(BackupHeader, Refounded), RestoreError> {
    if std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        let path = directory.to_owned();
        return Err(RestoreError::NotEmpty { path });
    }
    let (file, state_dir) = (backup.to_owned(), config::state_dir(directory));
    let imported = blocking(move || {
        let backup = BackupFile::open(&file)?;
        let header = backup.header().clone();
        let engine = Engine::open(&state_dir, EngineOptions::default()).map_err(RefoundError::from)?;
        let snapshot = backup.snapshot().map_err(BackupError::from)?;
        engine
            .install(&mut std::io::BufReader::new(snapshot))
            .map_err(|error| match error {
                EngineError::Snapshot(_) => RestoreError::Backup(BackupError::Damaged("its state cannot be read")),
                other => RestoreError::Write(other.into()),
            })?;
        Ok::<_, RestoreError>((header, Arc::new(engine)))
    });
    let (header, engine) = imported.await?;
    let mut log =
        LogStore::open(&config::log_dir(directory), limits::LOG_TAIL_CACHE_BYTES).map_err(RefoundError::from)?;
    let known = header.members.iter().map(|member| member.id).max().unwrap_or(0);
    let refounded = refound(directory, cluster_id, node, &engine, &mut log, known).await?;
    Ok((header, refounded))
}

/// Looks at the data of a server that survived its cluster, without changing them. The server must not run.
///
/// # Errors
/// [`RecoverError`].
pub async fn inspect(directory: &Path) -> Result<Survivor, RecoverError> {
    let (identity, mut log, engine) = open(directory).await?;
    let survivor = survey(&identity, &mut log, &engine).await;
    close(&log, engine).await;
    survivor
}

/// Makes a cluster of one out of the data of a server that survived its cluster: of its state and all of its log, also of
/// the entries that may never have been committed. The server must not run.
///
/// # Errors
/// [`RecoverError`]. It can be tried again.
pub async fn recover(
    directory: &Path,
    cluster_id: &str,
    node: MemberNode,
) -> Result<(Survivor, Refounded), RecoverError> {
    let (identity, mut log, engine) = open(directory).await?;
    let survivor = survey(&identity, &mut log, &engine).await?;
    replay(&mut log, &engine, survivor.last_entry.1).await?;
    let stored = membership(&engine)?;
    let known = stored
        .nodes()
        .map(|(id, _)| *id)
        .max()
        .unwrap_or(0)
        .max(identity.server_id);
    let refounded = refound(directory, cluster_id, node, &engine, &mut log, known).await?;
    Ok((survivor, refounded))
}

async fn open(directory: &Path) -> Result<(Identity, LogStore, Arc<Engine>), RecoverError> {
    let nothing = || RecoverError::Nothing {
        path: directory.to_owned(),
    };
    let identity = Identity::read(directory)
        .map_err(RefoundError::from)?
        .ok_or_else(nothing)?;
    let (log_dir, state_dir) = (config::log_dir(directory), config::state_dir(directory));
    if !log_dir.exists() || !state_dir.exists() {
        return Err(nothing());
    }
    if let Some(cause) = quarantine::read(directory).map_err(io("look for the mark of a quarantine"))? {
        return Err(RecoverError::Damaged(cause));
    }
    let opened = blocking(move || {
        let log = LogStore::open(&log_dir, limits::LOG_TAIL_CACHE_BYTES).map_err(|error| match error {
            LogOpenError::Quarantined { what, .. } => RecoverError::Damaged(what),
            other => RecoverError::Write(other.into()),
        })?;
        let engine = Engine::open(&state_dir, EngineOptions::default()).map_err(|error| {
            let text = quarantine::whole(&error);
            if quarantine::is_damage(&text) {
                RecoverError::Damaged(text)
            } else {
                RecoverError::Write(error.into())
            }
        })?;
        Ok::<_, RecoverError>((log, Arc::new(engine)))
    });
    let (mut log, engine) = opened.await?;
    if let Err(cause) = verify::agree(&mut log, engine.applied_position().as_ref()).await {
        close(&log, engine).await;
        return Err(RecoverError::Damaged(cause));
    }
    Ok((identity, log, engine))
}

async fn survey(identity: &Identity, log: &mut LogStore, engine: &Arc<Engine>) -> Result<Survivor, RecoverError> {
    let read = io("read the log");
    let state = log.get_log_state().await.map_err(&read)?;
    let committed = log.read_committed().await.map_err(&read)?;
    let position = engine.applied_position();
    let applied = position.as_ref().map(|position| (position.term, position.index));
    let last = state.last_log_id.map(|id| (id.leader_id.term, id.index));
    let applied_index = applied.map_or(0, |(_, index)| index);
    // The state may be ahead of a log that was cut.
    let last_entry = last.max(applied).unwrap_or_default();
    let members = latest_membership(log, engine, last_entry.1).await?;
    Ok(Survivor {
        cluster_id: identity.cluster_id.clone(),
        server_id: identity.server_id,
        members: members.nodes().map(|(_, node)| node.name.clone()).collect(),
        last_entry,
        committed_index: committed.map_or(0, |id| id.index).max(applied_index),
        applied: (applied_index, engine.revision()),
    })
}

fn membership(engine: &Engine) -> Result<StoredMembership, RefoundError> {
    match engine.applied_position() {
        Some(position) => decode_membership(&position.opaque).map_err(io("read the membership")),
        None => Ok(StoredMembership::default()),
    }
}

/// The membership that the log ends with.
async fn latest_membership(log: &mut LogStore, engine: &Engine, last: u64) -> Result<StoredMembership, RecoverError> {
    let mut stored = membership(engine)?;
    let mut next = engine.applied_position().map_or(0, |position| position.index + 1);
    while next <= last {
        let end = last.min(next + limits::RECOVER_BATCH_ENTRIES as u64 - 1);
        let entries = log.try_get_log_entries(next..=end).await.map_err(io("read the log"))?;
        for entry in entries {
            if let EntryPayload::Membership(membership) = entry.payload {
                stored = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        next = end + 1;
    }
    Ok(stored)
}

/// Applies what the log has behind the state.
async fn replay(log: &mut LogStore, engine: &Arc<Engine>, last: u64) -> Result<(), RecoverError> {
    let mut stored = membership(engine)?;
    let mut next = engine.applied_position().map_or(0, |position| position.index + 1);
    while next <= last {
        let end = last.min(next + limits::RECOVER_BATCH_ENTRIES as u64 - 1);
        let entries = log.try_get_log_entries(next..=end).await.map_err(io("read the log"))?;
        let mut chunk = Vec::with_capacity(entries.len());
        for entry in entries {
            let command = match entry.payload {
                EntryPayload::Blank => None,
                EntryPayload::Normal(command) => Some(command.0),
                EntryPayload::Membership(membership) => {
                    stored = StoredMembership::new(Some(entry.log_id), membership);
                    None
                }
            };
            next = entry.log_id.index + 1;
            chunk.push(Entry {
                position: position(entry.log_id, &stored),
                command,
            });
        }
        if chunk.is_empty() {
            return Err(RecoverError::Damaged(format!("entry {next} of the log is missing")));
        }
        let engine = engine.clone();
        blocking(move || engine.apply_chunk(chunk).map(drop))
            .await
            .map_err(RefoundError::from)?;
    }
    Ok(())
}

fn position(at: LogId, membership: &StoredMembership) -> AppliedPosition {
    AppliedPosition {
        term: at.leader_id.term,
        index: at.index,
        opaque: encode_membership(membership),
    }
}

/// Gives the state a log of its own in `directory`, in which `node` is the only server.
async fn refound(
    directory: &Path,
    cluster_id: &str,
    node: MemberNode,
    engine: &Arc<Engine>,
    log: &mut LogStore,
    known_id: u64,
) -> Result<Refounded, RefoundError> {
    let server_id = known_id.max(last_given_id(engine).await?) + 1;
    let former_revision = engine.revision();
    let state = log.get_log_state().await.map_err(io("read the log"))?;
    let vote = log.read_vote().await.map_err(io("read the log"))?;
    let applied = engine.applied_position();
    let term = [
        vote.map(|vote| vote.leader_id.term),
        state.last_log_id.map(|id| id.leader_id.term),
        applied.as_ref().map(|position| position.term),
    ];
    let index = [
        state.last_log_id.map(|id| id.index),
        applied.as_ref().map(|position| position.index),
    ];
    let at = log_id(
        term.into_iter().flatten().max().unwrap_or(0) + 1,
        index.into_iter().flatten().max().unwrap_or(0) + 1,
    );
    let voters = vec![BTreeSet::from([server_id])];
    let members = RaftMembership::new(voters, BTreeMap::from([(server_id, node)]))
        .map_err(|error| io("make the membership")(std::io::Error::other(error)))?;
    let position = position(at, &StoredMembership::new(Some(at), members));
    // The state first: a crash behind this leaves a server that is no member, and a second try goes on from here.
    let moved = engine.clone();
    blocking(move || moved.move_to(position, limits::REFOUND_REVISIONS)).await?;
    let write = io("write the log");
    log.purge(at).await.map_err(&write)?;
    log.save_vote(&Vote::new(at.leader_id.term, server_id))
        .await
        .map_err(&write)?;
    let revision = engine.revision();
    let closing = (log.clone(), engine.clone());
    blocking(move || closing.0.close()).await;
    Identity::new(cluster_id, server_id).replace(directory)?;
    Ok(Refounded {
        server_id,
        former_revision,
        revision,
    })
}

/// The last server id that the former cluster gave out.
async fn last_given_id(engine: &Arc<Engine>) -> Result<u64, RefoundError> {
    let request = RangeRequest::latest(KeyRange::key(SERVER_ID_KEY));
    let found = engine
        .read_range(request)
        .await
        .map_err(|error| io("read the counter of server ids")(std::io::Error::other(error)))?;
    let last = found
        .kvs
        .first()
        .and_then(|kv| std::str::from_utf8(&kv.value).ok()?.parse().ok());
    Ok(last.unwrap_or(0))
}

async fn close(log: &LogStore, engine: Arc<Engine>) {
    let log = log.clone();
    blocking(move || {
        log.close();
        drop(engine);
    })
    .await;
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
