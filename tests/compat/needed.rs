//! Clients that are fetched from where people get them: where they cannot be had, that is said, unless they must be there.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

/// Set to 1 where nothing may be left untested.
const REQUIRED: &str = "TRIREME_REQUIRE_CLIENTS";

/// How long fetching one client may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was fetched; nothing if it cannot be had and may be missing.
///
/// # Errors
/// If it cannot be had, and must.
pub(crate) fn unless_missing<T>(what: &str, fetched: Result<T>) -> Result<Option<T>> {
    match fetched {
        Ok(fetched) => Ok(Some(fetched)),
        Err(error) if std::env::var(REQUIRED).as_deref() == Ok("1") => Err(error.context(format!(
            "{what} cannot be had, and {REQUIRED} says that it must be there"
        ))),
        Err(error) => {
            eprintln!("not tested: {what} cannot be had: {error:#}");
            Ok(None)
        }
    }
}

/// A folder that keeps what was fetched: `fetch` fills it if nobody has yet.
///
/// # Errors
/// If there is no place for it, or it cannot be filled.
pub(crate) async fn kept<F>(name: &str, fetch: impl FnOnce(PathBuf) -> F) -> Result<PathBuf>
where
    F: Future<Output = Result<()>>,
{
    let folder = cache()?.join(name);
    // Whoever is interrupted leaves a folder without it, which is not to be believed.
    let complete = folder.join("complete");
    if !complete.is_file() {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        fetch(folder.clone()).await?;
        std::fs::write(complete, "")?;
    }
    Ok(folder)
}

/// The user's folder for what can be fetched again.
fn cache() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    Ok(cache.or(home).context("there is no home folder")?.join("trireme"))
}

/// Runs a command that must succeed; gives what it printed.
///
/// # Errors
/// If it cannot be run, fails, or does not end.
pub(crate) async fn run(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = ended(command, PATIENCE).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        status.success(),
        "{:?} ended with {status}:\n{}{}",
        command.as_std(),
        text(&stdout),
        text(&stderr)
    );
    Ok(text(&stdout))
}

/// How a command ended.
///
/// # Errors
/// If it cannot be run, or does not end in time.
pub(crate) async fn ended(command: &mut Command, patience: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(patience, command.output()).await {
        Ok(output) => output.with_context(|| format!("running {:?}", command.as_std())),
        Err(_) => bail!("{:?} does not end", command.as_std()),
    }
}
