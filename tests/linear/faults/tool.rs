//! Runs the system's tools. They take milliseconds, so nobody minds that they are waited for.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Runs a tool that must succeed; gives what it printed.
pub(super) fn run(line: &[&str]) -> Result<String> {
    run_with_input(line, "")
}

/// The same, with something on its standard input.
pub(super) fn run_with_input(line: &[&str], input: &str) -> Result<String> {
    let (program, arguments) = line.split_first().context("a command has a program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("running {program}"))?;
    let mut stdin = child.stdin.take().context("standard input was asked for")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {said}", line.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
