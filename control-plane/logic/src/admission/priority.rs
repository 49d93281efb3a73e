//! How much a pod matters: its class is looked up, and what the class says becomes part of the pod. Of the
//! classes one at most is the default, and those of the system stay.

use std::{collections::BTreeMap, sync::Arc};

use trireme_proto::api::{
    core::v1::{Pod, PodSpec},
    scheduling::v1::PriorityClass,
};

use super::{AdmissionError, AdmissionLookup, AdmissionPlugin, AdmissionRequest, Operation};
use crate::{
    kind::metadata_of,
    kinds::priority_class::{DEFAULT_PREEMPTION, SystemPriorityClass},
    object::Object,
};

/// The priority of pods without a class.
const DEFAULT_PRIORITY: i32 = 0;

/// Classes by name.
pub type PriorityClasses = BTreeMap<String, Arc<PriorityClass>>;

/// See the file's comment.
#[derive(Debug, Clone, Copy)]
pub struct Priority;

impl AdmissionPlugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn mutate(&self, request: &AdmissionRequest, object: &mut dyn Object, lookup: &dyn AdmissionLookup) {
        let Some(pod) = object
            .downcast_mut::<Pod>()
            .filter(|_| request.operation == Operation::Create)
        else {
            return;
        };
        let spec = pod.spec.get_or_insert_default();
        // What the pod itself says stays, so that it can be refused if it is something else.
        if let Some(resolved) = Resolved::of_pod(spec, &lookup.priority_classes()) {
            if spec.priority_class_name.is_empty() {
                spec.priority_class_name = resolved.class_name;
            }
            spec.priority.get_or_insert(resolved.priority);
            spec.preemption_policy.get_or_insert(resolved.preemption_policy);
        }
    }

    fn validate(
        &self,
        request: &AdmissionRequest,
        object: &dyn Object,
        lookup: &dyn AdmissionLookup,
    ) -> Result<(), AdmissionError> {
        match (request.operation, request.info.kind) {
            (Operation::Create, "Pod") => match object.downcast_ref::<Pod>().and_then(|pod| pod.spec.as_ref()) {
                Some(spec) => validate_pod(request, spec, &lookup.priority_classes()),
                None => Ok(()),
            },
            (Operation::Create | Operation::Update, "PriorityClass") => match object.downcast_ref() {
                Some(class) => validate_class(request, class, &lookup.priority_classes()),
                None => Ok(()),
            },
            (Operation::Delete, "PriorityClass") if SystemPriorityClass::of_name(&request.key.name).is_some() => Err(
                AdmissionError::forbidden(request, "this is a system priority class and cannot be deleted"),
            ),
            (Operation::Create | Operation::Update | Operation::Delete, _) => Ok(()),
        }
    }
}

/// What a class makes of a pod.
struct Resolved {
    /// Empty if there is no class.
    class_name: String,
    priority: i32,
    preemption_policy: String,
}

impl Resolved {
    /// `None` if the pod names a class that does not exist.
    fn of_pod(spec: &PodSpec, classes: &PriorityClasses) -> Option<Self> {
        let name = spec.priority_class_name.as_str();
        if name.is_empty() {
            return Some(default_class(classes).map_or_else(|| Self::of_value("", DEFAULT_PRIORITY), Self::of_class));
        }
        match classes.get(name) {
            Some(class) => Some(Self::of_class(class)),
            // These are there from the first moment, whether or not they are stored yet.
            None => SystemPriorityClass::of_name(name).map(|class| Self::of_value(class.name, class.value)),
        }
    }

    fn of_class(class: &PriorityClass) -> Self {
        let mut resolved = Self::of_value(&metadata_of(class).name, class.value);
        if let Some(policy) = &class.preemption_policy {
            resolved.preemption_policy.clone_from(policy);
        }
        resolved
    }

    fn of_value(name: &str, priority: i32) -> Self {
        Self {
            class_name: name.to_owned(),
            priority,
            preemption_policy: DEFAULT_PREEMPTION.to_owned(),
        }
    }
}

/// The class of pods that name none. Of several, which two writes at once can make, it is the one that gives least.
fn default_class(classes: &PriorityClasses) -> Option<&PriorityClass> {
    classes
        .values()
        .map(|class| &**class)
        .filter(|class| class.global_default)
        .min_by_key(|class| (class.value, &metadata_of(*class).name))
}

fn validate_pod(request: &AdmissionRequest, spec: &PodSpec, classes: &PriorityClasses) -> Result<(), AdmissionError> {
    let Some(resolved) = Resolved::of_pod(spec, classes) else {
        let why = format!("no PriorityClass with name {} was found", spec.priority_class_name);
        return Err(AdmissionError::forbidden(request, why));
    };
    let priority = spec.priority.unwrap_or(resolved.priority);
    if priority != resolved.priority {
        return Err(AdmissionError::forbidden(
            request,
            format_args!(
                "the integer value of priority ({priority}) must not be provided in pod spec; priority admission \
                 controller computed {} from the given PriorityClass name",
                resolved.priority
            ),
        ));
    }
    match &spec.preemption_policy {
        Some(policy) if *policy != resolved.preemption_policy => Err(AdmissionError::forbidden(
            request,
            format_args!(
                "the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; priority admission \
                 controller computed {} from the given PriorityClass name",
                resolved.preemption_policy
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

fn validate_class(
    request: &AdmissionRequest,
    class: &PriorityClass,
    classes: &PriorityClasses,
) -> Result<(), AdmissionError> {
    let other = default_class(classes).map(|class| &metadata_of(class).name);
    match other.filter(|other| class.global_default && **other != request.key.name) {
        Some(other) => Err(AdmissionError::forbidden(
            request,
            format_args!("PriorityClass {other} is already marked as default. Only one default can exist"),
        )),
        None => Ok(()),
    }
}
