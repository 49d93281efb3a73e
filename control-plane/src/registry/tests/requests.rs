//! Requests for certificates: who asks, who approves, who signs.

use trireme_proto::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};

use super::*;
use crate::{pipeline::Subresource, registry::Changed};

const RESOURCE: &str = "certificatesigningrequests";

fn mk_request() -> CertificateSigningRequest {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    let pem = params.serialize_request(&key).expect("signed").pem().expect("has PEM");
    CertificateSigningRequest {
        metadata: Some(ObjectMeta {
            name: "robot".to_owned(),
            ..ObjectMeta::default()
        }),
        spec: Some(CertificateSigningRequestSpec {
            request: pem.into(),
            signer_name: "example.com/robots".to_owned(),
            usages: vec!["client auth".to_owned()],
            username: "somebody-else".to_owned(),
            groups: vec!["somebody-elses".to_owned()],
            ..CertificateSigningRequestSpec::default()
        }),
        ..CertificateSigningRequest::default()
    }
}

fn approved(request: &CertificateSigningRequest) -> CertificateSigningRequest {
    let mut request = request.clone();
    let status = request.status.get_or_insert_default();
    status.conditions.push(CertificateSigningRequestCondition {
        r#type: "Approved".to_owned(),
        status: "True".to_owned(),
        ..CertificateSigningRequestCondition::default()
    });
    request
}

async fn update(harness: &Harness, part: Subresource, new: CertificateSigningRequest) -> Result<Changed, ApiError> {
    let resource = match part {
        Subresource::None => RESOURCE.to_owned(),
        part => format!("{RESOURCE}/{}", part.as_str()),
    };
    let permit = admin(Verb::Update, &resource, "", "robot");
    let new = Decoded::internal(Box::new(new));
    harness.registry.update_part(&permit, new, part, false).await
}

#[tokio::test]
async fn a_request_is_approved_by_its_own_way() {
    let harness = Harness::new().await;
    let permit = admin(Verb::Create, RESOURCE, "", "");
    let asked = Decoded::internal(Box::new(mk_request()));
    let stored = harness.registry.create(&permit, asked, false).await.expect("created");
    let request: CertificateSigningRequest = typed(&stored);
    let spec = request.spec.clone().expect("present");
    assert_eq!(spec.username, "trireme-admin", "the server says who asks");
    assert_eq!(spec.groups, ["system:masters", "system:authenticated"]);

    let changed = update(&harness, Subresource::None, approved(&request))
        .await
        .expect("nothing of it counts");
    assert_eq!(typed::<CertificateSigningRequest>(&changed.stored), request);
    let refused = update(&harness, Subresource::Status, approved(&request)).await;
    assert_eq!(reason(refused), Reason::Invalid, "whoever signs does not approve");

    let mut forged = approved(&request);
    forged.status.get_or_insert_default().certificate = "forged".into();
    forged.spec.get_or_insert_default().signer_name = "example.com/others".to_owned();
    let changed = update(&harness, Subresource::Approval, forged).await.expect("approved");
    let now: CertificateSigningRequest = typed(&changed.stored);
    assert_eq!(now.spec, request.spec);
    let status = now.status.expect("present");
    assert!(status.certificate.is_empty(), "whoever approves does not sign");
    let since = status.conditions[0].last_transition_time;
    assert_eq!(since, Some(harness.registry.environment().now()));
}
