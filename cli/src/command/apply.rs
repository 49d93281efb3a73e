//! `apply`: brings objects to the state that manifests describe, and leaves alone what others set.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::Value;
use trireme_proto::v1::{ApiResource, FieldValidation};

use crate::apply::{LAST_APPLIED, diff, three_way};
use crate::command::get::name_of;
use crate::exit::{Exit, Failure};
use crate::input::manifest::{self, Document, FileArgs};
use crate::limits;
use crate::object::Object;
use crate::output::{Format, OutputArgs, print_objects, say, warn, warn_all};
use crate::resolve::{Discovery, qualified, reference};
use crate::resources::{Resources, WriteOptions, object_of};
use crate::session::Session;

/// How unknown fields are treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Validate {
    /// Refuse the object.
    Strict,
    /// Name the fields in a warning and go on.
    #[default]
    Warn,
    /// Go on silently.
    Ignore,
}

/// Whether anything is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// Store it.
    #[default]
    None,
    /// Only read the manifests.
    Client,
    /// Let the server do everything but store it.
    Server,
}

/// Flags of verbs that write objects.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct WriteArgs {
    /// Treatment of unknown fields
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    validate: Validate,
    /// Store nothing: stop at the client, or let the server do all the rest
    #[arg(long, value_enum, default_value_t, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub(crate) dry_run: DryRun,
}

impl WriteArgs {
    /// As the service takes it.
    pub(crate) fn options(&self) -> WriteOptions {
        let validation = match self.validate {
            Validate::Strict => FieldValidation::Strict,
            Validate::Warn => FieldValidation::Warn,
            Validate::Ignore => FieldValidation::Ignore,
        };
        WriteOptions {
            dry_run: self.dry_run == DryRun::Server,
            validation,
        }
    }

    /// What stands behind a line of result.
    pub(crate) fn suffix(&self) -> &'static str {
        match self.dry_run {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        }
    }
}

/// Flags of `apply`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme apply -f hello.yaml
  trireme apply -R -f manifests/
  cat hello.yaml | trireme apply -f -
  trireme apply -f hello.yaml --dry-run=server --validate=strict")]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What became of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not there.
    Created,
    /// It was there and changed.
    Configured,
    /// It was there and as wanted.
    Unchanged,
}

impl Outcome {
    /// As it is printed.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Runs the verb. Every document is tried; the first failure decides the exit code.
pub(crate) async fn run(args: ApplyArgs, session: &Session) -> Result<()> {
    if args.files.filename.is_empty() {
        return Err(Failure::usage("no manifest is given")
            .help("pass -f FILE, -f FOLDER, or -f - for standard input")
            .into());
    }
    let documents = manifest::read(&args.files)?;
    let applier = Applier {
        session,
        discovery: session.discovery().await?,
        resources: session.resources(),
        write: args.write,
    };
    // Everything that can be checked without a change is checked before the first change.
    for document in &documents {
        applier.place(document)?;
    }
    let format = args.output.output;
    let mut applied = Vec::new();
    let mut first_failure = None;
    for document in &documents {
        match applier.apply(document).await {
            Ok((object, outcome)) => {
                if format.is_none() {
                    let name = name_of(&object, &applier.discovery);
                    say(format!("{name} {}{}", outcome.as_str(), args.write.suffix()))?;
                }
                applied.push(object);
            }
            Err(error) => {
                let failure = Failure::of(&error);
                match &first_failure {
                    None => first_failure = Some(failure),
                    Some(_) => eprintln!("error: {}", failure.message),
                }
            }
        }
    }
    if let Some(format) = format {
        let format = if format == Format::Wide { Format::Name } else { format };
        print_objects(&format, &applied, applied.len() == 1, |object| {
            name_of(object, &applier.discovery)
        })?;
    }
    first_failure.map_or(Ok(()), |failure| Err(failure.into()))
}

/// Applies documents one by one. Also used by `up`.
pub(crate) struct Applier<'s> {
    /// Where to.
    pub(crate) session: &'s Session,
    /// The kinds there.
    pub(crate) discovery: Discovery,
    /// Calls on objects.
    pub(crate) resources: Resources,
    /// How to write.
    pub(crate) write: WriteArgs,
}

impl Applier<'_> {
    /// The type of a document's object and the object with its namespace.
    pub(crate) fn place(&self, document: &Document) -> Result<(ApiResource, Object)> {
        let resource = self
            .discovery
            .of_object(&document.object)
            .map_err(|f| in_document(f, document))?;
        let mut object = document.object.clone();
        if object.name().is_empty() {
            let help = "give the object a name; only `create` accepts generateName";
            return Err(in_document(
                Failure::new(Exit::Invalid, "metadata.name: must be set").help(help),
                document,
            )
            .into());
        }
        if resource.namespaced {
            let named = object.namespace();
            if self.session.namespace_is_explicit && !named.is_empty() && named != self.session.namespace {
                let message = format!(
                    "metadata.namespace: is {named:?}, but --namespace is {:?}",
                    self.session.namespace
                );
                return Err(in_document(Failure::usage(message).help("leave one of the two out"), document).into());
            }
            if named.is_empty() {
                object.set_namespace(&self.session.namespace);
            }
        }
        Ok((resource.clone(), object))
    }

    /// Applies one document.
    pub(crate) async fn apply(&self, document: &Document) -> Result<(Object, Outcome)> {
        let (resource, object) = self.place(document)?;
        if self.write.dry_run == DryRun::Client {
            return Ok((object, Outcome::Configured));
        }
        let context = || format!("{} ({})", document.place, name_of(&object, &self.discovery));
        let mut attempt = 0;
        loop {
            match self.attempt(&resource, &object).await {
                Err(error) if attempt < limits::CONFLICT_RETRIES && raced(&error) => attempt += 1,
                other => return other.with_context(context),
            }
        }
    }

    async fn attempt(&self, resource: &ApiResource, object: &Object) -> Result<(Object, Outcome)> {
        let place = reference(resource, object.namespace(), object.name());
        let mut wanted = annotate(object);
        let Some(live) = self.resources.get_opt(&place).await? else {
            wanted.remove_metadata("resourceVersion");
            let place = reference(resource, object.namespace(), "");
            let item = self.resources.create(&place, &wanted, self.write.options()).await?;
            warn_all(&item.warnings);
            return Ok((object_of(&item)?, Outcome::Created));
        };
        let stated = object.resource_version();
        if !stated.is_empty() && stated != live.resource_version() {
            let message = format!(
                "metadata.resourceVersion: the manifest names {stated}, but the object is at {}",
                live.resource_version()
            );
            let help = "take resourceVersion out of the manifest, or bring it up to date";
            return Err(Failure::new(Exit::Conflict, message).help(help).into());
        }
        let original = original(&live, resource);
        wanted.remove_metadata("resourceVersion");
        let remembered = wanted.annotation(LAST_APPLIED).is_some();
        let mut merged = three_way::merge(&original, wanted.value(), live.value());
        keep_servers_fields(&mut merged, live.value());
        if !remembered && let Some(Value::Object(annotations)) = merged.pointer_mut("/metadata/annotations") {
            // What an earlier apply remembered is not what was applied last any more.
            annotations.remove(LAST_APPLIED);
        }
        let patch = diff::between(live.value(), &merged);
        let changed = self
            .resources
            .patch_live(&place, &live, patch, self.write.options())
            .await?;
        warn_all(&changed.warnings);
        let outcome = if changed.changed {
            Outcome::Configured
        } else {
            Outcome::Unchanged
        };
        Ok((changed.object, outcome))
    }
}

/// Whether another attempt from a fresh read may succeed.
fn raced(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<trireme_client::ClientError>())
        .any(|e| e.is_conflict() || e.is_already_exists())
}

fn in_document(mut failure: Failure, document: &Document) -> Failure {
    failure.message = format!("{}: {}", document.place, failure.message);
    failure
}

/// The object with the annotation that remembers it, if that fits.
fn annotate(object: &Object) -> Object {
    let mut plain = object.clone();
    plain.remove_annotation(LAST_APPLIED);
    let last_applied = format!("{}\n", plain.value());
    if last_applied.len() > limits::LAST_APPLIED_MAX_BYTES {
        warn(format!(
            "{} {:?} is too large to remember what was applied: fields that you take out of its manifest later will stay",
            plain.kind(),
            plain.name()
        ));
        return plain;
    }
    let mut annotated = plain;
    annotated.set_annotation(LAST_APPLIED, &last_applied);
    annotated
}

/// What was applied last, as far as the live object tells.
fn original(live: &Object, resource: &ApiResource) -> Value {
    match live.annotation(LAST_APPLIED).map(serde_json::from_str) {
        Some(Ok(value)) => value,
        Some(Err(_)) => {
            warn(format!(
                "{}/{}: the annotation of the last apply is broken; nothing is removed",
                qualified(resource),
                live.name()
            ));
            Value::Null
        }
        None => {
            warn(format!(
                "{}/{} was not made by `apply`: fields that you take out of its manifest later are removed, those of before stay",
                qualified(resource),
                live.name()
            ));
            Value::Null
        }
    }
}

/// What a manifest says about fields that only the server sets is not applied: such manifests come from `get -o yaml`.
fn keep_servers_fields(merged: &mut Value, live: &Value) {
    for field in [
        "uid",
        "creationTimestamp",
        "generation",
        "resourceVersion",
        "selfLink",
        "managedFields",
        "deletionTimestamp",
    ] {
        let present = live.pointer(&format!("/metadata/{field}")).cloned();
        if let Some(Value::Object(metadata)) = merged.get_mut("metadata") {
            match present {
                Some(value) => metadata.insert(field.to_owned(), value),
                None => metadata.remove(field),
            };
        }
    }
    let status = live.get("status").cloned();
    if let Value::Object(map) = merged {
        match status {
            Some(status) => map.insert("status".to_owned(), status),
            None => map.remove("status"),
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_annotation_does_not_hold_itself() {
        let object = Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})).unwrap();
        let once = annotate(&object);
        assert_eq!(once, annotate(&once));
        assert_eq!(
            serde_json::from_str::<Value>(once.annotation(LAST_APPLIED).unwrap()).unwrap(),
            *object.value()
        );
    }

    #[test]
    fn what_is_too_large_is_not_remembered() {
        let text = "x".repeat(limits::LAST_APPLIED_MAX_BYTES);
        let large = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": text}});
        assert_eq!(annotate(&Object::new(large).unwrap()).annotation(LAST_APPLIED), None);
    }

    #[test]
    fn the_servers_fields_stay() {
        let live = json!({"metadata": {"uid": "u", "generation": 3}, "status": {"phase": "x"}});
        let mut merged = json!({"metadata": {"uid": "other", "creationTimestamp": "t"}, "status": {}, "spec": {}});
        keep_servers_fields(&mut merged, &live);
        assert_eq!(
            merged,
            json!({"metadata": {"uid": "u", "generation": 3}, "status": {"phase": "x"}, "spec": {}})
        );
    }
}
