//! What questions are refused, and that reviews are kinds of their own.
#![allow(clippy::needless_pass_by_value, reason = "tables of `json!` values read better")]

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use trireme_proto::api::meta::v1::Time;

use super::{REVIEWS, review_by_resource};
use crate::{
    field_error::FieldErrors,
    kinds::{KINDS, api_version, by_kind},
    object::Object,
};

fn decode(plural: &str, given: Value) -> Box<dyn Object> {
    let group = if plural == "selfsubjectreviews" {
        "authentication.k8s.io"
    } else {
        "authorization.k8s.io"
    };
    let ops = review_by_resource(group, "v1", plural).expect("a review");
    let mut review = ops
        .from_json(given.to_string().as_bytes(), &mut |path| panic!("unknown field {path}"))
        .expect("a question");
    review.set_defaults();
    review.prepare_create();
    review
}

fn check(plural: &str, given: Value, expected: &Expect) {
    let mut errors = FieldErrors::default();
    decode(plural, given).validate(&mut errors);
    let lines: String = errors.into_errors().iter().map(|error| format!("{error}\n")).collect();
    expected.assert_eq(&lines);
}

#[test]
fn reviews_are_kinds_of_their_own() {
    for ops in REVIEWS {
        let info = ops.info();
        let schema = ops.schema().unwrap_or_else(|| panic!("{} has a schema", info.kind));
        assert_eq!(schema.name, info.kind);
        assert_eq!(info.singular, info.kind.to_lowercase());
        assert!(by_kind(info.group, info.kind).is_none(), "{} is not stored", info.kind);
        assert!(KINDS.iter().all(|kind| kind.info().plural != info.plural));
        let found = review_by_resource(info.group, "", info.plural).expect("is found");
        assert_eq!(found.info().kind, info.kind);
    }
    assert!(review_by_resource("authorization.k8s.io", "v1beta1", "subjectaccessreviews").is_none());
}

#[test]
fn an_answer_in_a_question_is_dropped() {
    for ops in REVIEWS {
        let info = ops.info();
        let given = json!({"apiVersion": api_version(info), "kind": info.kind,
            "status": if info.kind == "SelfSubjectReview" { json!({"userInfo": {"username": "me"}}) } else { json!({}) }});
        let review = decode(info.plural, given);
        let json: Value = serde_json::from_slice(&review.to_json().expect("has JSON")).expect("is JSON");
        assert!(!json["status"].to_string().contains("me\""), "{json}");
    }
    let claimed = json!({"spec": {"resourceAttributes": {}}, "status": {"allowed": true}});
    let review = decode("selfsubjectaccessreviews", claimed);
    let json: Value = serde_json::from_slice(&review.to_json().expect("has JSON")).expect("is JSON");
    assert_eq!(json["status"], json!({"allowed": false}));
}

#[test]
fn one_thing_is_asked_at_a_time() {
    let both = json!({"resourceAttributes": {}, "nonResourceAttributes": {"path": "/a", "verb": "get"}, "user": "ann"});
    let mut mine = both.clone();
    json_patch::merge(&mut mine, &json!({"user": null}));
    check(
        "selfsubjectaccessreviews",
        json!({"spec": mine}),
        &expect![[r#"
        spec.nonResourceAttributes: Invalid value: {"path":"/a","verb":"get"}: cannot be specified in combination with resourceAttributes
    "#]],
    );
    check(
        "selfsubjectaccessreviews",
        json!({"metadata": {"name": "a"}}),
        &expect![[r#"
            spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified
            metadata: Invalid value: {"name":"a"}: must be empty
        "#]],
    );
    check(
        "subjectaccessreviews",
        json!({"spec": both}),
        &expect![[r#"
        spec.nonResourceAttributes: Invalid value: {"path":"/a","verb":"get"}: cannot be specified in combination with resourceAttributes
    "#]],
    );
    check(
        "subjectaccessreviews",
        json!({"spec": {"resourceAttributes": {}}}),
        &expect![[r#"
            spec.user: Invalid value: "": at least one of user or group must be specified
        "#]],
    );
    check(
        "subjectaccessreviews",
        json!({"metadata": {"namespace": "shop"}, "spec": {"resourceAttributes": {}, "groups": ["a"]}}),
        &expect![[r#"
            metadata: Invalid value: {"namespace":"shop"}: must be empty
        "#]],
    );
    check("selfsubjectreviews", json!({}), &expect![[""]]);
    check(
        "selfsubjectrulesreviews",
        json!({}),
        &expect![[r#"
        spec.namespace: Required value: no namespace on request
    "#]],
    );
    check(
        "selfsubjectrulesreviews",
        json!({"spec": {"namespace": "shop"}}),
        &expect![[""]],
    );
}

#[test]
fn local_questions_are_about_their_namespace() {
    let asked = |namespace: &str| json!({"metadata": {"namespace": "shop"}, "spec": {"user": "ann", "resourceAttributes": {"namespace": namespace}}});
    check("localsubjectaccessreviews", asked("shop"), &expect![[""]]);
    check(
        "localsubjectaccessreviews",
        asked("bank"),
        &expect![[r#"
        spec.resourceAttributes.namespace: Invalid value: "bank": must match metadata.namespace
    "#]],
    );
    check(
        "localsubjectaccessreviews",
        json!({"metadata": {"namespace": "shop", "name": "a"}, "spec": {"user": "ann", "nonResourceAttributes": {"path": "/a"}}}),
        &expect![[r#"
            metadata: Invalid value: {"name":"a","namespace":"shop"}: must be empty except for namespace
            spec.nonResourceAttributes: Invalid value: {"path":"/a"}: disallowed on this kind of request
        "#]],
    );
}

/// Clients of the wire form write a time that is not there as an empty message.
#[test]
fn no_time_is_no_metadata() {
    let given = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let mut review = decode("selfsubjectaccessreviews", given);
    review.metadata_mut().creation_timestamp = Some(Time::default());
    let mut errors = FieldErrors::default();
    review.validate(&mut errors);
    assert!(errors.is_empty(), "{:?}", errors.into_errors());
    review.metadata_mut().creation_timestamp = Some(Time { seconds: 1, nanos: 0 });
    let mut errors = FieldErrors::default();
    review.validate(&mut errors);
    assert!(!errors.is_empty());
}
