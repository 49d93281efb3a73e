//! Stock `kubectl`s: the one on the path, and the older one of Debian's.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};
use trireme_tests::harness::Cluster;

use crate::{
    expectation::expect,
    needed::{kept, run, unless_missing},
};

/// How long one command may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// What people type into an editor: a replacement of one word in the whole file.
const EDITOR: &str = "sed -i s/before-edit/after-edit/";

/// The package of Debian's that has an older `kubectl`.
const PACKAGE: &str = "kubernetes-client";

/// `kubectl` with the administrator's credentials, and a home of its own.
pub(crate) struct Kubectl {
    program: PathBuf,
    /// Its minor version, by which what it prints differs.
    minor: u32,
    kubeconfig: PathBuf,
    home: tempfile::TempDir,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Kubectl {
    /// All that can be had, for a cluster.
    ///
    /// # Errors
    /// If one cannot be had that must be, or there is no place for its caches.
    pub(crate) async fn all(cluster: &Cluster) -> Result<Vec<Self>> {
        let stock = Self::new(cluster, PathBuf::from("kubectl")).await;
        let debian = async { Self::new(cluster, debian().await?).await };
        Ok([
            unless_missing("a kubectl on the path", stock)?,
            unless_missing("Debian's kubectl", debian.await)?,
        ]
        .into_iter()
        .flatten()
        .collect())
    }

    async fn new(cluster: &Cluster, program: PathBuf) -> Result<Self> {
        let version = run(Command::new(&program).args(["version", "--client", "-o", "json"])).await?;
        let version: Value = serde_json::from_str(&version)?;
        let minor = version["clientVersion"]["minor"].as_str().context("a minor version")?;
        Ok(Self {
            program,
            minor: minor.trim_end_matches('+').parse()?,
            kubeconfig: cluster.kubeconfig(),
            home: tempfile::tempdir()?,
        })
    }

    /// Its version, for messages.
    pub(crate) fn version(&self) -> String {
        format!("kubectl 1.{}", self.minor)
    }

    /// Whether it is of this minor version or a later one.
    pub(crate) fn is_since(&self, minor: u32) -> bool {
        self.minor >= minor
    }

    /// What it prints: other words since a version.
    pub(crate) fn words<'w>(&self, before: &'w str, minor: u32, since: &'w str) -> &'w str {
        if self.is_since(minor) { since } else { before }
    }

    /// Runs a command; its words stand in one text, and what must not be split within single quotes.
    ///
    /// # Errors
    /// If it cannot be run, or does not end.
    pub(crate) async fn run(&self, command: &str, input: &str) -> Result<Ended> {
        let mut child = Command::new(&self.program)
            .args(words(command))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
            .env("KUBECTL_EXTERNAL_DIFF", "diff -u")
            .env("KUBE_EDITOR", EDITOR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("running {}", self.program.display()))?;
        let mut stdin = child.stdin.take().context("standard input was asked for")?;
        // Most commands read nothing.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .with_context(|| format!("kubectl {command} does not end"))??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Runs a command that must succeed; gives what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub(crate) async fn ok(&self, command: &str) -> Result<String> {
        self.ok_with(command, "").await
    }

    /// The same, with something on its standard input.
    ///
    /// # Errors
    /// If it fails.
    pub(crate) async fn ok_with(&self, command: &str, input: &str) -> Result<String> {
        let Ended { code, stdout, stderr } = self.run(command, input).await?;
        ensure!(code == 0, "kubectl {command} ended with {code}:\n{stdout}{stderr}");
        Ok(stdout)
    }

    /// Runs a command that must succeed and print this.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) async fn says(&self, command: &str, expected: &str) -> Result<()> {
        let stdout = self.ok(command).await?;
        expect(&stdout, expected).with_context(|| format!("kubectl {command}"))
    }

    /// Runs a command that must fail and say this.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) async fn fails(&self, command: &str, code: i32, expected: &str) -> Result<()> {
        let ended = self.run(command, "").await?;
        ensure!(
            ended.code == code,
            "kubectl {command} ended with {}:\n{}",
            ended.code,
            ended.stderr
        );
        expect(&ended.stderr, expected).with_context(|| format!("kubectl {command}"))
    }
}

/// Debian's `kubectl`, unpacked beside whatever is installed.
async fn debian() -> Result<PathBuf> {
    let folder = kept(&format!("debian-{PACKAGE}"), |folder| async move {
        let mut download = Command::new("apt-get");
        download.args(["download", "--quiet", PACKAGE]).current_dir(&folder);
        if run(&mut download).await.is_err() {
            // A new machine knows of no packages.
            run(Command::new("apt-get").args(["update", "--quiet"])).await?;
            run(&mut download).await?;
        }
        let packages = std::fs::read_dir(&folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let package = packages.first().context("apt-get downloads a package")?.path();
        run(Command::new("dpkg").arg("-x").arg(package).arg(&folder)).await?;
        Ok(())
    })
    .await?;
    Ok(folder.join("usr/bin/kubectl"))
}

/// The words of a command; single quotes keep one together.
fn words(command: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        if index % 2 == 0 {
            all.extend(part.split_whitespace().map(str::to_owned));
        } else {
            all.push(part.to_owned());
        }
    }
    all
}

#[test]
fn quotes_keep_words_together() {
    assert_eq!(
        words("patch cm a -p '{\"a\": 1}' -n x"),
        ["patch", "cm", "a", "-p", "{\"a\": 1}", "-n", "x"]
    );
}
