//! Events: what happened to objects, for people to read.
//!
//! They are kept for a while and then expire; nothing may depend on them. The newer version of the group
//! `events.k8s.io` is the same with other names.

mod v1;

use trireme_proto::api::{
    core::v1::{Event, ObjectReference},
    meta::v1::{MicroTime, Time},
};

use super::columns::{UNKNOWN, column, since, wide};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::one_of,
};

impl Kind for Event {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[
            column("Last Seen", "Time since it happened last."),
            column("Type", "Whether it is as planned or something to look at."),
            column("Reason", "What happened, in a word."),
            column("Object", "What it happened to."),
            wide("Subobject", "The part of the object, such as a container."),
            wide("Source", "Who reports it."),
            column("Message", "What happened, in a sentence."),
            wide("First Seen", "Time since it happened first."),
            wide("Count", "How often it happened."),
            wide("Name", "The event's own name, which says little."),
        ],
        selectable_fields: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.involved_object.get_or_insert_default();
        self.source.get_or_insert_default();
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let involved = self.involved_object.clone().unwrap_or_default();
        let namespace = &metadata_of(self).namespace;
        // Events about cluster-scoped objects live in the namespace `default`.
        let expected = if involved.namespace.is_empty() {
            "default"
        } else {
            &involved.namespace
        };
        if namespace != expected {
            errors.field("involvedObject.namespace", |errors| {
                errors.invalid(&involved.namespace, "does not match event.namespace");
            });
        }
        if !self.r#type.is_empty() {
            errors.field("type", |errors| one_of(&self.r#type, &["Normal", "Warning"], errors));
        }
        for (field, text, limit) in [
            ("reason", &self.reason, limits::EVENT_REASON_BYTES),
            ("message", &self.message, limits::EVENT_MESSAGE_BYTES),
        ] {
            if text.len() > limit {
                errors.field(field, |errors| errors.too_long(limit));
            }
        }
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let moment = |time: Option<&MicroTime>| {
            time.map_or_else(
                || UNKNOWN.to_owned(),
                |time| {
                    since(
                        Some(&Time {
                            seconds: time.seconds,
                            nanos: 0,
                        }),
                        now,
                    )
                },
            )
        };
        let first = match &self.first_timestamp {
            Some(time) => since(Some(time), now),
            None => moment(self.event_time.as_ref()),
        };
        let (last, count) = match (&self.series, &self.last_timestamp) {
            (Some(series), _) => (moment(series.last_observed_time.as_ref()), series.count),
            (None, Some(time)) => (since(Some(time), now), self.count),
            (None, None) => (first.clone(), self.count),
        };
        let involved = self.involved_object.clone().unwrap_or_default();
        vec![
            last,
            self.r#type.clone(),
            self.reason.clone(),
            object_cell(&involved),
            involved.field_path.clone(),
            source_cell(self),
            self.message.trim().to_owned(),
            first,
            count.max(1).to_string(),
            metadata_of(self).name.clone(),
        ]
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        let involved = self.involved_object.clone().unwrap_or_default();
        // The newer version calls some of the fields by other names.
        match path {
            "involvedObject.kind" | "regarding.kind" => Some(involved.kind),
            "involvedObject.namespace" | "regarding.namespace" => Some(involved.namespace),
            "involvedObject.name" | "regarding.name" => Some(involved.name),
            "involvedObject.uid" | "regarding.uid" => Some(involved.uid),
            "involvedObject.apiVersion" | "regarding.apiVersion" => Some(involved.api_version),
            "involvedObject.resourceVersion" | "regarding.resourceVersion" => Some(involved.resource_version),
            "involvedObject.fieldPath" | "regarding.fieldPath" => Some(involved.field_path),
            "reason" => Some(self.reason.clone()),
            "reportingComponent" | "reportingController" => Some(self.reporting_component.clone()),
            "source" => {
                let component = self
                    .source
                    .as_ref()
                    .map(|source| source.component.clone())
                    .unwrap_or_default();
                Some(if component.is_empty() {
                    self.reporting_component.clone()
                } else {
                    component
                })
            }
            "type" => Some(self.r#type.clone()),
            _ => None,
        }
    }
}

fn object_cell(involved: &ObjectReference) -> String {
    let kind = involved.kind.to_lowercase();
    if involved.name.is_empty() {
        kind
    } else {
        format!("{kind}/{}", involved.name)
    }
}

fn source_cell(event: &Event) -> String {
    let source = event.source.clone().unwrap_or_default();
    let (component, host) = if source.component.is_empty() {
        (&event.reporting_component, &event.reporting_instance)
    } else {
        (&source.component, &source.host)
    };
    if host.is_empty() {
        component.clone()
    } else {
        format!("{component}, {host}")
    }
}
