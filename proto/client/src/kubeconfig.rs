//! Kubeconfig files: the part of them that Trireme reads and writes, which stock `kubectl` reads as well.
//!
//! One file holds one address a cluster, but a Trireme cluster has several servers. The others stand in
//! an extension of the cluster's entry, which other programs pass over.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::config::{ClientConfig, Identity};
use crate::limits;

/// The name of the extension that lists all servers.
const SERVERS_EXTENSION: &str = "trireme.io/servers";

/// A kubeconfig file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Kubeconfig {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    api_version: String,
    /// `Config`.
    kind: String,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
    current_context: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    certificate_authority_data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    certificate_authority: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tls_server_name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<Extension>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Extension {
    name: String,
    extension: serde_json::Value,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    #[serde(skip_serializing_if = "String::is_empty")]
    client_certificate_data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_certificate: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_key_data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_key: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
}

/// What the current context of a kubeconfig file says.
#[derive(Debug, Clone)]
pub struct Access {
    /// How to reach the cluster.
    pub config: ClientConfig,
    /// The namespace to work in by default; empty if the context names none.
    pub namespace: String,
}

/// Why a kubeconfig file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than [`limits::KUBECONFIG_MAX_BYTES`].
    #[error("{} is larger than {} bytes", path.display(), limits::KUBECONFIG_MAX_BYTES)]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// The file is not a kubeconfig.
    #[error("{} is not a kubeconfig file: {reason}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Why, with line and column.
        reason: String,
    },
    /// Something that the file refers to or should hold is not there.
    #[error("the kubeconfig {0}")]
    Missing(String),
}

impl Kubeconfig {
    /// A file for one cluster and one user, with one context. The first server is the one that other programs use.
    #[must_use]
    pub fn new(cluster: &str, user: &str, servers: &[String], ca_pem: &str, identity: &Identity) -> Self {
        let servers_extension = Extension {
            name: SERVERS_EXTENSION.to_owned(),
            extension: serde_json::json!({ "servers": servers }),
        };
        Self {
            api_version: "v1".to_owned(),
            kind: "Config".to_owned(),
            clusters: vec![NamedCluster {
                name: cluster.to_owned(),
                cluster: Cluster {
                    server: servers.first().map(|s| format!("https://{s}")).unwrap_or_default(),
                    certificate_authority_data: STANDARD.encode(ca_pem),
                    extensions: vec![servers_extension],
                    ..Cluster::default()
                },
            }],
            users: vec![NamedUser {
                name: user.to_owned(),
                user: User {
                    client_certificate_data: STANDARD.encode(&identity.cert_pem),
                    client_key_data: STANDARD.encode(&identity.key_pem),
                    ..User::default()
                },
            }],
            contexts: vec![NamedContext {
                name: cluster.to_owned(),
                context: Context {
                    cluster: cluster.to_owned(),
                    user: user.to_owned(),
                    namespace: String::new(),
                },
            }],
            current_context: cluster.to_owned(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`KubeconfigError::Read`], [`KubeconfigError::TooLarge`], [`KubeconfigError::Syntax`].
    pub fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let read = |source| KubeconfigError::Read {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(read)?.len() > limits::KUBECONFIG_MAX_BYTES {
            return Err(KubeconfigError::TooLarge { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        Self::parse(&text).map_err(|reason| KubeconfigError::Syntax {
            path: path.to_owned(),
            reason,
        })
    }

    /// Reads a text; the error is a sentence.
    ///
    /// # Errors
    /// A sentence that says where the text is not a kubeconfig.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| {
            // The further lines show the place once more, as a drawing.
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        })
    }

    /// The file's text.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("strings and lists always have a YAML form")
    }

    /// Writes the file, readable by its owner only, in one step: a reader sees the old file or the new one.
    ///
    /// # Errors
    /// [`KubeconfigError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), KubeconfigError> {
        let failed = |source| KubeconfigError::Write {
            path: path.to_owned(),
            source,
        };
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        file.write_all(self.to_yaml().as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(failed)
    }

    /// Adds or replaces the list of all servers of the current context's cluster.
    ///
    /// # Errors
    /// [`KubeconfigError::Missing`] if the current context leads to no cluster.
    pub fn set_servers(&mut self, servers: &[String]) -> Result<(), KubeconfigError> {
        let name = self.context(None)?.cluster.clone();
        let cluster = self.clusters.iter_mut().find(|c| c.name == name);
        let cluster = &mut cluster.ok_or_else(|| missing("has no cluster", &name))?.cluster;
        if let Some(first) = servers.first() {
            cluster.server = format!("https://{first}");
        }
        cluster.extensions.retain(|e| e.name != SERVERS_EXTENSION);
        let extension = serde_json::json!({ "servers": servers });
        cluster.extensions.push(Extension {
            name: SERVERS_EXTENSION.to_owned(),
            extension,
        });
        Ok(())
    }

    /// What a context says; the current one if none is named. Files that it refers to are looked up
    /// beside `directory`.
    ///
    /// # Errors
    /// [`KubeconfigError::Missing`], [`KubeconfigError::Read`].
    pub fn access(&self, context: Option<&str>, directory: &Path) -> Result<Access, KubeconfigError> {
        let context = self.context(context)?;
        let cluster = self.clusters.iter().find(|c| c.name == context.cluster);
        let cluster = &cluster
            .ok_or_else(|| missing("has no cluster", &context.cluster))?
            .cluster;
        let user = self.users.iter().find(|u| u.name == context.user);
        let user = &user.ok_or_else(|| missing("has no user", &context.user))?.user;
        let ca_pem = load(
            "certificate-authority",
            &cluster.certificate_authority_data,
            &cluster.certificate_authority,
            directory,
        )?
        .ok_or_else(|| missing("has no certificate-authority-data for the cluster", &context.cluster))?;
        let cert = load(
            "client-certificate",
            &user.client_certificate_data,
            &user.client_certificate,
            directory,
        )?;
        let key = load("client-key", &user.client_key_data, &user.client_key, directory)?;
        let identity = match (cert, key) {
            (Some(cert_pem), Some(key_pem)) => Some(Identity { cert_pem, key_pem }),
            (None, None) => None,
            (Some(_), None) => return Err(missing("has a certificate but no key for the user", &context.user)),
            (None, Some(_)) => return Err(missing("has a key but no certificate for the user", &context.user)),
        };
        let mut config = ClientConfig::new(cluster.servers(), ca_pem, identity);
        config.tls_server_name = Some(cluster.tls_server_name.clone()).filter(|name| !name.is_empty());
        Ok(Access {
            config,
            namespace: context.namespace.clone(),
        })
    }

    fn context(&self, name: Option<&str>) -> Result<&Context, KubeconfigError> {
        let name = name.unwrap_or(&self.current_context);
        if name.is_empty() {
            return Err(KubeconfigError::Missing("names no current-context".to_owned()));
        }
        let found = self.contexts.iter().find(|c| c.name == name);
        Ok(&found.ok_or_else(|| missing("has no context", name))?.context)
    }
}

impl Cluster {
    /// All servers' addresses, the one in `server` first.
    fn servers(&self) -> Vec<String> {
        let first = self.server.trim_end_matches('/');
        let first = first.strip_prefix("https://").unwrap_or(first);
        let has_port = first
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let first = if has_port {
            first.to_owned()
        } else {
            format!("{first}:443")
        };
        let extension = self.extensions.iter().find(|e| e.name == SERVERS_EXTENSION);
        let listed = extension
            .and_then(|e| e.extension.get("servers"))
            .and_then(serde_json::Value::as_array);
        let others = listed.into_iter().flatten().filter_map(serde_json::Value::as_str);
        let mut servers = vec![first];
        for other in others {
            if !servers.iter().any(|s| s == other) {
                servers.push(other.to_owned());
            }
        }
        servers
    }
}

fn missing(what: &str, name: &str) -> KubeconfigError {
    KubeconfigError::Missing(format!("{what} {name:?}"))
}

/// A PEM text given in line or as a file; none if neither is given.
fn load(field: &'static str, data: &str, file: &str, directory: &Path) -> Result<Option<String>, KubeconfigError> {
    if !data.is_empty() {
        let bytes = STANDARD
            .decode(data.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let bad = || KubeconfigError::Missing(format!("field {field}-data is not a PEM text in base64"));
        return bytes.ok_or_else(bad).map(Some);
    }
    if file.is_empty() {
        return Ok(None);
    }
    let path = directory.join(file);
    std::fs::read_to_string(&path)
        .map(Some)
        .map_err(|source| KubeconfigError::Read { path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use expect_test::expect;

    fn sample() -> Kubeconfig {
        let servers = ["127.0.0.1:6443", "127.0.0.1:6445"].map(str::to_owned);
        let identity = Identity {
            cert_pem: "cert".to_owned(),
            key_pem: "key".to_owned(),
        };
        Kubeconfig::new("trireme", "admin", &servers, "ca", &identity)
    }

    #[test]
    fn the_file_looks_as_others_expect() {
        expect![[r#"
            apiVersion: v1
            kind: Config
            clusters:
            - name: trireme
              cluster:
                server: https://127.0.0.1:6443
                certificate-authority-data: Y2E=
                extensions:
                - name: trireme.io/servers
                  extension:
                    servers:
                    - 127.0.0.1:6443
                    - 127.0.0.1:6445
            users:
            - name: admin
              user:
                client-certificate-data: Y2VydA==
                client-key-data: a2V5
            contexts:
            - name: trireme
              context:
                cluster: trireme
                user: admin
            current-context: trireme
        "#]]
        .assert_eq(&sample().to_yaml());
    }

    #[test]
    fn round_trip_keeps_all_servers() {
        let parsed = Kubeconfig::parse(&sample().to_yaml()).unwrap();
        assert_eq!(parsed, sample());
        let access = parsed.access(None, Path::new("/")).unwrap();
        assert_eq!(access.config.endpoints, ["127.0.0.1:6443", "127.0.0.1:6445"]);
        assert_eq!(access.config.ca_pem, "ca");
        let identity = access.config.identity.unwrap();
        assert_eq!((identity.cert_pem.as_str(), identity.key_pem.as_str()), ("cert", "key"));
    }

    #[test]
    fn written_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.kubeconfig");
        sample().write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Kubeconfig::read(&path).unwrap(), sample());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn reads_files_beside_it_and_unknown_fields() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), "ca from file").unwrap();
        let text = "
apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- name: a
  cluster: {server: 'https://api.example', certificate-authority: ca.crt, tls-server-name: trireme}
contexts:
- {name: a, context: {cluster: a, user: u, namespace: work}}
users:
- {name: u, user: {}}
current-context: a
";
        let access = Kubeconfig::parse(text).unwrap().access(None, directory.path()).unwrap();
        assert_eq!(access.config.endpoints, ["api.example:443"]);
        assert_eq!(access.config.ca_pem, "ca from file");
        assert_eq!(access.config.tls_server_name.as_deref(), Some("trireme"));
        assert_eq!(access.namespace, "work");
        assert!(access.config.identity.is_none());
    }

    #[test]
    fn says_what_is_missing() {
        let check = |change: fn(&mut Kubeconfig), expected: &str| {
            let mut config = sample();
            change(&mut config);
            let error = config.access(None, Path::new("/")).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(|c| c.current_context.clear(), "the kubeconfig names no current-context");
        check(
            |c| c.current_context = "x".to_owned(),
            "the kubeconfig has no context \"x\"",
        );
        check(|c| c.clusters.clear(), "the kubeconfig has no cluster \"trireme\"");
        check(|c| c.users.clear(), "the kubeconfig has no user \"admin\"");
        check(
            |c| c.users[0].user.client_key_data.clear(),
            "the kubeconfig has a certificate but no key for the user \"admin\"",
        );
        check(
            |c| c.clusters[0].cluster.certificate_authority_data = "!".to_owned(),
            "the kubeconfig field certificate-authority-data is not a PEM text in base64",
        );
    }
}
