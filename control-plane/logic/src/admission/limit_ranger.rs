//! LimitRanges: fills in what containers do not ask for, and refuses what is too little or too much.

use std::{collections::BTreeMap, sync::Arc};

use trireme_proto::{
    api::{
        core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec},
        meta::v1::Quantity,
    },
    quantity::Amount,
};

use super::{AdmissionError, AdmissionLookup, AdmissionPlugin, AdmissionRequest, Operation};
use crate::{
    field_error::FieldErrors, kinds::pod::resources::pod_totals, object::Object, validation::quantities::amount,
};

type List = BTreeMap<String, Quantity>;

/// See the file's comment.
#[derive(Debug, Clone, Copy)]
pub struct LimitRanger;

impl AdmissionPlugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn mutate(&self, request: &AdmissionRequest, object: &mut dyn Object, lookup: &dyn AdmissionLookup) {
        if request.operation == Operation::Create && request.info.kind == "Pod" {
            apply_limit_ranges(object, &lookup.limit_ranges(&request.key.namespace));
        }
    }

    fn validate(
        &self,
        request: &AdmissionRequest,
        object: &dyn Object,
        lookup: &dyn AdmissionLookup,
    ) -> Result<(), AdmissionError> {
        if request.operation != Operation::Create || !matches!(request.info.kind, "Pod" | "PersistentVolumeClaim") {
            return Ok(());
        }
        let complaints = complaints(object, &lookup.limit_ranges(&request.key.namespace));
        match &complaints[..] {
            [] => Ok(()),
            [one] => Err(AdmissionError::forbidden(request, &one.1)),
            several => {
                let list: Vec<&str> = several.iter().map(|(_, message)| message.as_str()).collect();
                Err(AdmissionError::forbidden(
                    request,
                    format_args!("[{}]", list.join(", ")),
                ))
            }
        }
    }
}

/// Gives the containers of a pod the requests and limits that they lack. Other objects stay as they are.
pub fn apply_limit_ranges(object: &mut dyn Object, limit_ranges: &[Arc<LimitRange>]) {
    let Some(pod) = object.downcast_mut::<Pod>() else {
        return;
    };
    let spec = pod.spec.get_or_insert_default();
    for item in items(limit_ranges).filter(|item| item.r#type == "Container") {
        for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
            if item.default.is_empty() && item.default_request.is_empty() {
                continue;
            }
            let resources = container.resources.get_or_insert_default();
            for (list, defaults) in [
                (&mut resources.limits, &item.default),
                (&mut resources.requests, &item.default_request),
            ] {
                for (name, quantity) in defaults {
                    list.entry(name.clone()).or_insert_with(|| quantity.clone());
                }
            }
        }
    }
}

/// Reports what a pod or claim asks for too little or too much of.
pub fn check_limit_ranges(object: &dyn Object, limit_ranges: &[Arc<LimitRange>], errors: &mut FieldErrors) {
    for (field, message) in complaints(object, limit_ranges) {
        errors.field(&field, |errors| errors.forbidden(message));
    }
}

/// Paths and messages.
fn complaints(object: &dyn Object, limit_ranges: &[Arc<LimitRange>]) -> Vec<(String, String)> {
    let mut complaints = Vec::new();
    if let Some(claim) = object.downcast_ref::<PersistentVolumeClaim>() {
        for item in items(limit_ranges).filter(|item| item.r#type == "PersistentVolumeClaim") {
            let found = of_claim_item(item, claim);
            complaints.extend(found.into_iter().map(|message| ("spec".to_owned(), message)));
        }
        return complaints;
    }
    let Some((pod, spec)) = object
        .downcast_ref::<Pod>()
        .and_then(|pod| Some((pod, pod.spec.as_ref()?)))
    else {
        return complaints;
    };
    for item in items(limit_ranges) {
        match item.r#type.as_str() {
            "Container" => container_complaints(item, spec, &mut complaints),
            "Pod" => {
                let totals = pod_totals(pod);
                let found = of_item(item, &totals.requests, &totals.limits);
                complaints.extend(found.into_iter().map(|message| ("spec".to_owned(), message)));
            }
            _ => {}
        }
    }
    complaints
}

fn container_complaints(item: &LimitRangeItem, spec: &PodSpec, complaints: &mut Vec<(String, String)>) {
    let lists: [(&str, &[Container]); 2] = [
        ("initContainers", &spec.init_containers),
        ("containers", &spec.containers),
    ];
    for (field, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let resources = container.resources.clone().unwrap_or_default();
            let path = format!("spec.{field}[{index}].resources");
            let found = of_item(item, &amounts(&resources.requests), &amounts(&resources.limits));
            complaints.extend(found.into_iter().map(|message| (path.clone(), message)));
        }
    }
}

fn of_item(
    item: &LimitRangeItem,
    requests: &BTreeMap<String, Amount>,
    limits: &BTreeMap<String, Amount>,
) -> Vec<String> {
    let mut messages = Vec::new();
    let kind = &item.r#type;
    for (name, bound) in &item.min {
        let rule = format!("minimum {name} usage per {kind} is {bound}");
        match (requests.get(name), limits.get(name)) {
            (None, _) => messages.push(format!("{rule}.  No request is specified")),
            (Some(request), _) if *request < amount(bound) => {
                messages.push(format!("{rule}, but request is {request}"));
            }
            (Some(_), Some(limit)) if *limit < amount(bound) => messages.push(format!("{rule}, but limit is {limit}")),
            (Some(_), _) => {}
        }
    }
    for (name, bound) in &item.max {
        let rule = format!("maximum {name} usage per {kind} is {bound}");
        match (requests.get(name), limits.get(name)) {
            (_, None) => messages.push(format!("{rule}.  No limit is specified")),
            (_, Some(limit)) if *limit > amount(bound) => messages.push(format!("{rule}, but limit is {limit}")),
            (Some(request), _) if *request > amount(bound) => {
                messages.push(format!("{rule}, but request is {request}"));
            }
            (_, Some(_)) => {}
        }
    }
    for (name, bound) in &item.max_limit_request_ratio {
        let rule = format!("{name} max limit to request ratio per {kind} is {bound}");
        match (
            requests.get(name).filter(|request| !request.is_zero()),
            limits.get(name),
        ) {
            (Some(request), Some(limit)) => {
                let (limit, request, bound) = (limit.milli_value(), request.milli_value(), amount(bound).milli_value());
                // limit / request > bound, without dividing.
                if i128::from(limit) * 1000 > i128::from(bound) * i128::from(request) {
                    messages.push(format!(
                        "{rule}, but provided ratio is {:.6}",
                        limit as f64 / request as f64
                    ));
                }
            }
            _ => messages.push(format!("{rule}, but no request is specified or request is 0")),
        }
    }
    messages
}

/// A claim asks for storage and is limited by nothing, so only what it asks for is compared.
fn of_claim_item(item: &LimitRangeItem, claim: &PersistentVolumeClaim) -> Vec<String> {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = resources
        .map(|resources| amounts(&resources.requests))
        .unwrap_or_default();
    let kind = &item.r#type;
    let mut messages = Vec::new();
    for (bounds, word, is_beyond) in [
        (
            &item.min,
            "minimum",
            (|request, bound| request < bound) as fn(Amount, Amount) -> bool,
        ),
        (&item.max, "maximum", |request, bound| request > bound),
    ] {
        for (name, bound) in bounds {
            let rule = format!("{word} {name} usage per {kind} is {bound}");
            match requests.get(name) {
                None => messages.push(format!("{rule}.  No request is specified")),
                Some(request) if is_beyond(*request, amount(bound)) => {
                    messages.push(format!("{rule}, but request is {request}"));
                }
                Some(_) => {}
            }
        }
    }
    messages
}

fn items(limit_ranges: &[Arc<LimitRange>]) -> impl Iterator<Item = &LimitRangeItem> {
    limit_ranges
        .iter()
        .flat_map(|range| &range.spec)
        .flat_map(|spec| &spec.limits)
}

fn amounts(list: &List) -> BTreeMap<String, Amount> {
    list.iter()
        .map(|(name, quantity)| (name.clone(), amount(quantity)))
        .collect()
}
