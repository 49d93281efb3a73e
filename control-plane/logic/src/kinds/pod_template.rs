//! PodTemplates: templates of pods that stand for themselves. Nothing in the cluster makes pods of them.

use trireme_proto::api::{core::v1::PodTemplate, meta::v1::Time};

use super::{
    bump_generation,
    columns::{NONE, column},
    first_generation, pod_spec, workload,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule},
    validation::labels,
};

impl Kind for PodTemplate {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "PodTemplate",
        plural: "podtemplates",
        singular: "podtemplate",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[
            column("Containers", "Names of the containers of the template."),
            column("Images", "Images of the containers of the template."),
            column("Pod Labels", "Labels of the template."),
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        workload::template_defaults(&mut self.template);
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
    }

    fn prepare_update(&mut self, old: &Self) {
        bump_generation(&mut self.metadata, self.template != old.template);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let template = self.template.clone().unwrap_or_default();
        errors.field("template", |errors| pod_spec::validate_template(&template, errors));
    }

    fn cells(&self, _now: Time) -> Vec<String> {
        let template = self.template.as_ref();
        let [containers, images] = workload::template_cells(template);
        let pod_labels = template
            .and_then(|template| template.metadata.as_ref())
            .map(|metadata| labels::map_text(&metadata.labels))
            .filter(|text| !text.is_empty());
        vec![containers, images, pod_labels.unwrap_or_else(|| NONE.into())]
    }
}
