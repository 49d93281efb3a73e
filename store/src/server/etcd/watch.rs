//! A stream of the Watch service: its requests in, its answers out.
//!
//! Answers are made when the connection has room for them and not before: a client that does not read costs its
//! position in the history and one round of answers, which hold references to events. Kept here is invariant I3,
//! with what etcd promises on top: a mark of progress means that everything before it was sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::{Request, Status, Streaming};
use trireme_mvcc::history::event_bytes;
use trireme_proto::etcd::server as pb;
use trireme_proto::etcd::server::watch_create_request::FilterType;
use trireme_proto::etcd::server::watch_request::RequestUnion;

use super::watch_wire::Answer;
use super::{Etcd, convert, errors, limits};
use crate::faults::{self, Failpoint};
use crate::kv::{EventKind, KeyRange, KvError, Revision};
use crate::watch::{Delivery, EventRef, Hub, WatchSet};

/// The id of no watch, and of all.
const NO_WATCH: i64 = -1;

/// The answers to the requests of a stream.
pub(super) fn answers(
    etcd: Arc<Etcd>,
    request: Request<Streaming<pb::WatchRequest>>,
) -> BoxStream<'static, Result<Answer, Status>> {
    let needs_leader = etcd.needs_leader(request.metadata());
    let stream = WatchStream {
        set: WatchSet::new(etcd.hub()),
        leader_lost: needs_leader.then(|| etcd.leader.lost()),
        requests: Some(request.into_inner()),
        watches: BTreeMap::new(),
        next_id: 0,
        ready: VecDeque::new(),
        queued: Queued {
            hub: etcd.hub().clone(),
            bytes: 0,
        },
        etcd,
        asked: None,
        notify: None,
    };
    stream::unfold(Some(stream), |stream| async {
        let mut stream = stream?;
        match stream.next().await {
            Ok(answer) => Some((Ok(answer), Some(stream))),
            Err(status) => Some((Err(status), None)),
        }
    })
    .boxed()
}

struct WatchStream {
    etcd: Arc<Etcd>,
    set: WatchSet,
    /// `None` once the client has said its last word.
    requests: Option<Streaming<pb::WatchRequest>>,
    watches: BTreeMap<i64, Options>,
    next_id: i64,
    ready: VecDeque<Ready>,
    /// What is in `ready`.
    queued: Queued,
    /// The client asked for progress, when the store was at this revision.
    asked: Option<Revision>,
    /// Ticks if some watch wants to be told that nothing has happened.
    notify: Option<Interval>,
    /// Ends when there has been no leader for too long, if the client needs one.
    leader_lost: Option<BoxFuture<'static, ()>>,
}

/// How a watch wants its events.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    prev_kv: bool,
    no_put: bool,
    no_delete: bool,
    fragment: bool,
    progress_notify: bool,
    /// It was told something since the last tick.
    told: bool,
}

/// What is to be sent, not encoded yet.
enum Ready {
    Answer(Answer),
    Events {
        id: i64,
        events: Vec<EventRef>,
        bytes: u64,
        progress: Revision,
    },
}

/// The bytes of events that wait for the connection to have room, counted also for all streams together.
struct Queued {
    hub: Arc<Hub>,
    bytes: u64,
}

impl Queued {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.hub.metrics().queued_bytes.raise(bytes);
    }

    fn take(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.hub.metrics().queued_bytes.lower(bytes);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.take(self.bytes);
    }
}

/// What the stream woke up for.
enum Woken {
    Request(Result<Option<pb::WatchRequest>, Status>),
    Deliveries(Result<Vec<Delivery>, KvError>),
    Informed,
    Tick,
    LeaderLost,
}

impl WatchStream {
    /// The next answer. A future that is dropped before it is done loses nothing.
    async fn next(&mut self) -> Result<Answer, Status> {
        loop {
            while let Some(ready) = self.ready.pop_front() {
                if let Some(answer) = self.answer(ready) {
                    return Ok(answer);
                }
            }
            if let Some(answer) = self.progress_asked_for() {
                return Ok(answer);
            }
            match self.wait().await {
                Woken::Request(Ok(Some(request))) => self.take(request),
                Woken::Request(Ok(None)) => self.requests = None,
                Woken::Request(Err(status)) => return Err(status),
                Woken::Deliveries(deliveries) => {
                    let deliveries = deliveries.map_err(errors::status)?;
                    self.deliver(deliveries);
                }
                Woken::Informed => {}
                Woken::Tick => self.tick(),
                Woken::LeaderLost => return Err(errors::NO_LEADER.into()),
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let Self {
            set,
            requests,
            asked,
            notify,
            leader_lost,
            ..
        } = self;
        let request = async {
            match requests {
                Some(requests) => requests.message().await,
                None => std::future::pending().await,
            }
        };
        let lost = async {
            match leader_lost {
                Some(lost) => lost.await,
                None => std::future::pending().await,
            }
        };
        let tick = async {
            match notify {
                Some(notify) => {
                    notify.tick().await;
                }
                None => std::future::pending().await,
            }
        };
        // Only a set that has nothing to deliver is asked how far it is.
        let informed = match asked {
            Some(revision) if !set.is_informed(*revision) => Some(set.informed(*revision)),
            _ => None,
        };
        let informed = async {
            match informed {
                Some(informed) => informed.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = lost => Woken::LeaderLost,
            request = request => Woken::Request(request),
            deliveries = set.deliver() => Woken::Deliveries(deliveries),
            () = informed => Woken::Informed,
            () = tick => Woken::Tick,
        }
    }

    fn take(&mut self, request: pb::WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                let answer = self.create(&create);
                self.ready.push_back(Ready::Answer(answer));
            }
            Some(RequestUnion::CancelRequest(cancel)) if self.remove(cancel.watch_id) => {
                let answer = Answer {
                    canceled: true,
                    ..self.about(cancel.watch_id, self.etcd.revision())
                };
                self.ready.push_back(Ready::Answer(answer));
            }
            Some(RequestUnion::ProgressRequest(_)) => self.asked = Some(self.etcd.revision()),
            // Nothing, or the end of a watch that has ended already.
            Some(RequestUnion::CancelRequest(_)) | None => {}
        }
    }

    fn create(&mut self, request: &pb::WatchCreateRequest) -> Answer {
        let options = options(request);
        let (id, start_revision) = (request.watch_id, request.start_revision);
        match self.check(request) {
            Ok(range) => {
                let id = if id == 0 { self.free_id() } else { id };
                let revision = self.set.add(id.cast_unsigned(), range, start_revision);
                if options.progress_notify && self.notify.is_none() {
                    self.notify = Some(notify_interval());
                }
                self.watches.insert(id, options);
                Answer {
                    created: true,
                    ..self.about(id, revision)
                }
            }
            Err(reason) => Answer {
                created: true,
                canceled: true,
                cancel_reason: reason.to_owned(),
                ..self.about(NO_WATCH, self.etcd.revision())
            },
        }
    }

    /// The range of a watch that may be made; else why it may not.
    fn check(&self, request: &pb::WatchCreateRequest) -> Result<KeyRange, &'static str> {
        // Copied, because a slice of a received message keeps all of that message in memory.
        let key = if request.key.is_empty() {
            Bytes::from_static(b"\0")
        } else {
            Bytes::copy_from_slice(&request.key)
        };
        let range_end = Bytes::copy_from_slice(&request.range_end);
        if request.start_revision < 0 {
            return Err(errors::COMPACTED.text());
        }
        let range = convert::key_range(key, range_end).map_err(errors::EtcdError::text)?;
        if range
            .end
            .as_ref()
            .is_some_and(|end| !end.is_empty() && *end <= range.start)
        {
            return Err("mvcc: watcher range is empty");
        }
        if request.watch_id != 0 && self.watches.contains_key(&request.watch_id) {
            return Err("mvcc: duplicate watch ID provided on the WatchStream");
        }
        if request.watch_id == NO_WATCH {
            return Err("mvcc: the watch ID -1 stands for all watches of the WatchStream");
        }
        if self.watches.len() >= limits::STREAM_WATCHES {
            return Err("mvcc: too many watches on the WatchStream");
        }
        Ok(range)
    }

    fn free_id(&mut self) -> i64 {
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn remove(&mut self, id: i64) -> bool {
        self.set.remove(id.cast_unsigned());
        self.watches.remove(&id).is_some()
    }

    fn deliver(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            match delivery {
                Delivery::Events { id, events, progress } => {
                    let id = id.cast_signed();
                    self.queue(id, events, progress, VecDeque::push_back);
                }
                Delivery::Compacted { id, oldest } => {
                    let id = id.cast_signed();
                    self.watches.remove(&id);
                    let answer = Answer {
                        canceled: true,
                        compact_revision: oldest,
                        cancel_reason: errors::COMPACTED.text().to_owned(),
                        ..self.about(id, self.etcd.revision())
                    };
                    self.ready.push_back(Ready::Answer(answer));
                }
            }
        }
    }

    /// Queues events, where `push` puts them.
    fn queue(
        &mut self,
        id: i64,
        events: Vec<EventRef>,
        progress: Revision,
        push: impl FnOnce(&mut VecDeque<Ready>, Ready),
    ) {
        let bytes = events.iter().map(|event| event_bytes(event.event()) as u64).sum();
        self.queued.add(bytes);
        let ready = Ready::Events {
            id,
            events,
            bytes,
            progress,
        };
        push(&mut self.ready, ready);
    }

    /// Encodes what is next; `None` if the watch wants nothing of it, or is gone.
    fn answer(&mut self, ready: Ready) -> Option<Answer> {
        let (id, events, progress) = match ready {
            Ready::Answer(answer) => return Some(answer),
            Ready::Events {
                id,
                events,
                bytes,
                progress,
            } => {
                self.queued.take(bytes);
                (id, events, progress)
            }
        };
        let metrics = self.queued.hub.metrics();
        let options = self.watches.get_mut(&id)?;
        let wanted = |event: &EventRef| match event.event().kind {
            EventKind::Put => !options.no_put,
            EventKind::Delete => !options.no_delete,
        };
        let mut encoded = Vec::with_capacity(events.len());
        let mut bytes = 0;
        let mut rest = events.into_iter();
        let mut left = None;
        for event in rest.by_ref() {
            if !wanted(&event) {
                continue;
            }
            let event_bytes = event.encoded(options.prev_kv, metrics);
            if options.fragment && !encoded.is_empty() && bytes + event_bytes.len() >= limits::FRAGMENT_BYTES {
                left = Some(event);
                break;
            }
            bytes += event_bytes.len();
            encoded.push(event_bytes);
        }
        if encoded.is_empty() {
            return None;
        }
        faults::point(Failpoint::WatchBeforeSend);
        options.told = true;
        metrics.sent.add(encoded.len() as u64);
        let fragment = left.is_some();
        if let Some(event) = left {
            let events = std::iter::once(event).chain(rest).collect();
            self.queue(id, events, progress, VecDeque::push_front);
        }
        Some(Answer {
            fragment,
            events: encoded,
            ..self.about(id, progress)
        })
    }

    /// The mark that the client asked for, once all watches have got that far.
    fn progress_asked_for(&mut self) -> Option<Answer> {
        let asked = self.asked?;
        let synced = self.set.synced().filter(|synced| *synced >= asked)?;
        self.asked = None;
        Some(self.about(NO_WATCH, synced))
    }

    /// Tells those of their progress who want it and were told nothing since the last time.
    fn tick(&mut self) {
        let revision = self.set.reached();
        let mut quiet = Vec::new();
        for (id, options) in self.watches.iter_mut().filter(|(_, options)| options.progress_notify) {
            if !std::mem::take(&mut options.told) && self.set.has_caught_up(id.cast_unsigned()) {
                quiet.push(*id);
            }
        }
        for id in quiet {
            let answer = self.about(id, revision);
            self.ready.push_back(Ready::Answer(answer));
        }
    }

    fn about(&self, watch_id: i64, revision: Revision) -> Answer {
        Answer {
            header: Some(self.etcd.header(revision)),
            watch_id,
            ..Answer::default()
        }
    }
}

fn options(request: &pb::WatchCreateRequest) -> Options {
    let filters = |filter: FilterType| request.filters.contains(&filter.into());
    Options {
        prev_kv: request.prev_kv,
        no_put: filters(FilterType::Noput),
        no_delete: filters(FilterType::Nodelete),
        fragment: request.fragment,
        progress_notify: request.progress_notify,
        told: false,
    }
}

fn notify_interval() -> Interval {
    let period = limits::PROGRESS_NOTIFY_PERIOD;
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
