//! Finds and reads manifests: files, folders, standard input; several documents, and lists of objects, in each.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::input::yaml;
use crate::limits;
use crate::object::Object;

/// Which manifests.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct FileArgs {
    /// A file, a folder, or `-` for standard input; repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Also read the folders inside folders
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
}

/// An object of a manifest, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// The object.
    pub(crate) object: Object,
    /// Such as `hello.yaml, document 2`.
    pub(crate) place: String,
}

/// Reads everything that the arguments name, in order.
pub(crate) fn read(args: &FileArgs) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for name in &args.filename {
        if name.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let bound = limits::MANIFEST_MAX_BYTES as u64 + 1;
            std::io::stdin()
                .lock()
                .take(bound)
                .read_to_end(&mut bytes)
                .context("cannot read standard input")?;
            parse("standard input", &bytes, &mut documents)?;
            continue;
        }
        for file in files(name, args.recursive)? {
            let place = file.display().to_string();
            let size = std::fs::metadata(&file).map(|m| m.len()).unwrap_or_default();
            if size > limits::MANIFEST_MAX_BYTES as u64 {
                let message = format!("{place} is larger than {} bytes", limits::MANIFEST_MAX_BYTES);
                return Err(Failure::new(Exit::Invalid, message)
                    .help("split it into several files")
                    .into());
            }
            let bytes = std::fs::read(&file).with_context(|| format!("cannot read {place}"))?;
            parse(&place, &bytes, &mut documents)?;
        }
    }
    if documents.is_empty() && !args.filename.is_empty() {
        return Err(no_objects(&args.filename).into());
    }
    Ok(documents)
}

/// What was named holds nothing, which is nearly always a mistake: an empty pipe, or a folder without manifests.
fn no_objects(names: &[PathBuf]) -> Failure {
    let name = |path: &PathBuf| match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => path.display().to_string(),
    };
    let names: Vec<String> = names.iter().map(name).collect();
    let verb = if names.len() == 1 { "holds" } else { "hold" };
    Failure::new(Exit::Invalid, format!("{} {verb} no objects", names.join(" and "))).help(
        "pass manifests in YAML or JSON: a file, a folder with *.yaml, *.yml or *.json, or `-` for standard input",
    )
}

/// The files behind a name, sorted, so that the order does not depend on the file system.
fn files(name: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let metadata = std::fs::metadata(name).with_context(|| format!("cannot read {}", name.display()))?;
    if !metadata.is_dir() {
        return Ok(vec![name.to_owned()]);
    }
    let entries = std::fs::read_dir(name).with_context(|| format!("cannot read {}", name.display()))?;
    let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if path.is_dir() {
            if recursive {
                found.extend(files(&path, true)?);
            }
        } else if matches!(extension, "yaml" | "yml" | "json") {
            found.push(path);
        }
    }
    Ok(found)
}

fn parse(name: &str, bytes: &[u8], documents: &mut Vec<Document>) -> Result<()> {
    let invalid =
        |message: String| Failure::new(Exit::Invalid, message).help("correct the manifest; nothing of it was applied");
    let text = std::str::from_utf8(bytes).map_err(|_| invalid(format!("{name} is not UTF-8 text")))?;
    let values = yaml::read_all(text).map_err(|e| invalid(format!("{name} is not YAML: {e}")))?;
    let several = values.len() > 1;
    for (number, value) in values {
        let place = if several {
            format!("{name}, document {number}")
        } else {
            name.to_owned()
        };
        flatten(value, &place, documents).map_err(|reason| invalid(format!("{place}: {reason}")))?;
    }
    Ok(())
}

/// Takes lists of objects apart.
fn flatten(value: Value, place: &str, documents: &mut Vec<Document>) -> Result<(), String> {
    let object = Object::new(value).map_err(|e| e.to_string())?;
    if !object.kind().ends_with("List") || object.value().get("items").is_none() {
        documents.push(Document {
            object,
            place: place.to_owned(),
        });
        return Ok(());
    }
    let Some(Value::Array(items)) = object.into_value().get_mut("items").map(Value::take) else {
        return Err("items: must be a list".to_owned());
    };
    for (position, item) in items.into_iter().enumerate() {
        flatten(item, &format!("{place}, items[{position}]"), documents)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn nothing_is_told_with_a_way_out() {
        for (names, expected) in [
            (vec!["-"], "standard input holds no objects"),
            (vec!["a.yaml", "-"], "a.yaml and standard input hold no objects"),
        ] {
            let names: Vec<PathBuf> = names.into_iter().map(PathBuf::from).collect();
            let failure = no_objects(&names);
            assert_eq!((failure.exit, failure.message.as_str()), (Exit::Invalid, expected));
            assert!(!failure.help.is_empty());
        }
    }

    use crate::exit::Failure;

    fn read_text(text: &str) -> Result<Vec<String>, Failure> {
        let mut documents = Vec::new();
        parse("a.yaml", text.as_bytes(), &mut documents).map_err(|e| Failure::of(&e))?;
        Ok(documents
            .iter()
            .map(|d| format!("{}: {}/{}", d.place, d.object.kind(), d.object.name()))
            .collect())
    }

    #[test]
    fn documents_and_lists() {
        let text = "
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: b}}
- {apiVersion: v1, kind: Pod, metadata: {name: c}}
";
        let expected = [
            "a.yaml, document 1: ConfigMap/a",
            "a.yaml, document 2, items[0]: Secret/b",
            "a.yaml, document 2, items[1]: Pod/c",
        ];
        assert_eq!(read_text(text).unwrap(), expected);
    }

    #[test]
    fn refusals() {
        let check = |text: &str, part: &str| {
            let failure = read_text(text).unwrap_err();
            assert_eq!(failure.exit, Exit::Invalid);
            assert!(failure.message.contains(part), "{failure}");
            assert!(failure.message.starts_with("a.yaml"), "{failure}");
        };
        check("kind: [", "is not YAML");
        check("just text", "not an object");
        check("kind: Pod", "apiVersion");
        check("apiVersion: v1", "kind");
        check("{apiVersion: v1, kind: List, items: 5}", "items");
        check("{apiVersion: v1, kind: Pod, metadata: 5}", "metadata");
    }

    #[test]
    fn folders_are_read_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(
                path,
                format!("{{apiVersion: v1, kind: Pod, metadata: {{name: n{}}}}}", name.len()),
            )
            .unwrap();
        };
        for name in ["b.yaml", "aaa.yml", "readme.txt", "sub/c.json"] {
            write(name);
        }
        let names = |recursive| {
            let args = FileArgs {
                filename: vec![directory.path().to_owned()],
                recursive,
            };
            read(&args)
                .unwrap()
                .into_iter()
                .map(|d| d.object.name().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["n7", "n6"]);
        assert_eq!(names(true), ["n7", "n6", "n10"]);
    }
}
