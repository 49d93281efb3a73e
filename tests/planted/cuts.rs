//! A network in this process, in which a server can be cut off from the others.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use trireme_store::{ConnectError, PeerConnector, tune};

/// The servers that are cut off now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cuts(Arc<Mutex<BTreeSet<u64>>>);

impl Cuts {
    /// Cuts a server off from all others.
    pub(crate) fn cut_off(&self, server: u64) {
        self.servers().insert(server);
    }

    /// Mends everything.
    pub(crate) fn heal(&self) {
        self.servers().clear();
    }

    /// How a server reaches the others.
    pub(crate) fn connector(&self, own: u64) -> Arc<dyn PeerConnector> {
        Arc::new(CutConnector {
            cuts: self.clone(),
            own,
        })
    }

    fn servers(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything passes between the two.
    fn check(&self, ends: [u64; 2]) -> io::Result<()> {
        let servers = self.servers();
        if ends.iter().any(|end| servers.contains(end)) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

struct CutConnector {
    cuts: Cuts,
    own: u64,
}

impl PeerConnector for CutConnector {
    fn connect(&self, server_id: u64, peer_address: &str) -> Result<Channel, ConnectError> {
        let (cuts, ends) = (self.cuts.clone(), [self.own, server_id]);
        let endpoint = Endpoint::from_shared(format!("http://{peer_address}")).map_err(|error| ConnectError {
            server_id,
            address: peer_address.to_owned(),
            reason: error.to_string(),
        })?;
        let address = peer_address.to_owned();
        Ok(tune(endpoint).connect_with_connector_lazy(tower::service_fn(move |_| {
            let (cuts, address) = (cuts.clone(), address.clone());
            async move {
                cuts.check(ends)?;
                let stream = TcpStream::connect(address).await?;
                Ok::<_, io::Error>(TokioIo::new(Link { stream, cuts, ends }))
            }
        })))
    }
}

/// A connection that breaks when one of its ends is cut off.
struct Link {
    stream: TcpStream,
    cuts: Cuts,
    ends: [u64; 2],
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        // What arrives only now is lost, too.
        if read.is_ready() {
            self.cuts.check(self.ends)?;
        }
        read
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.cuts.check(self.ends)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
