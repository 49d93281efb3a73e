//! Many watchers of one server, over etcd's API: each is told of each change once and in order, an event is encoded once
//! for all of them, and one that does not read costs next to nothing, whatever happens meanwhile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use support::{Cluster, PATIENCE, put, revision, write};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::Streaming;
use tonic::transport::Endpoint;
use trireme_proto::etcd::server::watch_client::WatchClient;
use trireme_proto::etcd::server::watch_request::RequestUnion;
use trireme_proto::etcd::server::{WatchCreateRequest, WatchRequest, WatchResponse};
use trireme_store::Store;
use trireme_store::engine::limits::{WATCH_ROUND_BYTES, WINDOW_BYTES};
use trireme_store::kv::{KeyRange, Kv};

/// A server with etcd's API on a port.
struct Served {
    cluster: Cluster,
    address: SocketAddr,
}

impl Served {
    async fn start() -> Self {
        let cluster = Cluster::start(1).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (routes, _) = cluster.store(1).etcd_service();
        tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_routes(routes);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { cluster, address }
    }

    fn store(&self) -> Arc<Store> {
        self.cluster.store(1)
    }

    /// What a metric stands at.
    async fn metric(&self, name: &str) -> u64 {
        let page = self.store().metrics().await;
        page.value(name).unwrap() as u64
    }

    /// A stream with so many watches of what begins with `prefix`, on a connection of its own.
    async fn watch(&self, prefix: &str, watches: usize) -> Stream {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let mut client = WatchClient::new(endpoint.connect().await.unwrap()).max_decoding_message_size(usize::MAX);
        let (requests, sent) = mpsc::channel(16);
        let range = KeyRange::prefix(prefix.to_owned());
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: range.start,
                range_end: range.end.unwrap(),
                ..WatchCreateRequest::default()
            })),
        };
        requests.send(create.clone()).await.unwrap();
        let answers = client.watch(ReceiverStream::new(sent)).await.unwrap().into_inner();
        let mut stream = Stream { requests, answers };
        for number in 0..watches {
            if number > 0 {
                stream.requests.send(create.clone()).await.unwrap();
            }
            assert!(stream.next().await.created);
        }
        stream
    }
}

/// The client's side of a stream.
struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Stream {
    async fn next(&mut self) -> WatchResponse {
        let answer = timeout(PATIENCE, self.answers.message())
            .await
            .expect("an answer in time");
        answer.unwrap().expect("the stream goes on")
    }

    /// The revisions that each watch is told of, until each has so many.
    async fn told(&mut self, watches: usize, events: usize) -> BTreeMap<i64, Vec<i64>> {
        let mut told: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        while told.values().map(Vec::len).sum::<usize>() < watches * events {
            let answer = self.next().await;
            assert!(!answer.canceled, "{answer:?}");
            let revisions = answer
                .events
                .iter()
                .map(|event| event.kv.as_ref().unwrap().mod_revision);
            told.entry(answer.watch_id).or_default().extend(revisions);
        }
        told
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watchers_are_told_once_and_in_order_of_events_that_are_encoded_once() {
    const STREAMS: usize = 20;
    const WATCHES: usize = 50;
    const WRITES: usize = 30;
    let served = Served::start().await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(served.watch("/crowd/", WATCHES).await);
    }
    let others = served.watch("/elsewhere/", 1).await;
    assert_eq!(
        served.metric("trireme_store_watchers").await,
        (STREAMS * WATCHES + 1) as u64
    );
    let (encoded, sent) = (
        served.metric("trireme_store_watch_events_encoded_total").await,
        served.metric("trireme_store_watch_events_sent_total").await,
    );
    let mut written = Vec::new();
    for number in 0..WRITES {
        let done = write(&served.store(), put(&format!("/crowd/{}", number % 7), "x")).await;
        written.push(done.revision);
    }
    for stream in &mut streams {
        let told = stream.told(WATCHES, WRITES).await;
        assert_eq!(told.len(), WATCHES);
        assert!(told.values().all(|revisions| *revisions == written), "{told:?}");
    }
    let encodings = served.metric("trireme_store_watch_events_encoded_total").await - encoded;
    assert_eq!(encodings, WRITES as u64);
    let events = served.metric("trireme_store_watch_events_sent_total").await - sent;
    assert_eq!(events, (STREAMS * WATCHES * WRITES) as u64);
    assert_eq!(served.metric("trireme_store_watch_queued_bytes").await, 0);
    drop((streams, others));
    let gone = async {
        while served.metric("trireme_store_watchers").await > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone)
        .await
        .expect("streams that end take their watchers with them");
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_that_do_not_read_cost_a_round_and_get_everything_later_or_are_told_what_is_gone() {
    const WRITES: usize = 200;
    const VALUE_BYTES: usize = 512 << 10;
    const STREAMS: usize = 4;
    const { assert!(WRITES * VALUE_BYTES > 4 * WINDOW_BYTES) };
    let served = Served::start().await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(served.watch("/slow/", 1).await);
    }
    let mut late = served.watch("/slow/", 1).await;
    let value = "v".repeat(VALUE_BYTES);
    let mut written = Vec::new();
    // Each holds a round, which ends with the event that fills it; the rest is only a position.
    let most = ((STREAMS + 1) * (WATCH_ROUND_BYTES + VALUE_BYTES + 1_000)) as u64;
    for number in 0..WRITES {
        let done = write(&served.store(), put(&format!("/slow/{}", number % 5), value.clone())).await;
        written.push(done.revision);
        let queued = served.metric("trireme_store_watch_queued_bytes").await;
        assert!(queued <= most, "{queued} bytes wait for clients that do not read");
    }
    assert_eq!(
        served.metric("trireme_store_watchers_behind").await,
        STREAMS as u64 + 1,
        "100 MiB have gone past all of them"
    );
    for stream in &mut streams {
        let told = stream.told(1, WRITES).await;
        assert_eq!(told.into_values().next().unwrap(), written);
    }
    assert!(served.metric("trireme_store_watch_history_reads_total").await > 0);

    // One comes too late.
    served.store().compact(revision(&served.store())).await.unwrap();
    let mut told = Vec::new();
    let end = loop {
        let answer = late.next().await;
        if answer.canceled {
            break answer;
        }
        told.extend(
            answer
                .events
                .iter()
                .map(|event| event.kv.as_ref().unwrap().mod_revision),
        );
    };
    assert_eq!(end.compact_revision, revision(&served.store()));
    assert!(told.len() < WRITES && written.starts_with(&told), "{told:?}");
}
