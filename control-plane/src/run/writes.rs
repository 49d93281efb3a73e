//! Carries out what the pure loops decided, under the leadership that they decided in (I5).

use futures::{StreamExt, stream};
use trireme_logic::{
    controller::{Refusal, Write},
    kinds,
};

use crate::{
    limits::LOOP_WRITES_CONCURRENT,
    pipeline::{Decoded, Permit, Subresource},
    registry::{DeleteOptions, Propagation, Registry},
    status::{ApiError, Reason},
};

/// What a list of writes came to.
#[derive(Debug)]
pub struct Written {
    /// The highest revision written; 0 if nothing changed.
    pub revision: i64,
    /// The first failure, after which the rest was left undone.
    pub failure: Option<Failure>,
}

/// A write that failed.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: ApiError,
    /// What was refused, if it was refused for what it is: it will be again until something changes.
    pub refusal: Option<Refusal>,
}

/// Carries out `writes` in order. Neighbours that do not depend on each other (creates, deletes and bindings) are
/// in flight together, so that many share one fsync; the first failure ends the rest.
pub async fn carry_out(registry: &Registry, permit: &Permit, writes: Vec<Write>) -> Written {
    let mut written = Written {
        revision: 0,
        failure: None,
    };
    for run in independent_runs(writes) {
        let results = stream::iter(run.into_iter().map(|write| carry_out_one(registry, permit, write)))
            .buffered(LOOP_WRITES_CONCURRENT)
            .collect::<Vec<_>>()
            .await;
        for result in results {
            match result {
                Ok(revision) => written.revision = written.revision.max(revision),
                Err(failure) => written.failure = written.failure.or(Some(failure)),
            }
        }
        if written.failure.is_some() {
            break;
        }
    }
    written
}

async fn carry_out_one(registry: &Registry, permit: &Permit, write: Write) -> Result<i64, Failure> {
    let (action, info, name) = write.target();
    let name = name.to_owned();
    write_one(registry, permit, write).await.map_err(|error| {
        let refusal = is_refused(&error).then(|| Refusal {
            action,
            info,
            name,
            message: error.message().to_owned(),
        });
        Failure { error, refusal }
    })
}

/// Whether a write was refused for what it is, and not for the state that something happened to be in.
fn is_refused(error: &ApiError) -> bool {
    matches!(
        error.reason(),
        Reason::BadRequest | Reason::Forbidden | Reason::Invalid | Reason::RequestEntityTooLarge
    )
}

async fn write_one(registry: &Registry, permit: &Permit, write: Write) -> Result<i64, ApiError> {
    match write {
        Write::Create(object) => {
            let created = registry.create(permit, Decoded::internal(object), false).await;
            match created {
                // Decided twice from the same view: the first one did it.
                Err(error) if error.reason() == Reason::AlreadyExists => Ok(0),
                other => other.map(|stored| stored.revision()),
            }
        }
        Write::Update(object) => {
            // A namespace's own finalizers are the only part of it that a loop changes beside its status.
            let part = if object.info().plural == "namespaces" {
                Subresource::Finalize
            } else {
                Subresource::None
            };
            let changed = registry
                .update_part(permit, Decoded::internal(object), part, false)
                .await?;
            Ok(changed.stored.revision())
        }
        Write::UpdateStatus(object) => {
            let changed = registry.update_status(permit, Decoded::internal(object), false).await?;
            Ok(changed.stored.revision())
        }
        Write::UpdateOwnership(object) => {
            let changed = registry.update_ownership(permit, &*object).await?;
            Ok(changed.stored.revision())
        }
        Write::Bind { pod, uid, node } => Ok(registry.bind(permit, &pod, &uid, &node).await?.stored.revision()),
        Write::Delete {
            info,
            key,
            uid,
            grace_period_seconds,
        } => {
            let options = DeleteOptions {
                grace_period_seconds,
                propagation: Propagation::Background,
                uid,
                ..DeleteOptions::default()
            };
            let Some(ops) = kinds::by_resource(info.group, info.version, info.plural) else {
                return Err(ApiError::internal(format!(
                    "a loop deletes the unknown kind {}",
                    info.kind
                )));
            };
            match registry.delete(permit, ops, &key, &options).await {
                Err(error) if matches!(error.reason(), Reason::NotFound | Reason::Conflict) => Ok(0),
                other => other.map(|deleted| deleted.stored.revision()),
            }
        }
    }
}

/// Cuts a list of writes into runs whose members may be in flight together.
fn independent_runs(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut runs: Vec<Vec<Write>> = Vec::new();
    for write in writes {
        match runs.last_mut() {
            Some(run) if is_independent(&write) && run.last().is_some_and(is_independent) => run.push(write),
            _ => runs.push(vec![write]),
        }
    }
    runs
}

fn is_independent(write: &Write) -> bool {
    match write {
        Write::Create(_) | Write::Delete { .. } | Write::Bind { .. } => true,
        Write::Update(_) | Write::UpdateStatus(_) | Write::UpdateOwnership(_) => false,
    }
}
