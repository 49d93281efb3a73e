//! The cluster's certificate authority: one ECDSA P-256 key that every server holds and signs with.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use trireme_client::token::CaDigest;

use super::{PkiError, Profile, files};
use crate::limits;

/// File name of the CA certificate, in the directory given to [`CertificateAuthority::save`].
const CERTIFICATE_FILE: &str = "ca.crt";
/// File name of the CA's key.
const KEY_FILE: &str = "ca.key";

/// The certificate authority with its key.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
    key_pem: String,
}

/// A certificate with its private key.
#[derive(Clone)]
pub struct IssuedIdentity {
    /// The certificate and the CA's, PEM.
    pub certificate_pem: String,
    /// The private key, PEM.
    pub key_pem: String,
}

impl CertificateAuthority {
    /// Makes a new authority for the cluster `cluster_id`.
    ///
    /// # Errors
    /// [`PkiError::Generate`].
    pub fn create(cluster_id: &str, now: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::Generate)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, cluster_id);
        params.distinguished_name.push(DnType::CommonName, "trireme-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        set_validity(&mut params, now, limits::CA_VALIDITY);
        let certificate = params.self_signed(&key).map_err(PkiError::Generate)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// Takes over an authority from its certificate and key.
    ///
    /// # Errors
    /// [`PkiError::Parse`], [`PkiError::KeyMismatch`].
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let unusable = |what: &str, reason: &dyn std::fmt::Display| PkiError::Parse {
            what: what.to_owned(),
            reason: reason.to_string(),
        };
        let certificate_der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| unusable("the CA certificate", &error))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| unusable("the CA key", &error))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate_der)
            .map_err(|error| unusable("the CA certificate", &error))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            return Err(PkiError::KeyMismatch);
        }
        let issuer =
            Issuer::from_ca_cert_der(&certificate_der, key).map_err(|error| unusable("the CA certificate", &error))?;
        Ok(Self {
            issuer,
            certificate_pem: certificate_pem.to_owned(),
            certificate_der,
            key_pem: key_pem.to_owned(),
        })
    }

    /// Reads the authority's files in `directory`.
    ///
    /// # Errors
    /// [`PkiError::File`], and those of [`from_pem`](Self::from_pem).
    pub fn load(directory: &Path) -> Result<Self, PkiError> {
        let certificate = files::read_text(&directory.join(CERTIFICATE_FILE))?;
        let key = files::read_text(&directory.join(KEY_FILE))?;
        Self::from_pem(&certificate, &key)
    }

    /// Whether `directory` holds an authority.
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        directory.join(KEY_FILE).exists()
    }

    /// Writes the authority's files to `directory`, readable by their owner only, and syncs them.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save(&self, directory: &Path) -> Result<(), PkiError> {
        files::create_private_directory(directory)?;
        files::write_private(&directory.join(CERTIFICATE_FILE), self.certificate_pem.as_bytes())?;
        files::write_private(&directory.join(KEY_FILE), self.key_pem.as_bytes())
    }

    /// Signs a certificate for the public key of a request. What the certificate says comes from `profile`
    /// alone; the answer is the certificate followed by the CA's, PEM.
    ///
    /// # Errors
    /// [`PkiError::Request`] if the request is malformed or not signed by its own key.
    pub fn issue(
        &self,
        profile: &Profile,
        csr_pem: &str,
        serial: [u8; 16],
        now: Timestamp,
    ) -> Result<String, PkiError> {
        if csr_pem.len() > limits::CSR_MAX_BYTES {
            let reason = format!("it is longer than {} bytes", limits::CSR_MAX_BYTES);
            return Err(PkiError::Request { reason });
        }
        let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(|error| PkiError::Request {
            reason: error.to_string(),
        })?;
        self.sign(profile, &request.public_key, serial, now)
    }

    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    /// [`PkiError::Generate`], [`PkiError::Name`].
    pub fn issue_with_key(
        &self,
        profile: &Profile,
        serial: [u8; 16],
        now: Timestamp,
    ) -> Result<IssuedIdentity, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::Generate)?;
        let certificate_pem = self.sign(profile, &key, serial, now)?;
        Ok(IssuedIdentity {
            certificate_pem,
            key_pem: key.serialize_pem(),
        })
    }

    fn sign(
        &self,
        profile: &Profile,
        key: &impl PublicKeyData,
        mut serial: [u8; 16],
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let mut params = profile.params()?;
        set_validity(&mut params, now, profile.validity());
        // Serial numbers are positive and not zero.
        serial[0] = (serial[0] & 0x7f) | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.signed_by(key, &self.issuer).map_err(PkiError::Generate)?;
        Ok(format!("{}{}", certificate.pem(), self.certificate_pem))
    }

    /// The CA certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA certificate, DER.
    #[must_use]
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate_der
    }

    /// The CA's private key, PEM. It leaves this process only towards a joining server.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// What join tokens say of this cluster.
    #[must_use]
    pub fn digest(&self) -> CaDigest {
        CaDigest::of_der(&self.certificate_der)
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CertificateAuthority({})", self.digest())
    }
}

impl std::fmt::Debug for IssuedIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("IssuedIdentity(..)")
    }
}

/// When the first certificate of a PEM chain begins and ends to be valid.
///
/// # Errors
/// [`PkiError::Parse`].
pub fn certificate_expiry(certificate_pem: &str) -> Result<(Timestamp, Timestamp), PkiError> {
    let unusable = |reason: String| PkiError::Parse {
        what: "the certificate".to_owned(),
        reason,
    };
    let der =
        CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|error| unusable(error.to_string()))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|error| unusable(error.to_string()))?;
    let moment = |seconds| Timestamp::from_second(seconds).map_err(|error| unusable(error.to_string()));
    let validity = parsed.validity();
    Ok((
        moment(validity.not_before.timestamp())?,
        moment(validity.not_after.timestamp())?,
    ))
}

/// Whether it is time to renew the first certificate of a PEM chain.
///
/// # Errors
/// [`PkiError::Parse`].
pub fn renewal_due(certificate_pem: &str, now: Timestamp) -> Result<bool, PkiError> {
    let (begin, end) = certificate_expiry(certificate_pem)?;
    let validity_seconds = end.as_second() - begin.as_second();
    Ok(end.as_second() - now.as_second() < validity_seconds / i64::from(limits::RENEW_LAST_SHARE))
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, validity: Duration) {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let present = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = present - limits::CLOCK_SKEW;
    params.not_after = present + validity;
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::GeneralName;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    fn parse<T>(pem: &str, read: impl FnOnce(&x509_parser::certificate::X509Certificate<'_>) -> T) -> T {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("DER");
        read(&certificate)
    }

    #[test]
    fn the_request_does_not_decide_the_identity() {
        let authority = CertificateAuthority::create("c1", now()).expect("CA");
        let key = KeyPair::generate().expect("key");
        let mut wish = CertificateParams::new(["evil.example".to_owned()]).expect("params");
        wish.distinguished_name
            .push(DnType::OrganizationName, super::super::GROUP_ADMINS);
        let csr = wish.serialize_request(&key).expect("request").pem().expect("PEM");
        let pem = authority
            .issue(&Profile::node("n1"), &csr, [7; 16], now())
            .expect("issued");
        parse(&pem, |certificate| {
            assert_eq!(certificate.subject().to_string(), "O=system:nodes, CN=system:node:n1");
            assert!(certificate.subject_alternative_name().expect("extension").is_none());
            let usage = certificate
                .extended_key_usage()
                .expect("extension")
                .expect("present")
                .value;
            assert!(usage.client_auth && !usage.server_auth);
        });
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2, "the chain carries the CA");
    }

    #[test]
    fn a_server_is_reached_by_all_its_names() {
        let authority = CertificateAuthority::create("c1", now()).expect("CA");
        let profile = Profile::server("s1", 1, ["host-1:6443".to_owned(), "10.1.2.3:6443".to_owned()]);
        let issued = authority.issue_with_key(&profile, [7; 16], now()).expect("issued");
        parse(&issued.certificate_pem, |certificate| {
            let names = &certificate
                .subject_alternative_name()
                .expect("extension")
                .expect("present")
                .value
                .general_names;
            for expected in ["localhost", "trireme", "server-1.trireme", "host-1"] {
                assert!(names.contains(&GeneralName::DNSName(expected)), "{expected}");
            }
            assert!(names.contains(&GeneralName::IPAddress(&[10, 1, 2, 3])));
        });
    }

    #[test]
    fn an_authority_survives_its_files() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("pki");
        assert!(!CertificateAuthority::exists(&path));
        let authority = CertificateAuthority::create("c1", now()).expect("CA");
        authority.save(&path).expect("saved");
        let loaded = CertificateAuthority::load(&path).expect("loaded");
        assert_eq!(loaded.digest(), authority.digest());
        loaded
            .issue_with_key(&Profile::admin(), [1; 16], now())
            .expect("can still sign");
    }

    #[test]
    fn a_foreign_key_is_noticed() {
        let (one, two) = (
            CertificateAuthority::create("a", now()).expect("CA"),
            CertificateAuthority::create("b", now()).expect("CA"),
        );
        assert!(matches!(
            CertificateAuthority::from_pem(one.certificate_pem(), two.key_pem()),
            Err(PkiError::KeyMismatch)
        ));
    }

    #[test]
    fn a_request_that_is_none_is_refused() {
        let authority = CertificateAuthority::create("c1", now()).expect("CA");
        for csr in [
            String::new(),
            "no PEM".to_owned(),
            "x".repeat(limits::CSR_MAX_BYTES + 1),
        ] {
            let error = authority
                .issue(&Profile::node("n"), &csr, [1; 16], now())
                .expect_err("refused");
            assert!(matches!(error, PkiError::Request { .. }), "{error}");
        }
    }

    #[test]
    fn certificates_are_renewed_in_their_last_third() {
        let authority = CertificateAuthority::create("c1", now()).expect("CA");
        let issued = authority
            .issue_with_key(&Profile::node("n"), [1; 16], now())
            .expect("issued");
        let day = |days: i64| Timestamp::from_second(now().as_second() + days * 86_400).expect("in range");
        for (days, due) in [(0, false), (59, false), (61, true), (200, true)] {
            assert_eq!(
                renewal_due(&issued.certificate_pem, day(days)).expect("parsed"),
                due,
                "day {days}"
            );
        }
    }
}
