//! May somebody, in this namespace?

use trireme_proto::api::{
    authorization::v1::{LocalSubjectAccessReview, SubjectAccessReviewStatus},
    meta::v1::Time,
};

use super::{review_info, validate_metadata, validate_question, validate_somebody};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo},
    validation::AsJson,
};

impl Kind for LocalSubjectAccessReview {
    const INFO: KindInfo = review_info(
        "authorization.k8s.io",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        true,
    );

    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.status = Some(SubjectAccessReviewStatus::default());
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        let namespace = self
            .metadata
            .as_ref()
            .map(|meta| meta.namespace.as_str())
            .unwrap_or_default();
        errors.field("spec", |errors| {
            validate_question(
                spec.resource_attributes.as_ref(),
                spec.non_resource_attributes.as_ref(),
                errors,
            );
            validate_somebody(&spec.user, &spec.groups, errors);
        });
        validate_metadata(self.metadata.as_ref(), true, errors);
        errors.field("spec", |errors| {
            if let Some(asked) = spec
                .resource_attributes
                .as_ref()
                .filter(|asked| asked.namespace != namespace)
            {
                errors.field("resourceAttributes.namespace", |errors| {
                    errors.invalid(&asked.namespace, "must match metadata.namespace");
                });
            }
            if let Some(path) = &spec.non_resource_attributes {
                errors.field("nonResourceAttributes", |errors| {
                    errors.invalid(AsJson(path), "disallowed on this kind of request");
                });
            }
        });
    }

    fn cells(&self, _now: Time) -> Vec<String> {
        Vec::new()
    }
}
