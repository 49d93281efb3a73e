//! The stock `etcdctl`, as an operator uses it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use trireme_tests::harness::{free_ports, poll_until};

use crate::target::{PATIENCE, Trireme, program, server};

/// An operator's `etcdctl`.
pub(crate) struct Ctl {
    pub(crate) endpoints: String,
    /// Options of every command, as those for TLS.
    pub(crate) options: Vec<String>,
}

pub(crate) async fn check(trireme: &Trireme) -> Result<()> {
    if !is_installed().await {
        return Ok(());
    }
    let ctl = Ctl::plain(trireme.endpoints()?.join(","));
    keys(&ctl).await.context("keys")?;
    transaction(&ctl).await.context("txn")?;
    watch(&ctl).await.context("watch")?;
    leases(&ctl).await.context("lease")?;
    lock(&ctl).await.context("lock")?;
    elect(&ctl).await.context("elect")?;
    members(&ctl).await.context("member")?;
    endpoints(&ctl).await.context("endpoint")?;
    upkeep(&ctl, trireme).await.context("upkeep")?;
    refusals(&ctl).await.context("refusals")?;
    performance(&ctl).await.context("check perf")
}

/// Whether there is one on this machine; says so if not.
pub(crate) async fn is_installed() -> bool {
    let found = Command::new("etcdctl").arg("version").output().await.is_ok();
    if !found {
        eprintln!("skipped: no etcdctl is installed");
    }
    found
}

impl Ctl {
    fn plain(endpoints: String) -> Self {
        Self {
            endpoints,
            options: Vec::new(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoints])
            .args(&self.options)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// What a command that must succeed printed.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().await?;
        let (said, failed) = (text(&output.stdout), text(&output.stderr));
        ensure!(
            output.status.success(),
            "`etcdctl {}`: {said}{failed}",
            arguments.join(" ")
        );
        Ok(said)
    }

    async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.ok(&[arguments, &["-w", "json"]].concat()).await?;
        serde_json::from_str(&said).with_context(|| said)
    }

    /// What a command that must fail complained.
    pub(crate) async fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().await?;
        ensure!(
            !output.status.success(),
            "`etcdctl {}` did not fail",
            arguments.join(" ")
        );
        Ok(text(&output.stderr))
    }

    /// A command that goes on, and what it prints.
    fn follow(&self, arguments: &[&str]) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
        let mut child = self.command(arguments).spawn()?;
        let stdout = child.stdout.take().context("standard output was asked for")?;
        Ok((child, BufReader::new(stdout).lines()))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<String> {
    let line = tokio::time::timeout(PATIENCE, lines.next_line())
        .await
        .context("waited in vain for a line")?;
    line?.context("it ended")
}

/// The keys that a list prints, without the values between them.
async fn listed(ctl: &Ctl, arguments: &[&str]) -> Result<String> {
    let said = ctl.ok(&[&["get", "--keys-only"], arguments].concat()).await?;
    Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

async fn keys(ctl: &Ctl) -> Result<()> {
    for (key, value) in [("ctl/a", "3"), ("ctl/b", "1"), ("ctl/c", "2")] {
        ensure!(ctl.ok(&["put", key, value]).await? == "OK\n");
    }
    ensure!(ctl.ok(&["get", "ctl/a"]).await? == "ctl/a\n3\n");
    ensure!(listed(ctl, &["ctl/", "--prefix"]).await? == "ctl/a ctl/b ctl/c");
    ensure!(listed(ctl, &["ctl/", "--prefix", "--limit", "2"]).await? == "ctl/a ctl/b");
    ensure!(listed(ctl, &["ctl/b", "--from-key", "--limit", "2"]).await? == "ctl/b ctl/c");
    ensure!(listed(ctl, &["ctl/a", "ctl/c"]).await? == "ctl/a ctl/b");
    let sorted = ["ctl/", "--prefix", "--sort-by", "CREATE", "--order", "DESCEND"];
    ensure!(listed(ctl, &sorted).await? == "ctl/c ctl/b ctl/a");
    let kept = ctl.json(&["get", "ctl/a"]).await?;
    let revision = kept["header"]["revision"].as_i64().context("a revision")?.to_string();
    ctl.ok(&["put", "ctl/a", "4"]).await?;
    ensure!(
        ctl.ok(&["get", "ctl/a", "--rev", &revision, "--print-value-only"])
            .await?
            == "3\n"
    );
    ensure!(
        ctl.ok(&["get", "ctl/a", "--consistency", "s", "--print-value-only"])
            .await?
            .len()
            == 2
    );
    ensure!(ctl.ok(&["put", "--prev-kv", "ctl/a", "5"]).await? == "OK\nctl/a\n4\n");
    ctl.ok(&["put", "ctl/a", "--ignore-value"]).await?;
    ensure!(ctl.ok(&["del", "ctl/a", "--prev-kv"]).await? == "1\nctl/a\n5\n");
    ensure!(ctl.ok(&["del", "ctl/", "--prefix"]).await? == "2\n");
    Ok(())
}

async fn transaction(ctl: &Ctl) -> Result<()> {
    ctl.ok(&["put", "ctl/txn", "1"]).await?;
    let mut child = ctl.command(&["txn"]).stdin(Stdio::piped()).spawn()?;
    let script = "value(\"ctl/txn\") = \"1\"\n\nput ctl/txn 2\nget ctl/txn\n\nput ctl/wrong x\n\n";
    let mut stdin = child.stdin.take().context("standard input was asked for")?;
    stdin.write_all(script.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let said = text(&output.stdout);
    ensure!(
        said.split_whitespace().collect::<Vec<_>>() == ["SUCCESS", "OK", "ctl/txn", "2"],
        "{said}"
    );
    Ok(())
}

async fn watch(ctl: &Ctl) -> Result<()> {
    let put = ctl.json(&["put", "ctl/watch/a", "1"]).await?;
    let from = put["header"]["revision"].as_i64().context("a revision")?.to_string();
    let (mut child, mut lines) = ctl.follow(&["watch", "ctl/watch/", "--prefix", "--prev-kv", "--rev", &from])?;
    let mut expect = async |expected: &[&str]| -> Result<()> {
        for expected in expected {
            let line = line(&mut lines).await?;
            ensure!(line == *expected, "`{line}` is not `{expected}`");
        }
        Ok(())
    };
    expect(&["PUT", "ctl/watch/a", "1"]).await?;
    ctl.ok(&["put", "ctl/watch/a", "2"]).await?;
    expect(&["PUT", "ctl/watch/a", "1", "ctl/watch/a", "2"]).await?;
    ctl.ok(&["del", "ctl/watch/a"]).await?;
    expect(&["DELETE", "ctl/watch/a", "2", "ctl/watch/a", ""]).await?;
    child.kill().await?;
    Ok(())
}

async fn leases(ctl: &Ctl) -> Result<()> {
    let granted = ctl.ok(&["lease", "grant", "600"]).await?;
    ensure!(granted.contains("granted with TTL(600s)"), "{granted}");
    let id = granted.split_whitespace().nth(1).context("an id")?.to_owned();
    ctl.ok(&["put", "ctl/lease", "x", "--lease", &id]).await?;
    let state = ctl.ok(&["lease", "timetolive", &id, "--keys"]).await?;
    ensure!(
        state.contains("granted with TTL(600s)") && state.contains("ctl/lease"),
        "{state}"
    );
    ensure!(ctl.ok(&["lease", "list"]).await?.contains(&id));
    let kept = ctl.ok(&["lease", "keep-alive", "--once", &id]).await?;
    ensure!(kept.contains("keepalived with TTL(600)"), "{kept}");
    ctl.ok(&["lease", "revoke", &id]).await?;
    ensure!(ctl.ok(&["get", "ctl/lease"]).await?.is_empty());
    Ok(())
}

async fn lock(ctl: &Ctl) -> Result<()> {
    let (mut holder, mut lines) = ctl.follow(&["lock", "ctl-lock"])?;
    let key = line(&mut lines).await?;
    ensure!(key.starts_with("ctl-lock/"), "{key}");
    let mut waiter = ctl.command(&["lock", "ctl-lock", "echo", "held"]).spawn()?;
    poll_until("another to stand in line", PATIENCE, || async {
        let waiting = listed(ctl, &["ctl-lock/", "--prefix"]).await?;
        Ok((waiting.split(' ').count() == 2).then_some(()))
    })
    .await?;
    ensure!(waiter.try_wait()?.is_none(), "it waits");
    // As an operator's Ctrl-C: the lock is let go of.
    let pid = i32::try_from(holder.id().context("it runs")?)?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGINT)?;
    holder.wait().await?;
    let output = tokio::time::timeout(PATIENCE, waiter.wait_with_output()).await??;
    ensure!(
        output.status.success() && text(&output.stdout).contains("held"),
        "{output:?}"
    );
    Ok(())
}

async fn elect(ctl: &Ctl) -> Result<()> {
    let (mut child, mut lines) = ctl.follow(&["elect", "ctl-vote", "me"])?;
    let key = line(&mut lines).await?;
    ensure!(key.starts_with("ctl-vote/") && line(&mut lines).await? == "me", "{key}");
    let (mut observer, mut seen) = ctl.follow(&["elect", "--listen", "ctl-vote"])?;
    ensure!(line(&mut seen).await? == key && line(&mut seen).await? == "me");
    observer.kill().await?;
    child.kill().await?;
    Ok(())
}

async fn members(ctl: &Ctl) -> Result<()> {
    let list = ctl.json(&["member", "list"]).await?;
    let members = list["members"].as_array().context("members")?;
    ensure!(members.len() == 3, "{list}");
    let added = ctl
        .ok(&[
            "member",
            "add",
            "fourth",
            "--learner",
            "--peer-urls",
            "http://127.0.0.1:9",
        ])
        .await?;
    ensure!(added.contains("added to cluster"), "{added}");
    let id = added.split_whitespace().nth(1).context("an id")?.to_owned();
    let refused = ctl.refused(&["member", "promote", &id]).await?;
    ensure!(refused.contains("in sync with leader"), "{refused}");
    ctl.ok(&["member", "update", &id, "--peer-urls", "http://127.0.0.1:10"])
        .await?;
    let table = ctl.ok(&["member", "list", "-w", "table"]).await?;
    ensure!(table.contains("127.0.0.1:10"), "{table}");
    let removed = ctl.ok(&["member", "remove", &id]).await?;
    ensure!(removed.contains("removed from cluster"), "{removed}");
    Ok(())
}

async fn endpoints(ctl: &Ctl) -> Result<()> {
    let health = ctl.json(&["endpoint", "health"]).await?;
    let health = health.as_array().context("endpoints")?;
    ensure!(
        health.len() == 3 && health.iter().all(|endpoint| endpoint["health"] == true),
        "{health:?}"
    );
    poll_until("all servers to tell where they serve", PATIENCE, || async {
        let status = ctl.json(&["endpoint", "status", "--cluster"]).await?;
        let all = status.as_array().context("endpoints")?.len();
        Ok((all == 3).then_some(()))
    })
    .await?;
    let hashes = ctl.json(&["endpoint", "hashkv"]).await?;
    let hashes: Vec<&Value> = hashes.as_array().context("endpoints")?.iter().collect();
    let hash = |endpoint: &Value| endpoint["HashKV"]["hash"].clone();
    ensure!(
        hashes.len() == 3 && hashes.iter().all(|endpoint| hash(endpoint) == hash(hashes[0])),
        "{hashes:?}"
    );
    Ok(())
}

async fn upkeep(ctl: &Ctl, trireme: &Trireme) -> Result<()> {
    let file = trireme.scratch().join("snapshot");
    let single = trireme.endpoints()?.swap_remove(1);
    let one = Ctl::plain(single);
    // Through the server that is asked for the snapshot, which is of its own replica.
    one.ok(&["put", "ctl/saved", "1"]).await?;
    one.ok(&["snapshot", "save", &file.display().to_string()]).await?;
    restored(trireme, &file).await.context("the snapshot, restored")?;
    let put = ctl.json(&["put", "ctl/compact", "1"]).await?;
    let revision = put["header"]["revision"].as_i64().context("a revision")?.to_string();
    let compacted = ctl.ok(&["compaction", &revision, "--physical"]).await?;
    ensure!(compacted.contains("compacted revision"), "{compacted}");
    ctl.ok(&["defrag"]).await?;
    ensure!(ctl.ok(&["alarm", "list"]).await?.is_empty());
    ctl.ok(&["alarm", "disarm"]).await?;
    let status = ctl.json(&["endpoint", "status"]).await?;
    let status = status.as_array().context("endpoints")?;
    let leader = status[0]["Status"]["leader"].as_u64().context("a leader")?;
    let ids = status
        .iter()
        .filter_map(|endpoint| endpoint["Status"]["header"]["member_id"].as_u64());
    let other = ids.into_iter().find(|id| *id != leader).context("another member")?;
    let moved = ctl.ok(&["move-leader", &format!("{other:x}")]).await?;
    ensure!(moved.contains("Leadership transferred"), "{moved}");
    Ok(())
}

/// What was saved comes back in a cluster of its own.
async fn restored(trireme: &Trireme, file: &Path) -> Result<()> {
    let data_dir = trireme.scratch().join("restored");
    let output = Command::new(program())
        .args(["cluster", "restore", "--name", "first", "--data-dir"])
        .args([&data_dir, file])
        .output()
        .await?;
    ensure!(output.status.success(), "{}", text(&output.stderr));
    let port = free_ports(3)?;
    let etcd = format!("127.0.0.1:{}", port + 2);
    let mut process = server("first", &data_dir, port, &etcd).arg("--etcd-insecure").spawn()?;
    let ctl = Ctl::plain(etcd);
    let found = poll_until("the restored server to serve", PATIENCE, || async {
        Ok(Some(ctl.ok(&["get", "ctl/saved"]).await?))
    })
    .await?;
    ensure!(found == "ctl/saved\n1\n", "{found}");
    process.kill().await?;
    Ok(())
}

async fn refusals(ctl: &Ctl) -> Result<()> {
    let compacted = ctl.refused(&["get", "ctl/compact", "--rev", "1"]).await?;
    ensure!(
        compacted.contains("required revision has been compacted"),
        "{compacted}"
    );
    let future = ctl.refused(&["get", "ctl/compact", "--rev", "99999999"]).await?;
    ensure!(future.contains("required revision is a future revision"), "{future}");
    let lease = ctl.refused(&["put", "ctl/x", "y", "--lease", "12345"]).await?;
    ensure!(lease.contains("requested lease not found"), "{lease}");
    let users = ctl.refused(&["user", "list"]).await?;
    ensure!(users.contains("certificates"), "{users}");
    let (mut child, mut lines) = ctl.follow(&["watch", "ctl/compact", "--rev", "1"])?;
    let ended = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
    ensure!(matches!(ended, Ok(Ok(None))), "{ended:?}");
    child.wait().await?;
    Ok(())
}

/// A minute of 150 writes a second; what it wrote is gone afterwards. How fast it was is not what is tested here.
async fn performance(ctl: &Ctl) -> Result<()> {
    let output = ctl.command(&["check", "perf", "--load", "s"]).output().await?;
    let said = text(&output.stdout) + &text(&output.stderr);
    ensure!(
        said.contains("Throughput is") || said.contains("Throughput too low"),
        "{said}"
    );
    ensure!(listed(ctl, &["/etcdctl-check-perf/", "--prefix"]).await?.is_empty());
    Ok(())
}
