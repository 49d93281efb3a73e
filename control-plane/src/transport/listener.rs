//! One port: accepts, shakes hands, serves HTTP/2 and HTTP/1.1, and ends in good order. All but one speak TLS.
//!
//! Every number that a client could drive up has a bound here (invariant I9).

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use trireme_store::{Direct, lanes};

use super::{
    activity::{Activity, Answer},
    authority::Lenient,
    body::{Budget, Budgets, Paced},
    etcd::EtcdDirect,
    gather::gather,
    peer::Peer,
};
use crate::{limits, pki::Subject};

/// Whom a port lets in at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admits {
    /// Anyone; each request is judged by itself.
    Anyone,
    /// Only holders of a server's certificate.
    ServersOnly,
    /// Clients of etcd's API; each request is judged by itself.
    EtcdClients,
}

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has it.
    #[error("the address {address} is in use by another process; stop it, or listen on another port")]
    InUse {
        /// Which.
        address: SocketAddr,
    },
    /// Another reason.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How many clients there may be, how long they may take and how much they may leave unfinished. As [`limits`] has it,
/// but for the tests, which have less time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    pub(super) handshake: Duration,
    pub(super) headers: Duration,
    pub(super) first_request: Duration,
    pub(super) idle: Duration,
    pub(super) message: Duration,
    pub(super) connection_bytes: usize,
    pub(super) port_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS_MAX,
            handshake: limits::TLS_HANDSHAKE_TIMEOUT,
            headers: limits::HEADER_READ_TIMEOUT,
            first_request: limits::FIRST_REQUEST_TIMEOUT,
            idle: limits::CONNECTION_IDLE_TIMEOUT,
            message: limits::MESSAGE_READ_TIMEOUT,
            connection_bytes: limits::CONNECTION_UNFINISHED_BYTES,
            port_bytes: limits::PORT_UNFINISHED_BYTES,
        }
    }
}

/// A port that is open but not served yet.
pub struct BoundListener {
    tcp: TcpListener,
    address: SocketAddr,
    bounds: Bounds,
}

/// What all connections of a port share.
struct Shared {
    /// `None` for a port without TLS.
    acceptor: Option<TlsAcceptor>,
    router: axum::Router,
    admits: Admits,
    /// What is asked before the router.
    direct: Option<EtcdDirect>,
    http: auto::Builder<TokioExecutor>,
    bounds: Bounds,
    /// What all connections hold of messages that are not whole yet.
    unfinished: Arc<Budget>,
    shutdown: CancellationToken,
}

impl BoundListener {
    /// Opens the port. Must be called on the runtime that will serve it.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::Bind { address, source },
        };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        let bounds = Bounds::default();
        Ok(Self { tcp, address, bounds })
    }

    /// The same port with other bounds.
    #[cfg(test)]
    pub(super) fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The port's address, with the number that the system chose if none was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then lets open requests end for [`limits::SHUTDOWN_GRACE`].
    pub async fn serve(
        self,
        tls: Arc<rustls::ServerConfig>,
        router: axum::Router,
        admits: Admits,
        shutdown: CancellationToken,
    ) {
        self.serve_with(Some(TlsAcceptor::from(tls)), router, admits, None, shutdown)
            .await;
    }

    /// The same for clients of etcd's API, whose oldest need some leniency; without TLS on a loopback address.
    pub async fn serve_etcd(
        self,
        tls: Option<Arc<rustls::ServerConfig>>,
        router: axum::Router,
        direct: EtcdDirect,
        shutdown: CancellationToken,
    ) {
        let acceptor = tls.map(TlsAcceptor::from);
        self.serve_with(acceptor, router, Admits::EtcdClients, Some(direct), shutdown)
            .await;
    }

    async fn serve_with(
        self,
        acceptor: Option<TlsAcceptor>,
        router: axum::Router,
        admits: Admits,
        direct: Option<EtcdDirect>,
        shutdown: CancellationToken,
    ) {
        let shared = Arc::new(Shared {
            acceptor,
            // Done once here instead of in each clone.
            router: router.with_state(()),
            admits,
            direct,
            http: http_builder(self.bounds.headers),
            bounds: self.bounds,
            unfinished: Budget::new(self.bounds.port_bytes),
            shutdown: shutdown.clone(),
        });
        let room = Arc::new(Semaphore::new(self.bounds.connections));
        let connections = TaskTracker::new();
        while let Some((stream, address, permit)) = self.next_connection(&room, &shutdown).await {
            connections.spawn(serve_connection(shared.clone(), stream, address, permit));
        }
        drop(self.tcp);
        connections.close();
        connections.wait().await;
    }

    /// The next connection, once there is room for it; `None` at shutdown.
    async fn next_connection(
        &self,
        room: &Arc<Semaphore>,
        shutdown: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let accept = async {
            let permit = room.clone().acquire_owned().await.ok()?;
            loop {
                match self.tcp.accept().await {
                    Ok((stream, address)) => return Some((stream, address, permit)),
                    Err(error) => {
                        tracing::warn!(%error, address = %self.address, "cannot accept a connection");
                        tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            accepted = accept => accepted,
        }
    }
}

fn http_builder(headers: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(headers)
        .max_headers(limits::HEADERS_MAX)
        .max_buf_size(limits::HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_MAX)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::SEND_BUFFER_BYTES)
        .max_header_list_size(limits::HEADERS_MAX_BYTES)
        .max_pending_accept_reset_streams(limits::PENDING_RESET_STREAMS_MAX)
        .max_local_error_reset_streams(limits::LOCAL_RESET_STREAMS_MAX)
        .keep_alive_interval(limits::KEEPALIVE_PERIOD)
        .keep_alive_timeout(limits::KEEPALIVE_TIMEOUT);
    builder
}

async fn serve_connection(shared: Arc<Shared>, stream: TcpStream, address: SocketAddr, _permit: OwnedSemaphorePermit) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %address, "cannot set TCP_NODELAY");
    }
    let Some(acceptor) = &shared.acceptor else {
        return serve_http(&shared, stream, Peer::new(None, address), address).await;
    };
    let handshake = tokio::time::timeout(shared.bounds.handshake, acceptor.accept(stream));
    let stream = tokio::select! {
        biased;
        () = shared.shutdown.cancelled() => return,
        outcome = handshake => match outcome {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, %address, "the TLS handshake failed"),
            Err(_) => return tracing::debug!(%address, "the TLS handshake took too long"),
        },
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = Peer::new(certificate, address);
    if shared.admits == Admits::ServersOnly && !matches!(peer.subject(), Some(Subject::Server(_))) {
        return tracing::warn!(%address, peer = ?peer.subject(), "refused a connection that is not a server's");
    }
    serve_http(&shared, stream, peer, address).await;
}

async fn serve_http(
    shared: &Shared,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    address: SocketAddr,
) {
    match shared.admits {
        Admits::EtcdClients => serve_requests(shared, Lenient::new(stream), peer, address).await,
        Admits::Anyone | Admits::ServersOnly => serve_requests(shared, stream, peer, address).await,
    }
}

/// Lets an answer that takes room in its lane give it back once its client has it.
fn release_room(response: Response<Body>, stalled: &CancellationToken) -> Response<Body> {
    if lanes::is_carried(&response) {
        lanes::release(response, stalled).map(Body::new)
    } else {
        response
    }
}

async fn route(
    router: axum::Router,
    mut request: Request<Body>,
    peer: Peer,
    stalled: &CancellationToken,
) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(peer.flow());
    request.extensions_mut().insert(peer);
    let answer = router.oneshot(request).await?;
    Ok(release_room(answer, stalled))
}

async fn serve_requests(
    shared: &Shared,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    address: SocketAddr,
) {
    let router = shared.router.clone();
    let direct = shared.direct.as_ref().and_then(|direct| direct.for_peer(&peer));
    let stalled = CancellationToken::new();
    let on_stall = stalled.clone();
    let bounds = shared.bounds;
    let activity = Activity::default();
    let budgets = Budgets([Budget::new(bounds.connection_bytes), shared.unfinished.clone()]);
    let requests = activity.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let open = requests.begin();
        let (head, body) = request.into_parts();
        let body = Paced::new(body, &head.headers, budgets.clone(), bounds.message);
        let request = Request::from_parts(head, body);
        let (router, direct, peer, stalled) = (router.clone(), direct.clone(), peer.clone(), on_stall.clone());
        async move {
            let answer = match direct {
                Some(direct) => match direct.call(peer.flow(), request).await {
                    Direct::Answered(answer) => Ok(release_room(answer.map(Body::new), &stalled)),
                    Direct::Passed(request) => route(router, request.map(Body::new), peer, &stalled).await,
                },
                None => route(router, request.map(Body::new), peer, &stalled).await,
            };
            answer.map(|answer| answer.map(|body| Answer::new(body, open)))
        }
    });
    let (stream, sender) = gather(stream);
    let connection = shared.http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // Consensus waits for nobody.
    let several_open = || shared.admits != Admits::ServersOnly && activity.open() > 1;
    let over = async {
        tokio::select! {
            () = shared.shutdown.cancelled() => {}
            () = activity.ceases(bounds.first_request, bounds.idle) => {}
        }
    };
    let outcome = tokio::select! {
        biased;
        outcome = sender.drive(connection.as_mut(), several_open) => outcome,
        () = stalled.cancelled() => {
            tracing::info!(%address, "cut off a client that takes none of its answer");
            return;
        }
        () = over => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits::SHUTDOWN_GRACE, sender.drive(connection, several_open)).await {
                Ok(outcome) => outcome,
                Err(_) => Ok(()),
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, %address, "a connection ended with an error");
    }
}
