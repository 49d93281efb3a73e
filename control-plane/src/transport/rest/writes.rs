//! The verbs that change something: what is sent, how it is to be stored, and what is answered.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use trireme_logic::{
    kinds,
    object::{KindOps, Object},
};
use trireme_proto::{
    api::{
        core::v1::Binding,
        meta::v1::{DeleteOptions as SentOptions, Status, StatusDetails},
    },
    v1::ResourceRef,
};

use super::{
    Asked, RestService,
    answer::{Wishes, status_bytes, text, warn},
    body::{self, Document},
    body_format, envelope,
    form::Form,
    list, list_request,
    negotiate::{Accepted, AnswerOf, Format, PatchForm},
    query::{self, ListOptions, Query, WriteOptions, WriteVerb},
    require_post, yaml,
};
use crate::{
    pipeline::{Decoded, Identity, Permit, RawRequest, Subresource, Verb, answer_review},
    registry::{DeleteOptions, Deleted, Propagation},
    services::verbs::{self, Outcome, Written, requested},
    status::ApiError,
    transport::Peer,
};

/// Kinds whose deletion is answered with the object as it last was; the others' with a `Status`. A fact of Kubernetes.
const SHOWN_WHEN_DELETED: [&str; 8] = [
    "pods",
    "services",
    "serviceaccounts",
    "podtemplates",
    "persistentvolumes",
    "persistentvolumeclaims",
    "resourcequotas",
    "storageclasses",
];

impl RestService {
    pub(super) async fn create(&self, asked: &Asked<'_>, body: &mut Body) -> Result<Response, ApiError> {
        let form = self.form(asked, AnswerOf::One)?;
        let options = WriteOptions::parse(&asked.query, WriteVerb::Create)?;
        let document = self.document(asked, body, &options).await?;
        let written = verbs::create(&self.registry, &asked.permit, document.sent, plain(&options)).await?;
        if matches!(
            requested(&asked.permit)?.subresource(),
            Subresource::Binding | Subresource::Eviction
        ) {
            return success(asked.parts, asked.wishes, StatusCode::CREATED, None);
        }
        let warnings = [document.warnings, written.warnings].concat();
        let mut response = self.shown(asked, &form, StatusCode::CREATED, &written.outcome)?;
        warn(&mut response, &warnings);
        Ok(response)
    }

    pub(super) async fn update(&self, asked: &Asked<'_>, body: &mut Body) -> Result<Response, ApiError> {
        let form = self.form(asked, AnswerOf::One)?;
        let options = WriteOptions::parse(&asked.query, WriteVerb::Update)?;
        let document = self.document(asked, body, &options).await?;
        let written = verbs::update(&self.registry, &asked.permit, document.sent, plain(&options)).await?;
        let warnings = [document.warnings, written.warnings].concat();
        let mut response = self.shown(asked, &form, StatusCode::OK, &written.outcome)?;
        warn(&mut response, &warnings);
        Ok(response)
    }

    pub(super) async fn patch(&self, asked: &Asked<'_>, body: &mut Body) -> Result<Response, ApiError> {
        let form = self.form(asked, AnswerOf::One)?;
        let patch_type = match PatchForm::of_body(&text(&asked.parts.headers, header::CONTENT_TYPE))? {
            PatchForm::Patch(patch_type) => patch_type,
            PatchForm::Apply => return self.apply(asked, &form, body).await,
        };
        let options = WriteOptions::parse(&asked.query, WriteVerb::Patch)?;
        let patch = body::read(body).await?;
        let Written { outcome, warnings } =
            verbs::patch(&self.registry, &asked.permit, patch_type, patch, plain(&options)).await?;
        let mut response = self.shown(asked, &form, StatusCode::OK, &outcome)?;
        warn(&mut response, &warnings);
        Ok(response)
    }

    async fn apply(&self, asked: &Asked<'_>, form: &Form, body: &mut Body) -> Result<Response, ApiError> {
        let options = WriteOptions::parse(&asked.query, WriteVerb::Apply)?;
        let read = yaml::read(&body::read(body).await?, options.validation)?;
        let (registry, permit, config) = (&self.registry, &asked.permit, Bytes::from(read.json));
        let (written, created) = verbs::apply(registry, permit, config, options.force, plain(&options)).await?;
        let code = if created { StatusCode::CREATED } else { StatusCode::OK };
        let mut response = self.shown(asked, form, code, &written.outcome)?;
        warn(&mut response, &[read.warnings, written.warnings].concat());
        Ok(response)
    }

    /// Answers a review: what somebody asks of the server, and nothing that is stored.
    pub(super) async fn review(
        &self,
        peer: &Peer,
        parts: &Parts,
        query: &Query,
        (ops, namespace): (&'static dyn KindOps, &str),
        body: &mut Body,
    ) -> Result<Response, ApiError> {
        require_post(&parts.method)?;
        let options = WriteOptions::parse(query, WriteVerb::Create)?;
        let info = ops.info();
        let kind = (kinds::api_version(info), info.kind);
        let document = body::document(
            body_format(parts)?,
            body::read(body).await?,
            (&kind.0, kind.1),
            options.validation,
        )?;
        let mut review = Decoded::decode_review(ops, document.sent.body, document.sent.encoding, options.validation)?;
        let warnings = [document.warnings, review.take_warnings()].concat();
        let identity = Identity::authenticate(peer)?;
        let answer = answer_review(&identity, namespace, review, self.registry.environment().now())?;
        let format = Accepted::of_failure(&text(&parts.headers, header::ACCEPT));
        let bytes = review_bytes(&*answer, format)?;
        let mut response = Wishes::of(parts, query).whole(StatusCode::CREATED, format, bytes)?;
        warn(&mut response, &warnings);
        Ok(response)
    }

    pub(super) async fn delete(&self, asked: &Asked<'_>, body: &mut Body) -> Result<Response, ApiError> {
        let form = self.form(asked, AnswerOf::One)?;
        let (options, is_foreground_asked) = delete_options(asked, body).await?;
        let Deleted { stored, gone } = verbs::delete(&self.registry, &asked.permit, &options).await?;
        let code = if !gone && is_foreground_asked {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        let info = stored.kind();
        if gone && !SHOWN_WHEN_DELETED.contains(&info.plural) {
            let details = StatusDetails {
                name: stored.key().name.clone(),
                group: info.group.to_owned(),
                kind: info.plural.to_owned(),
                uid: stored.object()?.metadata().uid.clone(),
                ..StatusDetails::default()
            };
            return success(asked.parts, asked.wishes, code, Some(details));
        }
        self.shown(asked, &form, code, &Outcome::Object(stored))
    }

    pub(super) async fn delete_collection(&self, asked: &Asked<'_>, body: &mut Body) -> Result<Response, ApiError> {
        let form = self.form(asked, AnswerOf::Range)?;
        let format = form.accepted.format;
        let (options, _) = delete_options(asked, body).await?;
        let range = list_request(asked, ListOptions::selectors(&asked.query))?;
        let (registry, permit) = (&self.registry, &asked.permit);
        let ops = requested(permit)?.ops();
        let revision = registry.delete_collection(permit, ops, &range, &options).await?;
        // What was found is read again rather than kept: it may be large.
        let found = registry.found_in_slices(permit, ops, &range, revision)?;
        let pieces = list::pieces(found, permit, range.limit, form).await?;
        asked.wishes.in_pieces(format, pieces).await
    }

    /// Binds the pod that a `Binding` is named like.
    pub(super) async fn bind_named(
        &self,
        peer: &Peer,
        parts: &Parts,
        query: &Query,
        place: ResourceRef,
        body: &mut Body,
    ) -> Result<Response, ApiError> {
        require_post(&parts.method)?;
        let options = WriteOptions::parse(query, WriteVerb::Create)?;
        let format = body_format(parts)?;
        let body = body::read(body).await?;
        let binding: Binding = body::message(format, body.clone(), "Binding")?;
        let pod = ResourceRef {
            resource: "pods".to_owned(),
            name: binding.metadata.map(|meta| meta.name).unwrap_or_default(),
            subresource: "binding".to_owned(),
            ..place
        };
        let permit = Permit::request(&RawRequest {
            peer,
            verb: Verb::Create,
            resource: &pod,
        })?;
        let document = body::document(format, body, ("v1", "Binding"), options.validation)?;
        verbs::create(&self.registry, &permit, document.sent, plain(&options)).await?;
        success(parts, Wishes::of(parts, query), StatusCode::CREATED, None)
    }

    async fn document(&self, asked: &Asked<'_>, body: &mut Body, options: &WriteOptions) -> Result<Document, ApiError> {
        let format = body_format(asked.parts)?;
        let info = requested(&asked.permit)?;
        let (api_version, kind) = match info.subresource() {
            Subresource::Scale => ("autoscaling/v1".to_owned(), "Scale"),
            Subresource::Binding => ("v1".to_owned(), "Binding"),
            Subresource::Eviction => ("policy/v1".to_owned(), "Eviction"),
            Subresource::None
            | Subresource::Status
            | Subresource::Finalize
            | Subresource::Log
            | Subresource::EphemeralContainers
            | Subresource::Resize
            | Subresource::Approval => (kinds::api_version(info.kind()), info.kind().kind),
        };
        let body = body::read(body).await?;
        body::document(format, body, (&api_version, kind), options.validation)
    }
}

fn review_bytes(review: &dyn Object, format: Format) -> Result<Vec<u8>, ApiError> {
    let info = review.info();
    let no_json = |error| ApiError::internal("a review has no JSON").context(error);
    match format {
        Format::Json => review.to_json().map_err(no_json),
        Format::Yaml => Ok(yaml::write(&review.to_json().map_err(no_json)?)?.into_bytes()),
        Format::Protobuf => Ok(envelope::wrap(
            &kinds::api_version(info),
            info.kind,
            &review.to_protobuf(),
        )),
    }
}

fn plain(options: &WriteOptions) -> verbs::WriteOptions {
    verbs::WriteOptions {
        dry_run: options.dry_run,
        validation: options.validation,
    }
}

/// How to delete, and whether that was said in a way by which an object that stays for a while is `Accepted`.
async fn delete_options(asked: &Asked<'_>, body: &mut Body) -> Result<(DeleteOptions, bool), ApiError> {
    let body = body::read(body).await?;
    let sent: Option<SentOptions> = if body.is_empty() {
        None
    } else {
        Some(body::message(body_format(asked.parts)?, body, "DeleteOptions")?)
    };
    let is_cascading = sent.as_ref().map_or_else(
        || asked.query.boolean("orphanDependents"),
        |sent| sent.orphan_dependents,
    ) == Some(false);
    let options = query::delete_options(sent, &asked.query)?;
    let is_foreground = options.propagation == Propagation::Foreground;
    Ok((options, is_foreground || is_cascading))
}

/// An answer that shows no object.
fn success(
    parts: &Parts,
    wishes: Wishes,
    code: StatusCode,
    details: Option<StatusDetails>,
) -> Result<Response, ApiError> {
    let format = Accepted::of_failure(&text(&parts.headers, header::ACCEPT));
    let status = Status {
        status: "Success".to_owned(),
        details,
        code: if code == StatusCode::OK {
            0
        } else {
            i32::from(code.as_u16())
        },
        ..Status::default()
    };
    wishes.whole(code, format, status_bytes(&status, format)?)
}
