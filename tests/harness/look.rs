//! Looking at a cluster the way scripts do: the CLI's JSON, its tables, and the processes' own files.
//!
//! Nothing here decides whether a test passes; it only reads, and says clearly what could not be read.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    cluster::Cluster,
    wait::{poll_until, wait_until},
};

/// How long anything may take that should take seconds: generous, since test machines are small and busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

impl Cluster {
    /// Runs a command with `-o json` behind it and reads what it prints.
    ///
    /// # Errors
    /// If it fails, or prints no JSON.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [arguments, &["-o", "json"]].concat();
        let text = self.ok(&arguments).await?;
        serde_json::from_str(&text).with_context(|| format!("`trireme {}` printed no JSON", arguments.join(" ")))
    }

    /// The items of `get TYPE -o json`.
    ///
    /// # Errors
    /// As [`Cluster::json`].
    pub async fn items(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let list = self.json(&[&["get"], arguments].concat()).await?;
        let items = list.get("items").and_then(Value::as_array);
        Ok(items.context("a list has items")?.clone())
    }

    /// Applies a manifest that must be accepted.
    ///
    /// # Errors
    /// If it is not.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let output = self.run_with_input(&["apply", "-f", "-"], manifest).await?;
        ensure!(output.code == 0, "the manifest was refused:\n{}", output.stderr);
        Ok(output.stdout)
    }

    /// Waits until `holds` is true of an object; gives the object.
    ///
    /// # Errors
    /// If it does not become true in time; the message holds the object's last state.
    pub async fn until(&self, what: &str, arguments: &[&str], holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let get = [&["get"], arguments].concat();
        poll_until(what, PATIENCE, || async {
            let object = self.json(&get).await?;
            ensure!(holds(&object), "{object:#}");
            Ok(Some(object))
        })
        .await
    }

    /// The id of the process that `trireme up` started under a name.
    ///
    /// # Errors
    /// If `up` started none.
    pub fn process_id(&self, name: &str) -> Result<i32> {
        let path = self.data_dir().join("run").join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let record: Value = serde_json::from_str(&text)?;
        let pid = record
            .get("pid")
            .and_then(Value::as_i64)
            .context("a record has a pid")?;
        Ok(i32::try_from(pid)?)
    }

    /// Sends a signal that ends a server or an agent, and waits until its process is gone.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub async fn end_process(&self, name: &str, signal: Signal) -> Result<()> {
        let pid = self.process_id(name)?;
        ensure!(self.owns_process(pid), "process {pid} is not one of this cluster's");
        kill(Pid::from_raw(pid), signal).with_context(|| format!("sending {signal} to {name}"))?;
        wait_until(&format!("{name} to end"), PATIENCE, || async { Ok(!runs(pid)) }).await
    }

    /// Where an agent keeps everything.
    pub fn agent_dir(&self, name: &str) -> PathBuf {
        self.data_dir().join("agents").join(name)
    }

    /// Where a server keeps everything.
    pub fn server_dir(&self, name: &str) -> PathBuf {
        self.data_dir().join("servers").join(name)
    }

    /// A result with the ends of all logs in its failure.
    ///
    /// # Errors
    /// The result's own.
    pub fn with_logs<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| anyhow::anyhow!("{error:?}\n{}", self.logs_tail()))
    }
}

/// Whether a process runs. One that ended and that nobody has reaped yet does not.
pub fn runs(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The program's name may hold anything, so the state is looked for behind its end.
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// The rows of a table that the CLI printed, each cell under its heading.
pub fn rows(table: &str) -> Vec<BTreeMap<String, String>> {
    let split = |line: &str| -> Vec<String> {
        let cells = line.split("   ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    let mut lines = table.lines();
    let headings = lines.next().map(split).unwrap_or_default();
    lines
        .map(|line| headings.iter().cloned().zip(split(line)).collect())
        .collect()
}

/// The text at a JSON pointer; empty if there is none.
pub fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer; 0 if there is none, as Kubernetes leaves zeros out.
pub fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The status of a condition; empty if the object has none of that type.
pub fn condition<'v>(object: &'v Value, kind: &str) -> &'v str {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| text(condition, "/type") == kind);
    found.map_or("", |condition| text(condition, "/status"))
}
