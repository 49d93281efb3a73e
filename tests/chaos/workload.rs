//! Clients that write, watch and scale, and record what they are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use trireme_client::{Api, Client, ClientError, TypedWatchItem};
use trireme_proto::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod},
        meta::v1::ObjectMeta,
    },
    v1::PatchType,
};

use super::history::{SeenChange, SeenPod, WriteOutcome, WriteRecord};

/// The namespace that everything happens in.
pub const NAMESPACE: &str = "default";
/// Label of the objects that the writers write.
pub const WRITER_LABEL: &str = "chaos";
/// Name of the Deployment that is scaled.
pub const DEPLOYMENT: &str = "chaos";
/// A writer writes a new object this many times as often as it changes the one that it owns.
const CREATES_PER_UPDATE: u64 = 4;
/// How long a writer pauses between two writes, so that the run is about faults and not about load.
const WRITE_PAUSE: Duration = Duration::from_millis(4);
/// How long the scaler waits between two changes.
const SCALE_PAUSE: Duration = Duration::from_millis(700);

/// Counts acknowledged writes, so that others can wait for progress.
#[derive(Debug, Default)]
pub struct Progress {
    acknowledged: AtomicU64,
    /// When the last one was acknowledged, and how many there were then.
    latest: Mutex<Option<Instant>>,
}

impl Progress {
    /// How many writes have been acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    fn note(&self) {
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
        *self.latest.lock().expect("nobody panics here") = Some(Instant::now());
    }
}

/// Writes until told to stop: objects of its own, and one register that it changes by compare-and-set.
pub fn spawn_writer(
    client: Client,
    writer: usize,
    progress: Arc<Progress>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<Vec<WriteRecord>> {
    tokio::spawn(async move {
        let api: Api<ConfigMap> = Api::namespaced(&client, NAMESPACE);
        let register = format!("register-{writer}");
        let mut records = Vec::new();
        let mut held: Option<ConfigMap> = None;
        for sequence in 0.. {
            if *stop.borrow() {
                break;
            }
            let value = format!("{writer}.{sequence}");
            if sequence % (CREATES_PER_UPDATE + 1) == 0 {
                let (record, now_held) = change_register(&api, writer, &register, value, held.take()).await;
                held = now_held;
                records.extend(record);
            } else {
                let name = format!("w{writer}-{sequence}");
                let result = api.create(&config_map(&name, &value)).await;
                records.push(WriteRecord {
                    writer,
                    name,
                    value,
                    outcome: outcome(&result),
                });
            }
            if matches!(
                records.last().map(|record| record.outcome),
                Some(WriteOutcome::Acknowledged { .. })
            ) {
                progress.note();
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
        records
    })
}

/// One change of the register. After an unknown outcome the register is read again before the next change.
async fn change_register(
    api: &Api<ConfigMap>,
    writer: usize,
    name: &str,
    value: String,
    held: Option<ConfigMap>,
) -> (Option<WriteRecord>, Option<ConfigMap>) {
    let known = match held {
        Some(held) => Some(held),
        None => match api.get_opt(name).await {
            Ok(found) => found,
            Err(_) => return (None, None),
        },
    };
    let result = match known {
        None => api.create(&config_map(name, &value)).await,
        Some(mut held) => {
            held.data.insert("value".to_owned(), value.clone());
            api.update(&held).await
        }
    };
    let record = WriteRecord {
        writer,
        name: name.to_owned(),
        value,
        outcome: outcome(&result),
    };
    (Some(record), result.ok())
}

fn outcome(result: &Result<ConfigMap, ClientError>) -> WriteOutcome {
    match result {
        Ok(stored) => WriteOutcome::Acknowledged {
            revision: revision_of(stored.metadata.as_ref()),
        },
        Err(ClientError::Api(_) | ClientError::Connect(_) | ClientError::Unavailable { .. }) => WriteOutcome::Refused,
        Err(ClientError::UnknownOutcome { .. } | ClientError::Decode(_)) => WriteOutcome::Unknown,
    }
}

/// The revision of an object's last change.
pub fn revision_of(metadata: Option<&ObjectMeta>) -> i64 {
    metadata
        .and_then(|meta| meta.resource_version.parse().ok())
        .unwrap_or(0)
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: Some(ObjectMeta {
            name: name.to_owned(),
            namespace: NAMESPACE.to_owned(),
            labels: BTreeMap::from([("app".to_owned(), WRITER_LABEL.to_owned())]),
            ..ObjectMeta::default()
        }),
        data: BTreeMap::from([("value".to_owned(), value.to_owned())]),
        ..ConfigMap::default()
    }
}

/// Watches what the writers write until it has seen everything up to the revision that `until` comes to hold.
pub fn spawn_watcher(
    client: Client,
    start: i64,
    mut until: watch::Receiver<Option<i64>>,
) -> JoinHandle<Result<Vec<SeenChange>>> {
    tokio::spawn(async move {
        let api: Api<ConfigMap> = Api::namespaced(&client, NAMESPACE);
        let mut watch = api.watch(&format!("app={WRITER_LABEL}"), "", start).patient();
        let mut seen = Vec::new();
        let mut reached = start;
        loop {
            if (*until.borrow()).is_some_and(|until| reached >= until) {
                return Ok(seen);
            }
            let item = tokio::select! {
                item = watch.next() => item.context("the watch broke off")?,
                changed = until.changed() => { changed.context("the run was given up")?; continue }
            };
            match item {
                TypedWatchItem::Applied(object, revision) => {
                    let value = object.data.get("value").cloned();
                    seen.push(SeenChange {
                        revision,
                        name: name_of(object.metadata.as_ref()),
                        value,
                    });
                    reached = reached.max(revision);
                }
                TypedWatchItem::Deleted(object, revision) => {
                    seen.push(SeenChange {
                        revision,
                        name: name_of(object.metadata.as_ref()),
                        value: None,
                    });
                    reached = reached.max(revision);
                }
                TypedWatchItem::Bookmark(revision, _) => reached = reached.max(revision),
                TypedWatchItem::Restarted => anyhow::bail!("the watch lost its place and started over"),
            }
        }
    })
}

/// Watches all pods and keeps every state it is sent, until told to stop.
pub fn spawn_pod_watcher(client: Client, mut stop: watch::Receiver<bool>) -> JoinHandle<Result<BTreeSet<SeenPod>>> {
    tokio::spawn(async move {
        let api: Api<Pod> = Api::namespaced(&client, NAMESPACE);
        let mut watch = api.watch("", "", 0).patient();
        let mut seen = BTreeSet::new();
        while !*stop.borrow() {
            let item = tokio::select! {
                item = watch.next() => item.context("the watch of pods broke off")?,
                _ = stop.changed() => break,
            };
            if let TypedWatchItem::Applied(pod, _) | TypedWatchItem::Deleted(pod, _) = item {
                let meta = pod.metadata.unwrap_or_default();
                let node = pod.spec.unwrap_or_default().node_name;
                seen.insert(SeenPod {
                    uid: meta.uid,
                    name: meta.name,
                    node,
                });
            }
        }
        Ok(seen)
    })
}

/// Scales the Deployment up and down until told to stop.
pub fn spawn_scaler(client: Client, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        for step in 0_i32.. {
            if *stop.borrow() {
                return;
            }
            // What matters is that it keeps changing; one change that fails is made up for by the next.
            let _ = scale(&client, 2 + step % 4).await;
            tokio::select! {
                () = tokio::time::sleep(SCALE_PAUSE) => {}
                _ = stop.changed() => return,
            }
        }
    })
}

/// Tells the Deployment how many replicas to have.
///
/// # Errors
/// If that cannot be written.
pub async fn scale(client: &Client, replicas: i32) -> Result<Deployment, ClientError> {
    let api: Api<Deployment> = Api::namespaced(client, NAMESPACE);
    let patch = format!(r#"{{"spec":{{"replicas":{replicas}}}}}"#);
    api.patch(DEPLOYMENT, PatchType::Merge, patch.as_bytes()).await
}

fn name_of(metadata: Option<&ObjectMeta>) -> String {
    metadata.map(|meta| meta.name.clone()).unwrap_or_default()
}
