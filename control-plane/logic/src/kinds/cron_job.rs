//! CronJobs: jobs that are made when a schedule says so.

use jiff::tz::TimeZoneDatabase;
use trireme_proto::api::{
    batch::v1::{CronJob, CronJobSpec, CronJobStatus, JobTemplateSpec},
    meta::v1::Time,
};

use super::{
    bump_generation,
    columns::{AGE, NONE, age, column, since},
    first_generation, job,
    workload::{self, CONTAINERS, IMAGES, SELECTOR},
};
use crate::{
    cron::Schedule,
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{AsJson, not_negative, one_of},
};

/// The most bytes of one part of a time zone's name.
const TIME_ZONE_PART_BYTES: usize = 14;

impl Kind for CronJob {
    const INFO: KindInfo = KindInfo {
        group: "batch",
        version: "v1",
        kind: "CronJob",
        plural: "cronjobs",
        singular: "cronjob",
        short_names: &["cj"],
        categories: &["all"],
        namespaced: true,
        subresources: &["status"],
        columns: &[
            column("Schedule", "When jobs start."),
            column("Timezone", "The time zone of the schedule."),
            column("Suspend", "Whether no jobs start at present."),
            column("Active", "Jobs that run."),
            column("Last Schedule", "Time since a job was last made."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        if spec.concurrency_policy.is_empty() {
            spec.concurrency_policy = "Allow".into();
        }
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit
            .get_or_insert(limits::DEFAULT_SUCCESSFUL_JOBS_HISTORY);
        spec.failed_jobs_history_limit
            .get_or_insert(limits::DEFAULT_FAILED_JOBS_HISTORY);
        let template = spec.job_template.get_or_insert_default();
        template.metadata.get_or_insert_default();
        job::template_defaults(template.spec.get_or_insert_default());
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
        self.status = Some(CronJobStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        bump_generation(&mut self.metadata, self.spec != old.spec);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| validate_spec(&spec, errors));
    }

    fn validate_create(&self, errors: &mut FieldErrors) {
        let (name, limit) = (&metadata_of(self).name, limits::CRON_JOB_NAME_BYTES);
        if name.len() > limit {
            errors.field("metadata.name", |errors| {
                errors.invalid(name, format_args!("must be no more than {limit} characters"));
            });
        }
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let (spec, status) = (
            self.spec.clone().unwrap_or_default(),
            self.status.clone().unwrap_or_default(),
        );
        let job = spec.job_template.unwrap_or_default().spec.unwrap_or_default();
        let [containers, images] = workload::template_cells(job.template.as_ref());
        let suspended = match spec.suspend {
            None => "<unset>",
            Some(true) => "True",
            Some(false) => "False",
        };
        vec![
            spec.schedule,
            spec.time_zone.unwrap_or_else(|| NONE.into()),
            suspended.into(),
            status.active.len().to_string(),
            status
                .last_schedule_time
                .map_or_else(|| NONE.into(), |time| since(Some(&time), now)),
            age(metadata_of(self), now),
            containers,
            images,
            workload::selector_cell(job.selector.as_ref()),
        ]
    }
}

fn validate_spec(spec: &CronJobSpec, errors: &mut FieldErrors) {
    errors.field("schedule", |errors| match spec.schedule.as_str() {
        "" => errors.required(""),
        text if text.contains("TZ") => {
            errors.invalid(text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        }
        text => {
            if let Err(error) = text.parse::<Schedule>() {
                errors.invalid(text, error);
            }
        }
    });
    errors.field("startingDeadlineSeconds", |errors| {
        not_negative(spec.starting_deadline_seconds.unwrap_or(0), errors);
    });
    if let Some(name) = &spec.time_zone {
        errors.field("timeZone", |errors| validate_time_zone(name, errors));
    }
    errors.field("concurrencyPolicy", |errors| {
        one_of(&spec.concurrency_policy, &["Allow", "Forbid", "Replace"], errors);
    });
    let template = spec.job_template.clone().unwrap_or_default();
    errors.field("jobTemplate.spec", |errors| validate_template(&template, errors));
    for (field, value) in [
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ] {
        errors.field(field, |errors| not_negative(value.unwrap_or(0).into(), errors));
    }
}

/// Checks the jobs to make, whose selectors will be made for them.
fn validate_template(template: &JobTemplateSpec, errors: &mut FieldErrors) {
    let spec = template.spec.clone().unwrap_or_default();
    job::validate::spec(&spec, errors);
    if let Some(selector) = &spec.selector {
        errors.field("selector", |errors| {
            errors.invalid(AsJson(selector), "`selector` will be auto-generated");
        });
    }
    if spec.manual_selector == Some(true) {
        errors.field("manualSelector", |errors| {
            errors.not_supported(true, &["nil", "false"]);
        });
    }
}

fn validate_time_zone(name: &str, errors: &mut FieldErrors) {
    if name.is_empty() {
        return errors.invalid(name, "timeZone must be nil or non-empty string");
    }
    let unknown = |errors: &mut FieldErrors| errors.invalid(name, format_args!("unknown time zone {name}"));
    if !name.split('/').all(is_time_zone_part) {
        return unknown(errors);
    }
    if name.eq_ignore_ascii_case("Local") {
        return errors.invalid(
            name,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    }
    // The data is part of the program, so every server knows the same zones. It is read in any case, names are not.
    let zone = TimeZoneDatabase::bundled().get(name);
    if !zone.is_ok_and(|zone| zone.iana_name() == Some(name)) {
        unknown(errors);
    }
}

fn is_time_zone_part(part: &str) -> bool {
    (1..=TIME_ZONE_PART_BYTES).contains(&part.len())
        && !matches!(part, "." | "..")
        && !part.starts_with('-')
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
}
