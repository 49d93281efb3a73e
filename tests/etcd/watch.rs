//! Watches: order, starts, filters, ids, progress, compaction.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::{Response, Status, Streaming};
use trireme_proto::etcd::kv::event::EventType;
use trireme_proto::etcd::server::watch_create_request::FilterType;
use trireme_proto::etcd::server::watch_request::RequestUnion;
use trireme_proto::etcd::server::{
    CompactionRequest, TxnRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse,
};

use crate::kv::put_op;
use crate::target::{PATIENCE, Peer, Target, bytes, end, one, revision};

pub(crate) async fn check(target: &Target) -> Result<()> {
    follows(target).await.context("following")?;
    history(target).await.context("history")?;
    filters(target).await.context("filters")?;
    ids(target).await.context("ids")?;
    progress(target).await.context("progress")?;
    fragments(target).await.context("fragments")?;
    compacted(target).await.context("compacted")?;
    refused(target).await.context("refused")
}

/// One stream of watches.
pub(crate) struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    /// etcd does not accept a stream before it has something to say on it.
    opening: Option<JoinHandle<Result<Response<Streaming<WatchResponse>>, Status>>>,
    answers: Option<Streaming<WatchResponse>>,
}

impl Stream {
    pub(crate) fn open(target: &Target, server: usize) -> Self {
        let (requests, receiver) = mpsc::channel(16);
        let outgoing = futures::stream::unfold(receiver, |mut receiver| async {
            let request = receiver.recv().await?;
            Some((request, receiver))
        });
        let mut client = target.watches(server);
        Self {
            requests,
            opening: Some(tokio::spawn(async move { client.watch(outgoing).await })),
            answers: None,
        }
    }

    async fn send(&self, request: RequestUnion) -> Result<()> {
        let request = WatchRequest {
            request_union: Some(request),
        };
        Ok(self.requests.send(request).await?)
    }

    /// Begins a watch and takes the answer.
    pub(crate) async fn create(&mut self, request: WatchCreateRequest) -> Result<WatchResponse> {
        self.send(RequestUnion::CreateRequest(request)).await?;
        let answer = self.next().await?;
        ensure!(answer.created, "{answer:?}");
        Ok(answer)
    }

    pub(crate) async fn next(&mut self) -> Result<WatchResponse> {
        if let Some(opening) = self.opening.take() {
            self.answers = Some(opening.await??.into_inner());
        }
        let answers = self.answers.as_mut().context("the stream was opened")?;
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await;
        answer
            .context("waited in vain for an answer")??
            .context("the stream ended")
    }

    /// Takes answers until there were `count` events: revision, key and kind of each.
    pub(crate) async fn events(&mut self, count: usize) -> Result<Vec<(i64, String, bool)>> {
        let mut events = Vec::new();
        while events.len() < count {
            let answer = self.next().await?;
            ensure!(!answer.canceled && !answer.created, "{answer:?}");
            for event in answer.events {
                let kv = event.kv.context("an event has a key")?;
                let put = event.r#type == i32::from(EventType::Put);
                events.push((kv.mod_revision, String::from_utf8(kv.key.to_vec())?, put));
            }
        }
        Ok(events)
    }
}

pub(crate) fn on(key: &str, range_end: Bytes) -> WatchCreateRequest {
    WatchCreateRequest {
        key: bytes(key),
        range_end,
        ..WatchCreateRequest::default()
    }
}

async fn follows(target: &Target) -> Result<()> {
    // The watch is on another server than the one that is written to.
    let mut stream = Stream::open(target, 2);
    let created = stream.create(on("w/", end("w/"))).await?;
    ensure!(created.watch_id == 0 && created.header.is_some(), "{created:?}");
    let first = revision(&target.put("w/a", "1").await?.header);
    target.put("other", "").await?;
    target.put("w/b", "1").await?;
    let last = target.delete("w/a").await?;
    let events = stream.events(3).await?;
    let expected = [(first, "w/a", true), (first + 2, "w/b", true), (last, "w/a", false)];
    ensure!(
        events == expected.map(|(revision, key, put)| (revision, key.to_owned(), put)),
        "{events:?}"
    );

    // All changes of a revision come in one answer.
    let success = (0..50).map(|n| put_op(&format!("w/many/{n:02}"), "x")).collect();
    let request = TxnRequest {
        success,
        ..TxnRequest::default()
    };
    let done = revision(&target.kv().txn(request).await?.into_inner().header);
    let answer = stream.next().await?;
    let revisions: Vec<i64> = answer
        .events
        .iter()
        .flat_map(|event| &event.kv)
        .map(|kv| kv.mod_revision)
        .collect();
    ensure!(revisions == [done; 50], "{revisions:?}");
    ensure!(revision(&answer.header) >= done);
    Ok(())
}

async fn history(target: &Target) -> Result<()> {
    let first = revision(&target.put("wh/a", "1").await?.header);
    target.put("wh/a", "2").await?;
    let last = target.delete("wh/a").await?;
    let mut stream = Stream::open(target, 1);
    let from = |start_revision| WatchCreateRequest {
        start_revision,
        prev_kv: true,
        ..on("wh/a", bytes(""))
    };
    stream.create(from(first + 1)).await?;
    let mut values = Vec::new();
    while values.len() < 2 {
        for event in stream.next().await?.events {
            let previous = event.prev_kv.context("the version before was asked for")?;
            let kv = event.kv.context("an event has a key")?;
            values.push((kv.mod_revision, kv.version, kv.value, previous.value));
        }
    }
    let expected = [
        (first + 1, 2, Bytes::from("2"), Bytes::from("1")),
        (last, 0, Bytes::new(), Bytes::from("2")),
    ];
    ensure!(values == expected, "{values:?}");

    // A start in the future leaves out what comes before it.
    let mut stream = Stream::open(target, 1);
    stream.create(from(last + 2)).await?;
    target.put("wh/a", "early").await?;
    let due = revision(&target.put("wh/a", "due").await?.header);
    let events = stream.events(1).await?;
    ensure!(events == [(due, "wh/a".to_owned(), true)], "{events:?}");
    Ok(())
}

async fn filters(target: &Target) -> Result<()> {
    let mut stream = Stream::open(target, 0);
    let only = |filter: FilterType| WatchCreateRequest {
        filters: vec![filter.into()],
        ..on("wf/", end("wf/"))
    };
    let no_puts = stream.create(only(FilterType::Noput)).await?.watch_id;
    let no_deletes = stream.create(only(FilterType::Nodelete)).await?.watch_id;
    target.put("wf/a", "").await?;
    target.delete("wf/a").await?;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let answer = stream.next().await?;
        seen.extend(answer.events.iter().map(|event| (answer.watch_id, event.r#type)));
    }
    seen.sort_unstable();
    let (put, delete) = (EventType::Put.into(), EventType::Delete.into());
    ensure!(seen == [(no_puts, delete), (no_deletes, put)], "{seen:?}");
    Ok(())
}

async fn ids(target: &Target) -> Result<()> {
    let mut stream = Stream::open(target, 0);
    let with_id = |watch_id| WatchCreateRequest {
        watch_id,
        ..on("wi", bytes(""))
    };
    let mut ids = Vec::new();
    for id in [7, 0, 1, 0] {
        ids.push(stream.create(with_id(id)).await?.watch_id);
    }
    ensure!(ids == [7, 0, 1, 2], "{ids:?}");
    let twice = stream.create(with_id(7)).await?;
    ensure!(twice.canceled && twice.watch_id == -1, "{twice:?}");
    ensure!(twice.cancel_reason.contains("duplicate watch ID"), "{twice:?}");

    stream
        .send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 99 }))
        .await?;
    for watch_id in [7, 1] {
        stream
            .send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
            .await?;
        let answer = stream.next().await?;
        ensure!(answer.canceled && answer.watch_id == watch_id, "{answer:?}");
    }
    target.put("wi", "").await?;
    let mut told = vec![stream.next().await?.watch_id, stream.next().await?.watch_id];
    told.sort_unstable();
    ensure!(told == [0, 2], "the others go on: {told:?}");
    Ok(())
}

async fn progress(target: &Target) -> Result<()> {
    let mut stream = Stream::open(target, 0);
    stream.create(on("wp/", end("wp/"))).await?;
    for n in 0..20 {
        target.put(&format!("wp/{n}"), "").await?;
        target.put("elsewhere", "").await?;
    }
    let now = revision(&target.range(one("wp/")).await?.header);
    let mut told = Vec::new();
    // etcd drops the request while a watch is behind.
    let marked = loop {
        stream
            .send(RequestUnion::ProgressRequest(WatchProgressRequest {}))
            .await?;
        let mark = loop {
            let wait = tokio::time::timeout(std::time::Duration::from_millis(500), stream.next());
            match wait.await {
                Ok(answer) => {
                    let answer = answer?;
                    if answer.watch_id == -1 {
                        break Some(revision(&answer.header));
                    }
                    told.extend(
                        answer
                            .events
                            .into_iter()
                            .filter_map(|event| event.kv)
                            .map(|kv| kv.mod_revision),
                    );
                }
                Err(_) => break None,
            }
        };
        match mark {
            Some(mark) if mark >= now => break mark,
            _ => {}
        }
    };
    ensure!(
        told.len() == 20 && told.iter().all(|revision| *revision <= marked),
        "{told:?} {marked}"
    );
    Ok(())
}

async fn fragments(target: &Target) -> Result<()> {
    let mut stream = Stream::open(target, 0);
    let request = WatchCreateRequest {
        fragment: true,
        prev_kv: true,
        ..on("wfr/", end("wfr/"))
    };
    let big = "x".repeat(300_000);
    let all = || TxnRequest {
        success: (0..4).map(|n| put_op(&format!("wfr/{n}"), &big)).collect(),
        ..TxnRequest::default()
    };
    target.kv().txn(all()).await?;
    stream.create(request).await?;
    // With the versions before, the events of one revision are now larger than an answer may be.
    let done = revision(&target.kv().txn(all()).await?.into_inner().header);
    let mut pieces = Vec::new();
    loop {
        let answer = stream.next().await?;
        let more = answer.fragment;
        pieces.push(answer);
        if !more {
            break;
        }
    }
    let events: Vec<i64> = pieces
        .iter()
        .flat_map(|piece| &piece.events)
        .flat_map(|event| &event.kv)
        .map(|kv| kv.mod_revision)
        .collect();
    ensure!(
        events == [done; 4] && pieces.len() > 1,
        "{} pieces, {events:?}",
        pieces.len()
    );
    Ok(())
}

async fn compacted(target: &Target) -> Result<()> {
    let first = revision(&target.put("wc", "1").await?.header);
    target.put("wc", "2").await?;
    let last = revision(&target.put("wc", "3").await?.header);
    let request = CompactionRequest {
        revision: last,
        physical: true,
    };
    target.kv().compact(request).await?;
    // Another server hears of it a little later.
    let mut stream = Stream::open(target, 0);
    let created = stream
        .create(WatchCreateRequest {
            start_revision: first,
            ..on("wc", bytes(""))
        })
        .await?;
    ensure!(!created.canceled, "{created:?}");
    let canceled = stream.next().await?;
    ensure!(
        canceled.canceled && canceled.watch_id == created.watch_id,
        "{canceled:?}"
    );
    ensure!(canceled.compact_revision == last, "{canceled:?}");
    // The stream lives on, and the watermark itself can still be watched from.
    stream
        .create(WatchCreateRequest {
            start_revision: last,
            ..on("wc", bytes(""))
        })
        .await?;
    let events = stream.events(1).await?;
    ensure!(events == [(last, "wc".to_owned(), true)], "{events:?}");
    Ok(())
}

async fn refused(target: &Target) -> Result<()> {
    let mut stream = Stream::open(target, 0);
    let inverted = stream.create(on("wr/b", bytes("wr/a"))).await?;
    ensure!(inverted.canceled && inverted.watch_id == -1, "{inverted:?}");
    if target.peer == Peer::Trireme {
        // As etcd since 3.6.6.
        let negative = stream
            .create(WatchCreateRequest {
                start_revision: -5,
                ..on("wr/b", bytes(""))
            })
            .await?;
        ensure!(negative.canceled && negative.watch_id == -1, "{negative:?}");
    }
    // An empty request is passed over.
    stream.requests.send(WatchRequest { request_union: None }).await?;
    let everything = stream.create(on("", bytes("\0"))).await?;
    ensure!(!everything.canceled, "{everything:?}");
    let put = revision(&target.put("wr/z", "").await?.header);
    match stream.events(1).await?.as_slice() {
        [(revision, key, true)] if *revision == put && key == "wr/z" => Ok(()),
        other => bail!("{other:?}"),
    }
}
