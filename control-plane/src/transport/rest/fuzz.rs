//! What the fuzz targets drive of the REST interface: the bodies of writes in each form, and what a request asks for.

use bytes::Bytes;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use trireme_logic::{
    kinds::{self, KINDS},
    object::{KindOps, Object},
};
use trireme_proto::{api::meta::v1::DeleteOptions, v1::ResourceRef};

use super::{
    body, envelope,
    form::Include,
    negotiate::{Accepted, AnswerOf, Format, PatchForm},
    path::Place,
    query::{ListOptions, Query, WatchOptions, WriteOptions, WriteVerb, delete_options},
    verb::verb_of,
    yaml,
};
use crate::{
    limits,
    pipeline::{Decoded, FieldManager, Validation},
    registry::Selection,
    services::verbs::Sent,
    status::{ApiError, Reason},
};

const FORMATS: [Format; 3] = [Format::Json, Format::Yaml, Format::Protobuf];
const VALIDATIONS: [Validation; 3] = [Validation::Strict, Validation::Warn, Validation::Ignore];

/// A refusal is the client's to mend, and says so in words that a header or a line can hold.
fn check_refusal(error: &ApiError) {
    let code = error.reason().http_code();
    assert!(
        (400..500).contains(&code) || error.reason() == Reason::NotImplemented,
        "{code} {error}"
    );
    assert!(!error.message().is_empty());
}

/// `kind (1) | form and validation (1) | the body of a create`.
pub fn rest_body(input: &[u8]) -> bool {
    let Some(([which, form], body)) = input.split_first_chunk::<2>() else {
        return false;
    };
    let ops = KINDS[usize::from(*which) % KINDS.len()];
    let format = FORMATS[usize::from(*form) % FORMATS.len()];
    let validation = VALIDATIONS[usize::from(*form) / FORMATS.len() % VALIDATIONS.len()];
    // Options are read from any body, too.
    if let Err(error) = body::message::<DeleteOptions>(format, Bytes::copy_from_slice(body), "DeleteOptions") {
        check_refusal(&error);
    }
    match read(ops, format, body, validation) {
        Ok(object) => check_answers(ops, &*object),
        Err(error) => {
            check_refusal(&error);
            return false;
        }
    }
    true
}

fn read(
    ops: &'static dyn KindOps,
    format: Format,
    body: &[u8],
    validation: Validation,
) -> Result<Box<dyn Object>, ApiError> {
    let info = ops.info();
    let expected = kinds::api_version(info);
    let document = body::document(format, Bytes::copy_from_slice(body), (&expected, info.kind), validation)?;
    let Sent { body, encoding } = document.sent;
    assert!(body.len() <= limits::REQUEST_MAX_BYTES);
    let mut decoded = Decoded::decode_review(ops, body, encoding, validation)?;
    let warnings = decoded.take_warnings();
    assert!(warnings.len() <= limits::WARNINGS_MAX);
    assert!(validation == Validation::Warn || warnings.is_empty());
    Ok(decoded.into_object())
}

/// What is answered in one form says what it says in another, and can be sent back.
fn check_answers(ops: &'static dyn KindOps, object: &dyn Object) {
    let api_version = kinds::api_version(ops.info());
    let protobuf = ops.protobuf_of(object);
    let wrapped = envelope::wrap(&api_version, ops.info().kind, &protobuf);
    let unwrapped = envelope::unwrap(&Bytes::from(wrapped.clone())).expect("an envelope");
    assert_eq!(unwrapped.raw, protobuf);
    let back = read(ops, Format::Protobuf, &wrapped, Validation::Strict).expect("what is shown can be sent back");
    assert_eq!(ops.protobuf_of(&*back), protobuf);
    // Some values of Protocol Buffers have no JSON.
    let Ok(json) = ops.json_of(object) else { return };
    let Ok(back) = read(ops, Format::Json, &json, Validation::Strict) else {
        return;
    };
    let yaml = yaml::write(&json).expect("what has JSON has YAML");
    let from_yaml = read(ops, Format::Yaml, yaml.as_bytes(), Validation::Strict);
    let from_yaml = from_yaml.unwrap_or_else(|error| panic!("what is shown can be sent back: {error}\n{yaml}"));
    let text = |object: &dyn Object| String::from_utf8(ops.json_of(object).expect("has JSON")).expect("is text");
    assert_eq!(text(&*from_yaml), text(&*back), "{yaml}");
}

/// Bodies as clients send them, in each form.
pub fn rest_body_seeds() -> Vec<Vec<u8>> {
    let object = |(api_version, kind, more): (&str, &str, Value)| {
        let which = KINDS
            .iter()
            .position(|ops| kinds::api_version(ops.info()) == api_version && ops.info().kind == kind)
            .expect("a kind");
        let mut json =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "web", "labels": {"on": "y"}}});
        json.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        (which, json.to_string())
    };
    let spec =
        json!({"containers": [{"name": "main", "image": "web:1", "args": ["", "no", "1e3", "0x1f", "~", "a: b"]}]});
    let objects = [
        ("v1", "Pod", json!({"spec": spec})),
        (
            "v1",
            "ConfigMap",
            json!({"data": {"a": "one\ntwo\n", "b": "\u{85}\u{2028}", "c": "- x"}}),
        ),
        ("v1", "Secret", json!({"data": {"a": "AAEC"}, "stringData": {"b": "c"}})),
    ];
    let mut seeds = Vec::new();
    for (which, text) in objects.map(object) {
        let ops = KINDS[which];
        let which = u8::try_from(which).expect("there are few kinds");
        let read = ops.from_json(text.as_bytes(), &mut |_| {}).expect("a seed is sound");
        let wrapped = envelope::wrap(
            &kinds::api_version(ops.info()),
            ops.info().kind,
            &ops.protobuf_of(&*read),
        );
        let yaml = yaml::write(text.as_bytes()).expect("a seed has YAML");
        for (form, body) in [(0, text.into_bytes()), (1, yaml.into_bytes()), (2, wrapped)] {
            seeds.push([&[which, form][..], &body].concat());
        }
    }
    seeds
}

/// Lines: the target, what is accepted, the type of the body. What was understood is the same when it is written again.
pub fn rest_request(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else {
        return false;
    };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (target, accept, content_type) = (line(), line(), line());
    for answer in [AnswerOf::One, AnswerOf::Range, AnswerOf::Events] {
        let _ = Accepted::negotiate(accept, answer).inspect_err(check_refusal);
    }
    let _ = Accepted::of_failure(accept);
    let _ = Format::of_body(content_type).inspect_err(check_refusal);
    let _ = PatchForm::of_body(content_type).inspect_err(check_refusal);

    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = match Query::parse(query) {
        Ok(query) => query,
        Err(error) => {
            check_refusal(&error);
            return false;
        }
    };
    check_options(&query);
    let Some(place) = Place::parse(path) else { return false };
    if !place.is_watch {
        assert_eq!(Place::parse(&path_of(&place.resource)).as_ref(), Some(&place), "{path}");
    }
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let _ = verb_of(&method, &place, &query).inspect_err(check_refusal);
    }
    let ResourceRef {
        group,
        version,
        resource,
        ..
    } = &place.resource;
    let Some(ops) = kinds::by_resource(group, version, resource) else {
        return false;
    };
    let (labels, fields) = (query.get("labelSelector"), query.get("fieldSelector"));
    Selection::parse(ops.info(), labels, fields)
        .inspect_err(check_refusal)
        .is_ok()
}

fn check_options(query: &Query) {
    for verb in [WriteVerb::Create, WriteVerb::Update, WriteVerb::Patch, WriteVerb::Apply] {
        let _ = WriteOptions::parse(query, verb).inspect_err(check_refusal);
    }
    if let Ok(options) = ListOptions::of_list(query).inspect_err(check_refusal) {
        assert_eq!(options.label_selector, query.get("labelSelector"));
    }
    let _ = WatchOptions::parse(query).inspect_err(check_refusal);
    let _ = delete_options(None, query).inspect_err(check_refusal);
    let _ = Include::parse(query).inspect_err(check_refusal);
    let _ = FieldManager::of_request(query.get("fieldManager"), query.get("userAgent")).inspect_err(check_refusal);
}

/// The path of a resource, each part with everything encoded that need not stand as it is.
fn path_of(resource: &ResourceRef) -> String {
    let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut path = if resource.group.is_empty() {
        format!("/api/{}", part(&resource.version))
    } else {
        format!("/apis/{}/{}", part(&resource.group), part(&resource.version))
    };
    if !resource.namespace.is_empty() {
        path += &format!("/namespaces/{}", part(&resource.namespace));
    }
    for text in [&resource.resource, &resource.name, &resource.subresource] {
        if !text.is_empty() {
            path += &format!("/{}", part(text));
        }
    }
    path
}

/// Requests as clients send them.
pub fn rest_request_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "/api/v1/namespaces/shop/pods?labelSelector=app%3Dweb%2Ctier+in+(a,b)&fieldSelector=spec.nodeName%3Dn1&limit=500\n\
         application/json;as=Table;v=v1;g=meta.k8s.io,application/json\n",
        "/api/v1/pods?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=7\n\
         application/vnd.kubernetes.protobuf, */*;q=0.8\n",
        "/apis/apps/v1/namespaces/shop/deployments/web/scale?fieldManager=me&force=true&dryRun=All&fieldValidation=Strict\n\
         application/yaml\napplication/apply-patch+yaml",
        "/api/v1/namespaces/shop/pods/web?gracePeriodSeconds=0&propagationPolicy=Foreground\n*/*\napplication/json; charset=utf-8",
        "/api/v1/watch/namespaces/shop/pods/web?timeoutSeconds=5&resourceVersion=0\n\n",
        "/api/v1/namespaces/shop/configmaps?limit=2&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ&includeObject=Object\n\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
