//! Applying the part of an object that one manager wants; the object is made if there is none.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use trireme_logic::{
    apply::{self, Applied, ApplyError, Change, Config},
    json,
    kinds::api_version,
    object::{KindOps, ObjectKey},
};
use trireme_proto::{
    api::{autoscaling::v1::Scale, meta::v1::ManagedFieldsEntry},
    schema,
};

use super::{Changed, Registry, Stored, change::Attempts, scale};
use crate::{
    limits,
    pipeline::{
        Decoded, FieldManager, Permit, Subresource, Validation, Verb,
        admit::admit_update,
        owners::{part_of, without_owners},
    },
    status::{ApiError, Cause, Reason},
};

/// A configuration to be applied.
#[derive(Debug, Clone)]
pub struct ApplyRequest {
    /// The configuration, JSON, with `apiVersion` and `kind`.
    pub config: Bytes,
    /// Take over what others own.
    pub force: bool,
    /// Treatment of unknown fields of the outcome; those of the configuration are refused whatever it says.
    pub validation: Validation,
    /// Everything but storing.
    pub dry_run: bool,
}

/// What applying came to.
#[derive(Debug)]
pub struct AppliedObject {
    /// The object as it is now.
    pub changed: Changed,
    /// There was none before.
    pub created: bool,
    /// Sentences for the user.
    pub warnings: Vec<String>,
}

impl Registry {
    /// Applies a configuration to an object or its status, in the name of the permit's field manager.
    ///
    /// # Errors
    /// `Invalid` without a named field manager; `BadRequest` for a bad configuration; `Conflict`, with a cause a field, if
    /// others own what it would change, and if the object kept changing or is not the one that it names; what
    /// [`create`](Self::create) says if there is no object yet.
    pub async fn apply(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        part: Subresource,
        key: &ObjectKey,
        request: &ApplyRequest,
    ) -> Result<AppliedObject, ApiError> {
        permit.require(&[Verb::Patch], ops.info(), part, key)?;
        let info = ops.info();
        let config = parse_config(&request.config, &api_version(info), info.kind)?;
        let applying = Applying {
            ops,
            part,
            key,
            config: &config,
            manager: FieldManager::applier(permit.manager())?,
            force: request.force,
        };
        let attempts = Attempts {
            max: limits::PATCH_ATTEMPTS_MAX,
            dry_run: request.dry_run,
        };
        // A create may be overtaken by another one, and an update by a deletion.
        for _ in 0..limits::PATCH_ATTEMPTS_MAX {
            let mut warnings = Vec::new();
            let changed = self
                .change(permit, ops, key, attempts, |current| {
                    let mut decoded = self.applied_to(&applying, current, request.validation)?;
                    warnings = decoded.take_warnings();
                    admit_update(permit, &**current.object()?, decoded, part, self.environment.now())
                })
                .await;
            match changed {
                Err(error) if error.reason() == Reason::NotFound && part == Subresource::None => {}
                other => {
                    return other.map(|changed| AppliedObject {
                        changed,
                        created: false,
                        warnings,
                    });
                }
            }
            let mut decoded = self.applied_anew(&applying, request.validation)?;
            let warnings = decoded.take_warnings();
            match self.create_permitted(permit, decoded, request.dry_run).await {
                Err(error) if error.reason() == Reason::AlreadyExists => {}
                other => {
                    return other.map(|stored| AppliedObject {
                        changed: Changed { stored, gone: false },
                        created: true,
                        warnings,
                    });
                }
            }
        }
        Err(ApiError::modified(info, &key.name))
    }

    /// Applies a configuration of the scale: its replicas are those of the object.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), and `NotFound` if there is no object.
    pub async fn apply_scale(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        key: &ObjectKey,
        request: &ApplyRequest,
    ) -> Result<(Scale, Stored), ApiError> {
        permit.require(&[Verb::Patch], ops.info(), Subresource::Scale, key)?;
        let scale = parse_config(&request.config, "autoscaling/v1", "Scale")?;
        let change = Change {
            schema: schema::kind("autoscaling", "v1", "Scale"),
            api_version: "autoscaling/v1",
            part: apply::Part::Other(Subresource::Scale.as_str()),
            now: self.environment.now(),
        };
        // As if there were nothing: what is wrong with it by itself is found so.
        let by_itself = Config {
            json: &scale,
            manager: "",
            force: false,
        };
        apply::apply(&change, by_itself, None, &[])
            .map_err(|error| refused(error, "autoscaling/v1, Kind=Scale", key))?;
        let config = config_of_scale(ops, &scale);
        let applying = Applying {
            ops,
            part: Subresource::Scale,
            key,
            config: &config,
            manager: FieldManager::applier(permit.manager())?,
            force: request.force,
        };
        let attempts = Attempts {
            max: limits::PATCH_ATTEMPTS_MAX,
            dry_run: request.dry_run,
        };
        let changed = self
            .change(permit, ops, key, attempts, |current| {
                let decoded = self.applied_to(&applying, current, request.validation)?;
                let old = current.object()?;
                admit_update(permit, &**old, decoded, Subresource::Scale, self.environment.now())
            })
            .await?;
        scale::answer(changed)
    }

    /// What the configuration makes of the object as it is.
    fn applied_to(
        &self,
        applying: &Applying<'_>,
        current: &Stored,
        validation: Validation,
    ) -> Result<Decoded, ApiError> {
        let object = current.object()?;
        let live = without_owners(applying.ops, &**object);
        let live = live.ok_or_else(|| ApiError::internal("the stored object has no JSON"))?;
        let applied = self.outcome(applying, Some(&live), &object.metadata().managed_fields)?;
        Decoded::from_applied(applying.ops, &applied.object, applied.managers, validation)
    }

    /// The object that the configuration is by itself.
    fn applied_anew(&self, applying: &Applying<'_>, validation: Validation) -> Result<Decoded, ApiError> {
        let (info, name) = (applying.ops.info(), &applying.key.name);
        let named = |field: &str| {
            let value = applying.config.get("metadata").and_then(|meta| meta.get(field));
            value.and_then(Value::as_str).filter(|text| !text.is_empty())
        };
        if let Some(uid) = named("uid") {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(ApiError::conflict(info, name, why));
        }
        if named("resourceVersion").is_some() {
            return Err(ApiError::modified(info, name));
        }
        let applied = self.outcome(applying, None, &[])?;
        Decoded::from_applied(applying.ops, &applied.object, applied.managers, validation)
    }

    fn outcome(
        &self,
        applying: &Applying<'_>,
        live: Option<&Value>,
        entries: &[ManagedFieldsEntry],
    ) -> Result<Applied, ApiError> {
        let info = applying.ops.info();
        let api_version = api_version(info);
        let change = Change {
            schema: applying.ops.schema(),
            api_version: &api_version,
            part: part_of(info, applying.part),
            now: self.environment.now(),
        };
        let config = Config {
            json: applying.config,
            manager: applying.manager,
            force: applying.force,
        };
        apply::apply(&change, config, live, entries).map_err(|error| {
            let kind = format!("{}/{}, Kind={}", info.group, info.version, info.kind);
            refused(error, &kind, applying.key)
        })
    }
}

/// What is applied to what.
struct Applying<'a> {
    ops: &'static dyn KindOps,
    part: Subresource,
    key: &'a ObjectKey,
    config: &'a Map<String, Value>,
    manager: &'a str,
    force: bool,
}

/// Reads a configuration, which must say of which kind it is.
fn parse_config(text: &[u8], api_version: &str, kind: &str) -> Result<Map<String, Value>, ApiError> {
    if text.len() > limits::REQUEST_MAX_BYTES {
        let limit = limits::REQUEST_MAX_BYTES;
        return Err(ApiError::too_large(format!(
            "the configuration has {} bytes; a request may have at most {limit}",
            text.len()
        )));
    }
    let config = json::parse(text).map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    let Value::Object(config) = config else {
        return Err(ApiError::bad_request("the applied configuration must be an object"));
    };
    let says = |field: &str| config.get(field).and_then(Value::as_str).unwrap_or_default();
    if (says("apiVersion"), says("kind")) != (api_version, kind) {
        return Err(ApiError::bad_request(format!(
            "invalid object type: {}, Kind={}; expected {api_version}, Kind={kind}",
            says("apiVersion"),
            says("kind")
        )));
    }
    Ok(config)
}

/// The configuration of a kind that a scale's is.
fn config_of_scale(ops: &'static dyn KindOps, scale: &Map<String, Value>) -> Map<String, Value> {
    let info = ops.info();
    let mut config = Map::new();
    config.insert("apiVersion".to_owned(), api_version(info).into());
    config.insert("kind".to_owned(), info.kind.into());
    let meta = scale.get("metadata").and_then(Value::as_object);
    let named = ["name", "namespace", "uid", "resourceVersion"]
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), meta?.get(field)?.clone())));
    config.insert("metadata".to_owned(), Value::Object(named.collect()));
    if let Some(replicas) = scale.get("spec").and_then(|spec| spec.get("replicas")) {
        config.insert("spec".to_owned(), json!({ "replicas": replicas }));
    }
    config
}

fn refused(error: ApplyError, kind: &str, key: &ObjectKey) -> ApiError {
    match error {
        ApplyError::HasManagedFields => ApiError::bad_request(error.to_string()),
        ApplyError::Invalid(why) => ApiError::bad_request(format!(
            "failed to create typed patch object ({}/{}; {kind}): {why}",
            key.namespace, key.name
        )),
        ApplyError::Conflict(conflicts) => {
            let causes = conflicts.causes().into_iter();
            causes.fold(ApiError::conflict_other(conflicts.to_string()), |error, cause| {
                error.cause(Cause {
                    reason: "FieldManagerConflict".to_owned(),
                    field: cause.field,
                    message: cause.message,
                })
            })
        }
        ApplyError::UnreadableManagers(why) => {
            ApiError::internal("failed to decode managed fields").context(format_args!("{why:?}"))
        }
        ApplyError::Unwritable(why) => ApiError::internal("the stored object has no JSON").context(why),
    }
}
