//! What a hostile client does to a server and to others: nothing. It gets a clear refusal, or is cut off; the server's memory
//! stays within a bound, and a neighbour is served all along.

mod bodies;
mod frames;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use trireme_client::Api;
use trireme_control_plane::transport::{CertificateSource, client_config};
use trireme_proto::api::core::v1::ConfigMap;
use trireme_tests::harness::{Cluster, ClusterOptions, PATIENCE, etcd::Usage, wait_until};

use self::frames::{ENHANCE_YOUR_CALM, Http2};

/// How much the server may grow by whatever is done here, in bytes: what the allocator keeps of the largest bodies included.
const GROWTH_BYTES: u64 = 384 << 20;
/// Connections of each kind that begin something and do not go on.
const SLOW_CONNECTIONS: usize = 50;
/// Streams of one flood: far more than any bound on them.
const STREAMS: u32 = 20_000;
/// Streams begun and taken back that fit into one record of TLS, which the server reads as one: more than it lets wait.
const STREAMS_A_RECORD: u32 = 580;
/// How long a client that is not read may try to go on writing.
const WRITING: Duration = Duration::from_secs(5);

/// Where to connect, and as whom.
struct Door {
    address: String,
    tls: TlsConnector,
    process: u32,
}

impl Door {
    fn of(cluster: &Cluster) -> Result<Self> {
        let config = cluster.client_config()?;
        let identity = config.identity.context("an admin has an identity")?;
        let source = CertificateSource::new(&identity.cert_pem, &identity.key_pem)?;
        Ok(Self {
            address: config.endpoints.first().context("a server")?.clone(),
            tls: TlsConnector::from(client_config(source, &config.ca_pem)?),
            process: u32::try_from(cluster.process_id("server-1")?)?,
        })
    }

    async fn tcp(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect(&self.address).await?)
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost")?;
        Ok(self.tls.connect(name, self.tcp().await?).await?)
    }

    fn resident_bytes(&self) -> Result<u64> {
        Ok(Usage::of(self.process).context("the server runs")?.rss_bytes)
    }
}

/// Somebody who goes on with his work, and must never notice anything.
struct Neighbour {
    stop: Arc<AtomicBool>,
    rounds: JoinHandle<Result<usize>>,
}

impl Neighbour {
    async fn begin(cluster: &Cluster) -> Result<Self> {
        let api: Api<ConfigMap> = Api::namespaced(&cluster.client()?, "default");
        let mut mine = ConfigMap::default();
        mine.metadata.get_or_insert_default().name = "neighbour".to_owned();
        let mut mine = api.create(&mine).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let rounds = tokio::spawn(async move {
            let mut rounds = 0;
            while !stopped.load(Ordering::Relaxed) {
                rounds += 1;
                mine.data.insert("round".to_owned(), rounds.to_string());
                mine = api.update(&mine).await.context("a neighbour's write")?;
                let read = api.get("neighbour").await.context("a neighbour's read")?;
                ensure!(read.data == mine.data, "a neighbour reads something else than it wrote");
            }
            Ok(rounds)
        });
        Ok(Self { stop, rounds })
    }

    /// Ends it; it must have come through at least one round.
    async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let rounds = tokio::time::timeout(PATIENCE, self.rounds)
            .await
            .context("a neighbour waits without end")???;
        ensure!(rounds > 0, "a neighbour was never served");
        Ok(())
    }
}

/// A server, an attack on it, and a neighbour. The server is not harmed, and does not grow.
async fn attacked<F>(attack: impl FnOnce(Arc<Door>) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let options = ClusterOptions {
        servers: 1,
        agents: 0,
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(options).await?;
    let check = async {
        let door = Arc::new(Door::of(&cluster)?);
        let neighbour = Neighbour::begin(&cluster).await?;
        let before = door.resident_bytes()?;
        attack(door.clone()).await?;
        neighbour.end().await?;
        let after = door.resident_bytes()?;
        let growth = after.saturating_sub(before);
        ensure!(
            growth < GROWTH_BYTES,
            "the server has grown by {growth} bytes, from {before}"
        );
        Ok(())
    };
    let outcome = check.await;
    cluster.with_logs(outcome)
}

#[tokio::test]
async fn hostile_bodies_are_refused_with_a_status() -> Result<()> {
    attacked(|door| async move {
        bodies::prepare(&door).await?;
        for case in bodies::cases() {
            let name = case.name;
            bodies::refused(&door, case).await.with_context(|| name.to_owned())?;
        }
        // Many at once take no more than their share.
        let at_once = bodies::cases().into_iter().chain(bodies::cases());
        try_join_all(at_once.map(|case| bodies::refused(&door, case))).await?;
        Ok(())
    })
    .await
}

/// CVE-2023-44487 and its kin: streams that are begun and taken back, by the client or, for an error, by the server.
#[tokio::test]
async fn streams_that_are_reset_end_the_connection() -> Result<()> {
    attacked(|door| async move {
        for flood in [Http2::request_and_reset, Http2::request_in_error] {
            let mut http2 = Http2::begin(door.connect().await?).await?;
            for index in 0..STREAMS {
                flood(&mut http2, 2 * index + 1);
                if index % STREAMS_A_RECORD == 0 && http2.send().await.is_err() {
                    break;
                }
            }
            is_cut_off(http2).await?;
        }
        Ok(())
    })
    .await
}

/// CVE-2024-27316 and its kin: headers without an end, with something in them and with nothing.
#[tokio::test]
async fn headers_without_an_end_end_the_connection() -> Result<()> {
    attacked(|door| async move {
        for fill in [0, 1, 16_000] {
            let mut http2 = Http2::begin(door.connect().await?).await?;
            http2.unfinished_request(1);
            for _ in 0..STREAMS {
                http2.continuation(1, fill);
                if http2.queued() > 1 << 20 && http2.send().await.is_err() {
                    break;
                }
            }
            is_cut_off(http2).await?;
        }
        Ok(())
    })
    .await
}

/// CVE-2019-9512, -9515 and their kin: what must be answered, from a client that takes no answer.
#[tokio::test]
async fn questions_whose_answers_are_not_taken_fill_no_memory() -> Result<()> {
    attacked(|door| async move {
        for question in [Http2::ping, Http2::settings, Http2::priority] {
            let mut http2 = Http2::begin(door.connect().await?).await?;
            for _ in 0..STREAMS * 10 {
                question(&mut http2);
            }
            // Either the server takes all of it, or takes no more: then it keeps what it has not read out of its memory.
            let _ = tokio::time::timeout(WRITING, http2.send()).await;
        }
        Ok(())
    })
    .await
}

/// Slow clients ("slowloris"): each of them is let go in the end, and nobody waits for them.
#[tokio::test]
async fn slow_clients_are_let_go() -> Result<()> {
    attacked(|door| async move {
        let body =
            b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
        let mut slow: Vec<JoinHandle<Result<Vec<u8>>>> = Vec::new();
        // These have the longest time, and no test waits for it: nobody waits for them.
        let mut held = Vec::new();
        for _ in 0..SLOW_CONNECTIONS {
            for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
                let mut stream = door.tcp().await?;
                stream.write_all(begun).await?;
                slow.push(tokio::spawn(async move { rest_of(&mut stream).await }));
            }
            let mut stream = door.connect().await?;
            stream.write_all(body).await?;
            held.push(stream);
            for begun in [
                &b"GET /version HTTP/1.1\r\nhost: localhost\r\nx-slow: "[..],
                b"PRI * HT",
            ] {
                let mut stream = door.connect().await?;
                stream.write_all(begun).await?;
                slow.push(tokio::spawn(async move { rest_of(&mut stream).await }));
            }
            let mut http2 = Http2::begin(door.connect().await?).await?;
            http2.unfinished_request(1);
            http2.send().await?;
            slow.push(tokio::spawn(async move { http2.closed().await.map(|_| Vec::new()) }));
        }
        for connection in slow {
            let said = connection.await?.context("a slow connection stays open")?;
            let said = String::from_utf8_lossy(&said).into_owned();
            ensure!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
        }
        ensure!(held.len() == SLOW_CONNECTIONS);
        Ok(())
    })
    .await
}

/// What comes until the other side ends the connection. A reset is as good as an end.
async fn rest_of(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await?;
    Ok(rest)
}

/// The server has let go of a connection, and if it said why, then that it was too much.
async fn is_cut_off(http2: Http2) -> Result<()> {
    let why = http2.closed().await?;
    ensure!(
        why.is_none_or(|code| code == ENHANCE_YOUR_CALM),
        "the connection ended with {why:?}"
    );
    Ok(())
}

/// The door is still open to everybody afterwards.
#[tokio::test]
async fn more_connections_than_anybody_needs_keep_nobody_out() -> Result<()> {
    attacked(|door| async move {
        let idle = try_join_all((0..SLOW_CONNECTIONS * 10).map(|_| door.connect())).await?;
        wait_until("another one to be let in", PATIENCE, || async {
            let (code, _) = bodies::ask(&door, "GET", "/version", "", b"").await?;
            Ok(code == 200)
        })
        .await?;
        drop(idle);
        Ok(())
    })
    .await
}
