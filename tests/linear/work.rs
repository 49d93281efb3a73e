//! The clients and watchers of a run: they begin together, and when they have ended everything is read once more.
//!
//! Whose members they work on, and what happens to those meanwhile, is the caller's.

use std::{ops::Range, sync::Arc};

use anyhow::{Result, bail};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    driver::{
        ClientRecord, Shared, Target, WatchRecord, compact_now_and_then, read_all, run_client, state_hash, watch_all,
        watch_some, write_last,
    },
    history::{Call, History, Outcome},
    judge::Record,
    model::{Answer, KeyAnswer, State},
};

/// Watchers of short watches.
const WATCHERS: usize = 3;
/// Client numbers of the last requests, out of the way of the others'.
const LAST_CLIENT: usize = 1_000;

/// The tasks of a run.
#[derive(Debug)]
pub struct Work {
    shared: Arc<Shared>,
    initial: State,
    stop: watch::Sender<bool>,
    end: watch::Sender<i64>,
    clients: Vec<JoinHandle<ClientRecord>>,
    watchers: Vec<JoinHandle<WatchRecord>>,
    compactor: JoinHandle<()>,
}

impl Work {
    /// Reads the beginning, and starts clients and watchers. Nobody else may use the keys from `k` to `l`.
    ///
    /// # Errors
    /// If the first member cannot be read.
    pub async fn begin(targets: Vec<Target>, seed: u64, clients: Range<usize>) -> Result<Self> {
        let members = targets.len();
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = watch::channel(0);
        let shared = Arc::new(Shared::new(targets, seed, stopped, ended));
        let first = read_all(&shared, 0, LAST_CLIENT).await?;
        let Outcome::Done {
            revision,
            answer: Answer::One(KeyAnswer::Range { kvs, .. }),
        } = first.outcome
        else {
            bail!("the members cannot be read at the start");
        };
        let clients = clients.map(|client| tokio::spawn(run_client(shared.clone(), client)));
        let all = (0..members).map(|member| tokio::spawn(watch_all(shared.clone(), member, revision + 1)));
        let some = (0..WATCHERS).map(|watcher| tokio::spawn(watch_some(shared.clone(), watcher)));
        Ok(Self {
            clients: clients.collect(),
            watchers: all.chain(some).collect(),
            compactor: tokio::spawn(compact_now_and_then(shared.clone())),
            shared,
            initial: State::at(revision, kvs),
            stop,
            end,
        })
    }

    /// What they share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Stops the clients, reads everything through every member, and lets the watchers come to the end. With `findings`
    /// of the caller's that is left out: then the end may be out of reach.
    ///
    /// # Errors
    /// If a task panicked.
    pub async fn finish(self, mut findings: Vec<(String, String)>) -> Result<Record> {
        let shared = self.shared;
        self.stop.send_replace(true);
        let mut history = History::default();
        for client in self.clients {
            let record = client.await?;
            history.calls.extend(record.calls);
            history.past_reads.extend(record.past_reads);
            history.leases.extend(record.leases);
        }
        self.compactor.await?;
        let mut end = 0;
        if findings.is_empty() {
            match look_at_the_end(&shared, &mut history.calls).await {
                Ok((last, differing)) => {
                    end = last;
                    findings.extend(differing);
                }
                Err(error) => findings.push(("liveness".to_owned(), format!("at the end: {error:#}"))),
            }
        }
        // Where the end cannot be reached the watchers stop where they are.
        self.end
            .send_replace(if findings.is_empty() { end } else { Shared::ABANDONED });
        let mut watches = Vec::new();
        for watcher in self.watchers {
            watches.push(watcher.await?);
        }
        if findings.is_empty() {
            let lagging = watches.iter().filter(|record| !record.reached_end);
            findings.extend(lagging.map(|record| {
                let name = record
                    .watches
                    .last()
                    .map_or("none was created", |watch| watch.name.as_str());
                (
                    "liveness".to_owned(),
                    format!("a watch did not reach revision {end}: {name}"),
                )
            }));
        }
        Ok(Record {
            initial: self.initial,
            history,
            watches,
            compacted: shared.compacted(),
            findings,
        })
    }
}

/// Writes a last key, reads everything through every member, and compares what they have. Gives the last revision.
async fn look_at_the_end(shared: &Shared, calls: &mut Vec<Call>) -> Result<(i64, Vec<(String, String)>)> {
    let last = write_last(shared, 0, LAST_CLIENT).await?;
    let Outcome::Done { revision, .. } = last.outcome else {
        bail!("the last write was not acknowledged");
    };
    calls.push(last);
    for member in 0..shared.members() {
        calls.push(read_all(shared, member, LAST_CLIENT + 1 + member).await?);
    }
    Ok((revision, compare_hashes(shared, revision).await?))
}

/// Every member has the same at the same revision.
async fn compare_hashes(shared: &Shared, revision: i64) -> Result<Vec<(String, String)>> {
    let mut hashes = Vec::new();
    for member in 0..shared.members() {
        hashes.push(state_hash(shared, member, revision).await?);
    }
    let differ = hashes.iter().any(|(hash, compacted)| {
        hashes
            .iter()
            .any(|(other, other_compacted)| compacted == other_compacted && hash != other)
    });
    let told = || {
        (
            "hash".to_owned(),
            format!("at revision {revision} the members' hashes are {hashes:?}"),
        )
    };
    Ok(if differ { vec![told()] } else { Vec::new() })
}
