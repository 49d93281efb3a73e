//! A network that can be told to fail: a proxy in front of each server, which counts what goes to it, holds it up, and cuts
//! connections.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::transport::Channel;
use trireme_store::{ConnectError, PeerConnector, PlainConnector};

/// Reaches each server through a proxy of its own.
pub struct Proxies {
    runtime: Handle,
    routes: Mutex<BTreeMap<u64, Arc<Route>>>,
}

/// The way to one server.
pub struct Route {
    /// Where the proxy listens.
    address: String,
    /// Where it leads to.
    target: Mutex<String>,
    /// Bytes that went to the server, on all connections together.
    sent: AtomicU64,
    /// Connections that were cut.
    cut: AtomicU64,
    /// What happens to connections.
    rule: watch::Sender<Rule>,
    /// How many connections wait because of the rule.
    held: watch::Sender<u64>,
}

/// What happens to a connection that has carried so many bytes to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Pass,
    /// It is cut, until so many connections were.
    CutAfter { bytes: u64, times: u64 },
    /// It waits for another rule.
    HoldAfter { bytes: u64 },
    /// Nothing, but one that waits goes on waiting.
    LeaveHeld,
}

impl Proxies {
    /// To be made within the test's runtime.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            runtime: Handle::current(),
            routes: Mutex::default(),
        })
    }

    /// The way to a server that somebody has tried to reach already.
    pub fn route(&self, id: u64) -> Arc<Route> {
        self.routes.lock().unwrap()[&id].clone()
    }

    fn route_to(&self, id: u64, address: &str) -> Arc<Route> {
        let mut routes = self.routes.lock().unwrap();
        let route = routes.entry(id).or_insert_with(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let route = Arc::new(Route {
                address: listener.local_addr().unwrap().to_string(),
                target: Mutex::default(),
                sent: AtomicU64::new(0),
                cut: AtomicU64::new(0),
                rule: watch::Sender::new(Rule::Pass),
                held: watch::Sender::new(0),
            });
            self.runtime.spawn(accept(listener, route.clone()));
            route
        });
        *route.target.lock().unwrap() = address.to_owned();
        route.clone()
    }
}

impl PeerConnector for Proxies {
    fn connect(&self, server_id: u64, peer_address: &str) -> Result<Channel, ConnectError> {
        let route = self.route_to(server_id, peer_address);
        PlainConnector.connect(server_id, &route.address)
    }
}

impl Route {
    pub fn set(&self, rule: Rule) {
        self.rule.send_replace(rule);
    }

    /// Bytes that went to the server since the last call.
    pub fn take_sent(&self) -> u64 {
        self.sent.swap(0, Ordering::SeqCst)
    }

    /// Connections that were cut.
    pub fn cuts(&self) -> u64 {
        self.cut.load(Ordering::SeqCst)
    }

    /// Waits until a connection is held.
    pub async fn wait_until_held(&self) {
        let mut held = self.held.subscribe();
        tokio::time::timeout(super::PATIENCE, held.wait_for(|held| *held > 0))
            .await
            .expect("some connection carries that much")
            .unwrap();
    }
}

async fn accept(listener: std::net::TcpListener, route: Arc<Route>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let route = route.clone();
        // A connection that breaks is what this is about.
        tokio::spawn(async move { carry(client, &route).await });
    }
}

async fn carry(client: TcpStream, route: &Route) -> io::Result<()> {
    let target = route.target.lock().unwrap().clone();
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        Ok(())
    };
    let forth = async {
        let mut rule = route.rule.subscribe();
        let mut carried = 0;
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = from_client.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            to_server.write_all(&buffer[..count]).await?;
            carried += count as u64;
            route.sent.fetch_add(count as u64, Ordering::SeqCst);
            obey(route, &mut rule, carried).await?;
        }
    };
    // Whichever way ends first ends both.
    tokio::select! {
        ended = back => ended,
        ended = forth => ended,
    }
}

/// Does with a connection what the rule wants; an error if it is to be cut.
async fn obey(route: &Route, rule: &mut watch::Receiver<Rule>, carried: u64) -> io::Result<()> {
    loop {
        let now = *rule.borrow_and_update();
        match now {
            Rule::CutAfter { bytes, times } if carried >= bytes => {
                let more = |cut| (cut < times).then_some(cut + 1);
                if route.cut.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok() {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                return Ok(());
            }
            Rule::HoldAfter { bytes } if carried >= bytes => {
                let _held = Held::begin(route);
                let released = |rule: &Rule| !matches!(rule, Rule::HoldAfter { .. } | Rule::LeaveHeld);
                rule.wait_for(released).await.map_err(io::Error::other)?;
            }
            Rule::Pass | Rule::CutAfter { .. } | Rule::HoldAfter { .. } | Rule::LeaveHeld => return Ok(()),
        }
    }
}

/// A connection that waits, until it goes on or is gone.
struct Held<'a>(&'a Route);

impl<'a> Held<'a> {
    fn begin(route: &'a Route) -> Self {
        route.held.send_modify(|held| *held += 1);
        Self(route)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.send_modify(|held| *held -= 1);
    }
}
