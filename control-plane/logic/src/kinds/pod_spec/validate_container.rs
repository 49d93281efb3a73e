//! Checks of one container.

use std::collections::BTreeSet;

use trireme_proto::api::{
    core::v1::{
        Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource, HttpGetAction, LifecycleHandler, Probe,
        TcpSocketAction, VolumeMount,
    },
    meta::v1::IntOrString,
};

use crate::{
    field_error::FieldErrors,
    validation::{in_range, int_or_string, names, not_negative, one_of, quantities, report},
};

/// What a container is for, which decides what it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One of the pod's containers.
    Main,
    /// Runs to its end before the others start.
    Init,
    /// Starts before the others and goes on beside them.
    Sidecar,
}

impl Role {
    /// The role of one of the init containers.
    pub(super) fn of_init(container: &Container) -> Self {
        if container.restart_policy.as_deref() == Some("Always") {
            Self::Sidecar
        } else {
            Self::Init
        }
    }
}

/// Fields of a pod that a container may read of itself.
const FIELD_PATHS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.podIP",
    "status.hostIPs",
    "status.podIPs",
];

/// Checks a container. `volumes` are the names of the pod's volumes.
pub(super) fn container(
    container: &Container,
    role: Role,
    volumes: &BTreeSet<&str>,
    host_network: bool,
    errors: &mut FieldErrors,
) {
    errors.field("name", |errors| match container.name.as_str() {
        "" => errors.required(""),
        name => report(name, names::dns_label(name), errors),
    });
    errors.field("image", |errors| match container.image.as_str() {
        "" => errors.required(""),
        image if image.trim() != image => errors.invalid(image, "must not have leading or trailing whitespace"),
        _ => {}
    });
    errors.field("imagePullPolicy", |errors| {
        one_of(
            &container.image_pull_policy,
            &["Always", "IfNotPresent", "Never"],
            errors,
        );
    });
    errors.field("terminationMessagePolicy", |errors| {
        one_of(
            &container.termination_message_policy,
            &["File", "FallbackToLogsOnError"],
            errors,
        );
    });
    errors.field("ports", |errors| ports(&container.ports, host_network, errors));
    errors.field("env", |errors| env(&container.env, errors));
    errors.field("envFrom", |errors| env_from(&container.env_from, errors));
    errors.field("volumeMounts", |errors| {
        mounts(&container.volume_mounts, volumes, errors);
    });
    errors.field("resources", |errors| {
        container
            .resources
            .iter()
            .for_each(|resources| quantities::requirements(resources, errors));
    });
    life(container, role, errors);
    if let Some(context) = &container.security_context {
        errors.field("securityContext", |errors| {
            for (field, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
                if let Some(id) = id {
                    errors.field(field, |errors| in_range(id, 0, i64::from(i32::MAX), errors));
                }
            }
            if context.privileged == Some(true) && context.allow_privilege_escalation == Some(false) {
                errors.field("allowPrivilegeEscalation", |errors| {
                    errors.invalid(
                        false,
                        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
                    );
                });
            }
        });
    }
}

/// What runs the container's life: its restart policy, probes and hooks.
fn life(container: &Container, role: Role, errors: &mut FieldErrors) {
    if let Some(policy) = &container.restart_policy {
        errors.field("restartPolicy", |errors| match role {
            Role::Main => one_of(policy, &["Always", "OnFailure", "Never"], errors),
            Role::Init | Role::Sidecar => one_of(policy, &["Always", "Never", "OnFailure"], errors),
        });
    }
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    for (field, probe) in probes {
        let Some(probe) = probe else { continue };
        errors.field(field, |errors| {
            if role == Role::Init {
                errors.forbidden("may not be set for init containers without restartPolicy=Always");
                return;
            }
            validate_probe(probe, errors);
            if field != "readinessProbe" && probe.success_threshold != 1 {
                errors.field("successThreshold", |errors| {
                    errors.invalid(probe.success_threshold, "must be 1");
                });
            }
        });
    }
    let Some(lifecycle) = &container.lifecycle else { return };
    errors.field("lifecycle", |errors| {
        if role == Role::Init {
            errors.forbidden("may not be set for init containers without restartPolicy=Always");
            return;
        }
        for (field, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
            if let Some(handler) = handler {
                errors.field(field, |errors| lifecycle_handler(handler, errors));
            }
        }
    });
}

fn ports(ports: &[ContainerPort], host_network: bool, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        errors.index(index, |errors| {
            if !port.name.is_empty() {
                errors.field("name", |errors| {
                    report(&port.name, names::port_name(&port.name), errors);
                    if !seen.insert(&port.name) {
                        errors.duplicate(&port.name);
                    }
                });
            }
            errors.field("containerPort", |errors| match port.container_port {
                0 => errors.required(""),
                number => port_number(number, errors),
            });
            errors.field("hostPort", |errors| match port.host_port {
                0 => {}
                number if host_network && number != port.container_port => {
                    errors.invalid(number, "must match `containerPort` when `hostNetwork` is true");
                }
                number => port_number(number, errors),
            });
            errors.field("protocol", |errors| {
                one_of(&port.protocol, &["SCTP", "TCP", "UDP"], errors);
            });
            if !port.host_ip.is_empty() {
                errors.field("hostIP", |errors| {
                    report(&port.host_ip, names::ip_address(&port.host_ip), errors);
                });
            }
        });
    }
}

fn env(variables: &[EnvVar], errors: &mut FieldErrors) {
    for (index, variable) in variables.iter().enumerate() {
        errors.index(index, |errors| {
            errors.field("name", |errors| match variable.name.as_str() {
                "" => errors.required(""),
                name => report(name, names::env_name(name), errors),
            });
            let Some(source) = &variable.value_from else { return };
            errors.field("valueFrom", |errors| {
                if !variable.value.is_empty() {
                    errors.invalid("", "may not be specified when `value` is not empty");
                }
                env_source(source, errors);
            });
        });
    }
}

fn env_source(source: &EnvVarSource, errors: &mut FieldErrors) {
    let given = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
        source.file_key_ref.is_some(),
    ];
    exactly_one(
        &given,
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        errors,
    );
    if let Some(field) = &source.field_ref {
        errors.field("fieldRef.fieldPath", |errors| match field.field_path.as_str() {
            "" => errors.required(""),
            path if FIELD_PATHS.contains(&path) => {}
            path if path.starts_with("metadata.labels['") || path.starts_with("metadata.annotations['") => {}
            path => errors.not_supported(path, FIELD_PATHS),
        });
    }
    let keys = [
        (
            "configMapKeyRef",
            source
                .config_map_key_ref
                .as_ref()
                .map(|from| (&from.local_object_reference, &from.key)),
        ),
        (
            "secretKeyRef",
            source
                .secret_key_ref
                .as_ref()
                .map(|from| (&from.local_object_reference, &from.key)),
        ),
    ];
    for (field, from) in keys {
        let Some((reference, key)) = from else { continue };
        errors.field(field, |errors| {
            if reference.as_ref().is_none_or(|reference| reference.name.is_empty()) {
                errors.field("name", |errors| errors.required(""));
            }
            errors.field("key", |errors| match key.as_str() {
                "" => errors.required(""),
                key => report(key, names::data_key(key), errors),
            });
        });
    }
}

fn env_from(sources: &[EnvFromSource], errors: &mut FieldErrors) {
    for (index, source) in sources.iter().enumerate() {
        errors.index(index, |errors| {
            if !source.prefix.is_empty() {
                errors.field("prefix", |errors| {
                    report(&source.prefix, names::env_name(&source.prefix), errors);
                });
            }
            let given = [source.config_map_ref.is_some(), source.secret_ref.is_some()];
            exactly_one(&given, "must specify one of: `configMapRef` or `secretRef`", errors);
            let names = [
                (
                    "configMapRef",
                    source.config_map_ref.as_ref().map(|from| &from.local_object_reference),
                ),
                (
                    "secretRef",
                    source.secret_ref.as_ref().map(|from| &from.local_object_reference),
                ),
            ];
            for (field, reference) in names {
                let Some(reference) = reference else { continue };
                if reference.as_ref().is_none_or(|reference| reference.name.is_empty()) {
                    errors.field(field, |errors| errors.field("name", |errors| errors.required("")));
                }
            }
        });
    }
}

fn mounts(mounts: &[VolumeMount], volumes: &BTreeSet<&str>, errors: &mut FieldErrors) {
    let mut paths = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        errors.index(index, |errors| {
            errors.field("name", |errors| match mount.name.as_str() {
                "" => errors.required(""),
                name if !volumes.contains(name) => errors.not_found(name),
                _ => {}
            });
            errors.field("mountPath", |errors| match mount.mount_path.as_str() {
                "" => errors.required(""),
                path if !paths.insert(path) => errors.invalid(path, "must be unique"),
                _ => {}
            });
            for (field, path) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
                if path.starts_with('/') {
                    errors.field(field, |errors| errors.invalid(path, "must be a relative path"));
                }
                if path.split('/').any(|segment| segment == "..") {
                    errors.field(field, |errors| errors.invalid(path, "must not contain '..'"));
                }
            }
            if !mount.sub_path.is_empty() && !mount.sub_path_expr.is_empty() {
                errors.field("subPathExpr", |errors| {
                    errors.invalid(&mount.sub_path_expr, "subPathExpr and subPath are mutually exclusive");
                });
            }
        });
    }
}

fn validate_probe(probe: &Probe, errors: &mut FieldErrors) {
    let handler = probe.handler.clone().unwrap_or_default();
    handlers(
        handler.exec.as_ref().map(|exec| &exec.command),
        handler.http_get.as_ref(),
        handler.tcp_socket.as_ref(),
        errors,
    );
    if let Some(grpc) = &handler.grpc {
        errors.field("grpc.port", |errors| port_number(grpc.port, errors));
    }
    let given = [
        handler.exec.is_some(),
        handler.http_get.is_some(),
        handler.tcp_socket.is_some(),
        handler.grpc.is_some(),
    ];
    one_handler(&given, errors);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        errors.field(field, |errors| not_negative(value.into(), errors));
    }
}

fn lifecycle_handler(handler: &LifecycleHandler, errors: &mut FieldErrors) {
    handlers(
        handler.exec.as_ref().map(|exec| &exec.command),
        handler.http_get.as_ref(),
        handler.tcp_socket.as_ref(),
        errors,
    );
    let given = [
        handler.exec.is_some(),
        handler.http_get.is_some(),
        handler.tcp_socket.is_some(),
        handler.sleep.is_some(),
    ];
    one_handler(&given, errors);
}

/// What probes and hooks have alike.
fn handlers(
    command: Option<&Vec<String>>,
    http: Option<&HttpGetAction>,
    tcp: Option<&TcpSocketAction>,
    errors: &mut FieldErrors,
) {
    if command.is_some_and(Vec::is_empty) {
        errors.field("exec.command", |errors| errors.required(""));
    }
    if let Some(http) = http {
        errors.field("httpGet", |errors| {
            if http.path.is_empty() {
                errors.field("path", |errors| errors.required(""));
            }
            errors.field("port", |errors| port_or_name(http.port.as_ref(), errors));
            errors.field("scheme", |errors| one_of(&http.scheme, &["HTTP", "HTTPS"], errors));
        });
    }
    if let Some(tcp) = tcp {
        errors.field("tcpSocket.port", |errors| port_or_name(tcp.port.as_ref(), errors));
    }
}

/// Checks a port that is a number or the name of one.
fn port_or_name(port: Option<&IntOrString>, errors: &mut FieldErrors) {
    match int_or_string(port) {
        Ok(number) => port_number(number, errors),
        Err(name) => report(name, names::port_name(name), errors),
    }
}

fn port_number(number: i32, errors: &mut FieldErrors) {
    for complaint in names::port_number(number.into()) {
        errors.invalid(number, complaint);
    }
}

fn exactly_one(given: &[bool], none: &str, errors: &mut FieldErrors) {
    match given.iter().filter(|given| **given).count() {
        0 => errors.invalid("", none),
        1 => {}
        _ => errors.invalid("", "may not have more than one field specified at a time"),
    }
}

fn one_handler(given: &[bool], errors: &mut FieldErrors) {
    match given.iter().filter(|given| **given).count() {
        0 => errors.required("must specify a handler type"),
        1 => {}
        _ => errors.forbidden("may not specify more than 1 handler type"),
    }
}
