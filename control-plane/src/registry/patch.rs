//! Changing part of an object: the patch is applied to what the object is, and again if that changes meanwhile.

use std::fmt::Display;

use bytes::Bytes;
use serde_json::Value;
use trireme_logic::{
    field_error::FieldErrors,
    object::{KindOps, ObjectKey},
    patch::{Patch, PatchError, PatchType},
};

use super::{Changed, Registry, Stored, change::Attempts, stored::Named};
use crate::{
    limits,
    pipeline::{Decoded, Permit, Subresource, Validation, Verb, admit::admit_update_among, remarks_of_patch},
    status::{ApiError, Reason},
};

/// A patch.
#[derive(Debug, Clone)]
pub struct PatchRequest {
    /// Its form.
    pub patch_type: PatchType,
    /// The patch, JSON.
    pub patch: Bytes,
    /// Treatment of fields that are unknown or stand twice.
    pub validation: Validation,
    /// Everything but storing.
    pub dry_run: bool,
}

impl Registry {
    /// Patches an object or its status. Answers with warnings about unknown fields beside the outcome.
    ///
    /// # Errors
    /// `NotFound`, `BadRequest` for a bad patch, `Invalid` if the patch does not fit or its outcome is invalid, `Conflict`
    /// if the object kept changing or is not at the `resourceVersion` that the patch names.
    pub async fn patch(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        part: Subresource,
        key: &ObjectKey,
        request: &PatchRequest,
    ) -> Result<(Changed, Vec<String>), ApiError> {
        permit.require(&[Verb::Patch], ops.info(), part, key)?;
        let attempts = Attempts {
            max: limits::PATCH_ATTEMPTS_MAX,
            dry_run: request.dry_run,
        };
        let surroundings = self.policies.around_change(ops.info()).await?;
        let patch = Patch::read(request.patch_type, &request.patch);
        // What is no patch is told once it is known that there is an object.
        let remarks = patch
            .as_ref()
            .map_or_else(|_| Vec::new(), |patch| remarks_of_patch(patch, request.validation));
        let mut warnings = Vec::new();
        let changed = self
            .change(permit, ops, key, attempts, |current| {
                let patch = patch.as_ref().map_err(|error| refused(current, request, error))?;
                let mut decoded = patched(current, request, patch, remarks.clone())?;
                warnings = decoded.take_warnings();
                admit_update_among(
                    permit,
                    &**current.object()?,
                    decoded,
                    part,
                    self.environment.now(),
                    &surroundings,
                )
            })
            .await?;
        Ok((changed, warnings))
    }
}

/// What the patch makes of the object as it is. A `resourceVersion` in the outcome that is not the object's own came from the
/// patch, and is then a precondition like any other.
///
/// What a patch does not name stays as it is stored. So only what it names becomes JSON, is changed and read again; unless it
/// may be about everything, or the object is shown in another version than the stored one.
fn patched(current: &Stored, request: &PatchRequest, patch: &Patch, remarks: Vec<String>) -> Result<Decoded, ApiError> {
    let ops = current.ops();
    let named = patch.names().and_then(|document| current.named_by(document));
    let Named { json, rest } = match named {
        Some(named) => named?,
        None => Named {
            json: current.to_json()?,
            rest: Vec::new(),
        },
    };
    let broken = |error| ApiError::internal("the stored object has no JSON").context(error);
    let before: Value = serde_json::from_slice(&json).map_err(broken)?;
    let after = patch
        .apply(ops.schema(), &before)
        .map_err(|error| refused(current, request, &error))?;
    let decoded = Decoded::from_patched(ops, &after, remarks, request.validation).and_then(|part| part.beside(&rest));
    decoded.map_err(|error| match error.reason() {
        // Where a whole object would be a bad request, a patch that makes such a one does not fit.
        Reason::BadRequest => unfit(current, request, &error),
        _ => error,
    })
}

fn refused(current: &Stored, request: &PatchRequest, error: &PatchError) -> ApiError {
    if error.is_bad_request() {
        ApiError::bad_request(error.to_string())
    } else {
        unfit(current, request, error)
    }
}

/// The patch is one, but not for this object.
fn unfit(current: &Stored, request: &PatchRequest, why: &dyn Display) -> ApiError {
    let mut errors = FieldErrors::default();
    errors.field("patch", |errors| match std::str::from_utf8(&request.patch) {
        Ok(patch) if patch.len() <= limits::PATCH_SHOWN_BYTES => errors.invalid(patch, why),
        Ok(_) | Err(_) => errors.invalid_unshown(why),
    });
    ApiError::invalid(current.kind(), &current.key().name, &errors.into_errors())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trireme_logic::kinds;

    use super::*;

    /// An object as JSON, of the kinds whose messages are built in different ways.
    fn examples() -> Vec<Value> {
        let pod = json!({
            "metadata": {"labels": {"app": "web"}, "annotations": {"note": "x"}},
            "spec": {
                "nodeName": "node-1",
                "securityContext": {"runAsUser": 7},
                "containers": [
                    {"name": "main", "image": "web:1", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "1"}]},
                    {"name": "side", "image": "side:1", "resources": {"limits": {"cpu": "1"}}},
                ],
                "volumes": [{"name": "config", "configMap": {"name": "web"}}, {"name": "scratch", "emptyDir": {}}],
                "tolerations": [{"operator": "Exists"}],
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        vec![
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": pod["metadata"], "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
                "template": {"metadata": pod["metadata"], "spec": pod["spec"]},
            }}),
            json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": pod["metadata"], "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/data"},
                "claimRef": {"namespace": "shop", "name": "data"},
            }}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": pod["metadata"], "spec": {
                "selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            }}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"labels": {"a": "b"}}, "data": {"key": "dmFsdWU="}}),
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {}, "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": pod["metadata"], "spec": pod["spec"]},
            },
                "status": {"replicas": 0, "readyReplicas": 2}}),
            [pod, json!({"apiVersion": "v1", "kind": "Pod"})]
                .into_iter()
                .flat_map(|part| part.as_object().cloned().expect("an object"))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        ]
    }

    fn stored(example: &Value) -> Stored {
        let (version, kind) = (example["apiVersion"].as_str(), example["kind"].as_str());
        let ops = kinds::by_api_version(version.expect("a version"), kind.expect("a kind")).expect("served");
        let mut object = ops.from_json_value(example.clone()).expect("an object");
        let meta = object.metadata_mut();
        (meta.namespace, meta.name) = ("shop".into(), "web".into());
        Stored::made_up(object, ops, 7)
    }

    /// The path of every field to some depth, and of one that is not there in each object.
    fn paths(value: &Value, depth: usize) -> Vec<Vec<String>> {
        let Some(fields) = value.as_object().filter(|_| depth > 0) else {
            return Vec::new();
        };
        let mut all = vec![vec!["another".to_owned()]];
        for (name, value) in fields {
            all.push(vec![name.clone()]);
            let below = paths(value, depth - 1);
            all.extend(below.into_iter().map(|path| [vec![name.clone()], path].concat()));
        }
        all
    }

    fn at(path: &[String], value: Value) -> Value {
        path.iter().rev().fold(value, |value, name| json!({ name: value }))
    }

    fn check_same(current: &Stored, patch_type: PatchType, document: &Value) {
        let request = PatchRequest {
            patch_type,
            patch: document.to_string().into(),
            validation: Validation::Warn,
            dry_run: false,
        };
        let ops = current.ops();
        let whole: Value = serde_json::from_slice(&current.to_json().expect("JSON")).expect("JSON");
        let patch = Patch::read(patch_type, &request.patch).expect("a patch");
        let expected = patch
            .apply(ops.schema(), &whole)
            .map_err(|error| refused(current, &request, &error))
            .and_then(|after| {
                Decoded::from_patched(ops, &after, Vec::new(), Validation::Warn)
                    .map_err(|error| unfit(current, &request, &error))
            });
        let said = |outcome: Result<Decoded, ApiError>| {
            outcome
                .map(|decoded| {
                    (
                        decoded.warnings().to_vec(),
                        decoded.object().to_json_value().expect("JSON"),
                    )
                })
                // Where in a text that nobody sees is not told the same.
                .map_err(|error| error.to_string().split(" at line ").next().map(str::to_owned))
        };
        assert_eq!(
            said(patched(current, &request, &patch, Vec::new())),
            said(expected),
            "{patch_type:?} {document}"
        );
    }

    /// Whatever a patch names, it comes to what it would if all of the object were its to see.
    #[test]
    fn a_patch_of_a_part_is_that_of_the_whole() {
        let mut taken_apart = 0;
        for example in examples() {
            let current = stored(&example);
            for path in paths(&example, 4) {
                for value in [
                    json!(null),
                    json!({}),
                    json!({"another": 1}),
                    json!("x"),
                    json!(1),
                    json!([]),
                ] {
                    let patch = at(&path, value);
                    check_same(&current, PatchType::Merge, &patch);
                    check_same(&current, PatchType::StrategicMerge, &patch);
                    let named = current.named_by(patch.as_object().expect("an object"));
                    taken_apart += usize::from(named.is_some());
                }
            }
        }
        assert!(taken_apart > 500, "{taken_apart}");
        let pod = stored(examples().last().expect("a pod"));
        for patch in [
            json!({"metadata": {"labels": null, "annotations": {"note": null, "other": "y"}}, "spec": {"hostname": "web"}}),
            json!({"metadata": {"labels": {"$patch": "replace", "a": "b"}}}),
            json!({"$patch": "replace", "metadata": {"labels": {"a": "b"}}}),
            json!({"spec": {"$patch": "delete"}}),
            json!({"spec": {"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}], "containers": [{"name": "main", "image": "web:2"}]}}),
            json!({"spec": {"volumes": [{"name": "config", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}]}}),
            json!({"metadata": {"managedFields": []}}),
            json!({"metadata": {"resourceVersion": "6", "uid": "x"}}),
            json!({"kind": "Service"}),
            json!({"apiVersion": "v2", "spec": {"hostname": "web"}}),
            json!({"kind": null, "status": {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False"}]}}),
        ] {
            check_same(&pod, PatchType::Merge, &patch);
            check_same(&pod, PatchType::StrategicMerge, &patch);
        }
        let list = json!([{"op": "copy", "from": "/metadata/labels/app", "path": "/spec/hostname"}]);
        check_same(&pod, PatchType::Json, &list);
    }
}
