//! Many watchers, and clients that do not read: they cost the server next to nothing, and lose nothing.

use anyhow::{Context, Result, ensure};
use trireme_proto::etcd::server::PutRequest;

use crate::target::{Peer, Target, Trireme, bytes, end, revision};
use crate::watch::{Stream, on};

/// Watches that are not read.
const STREAMS: usize = 24;
/// Puts while nobody reads.
const PUTS: usize = 120;
/// The size of each, in bytes.
const VALUE_BYTES: usize = 500_000;
/// How much the server may grow meanwhile, in kB: far less than what it has to say to all of them.
const GROWTH_KB: u64 = 400_000;

/// Streams of one client, and watches on each: together ten thousand on one server.
const CROWD: (usize, usize) = (100, 100);
/// How much the server may grow by them, in kB.
const CROWD_KB: u64 = 200_000;

pub(crate) async fn check(trireme: &Trireme) -> Result<()> {
    crowd(trireme).await.context("many watchers")?;
    unread(trireme).await.context("slow readers")
}

/// Ten thousand watchers of one server: each is told of each change once.
async fn crowd(trireme: &Trireme) -> Result<()> {
    let target = Target::new(Peer::Trireme, trireme.endpoints()?)?;
    let before = resident_kb(trireme.process(1)?)?;
    let (streams, watches) = CROWD;
    let mut crowd = Vec::new();
    for _ in 0..streams {
        let mut stream = Stream::open(&target, 1);
        for _ in 0..watches {
            stream.create(on("crowd/", end("crowd/"))).await?;
        }
        crowd.push(stream);
    }
    let written = [
        revision(&target.put("crowd/a", "1").await?.header),
        revision(&target.put("crowd/b", "2").await?.header),
    ];
    for stream in &mut crowd {
        let told = stream.events(written.len() * watches).await?;
        for revision in written {
            let times = told.iter().filter(|(at, _, _)| *at == revision).count();
            ensure!(
                times == watches,
                "{times} of {watches} were told of revision {revision}"
            );
        }
    }
    let growth = resident_kb(trireme.process(1)?)?.saturating_sub(before);
    ensure!(
        growth < CROWD_KB,
        "the server has grown by {growth} kB, from {before} kB"
    );
    Ok(())
}

async fn unread(trireme: &Trireme) -> Result<()> {
    let endpoints = trireme.endpoints()?;
    // Each has a connection of its own, so that none is held up by another's unread bytes.
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let target = Target::new(Peer::Trireme, endpoints.clone())?;
        let mut stream = Stream::open(&target, 1);
        stream.create(on("slow/", end("slow/"))).await?;
        streams.push(stream);
    }
    let writer = Target::new(Peer::Trireme, endpoints)?;
    let before = resident_kb(trireme.process(1)?)?;
    let mut written = Vec::new();
    for n in 0..PUTS {
        let request = PutRequest {
            key: bytes(&format!("slow/{}", n % 7)),
            value: vec![b'x'; VALUE_BYTES].into(),
            ..PutRequest::default()
        };
        written.push(revision(&writer.kv().put(request).await?.into_inner().header));
    }
    let after = resident_kb(trireme.process(1)?)?;
    let growth = after.saturating_sub(before);
    ensure!(
        growth < GROWTH_KB,
        "the server has grown by {growth} kB, from {before} kB"
    );
    for stream in streams.iter_mut().take(2) {
        let events = stream.events(PUTS).await?;
        let told: Vec<i64> = events.iter().map(|(revision, _, _)| *revision).collect();
        ensure!(told == written, "{told:?}");
    }
    Ok(())
}

/// Memory of a process that is in RAM.
pub(crate) fn resident_kb(process: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("a VmRSS line")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}
