//! What is tested: three servers of ours, or one etcd to compare with.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};
use trireme_proto::etcd::kv::KeyValue;
use trireme_proto::etcd::server::{
    DeleteRangeRequest, PutRequest, PutResponse, RangeRequest, RangeResponse, StatusRequest,
    cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use trireme_tests::harness::{free_ports, poll_until, workspace};

/// How long anything may take that should take seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Servers, with ports for etcd's behind the others.
const SERVERS: usize = 3;
const PORTS: usize = 18 + SERVERS;

/// Whose API it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Trireme,
    Etcd,
}

/// Clients of an API.
pub(crate) struct Target {
    pub(crate) peer: Peer,
    channels: Vec<Channel>,
}

impl Target {
    pub(crate) fn new(peer: Peer, endpoints: Vec<String>) -> Result<Self> {
        let channels = endpoints
            .into_iter()
            .map(|address| Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_lazy()))
            .collect::<Result<_>>()?;
        Ok(Self { peer, channels })
    }

    /// The same, but all by one server.
    pub(crate) fn only(&self, server: usize) -> Self {
        Self {
            peer: self.peer,
            channels: vec![self.channel(server)],
        }
    }

    /// A connection to the server of that number, or to the one there is.
    pub(crate) fn channel(&self, server: usize) -> Channel {
        self.channels[server % self.channels.len()].clone()
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        self.kv_of(0)
    }

    pub(crate) fn kv_of(&self, server: usize) -> KvClient<Channel> {
        KvClient::new(self.channel(server)).max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn watches(&self, server: usize) -> WatchClient<Channel> {
        WatchClient::new(self.channel(server)).max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn leases(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel(1))
    }

    pub(crate) fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel(0))
    }

    pub(crate) fn maintenance(&self, server: usize) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel(server))
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<PutResponse> {
        let request = PutRequest {
            key: bytes(key),
            value: bytes(value),
            ..PutRequest::default()
        };
        Ok(self.kv().put(request).await?.into_inner())
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<i64> {
        let request = DeleteRangeRequest {
            key: bytes(key),
            ..DeleteRangeRequest::default()
        };
        Ok(revision(&self.kv().delete_range(request).await?.into_inner().header))
    }

    pub(crate) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, tonic::Status> {
        Ok(self.kv().range(request).await?.into_inner())
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        Ok(self.range(one(key)).await?.kvs.pop())
    }
}

/// Bytes of a text.
pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A read of one key.
pub(crate) fn one(key: &str) -> RangeRequest {
    RangeRequest {
        key: bytes(key),
        ..RangeRequest::default()
    }
}

/// A read of all keys that begin with `prefix`, which ends with something else than the highest byte.
pub(crate) fn prefix(prefix: &str) -> RangeRequest {
    RangeRequest {
        range_end: end(prefix),
        ..one(prefix)
    }
}

/// The first key after all that begin with `prefix`.
pub(crate) fn end(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// The revision of a header.
pub(crate) fn revision(header: &Option<trireme_proto::etcd::server::ResponseHeader>) -> i64 {
    header.as_ref().map_or(0, |header| header.revision)
}

/// Whether a call failed with this code and these words.
pub(crate) fn ensure_refused<T: std::fmt::Debug>(
    outcome: Result<T, tonic::Status>,
    code: tonic::Code,
    words: &str,
) -> Result<()> {
    match outcome {
        Ok(done) => anyhow::bail!("this was expected to fail with `{words}`: {done:?}"),
        Err(status) => {
            let fits = status.code() == code && status.message() == words;
            ensure!(fits, "expected {code:?} `{words}`, not {status:?}");
            Ok(())
        }
    }
}

/// Three of our servers, as `trireme up --etcd` starts them. Dropping them stops them and deletes their data.
pub(crate) struct Trireme {
    program: PathBuf,
    directory: TempDir,
}

impl Trireme {
    pub(crate) async fn start() -> Result<Self> {
        let program = program();
        ensure!(program.is_file(), "{} is not built", program.display());
        let directory = tempfile::Builder::new().prefix("trireme-test.").tempdir()?;
        let base_port = free_ports(PORTS)?;
        let trireme = Self { program, directory };
        let base_port = base_port.to_string();
        let servers = SERVERS.to_string();
        trireme
            .ok(&[
                "up",
                "--detach",
                "--etcd",
                "--agents",
                "0",
                "--servers",
                &servers,
                "--base-port",
                &base_port,
            ])
            .await?;
        Ok(trireme)
    }

    /// Starts what does not run.
    pub(crate) async fn up(&self) -> Result<()> {
        self.ok(&["up", "--detach", "--etcd", "--agents", "0"]).await.map(drop)
    }

    /// Runs a command of the CLI on this cluster's folder.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data_dir())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("running trireme")?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(output.status.success(), "`trireme {}`: {said}", arguments.join(" "));
        Ok(said)
    }

    /// What `trireme cluster status` says.
    pub(crate) async fn status(&self) -> Result<serde_json::Value> {
        let output = Command::new(&self.program)
            .args(["cluster", "status", "-o", "json"])
            .env("KUBECONFIG", self.data_dir().join("admin.kubeconfig"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("running trireme")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A folder for files of a test.
    pub(crate) fn scratch(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn endpoints(&self) -> Result<Vec<String>> {
        let path = self.data_dir().join("etcd-endpoints");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(text.split(',').map(str::to_owned).collect())
    }

    /// The process of the server with that number.
    pub(crate) fn process(&self, server: usize) -> Result<i32> {
        let path = self.data_dir().join(format!("run/server-{}.json", server + 1));
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let pid = record["pid"].as_i64().context("a record names a process")?;
        Ok(i32::try_from(pid)?)
    }
}

impl Drop for Trireme {
    fn drop(&mut self) {
        let stopped = std::process::Command::new(&self.program)
            .arg("down")
            .arg("--data-dir")
            .arg(self.data_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("`trireme down` failed for {}", self.data_dir().display());
        }
    }
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("TRIREME_BIN").map_or_else(|| workspace().join("target/debug/trireme"), PathBuf::from)
}

/// A server of ours by itself, to be started by hand: it takes `port` and the next one, and serves etcd's API at `etcd`.
pub(crate) fn server(name: &str, data_dir: &Path, port: u16, etcd: &str) -> Command {
    let mut command = Command::new(program());
    command
        .args(["server", "--name", name, "--advertise-address", "127.0.0.1"])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--peer-listen", &format!("127.0.0.1:{}", port + 1)])
        .args(["--etcd-listen", etcd, "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// One member of Debian's etcd.
pub(crate) struct Etcd {
    _process: Child,
    _directory: TempDir,
    port: u16,
}

impl Etcd {
    /// `None` if there is no etcd on this machine.
    pub(crate) async fn start() -> Result<Option<Self>> {
        let directory = tempfile::Builder::new().prefix("trireme-test.").tempdir()?;
        let port = free_ports(2)?;
        let (clients, peers) = (
            format!("http://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{}", port + 1),
        );
        drop(TcpListener::bind(("127.0.0.1", port))?);
        let spawned = Command::new("etcd")
            .args([
                "--name",
                "one",
                "--listen-client-urls",
                &clients,
                "--advertise-client-urls",
                &clients,
            ])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("one={peers}"), "--data-dir"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let process = match spawned {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("starting etcd"),
        };
        let etcd = Self {
            _process: process,
            _directory: directory,
            port,
        };
        let target = Target::new(Peer::Etcd, vec![etcd.endpoint()])?;
        poll_until("etcd to lead", PATIENCE, || async {
            let status = target.maintenance(0).status(StatusRequest {}).await?.into_inner();
            Ok((status.leader != 0).then_some(()))
        })
        .await?;
        Ok(Some(etcd))
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
