//! Setting conditions: the time of the last transition moves only when the status does.

use trireme_proto::api::{
    core::v1::{NamespaceCondition, NamespaceStatus, NodeCondition, NodeStatus, PodCondition, PodStatus},
    meta::v1::Time,
};

/// `True` or `False`.
pub fn text(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// Sets a condition of a pod. True if anything changed.
pub fn set_pod(
    status: &mut PodStatus,
    condition_type: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Time,
) -> bool {
    let condition = match status
        .conditions
        .iter()
        .position(|condition| condition.r#type == condition_type)
    {
        Some(index) => &mut status.conditions[index],
        None => {
            status.conditions.push(PodCondition {
                r#type: condition_type.to_owned(),
                ..PodCondition::default()
            });
            status.conditions.last_mut().expect("just pushed")
        }
    };
    if condition.status == value && condition.reason == reason && condition.message == message {
        return false;
    }
    if condition.status != value {
        condition.status = value.to_owned();
        condition.last_transition_time = Some(now);
    }
    condition.reason = reason.to_owned();
    condition.message = message.to_owned();
    true
}

/// Sets a condition of a node. True if anything changed.
pub fn set_node(
    status: &mut NodeStatus,
    condition_type: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Time,
) -> bool {
    let condition = match status
        .conditions
        .iter()
        .position(|condition| condition.r#type == condition_type)
    {
        Some(index) => &mut status.conditions[index],
        None => {
            status.conditions.push(NodeCondition {
                r#type: condition_type.to_owned(),
                ..NodeCondition::default()
            });
            status.conditions.last_mut().expect("just pushed")
        }
    };
    if condition.status == value && condition.reason == reason && condition.message == message {
        return false;
    }
    if condition.status != value {
        condition.status = value.to_owned();
        condition.last_transition_time = Some(now);
    }
    condition.last_heartbeat_time = Some(now);
    condition.reason = reason.to_owned();
    condition.message = message.to_owned();
    true
}

/// Sets a condition of a namespace. True if anything changed.
pub fn set_namespace(
    status: &mut NamespaceStatus,
    condition_type: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Time,
) -> bool {
    let condition = match status
        .conditions
        .iter()
        .position(|condition| condition.r#type == condition_type)
    {
        Some(index) => &mut status.conditions[index],
        None => {
            let new = NamespaceCondition {
                r#type: condition_type.to_owned(),
                ..NamespaceCondition::default()
            };
            status.conditions.push(new);
            status.conditions.last_mut().expect("just pushed")
        }
    };
    if condition.status == value && condition.reason == reason && condition.message == message {
        return false;
    }
    if condition.status != value {
        condition.status = value.to_owned();
        condition.last_transition_time = Some(now);
    }
    condition.reason = reason.to_owned();
    condition.message = message.to_owned();
    true
}
