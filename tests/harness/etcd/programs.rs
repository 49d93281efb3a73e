//! How each of the two programs is started, and how a member of it joins.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::timeout;
use trireme_proto::etcd::server::{MemberAddRequest, cluster_client::ClusterClient};

use super::{CHANGE_TIMEOUT, EtcdCluster, PATIENCE};
use crate::harness::wait::poll_until;

impl EtcdCluster {
    /// The address by which the others reach a member.
    fn host(&self, member: usize) -> &str {
        let network = self.members[member].place.network.as_ref();
        network.map_or("127.0.0.1", |(_, address)| address.as_str())
    }

    fn peer_url(&self, member: usize) -> String {
        format!("http://{}:{}", self.host(member), self.members[member].ports[1])
    }

    /// etcd's list of all members.
    pub(super) fn initial_cluster(&self) -> String {
        let members = (0..self.members.len()).map(|member| {
            let name = &self.members[member].name;
            format!("{name}={}", self.peer_url(member))
        });
        members.collect::<Vec<_>>().join(",")
    }

    pub(super) fn start_etcd(&mut self) -> Result<()> {
        let all = self.initial_cluster();
        for member in 0..self.members.len() {
            self.spawn_etcd(member, &all, "new")?;
        }
        Ok(())
    }

    /// Starts etcd. What the members are is read from the data if there is any.
    pub(super) fn spawn_etcd(&mut self, member: usize, all: &str, state: &str) -> Result<()> {
        let clients = self.endpoint(member);
        let peers = self.peer_url(member);
        let mut command = self.command_at(member, &self.options.etcd);
        command
            .args(["--name", &self.members[member].name, "--data-dir"])
            .arg(&self.members[member].data_dir)
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", all, "--initial-cluster-state", state])
            .args(["--initial-cluster-token", "trireme-tests"])
            .args(["--logger", "zap", "--log-level", "warn"])
            .args(&self.options.arguments);
        self.spawn(member, command)
    }

    /// Tells the others of a new member, and starts it.
    pub(super) async fn add_etcd(&mut self, member: usize, helper: usize) -> Result<()> {
        let url = self.peer_url(member);
        // etcd refuses for some seconds after a removal, until it has seen the others alive for long enough; and an answer
        // may get lost.
        poll_until("the others to take a member in", PATIENCE, || async {
            if self
                .members_known(helper)
                .await?
                .iter()
                .any(|known| known.peer_urls.contains(&url))
            {
                return Ok(Some(()));
            }
            let mut client = ClusterClient::new(self.connect(helper).await?);
            let request = MemberAddRequest {
                peer_urls: vec![url.clone()],
                ..Default::default()
            };
            timeout(CHANGE_TIMEOUT, client.member_add(request)).await??;
            Ok(None)
        })
        .await?;
        let all = self.initial_cluster();
        self.spawn_etcd(member, &all, "existing")
    }

    pub(super) async fn start_trireme(&mut self) -> Result<()> {
        ensure!(
            self.options.trireme.is_file(),
            "{} does not exist: build it with `cargo build -p trireme`",
            self.options.trireme.display()
        );
        self.spawn_trireme(0, &["--cluster-init".to_owned()], None)?;
        for member in 1..self.members.len() {
            self.join_trireme(member, 0).await?;
        }
        Ok(())
    }

    /// Starts a server that joins by a token of another one.
    pub(super) async fn join_trireme(&mut self, member: usize, helper: usize) -> Result<()> {
        let token = self.server_token(helper).await?;
        let join = format!("{}:{}", self.host(helper), self.members[helper].ports[2]);
        self.spawn_trireme(member, &["--join".to_owned(), join], Some(&token))
    }

    pub(super) fn spawn_trireme(&mut self, member: usize, how: &[String], token: Option<&str>) -> Result<()> {
        let host = self.host(member).to_owned();
        let [etcd, peer, api] = self.members[member].ports;
        let mut command = self.command_at(member, &self.options.trireme);
        command
            .args(["server", "--name", &self.members[member].name, "--data-dir"])
            .arg(&self.members[member].data_dir)
            .args(["--listen", &format!("{host}:{api}")])
            .args(["--peer-listen", &format!("{host}:{peer}")])
            .args(["--advertise-address", &host])
            .args(["--etcd-listen", &format!("127.0.0.1:{etcd}"), "--etcd-insecure"])
            .args(how)
            .args(&self.options.arguments)
            .env_remove("KUBECONFIG");
        // A token in the arguments could be read by every user of the machine.
        match token {
            Some(token) => command.env("TRIREME_TOKEN", token),
            None => command.env_remove("TRIREME_TOKEN"),
        };
        self.spawn(member, command)
    }

    /// A token by which a server may join. The founder's folder holds the credentials for that.
    async fn server_token(&mut self, helper: usize) -> Result<String> {
        let kubeconfig = self.directory.path().join("admin.kubeconfig");
        let made = self.members[0].data_dir.join("admin.kubeconfig");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !kubeconfig.exists() {
            if made.exists() {
                // The founder may be replaced later, and its folder with it.
                std::fs::copy(&made, &kubeconfig)?;
                break;
            }
            self.check_runs(0)?;
            if tokio::time::Instant::now() >= deadline {
                bail!("{} did not appear", made.display());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let server = format!("{}:{}", self.host(helper), self.members[helper].ports[2]);
        poll_until("a join token", PATIENCE, || async {
            let mut command: Command = self.command_at(helper, &self.options.trireme);
            command
                .env("KUBECONFIG", &kubeconfig)
                .args(["--server", &server, "token", "create", "--role", "server"]);
            let output = tokio::process::Command::from(command).output().await?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{said}");
            let token = String::from_utf8(output.stdout).context("a token is text")?;
            Ok(Some(token.trim().to_owned()))
        })
        .await
    }
}
