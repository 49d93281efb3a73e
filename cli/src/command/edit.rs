//! `edit`: opens an object in the user's editor and writes back what changed.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::apply::diff;
use crate::exit::{Exit, Failure};
use crate::input::yaml as yaml_input;
use crate::object::Object;
use crate::output::{say, warn_all, yaml};
use crate::resolve::{qualified, reference};
use crate::resources::WriteOptions;
use crate::session::Session;

/// Flags of `edit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme edit deploy/hello
  EDITOR=nano trireme edit configmap settings")]
pub(crate) struct EditArgs {
    /// TYPE NAME, or TYPE/NAME
    #[arg(required = true)]
    resource: Vec<String>,
    /// The editor
    #[arg(long, env = "EDITOR", default_value = "vi", value_name = "PROGRAM")]
    editor: String,
}

const HEADER: &str = "\
# Change the object below, save, and leave the editor. Nothing happens if you change nothing.
# Lines that begin with # are passed over.
";

/// Runs the verb.
pub(crate) async fn run(args: EditArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let (resource, name) = discovery.one(&args.resource)?;
    let resources = session.resources();
    let place = reference(&resource, &session.namespace, &name);
    let live = resources.get(&place).await?;
    let mut shown = live.clone();
    shown.remove_metadata("managedFields");
    let draft = format!("{HEADER}{}", yaml::to_string(shown.value()));
    let path = write_draft(&name, &draft)?;
    let failed = |failure: Failure| failure.help(format!("your text is kept in {}", path.display()));
    if let Err(failure) = open(&args.editor, &path) {
        let is_untouched = std::fs::read_to_string(&path).is_ok_and(|text| text == draft);
        if is_untouched {
            let _ = std::fs::remove_file(&path);
            return Err(failure.into());
        }
        return Err(failed(failure).into());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let edited = yaml_input::read_one(&text)
        .map_err(|e| failed(Failure::new(Exit::Invalid, format!("this is not YAML: {e}"))))?;
    let edited = Object::new(edited).map_err(|e| failed(Failure::new(Exit::Invalid, e.to_string())))?;
    if (edited.kind(), edited.name(), edited.namespace()) != (live.kind(), live.name(), live.namespace()) {
        let message = "kind, metadata.name and metadata.namespace cannot be changed";
        return Err(failed(Failure::new(Exit::Invalid, message)).into());
    }
    let patch = diff::between(shown.value(), edited.value());
    let changed = match resources
        .patch_live(&place, &live, patch, WriteOptions::default())
        .await
    {
        Ok(changed) => changed,
        Err(error) => return Err(failed(Failure::of(&error.into())).into()),
    };
    warn_all(&changed.warnings);
    let _ = std::fs::remove_file(&path);
    let outcome = if changed.changed { "edited" } else { "unchanged" };
    say(format!("{}/{name} {outcome}", qualified(&resource)))
}

/// The text in a file that only the user may read: it may be a secret.
fn write_draft(name: &str, text: &str) -> Result<std::path::PathBuf> {
    use std::os::unix::fs::OpenOptionsExt;
    let file_name = format!("trireme-edit-{}-{name}.yaml", std::process::id());
    let path = std::env::temp_dir().join(file_name);
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(&path);
    let mut file = opened.with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn open(editor: &str, path: &std::path::Path) -> Result<(), Failure> {
    let mut words = editor.split_whitespace();
    let program = words
        .next()
        .ok_or_else(|| Failure::usage("the editor's name is empty").help("set EDITOR"))?;
    let status = Command::new(program).args(words).arg(path).status().map_err(|error| {
        Failure::new(Exit::Local, format!("cannot start the editor {program:?}: {error}"))
            .help("set EDITOR to one that is installed")
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Local,
        format!("the editor ended with {status}; nothing was changed"),
    ))
}
