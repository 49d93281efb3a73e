//! Events in the newer version.

use trireme_proto::api::{
    core::v1 as core,
    events::v1::{Event, EventSeries},
    meta::v1::Time,
};

use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo},
    limits,
    validation::{names, report},
    version::Version,
};

impl Version for Event {
    type Stored = core::Event;

    const INFO: KindInfo = KindInfo {
        group: "events.k8s.io",
        selectable_fields: &[
            "reason",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reportingController",
            "type",
        ],
        ..<core::Event as Kind>::INFO
    };

    fn from_stored(stored: &core::Event) -> Self {
        let stored = stored.clone();
        Self {
            metadata: stored.metadata,
            event_time: stored.event_time,
            series: stored.series.map(|series| EventSeries {
                count: series.count,
                last_observed_time: series.last_observed_time,
            }),
            reporting_controller: stored.reporting_component,
            reporting_instance: stored.reporting_instance,
            action: stored.action,
            reason: stored.reason,
            regarding: stored.involved_object,
            related: stored.related,
            note: stored.message,
            r#type: stored.r#type,
            deprecated_source: stored.source,
            deprecated_first_timestamp: stored.first_timestamp,
            deprecated_last_timestamp: stored.last_timestamp,
            deprecated_count: stored.count,
        }
    }

    fn into_stored(self) -> core::Event {
        core::Event {
            metadata: self.metadata,
            involved_object: self.regarding,
            reason: self.reason,
            message: self.note,
            source: self.deprecated_source,
            first_timestamp: self.deprecated_first_timestamp,
            last_timestamp: self.deprecated_last_timestamp,
            count: self.deprecated_count,
            r#type: self.r#type,
            event_time: self.event_time,
            series: self.series.map(|series| core::EventSeries {
                count: series.count,
                last_observed_time: series.last_observed_time,
            }),
            action: self.action,
            related: self.related,
            reporting_component: self.reporting_controller,
            reporting_instance: self.reporting_instance,
        }
    }

    // The newer version asks for more than the older one, and leaves the older fields to older clients.
    fn validate_create(stored: &core::Event, errors: &mut FieldErrors) {
        if stored.event_time.is_none_or(|time| time.is_zero()) {
            errors.field("eventTime", |errors| errors.required(""));
        }
        if !["Normal", "Warning"].contains(&stored.r#type.as_str()) {
            errors.field("type", |errors| {
                errors.invalid("", format_args!("has invalid value: {}", stored.r#type));
            });
        }
        for (field, text, limit) in [
            ("reportingController", &stored.reporting_component, usize::MAX),
            (
                "reportingInstance",
                &stored.reporting_instance,
                limits::EVENT_REPORTER_BYTES,
            ),
            ("action", &stored.action, limits::EVENT_ACTION_BYTES),
            ("reason", &stored.reason, usize::MAX),
        ] {
            errors.field(field, |errors| {
                if text.is_empty() {
                    errors.required("");
                }
                if text.len() > limit {
                    errors.invalid("", format_args!("can have at most {limit} characters"));
                }
            });
        }
        if !stored.reporting_component.is_empty() {
            errors.field("reportingController", |errors| {
                let name = &stored.reporting_component;
                report(name, names::qualified_name(name), errors);
            });
        }
        let source = stored.source.clone().unwrap_or_default();
        let is_set = |time: Option<&Time>| time.is_some_and(|time| !time.is_zero());
        for (field, is_set) in [
            ("firstTimestamp", is_set(stored.first_timestamp.as_ref())),
            ("lastTimestamp", is_set(stored.last_timestamp.as_ref())),
            ("count", stored.count != 0),
            ("source", !source.component.is_empty() || !source.host.is_empty()),
        ] {
            if is_set {
                errors.field(field, |errors| errors.invalid("", "needs to be unset"));
            }
        }
    }
}
