//! Requests for certificates.

use expect_test::expect;
use serde_json::{Value, json};

use super::{cells, complaints, create::created, invalid::check, invalid::example, json_of, lines, updates};
use crate::{
    field_error::FieldErrors,
    kinds::certificate_signing_request::{APPROVAL, set_requester},
    limits,
    testing::at,
};

/// A request of somebody named `robot`, as it stands in JSON.
const REQUEST: &str = "\
    LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlHUE1FTUNBUUF3RURFT01Bd0dBMVVFQXd3RmNtOWliM1F3S2pB\
    RkJnTXJaWEFESVFBM0dZRDZRTWN6OWlINgpZaGxoZUZSWHpweHM2L1FNQ1gvOGU2dk9aclY5aWFBQU1BVUdBeXRsY0FOQkFKekNl\
    cFlJUWI1NVJOWnhGSEVHCndtMDlpaEVXczRqb21Fb0hyUi9CZWFXK1NxR0FxT1RsWGVWaE9DYjRkNncxRXB6NVdTNmI4TUhoMGRE\
    ZE9TWWkKWndRPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";

/// The same with another signature.
const BROKEN_REQUEST: &str = "\
    LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlHUE1FTUNBUUF3RURFT01Bd0dBMVVFQXd3RmNtOWliM1F3S2pB\
    RkJnTXJaWEFESVFBM0dZRDZRTWN6OWlINllobGhlRlJYenB4cwo2L1FNQ1gvOGU2dk9aclY5aWFBQU1BVUdBeXRsY0FOQkFKekNl\
    cFlJUWI1NVJOWnhGSEVHd20wOWloRVdzNGpvbUVvSHJSL0JlYVcrClNxR0FxT1RsWGVWaE9DYjRkNncxRXB6NVdTNmI4TUhoMGRE\
    ZE9TWWlad1U9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

/// A certificate, as it stands in JSON.
const CERTIFICATE: &str = "\
    LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJOakNCNmFBREFnRUNBaFJhQ0xFbHpBbnFjVU1lbnFGMUErbURZY3RDU1RB\
    RkJnTXJaWEF3RURFT01Bd0cKQTFVRUF3d0ZjbTlpYjNRd0lCY05Nall4TVRJNE1UY3hNVFV6V2hnUE1qRXlOakV4TURReE56RXhO\
    VE5hTUJBeApEakFNQmdOVkJBTU1CWEp2WW05ME1Db3dCUVlESzJWd0F5RUFOeG1BK2tESE0vWWgrbUlaWVhoVVY4NmNiT3YwCkRB\
    bC8vSHVyem1hMWZZbWpVekJSTUIwR0ExVWREZ1FXQkJSemhoT2FEVTA4bzBHWXpUMDlsMW1VZHZGbDhqQWYKQmdOVkhTTUVHREFX\
    Z0JSemhoT2FEVTA4bzBHWXpUMDlsMW1VZHZGbDhqQVBCZ05WSFJNQkFmOEVCVEFEQVFILwpNQVVHQXl0bGNBTkJBS2lYTVR0M0Fl\
    c2toMmZqelhWN2J5MkRKeEtWVzhUeU83dTRqWUg0R3FSZFdsVDcrdm9OCm9NOTQxQXBJZS94YVl4MGo0MEZvNmp3VEZ3Wi9MaG43\
    VGc4PQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg==";

/// One object of this kind, as users write them.
pub(super) fn examples() -> Vec<Value> {
    vec![
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "robot"},
            "spec": {"request": REQUEST, "signerName": "example.com/robots", "usages": ["client auth"], "expirationSeconds": 3600}}),
    ]
}

fn request(spec: Value) -> Value {
    example("CertificateSigningRequest", json!({"spec": spec}))
}

#[test]
fn the_server_says_who_asks() {
    let given = example(
        "CertificateSigningRequest",
        json!({"spec": {"username": "admin", "uid": "1", "groups": ["system:masters"], "extra": {"a": ["b"]}},
            "status": {"certificate": CERTIFICATE, "conditions": [{"type": "Approved", "status": "True"}]}}),
    );
    let made = created(&given);
    for field in ["username", "uid", "groups", "extra"] {
        assert!(made["spec"].get(field).is_none(), "{field} is not the client's to say");
    }
    assert_eq!(made["status"], json!({}));
    let mut object = super::object(&given);
    let request = object.downcast_mut().expect("a request");
    set_requester(request, "robot", &["robots"]);
    let spec = &json_of(&*object)["spec"];
    assert_eq!(
        (&spec["username"], &spec["groups"]),
        (&json!("robot"), &json!(["robots"]))
    );
    assert!(spec.get("extra").is_none());
}

#[test]
fn bad_requests_are_refused() {
    for (spec, expected) in [
        (
            json!({"request": null, "usages": null, "signerName": null}),
            expect![[r#"
                spec.request: Invalid value: "<request>": PEM block type must be CERTIFICATE REQUEST
                spec.usages: Required value
                spec.signerName: Required value
            "#]],
        ),
        (
            json!({"request": BROKEN_REQUEST, "usages": ["client auth", "sailing", "client auth"]}),
            expect![[r#"
                spec.request: Invalid value: "<request>": the signature does not fit the key: signature verification error
                spec.usages[1]: Unsupported value: "sailing": supported values: "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping"
                spec.usages[2]: Duplicate value: "client auth"
            "#]],
        ),
        (
            json!({"request": CERTIFICATE, "signerName": "kubernetes.io/legacy-unknown"}),
            expect![[r#"
                spec.request: Invalid value: "<request>": PEM block type must be CERTIFICATE REQUEST
                spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version
            "#]],
        ),
        (
            json!({"signerName": "example.com"}),
            expect![[r#"
            spec.signerName: Invalid value: "example.com": must be a fully qualified domain and path of the form 'example.com/signer-name'
        "#]],
        ),
        (
            json!({"signerName": "local/A_b"}),
            expect![[r#"
            spec.signerName: Invalid value: "local": should be a domain with at least two segments separated by dots
            spec.signerName: Invalid value: "A_b": validating label "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
        ),
        (
            json!({"signerName": "example.C_m/a"}),
            expect![[r#"
            spec.signerName: Invalid value: "example.C_m": validating label "C_m": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        "#]],
        ),
    ] {
        check(&request(spec), &expected);
    }
    let seconds = |seconds: i32| complaints(&request(json!({"expirationSeconds": seconds})));
    assert_eq!(seconds(limits::CERTIFICATE_SECONDS_MIN), "");
    assert!(seconds(limits::CERTIFICATE_SECONDS_MIN - 1).contains("less than 600 seconds"));
    let named = |bytes: usize| {
        let label = "a".repeat(63);
        let domain = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        let path = format!(
            "{label}.{label}.{label}.{label}.{}",
            "a".repeat(bytes - 253 - 1 - 4 * 64)
        );
        complaints(&request(json!({"signerName": format!("{domain}/{path}")})))
    };
    assert_eq!(named(limits::SIGNER_NAME_BYTES), "");
    assert!(named(limits::SIGNER_NAME_BYTES + 1).contains("Too long"));
}

#[test]
fn what_is_asked_stays() {
    let (old, mut new) = updates::changed(
        "CertificateSigningRequest",
        &json!({"spec": {"signerName": "example.com/others"}, "status": {"certificate": CERTIFICATE}}),
    );
    new.prepare_update(&*old);
    assert_eq!(json_of(&*new)["spec"], json_of(&*old)["spec"]);
    assert_eq!(json_of(&*new)["status"], json_of(&*old)["status"]);
}

/// A change of the state by the approver's way: what becomes of it, and what is wrong with it.
fn approve(before: Value, status: Value) -> (Value, String) {
    let with = |status: Value| super::object(&example("CertificateSigningRequest", json!({"status": status})));
    let (old, mut new) = (with(before), with(status));
    new.prepare_part_update(APPROVAL, &*old);
    new.stamp(Some(&*old), at(60));
    let mut errors = FieldErrors::default();
    new.validate_part_update(APPROVAL, &*old, &mut errors);
    (json_of(&*new)["status"].clone(), lines(errors))
}

#[test]
fn approvers_set_conditions_and_nothing_else() {
    let approved = json!({"type": "Approved", "status": "True"});
    let (status, errors) = approve(json!({}), json!({"conditions": [approved], "certificate": CERTIFICATE}));
    assert_eq!(errors, "");
    assert_eq!(
        status,
        json!({"conditions": [{"type": "Approved", "status": "True",
            "lastUpdateTime": at(60).to_string(), "lastTransitionTime": at(60).to_string()}]})
    );
    let earlier =
        json!({"conditions": [{"type": "Approved", "status": "True", "lastTransitionTime": at(0).to_string()}]});
    let (status, errors) = approve(earlier.clone(), json!({"conditions": [approved]}));
    assert_eq!(errors, "");
    assert_eq!(status["conditions"][0]["lastTransitionTime"], json!(at(0).to_string()));
    let (_, errors) = approve(
        earlier.clone(),
        json!({"conditions": [{"type": "Denied", "status": "False"}, {"type": "", "status": ""}]}),
    );
    expect![[r#"
        status.conditions[0].status: Unsupported value: "False": supported values: "True"
        status.conditions[1].type: Required value
        status.conditions[1].status: Required value
        status.conditions: Forbidden: updates may not remove a condition of type "Approved"
    "#]]
    .assert_eq(&errors);
    let denied = json!({"type": "Denied", "status": "True"});
    let (_, errors) = approve(earlier, json!({"conditions": [approved, denied, denied]}));
    expect![[r#"
        status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive
        status.conditions[2].type: Duplicate value: "Denied"
        status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive
    "#]]
    .assert_eq(&errors);
}

#[test]
fn signers_set_the_certificate_once() {
    let none = json!({});
    let signed = json!({"certificate": CERTIFICATE});
    for (before, status, expected) in [
        (&none, &signed, expect![[""]]),
        (
            &none,
            &json!({"certificate": REQUEST}),
            expect![[r#"
            status.certificate: Invalid value: "<certificate data>": only CERTIFICATE PEM blocks are allowed, found "CERTIFICATE REQUEST"
        "#]],
        ),
        (
            &none,
            &json!({"certificate": "AAAA"}),
            expect![[r#"
            status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block
        "#]],
        ),
        (&signed, &signed, expect![[""]]),
        (
            &signed,
            &none,
            expect![[r#"
            status.certificate: Forbidden: updates may not modify existing certificate content
        "#]],
        ),
        (
            &none,
            &json!({"conditions": [{"type": "Failed", "status": "True"}]}),
            expect![[""]],
        ),
        (
            &none,
            &json!({"conditions": [{"type": "Approved", "status": "True"}]}),
            expect![[r#"
                status.conditions: Forbidden: updates may not add a condition of type "Approved"
            "#]],
        ),
        (
            &json!({"conditions": [{"type": "Failed", "status": "True"}]}),
            &none,
            expect![[r#"
                status.conditions: Forbidden: updates may not remove a condition of type "Failed"
            "#]],
        ),
    ] {
        updates::check_status("CertificateSigningRequest", before, status, &expected);
    }
}

#[test]
fn tables() {
    cells::check(
        &example("CertificateSigningRequest", json!({"spec": {"username": "robot"}})),
        &expect![[r#"
            Age: 3h
            SignerName: example.com/robots
            Requestor: robot
            RequestedDuration: 60m
            Condition: Pending
        "#]],
    );
    let condition = |kind: &str| json!({"type": kind, "status": "True"});
    for (status, cell) in [
        (json!({}), "Pending"),
        (json!({"conditions": [condition("Approved")]}), "Approved"),
        (
            json!({"conditions": [condition("Approved")], "certificate": CERTIFICATE}),
            "Approved,Issued",
        ),
        (
            json!({"conditions": [condition("Denied"), condition("Failed")]}),
            "Denied,Failed",
        ),
    ] {
        let object = super::object(&example("CertificateSigningRequest", json!({"status": status})));
        assert_eq!(object.cells(at(0))[4], cell);
    }
}
