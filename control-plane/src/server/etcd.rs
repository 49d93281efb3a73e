//! The listener of etcd's API: opened early, served on the API's runtime, and told to the other servers.

use std::{net::SocketAddr, sync::Arc};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trireme_store::{
    ETCD_CLIENT_URL_PREFIX,
    kv::{Consistency, KeyRange, Kv, KvError, Op, RangeRequest, Txn},
};

use super::{Server, ServerError};
use crate::{
    limits::ETCD_ANNOUNCE_RETRY,
    transport::{BoundListener, EtcdCallers, EtcdDirect, MetricsReaders, etcd_router, metrics_router},
};

/// Where and how etcd's API is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EtcdListen {
    /// The address.
    pub address: SocketAddr,
    /// Without TLS, for whoever reaches it: a loopback address only.
    pub insecure: bool,
}

/// A listener that is open but not served yet.
pub(super) struct EtcdListener {
    listener: BoundListener,
    insecure: bool,
}

impl EtcdListen {
    /// Opens the port, if there is to be one.
    pub(super) async fn bind(wish: Option<Self>) -> Result<Option<EtcdListener>, ServerError> {
        let Some(Self { address, insecure }) = wish else {
            return Ok(None);
        };
        if insecure && !address.ip().is_loopback() {
            return Err(ServerError::EtcdExposed { address });
        }
        let listener = BoundListener::bind(address).await?;
        Ok(Some(EtcdListener { listener, insecure }))
    }
}

/// What serving it takes.
pub(super) struct Host<'a> {
    pub(super) server: &'a Server,
    pub(super) advertise_host: &'a str,
    pub(super) tls: Arc<rustls::ServerConfig>,
}

impl Host<'_> {
    /// Serves the listener, and keeps the cluster's knowledge of it right, also if there is none (any more).
    pub(super) fn spawn(
        self,
        tasks: &mut JoinSet<Result<(), ServerError>>,
        listener: Option<EtcdListener>,
        shutdown: CancellationToken,
    ) {
        let store = &self.server.store;
        let url = listener.as_ref().map(|listener| self.url(listener));
        tasks.spawn(announce(self.server.kv.clone(), store.server_id(), url));
        let Some(EtcdListener { listener, insecure }) = listener else {
            return;
        };
        let (callers, readers) = if insecure {
            (EtcdCallers::Anyone, MetricsReaders::Anyone)
        } else {
            (EtcdCallers::Admins, MetricsReaders::Admins)
        };
        let (services, direct) = store.etcd_service();
        let router = etcd_router(services, self.server.readiness(), callers)
            .merge(metrics_router(self.server.metrics(), readers));
        tracing::info!(address = %listener.address(), insecure, "etcd's API is up");
        tasks.spawn(async move {
            let tls = (!insecure).then_some(self.tls);
            listener
                .serve_etcd(tls, router, EtcdDirect { direct, callers }, shutdown)
                .await;
            Ok(())
        });
    }

    fn url(&self, EtcdListener { listener, insecure }: &EtcdListener) -> String {
        let address = listener.address();
        if *insecure {
            return format!("http://{address}");
        }
        let host = self.advertise_host;
        if host.contains(':') {
            format!("https://[{host}]:{}", address.port())
        } else {
            format!("https://{host}:{}", address.port())
        }
    }
}

/// Writes down where this server serves etcd's API, so that each server can tell clients of all of them.
async fn announce(kv: Arc<dyn Kv>, server_id: u64, url: Option<String>) -> Result<(), ServerError> {
    while let Err(error) = announce_once(&*kv, server_id, url.as_deref()).await {
        tracing::debug!(%error, "the address of etcd's API could not be stored; trying again");
        tokio::time::sleep(ETCD_ANNOUNCE_RETRY).await;
    }
    std::future::pending().await
}

async fn announce_once(kv: &dyn Kv, server_id: u64, url: Option<&str>) -> Result<(), KvError> {
    let key = [ETCD_CLIENT_URL_PREFIX, server_id.to_string().as_bytes()].concat();
    let range = KeyRange::key(key.clone());
    let told = kv
        .range(RangeRequest::latest(range.clone()), Consistency::Linearizable)
        .await?;
    let told = told.kvs.first().map(|kv| kv.value.clone());
    if told.as_deref() == url.map(str::as_bytes) {
        return Ok(());
    }
    let op = match url {
        Some(url) => Op::put(key, url.to_owned()),
        None => Op::Delete { range, prev_kv: false },
    };
    let txn = Txn {
        success: vec![op],
        ..Txn::default()
    };
    kv.txn(txn, None).await.map(drop)
}

#[cfg(test)]
mod tests {
    use trireme_store::LocalKv;

    use super::*;

    #[tokio::test]
    async fn the_address_is_told_and_taken_back() {
        let kv = LocalKv::new();
        let told = async || {
            let all = RangeRequest::latest(KeyRange::prefix(ETCD_CLIENT_URL_PREFIX));
            let response = kv.range(all, Consistency::Serializable).await.expect("a range");
            (
                response.kvs.iter().map(|kv| kv.value.clone()).collect::<Vec<_>>(),
                response.revision,
            )
        };
        announce_once(&kv, 3, None).await.expect("nothing to do");
        assert_eq!(told().await, (vec![], 1));
        for _ in 0..2 {
            announce_once(&kv, 3, Some("http://a:1")).await.expect("told");
            assert_eq!(told().await, (vec!["http://a:1".into()], 2));
        }
        announce_once(&kv, 3, None).await.expect("taken back");
        assert_eq!(told().await, (vec![], 3));
    }

    #[tokio::test]
    async fn nobody_is_exposed() {
        let listen = |address: &str, insecure| EtcdListen {
            address: address.parse().expect("an address"),
            insecure,
        };
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let refused = EtcdListen::bind(Some(listen(address, true))).await;
            assert!(matches!(refused, Err(ServerError::EtcdExposed { .. })), "{address}");
        }
        assert!(EtcdListen::bind(Some(listen("127.0.0.1:0", true))).await.is_ok());
        assert!(EtcdListen::bind(None).await.is_ok_and(|listener| listener.is_none()));
    }
}
