//! Mistakes: each gets one clear line with the field's path or the cause, a remedy, an exit code of its own, and changes
//! nothing.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use trireme_client::{Api, Client, ClientConfig, Identity, Kubeconfig, token::Token};
use trireme_proto::api::core::v1::{ConfigMap, Pod};
use trireme_tests::harness::{Cluster, ClusterOptions, Output, PATIENCE, free_ports, text, wait_until};

use crate::manifests::deployment;

/// Exit codes, as `trireme --help` lists them.
mod code {
    pub(super) const USAGE: i32 = 2;
    pub(super) const NOT_FOUND: i32 = 4;
    pub(super) const CONFLICT: i32 = 5;
    pub(super) const INVALID: i32 = 6;
    pub(super) const FORBIDDEN: i32 = 7;
    pub(super) const UNAVAILABLE: i32 = 8;
    pub(super) const LOCAL: i32 = 10;
    pub(super) const WRONG_CLUSTER: i32 = 11;
}

/// A mistake and what must be said about it.
struct Mistake<'a> {
    /// In a failure's message.
    name: &'a str,
    arguments: &'a [&'a str],
    input: &'a str,
    code: i32,
    /// All of these must stand in the line that begins with `error: `.
    says: &'a [&'a str],
}

fn small() -> ClusterOptions {
    ClusterOptions {
        servers: 1,
        agents: 1,
        ..ClusterOptions::default()
    }
}

/// Everything that a mistake could change: every object with its version, every server, every token.
async fn fingerprint(cluster: &Cluster) -> Result<String> {
    let kinds = "configmaps,deployments,replicasets,pods,services,namespaces,nodes,secrets";
    let columns = "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion";
    let objects = cluster.ok(&["get", kinds, "-A", "-o", columns]).await?;
    let members = cluster.ok(&["cluster", "members"]).await?;
    let tokens = cluster.json(&["token", "list"]).await?;
    Ok(format!("{objects}\n{members}\n{tokens:#}"))
}

/// One line of error, with all the words, and a line of help; no stack, no second error.
fn is_clear(name: &str, output: &Output, code: i32, says: &[&str]) -> Result<()> {
    ensure!(
        output.code == code,
        "{name}: exit code {} instead of {code}: {}",
        output.code,
        output.stderr
    );
    let errors: Vec<&str> = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    ensure!(
        errors.len() == 1,
        "{name}: not exactly one line of error:\n{}",
        output.stderr
    );
    for words in says {
        ensure!(errors[0].contains(words), "{name}: {words:?} is not in: {}", errors[0]);
    }
    let extra = output
        .stderr
        .lines()
        .filter(|line| {
            !["error: ", "help: ", "warning: "]
                .iter()
                .any(|start| line.starts_with(start))
        })
        // Daemons log before they give up; clap shows the usage.
        .filter(|line| !line.contains(" INFO ") && !line.contains(" WARN "));
    let extra: Vec<&str> = extra.filter(|line| !line.trim().is_empty()).collect();
    ensure!(
        code == code::USAGE || extra.is_empty(),
        "{name}: too many words: {extra:?}"
    );
    ensure!(
        !output.stderr.contains("os error"),
        "{name}: a number that says nothing: {}",
        output.stderr
    );
    Ok(())
}

async fn check(cluster: &Cluster, mistakes: &[Mistake<'_>]) -> Result<()> {
    let before = fingerprint(cluster).await?;
    for mistake in mistakes {
        let output = cluster.run_with_input(mistake.arguments, mistake.input).await?;
        is_clear(mistake.name, &output, mistake.code, mistake.says)?;
        let after = fingerprint(cluster).await?;
        ensure!(
            before == after,
            "{} changed something:\n{before}\n{after}",
            mistake.name
        );
    }
    Ok(())
}

#[tokio::test]
async fn bad_manifests_are_refused() -> Result<()> {
    let cluster = Cluster::start(small()).await?;
    cluster.with_logs(refuse_manifests(&cluster).await)
}

const APPLY: &[&str] = &["apply", "-f", "-"];
const STRICT: &[&str] = &["apply", "-f", "-", "--validate=strict"];

async fn refuse_manifests(cluster: &Cluster) -> Result<()> {
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {mode: slow}\n";
    cluster.apply(settings).await?;
    let mut replicas = deployment("web", 1);
    replicas["spec"]["replicas"] = json!("three");
    let replicas = replicas.to_string();
    let mut port = deployment("web", 1);
    port["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 99_999}]);
    let port = port.to_string();
    let mut selector = deployment("web", 1);
    selector["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    let selector = selector.to_string();
    let large = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"},
        "data": {"text": "x".repeat(1_600 << 10)}})
    .to_string();
    let half_good = format!("{settings}---\napiVersion: v1\nkind: Sandcastle\nmetadata: {{name: x}}\n");
    let mistakes = [
        (
            "not YAML",
            APPLY,
            "a: [1\nb: }\n",
            code::INVALID,
            &["not YAML", "line 2"][..],
        ),
        ("no object", APPLY, "just words\n", code::INVALID, &["not an object"]),
        ("nothing", APPLY, "", code::INVALID, &["holds no objects"]),
        (
            "no kind",
            APPLY,
            "apiVersion: v1\nmetadata: {name: x}\n",
            code::INVALID,
            &["kind"],
        ),
        (
            "no name",
            APPLY,
            "apiVersion: v1\nkind: ConfigMap\n",
            code::INVALID,
            &["metadata.name"],
        ),
        (
            "unknown kind",
            APPLY,
            "apiVersion: v1\nkind: Sandcastle\nmetadata: {name: x}\n",
            code::NOT_FOUND,
            &["Sandcastle"],
        ),
        (
            "one good document of two",
            APPLY,
            &half_good,
            code::NOT_FOUND,
            &["document 2", "Sandcastle"],
        ),
        (
            "unknown field, strictly",
            STRICT,
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ncolour: red\n",
            code::INVALID,
            &["unknown field \"colour\""],
        ),
        (
            "wrong type",
            APPLY,
            &replicas,
            code::INVALID,
            &["spec.replicas", "three"],
        ),
        (
            "out of range",
            APPLY,
            &port,
            code::INVALID,
            &["spec.template.spec.containers[0].ports[0].containerPort"],
        ),
        (
            "selector that selects nothing",
            APPLY,
            &selector,
            code::INVALID,
            &["spec.template.metadata.labels"],
        ),
        (
            "name against the rules",
            APPLY,
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n",
            code::INVALID,
            &["metadata.name", "Not_A_Name"],
        ),
        (
            "stale resourceVersion",
            APPLY,
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, resourceVersion: \"1\"}\ndata: {mode: fast}\n",
            code::CONFLICT,
            &["resourceVersion"],
        ),
        (
            "object over the limit, created",
            &["create", "-f", "-"],
            &large,
            code::INVALID,
            &["large"],
        ),
        (
            "object over the limit, applied",
            APPLY,
            &large,
            code::INVALID,
            &["large"],
        ),
        (
            "a namesake",
            &["create", "-f", "-"],
            settings,
            code::CONFLICT,
            &["settings", "already exists"],
        ),
        (
            "a namespace that is not there",
            &["apply", "-f", "-", "-n", "nowhere"],
            settings,
            code::NOT_FOUND,
            &["nowhere"],
        ),
    ];
    let mistakes = mistakes.map(|(name, arguments, input, code, says)| Mistake {
        name,
        arguments,
        input,
        code,
        says,
    });
    check(cluster, &mistakes).await?;

    let warned = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: warned}\ncolour: red\n";
    let output = cluster.run_with_input(APPLY, warned).await?;
    ensure!(output.code == 0, "{output:?}");
    ensure!(
        output.stderr.contains("warning: unknown field \"colour\""),
        "{output:?}"
    );
    let stored = cluster.json(&["get", "configmap/warned"]).await?;
    ensure!(stored.get("colour").is_none(), "{stored:#}");
    stale_updates_conflict(cluster).await
}

/// Optimistic concurrency at the door itself, without the CLI's own checks.
async fn stale_updates_conflict(cluster: &Cluster) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(&cluster.client()?, "default");
    let first = api.get("settings").await?;
    let mut second = first.clone();
    second.data.insert("mode".to_owned(), "fast".to_owned());
    api.update(&second).await?;
    let mut stale = first;
    stale.data.insert("mode".to_owned(), "lost".to_owned());
    let error = api.update(&stale).await.err().context("a stale update was taken")?;
    ensure!(error.is_conflict(), "{error}");
    let kept = api.get("settings").await?;
    ensure!(kept.data["mode"] == "fast", "{kept:?}");
    Ok(())
}

#[tokio::test]
async fn bad_commands_are_refused() -> Result<()> {
    let cluster = Cluster::start(small()).await?;
    cluster.with_logs(refuse_commands(&cluster).await)
}

async fn refuse_commands(cluster: &Cluster) -> Result<()> {
    let nobody = format!("127.0.0.1:{}", free_ports(1)?);
    let mistakes = [
        (
            "missing file",
            &["apply", "-f", "/nowhere/hello.yaml"][..],
            code::LOCAL,
            &["/nowhere/hello.yaml"][..],
        ),
        (
            "missing object",
            &["get", "pods", "nobody"],
            code::NOT_FOUND,
            &["nobody", "not found"],
        ),
        (
            "missing kind",
            &["get", "sandcastles"],
            code::NOT_FOUND,
            &["sandcastles"],
        ),
        (
            "missing server",
            &["cluster", "remove", "server-9"],
            code::NOT_FOUND,
            &["server-9"],
        ),
        (
            "missing token",
            &["token", "revoke", "0000000000"],
            code::NOT_FOUND,
            &["0000000000"],
        ),
        (
            "missing kubeconfig",
            &["get", "pods", "--kubeconfig", "/nowhere/config"],
            code::LOCAL,
            &["/nowhere/config"],
        ),
        (
            "unreachable server",
            &["get", "pods", "--server", &nobody],
            code::UNAVAILABLE,
            &[&nobody, "refused"],
        ),
        (
            "bad selector",
            &["get", "pods", "-l", "a in b"],
            code::INVALID,
            &["a in b"],
        ),
        ("unknown verb", &["sail"], code::USAGE, &["sail"]),
        ("unknown flag", &["get", "pods", "--sail"], code::USAGE, &["--sail"]),
        (
            "removing the last server",
            &["cluster", "remove", "server-1"],
            code::CONFLICT,
            &["only voter"],
        ),
    ];
    let mistakes = mistakes.map(|(name, arguments, code, says)| Mistake {
        name,
        arguments,
        input: "",
        code,
        says,
    });
    check(cluster, &mistakes).await?;

    let nowhere = cluster
        .command()
        .args(["get", "pods"])
        .env_remove("KUBECONFIG")
        .env("HOME", "/nowhere")
        .current_dir(cluster.data_dir())
        .output()
        .await?;
    let stderr = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    let output = Output {
        code: nowhere.status.code().unwrap_or(-1),
        stdout: String::new(),
        stderr,
    };
    is_clear("no kubeconfig", &output, code::LOCAL, &["kubeconfig"])?;
    ensure!(output.stderr.contains("help: "), "{output:?}");

    let broken = cluster.data_dir().join("broken.kubeconfig");
    std::fs::write(&broken, "clusters: 5\n")?;
    let output = cluster
        .run(&["get", "pods", "--kubeconfig", &broken.display().to_string()])
        .await?;
    is_clear("broken kubeconfig", &output, code::INVALID, &["broken.kubeconfig"])
}

/// Runs a server or an agent that must give up by itself.
async fn must_give_up(cluster: &Cluster, name: &str, arguments: &[&str]) -> Result<Output> {
    let mut command = cluster.command();
    command
        .args(arguments)
        .env_remove("KUBECONFIG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .with_context(|| format!("{name}: it runs instead of giving up"))??;
    Ok(Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

async fn token(cluster: &Cluster, role: &str, ttl: &str) -> Result<String> {
    let text = cluster.ok(&["token", "create", "--role", role, "--ttl", ttl]).await?;
    Ok(text.trim().to_owned())
}

async fn address(cluster: &Cluster) -> Result<String> {
    let leader = cluster.leader().await?;
    Ok(leader.api_address)
}

#[tokio::test]
async fn nobody_joins_with_a_bad_token() -> Result<()> {
    let cluster = Cluster::start(small()).await?;
    let other = Cluster::start(ClusterOptions { agents: 0, ..small() }).await?;
    cluster.with_logs(refuse_tokens(&cluster, &other).await)
}

async fn refuse_tokens(cluster: &Cluster, other: &Cluster) -> Result<()> {
    let good = token(cluster, "node", "1h").await?;
    let for_servers = token(cluster, "server", "1h").await?;
    let revoked = token(cluster, "node", "1h").await?;
    cluster.ok(&["token", "revoke", &revoked]).await?;
    let expired = token(cluster, "node", "1s").await?;
    let expired_id = expired.parse::<Token>()?.id;
    wait_until("the token to expire", PATIENCE, || async {
        let listed = cluster.ok(&["token", "list"]).await?;
        let line = listed.lines().find(|line| line.starts_with(&expired_id));
        Ok(line.is_none_or(|line| line.contains("expired")))
    })
    .await?;
    let elsewhere = token(other, "node", "1h").await?;
    let mut wrong_secret: Token = good.parse()?;
    wrong_secret.secret = wrong_secret.secret.chars().rev().collect();
    let mut wrong_digest: Token = good.parse()?;
    wrong_digest.ca_digest = elsewhere.parse::<Token>()?.ca_digest;

    let before = fingerprint(cluster).await?;
    let server = address(cluster).await?;
    let folder = tempfile::tempdir()?;
    let cases = [
        ("expired token", expired, code::FORBIDDEN, &["expired"][..]),
        ("revoked token", revoked, code::FORBIDDEN, &["token"]),
        (
            "a server's token",
            for_servers.clone(),
            code::FORBIDDEN,
            &["server", "node"],
        ),
        ("wrong secret", wrong_secret.to_string(), code::FORBIDDEN, &["token"]),
        (
            "wrong digest",
            wrong_digest.to_string(),
            code::WRONG_CLUSTER,
            &["cluster"],
        ),
        ("another cluster's token", elsewhere, code::WRONG_CLUSTER, &["cluster"]),
        (
            "no token at all",
            "ahoy".to_owned(),
            code::USAGE,
            &["trireme.<role>.<digest>.<id>.<secret>"],
        ),
    ];
    for (number, (name, token, code, says)) in cases.iter().enumerate() {
        let data = folder.path().join(format!("agent-{number}")).display().to_string();
        let arguments = [
            "agent",
            "--name",
            "stranger",
            "--runtime",
            "process",
            "--data-dir",
            &data,
        ];
        let joined = [&arguments[..], &["--join", &server, "--token", token]].concat();
        let output = must_give_up(cluster, name, &joined).await?;
        is_clear(name, &output, *code, says)?;
        let after = fingerprint(cluster).await?;
        ensure!(before == after, "{name} changed something:\n{before}\n{after}");
    }

    // The same for servers: with a node's token, with none.
    let data = folder.path().join("server");
    let arguments = server_arguments("server-2", &data)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let joined = [&arguments[..], &["--join", &server, "--token", &good]].concat();
    let output = must_give_up(cluster, "a node's token", &joined).await?;
    is_clear("a node's token", &output, code::FORBIDDEN, &["node", "server"])?;
    let output = must_give_up(cluster, "no token", &[&arguments[..], &["--join", &server]].concat()).await?;
    is_clear("no token", &output, code::USAGE, &["token"])?;
    let output = must_give_up(cluster, "an empty folder", &arguments).await?;
    is_clear("an empty folder", &output, code::USAGE, &["--cluster-init"])?;
    ensure!(!data.exists(), "a server that did not join left {}", data.display());
    ensure!(before == fingerprint(cluster).await?);
    a_folder_is_of_one_cluster(cluster, other, &server, &for_servers).await
}

fn server_arguments(name: &str, data: &Path) -> Result<Vec<String>> {
    let port = free_ports(2)?;
    let data = data.display().to_string();
    let (listen, peers) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", port + 1));
    let words = [
        "server",
        "--name",
        name,
        "--data-dir",
        &data,
        "--listen",
        &listen,
        "--peer-listen",
        &peers,
    ];
    Ok(words.map(str::to_owned).to_vec())
}

/// A server's folder says whose it is: it joins no other cluster, and runs under no other name.
async fn a_folder_is_of_one_cluster(cluster: &Cluster, other: &Cluster, server: &str, token: &str) -> Result<()> {
    let before = (fingerprint(cluster).await?, fingerprint(other).await?);
    // A copy, since the other cluster's server runs on the original.
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("server-1");
    copy(&other.server_dir("server-1"), &data)?;
    let files = contents(&data)?;
    let arguments = server_arguments("server-1", &data)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let joined = [&arguments[..], &["--join", server, "--token", token]].concat();
    let output = must_give_up(cluster, "another cluster's folder", &joined).await?;
    is_clear(
        "another cluster's folder",
        &output,
        code::WRONG_CLUSTER,
        &["belongs to cluster"],
    )?;
    ensure!(output.stderr.contains("--data-dir"), "{output:?}");

    let renamed = server_arguments("server-7", &data)?;
    let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
    let output = must_give_up(cluster, "another server's folder", &renamed).await?;
    is_clear(
        "another server's folder",
        &output,
        code::WRONG_CLUSTER,
        &["server-1", "server-7"],
    )?;

    ensure!(files == contents(&data)?, "the folder was touched");
    let after = (fingerprint(cluster).await?, fingerprint(other).await?);
    ensure!(before == after, "{before:?}\n{after:?}");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Every file below a folder, with its length.
fn contents(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(contents(&entry.path())?);
        } else {
            found.push((entry.path(), entry.metadata()?.len()));
        }
    }
    found.sort();
    Ok(found)
}

#[tokio::test]
async fn taken_ports_are_told() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions { agents: 0, ..small() }).await?;
    cluster.with_logs(tell_ports(&cluster).await)
}

async fn tell_ports(cluster: &Cluster) -> Result<()> {
    let before = fingerprint(cluster).await?;
    let taken = TcpListener::bind("127.0.0.1:0").await?;
    let (taken, free) = (taken.local_addr()?.to_string(), format!("127.0.0.1:{}", free_ports(1)?));
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("server");
    let data = data.display().to_string();
    for (name, listen, peers) in [("clients' port", &taken, &free), ("servers' port", &free, &taken)] {
        let arguments = ["server", "--cluster-init", "--name", "alone", "--data-dir", &data];
        let ports = ["--listen", listen, "--peer-listen", peers];
        let output = must_give_up(cluster, name, &[&arguments[..], &ports].concat()).await?;
        is_clear(name, &output, code::LOCAL, &[&taken, "in use"])?;
        ensure!(output.stderr.contains("help: "), "{output:?}");
        ensure!(!Path::new(&data).exists(), "{name}: the folder was made");
    }
    let port = taken.rsplit(':').next().context("an address has a port")?;
    let up = [
        "up",
        "--detach",
        "--servers",
        "1",
        "--agents",
        "0",
        "--base-port",
        port,
        "--data-dir",
        &data,
    ];
    let output = must_give_up(cluster, "up", &up).await?;
    is_clear("up", &output, code::LOCAL, &[port, "in use"])?;
    ensure!(before == fingerprint(cluster).await?);
    Ok(())
}

#[tokio::test]
async fn certificates_open_only_their_own_doors() -> Result<()> {
    let cluster = Cluster::start(small()).await?;
    let other = Cluster::start(ClusterOptions { agents: 0, ..small() }).await?;
    cluster.with_logs(refuse_certificates(&cluster, &other).await)
}

async fn refuse_certificates(cluster: &Cluster, other: &Cluster) -> Result<()> {
    cluster
        .ok(&["create", "configmap", "private", "--from-literal", "a=b"])
        .await?;
    let node = node_config(cluster, "node-1")?;
    let client = Client::new(node.clone())?;
    let refused = |result: Result<String, trireme_client::ClientError>| -> Result<()> {
        let error = result.err().context("a node was let in")?;
        let error = error
            .api()
            .with_context(|| format!("no answer of the server: {error}"))?
            .clone();
        ensure!(
            error.reason == "Forbidden" && error.message.contains("node-1"),
            "{error:?}"
        );
        Ok(())
    };
    let maps: Api<ConfigMap> = Api::namespaced(&client, "default");
    refused(maps.list("", "").await.map(|list| format!("{list:?}")))?;
    refused(maps.get("private").await.map(|map| format!("{map:?}")))?;
    refused(maps.create(&ConfigMap::default()).await.map(|map| format!("{map:?}")))?;
    refused(
        maps.delete("private", &Default::default())
            .await
            .map(|gone| gone.to_string()),
    )?;
    let pods: Api<Pod> = Api::all(&client);
    refused(pods.list("", "").await.map(|list| format!("{list:?}")))?;

    // The CLI, with the same certificate.
    let before = fingerprint(cluster).await?;
    let kubeconfig = cluster.data_dir().join("node.kubeconfig");
    let identity = node.identity.clone().context("a node has an identity")?;
    Kubeconfig::new("trireme", "node-1", &node.endpoints, &node.ca_pem, &identity).write(&kubeconfig)?;
    let kubeconfig = kubeconfig.display().to_string();
    for (name, arguments) in [
        ("get", &["get", "configmaps"][..]),
        ("delete", &["delete", "configmap", "private"]),
        ("token create", &["token", "create", "--role", "server"]),
        ("token list", &["token", "list"]),
        ("cluster remove", &["cluster", "remove", "server-1"]),
    ] {
        let output = cluster
            .run(&[arguments, &["--kubeconfig", &kubeconfig]].concat())
            .await?;
        is_clear(name, &output, code::FORBIDDEN, &[])?;
    }
    // And a server that another authority vouches for is not believed.
    let elsewhere = address(other).await?;
    let output = cluster.run(&["get", "pods", "--server", &elsewhere]).await?;
    is_clear("another cluster's server", &output, code::FORBIDDEN, &[])?;
    let after = fingerprint(cluster).await?;
    ensure!(before == after, "{before}\n{after}");
    Ok(())
}

#[tokio::test]
async fn a_strangers_certificate_is_told() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions { agents: 0, ..small() }).await?;
    let other = Cluster::start(ClusterOptions { agents: 0, ..small() }).await?;
    cluster.with_logs(refuse_strangers(&cluster, &other).await)
}

/// An admin of another cluster is no one here, and is told so: it is not the servers that are in trouble.
async fn refuse_strangers(cluster: &Cluster, other: &Cluster) -> Result<()> {
    let foreign = ClientConfig {
        identity: other.client_config()?.identity,
        ..cluster.client_config()?
    };
    let identity = foreign.identity.clone().context("an admin has an identity")?;
    let stranger = cluster.data_dir().join("stranger.kubeconfig");
    Kubeconfig::new("trireme", "admin", &foreign.endpoints, &foreign.ca_pem, &identity).write(&stranger)?;
    let output = cluster
        .run(&["get", "pods", "--kubeconfig", &stranger.display().to_string()])
        .await?;
    is_clear("another cluster's admin", &output, code::FORBIDDEN, &[])?;
    Ok(())
}

/// A client's configuration with a node's certificate, as its agent keeps it.
fn node_config(cluster: &Cluster, node: &str) -> Result<ClientConfig> {
    let folder = cluster.agent_dir(node).join("identity");
    let both = std::fs::read_to_string(folder.join("node.pem"))?;
    let key = both.find("-----BEGIN PRIVATE KEY").context("the file holds a key")?;
    let identity = Identity {
        cert_pem: both[..key].to_owned(),
        key_pem: both[key..].to_owned(),
    };
    let servers: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("servers.json"))?)?;
    ensure!(
        servers.to_string().contains("127.0.0.1:"),
        "{servers:#}: {}",
        text(&servers, "/0")
    );
    Ok(ClientConfig {
        identity: Some(identity),
        ..cluster.client_config()?
    })
}
