//! ServiceAccounts: who a pod is.

use trireme_proto::api::{core::v1::ServiceAccount, meta::v1::Time};

use super::columns::{AGE, age, column};
use crate::kind::{Kind, KindInfo, NameRule, metadata_of};

impl Kind for ServiceAccount {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        categories: &[],
        namespaced: true,
        subresources: &["token"],
        columns: &[column("Secrets", "How many secrets the account names."), AGE],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn cells(&self, now: Time) -> Vec<String> {
        vec![self.secrets.len().to_string(), age(metadata_of(self), now)]
    }
}
