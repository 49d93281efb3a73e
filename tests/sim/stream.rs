//! One end of a simulated connection, and how a server gets one.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use trireme_store::{ConnectError, MemberNode, PeerConnector, tune};

use super::net::{Found, MachineId, Net, PipeId};

/// One end of a connection. Dropped, it is closed.
pub struct SimStream {
    net: Arc<Net>,
    incoming: PipeId,
    outgoing: PipeId,
}

impl SimStream {
    pub(super) fn new(net: Arc<Net>, incoming: PipeId, outgoing: PipeId) -> Self {
        Self {
            net,
            incoming,
            outgoing,
        }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.net.close(self.incoming, self.outgoing);
    }
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.net.read(self.incoming, context.waker()) {
            Found::Bytes(mut bytes) => {
                let count = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes.split_to(count));
                if !bytes.is_empty() {
                    self.net.unread(self.incoming, bytes);
                }
                Poll::Ready(Ok(()))
            }
            Found::End => Poll::Ready(Ok(())),
            Found::Broken => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Found::Nothing => Poll::Pending,
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match self.net.write(self.outgoing, bytes, context.waker()) {
            Ok(0) => Poll::Pending,
            Ok(count) => Poll::Ready(Ok(count)),
            Err(()) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.net.end(self.outgoing);
        Poll::Ready(Ok(()))
    }
}

/// A call that waits for its answer.
pub(super) struct Dialling {
    net: Arc<Net>,
    id: u64,
}

impl Dialling {
    pub(super) fn new(net: &Arc<Net>, from: MachineId, to: MachineId, server_id: u64) -> Self {
        Self {
            net: net.clone(),
            id: net.dial(from, to, server_id),
        }
    }
}

impl Future for Dialling {
    type Output = io::Result<SimStream>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.net.dialled(self.id, context.waker()) {
            Some(Ok(stream)) => Poll::Ready(Ok(stream)),
            Some(Err(what)) => Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionRefused, what))),
            None => Poll::Pending,
        }
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        self.net.give_up(self.id);
    }
}

/// How the server on one machine reaches the others.
pub struct SimConnector {
    /// The network.
    pub net: Arc<Net>,
    /// The machine.
    pub machine: MachineId,
}

/// Where a machine is reached.
pub fn address(machine: MachineId) -> String {
    format!("machine-{machine}:1")
}

/// What the membership records of the server on a machine.
pub fn node(machine: MachineId) -> MemberNode {
    MemberNode {
        name: format!("server-{machine}"),
        api_address: address(machine),
        peer_address: address(machine),
    }
}

fn machine_at(address: &str) -> Option<MachineId> {
    address.strip_prefix("machine-")?.strip_suffix(":1")?.parse().ok()
}

impl PeerConnector for SimConnector {
    fn connect(&self, server_id: u64, peer_address: &str) -> Result<Channel, ConnectError> {
        let refused = |reason: String| ConnectError {
            server_id,
            address: peer_address.to_owned(),
            reason,
        };
        let target = machine_at(peer_address).ok_or_else(|| refused("it is no machine".to_owned()))?;
        let endpoint =
            Endpoint::from_shared(format!("http://{peer_address}")).map_err(|error| refused(error.to_string()))?;
        let (net, from) = (self.net.clone(), self.machine);
        Ok(tune(endpoint).connect_with_connector_lazy(service_fn(move |_: Uri| {
            let net = net.clone();
            async move { Dialling::new(&net, from, target, server_id).await.map(TokioIo::new) }
        })))
    }
}
