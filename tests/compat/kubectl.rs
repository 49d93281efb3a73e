//! A stock `kubectl`, as it is found on the path.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncWriteExt, process::Command};
use trireme_tests::harness::Cluster;

use crate::expectation::expect;

/// How long one command may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// `kubectl` with the administrator's credentials, and a home of its own.
pub(crate) struct Kubectl {
    kubeconfig: std::path::PathBuf,
    home: tempfile::TempDir,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Kubectl {
    /// For a cluster.
    ///
    /// # Errors
    /// If there is no place for its caches.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            kubeconfig: cluster.kubeconfig(),
            home: tempfile::tempdir()?,
        })
    }

    /// Runs a command; its words stand in one text, and what must not be split within single quotes.
    ///
    /// # Errors
    /// If it cannot be run, or does not end.
    pub(crate) async fn run(&self, command: &str, input: &str) -> Result<Ended> {
        let mut child = Command::new("kubectl")
            .args(words(command))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
            .env("KUBECTL_EXTERNAL_DIFF", "diff -u")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("kubectl must be on the PATH")?;
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
