//! IngressClasses: which controller serves which ingresses.

use trireme_proto::api::{
    meta::v1::Time,
    networking::v1::{IngressClass, IngressClassParametersReference},
};

use super::{
    bump_generation,
    columns::{AGE, NONE, age, column},
    first_generation,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{names, report, unchanged},
};

impl Kind for IngressClass {
    const INFO: KindInfo = KindInfo {
        group: "networking.k8s.io",
        version: "v1",
        kind: "IngressClass",
        plural: "ingressclasses",
        singular: "ingressclass",
        short_names: &[],
        categories: &[],
        namespaced: false,
        subresources: &[],
        columns: &[
            column("Controller", "The controller that serves the class."),
            column("Parameters", "The object with further settings."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        if let Some(parameters) = &mut self.spec.get_or_insert_default().parameters {
            parameters.scope.get_or_insert_with(|| "Cluster".into());
        }
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
    }

    fn prepare_update(&mut self, old: &Self) {
        bump_generation(&mut self.metadata, self.spec != old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| {
            errors.field("controller", |errors| validate_controller(&spec.controller, errors));
            if let Some(parameters) = &spec.parameters {
                errors.field("parameters", |errors| validate_parameters(parameters, errors));
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let controller = |class: &Self| {
            class
                .spec
                .as_ref()
                .map(|spec| spec.controller.clone())
                .unwrap_or_default()
        };
        errors.field("spec.controller", |errors| {
            unchanged(&controller(self), &controller(old), errors);
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let spec = self.spec.clone().unwrap_or_default();
        let parameters = spec.parameters.as_ref().map(|parameters| {
            let group = parameters.api_group.as_ref().map(|group| format!(".{group}"));
            format!("{}{}/{}", parameters.kind, group.unwrap_or_default(), parameters.name)
        });
        vec![
            spec.controller,
            parameters.unwrap_or_else(|| NONE.into()),
            age(metadata_of(self), now),
        ]
    }
}

/// A domain, a slash, and characters that may stand in the path of a URL.
fn validate_controller(controller: &str, errors: &mut FieldErrors) {
    if controller.is_empty() {
        return errors.required("");
    }
    if controller.len() > limits::INGRESS_CONTROLLER_BYTES {
        errors.too_long(limits::INGRESS_CONTROLLER_BYTES);
    }
    let Some((host, path)) = controller
        .split_once('/')
        .filter(|(host, path)| !host.is_empty() && !path.is_empty())
    else {
        return errors.invalid(controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    };
    report(host, names::dns_subdomain(host), errors);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || br"/-._~%!$&'()*+,;=:".contains(&byte);
    if !path.bytes().all(allowed) {
        errors.invalid(
            path,
            r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')",
        );
    }
}

fn validate_parameters(parameters: &IngressClassParametersReference, errors: &mut FieldErrors) {
    if let Some(group) = &parameters.api_group {
        errors.field("apiGroup", |errors| report(group, names::dns_subdomain(group), errors));
    }
    for (field, value) in [("kind", &parameters.kind), ("name", &parameters.name)] {
        errors.field(field, |errors| match value.as_str() {
            "" => errors.required(""),
            value => report(value, names::path_segment(value), errors),
        });
    }
    match (parameters.scope.as_deref(), &parameters.namespace) {
        (None, _) => errors.field("scope", |errors| errors.required("")),
        (Some("Namespace"), None) => errors.field("namespace", |errors| {
            errors.required("`parameters.scope` is set to 'Namespace'");
        }),
        (Some("Namespace"), Some(namespace)) => errors.field("namespace", |errors| {
            report(namespace, names::dns_label(namespace), errors);
        }),
        (Some("Cluster"), Some(_)) => errors.field("namespace", |errors| {
            errors.forbidden("`parameters.scope` is set to 'Cluster'");
        }),
        (Some("Cluster"), None) => {}
        (Some(other), _) => errors.field("scope", |errors| {
            errors.not_supported(other, &["Cluster", "Namespace"]);
        }),
    }
}
