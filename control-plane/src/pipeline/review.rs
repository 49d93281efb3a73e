//! Answers to reviews: who somebody is, and what they may do. Nothing is stored.

use trireme_logic::{
    field_error::FieldErrors,
    object::{Object, ObjectKey},
};
use trireme_proto::api::{
    authentication::v1::{SelfSubjectReview, SelfSubjectReviewStatus, UserInfo},
    authorization::v1::{
        LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
        SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewStatus, SubjectRulesReviewStatus,
    },
    meta::v1::Time,
};

use super::{
    Decoded, Identity, Role, Subresource, Verb,
    access::{Access, Actor},
    permit,
};
use crate::status::ApiError;

/// Answers a review, which is one of [`REVIEWS`](trireme_logic::kinds::REVIEWS). `namespace` is that of the request, empty for
/// a review that has none; `now` is when it was asked.
///
/// # Errors
/// `Unauthorized` for someone without a certificate, `Forbidden` if they may not ask this, `BadRequest` if the namespaces of request
/// and review differ, `Invalid`.
pub fn answer(identity: &Identity, namespace: &str, review: Decoded, now: Time) -> Result<Box<dyn Object>, ApiError> {
    let mut review = review.into_object();
    let info = review.info();
    may_ask(identity, &*review, namespace)?;
    if info.namespaced {
        place(&mut *review, namespace)?;
    }
    review.set_defaults();
    review.prepare_create();
    let mut errors = FieldErrors::default();
    review.validate(&mut errors);
    if !errors.is_empty() {
        return Err(ApiError::invalid(info, &review.metadata().name, &errors.into_errors()));
    }
    fill_in(identity, &mut *review, now);
    Ok(review)
}

fn may_ask(identity: &Identity, review: &dyn Object, namespace: &str) -> Result<(), ApiError> {
    if identity.role() == Role::Anonymous {
        return Err(permit::no_certificate());
    }
    let info = review.info();
    let access = Access {
        verb: Verb::Create.as_str(),
        group: info.group,
        resource: info.plural,
        ..Access::default()
    };
    if actor_of(identity).may(access) {
        return Ok(());
    }
    let key = ObjectKey::new(namespace, "");
    Err(permit::forbidden(identity, Verb::Create, info, Subresource::None, &key))
}

/// Gives the review the namespace of the request; another of its own must not differ.
fn place(review: &mut dyn Object, namespace: &str) -> Result<(), ApiError> {
    let meta = review.metadata_mut();
    if meta.namespace.is_empty() {
        namespace.clone_into(&mut meta.namespace);
    }
    if meta.namespace == namespace {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "the namespace of the provided object ({}) does not match the namespace sent on the request ({namespace})",
        meta.namespace
    )))
}

fn fill_in(identity: &Identity, review: &mut dyn Object, now: Time) {
    if let Some(review) = review.downcast_mut::<SelfSubjectReview>() {
        review.metadata.get_or_insert_default().creation_timestamp = Some(now);
        review.status = Some(SelfSubjectReviewStatus {
            user_info: Some(user_of(identity)),
        });
    } else if let Some(review) = review.downcast_mut::<SelfSubjectAccessReview>() {
        let spec = review.spec.clone().unwrap_or_default();
        let (resource, path) = (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
        review.status = Some(verdict(&actor_of(identity), resource, path));
    } else if let Some(review) = review.downcast_mut::<SelfSubjectRulesReview>() {
        let actor = actor_of(identity);
        review.status = Some(SubjectRulesReviewStatus {
            resource_rules: actor.resource_rules(),
            non_resource_rules: actor.path_rules(),
            ..SubjectRulesReviewStatus::default()
        });
    } else {
        let (spec, status) = if let Some(review) = review.downcast_mut::<SubjectAccessReview>() {
            (&review.spec, &mut review.status)
        } else if let Some(review) = review.downcast_mut::<LocalSubjectAccessReview>() {
            (&review.spec, &mut review.status)
        } else {
            return;
        };
        let spec = spec.clone().unwrap_or_default();
        let (resource, path) = (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
        *status = Some(verdict(&Actor::of_user(&spec.user, &spec.groups), resource, path));
    }
}

fn actor_of(identity: &Identity) -> Actor {
    Actor::of_role(identity.role(), identity.name())
}

fn user_of(identity: &Identity) -> UserInfo {
    UserInfo {
        username: identity.user(),
        groups: identity.groups().iter().map(|group| (*group).to_owned()).collect(),
        ..UserInfo::default()
    }
}

/// Whether the one thing that is asked may be done, and why not.
fn verdict(
    actor: &Actor,
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
) -> SubjectAccessReviewStatus {
    let of_resource = |asked: &ResourceAttributes| {
        actor.may(Access {
            verb: &asked.verb,
            group: &asked.group,
            resource: &asked.resource,
            subresource: &asked.subresource,
            name: &asked.name,
        })
    };
    let allowed = match (resource, path) {
        (Some(asked), _) => of_resource(asked),
        (None, Some(asked)) => actor.may_use_path(&asked.verb, &asked.path),
        (None, None) => false,
    };
    let reason = match actor {
        _ if allowed => "",
        Actor::Node(_) => "a node may only read its own Node, write events and ask about itself",
        Actor::Nobody => "the user has none of the roles that certificates give",
        Actor::Unbounded => "nothing was asked",
    };
    SubjectAccessReviewStatus {
        allowed,
        reason: reason.to_owned(),
        ..SubjectAccessReviewStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};
    use trireme_logic::kinds::review_by_resource;
    use trireme_proto::v1::Encoding;

    use super::*;
    use crate::{pipeline::Validation, pki::Subject, status::Reason, transport::Peer};

    fn ask(
        subject: Option<Subject>,
        namespace: &str,
        (group, plural): (&str, &str),
        question: &Value,
    ) -> Result<Value, ApiError> {
        let identity = Identity::authenticate(&Peer::for_tests(subject))?;
        let ops = review_by_resource(group, "v1", plural).expect("a review");
        let body = Bytes::from(question.to_string());
        let review = Decoded::decode_review(ops, body, Encoding::Json, Validation::Strict)?;
        let now = Time { seconds: 60, nanos: 0 };
        let answered = answer(&identity, namespace, review, now)?;
        Ok(serde_json::from_slice(&answered.to_json().expect("has JSON")).expect("is JSON"))
    }

    const AUTHENTICATION: &str = "authentication.k8s.io";
    const AUTHORIZATION: &str = "authorization.k8s.io";

    fn admin() -> Option<Subject> {
        Some(Subject::Admin)
    }

    fn node() -> Option<Subject> {
        Some(Subject::Node("n1".into()))
    }

    #[test]
    fn somebody_is_told_who_they_are() {
        let answer = ask(node(), "", (AUTHENTICATION, "selfsubjectreviews"), &json!({})).expect("answered");
        assert_eq!(
            answer["status"],
            json!({"userInfo": {"username": "system:node:n1", "groups": ["system:nodes", "system:authenticated"]}})
        );
        assert_eq!(answer["metadata"]["creationTimestamp"], "1970-01-01T00:01:00Z");
        let answer = ask(admin(), "", (AUTHENTICATION, "selfsubjectreviews"), &json!({})).expect("answered");
        assert_eq!(answer["status"]["userInfo"]["groups"][0], "system:masters");
    }

    #[test]
    fn somebody_is_told_what_they_may() {
        let may = |subject: Option<Subject>, spec: Value| {
            let question = (AUTHORIZATION, "selfsubjectaccessreviews");
            ask(subject, "", question, &json!({"spec": spec})).expect("answered")["status"].clone()
        };
        let all = json!({"resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}});
        let own = json!({"resourceAttributes": {"verb": "get", "resource": "nodes", "name": "n1"}});
        let pods = json!({"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "shop"}});
        let path = |path: &str| json!({"nonResourceAttributes": {"verb": "get", "path": path}});
        for (spec, admins, nodes) in [
            (all, true, false),
            (own, true, true),
            (pods, true, false),
            (path("/version"), true, true),
            (path("/metrics"), true, false),
        ] {
            for (subject, expected) in [(admin(), admins), (node(), nodes)] {
                let status = may(subject.clone(), spec.clone());
                assert_eq!(status["allowed"], json!(expected), "{subject:?} {spec}");
                assert_eq!(
                    status.get("reason").is_some(),
                    !expected,
                    "a refusal says why: {status}"
                );
            }
        }
    }

    #[test]
    fn rules_are_told() {
        let rules = |subject: Option<Subject>| {
            let question = json!({"spec": {"namespace": "shop"}});
            ask(subject, "", (AUTHORIZATION, "selfsubjectrulesreviews"), &question).expect("answered")["status"].clone()
        };
        assert_eq!(
            rules(admin()),
            json!({"incomplete": false,
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]})
        );
        assert_eq!(rules(node())["resourceRules"][0]["resourceNames"], json!(["n1"]));
    }

    #[test]
    fn admins_may_ask_about_others() {
        let pods = json!({"verb": "get", "resource": "pods", "namespace": "shop"});
        let about =
            |user: &str, group: &str| json!({"spec": {"user": user, "groups": [group], "resourceAttributes": pods}});
        for (question, expected) in [
            (about("ann", "system:masters"), true),
            (about("system:node:n1", "system:nodes"), false),
            (about("ann", "friends"), false),
        ] {
            for (namespace, plural) in [("", "subjectaccessreviews"), ("shop", "localsubjectaccessreviews")] {
                let answer = ask(admin(), namespace, (AUTHORIZATION, plural), &question).expect("answered");
                assert_eq!(answer["status"]["allowed"], json!(expected), "{plural} {question}");
                assert_eq!(answer["metadata"].get("namespace").is_some(), !namespace.is_empty());
            }
        }
    }

    #[test]
    fn some_questions_are_refused() {
        let access = json!({"spec": {"user": "ann", "resourceAttributes": {"namespace": "shop"}}});
        let mut elsewhere = access.clone();
        elsewhere["metadata"] = json!({"namespace": "bank"});
        let local = (AUTHORIZATION, "localsubjectaccessreviews");
        for (subject, question, body, reason) in [
            (
                node(),
                (AUTHORIZATION, "subjectaccessreviews"),
                access.clone(),
                Reason::Forbidden,
            ),
            (node(), local, access.clone(), Reason::Forbidden),
            (
                None,
                (AUTHENTICATION, "selfsubjectreviews"),
                json!({}),
                Reason::Unauthorized,
            ),
            (
                admin(),
                (AUTHORIZATION, "selfsubjectaccessreviews"),
                json!({}),
                Reason::Invalid,
            ),
            (
                admin(),
                (AUTHORIZATION, "selfsubjectrulesreviews"),
                json!({}),
                Reason::Invalid,
            ),
            (admin(), local, elsewhere, Reason::BadRequest),
            (admin(), local, json!({"spek": {}}), Reason::BadRequest),
        ] {
            let error = ask(subject, "shop", question, &body).expect_err("refused");
            assert_eq!(error.reason(), reason, "{question:?} {body}: {error}");
        }
    }
}
