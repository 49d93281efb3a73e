//! May I?

use trireme_proto::api::{
    authorization::v1::{SelfSubjectAccessReview, SubjectAccessReviewStatus},
    meta::v1::Time,
};

use super::{review_info, validate_metadata, validate_question};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo},
};

impl Kind for SelfSubjectAccessReview {
    const INFO: KindInfo = review_info(
        "authorization.k8s.io",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        false,
    );

    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.status = Some(SubjectAccessReviewStatus::default());
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| {
            validate_question(
                spec.resource_attributes.as_ref(),
                spec.non_resource_attributes.as_ref(),
                errors,
            );
        });
        validate_metadata(self.metadata.as_ref(), false, errors);
    }

    fn cells(&self, _now: Time) -> Vec<String> {
        Vec::new()
    }
}
