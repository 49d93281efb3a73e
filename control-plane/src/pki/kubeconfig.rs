//! The admin's kubeconfig, as the first server writes it.

use std::path::Path;

use trireme_client::{Identity, Kubeconfig, KubeconfigError};

use super::{CertificateAuthority, IssuedIdentity};

/// Writes the kubeconfig of an admin of the cluster `cluster_name`, readable by its owner only. `servers` are all
/// API addresses, `host:port`.
///
/// # Errors
/// [`KubeconfigError::Write`].
pub fn write_admin_kubeconfig(
    path: &Path,
    cluster_name: &str,
    servers: &[String],
    authority: &CertificateAuthority,
    identity: &IssuedIdentity,
) -> Result<(), KubeconfigError> {
    let identity = Identity {
        cert_pem: identity.certificate_pem.clone(),
        key_pem: identity.key_pem.clone(),
    };
    Kubeconfig::new(cluster_name, "admin", servers, authority.certificate_pem(), &identity).write(path)
}
