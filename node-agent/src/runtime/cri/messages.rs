//! Between the agent's own runtime types and the CRI's messages. Pure.

use super::super::{
    ContainerConfig, ContainerInfo, ContainerState, LABEL_CONTAINER_NAME, LABEL_NODE, LABEL_POD_NAME,
    LABEL_POD_NAMESPACE, LABEL_POD_UID, PodIdentity, PortMapping, Resources, SandboxConfig, SandboxInfo, SandboxState,
    Security,
};
use crate::paths::log_file_name;
use crate::time::Moment;
use std::collections::BTreeMap;
use trireme_proto::cri::v1 as cri;

/// Annotation: the image's name as the pod has it; a runtime may list another of its names.
const ANNOTATION_IMAGE: &str = "trireme.io/image";
/// One scheduling period, in microseconds.
const CPU_PERIOD_MICROS: i64 = 100_000;
const CPU_SHARES_PER_CPU: i64 = 1024;
const CPU_SHARES_MIN: i64 = 2;
/// The kernel's files that tell a container too much, hidden unless it is privileged.
const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
/// The kernel's files through which a container could change the host.
const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn image_spec(image: &str) -> cri::ImageSpec {
    cri::ImageSpec {
        image: image.to_owned(),
        ..Default::default()
    }
}

fn labels(pod: &PodIdentity, node: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_POD_NAME.to_owned(), pod.name.clone()),
        (LABEL_POD_NAMESPACE.to_owned(), pod.namespace.clone()),
        (LABEL_POD_UID.to_owned(), pod.uid.clone()),
        (LABEL_NODE.to_owned(), node.to_owned()),
    ])
}

fn identity(labels: &BTreeMap<String, String>) -> PodIdentity {
    let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
    PodIdentity {
        namespace: label(LABEL_POD_NAMESPACE),
        name: label(LABEL_POD_NAME),
        uid: label(LABEL_POD_UID),
    }
}

fn namespaces(config: &SandboxConfig, of_container: bool) -> cri::NamespaceOption {
    let shared = |host: bool| {
        if host {
            cri::NamespaceMode::Node
        } else {
            cri::NamespaceMode::Pod
        }
    };
    let pid = if config.host_pid {
        cri::NamespaceMode::Node
    } else if config.shared_pid || !of_container {
        cri::NamespaceMode::Pod
    } else {
        cri::NamespaceMode::Container
    };
    cri::NamespaceOption {
        network: shared(config.host_network).into(),
        pid: pid.into(),
        ipc: shared(config.host_ipc).into(),
        ..Default::default()
    }
}

fn unconfined() -> cri::SecurityProfile {
    cri::SecurityProfile {
        profile_type: cri::security_profile::ProfileType::Unconfined.into(),
        ..Default::default()
    }
}

pub(super) fn sandbox_config(config: &SandboxConfig, node: &str) -> cri::PodSandboxConfig {
    let security = cri::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(config, false)),
        privileged: config.privileged,
        ..Default::default()
    };
    let has_dns = !(config.dns.servers.is_empty() && config.dns.searches.is_empty() && config.dns.options.is_empty());
    cri::PodSandboxConfig {
        metadata: Some(cri::PodSandboxMetadata {
            name: config.pod.name.clone(),
            uid: config.pod.uid.clone(),
            namespace: config.pod.namespace.clone(),
            attempt: config.attempt,
        }),
        // With the host's network the host's name is kept.
        hostname: if config.host_network {
            String::new()
        } else {
            config.hostname.clone()
        },
        log_directory: config.log_directory.display().to_string(),
        dns_config: has_dns.then(|| cri::DnsConfig {
            servers: config.dns.servers.clone(),
            searches: config.dns.searches.clone(),
            options: config.dns.options.clone(),
        }),
        port_mappings: config.ports.iter().map(port_mapping).collect(),
        labels: labels(&config.pod, node),
        annotations: BTreeMap::new(),
        linux: Some(cri::LinuxPodSandboxConfig {
            cgroup_parent: cgroup_parent(node),
            security_context: Some(security),
            sysctls: config.sysctls.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The control group above all containers of a node.
pub(crate) fn cgroup_parent(node: &str) -> String {
    format!("/trireme-{}", hex::encode(&crate::network::hash(node)[..4]))
}

fn port_mapping(port: &PortMapping) -> cri::PortMapping {
    let protocol = match port.protocol.as_str() {
        "UDP" => cri::Protocol::Udp,
        "SCTP" => cri::Protocol::Sctp,
        _ => cri::Protocol::Tcp,
    };
    cri::PortMapping {
        protocol: protocol.into(),
        container_port: port.container_port.into(),
        host_port: port.host_port.into(),
        host_ip: port.host_ip.clone(),
    }
}

pub(super) fn container_config(sandbox: &SandboxConfig, config: &ContainerConfig, node: &str) -> cri::ContainerConfig {
    let mut labels = labels(&sandbox.pod, node);
    labels.insert(LABEL_CONTAINER_NAME.to_owned(), config.name.clone());
    let env = config.env.iter();
    let mounts = config.mounts.iter();
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: config.name.clone(),
            attempt: config.attempt,
        }),
        image: Some(image_spec(&config.image)),
        command: config.command.clone(),
        args: config.args.clone(),
        working_dir: config.working_dir.clone(),
        envs: env
            .map(|(key, value)| cri::KeyValue {
                key: key.clone(),
                value: value.clone().into_bytes().into(),
            })
            .collect(),
        mounts: mounts
            .map(|mount| cri::Mount {
                container_path: mount.container_path.clone(),
                host_path: mount.host_path.display().to_string(),
                readonly: mount.read_only,
                ..Default::default()
            })
            .collect(),
        labels,
        annotations: BTreeMap::from([(ANNOTATION_IMAGE.to_owned(), config.image.clone())]),
        log_path: format!("{}/{}", config.name, log_file_name(config.attempt)),
        stdin: config.stdin,
        tty: config.tty,
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(resources(&config.resources)),
            security_context: Some(security(sandbox, &config.security)),
        }),
        ..Default::default()
    }
}

fn resources(resources: &Resources) -> cri::LinuxContainerResources {
    let shares = resources.cpu_request_millis.saturating_mul(CPU_SHARES_PER_CPU) / 1_000;
    cri::LinuxContainerResources {
        cpu_period: CPU_PERIOD_MICROS,
        cpu_quota: resources.cpu_limit_millis.saturating_mul(CPU_PERIOD_MICROS) / 1_000,
        cpu_shares: shares.max(CPU_SHARES_MIN),
        memory_limit_in_bytes: resources.memory_limit_bytes,
        oom_score_adj: resources.oom_score_adjustment,
        ..Default::default()
    }
}

fn security(sandbox: &SandboxConfig, security: &Security) -> cri::LinuxContainerSecurityContext {
    let texts = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    let number = |value: i64| cri::Int64Value { value };
    cri::LinuxContainerSecurityContext {
        capabilities: Some(cri::Capability {
            add_capabilities: security.capabilities_add.clone(),
            drop_capabilities: security.capabilities_drop.clone(),
            ..Default::default()
        }),
        privileged: security.privileged,
        namespace_options: Some(namespaces(sandbox, true)),
        run_as_user: security.run_as_user.map(number),
        run_as_group: security.run_as_group.map(number),
        readonly_rootfs: security.read_only_root,
        supplemental_groups: security.supplemental_groups.clone(),
        no_new_privs: security.no_new_privileges,
        masked_paths: if security.privileged {
            Vec::new()
        } else {
            texts(&MASKED_PATHS)
        },
        readonly_paths: if security.privileged {
            Vec::new()
        } else {
            texts(&READ_ONLY_PATHS)
        },
        seccomp: Some(unconfined()),
        ..Default::default()
    }
}

pub(super) fn sandbox_state(state: i32) -> SandboxState {
    if state == i32::from(cri::PodSandboxState::SandboxReady) {
        SandboxState::Ready
    } else {
        SandboxState::NotReady
    }
}

pub(super) fn sandbox_info(listed: cri::PodSandbox, status: Option<&cri::PodSandboxStatus>) -> SandboxInfo {
    let state = sandbox_state(listed.state);
    let network = status.and_then(|status| status.network.as_ref());
    let texts = network.into_iter().flat_map(|network| {
        std::iter::once(&network.ip).chain(network.additional_ips.iter().map(|address| &address.ip))
    });
    let addresses = texts.filter_map(|text| text.parse().ok()).collect();
    SandboxInfo {
        pod: identity(&listed.labels),
        attempt: listed.metadata.map_or(0, |metadata| metadata.attempt),
        state,
        created_at: Moment::from_nanos(listed.created_at),
        addresses: if state == SandboxState::Ready {
            addresses
        } else {
            Vec::new()
        },
        id: listed.id,
    }
}

pub(super) fn container_info(listed: cri::Container, status: cri::ContainerStatus) -> ContainerInfo {
    let metadata = listed.metadata.unwrap_or_default();
    let listed_image = listed.image.map(|image| image.image).unwrap_or_default();
    ContainerInfo {
        id: listed.id,
        sandbox_id: listed.pod_sandbox_id,
        pod: identity(&listed.labels),
        name: metadata.name,
        attempt: metadata.attempt,
        state: match cri::ContainerState::try_from(status.state) {
            Ok(cri::ContainerState::ContainerCreated) => ContainerState::Created,
            Ok(cri::ContainerState::ContainerRunning) => ContainerState::Running,
            Ok(cri::ContainerState::ContainerExited) => ContainerState::Exited,
            Ok(cri::ContainerState::ContainerUnknown) | Err(_) => ContainerState::Unknown,
        },
        image: listed
            .annotations
            .get(ANNOTATION_IMAGE)
            .cloned()
            .unwrap_or(listed_image),
        image_id: status.image_ref,
        created_at: Moment::from_nanos(status.created_at),
        started_at: Moment::from_nanos(status.started_at),
        finished_at: Moment::from_nanos(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason,
        message: status.message,
    }
}
