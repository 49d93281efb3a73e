//! What pods ask for and what the pods of a node take up, kept as running sums.
//!
//! Quantities are integers here: thousandths of a CPU, bytes, counts. The rule for a pod is Kubernetes':
//! containers and sidecars together, or the largest init step if that is more, plus the overhead.

use std::collections::BTreeMap;

use trireme_proto::api::{
    core::v1::{Container, Pod},
    meta::v1::Quantity,
};

use crate::controllers::pods;

/// Thousandths of a CPU that a container without a request counts for in scores.
const SCORED_MILLI_CPU: i64 = 100;
/// Bytes of memory that a container without a request counts for in scores.
const SCORED_MEMORY_BYTES: i64 = 200 << 20;

/// Amounts of every resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub milli_cpu: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of local storage.
    pub ephemeral_storage_bytes: i64,
    /// Number of pods.
    pub pods: i64,
    /// Everything else, by name: huge pages in bytes, devices as counts.
    pub extended: BTreeMap<String, i64>,
}

/// A port of a node that a pod takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The number. It comes first, so that all holders of one number lie together.
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The address; empty for all addresses of the node.
    pub ip: String,
}

/// What one pod asks of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRequest {
    /// What it requests.
    pub resources: Resources,
    /// Thousandths of a CPU that scores count for it: never 0.
    pub scored_milli_cpu: i64,
    /// Bytes of memory that scores count for it: never 0.
    pub scored_memory_bytes: i64,
    /// Ports of the node that it takes.
    pub host_ports: Vec<HostPort>,
}

/// What all unfinished pods of one node take up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// What they request.
    pub resources: Resources,
    /// What scores count for them: thousandths of a CPU.
    pub scored_milli_cpu: i64,
    /// What scores count for them: bytes of memory.
    pub scored_memory_bytes: i64,
    host_ports: BTreeMap<HostPort, u32>,
}

impl Resources {
    /// From a resource list. Unreadable quantities count as nothing; validation refuses them at the door.
    pub fn from_list(list: &BTreeMap<String, Quantity>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list {
            let amount = quantity.amount().unwrap_or_default();
            match name.as_str() {
                "cpu" => resources.milli_cpu = amount.milli_value(),
                "memory" => resources.memory_bytes = amount.value(),
                "ephemeral-storage" => resources.ephemeral_storage_bytes = amount.value(),
                "pods" => resources.pods = amount.value(),
                _ => {
                    resources.extended.insert(name.clone(), amount.value());
                }
            }
        }
        resources
    }

    /// Adds `other`, or takes it away with `sign` -1.
    pub fn add(&mut self, other: &Self, sign: i64) {
        self.milli_cpu = self.milli_cpu.saturating_add(sign.saturating_mul(other.milli_cpu));
        self.memory_bytes = self
            .memory_bytes
            .saturating_add(sign.saturating_mul(other.memory_bytes));
        self.ephemeral_storage_bytes = self
            .ephemeral_storage_bytes
            .saturating_add(sign.saturating_mul(other.ephemeral_storage_bytes));
        self.pods = self.pods.saturating_add(sign.saturating_mul(other.pods));
        for (name, amount) in &other.extended {
            let sum = self.extended.entry(name.clone()).or_default();
            *sum = sum.saturating_add(sign.saturating_mul(*amount));
            if *sum == 0 {
                self.extended.remove(name);
            }
        }
    }

    /// The larger of the two, resource by resource.
    fn max(mut self, other: &Self) -> Self {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.ephemeral_storage_bytes = self.ephemeral_storage_bytes.max(other.ephemeral_storage_bytes);
        for (name, amount) in &other.extended {
            let most = self.extended.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
        self
    }
}

impl HostPort {
    /// True if both cannot be held on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let everywhere = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || everywhere(&self.ip) || everywhere(&other.ip))
    }
}

impl PodRequest {
    /// What a pod asks of its node.
    pub fn of(pod: &Pod) -> Self {
        let spec = pods::spec(pod);
        let mut running = Resources::default();
        let mut largest_step = Resources::default();
        for container in &spec.init_containers {
            let request = container_request(container);
            let mut step = running.clone();
            step.add(&request, 1);
            largest_step = largest_step.max(&step);
            if container.restart_policy.as_deref() == Some("Always") {
                running = step;
            }
        }
        let (mut bare_cpu, mut bare_memory) = (0, 0);
        for container in &spec.containers {
            let request = container_request(container);
            bare_cpu += i64::from(request.milli_cpu == 0);
            bare_memory += i64::from(request.memory_bytes == 0);
            running.add(&request, 1);
        }
        let mut resources = running.max(&largest_step);
        resources.add(&Resources::from_list(&spec.overhead), 1);
        resources.pods = 1;
        Self {
            scored_milli_cpu: resources.milli_cpu + bare_cpu * SCORED_MILLI_CPU,
            scored_memory_bytes: resources.memory_bytes + bare_memory * SCORED_MEMORY_BYTES,
            resources,
            host_ports: host_ports(pod),
        }
    }
}

impl NodeUsage {
    /// Counts a pod in.
    pub fn add(&mut self, pod: &PodRequest) {
        self.change(pod, 1);
        for port in &pod.host_ports {
            *self.host_ports.entry(port.clone()).or_default() += 1;
        }
    }

    /// Counts a pod out that was counted in.
    pub fn remove(&mut self, pod: &PodRequest) {
        self.change(pod, -1);
        for port in &pod.host_ports {
            if let Some(count) = self.host_ports.get_mut(port) {
                *count -= 1;
                if *count == 0 {
                    self.host_ports.remove(port);
                }
            }
        }
    }

    /// True if a pod of this node holds a port that cannot be held together with `wanted`.
    pub fn port_taken(&self, wanted: &HostPort) -> bool {
        let first = HostPort {
            port: wanted.port,
            protocol: String::new(),
            ip: String::new(),
        };
        self.host_ports
            .range(first..)
            .take_while(|(held, _)| held.port == wanted.port)
            .any(|(held, _)| held.conflicts(wanted))
    }

    fn change(&mut self, pod: &PodRequest, sign: i64) {
        self.resources.add(&pod.resources, sign);
        self.scored_milli_cpu += sign * pod.scored_milli_cpu;
        self.scored_memory_bytes += sign * pod.scored_memory_bytes;
    }
}

/// What a container requests; a resource with a limit but without a request requests its limit.
fn container_request(container: &Container) -> Resources {
    let Some(requirements) = &container.resources else {
        return Resources::default();
    };
    if requirements
        .limits
        .keys()
        .all(|name| requirements.requests.contains_key(name))
    {
        return Resources::from_list(&requirements.requests);
    }
    let mut list = requirements.limits.clone();
    list.extend(requirements.requests.clone());
    Resources::from_list(&list)
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let spec = pods::spec(pod);
    let mut ports = Vec::new();
    for port in spec
        .containers
        .iter()
        .chain(&spec.init_containers)
        .flat_map(|container| &container.ports)
    {
        let number = if port.host_port == 0 && spec.host_network {
            port.container_port
        } else {
            port.host_port
        };
        if number > 0 {
            let protocol = if port.protocol.is_empty() {
                "TCP"
            } else {
                &port.protocol
            };
            ports.push(HostPort {
                port: number,
                protocol: protocol.to_owned(),
                ip: port.host_ip.clone(),
            });
        }
    }
    ports.sort();
    ports.dedup();
    ports
}
