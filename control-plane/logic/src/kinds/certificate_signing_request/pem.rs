//! Certificates and requests for them, as text: whether they are what they say.

use x509_parser::{
    certification_request::X509CertificationRequest, parse_x509_certificate, pem::Pem, prelude::FromDer,
};

/// Checks that the text holds a request whose signature is that of the key it is for.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_request(text: &[u8]) -> Result<(), String> {
    let wrong_type = || "PEM block type must be CERTIFICATE REQUEST".to_owned();
    let block = Pem::iter_from_buffer(text)
        .next()
        .and_then(Result::ok)
        .filter(|block| block.label == "CERTIFICATE REQUEST")
        .ok_or_else(wrong_type)?;
    let (rest, request) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|error| format!("not a certificate request: {error}"))?;
    if !rest.is_empty() {
        return Err("not a certificate request: trailing data".into());
    }
    request
        .verify_signature()
        .map_err(|error| format!("the signature does not fit the key: {error}"))
}

/// Checks that the text holds certificates and nothing else. No text is no certificate, and that is fine.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_certificates(text: &[u8]) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let mut count = 0;
    for block in Pem::iter_from_buffer(text) {
        let block = block.map_err(|error| format!("not a PEM block: {error}"))?;
        if block.label != "CERTIFICATE" {
            return Err(format!(
                "only CERTIFICATE PEM blocks are allowed, found {:?}",
                block.label
            ));
        }
        parse_x509_certificate(&block.contents).map_err(|error| format!("not a certificate: {error}"))?;
        count += 1;
    }
    if count == 0 {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    Ok(())
}
