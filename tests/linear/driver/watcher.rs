//! Watchers: of everything, through each member, from the beginning to the end; and many short ones of all kinds.
//!
//! A stream that breaks is opened again from where it was, which makes a watch of its own: each is judged by itself.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::channel::mpsc;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, timeout};
use trireme_proto::etcd::server::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse, watch_client::WatchClient,
    watch_create_request::FilterType, watch_request::RequestUnion,
};

use super::{link::Shared, wire};
use crate::{
    linear::model::{Event, KeyRange},
    watch_rules::{Body, Message, Watch},
};

/// Largest message of a watch that is taken.
const MESSAGE_MAX_BYTES: usize = 64 << 20;
/// How long a watcher waits before it opens a stream again.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);
/// How often a watcher that waits for the end asks how far it is.
const ASK_PERIOD: Duration = Duration::from_millis(250);
/// How long the watchers may take to reach the end once nothing is broken any more.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// The keys that clients of a run use.
const OURS: (&str, &str) = ("k", "l");

/// What a watcher recorded.
#[derive(Debug, Default)]
pub struct WatchRecord {
    /// Its watches, one after the other.
    pub watches: Vec<Watch>,
    /// Revisions in which only others' keys changed.
    pub foreign: Vec<i64>,
    /// Whether it reached the end of the run.
    pub reached_end: bool,
}

/// One stream with its watches.
#[derive(Debug)]
pub struct Stream {
    requests: mpsc::UnboundedSender<WatchRequest>,
    responses: tonic::Streaming<WatchResponse>,
    watches: Vec<Watch>,
    /// Up to which revision everything was sent, by position.
    reached: Vec<i64>,
    canceled: Vec<bool>,
    foreign: Vec<i64>,
}

impl Stream {
    /// Opens a stream and asks for watches. Their ids are their positions, counted from 1.
    ///
    /// # Errors
    /// If the member cannot be reached.
    pub async fn open(shared: &Shared, member: usize, watches: Vec<Watch>) -> Result<Self> {
        let mut client = WatchClient::new(shared.connect(member).await?).max_decoding_message_size(MESSAGE_MAX_BYTES);
        let (requests, receiver) = mpsc::unbounded();
        for (position, watch) in watches.iter().enumerate() {
            let request = create_request(watch, position)?;
            requests.unbounded_send(WatchRequest {
                request_union: Some(RequestUnion::CreateRequest(request)),
            })?;
        }
        let responses = timeout(Duration::from_secs(2), client.watch(receiver))
            .await
            .context("the stream does not open")??
            .into_inner();
        Ok(Self {
            requests,
            responses,
            reached: watches.iter().map(|watch| watch.start - 1).collect(),
            canceled: vec![false; watches.len()],
            watches,
            foreign: Vec::new(),
        })
    }

    /// Asks how far the watches are; the answer comes among the messages.
    ///
    /// # Errors
    /// If the stream is closed.
    pub fn ask_progress(&self) -> Result<()> {
        let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
        self.requests.unbounded_send(WatchRequest {
            request_union: Some(request),
        })?;
        Ok(())
    }

    /// Takes one message. Says whether there was one before the deadline; fails if the stream broke.
    async fn next(&mut self, deadline: Instant) -> Result<bool> {
        let Ok(received) = tokio::time::timeout_at(deadline, self.responses.message()).await else {
            return Ok(false);
        };
        let response = received?.context("the member ended the stream")?;
        self.take(&response);
        Ok(true)
    }

    fn take(&mut self, response: &WatchResponse) {
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        let body = self.body(response);
        let changed = response.events.iter().filter_map(|event| event.kv.as_ref());
        let newest = changed.map(|kv| kv.mod_revision).max().unwrap_or(0);
        // A progress message that was asked for is of all watches of the stream that have not ended.
        let position = usize::try_from(response.watch_id - 1).ok();
        let all = 0..self.watches.len();
        let meant: Vec<usize> = match position.filter(|position| all.contains(position)) {
            Some(position) => vec![position],
            None => all.filter(|position| !self.canceled[*position]).collect(),
        };
        for position in meant {
            match &body {
                Body::Events(_) => self.reached[position] = self.reached[position].max(newest),
                Body::Progress => self.reached[position] = self.reached[position].max(revision),
                Body::Canceled { .. } => self.canceled[position] = true,
                Body::Created => {}
            }
            self.watches[position].messages.push(Message {
                revision,
                body: body.clone(),
            });
        }
    }

    fn body(&mut self, response: &WatchResponse) -> Body {
        if response.canceled {
            return Body::Canceled {
                compact_revision: response.compact_revision,
            };
        }
        if response.created {
            return Body::Created;
        }
        if response.events.is_empty() {
            return Body::Progress;
        }
        let (ours, foreign): (Vec<Event>, Vec<Event>) = response
            .events
            .iter()
            .map(wire::event)
            .partition(|event| KeyRange::between(OURS.0, OURS.1).contains(&event.kv.key));
        let owned: Vec<i64> = ours.iter().map(|event| event.kv.mod_revision).collect();
        let foreign = foreign.iter().map(|event| event.kv.mod_revision);
        self.foreign
            .extend(foreign.filter(|revision| !owned.contains(revision)));
        Body::Events(ours)
    }

    /// Takes messages until every watch was sent everything up to a revision.
    ///
    /// # Errors
    /// If that takes too long, or the stream breaks.
    pub async fn reach(&mut self, revision: i64, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.reached() < revision {
            ensure!(!self.is_over(), "the watches were ended: {:?}", self.watches);
            ensure!(
                self.next(deadline).await?,
                "the watches were sent only up to {:?}, not to {revision}",
                self.reached
            );
        }
        Ok(())
    }

    /// What the watches were sent.
    pub fn into_watches(self) -> Vec<Watch> {
        self.watches
    }

    fn is_over(&self) -> bool {
        self.canceled.iter().all(|canceled| *canceled)
    }

    fn reached(&self) -> i64 {
        self.reached.iter().copied().min().unwrap_or(0)
    }
}

fn create_request(watch: &Watch, position: usize) -> Result<WatchCreateRequest> {
    let mut filters = Vec::new();
    if watch.no_put {
        filters.push(FilterType::Noput.into());
    }
    if watch.no_delete {
        filters.push(FilterType::Nodelete.into());
    }
    Ok(WatchCreateRequest {
        key: watch.range.key.clone().into(),
        range_end: watch.range.end.clone().into(),
        start_revision: watch.start,
        progress_notify: true,
        filters,
        prev_kv: watch.prev_kv,
        watch_id: i64::try_from(position)? + 1,
        fragment: watch.fragment,
    })
}

/// Watches all keys through one member until the end of the run, from `start` on.
pub async fn watch_all(shared: Arc<Shared>, member: usize, start: i64) -> WatchRecord {
    let mut record = WatchRecord::default();
    let mut next = start;
    let mut give_up: Option<Instant> = None;
    while !shared.is_abandoned() && give_up.is_none_or(|at| Instant::now() < at) {
        if shared.end().is_some() && give_up.is_none() {
            give_up = Some(Instant::now() + END_PATIENCE);
        }
        let watch = Watch {
            name: format!("all keys at member {} from {next}", member + 1),
            range: KeyRange::all(),
            start: next,
            no_put: false,
            no_delete: false,
            prev_kv: true,
            fragment: false,
            messages: Vec::new(),
        };
        let Ok(mut stream) = Stream::open(&shared, member, vec![watch]).await else {
            tokio::time::sleep(REOPEN_PAUSE).await;
            continue;
        };
        record.reached_end = follow(&shared, &mut stream, give_up).await;
        let compacted = stream.watches[0]
            .messages
            .iter()
            .rev()
            .find_map(|message| match message.body {
                Body::Canceled { compact_revision } => Some(compact_revision),
                _ => None,
            });
        next = (stream.reached() + 1).max(compacted.unwrap_or(0)).max(next);
        record.foreign.append(&mut stream.foreign);
        record.watches.append(&mut stream.watches);
        if record.reached_end {
            break;
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
    record
}

/// Takes messages until the stream breaks or the end of the run is reached. Says whether it was.
async fn follow(shared: &Shared, stream: &mut Stream, give_up: Option<Instant>) -> bool {
    let mut give_up = give_up;
    loop {
        if let Some(end) = shared.end() {
            if stream.reached() >= end {
                return true;
            }
            let at = *give_up.get_or_insert_with(|| Instant::now() + END_PATIENCE);
            if Instant::now() >= at {
                return false;
            }
        }
        if shared.is_abandoned() || stream.is_over() || stream.next(Instant::now() + ASK_PERIOD).await.is_err() {
            return false;
        }
    }
}

/// Opens watches of all kinds, a few on one stream, for a short time each, until the run ends.
pub async fn watch_some(shared: Arc<Shared>, watcher: usize) -> WatchRecord {
    let mut random = StdRng::seed_from_u64(shared.seed ^ 0x5eed ^ ((watcher as u64) << 32));
    let mut record = WatchRecord::default();
    let mut count = 0;
    while !shared.is_stopped() {
        let member = random.random_range(0..shared.members());
        let watches = (0..random.random_range(1..=3)).map(|_| {
            count += 1;
            some_watch(
                &shared,
                &mut random,
                &format!("watch {watcher}.{count} at member {}", member + 1),
            )
        });
        let watches: Vec<Watch> = watches.collect();
        let Ok(mut stream) = Stream::open(&shared, member, watches).await else {
            tokio::time::sleep(REOPEN_PAUSE).await;
            continue;
        };
        let until = Instant::now() + Duration::from_millis(random.random_range(200..2_500));
        // A stream that breaks is judged by what it sent.
        let _ = listen(&mut stream, until).await;
        record.watches.append(&mut stream.watches);
    }
    record.reached_end = true;
    record
}

/// Takes messages until a time; asks now and then how far it is.
async fn listen(stream: &mut Stream, until: Instant) -> Result<()> {
    let mut ask_at = Instant::now() + ASK_PERIOD;
    while Instant::now() < until {
        ensure!(!stream.is_over(), "all its watches were ended");
        if !stream.next(ask_at.min(until)).await? || Instant::now() >= ask_at {
            stream.ask_progress()?;
            ask_at = Instant::now() + ASK_PERIOD;
        }
    }
    Ok(())
}

fn some_watch(shared: &Shared, random: &mut StdRng, name: &str) -> Watch {
    let range = match random.random_range(0..3) {
        0 => KeyRange::between(OURS.0, OURS.1),
        1 => KeyRange::between("k2", "k6"),
        _ => KeyRange::one(format!("k{}", random.random_range(0..10))),
    };
    let newest = shared.newest();
    let start = match random.random_range(0..4) {
        0 => 0,
        1 => newest + random.random_range(1..40),
        _ => (newest - random.random_range(0..100)).max(1),
    };
    let filter = random.random_range(0..6);
    Watch {
        name: format!("{name} of {}..{} from {start}", range.key, range.end.escape_debug()),
        range,
        start,
        no_put: filter == 0,
        no_delete: filter == 1,
        prev_kv: random.random_bool(0.7),
        fragment: random.random_bool(0.2),
        messages: Vec::new(),
    }
}

/// The changes that watchers of all keys were told of, by revision, and the revisions that were others'.
pub fn witness(records: &[WatchRecord]) -> (BTreeMap<i64, Vec<Event>>, Vec<i64>) {
    let mut events: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    let mut foreign: Vec<i64> = records
        .iter()
        .flat_map(|record| record.foreign.iter().copied())
        .collect();
    foreign.sort_unstable();
    foreign.dedup();
    for message in records
        .iter()
        .flat_map(|record| &record.watches)
        .flat_map(|watch| &watch.messages)
    {
        if let Body::Events(sent) = &message.body {
            for event in sent {
                let known = events.entry(event.kv.mod_revision).or_default();
                if !known.iter().any(|known| known.kv.key == event.kv.key) {
                    known.push(event.clone());
                }
            }
        }
    }
    (events, foreign)
}
