//! CertificateSigningRequests: they ask for certificates. They are stored for those who approve and sign them; the
//! cluster's own certificates come with join tokens.

mod pem;
mod signer;
mod status;

use trireme_proto::api::{
    certificates::v1::{
        CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
        CertificateSigningRequestStatus,
    },
    meta::v1::Time,
};

use self::status::Change;
use super::columns::{AGE, NONE, age, column};
use crate::{
    field_error::FieldErrors,
    human::duration_short,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
};

/// The subresource by which requests are approved and denied.
pub const APPROVAL: &str = "approval";

/// What a certificate may be for.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// A signer that only older versions of the API knew.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";

impl Kind for CertificateSigningRequest {
    const INFO: KindInfo = KindInfo {
        group: "certificates.k8s.io",
        version: "v1",
        kind: "CertificateSigningRequest",
        plural: "certificatesigningrequests",
        singular: "certificatesigningrequest",
        short_names: &["csr"],
        categories: &[],
        namespaced: false,
        subresources: &["status", APPROVAL],
        columns: &[
            AGE,
            column("SignerName", "Who is asked to sign."),
            column("Requestor", "Who asks."),
            column("RequestedDuration", "How long the certificate should be good."),
            column("Condition", "Whether it was approved, and signed."),
        ],
        selectable_fields: &["spec.signerName"],
        name_rule: NameRule::PathSegment,
    };

    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
        self.status.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.status = Some(CertificateSigningRequestStatus::default());
        // Who asks is for the server to say; see `set_requester`.
        set_requester(self, "", &[]);
    }

    fn prepare_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        self.status.clone_from(&old.status);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    /// An approval is about the conditions alone.
    fn prepare_part_update(&mut self, _part: &str, old: &Self) {
        self.spec.clone_from(&old.spec);
        let conditions = std::mem::take(&mut self.status.get_or_insert_default().conditions);
        self.status = Some(CertificateSigningRequestStatus {
            conditions,
            ..old.status.clone().unwrap_or_default()
        });
    }

    fn stamp(&mut self, old: Option<&Self>, now: Time) {
        let before = old.and_then(|old| old.status.as_ref());
        let before = before.map_or(&[][..], |status| &status.conditions);
        for condition in &mut self.status.get_or_insert_default().conditions {
            stamp_condition(condition, before, now);
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| validate_spec(&spec, errors));
        status::validate(self.status.as_ref(), None, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        status::validate_change(self.status.as_ref(), old.status.as_ref(), Change::Plain, errors);
    }

    fn validate_status_update(&self, old: &Self, errors: &mut FieldErrors) {
        status::validate(self.status.as_ref(), old.status.as_ref(), errors);
        status::validate_change(self.status.as_ref(), old.status.as_ref(), Change::Status, errors);
    }

    fn validate_part_update(&self, _part: &str, old: &Self, errors: &mut FieldErrors) {
        status::validate(self.status.as_ref(), old.status.as_ref(), errors);
        status::validate_change(self.status.as_ref(), old.status.as_ref(), Change::Approval, errors);
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let spec = self.spec.clone().unwrap_or_default();
        let seconds = spec.expiration_seconds.map(|seconds| duration_short(seconds.into()));
        vec![
            age(metadata_of(self), now),
            super::columns::or_none(&spec.signer_name),
            spec.username,
            seconds.unwrap_or_else(|| NONE.into()),
            status::cell(self.status.as_ref()),
        ]
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        let signer = || {
            self.spec
                .as_ref()
                .map(|spec| spec.signer_name.clone())
                .unwrap_or_default()
        };
        (path == "spec.signerName").then(signer)
    }
}

/// Says who asks: the one whose request it is, whatever it claims itself.
pub fn set_requester(request: &mut CertificateSigningRequest, username: &str, groups: &[&str]) {
    let spec = request.spec.get_or_insert_default();
    spec.username = username.to_owned();
    spec.groups = groups.iter().map(|group| (*group).to_owned()).collect();
    spec.uid.clear();
    spec.extra.clear();
}

/// Gives a condition its times, unless it has them: it changes when its status does.
fn stamp_condition(
    condition: &mut CertificateSigningRequestCondition,
    before: &[CertificateSigningRequestCondition],
    now: Time,
) {
    condition.last_update_time.get_or_insert(now);
    if condition.last_transition_time.is_none() {
        let same = before
            .iter()
            .find(|before| before.r#type == condition.r#type && before.status == condition.status);
        let since = same.and_then(|before| before.last_transition_time);
        condition.last_transition_time = Some(since.unwrap_or(now));
    }
}

fn validate_spec(spec: &CertificateSigningRequestSpec, errors: &mut FieldErrors) {
    errors.field("request", |errors| {
        if let Err(why) = pem::check_request(&spec.request) {
            errors.invalid("<request>", why);
        }
    });
    errors.field("usages", |errors| {
        if spec.usages.is_empty() {
            errors.required("");
        }
        for (index, usage) in spec.usages.iter().enumerate() {
            errors.index(index, |errors| {
                if !USAGES.contains(&usage.as_str()) {
                    errors.not_supported(usage, USAGES);
                }
                if spec.usages[..index].contains(usage) {
                    errors.duplicate(usage);
                }
            });
        }
    });
    errors.field("signerName", |errors| match spec.signer_name.as_str() {
        LEGACY_SIGNER => errors.invalid(
            LEGACY_SIGNER,
            "the legacy signerName is not allowed via this API version",
        ),
        name => signer::validate(name, errors),
    });
    if let Some(seconds) = spec.expiration_seconds
        && seconds < limits::CERTIFICATE_SECONDS_MIN
    {
        errors.field("expirationSeconds", |errors| {
            errors.invalid(seconds, "may not specify a duration less than 600 seconds (10 minutes)");
        });
    }
}
