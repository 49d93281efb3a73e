//! Who am I?

use trireme_proto::api::{
    authentication::v1::{SelfSubjectReview, SelfSubjectReviewStatus},
    meta::v1::Time,
};

use super::review_info;
use crate::kind::{Kind, KindInfo};

impl Kind for SelfSubjectReview {
    const INFO: KindInfo = review_info(
        "authentication.k8s.io",
        "SelfSubjectReview",
        "selfsubjectreviews",
        "selfsubjectreview",
        false,
    );

    fn prepare_create(&mut self) {
        self.status = Some(SelfSubjectReviewStatus::default());
    }

    fn cells(&self, _now: Time) -> Vec<String> {
        Vec::new()
    }
}
