//! Clients of the API: `ConfigMap`s through the pipeline of the server that a client has chosen, from a raw request down to
//! the registry, and watches of them.
//!
//! Each write puts a token into the object that no other write has. What the clients are told is judged in
//! [`super::invariants`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use trireme_control_plane::{
    environment::{Clock, Entropy, Environment},
    pipeline::{Decoded, Permit, RawRequest, Validation, Verb},
    pki::Subject,
    registry::{DeleteOptions, Propagation, ReadFrom, Registry, Selection, Stored, WatchChange, WatchRequest},
    status::{ApiError, Reason},
    transport::Peer,
};
use trireme_proto::v1::{Encoding, ResourceRef};

use super::{client::Shared, server::Access};
use crate::linear::history::Micros;

/// How long a client waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client rests between two requests, at most, in milliseconds.
const PAUSE_MAX_MS: u64 = 80;
/// How long a watch goes on, at most, in milliseconds.
const WATCH_MAX_MS: u64 = 4_000;
/// Objects that all clients share.
const OBJECTS: u64 = 4;
const NAMESPACE: &str = "default";
/// When simulated days begin.
const FIRST_SECOND: i64 = 1_700_000_000;

/// The time of a simulated server, and chance from the seed.
pub fn environment(seed: u64) -> Environment {
    let clock = SimClock(Instant::now());
    let entropy = SimEntropy(Mutex::new(SmallRng::seed_from_u64(seed)));
    Environment::new(Arc::new(clock), Arc::new(entropy))
}

struct SimClock(Instant);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let seconds = i64::try_from(self.0.elapsed().as_secs()).unwrap_or(i64::MAX / 2);
        Timestamp::from_second(FIRST_SECOND + seconds).unwrap_or(Timestamp::MAX)
    }
}

struct SimEntropy(Mutex<SmallRng>);

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

/// What a client asked of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// What it is now.
    Get,
    /// To be made.
    Create,
    /// To be replaced, if it is still of this revision.
    Update(i64),
    /// To go, if it is still of this revision.
    Delete(i64),
}

/// What the client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was done. The object's revision, and the token in it.
    Done(i64, String),
    /// There is no such object.
    Missing,
    /// It was refused, and nothing was changed.
    Refused,
    /// Nothing is known.
    Unknown,
}

/// One request for one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectCall {
    /// The object.
    pub name: String,
    /// What was asked.
    pub asked: Asked,
    /// The token that a write puts in.
    pub token: String,
    /// When it was sent.
    pub invoked: Micros,
    /// When the answer was there.
    pub returned: Micros,
    /// The answer.
    pub told: Told,
}

/// How a watched object changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It came.
    Added,
    /// It changed.
    Modified,
    /// It went.
    Deleted,
}

/// A watch of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectWatchRecord {
    /// Changes behind this revision were asked for; 0 for the present objects first.
    pub start: i64,
    /// What it was told, in order: the change, the object, its revision and its token.
    pub changes: Vec<(Change, String, i64, String)>,
    /// Up to where it was told that all had been delivered.
    pub bookmarked: i64,
    /// The revision of the objects that were there at the beginning.
    pub initial: i64,
}

/// What one client recorded.
#[derive(Debug, Default)]
pub struct ObjectRecord {
    /// Its requests.
    pub calls: Vec<ObjectCall>,
    /// Its watches.
    pub watches: Vec<ObjectWatchRecord>,
}

/// A permit as an administrator's request gets it.
fn permit(verb: Verb, name: &str) -> Result<Permit, ApiError> {
    let peer = Peer::for_tests(Some(Subject::Admin));
    let resource = ResourceRef {
        resource: "configmaps".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        ..ResourceRef::default()
    };
    Permit::request(&RawRequest {
        peer: &peer,
        verb,
        resource: &resource,
    })
}

fn body(name: &str, token: &str, revision: i64) -> bytes::Bytes {
    let mut metadata = serde_json::json!({ "name": name, "namespace": NAMESPACE });
    if revision > 0 {
        metadata["resourceVersion"] = revision.to_string().into();
    }
    let object = serde_json::json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": { "token": token },
    });
    object.to_string().into()
}

fn token_of(stored: &Stored) -> Result<String, ApiError> {
    let json: serde_json::Value = serde_json::from_slice(&stored.to_json()?).unwrap_or_default();
    Ok(json["data"]["token"].as_str().unwrap_or_default().to_owned())
}

/// Makes a request, on the server.
async fn carry_out(registry: &Registry, name: &str, asked: &Asked, token: &str) -> Result<(i64, String), ApiError> {
    let stored = match asked {
        Asked::Get => {
            let permit = permit(Verb::Get, name)?;
            let info = permit.request_info().ok_or_else(no_request)?;
            registry.get(&permit, info.ops(), info.key(), ReadFrom::Latest).await?
        }
        Asked::Create => {
            let permit = permit(Verb::Create, "")?;
            let decoded = Decoded::decode(&permit, body(name, token, 0), Encoding::Json, Validation::Strict)?;
            registry.create(&permit, decoded, false).await?
        }
        Asked::Update(revision) => {
            let permit = permit(Verb::Update, name)?;
            let body = body(name, token, *revision);
            let decoded = Decoded::decode(&permit, body, Encoding::Json, Validation::Strict)?;
            registry.update(&permit, decoded, false).await?.stored
        }
        Asked::Delete(revision) => {
            let permit = permit(Verb::Delete, name)?;
            let info = permit.request_info().ok_or_else(no_request)?;
            let options = DeleteOptions {
                grace_period_seconds: None,
                propagation: Propagation::default(),
                uid: String::new(),
                resource_version: revision.to_string(),
                dry_run: false,
            };
            registry.delete(&permit, info.ops(), info.key(), &options).await?.stored
        }
    };
    Ok((stored.revision(), token_of(&stored)?))
}

fn no_request() -> ApiError {
    ApiError::bad_request("the permit is of no request")
}

/// Makes requests until the run stops.
pub async fn run_objects(shared: Arc<Shared>, client: usize) -> ObjectRecord {
    let mut random = SmallRng::seed_from_u64(shared.seed ^ 0x0b_1ec7 ^ ((client as u64) << 32));
    let mut record = ObjectRecord::default();
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    while !shared.is_stopped() {
        tokio::time::sleep(Duration::from_millis(random.random_range(1..=PAUSE_MAX_MS))).await;
        let Some(access) = shared.any_server(&mut random) else {
            continue;
        };
        let name = format!("object-{}", random.random_range(0..OBJECTS));
        let asked = match (seen.get(&name), random.random_range(0..10)) {
            (Some(revision), 0..5) => Asked::Update(*revision),
            (Some(revision), 5) => Asked::Delete(*revision),
            (None, 0..5) => Asked::Create,
            _ => Asked::Get,
        };
        let token = format!("{client}.{}", record.calls.len());
        let call = request(&shared, &access, name, asked, token).await;
        match &call.told {
            // A deleted object's last state is told with the revision of the deletion.
            Told::Done(_, _) if matches!(call.asked, Asked::Delete(_)) => seen.remove(&call.name),
            Told::Done(revision, _) => seen.insert(call.name.clone(), *revision),
            Told::Missing => seen.remove(&call.name),
            Told::Refused | Told::Unknown => None,
        };
        record.calls.push(call);
    }
    record
}

async fn request(shared: &Shared, access: &Access, name: String, asked: Asked, token: String) -> ObjectCall {
    let invoked = shared.outside.moment();
    let (registry, sent) = (access.registry.clone(), (name.clone(), asked.clone(), token.clone()));
    let task = access
        .handle
        .spawn(async move { carry_out(&registry, &sent.0, &sent.1, &sent.2).await });
    let answer = timeout(REQUEST_TIMEOUT, task).await;
    let returned = shared.outside.moment();
    let told = match answer {
        Ok(Ok(Ok((revision, token)))) => Told::Done(revision, token),
        Ok(Ok(Err(error))) => match error.reason() {
            Reason::NotFound => Told::Missing,
            Reason::UnknownOutcome | Reason::InternalError => Told::Unknown,
            _ => Told::Refused,
        },
        Ok(Err(_)) | Err(_) => Told::Unknown,
    };
    let machine = access.machine;
    shared
        .outside
        .note(|| format!("object {name} at {machine}: {asked:?} {token} from {invoked} to {returned}: {told:?}"));
    ObjectCall {
        name,
        asked,
        token,
        invoked,
        returned,
        told,
    }
}

/// Watches all of the objects, for a short time each, until the run stops.
pub async fn watch_objects(shared: Arc<Shared>, client: usize) -> ObjectRecord {
    let mut random = SmallRng::seed_from_u64(shared.seed ^ 0x3a7c ^ ((client as u64) << 32));
    let mut record = ObjectRecord::default();
    let mut next = 0;
    while !shared.is_stopped() {
        tokio::time::sleep(Duration::from_millis(random.random_range(1..=PAUSE_MAX_MS))).await;
        let Some(access) = shared.any_server(&mut random) else {
            continue;
        };
        // Half of the time on from where the last one was.
        let start = if random.random_bool(0.5) { next } else { 0 };
        let until = Instant::now() + Duration::from_millis(random.random_range(200..WATCH_MAX_MS));
        let watch = watch(&access, start, until).await;
        next = watch.bookmarked;
        record.watches.push(watch);
    }
    record
}

async fn watch(access: &Access, start: i64, until: Instant) -> ObjectWatchRecord {
    let mut record = ObjectWatchRecord {
        start,
        ..ObjectWatchRecord::default()
    };
    let (sender, mut changes) = mpsc::channel(1);
    let registry = access.registry.clone();
    access.handle.spawn(async move {
        let follow = async {
            let permit = permit(Verb::Watch, "")?;
            let info = permit.request_info().ok_or_else(no_request)?;
            let request = WatchRequest {
                namespace: NAMESPACE.to_owned(),
                name: String::new(),
                selection: Selection::everything(),
                start,
                bookmarks: true,
            };
            let mut watch = registry.watch(&permit, info.ops(), request).await?;
            loop {
                let change = watch.next().await?;
                if sender.send(change).await.is_err() {
                    return Ok::<(), ApiError>(());
                }
            }
        };
        // Why it ended does not matter: what it was told is judged.
        let _ = follow.await;
    });
    while let Ok(Some(change)) = timeout_at(until, changes.recv()).await {
        let (change, stored) = match change {
            WatchChange::Added(stored) => (Change::Added, stored),
            WatchChange::Modified(stored) => (Change::Modified, stored),
            WatchChange::Deleted(stored) => (Change::Deleted, stored),
            WatchChange::Bookmark {
                revision,
                initial_events_end,
            } => {
                if initial_events_end {
                    record.initial = revision;
                }
                record.bookmarked = record.bookmarked.max(revision);
                continue;
            }
        };
        let token = token_of(&stored).unwrap_or_default();
        record
            .changes
            .push((change, stored.key().name.clone(), stored.revision(), token));
    }
    record
}
