//! From a pod's object to configurations of sandboxes and containers that a runtime takes. Pure.

use super::env::{self, ConfigProblem, Context};
use super::{Input, PullPolicy, hosts};
use crate::convert::quantity_value;
use crate::paths::join_component;
use crate::runtime::{ContainerConfig, DnsConfig, Mount, PortMapping, Resources, SandboxConfig, Security};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use trireme_proto::api::core::v1::{Container, Pod, PodSpec, Volume};

/// The longest host name, in bytes.
const HOSTNAME_MAX_BYTES: usize = 63;
/// The kernel's preference for killing a container of a pod with no bounds at all.
const OOM_SCORE_BEST_EFFORT: i64 = 1000;
/// The same for a pod whose bounds equal its requests.
const OOM_SCORE_GUARANTEED: i64 = -997;
/// The range between them.
const OOM_SCORE_BURSTABLE_MIN: i64 = 3;
const OOM_SCORE_BURSTABLE_MAX: i64 = 999;
/// Name servers used for pods that want the host's.
const HOST_POLICIES: [&str; 3] = ["", "Default", "ClusterFirst"];

/// The pod's specification; objects without one are an empty pod.
pub(crate) fn spec_of(pod: &Pod) -> &PodSpec {
    static EMPTY: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// What the pod's next sandbox is made of.
pub(crate) fn sandbox_config(input: &Input<'_>, pod: &Pod, attempt: u32) -> SandboxConfig {
    let spec = spec_of(pod);
    let containers = spec.containers.iter().chain(&spec.init_containers);
    let is_privileged = |container: &Container| {
        container
            .security_context
            .as_ref()
            .and_then(|security| security.privileged)
            .unwrap_or(false)
    };
    let sysctls = spec.security_context.iter().flat_map(|security| &security.sysctls);
    SandboxConfig {
        pod: input.identity.clone(),
        attempt,
        hostname: hostname(spec, &input.identity.name),
        host_network: spec.host_network,
        host_pid: spec.host_pid,
        host_ipc: spec.host_ipc,
        shared_pid: spec.share_process_namespace.unwrap_or(false),
        privileged: containers.clone().any(is_privileged),
        // The uid was taken from the runtime's labels or from the API, which both hold plain names.
        log_directory: input.node.layout.pod_logs(&input.identity.uid).unwrap_or_default(),
        dns: dns(spec),
        ports: if spec.host_network {
            Vec::new()
        } else {
            spec.containers.iter().flat_map(host_ports).collect()
        },
        sysctls: sysctls
            .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
            .collect(),
    }
}

/// The pod's host name.
pub(crate) fn hostname(spec: &PodSpec, pod_name: &str) -> String {
    let name = if spec.hostname.is_empty() {
        pod_name
    } else {
        &spec.hostname
    };
    let end = name.len().min(HOSTNAME_MAX_BYTES);
    name.get(..end).unwrap_or(name).trim_end_matches(['-', '.']).to_owned()
}

fn dns(spec: &PodSpec) -> DnsConfig {
    let mut dns = DnsConfig::default();
    let uses_own = !HOST_POLICIES.contains(&spec.dns_policy.as_str()) || spec.dns_config.is_some();
    if let Some(config) = spec.dns_config.as_ref().filter(|_| uses_own) {
        dns.servers.clone_from(&config.nameservers);
        dns.searches.clone_from(&config.searches);
        dns.options = config
            .options
            .iter()
            .map(|option| match option.value.as_deref().unwrap_or_default() {
                "" => option.name.clone(),
                value => format!("{}:{value}", option.name),
            })
            .collect();
    }
    dns
}

fn host_ports(container: &Container) -> Vec<PortMapping> {
    let mapped = container.ports.iter().filter(|port| port.host_port > 0);
    mapped
        .filter_map(|port| {
            Some(PortMapping {
                protocol: if port.protocol.is_empty() {
                    "TCP".to_owned()
                } else {
                    port.protocol.clone()
                },
                container_port: u16::try_from(port.container_port).ok()?,
                host_port: u16::try_from(port.host_port).ok()?,
                host_ip: port.host_ip.clone(),
            })
        })
        .collect()
}

/// What the next run of a container is made of.
pub(crate) fn container_config(
    input: &Input<'_>,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    pod_addresses: &[IpAddr],
) -> Result<ContainerConfig, ConfigProblem> {
    let context = Context {
        pod,
        references: input.references,
        node: input.node,
        pod_addresses,
    };
    let environment = env::resolve(&context, container)?;
    let known: BTreeMap<String, String> = environment.iter().cloned().collect();
    let expand_all = |words: &[String]| -> Result<Vec<String>, ConfigProblem> {
        words.iter().map(|word| env::expand(word, &known)).collect()
    };
    Ok(ContainerConfig {
        name: container.name.clone(),
        attempt,
        image: container.image.clone(),
        command: expand_all(&container.command)?,
        args: expand_all(&container.args)?,
        working_dir: container.working_dir.clone(),
        env: environment,
        mounts: mounts(input, spec_of(pod), container, &known)?,
        resources: resources(input, pod, container),
        security: security(pod, container)?,
        tty: container.tty,
        stdin: container.stdin,
    })
}

fn mounts(
    input: &Input<'_>,
    spec: &PodSpec,
    container: &Container,
    known: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, ConfigProblem> {
    let mut mounts = Vec::with_capacity(container.volume_mounts.len());
    for mount in &container.volume_mounts {
        let volume = spec.volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| ConfigProblem(format!("volume {:?} is not defined", mount.name)))?;
        let sub_path = if mount.sub_path_expr.is_empty() {
            mount.sub_path.clone()
        } else {
            env::expand(&mount.sub_path_expr, known)?
        };
        // Checked as text here; links are checked when the mount is made.
        crate::paths::join_relative(Path::new("/"), Path::new(&sub_path))
            .map_err(|error| ConfigProblem(format!("subPath of volume {:?}: {error}", mount.name)))?;
        mounts.push(Mount {
            volume: mount.name.clone(),
            container_path: mount.mount_path.clone(),
            host_path: volume_path(input, volume)?,
            sub_path: PathBuf::from(sub_path),
            read_only: mount.read_only || is_projection(volume),
        });
    }
    let has_own_hosts = mounts.iter().any(|mount| mount.container_path == hosts::CONTAINER_PATH);
    if input.node.isolates_files() && !has_own_hosts {
        mounts.push(hosts_mount(input)?);
    }
    Ok(mounts)
}

/// The file with the pod's names, which all its containers share.
fn hosts_mount(input: &Input<'_>) -> Result<Mount, ConfigProblem> {
    let unsafe_name = |error: crate::paths::UnsafePath| ConfigProblem(error.to_string());
    let pod = input.node.layout.pod(&input.identity.uid).map_err(unsafe_name)?;
    Ok(Mount {
        volume: hosts::FILE_NAME.to_owned(),
        container_path: hosts::CONTAINER_PATH.to_owned(),
        host_path: pod.join(hosts::FILE_NAME),
        sub_path: PathBuf::new(),
        read_only: false,
    })
}

/// Where a volume lies on the host.
fn volume_path(input: &Input<'_>, volume: &Volume) -> Result<PathBuf, ConfigProblem> {
    let source = volume.volume_source.as_ref();
    if let Some(host) = source.and_then(|source| source.host_path.as_ref()) {
        return Ok(PathBuf::from(&host.path));
    }
    let unsafe_name = |error: crate::paths::UnsafePath| ConfigProblem(error.to_string());
    let pod = input.node.layout.pod(&input.identity.uid).map_err(unsafe_name)?;
    join_component(&pod.join("volumes"), &volume.name).map_err(unsafe_name)
}

fn is_projection(volume: &Volume) -> bool {
    volume.volume_source.as_ref().is_some_and(|source| {
        source.config_map.is_some()
            || source.secret.is_some()
            || source.downward_api.is_some()
            || source.projected.is_some()
    })
}

fn resources(input: &Input<'_>, pod: &Pod, container: &Container) -> Resources {
    let requirements = container.resources.clone().unwrap_or_default();
    let cpu = |quantity| quantity_value(quantity).and_then(|value| i64::try_from(value).ok());
    let bytes = |quantity| quantity_value(quantity).and_then(|value| i64::try_from(value / 1_000).ok());
    let memory_request = requirements.requests.get("memory").and_then(bytes).unwrap_or(0);
    Resources {
        cpu_request_millis: requirements.requests.get("cpu").and_then(cpu).unwrap_or(0),
        cpu_limit_millis: requirements.limits.get("cpu").and_then(cpu).unwrap_or(0),
        memory_limit_bytes: requirements.limits.get("memory").and_then(bytes).unwrap_or(0),
        oom_score_adjustment: match super::status::qos_class(spec_of(pod)) {
            "Guaranteed" => OOM_SCORE_GUARANTEED,
            "Burstable" => burstable_score(memory_request, input.node.memory_bytes),
            _ => OOM_SCORE_BEST_EFFORT,
        },
    }
}

/// The more memory was asked for, the later a container is killed.
fn burstable_score(memory_request: i64, node_memory: i64) -> i64 {
    let share = if node_memory > 0 {
        memory_request.saturating_mul(1000) / node_memory
    } else {
        0
    };
    (1000 - share).clamp(OOM_SCORE_BURSTABLE_MIN, OOM_SCORE_BURSTABLE_MAX)
}

fn security(pod: &Pod, container: &Container) -> Result<Security, ConfigProblem> {
    let of_pod = spec_of(pod).security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let run_as_user = own.run_as_user.or(of_pod.run_as_user);
    let must_not_be_root = own.run_as_non_root.or(of_pod.run_as_non_root).unwrap_or(false);
    if must_not_be_root && run_as_user == Some(0) {
        return Err(ConfigProblem(
            "container has runAsNonRoot and would run as root".to_owned(),
        ));
    }
    if must_not_be_root && run_as_user.is_none() {
        return Err(ConfigProblem(
            "container has runAsNonRoot, and neither it nor its pod sets runAsUser".to_owned(),
        ));
    }
    let capabilities = own.capabilities.unwrap_or_default();
    let mut supplemental_groups = of_pod.supplemental_groups;
    supplemental_groups.extend(of_pod.fs_group);
    Ok(Security {
        privileged: own.privileged.unwrap_or(false),
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        run_as_user,
        run_as_group: own.run_as_group.or(of_pod.run_as_group),
        supplemental_groups,
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        capabilities_add: capabilities.add,
        capabilities_drop: capabilities.drop,
    })
}

/// When to fetch the container's image.
pub(crate) fn pull_policy(container: &Container) -> PullPolicy {
    match container.image_pull_policy.as_str() {
        "Always" => PullPolicy::Always,
        "Never" => PullPolicy::Never,
        "" if crate::image::is_latest(&container.image) => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}
