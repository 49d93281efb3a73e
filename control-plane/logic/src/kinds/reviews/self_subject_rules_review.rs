//! What may I, in this namespace?

use trireme_proto::api::{
    authorization::v1::{SelfSubjectRulesReview, SubjectRulesReviewStatus},
    meta::v1::Time,
};

use super::review_info;
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo},
};

impl Kind for SelfSubjectRulesReview {
    const INFO: KindInfo = review_info(
        "authorization.k8s.io",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        false,
    );

    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.status = Some(SubjectRulesReviewStatus::default());
    }

    fn validate(&self, errors: &mut FieldErrors) {
        if self.spec.as_ref().is_none_or(|spec| spec.namespace.is_empty()) {
            errors.field("spec.namespace", |errors| errors.required("no namespace on request"));
        }
    }

    fn cells(&self, _now: Time) -> Vec<String> {
        Vec::new()
    }
}
