//! What this machine is: the node's object, for the first message of a session.

use crate::config::{AgentConfig, RuntimeChoice};
use crate::convert::{bytes, count, cpu_millis};
use crate::runtime::RuntimeVersion;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::Path;
use trireme_proto::api::core::v1::{Node, NodeAddress, NodeSpec, NodeStatus, NodeSystemInfo};
use trireme_proto::api::meta::v1::{ObjectMeta, Quantity};

const BYTES_PER_KIBIBYTE: i64 = 1024;

/// What the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) cpu_millis: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) storage_bytes: i64,
}

/// Measures the machine; `directory` is on the file system that pods fill.
pub(crate) fn measure(directory: &Path) -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(1, |count| i64::try_from(count.get()).unwrap_or(1));
    let memory = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| memory_total(&text))
        .unwrap_or(0);
    let storage = nix::sys::statvfs::statvfs(directory).map_or(0, |stat| {
        i64::try_from(stat.blocks())
            .unwrap_or(i64::MAX)
            .saturating_mul(i64::try_from(stat.fragment_size()).unwrap_or(0))
    });
    Capacity {
        cpu_millis: cpus * 1_000,
        memory_bytes: memory,
        storage_bytes: storage,
    }
}

fn memory_total(meminfo: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * BYTES_PER_KIBIBYTE)
}

/// The address by which this machine reaches the servers. Nothing is sent.
pub(crate) fn own_address(servers: &[String]) -> IpAddr {
    let addresses = servers
        .iter()
        .filter_map(|server| server.to_socket_addrs().ok())
        .flatten();
    let mut found = addresses.filter_map(|address| local_address_to(address).ok());
    found.next().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn local_address_to(server: SocketAddr) -> std::io::Result<IpAddr> {
    let unspecified = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(unspecified)?;
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip())
}

/// The node's object.
pub(crate) fn object(config: &AgentConfig, address: IpAddr, capacity: Capacity, runtime: &RuntimeVersion) -> Node {
    let resources = resources(config, capacity);
    let cidr = config.pod_addresses().to_string();
    // With somebody else's runtime the pods' network is not ours to know.
    let cidrs = if matches!(config.runtime, RuntimeChoice::Cri { .. }) {
        Vec::new()
    } else {
        vec![cidr]
    };
    Node {
        metadata: Some(ObjectMeta {
            name: config.node_name.clone(),
            labels: labels(config),
            ..ObjectMeta::default()
        }),
        spec: Some(NodeSpec {
            pod_cidr: cidrs.first().cloned().unwrap_or_default(),
            pod_cidrs: cidrs,
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus {
            allocatable: resources.clone(),
            capacity: resources,
            addresses: vec![
                NodeAddress {
                    r#type: "InternalIP".to_owned(),
                    address: address.to_string(),
                },
                NodeAddress {
                    r#type: "Hostname".to_owned(),
                    address: hostname(),
                },
            ],
            node_info: Some(system_info(runtime)),
            ..NodeStatus::default()
        }),
    }
}

fn resources(config: &AgentConfig, capacity: Capacity) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), cpu_millis(capacity.cpu_millis)),
        ("memory".to_owned(), bytes(capacity.memory_bytes)),
        ("ephemeral-storage".to_owned(), bytes(capacity.storage_bytes)),
        ("pods".to_owned(), count(config.pods_max.into())),
    ])
}

fn labels(config: &AgentConfig) -> BTreeMap<String, String> {
    let mut labels = config.labels.clone();
    labels.insert("kubernetes.io/hostname".to_owned(), config.node_name.clone());
    labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
    labels.insert("kubernetes.io/arch".to_owned(), architecture().to_owned());
    labels
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default()
}

fn system_info(runtime: &RuntimeVersion) -> NodeSystemInfo {
    let file = |path: &str| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    NodeSystemInfo {
        machine_id: file("/etc/machine-id"),
        system_uuid: file("/sys/class/dmi/id/product_uuid"),
        boot_id: file("/proc/sys/kernel/random/boot_id"),
        kernel_version: file("/proc/sys/kernel/osrelease"),
        os_image: os_image(&file("/etc/os-release")),
        container_runtime_version: format!("{}://{}", runtime.name, runtime.version),
        kubelet_version: version,
        operating_system: "linux".to_owned(),
        architecture: architecture().to_owned(),
        ..NodeSystemInfo::default()
    }
}

fn os_image(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        assert_eq!(
            memory_total("MemTotal:       2048 kB\nMemFree: 1 kB\n"),
            Some(2 * 1024 * 1024)
        );
        assert_eq!(memory_total("nothing"), None);
        assert_eq!(
            os_image("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"),
            "Debian GNU/Linux 12"
        );
    }

    #[test]
    fn the_object_names_the_node_and_what_it_has() {
        let config = AgentConfig::new("node-1", "/data", Vec::new());
        let capacity = Capacity {
            cpu_millis: 2_000,
            memory_bytes: 1 << 30,
            storage_bytes: 1 << 40,
        };
        let runtime = RuntimeVersion {
            name: "fake".to_owned(),
            version: "1".to_owned(),
        };
        let node = object(&config, IpAddr::V4(Ipv4Addr::LOCALHOST), capacity, &runtime);
        let status = node.status.unwrap();
        assert_eq!(status.allocatable["cpu"].to_string(), "2");
        assert_eq!(status.capacity["memory"].to_string(), "1Gi");
        assert_eq!(status.capacity["pods"].to_string(), "110");
        assert_eq!(node.metadata.unwrap().labels["kubernetes.io/hostname"], "node-1");
    }

    #[test]
    fn an_unresolvable_server_leaves_loopback() {
        assert_eq!(
            own_address(&["127.0.0.1:9".to_owned()]),
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        );
        assert_eq!(own_address(&[]), IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
