//! Where a rollout stands, from the object alone. Pure.

use crate::object::Object;

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// What is being waited for.
    Waiting(String),
    /// It has arrived.
    Done(String),
    /// It will not arrive by itself.
    Failed(String),
}

/// Where a deployment's rollout stands.
pub(crate) fn progress(object: &Object) -> Progress {
    let name = object.name();
    let generation = object.number("/metadata/generation").unwrap_or(0);
    let observed = object.number("/status/observedGeneration").unwrap_or(0);
    if generation > observed {
        return Progress::Waiting("Waiting for deployment spec update to be observed...".to_owned());
    }
    if let Some((_, "ProgressDeadlineExceeded", message)) = object.condition("Progressing") {
        return Progress::Failed(format!("deployment {name:?} exceeded its progress deadline: {message}"));
    }
    let wanted = object.number("/spec/replicas").unwrap_or(1);
    let number = |field: &str| object.number(&format!("/status/{field}")).unwrap_or(0);
    let (updated, all, available) = (
        number("updatedReplicas"),
        number("replicas"),
        number("availableReplicas"),
    );
    let waiting =
        |what: String| Progress::Waiting(format!("Waiting for deployment {name:?} rollout to finish: {what}..."));
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    if all > updated {
        return waiting(format!("{} old replicas are pending termination", all - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Progress::Done(format!("deployment {name:?} successfully rolled out"))
}

/// The revision that a deployment or one of its replica sets is at.
pub(crate) fn revision(object: &Object) -> i64 {
    object
        .annotation("deployment.kubernetes.io/revision")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// Whether `child` is controlled by `owner`.
pub(crate) fn is_controlled_by(child: &Object, owner: &Object) -> bool {
    child.list("/metadata/ownerReferences").iter().any(|reference| {
        reference.get("uid").and_then(serde_json::Value::as_str) == Some(owner.uid())
            && reference.get("controller").and_then(serde_json::Value::as_bool) == Some(true)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn check(generation: i64, numbers: [i64; 3], reason: &str) -> String {
        let object = Object::new(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "hello", "generation": generation},
            "spec": {"replicas": 3},
            "status": {
                "observedGeneration": 2, "updatedReplicas": numbers[0], "replicas": numbers[1], "availableReplicas": numbers[2],
                "conditions": [{"type": "Progressing", "status": "False", "reason": reason, "message": "too slow"}],
            },
        }))
        .unwrap();
        match progress(&object) {
            Progress::Waiting(text) => text,
            Progress::Done(text) => format!("done: {text}"),
            Progress::Failed(text) => format!("failed: {text}"),
        }
    }

    #[test]
    fn every_stage() {
        assert!(check(3, [3, 3, 3], "").contains("to be observed"));
        assert!(check(2, [1, 4, 3], "").contains("1 out of 3 new replicas"));
        assert!(check(2, [3, 4, 3], "").contains("1 old replicas are pending"));
        assert!(check(2, [3, 3, 2], "").contains("2 of 3 updated replicas"));
        assert_eq!(
            check(2, [3, 3, 3], ""),
            "done: deployment \"hello\" successfully rolled out"
        );
        assert!(check(2, [1, 3, 3], "ProgressDeadlineExceeded").starts_with("failed: "));
    }
}
