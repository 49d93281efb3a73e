//! Python's client, and the fuzzer of schemas that is written in Python.
//!
//! The scripts stand beside this file; what they need is installed, at the versions that `requirements.txt` names, into an
//! environment below the user's cache folder.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::process::Command;
use trireme_tests::harness::{Cluster, workspace};

use crate::{
    needed::{ended, kept, run, unless_missing},
    verbs::with_agents,
};

/// How long one script may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Names the paths of the documents that the fuzzer reads, apart by spaces; `all` for whatever the server has.
const FUZZED_GROUPS: &str = "TRIREME_SCHEMA_GROUPS";

/// Names how many requests the fuzzer makes up for each operation.
const FUZZED_EXAMPLES: &str = "TRIREME_SCHEMA_EXAMPLES";

/// Names the number from which the fuzzer makes up its requests: the same ones each time, unless it is told otherwise.
const FUZZED_SEED: &str = "TRIREME_SCHEMA_SEED";

/// How long the fuzzer may take when it is asked for more.
const LONG_PATIENCE: Duration = Duration::from_secs(7200);

fn scripts() -> PathBuf {
    workspace().join("tests/compat/python")
}

/// The interpreter of an environment that has everything.
async fn interpreter() -> Result<PathBuf> {
    let requirements = scripts().join("requirements.txt");
    let mut hasher = DefaultHasher::new();
    std::fs::read(&requirements)?.hash(&mut hasher);
    // An environment belongs to the Python that made it.
    run(Command::new("python3").args(["-c", "import sys; print(sys.executable, sys.version)"]))
        .await?
        .hash(&mut hasher);
    let folder = kept(&format!("python-{:016x}", hasher.finish()), |folder| async move {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).await?;
        run(Command::new(folder.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(requirements))
        .await?;
        Ok(())
    })
    .await?;
    Ok(folder.join("bin/python"))
}

/// Runs a script for a cluster.
async fn script(python: &Path, cluster: &Cluster, name: &str, arguments: &[String], patience: Duration) -> Result<()> {
    let output = ended(
        Command::new(python)
            .arg(scripts().join(name))
            .arg(cluster.kubeconfig())
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(cluster.data_dir()),
        patience,
    )
    .await?;
    ensure!(
        output.status.success(),
        "{name} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[tokio::test]
async fn pythons_typed_and_dynamic_clients() -> Result<()> {
    let Some(python) = unless_missing("Python's client", interpreter().await)? else {
        return Ok(());
    };
    let cluster = with_agents(1).await?;
    for name in ["typed.py", "dynamic.py"] {
        cluster.with_logs(script(&python, &cluster, name, &[], PATIENCE).await)?;
    }
    Ok(())
}

/// Whatever is asked by the letter of the served documents, or nearly so, is answered, and never with an error of the server.
#[tokio::test]
async fn no_request_made_from_the_schema_ends_in_an_error_of_the_server() -> Result<()> {
    let Some(python) = unless_missing("schemathesis", interpreter().await)? else {
        return Ok(());
    };
    let cluster = with_agents(0).await?;
    let chosen = |name: &str| std::env::var(name).ok();
    let patience = chosen(FUZZED_GROUPS).map_or(PATIENCE, |_| LONG_PATIENCE);
    let groups = chosen(FUZZED_GROUPS).unwrap_or_else(|| "api/v1 apis/apps/v1".to_owned());
    let mut arguments = vec![
        chosen(FUZZED_EXAMPLES).unwrap_or_else(|| "1".to_owned()),
        chosen(FUZZED_SEED).unwrap_or_else(|| "1".to_owned()),
    ];
    arguments.extend(groups.split_whitespace().map(str::to_owned));
    cluster.with_logs(script(&python, &cluster, "schema.py", &arguments, patience).await)
}
