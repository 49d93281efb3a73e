//! Damage and disaster, by the command line: a server with a broken log is quarantined and replaced; everything is lost and
//! restored from a backup; the quorum is lost and recovered from the one server that is left.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Child;
use trireme_tests::harness::{Cluster, ClusterOptions, Member, PATIENCE, free_ports, poll_until, text, wait_until};

pub(crate) fn servers_only(servers: usize) -> ClusterOptions {
    ClusterOptions {
        servers,
        agents: 0,
        ..ClusterOptions::default()
    }
}

/// A server that the test starts itself.
pub(crate) struct Server {
    child: Child,
    data_dir: PathBuf,
}

impl Server {
    /// Starts one on two ports from `port` on.
    pub(crate) fn start(cluster: &Cluster, name: &str, data_dir: &Path, port: u16, more: &[&str]) -> Result<Self> {
        let log = cluster
            .data_dir()
            .join("logs")
            .join(format!("by-hand-{name}-{port}.log"));
        let child = cluster
            .command()
            .args(["server", "--name", name, "--data-dir"])
            .arg(data_dir)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--peer-listen", &format!("127.0.0.1:{}", port + 1)])
            .args(["--advertise-address", "127.0.0.1"])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::from(std::fs::File::create(log)?))
            .spawn()?;
        Ok(Self {
            child,
            data_dir: data_dir.to_owned(),
        })
    }

    /// Runs a command against this server alone, as its admin.
    async fn run(&self, cluster: &Cluster, arguments: &[&str]) -> Result<(i32, String)> {
        let output = cluster
            .command()
            .env("KUBECONFIG", self.data_dir.join("admin.kubeconfig"))
            .args(arguments)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.code().unwrap_or(-1), said))
    }

    /// Waits until a command against this server succeeds.
    async fn until(&self, cluster: &Cluster, what: &str, arguments: &[&str]) -> Result<String> {
        poll_until(what, PATIENCE, || async {
            let (code, said) = self.run(cluster, arguments).await?;
            ensure!(code == 0, "{said}");
            Ok(Some(said))
        })
        .await
    }

    /// Whether its process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("the server was started by this test")
    }
}

pub(crate) fn port_of(member: &Member) -> Result<u16> {
    let (_, port) = member.api_address.rsplit_once(':').context("an address has a port")?;
    Ok(port.parse()?)
}

/// Flips a bit in the middle of what the log of the server in `directory` has written.
fn damage_log(directory: &Path) -> Result<()> {
    let log = directory.join("store/raft-log");
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(&log)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            segments.push(path);
        }
    }
    segments.sort();
    let first = segments.first().context("a log has a segment")?;
    let mut bytes = std::fs::read(first)?;
    let written = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .context("something is written")?;
    bytes[written / 2] ^= 0x10;
    Ok(std::fs::write(first, bytes)?)
}

async fn status(cluster: &Cluster) -> Result<Value> {
    cluster.json(&["cluster", "status"]).await
}

fn member<'s>(status: &'s Value, name: &str) -> Option<&'s Value> {
    status["members"]
        .as_array()?
        .iter()
        .find(|member| text(member, "/name") == name)
}

#[tokio::test]
async fn a_damaged_server_is_quarantined_and_replaced() -> Result<()> {
    let cluster = Cluster::start(servers_only(3)).await?;
    cluster.with_logs(quarantine_and_replace(&cluster).await)
}

async fn quarantine_and_replace(cluster: &Cluster) -> Result<()> {
    cluster
        .ok(&["create", "configmap", "kept", "--from-literal", "a=b"])
        .await?;
    cluster.ok(&["cluster", "transfer-leader", "server-1"]).await?;
    let victim = cluster
        .members()
        .await?
        .into_iter()
        .find(|member| member.name == "server-3")
        .context("there is a third server")?;
    let alive = cluster.run(&["cluster", "replace", "server-3"]).await?;
    ensure!(alive.code == 5 && alive.stderr.contains("is Healthy"), "{alive:?}");

    cluster.end_process("server-3", Signal::SIGKILL).await?;
    let directory = cluster.server_dir("server-3");
    damage_log(&directory)?;
    let quarantined = Server::start(cluster, "server-3", &directory, port_of(&victim)?, &[])?;
    wait_until("the alarm", PATIENCE, || async {
        let told = status(cluster).await?;
        let alarm = told["alarms"].get(0).context("there is no alarm")?;
        ensure!(
            text(alarm, "/kind") == "Corrupt" && text(alarm, "/member") == "server-3",
            "{told:#}"
        );
        ensure!(text(alarm, "/cause").contains("its log is damaged"), "{told:#}");
        let server = member(&told, "server-3").context("it is a member still")?;
        ensure!(text(server, "/health") == "Quarantined", "{told:#}");
        Ok(true)
    })
    .await?;
    let shown = cluster.ok(&["cluster", "status"]).await?;
    ensure!(
        shown.contains("ALARM Corrupt: server-3") && shown.contains("`trireme cluster replace server-3`"),
        "{shown}"
    );
    // Two of three serve on, and whoever asks the third is told why it does not.
    cluster
        .ok(&["create", "configmap", "meanwhile", "--from-literal", "a=b"])
        .await?;
    let refused = cluster
        .run(&["--server", &victim.api_address, "get", "configmap/kept"])
        .await?;
    ensure!(
        refused.code == 8 && refused.stderr.contains("quarantined"),
        "{refused:?}"
    );

    let said = cluster.ok(&["cluster", "replace", "server-3"]).await?;
    quarantined.stop().await?;
    let line = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("trireme server "));
    let arguments: Vec<&str> = line.context("a command is shown")?.split_whitespace().collect();
    ensure!(arguments[..2] == ["--name", "server-3"], "{arguments:?}");
    let fresh = cluster.data_dir().join("fresh");
    let newcomer = Server::start(cluster, "server-3", &fresh, free_ports(2)?, &arguments[2..])?;
    let healed = wait_until("three healthy servers without an alarm", PATIENCE, || async {
        let told = status(cluster).await?;
        let members = told["members"].as_array().context("a status has members")?;
        let healthy = members
            .iter()
            .filter(|member| text(member, "/health") == "Healthy")
            .count();
        ensure!(
            members.len() == 3 && healthy == 3 && told["alarms"] == json!([]),
            "{told:#}"
        );
        let id = member(&told, "server-3").and_then(|server| server["id"].as_u64());
        ensure!(id == Some(4), "{told:#}");
        Ok(true)
    })
    .await;
    let kept = cluster.ok(&["get", "configmap/kept", "configmap/meanwhile"]).await;
    newcomer.stop().await?;
    healed?;
    kept.map(drop)
}

#[tokio::test]
async fn a_dead_server_is_replaced_by_one_command_on_the_new_machine() -> Result<()> {
    let cluster = Cluster::start(servers_only(3)).await?;
    cluster.with_logs(replace_while_joining(&cluster).await)
}

async fn replace_while_joining(cluster: &Cluster) -> Result<()> {
    let token = cluster.ok(&["token", "create", "--role", "server"]).await?;
    let token = token
        .split_whitespace()
        .find(|word| word.starts_with("trireme.server."))
        .context("a token")?;
    let first = cluster
        .members()
        .await?
        .into_iter()
        .next()
        .context("there are members")?;
    let join = ["--join", &first.api_address, "--token", token, "--replace", "server-2"];
    let directory = cluster.data_dir().join("fourth");
    // As long as the other one lives, its place is not given away.
    let port = free_ports(2)?;
    let mut refused = Server::start(cluster, "server-4", &directory, port, &join)?;
    let ended = tokio::time::timeout(PATIENCE, refused.child.wait()).await??;
    ensure!(ended.code() == Some(5), "it ended with {ended}");

    cluster.end_process("server-2", Signal::SIGKILL).await?;
    let newcomer = Server::start(cluster, "server-4", &directory, port, &join)?;
    let replaced = wait_until("the newcomer in the place of the dead", PATIENCE, || async {
        let told = status(cluster).await?;
        let members = told["members"].as_array().context("a status has members")?;
        let names: Vec<&str> = members.iter().map(|member| text(member, "/name")).collect();
        ensure!(names == ["server-1", "server-3", "server-4"], "{told:#}");
        ensure!(
            members.iter().all(|member| text(member, "/health") == "Healthy"),
            "{told:#}"
        );
        let voting = |member: &Value| matches!(text(member, "/role"), "Leader" | "Follower");
        ensure!(members.iter().all(voting), "{told:#}");
        Ok(true)
    })
    .await;
    newcomer.stop().await?;
    replaced
}

#[tokio::test]
async fn everything_comes_back_from_a_backup() -> Result<()> {
    let cluster = Cluster::start(servers_only(3)).await?;
    cluster.with_logs(back_up_and_restore(&cluster).await)
}

async fn back_up_and_restore(cluster: &Cluster) -> Result<()> {
    for name in ["one", "two"] {
        cluster
            .ok(&["create", "configmap", name, "--from-literal", "a=b"])
            .await?;
    }
    let before = cluster.json(&["get", "configmap/one"]).await?;
    let directory = cluster.data_dir().join("backups");
    std::fs::create_dir(&directory)?;
    let path = |name: &str| directory.join(name).display().to_string();
    let file = path("monday.backup");
    let said = cluster.ok(&["cluster", "backup", &file]).await?;
    ensure!(said.contains("checksum verified"), "{said}");
    ensure!(std::fs::read_dir(&directory)?.count() == 1, "a part was left");
    let again = cluster.run(&["cluster", "backup", &file]).await?;
    ensure!(again.code == 10 && again.stderr.contains("--overwrite"), "{again:?}");
    cluster.ok(&["cluster", "backup", &file, "--overwrite"]).await?;
    cluster.ok(&["delete", "configmap", "one"]).await?;

    refuse_bad_backups(cluster, &file, &path("restored")).await?;
    let pki = cluster.server_dir("server-1").join("pki").display().to_string();
    for (name, more) in [("restored", &[][..]), ("restored-with-pki", &["--pki-dir", &pki])] {
        let target = directory.join(name);
        let data_dir = target.display().to_string();
        let restore = ["cluster", "restore", &file, "--data-dir", &data_dir, "--name", "first"];
        let said = cluster.ok(&[&restore[..], more].concat()).await?;
        ensure!(said.contains("trireme server --name first"), "{said}");
        let twice = cluster.run(&restore).await?;
        ensure!(twice.code == 10 && twice.stderr.contains("not empty"), "{twice:?}");
        let port = free_ports(2)?;
        let server = Server::start(cluster, "first", &target, port, &[])?;
        let looked = look_at_restored(cluster, &server, port, &before, more.is_empty()).await;
        server.stop().await?;
        looked?;
    }
    Ok(())
}

async fn refuse_bad_backups(cluster: &Cluster, good: &str, target: &str) -> Result<()> {
    let bytes = std::fs::read(good)?;
    let bad = format!("{good}.bad");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for (content, words) in [
        (&flipped[..], "its checksum does not match"),
        (&bytes[..bytes.len() / 2], "cut off"),
        (b"not a backup at all", "not a backup"),
    ] {
        std::fs::write(&bad, content)?;
        let refused = cluster
            .run(&["cluster", "restore", &bad, "--data-dir", target, "--name", "first"])
            .await?;
        ensure!(refused.code == 6 && refused.stderr.contains(words), "{refused:?}");
        ensure!(!Path::new(target).exists(), "something was made of a bad backup");
    }
    Ok(std::fs::remove_file(bad)?)
}

async fn look_at_restored(
    cluster: &Cluster,
    server: &Server,
    port: u16,
    before: &Value,
    new_authority: bool,
) -> Result<()> {
    let address = format!("127.0.0.1:{port}");
    let get = ["--server", &address, "get", "configmap/one", "-o", "json"];
    let found = server.until(cluster, "the restored server to serve", &get).await?;
    let found: Value = serde_json::from_str(&found)?;
    ensure!(
        found["data"] == before["data"] && text(&found, "/metadata/uid") == text(before, "/metadata/uid"),
        "{found:#}"
    );
    server
        .until(
            cluster,
            "the restored cluster to take writes",
            &[
                "--server",
                &address,
                "create",
                "configmap",
                "after",
                "--from-literal",
                "a=b",
            ],
        )
        .await?;
    // The old admin's certificate is good only if the authority was kept.
    let old_admin = cluster.run(&["--server", &address, "get", "configmap/two"]).await?;
    ensure!((old_admin.code == 0) != new_authority, "{old_admin:?}");
    let (_, told) = server
        .run(cluster, &["--server", &address, "cluster", "status", "-o", "json"])
        .await?;
    let told: Value = serde_json::from_str(&told)?;
    ensure!(
        told["members"][0]["id"] == json!(4),
        "an id of the old cluster was used again: {told:#}"
    );
    let revision = told["members"][0]["appliedRevision"].as_i64();
    ensure!(
        revision.is_some_and(|revision| revision > 1_000_000_000),
        "versions that were seen before may come again: {told:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_lost_quorum_is_recovered() -> Result<()> {
    let cluster = Cluster::start(servers_only(3)).await?;
    cluster.with_logs(lose_and_recover(&cluster).await)
}

async fn lose_and_recover(cluster: &Cluster) -> Result<()> {
    cluster
        .ok(&["create", "configmap", "kept", "--from-literal", "a=b"])
        .await?;
    cluster.all_healthy().await?;
    let members = cluster.members().await?;
    let survivor = members
        .iter()
        .find(|member| member.name == "server-2")
        .context("a second server")?;
    let data_dir = cluster.server_dir("server-2");
    let shown = data_dir.display().to_string();
    let recover = ["cluster", "recover", "--data-dir", &shown];
    let running = cluster.run(&recover).await?;
    ensure!(running.code == 10 && running.stderr.contains("in use"), "{running:?}");
    for name in ["server-1", "server-3", "server-2"] {
        cluster.end_process(name, Signal::SIGKILL).await?;
    }
    let told = cluster.run(&recover).await?;
    ensure!(
        told.code == 5 && told.stdout.contains("Lost: writes") && told.stderr.contains("--yes-i-may-lose-writes"),
        "{told:?}"
    );
    let done = cluster
        .ok(&[&recover[..], &["--yes-i-may-lose-writes"]].concat())
        .await?;
    ensure!(done.contains("server id 4"), "{done}");

    let server = Server::start(cluster, "server-2", &data_dir, port_of(survivor)?, &[])?;
    let recovered = look_at_recovered(cluster, &server, &survivor.api_address).await;
    server.stop().await?;
    recovered
}

async fn look_at_recovered(cluster: &Cluster, server: &Server, address: &str) -> Result<()> {
    let get = ["--server", address, "get", "configmap/kept"];
    server.until(cluster, "the recovered server to serve", &get).await?;
    server
        .until(
            cluster,
            "the recovered cluster to take writes",
            &[
                "--server",
                address,
                "create",
                "configmap",
                "after",
                "--from-literal",
                "a=b",
            ],
        )
        .await?;
    // Others join it, and have everything.
    let said = server
        .until(cluster, "a token", &["--server", address, "cluster", "add", "server-9"])
        .await?;
    let line = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("trireme server "));
    let arguments: Vec<&str> = line.context("a command is shown")?.split_whitespace().collect();
    let port = free_ports(2)?;
    let newcomer = Server::start(
        cluster,
        "server-9",
        &cluster.data_dir().join("ninth"),
        port,
        &arguments[2..],
    )?;
    let joined = poll_until("the newcomer to have everything", PATIENCE, || async {
        let place = format!("127.0.0.1:{port}");
        let (code, said) = newcomer
            .run(cluster, &["--server", &place, "get", "configmap/kept"])
            .await?;
        ensure!(code == 0, "{said}");
        let (_, told) = newcomer
            .run(cluster, &["--server", &place, "cluster", "status", "-o", "json"])
            .await?;
        let told: Value = serde_json::from_str(&told)?;
        let voters = told["members"].as_array().context("members")?.iter();
        let voters = voters
            .filter(|member| matches!(text(member, "/role"), "Leader" | "Follower"))
            .count();
        ensure!(voters == 2, "{told:#}");
        Ok(Some(()))
    })
    .await;
    newcomer.stop().await?;
    joined
}
