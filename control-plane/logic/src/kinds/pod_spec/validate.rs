//! Checks of the pod spec as a whole.
//!
//! Fields of containers and volumes are checked in files of their own; here stand the rules that bind
//! them together: unique names, host ports, and the policies of the pod.

use std::collections::BTreeSet;

use trireme_proto::api::core::v1::{Container, PodSpec, PodTemplateSpec};

use super::{
    scheduling, tolerations,
    validate_container::{self, Role},
    validate_volume,
};
use crate::{
    field_error::FieldErrors,
    validation::{in_range, labels, metadata, names, not_negative, one_of, report},
};

/// Checks a pod spec. The path is that of the spec.
pub fn validate(spec: &PodSpec, errors: &mut FieldErrors) {
    let volumes = errors_in(errors, "volumes", |errors| {
        validate_volume::volumes(&spec.volumes, errors)
    });
    containers(spec, &volumes, errors);
    policies(spec, errors);
    references(spec, errors);
    errors.field("nodeSelector", |errors| labels::labels(&spec.node_selector, errors));
    errors.field("tolerations", |errors| tolerations::validate(&spec.tolerations, errors));
    if let Some(affinity) = &spec.affinity {
        errors.field("affinity", |errors| scheduling::affinity(affinity, errors));
    }
    errors.field("topologySpreadConstraints", |errors| {
        scheduling::spread(&spec.topology_spread_constraints, errors);
    });
    host_ports(spec, errors);
}

/// Checks a template of pods. The path is that of the template.
pub fn validate_template(template: &PodTemplateSpec, errors: &mut FieldErrors) {
    let meta = template.metadata.clone().unwrap_or_default();
    errors.field("metadata", |errors| {
        errors.field("labels", |errors| labels::labels(&meta.labels, errors));
        errors.field("annotations", |errors| metadata::annotations(&meta.annotations, errors));
    });
    let spec = template.spec.clone().unwrap_or_default();
    errors.field("spec", |errors| {
        validate(&spec, errors);
        if !spec.ephemeral_containers.is_empty() {
            errors.field("ephemeralContainers", |errors| {
                errors.forbidden("ephemeral containers not allowed in pod template");
            });
        }
    });
}

fn containers(spec: &PodSpec, volumes: &BTreeSet<&str>, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    let mut list = |containers: &[Container], role_of: fn(&Container) -> Role, errors: &mut FieldErrors| {
        for (index, container) in containers.iter().enumerate() {
            errors.index(index, |errors| {
                validate_container::container(container, role_of(container), volumes, spec.host_network, errors);
                if !container.name.is_empty() && !seen.insert(container.name.clone()) {
                    errors.field("name", |errors| errors.duplicate(&container.name));
                }
            });
        }
    };
    errors.field("containers", |errors| {
        if spec.containers.is_empty() {
            errors.required("");
        }
        list(&spec.containers, |_| Role::Main, errors);
    });
    errors.field("initContainers", |errors| {
        list(&spec.init_containers, Role::of_init, errors);
    });
}

fn policies(spec: &PodSpec, errors: &mut FieldErrors) {
    errors.field("restartPolicy", |errors| {
        one_of(&spec.restart_policy, &["Always", "OnFailure", "Never"], errors);
    });
    errors.field("dnsPolicy", |errors| {
        one_of(
            &spec.dns_policy,
            &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
            errors,
        );
    });
    let nameservers = spec.dns_config.as_ref().map_or(0, |config| config.nameservers.len());
    if spec.dns_policy == "None" && nameservers == 0 {
        errors.field("dnsConfig", |errors| {
            errors.required("must provide at least one DNS nameserver when `dnsPolicy` is None");
        });
    }
    if let Some(seconds) = spec.termination_grace_period_seconds {
        errors.field("terminationGracePeriodSeconds", |errors| not_negative(seconds, errors));
    }
    if let Some(seconds) = spec.active_deadline_seconds {
        errors.field("activeDeadlineSeconds", |errors| {
            in_range(seconds, 1, i64::from(i32::MAX), errors);
        });
    }
    if let Some(policy) = &spec.preemption_policy {
        errors.field("preemptionPolicy", |errors| {
            one_of(policy, &["PreemptLowerPriority", "Never"], errors);
        });
    }
    if let Some(context) = &spec.security_context {
        errors.field("securityContext", |errors| {
            for (field, id) in [
                ("runAsUser", context.run_as_user),
                ("runAsGroup", context.run_as_group),
                ("fsGroup", context.fs_group),
            ] {
                if let Some(id) = id {
                    errors.field(field, |errors| in_range(id, 0, i64::from(i32::MAX), errors));
                }
            }
        });
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid {
        errors.field("shareProcessNamespace", |errors| {
            errors.invalid(true, "ShareProcessNamespace and HostPID cannot both be enabled");
        });
    }
}

/// Names of other things: each is checked only if it is given.
fn references(spec: &PodSpec, errors: &mut FieldErrors) {
    type Rule = fn(&str) -> Vec<String>;
    let rules: [(&str, &str, Rule); 6] = [
        ("nodeName", &spec.node_name, names::dns_subdomain),
        ("serviceAccountName", &spec.service_account_name, names::dns_subdomain),
        ("hostname", &spec.hostname, names::dns_label),
        ("subdomain", &spec.subdomain, names::dns_label),
        ("priorityClassName", &spec.priority_class_name, names::dns_subdomain),
        ("schedulerName", &spec.scheduler_name, names::dns_subdomain),
    ];
    for (field, value, rule) in rules {
        if !value.is_empty() {
            errors.field(field, |errors| report(value, rule(value), errors));
        }
    }
    if let Some(name) = &spec.runtime_class_name {
        errors.field("runtimeClassName", |errors| {
            report(name, names::dns_subdomain(name), errors);
        });
    }
    errors.field("hostAliases", |errors| {
        for (index, alias) in spec.host_aliases.iter().enumerate() {
            errors.index(index, |errors| {
                errors.field("ip", |errors| report(&alias.ip, names::ip_address(&alias.ip), errors));
                errors.field("hostnames", |errors| {
                    for (index, name) in alias.hostnames.iter().enumerate() {
                        errors.index(index, |errors| report(name, names::dns_subdomain(name), errors));
                    }
                });
            });
        }
    });
    errors.field("schedulingGates", |errors| {
        for (index, gate) in spec.scheduling_gates.iter().enumerate() {
            errors.index(index, |errors| {
                report(&gate.name, names::qualified_name(&gate.name), errors);
            });
        }
    });
    errors.field("readinessGates", |errors| {
        for (index, gate) in spec.readiness_gates.iter().enumerate() {
            errors.index(index, |errors| {
                errors.field("conditionType", |errors| {
                    report(
                        &gate.condition_type,
                        names::qualified_name(&gate.condition_type),
                        errors,
                    );
                });
            });
        }
    });
}

/// A host port can be had once in a pod for each address and protocol.
fn host_ports(spec: &PodSpec, errors: &mut FieldErrors) {
    let mut taken = BTreeSet::new();
    errors.field("containers", |errors| {
        for (index, container) in spec.containers.iter().enumerate() {
            for (port_index, port) in container.ports.iter().enumerate() {
                let place = format!("{}/{}/{}", port.protocol, port.host_ip, port.host_port);
                if port.host_port != 0 && !taken.insert(place.clone()) {
                    errors.index(index, |errors| {
                        errors.field("ports", |errors| {
                            errors.index(port_index, |errors| {
                                errors.field("hostPort", |errors| errors.duplicate(&place));
                            });
                        });
                    });
                }
            }
        }
    });
}

/// Runs a check that also finds something out.
fn errors_in<'a, T: Default>(
    errors: &mut FieldErrors,
    field: &str,
    check: impl FnOnce(&mut FieldErrors) -> T + 'a,
) -> T {
    let mut found = T::default();
    errors.field(field, |errors| found = check(errors));
    found
}
