//! What stands before the servers of a cluster that is used in earnest: one address that leads to whichever server answers.
//!
//! It knows nothing of what it carries, as a balancer of connections does not: one that it led to a server ends with that
//! server, and its client must make another.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::RwLock,
    task::JoinHandle,
};

/// A balancer on loopback. Dropping it ends it, and nothing new is led anywhere.
pub(crate) struct Balancer {
    address: SocketAddr,
    servers: Arc<RwLock<Vec<String>>>,
    led_to: Arc<RwLock<BTreeSet<String>>>,
    accepting: JoinHandle<()>,
}

impl Balancer {
    /// Begins to lead connections to the first of `servers` that takes them.
    ///
    /// # Errors
    /// If it cannot listen.
    pub(crate) async fn start(servers: Vec<String>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let servers = Arc::new(RwLock::new(servers));
        let led_to = Arc::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&servers), Arc::clone(&led_to)));
        Ok(Self {
            address,
            servers,
            led_to,
            accepting,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// To how many servers it has led connections.
    pub(crate) async fn led_to(&self) -> usize {
        self.led_to.read().await.len()
    }

    /// Leads what comes from now on to this server, as long as it takes connections.
    pub(crate) async fn prefer(&self, server: &str) {
        self.servers.write().await.sort_by_key(|other| other != server);
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, servers: Arc<RwLock<Vec<String>>>, led_to: Arc<RwLock<BTreeSet<String>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let servers = servers.read().await.clone();
        tokio::spawn(lead(client, servers, Arc::clone(&led_to)));
    }
}

/// Carries one connection until either side ends it. A client that no server takes is hung up on.
async fn lead(mut client: TcpStream, servers: Vec<String>, led_to: Arc<RwLock<BTreeSet<String>>>) {
    for server in servers {
        if let Ok(mut connection) = TcpStream::connect(&server).await {
            led_to.write().await.insert(server);
            // How it ended is the clients' business.
            let _ = copy_bidirectional(&mut client, &mut connection).await;
            return;
        }
    }
}

#[tokio::test]
async fn the_next_server_takes_what_the_first_does_not() -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let absent = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?.to_string();
    let present = TcpListener::bind(("127.0.0.1", 0)).await?;
    let balancer = Balancer::start(vec![present.local_addr()?.to_string(), absent.clone()]).await?;
    balancer.prefer(&absent).await;
    let mut client = TcpStream::connect(balancer.address()).await?;
    let (mut server, _) = present.accept().await?;
    server.write_all(b"hello").await?;
    drop(server);
    let mut text = String::new();
    client.read_to_string(&mut text).await?;
    assert_eq!(text, "hello");
    Ok(())
}
