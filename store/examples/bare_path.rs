//! The bare path, measured: three stores in one process over loopback TCP, writers that each wait for
//! their write to be durable on a majority and applied, and no API on top.
//!
//! `cargo run --release -p trireme-store --example bare_path -- [WRITERS] [WRITES] [VALUE_BYTES]`
//!
//! It shares one machine, one disk and one process among the three servers, so it says what the layers
//! above cost, not what three machines could do.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use trireme_store::kv::{Kv, Op, Txn};
use trireme_store::{MemberNode, PlainConnector, Store, StoreConfig};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut next = |default: usize| numbers.next().unwrap_or(Ok(default));
    let (writers, writes, value_bytes) = (next(64)?, next(20_000)?, next(512)?);

    let directory = std::env::temp_dir().join(format!("trireme-bare-path-{}", std::process::id()));
    let measured = measure(&directory, writers, writes, value_bytes).await;
    std::fs::remove_dir_all(&directory)?;
    measured
}

async fn measure(
    directory: &std::path::Path,
    writers: usize,
    writes: usize,
    value_bytes: usize,
) -> Result<(), Failure> {
    let mut stores = Vec::new();
    for id in 1..=3_u64 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let node = MemberNode {
            name: format!("s{id}"),
            api_address: address.clone(),
            peer_address: address,
        };
        let config = StoreConfig::new(directory.join(id.to_string()), "bare-path", id, node.clone());
        let store = if id == 1 {
            Store::bootstrap_cluster(config, Arc::new(PlainConnector)).await?
        } else {
            let first: &Arc<Store> = &stores[0];
            first.add_learner(id, node).await?;
            Store::open(config, Arc::new(PlainConnector)).await?
        };
        let routes = store.peer_service();
        store.consensus_runtime().spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener)?);
            tonic::transport::Server::builder()
                .add_routes(routes)
                .serve_with_incoming(incoming)
                .await?;
            Ok::<(), Failure>(())
        });
        store.wait_for_leader().await?;
        stores.push(Arc::new(store));
        if id > 1 {
            stores[0].promote(id).await?;
        }
    }

    for (name, entry) in [
        ("through the leader", vec![0]),
        ("through the followers", vec![1, 2]),
        ("through all", vec![0, 1, 2]),
    ] {
        run(name, &stores, &entry, writers, writes, value_bytes).await?;
    }
    for store in stores {
        store.shutdown().await;
    }
    Ok(())
}

async fn run(
    name: &str,
    stores: &[Arc<Store>],
    entry: &[usize],
    writers: usize,
    writes: usize,
    value_bytes: usize,
) -> Result<(), Failure> {
    let before = stores[0].log_use();
    let start = Instant::now();
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let store = stores[entry[writer % entry.len()]].clone();
        let name = name.to_owned();
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            for number in (writer..writes).step_by(writers) {
                let put = Op::put(format!("/bench/{name}/{number}"), vec![b'v'; value_bytes]);
                let begin = Instant::now();
                store
                    .txn(
                        Txn {
                            compares: vec![],
                            success: vec![put],
                            failure: vec![],
                        },
                        None,
                    )
                    .await?;
                latencies.push(begin.elapsed());
            }
            Ok::<_, trireme_store::kv::KvError>(latencies)
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let took = start.elapsed();
    latencies.sort();
    let after = stores[0].log_use();
    let at = |share: f64| {
        latencies
            .get((latencies.len() as f64 * share) as usize)
            .copied()
            .unwrap_or(Duration::ZERO)
    };
    println!(
        "{name}: {writes} writes of {value_bytes} bytes by {writers} writers: {:.0} writes/s, p50 {:.2?}, p99 {:.2?}; \
         the leader's log took {} syncs for {} entries",
        writes as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
        after.syncs - before.syncs,
        after.entries - before.entries,
    );
    Ok(())
}
