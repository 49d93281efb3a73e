//! A stock `kubectl` reads the documents, from a server that has nothing else.

use std::{io::ErrorKind, net::SocketAddr, process::Stdio, time::Duration};

use axum::{Extension, Router, routing::get};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command, task::JoinHandle};
use trireme_logic::kinds::api_version;

use super::*;

/// How long one command may take.
const DEADLINE: Duration = Duration::from_secs(60);

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: default
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx
        ports: [{containerPort: 80}]
        resources: {limits: {cpu: 500m, memory: 1Gi}}
";

/// A server of the documents alone, and a place for kubectl's cache.
struct Documents {
    address: SocketAddr,
    home: TempDir,
    served: JoinHandle<()>,
}

impl Documents {
    async fn serve() -> Self {
        let version = r#"{"major": "1", "minor": "36", "gitVersion": "v1.36.0"}"#;
        let router = Router::new()
            .route("/version", get(move || async move { version }))
            .merge(router())
            .layer(Extension(Peer::for_tests(Some(Subject::Admin))));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serves");
        });
        Self {
            address,
            home: tempfile::tempdir().expect("a folder"),
            served,
        }
    }

    /// What a command prints, or why it failed; `None` if there is no `kubectl`.
    async fn kubectl(&self, arguments: &[&str], input: &str) -> Option<Result<String, String>> {
        let child = Command::new("kubectl")
            .arg(format!("--server=http://{}", self.address))
            .arg(format!("--cache-dir={}", self.home.path().display()))
            .args(arguments)
            .env("HOME", self.home.path())
            .env("KUBECONFIG", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            child => child.expect("starts"),
        };
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).await.expect("reads its input");
        drop(stdin);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
        let output = output.expect("kubectl ends in time").expect("an output");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Some(if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        })
    }
}

impl Drop for Documents {
    fn drop(&mut self) {
        self.served.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_reads_them() {
    let server = Documents::serve().await;
    let Some(listed) = server.kubectl(&["api-resources", "--output=wide"], "").await else {
        println!("NOT TESTED: kubectl is not installed");
        return;
    };
    let listed = listed.expect("lists resources");
    for ops in served() {
        let info = ops.info();
        assert!(
            listed
                .lines()
                .any(|line| line.starts_with(info.plural) && line.contains(info.kind)),
            "{listed}"
        );
    }
    let run = async |arguments: &[&str], input: &str| server.kubectl(arguments, input).await.expect("it was there");

    let versions = run(&["api-versions"], "").await.expect("lists versions");
    assert!(
        versions.lines().any(|line| line == "apps/v1") && versions.lines().any(|line| line == "v1"),
        "{versions}"
    );

    // From version 3 of OpenAPI, and from version 2 in protobuf.
    for arguments in [
        ["explain", "pod.spec.containers", "--output=plaintext"],
        ["explain", "pod.spec.containers", "--output=plaintext-openapiv2"],
    ] {
        let explained = run(&arguments, "").await;
        let explained = match explained {
            Err(why) if why.contains("--output must be one of") => {
                println!("NOT TESTED: this kubectl has no {}", arguments[2]);
                continue;
            }
            explained => explained.expect("explains"),
        };
        assert!(
            explained.contains("imagePullPolicy") && explained.contains("sidecar"),
            "{explained}"
        );
    }
    for info in served().iter().map(|ops| ops.info()) {
        // The version says which of several kinds of one name is meant, or in which form.
        let version = format!("--api-version={}", api_version(info));
        let explained = run(&["explain", info.plural, &version], "").await.expect("explains");
        assert!(
            explained.contains(&format!("VERSION:    {}", info.version)),
            "{explained}"
        );
        assert!(explained.contains(&format!("KIND:       {}", info.kind)), "{explained}");
    }

    let validate = ["create", "--dry-run=client", "--validate=strict", "--filename=-"];
    let created = run(&validate, DEPLOYMENT).await.expect("is valid");
    assert_eq!(created, "deployment.apps/web created (dry run)\n");
    let applied = run(
        &["apply", "--dry-run=client", "--validate=true", "--filename=-"],
        DEPLOYMENT,
    )
    .await;
    println!("apply: {applied:?}");
}
