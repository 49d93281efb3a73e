//! Connections to a member, also to one in a network namespace.
//!
//! A socket belongs to the namespace of the thread that makes it, whoever uses it later. So a short-lived thread
//! enters the namespace, connects, and hands the socket over: clients reach a member whatever is cut between members.

use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};

/// Where `ip netns` keeps its namespaces.
pub const NETWORK_NAMESPACES: &str = "/run/netns";

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects to `http://ADDRESS:PORT`, in a network namespace if one is given.
///
/// # Errors
/// If nobody listens there.
pub async fn connect(url: &str, namespace: Option<&str>) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);
    let Some(namespace) = namespace else {
        return endpoint.connect().await.with_context(|| format!("connecting to {url}"));
    };
    let address: SocketAddr = url.trim_start_matches("http://").parse()?;
    let path = format!("{NETWORK_NAMESPACES}/{namespace}");
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { connect_within(path, address).await.map(TokioIo::new) }
    });
    endpoint
        .connect_with_connector(connector)
        .await
        .with_context(|| format!("connecting to {url} in {namespace}"))
}

async fn connect_within(namespace: String, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let connected = File::open(&namespace).and_then(|file| {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        // Nobody waits any more if the caller's own time is over.
        let _ = sender.send(connected);
    });
    let stream = receiver
        .await
        .map_err(|_| io::Error::other("the connecting thread died"))??;
    tokio::net::TcpStream::from_std(stream)
}
