//! The same in containers: pods with addresses and network namespaces of their own, under a containerd that each agent
//! starts for itself. Needs root and containerd; without them the tests say so and pass, unless `./x test` runs them.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use trireme_tests::harness::{Cluster, ClusterOptions, PATIENCE, Runtime, poll_until, runs, text, wait_until};

use crate::{
    agents::{a_pod_ends_gracefully, agents_adopt, crashes_are_backed_off},
    manifests::{cluster_with_hello, two_containers},
};

/// Set to 1 where the tests must not be skipped.
const REQUIRED: &str = "TRIREME_REQUIRE_CONTAINERD";

/// Whether this machine can run containers.
fn possible() -> bool {
    let installed = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    };
    if nix::unistd::geteuid().is_root() && installed("containerd") && installed("runc") {
        return true;
    }
    assert!(
        std::env::var(REQUIRED).as_deref() != Ok("1"),
        "containers need root, containerd and runc, and {REQUIRED} says that they must be there"
    );
    eprintln!("skipped: containers need root, containerd and runc");
    false
}

fn in_containers() -> ClusterOptions {
    ClusterOptions {
        runtime: Runtime::Cri,
        ..ClusterOptions::default()
    }
}

#[tokio::test]
async fn pods_have_addresses_of_their_own() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let before = Traces::of_machine()?;
    let cluster = cluster_with_hello(in_containers()).await?;
    let result = async {
        addresses_answer(&cluster).await?;
        containers_of_a_pod_share_its_network(&cluster).await?;
        crashes_are_backed_off(&cluster).await?;
        a_pod_ends_gracefully(&cluster).await
    };
    cluster.with_logs(result.await)?;
    everything_goes_with_the_cluster(cluster, &before).await
}

#[tokio::test]
async fn containers_outlive_their_agent() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let before = Traces::of_machine()?;
    let cluster = cluster_with_hello(in_containers()).await?;
    cluster.with_logs(agents_adopt(&cluster).await)?;
    everything_goes_with_the_cluster(cluster, &before).await
}

/// Every pod has an address out of its node's range, and answers there.
async fn addresses_answer(cluster: &Cluster) -> Result<()> {
    let nodes = cluster.items(&["nodes"]).await?;
    let ranges: BTreeSet<&str> = nodes.iter().map(|node| text(node, "/spec/podCIDR")).collect();
    ensure!(ranges.len() == 2 && !ranges.contains(""), "{ranges:?}");
    let pods = cluster.items(&["pods", "-l", "app=hello"]).await?;
    let mut addresses = BTreeSet::new();
    for pod in &pods {
        let address = text(pod, "/status/podIP");
        let node = nodes
            .iter()
            .find(|node| text(node, "/metadata/name") == text(pod, "/spec/nodeName"));
        let range = text(node.context("a pod's node exists")?, "/spec/podCIDR");
        let prefix = range.strip_suffix("0/24").context("the range is a /24")?;
        ensure!(address.starts_with(prefix), "{address} is not in {range}");
        addresses.insert(address);
        let answer = http_get(&format!("{address}:8080")).await?;
        let name = text(pod, "/metadata/name");
        ensure!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(name),
            "{name} answered {answer:?}"
        );
    }
    ensure!(addresses.len() == 3, "{addresses:?}");
    Ok(())
}

/// One request; gives the whole answer.
async fn http_get(address: &str) -> Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await?
        .with_context(|| format!("asking {address}"))
}

/// Two containers, one address: each serves on its own port there, and both live in the namespace of the pause container.
async fn containers_of_a_pod_share_its_network(cluster: &Cluster) -> Result<()> {
    cluster.apply(&two_containers("two").to_string()).await?;
    cluster
        .ok(&["wait", "pod/two", "--for=condition=Ready", "--timeout", "90s"])
        .await?;
    let pod = cluster.json(&["get", "pod/two"]).await?;
    let address = text(&pod, "/status/podIP");
    for port in [8081, 8082] {
        let answer = poll_until("the container to serve", PATIENCE, || async {
            Ok(Some(http_get(&format!("{address}:{port}")).await?))
        })
        .await?;
        ensure!(answer.contains("Hello from two!"), "{answer:?}");
    }
    let unnamed = cluster.run(&["logs", "two"]).await?;
    ensure!(
        unnamed.code == 6 && unnamed.stderr.contains("[first second]"),
        "{unnamed:?}"
    );
    let log = cluster.ok(&["logs", "two", "-c", "second"]).await?;
    ensure!(log.contains(":8082/") && !log.contains(":8081/"), "{log:?}");

    let namespaces = network_namespaces(cluster, &["serve"])?;
    let own = std::fs::read_link("/proc/self/ns/net")?;
    let shared: Vec<_> = namespaces.iter().filter(|(_, count)| *count == 2).collect();
    ensure!(
        shared.len() == 1,
        "not exactly one namespace has two servers: {namespaces:?}"
    );
    ensure!(
        !namespaces.iter().any(|(namespace, _)| *namespace == own),
        "a pod runs in the host's network"
    );
    cluster.ok(&["delete", "pod", "two", "--timeout", "60s"]).await?;
    Ok(())
}

/// The network namespaces of this cluster's containers that run with these arguments, and how many there are in each.
fn network_namespaces(cluster: &Cluster, arguments: &[&str]) -> Result<Vec<(std::path::PathBuf, usize)>> {
    let mut found: std::collections::BTreeMap<std::path::PathBuf, usize> = std::collections::BTreeMap::new();
    let wanted = format!("/hello\0{}\0", arguments.join("\0"));
    for pid in processes()? {
        let root = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = root.contains(&*cluster.data_dir().to_string_lossy());
        if ours
            && line == wanted.as_bytes()
            && let Ok(namespace) = std::fs::read_link(format!("/proc/{pid}/ns/net"))
        {
            *found.entry(namespace).or_default() += 1;
        }
    }
    Ok(found.into_iter().collect())
}

fn processes() -> Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc")?.flatten();
    Ok(entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// What containers leave on a machine.
#[derive(Debug, Default)]
struct Traces {
    interfaces: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    states: BTreeSet<String>,
}

impl Traces {
    fn of_machine() -> Result<Self> {
        Ok(Self {
            interfaces: names_in("/sys/class/net")?,
            namespaces: names_in("/run/netns")?,
            cgroups: names_in("/sys/fs/cgroup/memory")?,
            states: names_in("/run/trireme")?,
        })
    }

    /// What is here and not there.
    fn since(&self, before: &Self) -> Vec<String> {
        let pairs = [
            (&self.interfaces, &before.interfaces),
            (&self.namespaces, &before.namespaces),
            (&self.cgroups, &before.cgroups),
            (&self.states, &before.states),
        ];
        pairs
            .iter()
            .flat_map(|(now, then)| now.difference(then))
            .cloned()
            .collect()
    }
}

/// The names in a folder, which may not exist.
fn names_in(folder: &str) -> Result<BTreeSet<String>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| format!("reading {folder}")),
    }
}

/// After `down` there is no process, mount, bridge, namespace or control group of the cluster any more.
async fn everything_goes_with_the_cluster(cluster: Cluster, before: &Traces) -> Result<()> {
    let during = Traces::of_machine()?.since(before);
    ensure!(during.len() >= 2, "the look at the machine is blind: {during:?}");
    let folder = cluster.data_dir().to_string_lossy().into_owned();
    cluster.ok(&["down", "--data-dir", &folder]).await?;
    // Asked again, with nothing to do, it does nothing and complains of nothing.
    let again = cluster.run(&["down", "--data-dir", &folder]).await?;
    ensure!(again.code == 0 && !again.stderr.contains("warning"), "{again:?}");
    wait_until("nothing to be left of the cluster", PATIENCE, || async {
        let left = Traces::of_machine()?.since(before);
        ensure!(left.is_empty(), "{left:?} are left");
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        ensure!(!mounts.contains(&folder), "mounts are left:\n{mounts}");
        for pid in processes()? {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            ensure!(!(runs(pid) && line.contains(&folder)), "process {pid} is left: {line}");
        }
        Ok(true)
    })
    .await
}
