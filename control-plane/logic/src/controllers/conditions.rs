//! Conditions of every kind: the time of the last transition moves only when the status does.

use trireme_proto::api::{
    apps::v1::{DeploymentCondition, ReplicaSetCondition},
    core::v1::{NamespaceCondition, NodeCondition, PodCondition, ReplicationControllerCondition},
    meta::v1::{Condition as AnyCondition, Time},
};

/// `True` or `False`.
pub fn text(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// What the conditions of all kinds have alike.
pub trait Condition: Default {
    /// The fields that all have.
    fn fields(&mut self) -> Fields<'_>;
    /// Its type.
    fn type_of(&self) -> &str;
    /// Notes that anything but its transition time changed, for kinds that keep a time of that as well.
    fn touch(&mut self, _now: Time) {}
}

/// The fields that the conditions of all kinds have, to be changed.
#[derive(Debug)]
pub struct Fields<'a> {
    condition_type: &'a mut String,
    status: &'a mut String,
    reason: &'a mut String,
    message: &'a mut String,
    last_transition_time: &'a mut Option<Time>,
}

macro_rules! condition {
    ($kind:ident $(, $touched:ident)?) => {
        impl Condition for $kind {
            fn fields(&mut self) -> Fields<'_> {
                Fields {
                    condition_type: &mut self.r#type,
                    status: &mut self.status,
                    reason: &mut self.reason,
                    message: &mut self.message,
                    last_transition_time: &mut self.last_transition_time,
                }
            }

            fn type_of(&self) -> &str {
                &self.r#type
            }

            $(fn touch(&mut self, now: Time) {
                self.$touched = Some(now);
            })?
        }
    };
}

condition!(AnyCondition);
condition!(PodCondition);
condition!(NodeCondition, last_heartbeat_time);
condition!(NamespaceCondition);
condition!(DeploymentCondition, last_update_time);
condition!(ReplicaSetCondition);
condition!(ReplicationControllerCondition);

/// Sets a condition. True if anything changed.
pub fn set<C: Condition>(
    conditions: &mut Vec<C>,
    condition_type: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Time,
) -> bool {
    let known = conditions
        .iter()
        .position(|condition| condition.type_of() == condition_type);
    let place = known.unwrap_or_else(|| {
        let mut new = C::default();
        condition_type.clone_into(new.fields().condition_type);
        conditions.push(new);
        conditions.len() - 1
    });
    let condition = &mut conditions[place];
    let fields = condition.fields();
    if fields.status == value && fields.reason == reason && fields.message == message {
        return false;
    }
    if fields.status != value {
        value.clone_into(fields.status);
        *fields.last_transition_time = Some(now);
    }
    reason.clone_into(fields.reason);
    message.clone_into(fields.message);
    condition.touch(now);
    true
}

/// The condition of a type.
pub fn find<'a, C: Condition>(conditions: &'a [C], condition_type: &str) -> Option<&'a C> {
    conditions
        .iter()
        .find(|condition| condition.type_of() == condition_type)
}

/// Removes the condition of a type. True if there was one.
pub fn remove<C: Condition>(conditions: &mut Vec<C>, condition_type: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_of() != condition_type);
    conditions.len() != before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn only_a_new_status_is_a_transition() {
        let mut conditions: Vec<NodeCondition> = Vec::new();
        for (value, reason, second, changed, transition, heartbeat) in [
            ("True", "Up", 1, true, 1, 1),
            ("True", "Up", 2, false, 1, 1),
            ("True", "Fine", 3, true, 1, 3),
            ("False", "Fine", 4, true, 4, 4),
        ] {
            assert_eq!(set(&mut conditions, "Ready", value, reason, "", at(second)), changed);
            let condition = find(&conditions, "Ready").unwrap();
            assert_eq!(condition.last_transition_time, Some(at(transition)), "at {second}");
            assert_eq!(condition.last_heartbeat_time, Some(at(heartbeat)), "at {second}");
        }
        assert!(remove(&mut conditions, "Ready") && !remove(&mut conditions, "Ready"));
    }
}
