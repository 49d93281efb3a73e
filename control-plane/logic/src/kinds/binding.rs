//! Bindings: orders to bind a pod to a node. Nothing is stored of one but what it does to its pod.

use trireme_proto::api::{core::v1::Binding, meta::v1::Time};

use crate::kind::{Kind, KindInfo, NameRule};

impl Kind for Binding {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Binding",
        plural: "bindings",
        singular: "binding",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn cells(&self, _now: Time) -> Vec<String> {
        Vec::new()
    }
}
