//! PriorityClasses: names for how much pods matter. Two of them belong to the system.

use trireme_proto::api::{meta::v1::Time, scheduling::v1::PriorityClass};

use super::{
    columns::{AGE, age, column},
    first_generation,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{one_of, unchanged},
};

/// Names that begin with this are the system's.
const SYSTEM_PREFIX: &str = "system-";
/// Whether a pod makes room for itself, unless its class says otherwise.
pub(crate) const DEFAULT_PREEMPTION: &str = "PreemptLowerPriority";

/// A class that every cluster has, and that nobody may change or delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemPriorityClass {
    /// Its name.
    pub name: &'static str,
    /// Its priority, above that of any class of users.
    pub value: i32,
    /// When to use it.
    pub description: &'static str,
}

/// The classes that every cluster has.
pub const SYSTEM_PRIORITY_CLASSES: [SystemPriorityClass; 2] = [
    SystemPriorityClass {
        name: "system-cluster-critical",
        value: 2 * limits::USER_PRIORITY,
        description: "For pods without which the cluster does not work, wherever they run.",
    },
    SystemPriorityClass {
        name: "system-node-critical",
        value: 2 * limits::USER_PRIORITY + 1000,
        description: "For pods without which their node does not work.",
    },
];

impl SystemPriorityClass {
    /// The class of a name, if it is one of the system's.
    pub fn of_name(name: &str) -> Option<Self> {
        SYSTEM_PRIORITY_CLASSES.into_iter().find(|class| class.name == name)
    }
}

impl Kind for PriorityClass {
    const INFO: KindInfo = KindInfo {
        group: "scheduling.k8s.io",
        version: "v1",
        kind: "PriorityClass",
        plural: "priorityclasses",
        singular: "priorityclass",
        short_names: &["pc"],
        categories: &[],
        namespaced: false,
        subresources: &[],
        columns: &[
            column("Value", "The priority of its pods."),
            column("Global-Default", "Whether pods that name no class are of this one."),
            AGE,
            column("PreemptionPolicy", "Whether its pods make room for themselves."),
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.preemption_policy.get_or_insert_with(|| DEFAULT_PREEMPTION.into());
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let name = &metadata_of(self).name;
        if name.starts_with(SYSTEM_PREFIX) {
            if let Err(why) = is_of_the_system(self) {
                errors.field("metadata.name", |errors| {
                    errors.forbidden(format_args!(
                        "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {why}"
                    ));
                });
            }
        } else if self.value > limits::USER_PRIORITY {
            errors.field("value", |errors| {
                errors.forbidden(format_args!(
                    "maximum allowed value of a user defined priority is {}",
                    limits::USER_PRIORITY
                ));
            });
        }
        if let Some(policy) = &self.preemption_policy {
            errors.field("preemptionPolicy", |errors| {
                one_of(policy, &["Never", DEFAULT_PREEMPTION], errors);
            });
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        if self.value != old.value {
            errors.field("value", |errors| errors.forbidden("may not be changed in an update."));
        }
        errors.field("preemptionPolicy", |errors| {
            unchanged(&self.preemption_policy, &old.preemption_policy, errors);
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        vec![
            self.value.to_string(),
            self.global_default.to_string(),
            age(metadata_of(self), now),
            self.preemption_policy.clone().unwrap_or_default(),
        ]
    }
}

/// Whether a class with a name of the system is what the system has under that name.
fn is_of_the_system(class: &PriorityClass) -> Result<(), String> {
    let name = &metadata_of(class).name;
    let Some(known) = SystemPriorityClass::of_name(name) else {
        return Err(format!("{name} is not a known system priority class"));
    };
    if class.value != known.value {
        return Err(format!("value of {name} PriorityClass must be {}", known.value));
    }
    if class.global_default {
        return Err(format!("globalDefault of {name} PriorityClass must be false"));
    }
    Ok(())
}
