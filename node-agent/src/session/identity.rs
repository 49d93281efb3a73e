//! The node's certificate and key on disk, and their renewal.

use super::connection::{Cluster, Credentials};
use crate::limits;
use crate::paths::{Layout, make_private_directory, write_file_durably};
use crate::time::{Moment, wall_now};
use std::io;
use std::path::PathBuf;
use trireme_client::Identity;
use x509_parser::pem::parse_x509_pem;

const SECRET_MODE: u32 = 0o600;
const IDENTITY_FILE: &str = "node.pem";
const CA_FILE: &str = "ca.pem";
const SERVERS_FILE: &str = "servers.json";
/// A certificate is renewed when less than this part of its life is left.
const RENEWAL_PART: u32 = 3;

/// The identity's directory.
#[derive(Clone, Debug)]
pub(crate) struct IdentityStore {
    directory: PathBuf,
}

/// When a certificate begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Moment,
    pub(crate) until: Moment,
}

impl Validity {
    /// Reads the first certificate of a PEM text.
    pub(crate) fn of(pem: &str) -> Option<Self> {
        let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let validity = certificate.validity();
        Some(Self {
            from: Moment::from_seconds(validity.not_before.timestamp()),
            until: Moment::from_seconds(validity.not_after.timestamp()),
        })
    }

    pub(crate) fn has_ended(self, now: Moment) -> bool {
        now >= self.until
    }

    /// True once less than a third of the life is left.
    pub(crate) fn is_due(self, now: Moment) -> bool {
        self.until.since(now) < self.until.since(self.from) / RENEWAL_PART
    }
}

impl IdentityStore {
    pub(crate) fn open(layout: &Layout) -> io::Result<Self> {
        let directory = layout.identity();
        make_private_directory(&directory)?;
        Ok(Self { directory })
    }

    /// What an earlier run stored; none before the first join.
    pub(crate) fn load(&self) -> io::Result<Option<Credentials>> {
        let read = |file: &str| match std::fs::read_to_string(self.directory.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let (Some(identity), Some(ca_pem)) = (read(IDENTITY_FILE)?, read(CA_FILE)?) else {
            return Ok(None);
        };
        let servers = match read(SERVERS_FILE)? {
            Some(text) => serde_json::from_str(&text)?,
            None => Vec::new(),
        };
        let Some(identity) = split_identity(&identity) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the stored certificate is damaged",
            ));
        };
        Ok(Some(Credentials {
            identity,
            ca_pem,
            servers,
        }))
    }

    pub(crate) fn save(&self, credentials: &Credentials) -> io::Result<()> {
        self.write(CA_FILE, credentials.ca_pem.as_bytes())?;
        self.save_servers(&credentials.servers)?;
        self.save_identity(&credentials.identity)
    }

    /// Certificate and key go into one file, so that they always belong together.
    pub(crate) fn save_identity(&self, identity: &Identity) -> io::Result<()> {
        let text = format!("{}\n{}", identity.cert_pem.trim_end(), identity.key_pem);
        self.write(IDENTITY_FILE, text.as_bytes())
    }

    pub(crate) fn save_servers(&self, servers: &[String]) -> io::Result<()> {
        self.write(SERVERS_FILE, &serde_json::to_vec(servers)?)
    }

    fn write(&self, file: &str, content: &[u8]) -> io::Result<()> {
        let path = self.directory.join(file);
        if std::fs::read(&path).is_ok_and(|present| present == content) {
            return Ok(());
        }
        write_file_durably(&path, content, SECRET_MODE)
    }
}

/// The key is the last block of the file.
fn split_identity(text: &str) -> Option<Identity> {
    let at = text
        .match_indices("-----BEGIN")
        .find(|(at, _)| {
            text[*at..]
                .lines()
                .next()
                .is_some_and(|line| line.contains("PRIVATE KEY"))
        })?
        .0;
    let (cert_pem, key_pem) = text.split_at(at);
    (!cert_pem.trim().is_empty()).then(|| Identity {
        cert_pem: cert_pem.to_owned(),
        key_pem: key_pem.to_owned(),
    })
}

/// Renews the certificate in time, for as long as the agent runs.
pub(super) async fn renew_forever(cluster: Cluster) {
    loop {
        tokio::time::sleep(limits::CERTIFICATE_CHECK_PERIOD).await;
        let stored = cluster.store().load().ok().flatten();
        let validity = stored.and_then(|stored| Validity::of(&stored.identity.cert_pem));
        if !validity.is_some_and(|validity| validity.is_due(wall_now())) {
            continue;
        }
        match cluster.renew().await {
            Ok(()) => tracing::info!("the certificate was renewed"),
            Err(error) => tracing::warn!(error = crate::error_chain(&error), "the certificate was not renewed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn renewal_is_due_in_the_last_third() {
        let validity = Validity {
            from: Moment::from_seconds(0),
            until: Moment::from_seconds(300),
        };
        let at = Moment::from_seconds;
        assert!(!validity.is_due(at(199)));
        assert!(!validity.is_due(at(200)));
        assert!(validity.is_due(at(201)));
        assert!(validity.has_ended(at(300)) && !validity.has_ended(at(299)));
    }

    #[test]
    fn an_identity_is_stored_privately_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(&Layout::new(directory.path().to_owned())).unwrap();
        assert!(store.load().unwrap().is_none());
        let credentials = Credentials {
            identity: Identity {
                cert_pem: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned(),
                key_pem: "-----BEGIN PRIVATE KEY-----\nBB==\n-----END PRIVATE KEY-----\n".to_owned(),
            },
            ca_pem: "ca".to_owned(),
            servers: vec!["a:1".to_owned()],
        };
        store.save(&credentials).unwrap();
        let loaded = store.load().unwrap().unwrap();
        assert_eq!(loaded.identity.cert_pem, credentials.identity.cert_pem);
        assert_eq!(loaded.identity.key_pem, credentials.identity.key_pem);
        assert_eq!(loaded.servers, credentials.servers);
        let file = directory.path().join("identity").join(IDENTITY_FILE);
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
