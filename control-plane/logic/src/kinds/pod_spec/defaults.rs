//! What a pod spec is filled up with. Idempotent.
//!
//! Messages that JSON always writes, even empty, are always there after defaulting. So a spec that a client
//! read and sends back unchanged is equal to the stored one.

use trireme_proto::api::core::v1::{
    Affinity, Container, DownwardApiVolumeFile, EmptyDirVolumeSource, HttpGetAction, LifecycleHandler,
    ObjectFieldSelector, PodSpec, Probe, ProbeHandler, TcpSocketAction, Volume, VolumeProjection, VolumeSource,
};

use super::images::default_pull_policy;
use crate::limits;

/// Permissions of files of secrets, configuration and the like: rw-r--r--.
const DEFAULT_FILE_MODE: i32 = 0o644;
/// How long a projected token is good, in seconds.
const DEFAULT_TOKEN_EXPIRATION_SECONDS: i64 = 3600;

/// Defaults of every pod spec, in pods and in templates.
pub fn set_defaults(spec: &mut PodSpec) {
    default_text(&mut spec.dns_policy, "ClusterFirst");
    default_text(&mut spec.restart_policy, "Always");
    default_text(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds
        .get_or_insert(limits::DEFAULT_TERMINATION_GRACE_PERIOD_SECONDS);
    // Two names of one field; the older one mirrors the newer.
    if spec.service_account_name.is_empty() {
        spec.service_account_name.clone_from(&spec.service_account);
    }
    spec.service_account.clone_from(&spec.service_account_name);
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        container_defaults(container);
    }
    if spec.host_network {
        default_host_ports(spec);
    }
    for volume in &mut spec.volumes {
        volume_defaults(volume);
    }
    if let Some(affinity) = &mut spec.affinity {
        affinity_defaults(affinity);
    }
    for container in &mut spec.ephemeral_containers {
        container
            .ephemeral_container_common
            .get_or_insert_default()
            .resources
            .get_or_insert_default();
    }
}

/// Defaults that only pods get, never templates: changing them later must not change a template's hash.
pub fn set_pod_defaults(spec: &mut PodSpec) {
    spec.enable_service_links.get_or_insert(true);
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        let Some(resources) = &mut container.resources else {
            continue;
        };
        for (name, limit) in &resources.limits {
            resources.requests.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
}

fn container_defaults(container: &mut Container) {
    container.resources.get_or_insert_default();
    if container.image_pull_policy.is_empty() {
        container.image_pull_policy = default_pull_policy(&container.image).into();
    }
    default_text(&mut container.termination_message_path, "/dev/termination-log");
    default_text(&mut container.termination_message_policy, "File");
    for port in &mut container.ports {
        default_text(&mut port.protocol, "TCP");
    }
    for variable in &mut container.env {
        if let Some(field) = variable.value_from.as_mut().and_then(|from| from.field_ref.as_mut()) {
            field_ref_defaults(field);
        }
    }
    let probes = [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ];
    for probe in probes.into_iter().flatten() {
        probe_defaults(probe);
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop]
            .into_iter()
            .flatten()
        {
            let LifecycleHandler {
                http_get, tcp_socket, ..
            } = handler;
            http_get.iter_mut().for_each(http_get_defaults);
            tcp_socket.iter_mut().for_each(tcp_socket_defaults);
        }
    }
}

fn probe_defaults(probe: &mut Probe) {
    for (value, default) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if *value == 0 {
            *value = default;
        }
    }
    if let Some(ProbeHandler {
        http_get,
        tcp_socket,
        grpc,
        ..
    }) = &mut probe.handler
    {
        http_get.iter_mut().for_each(http_get_defaults);
        tcp_socket.iter_mut().for_each(tcp_socket_defaults);
        if let Some(grpc) = grpc {
            grpc.service.get_or_insert_default();
        }
    }
}

fn http_get_defaults(action: &mut HttpGetAction) {
    default_text(&mut action.path, "/");
    default_text(&mut action.scheme, "HTTP");
    action.port.get_or_insert_default();
}

fn tcp_socket_defaults(action: &mut TcpSocketAction) {
    action.port.get_or_insert_default();
}

fn affinity_defaults(affinity: &mut Affinity) {
    for term in affinity
        .node_affinity
        .iter_mut()
        .flat_map(|nodes| &mut nodes.preferred_during_scheduling_ignored_during_execution)
    {
        term.preference.get_or_insert_default();
    }
    let near = affinity
        .pod_affinity
        .iter_mut()
        .flat_map(|pods| &mut pods.preferred_during_scheduling_ignored_during_execution);
    let apart = affinity
        .pod_anti_affinity
        .iter_mut()
        .flat_map(|pods| &mut pods.preferred_during_scheduling_ignored_during_execution);
    for term in near.chain(apart) {
        term.pod_affinity_term.get_or_insert_default();
    }
}

fn field_ref_defaults(field: &mut ObjectFieldSelector) {
    default_text(&mut field.api_version, "v1");
}

/// On the host's network a container's port is the host's.
fn default_host_ports(spec: &mut PodSpec) {
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        for port in &mut container.ports {
            if port.host_port == 0 {
                port.host_port = port.container_port;
            }
        }
    }
}

fn volume_defaults(volume: &mut Volume) {
    let source = volume.volume_source.get_or_insert_default();
    if *source == VolumeSource::default() {
        source.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(secret) = &mut source.secret {
        secret.default_mode.get_or_insert(DEFAULT_FILE_MODE);
    }
    if let Some(config_map) = &mut source.config_map {
        config_map.default_mode.get_or_insert(DEFAULT_FILE_MODE);
    }
    if let Some(downward) = &mut source.downward_api {
        downward.default_mode.get_or_insert(DEFAULT_FILE_MODE);
        downward.items.iter_mut().for_each(downward_file_defaults);
    }
    if let Some(host_path) = &mut source.host_path {
        host_path.r#type.get_or_insert_default();
    }
    if let Some(projected) = &mut source.projected {
        projected.default_mode.get_or_insert(DEFAULT_FILE_MODE);
        projected.sources.iter_mut().for_each(projection_defaults);
    }
    if let Some(claim) = source
        .ephemeral
        .as_mut()
        .and_then(|ephemeral| ephemeral.volume_claim_template.as_mut())
    {
        claim.metadata.get_or_insert_default();
        claim.spec.get_or_insert_default().resources.get_or_insert_default();
    }
    if let Some(image) = &mut source.image
        && image.pull_policy.is_empty()
    {
        image.pull_policy = default_pull_policy(&image.reference).into();
    }
}

fn projection_defaults(projection: &mut VolumeProjection) {
    if let Some(token) = &mut projection.service_account_token {
        token.expiration_seconds.get_or_insert(DEFAULT_TOKEN_EXPIRATION_SECONDS);
    }
    if let Some(downward) = &mut projection.downward_api {
        downward.items.iter_mut().for_each(downward_file_defaults);
    }
}

fn downward_file_defaults(file: &mut DownwardApiVolumeFile) {
    file.field_ref.iter_mut().for_each(field_ref_defaults);
}

fn default_text(value: &mut String, default: &str) {
    if value.is_empty() {
        *value = default.into();
    }
}
