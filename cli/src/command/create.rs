//! `create`: creates objects from manifests, or small ones from flags.

use std::path::PathBuf;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::command::apply::{DryRun, WriteArgs};
use crate::command::get::name_of;
use crate::exit::{Exit, Failure};
use crate::input::manifest::{self, Document, FileArgs};
use crate::limits;
use crate::object::Object;
use crate::output::{OutputArgs, print_objects, say, warn_all};
use crate::resolve::reference;
use crate::resources::object_of;
use crate::session::Session;

/// Flags of `create`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  trireme create -f hello.yaml
  trireme create namespace shop
  trireme create configmap settings --from-literal mode=fast --from-file app.conf
  trireme create secret generic keys --from-literal token=s3cret
  trireme create deployment hello --image trireme/hello:1 --replicas 3
  trireme create deployment hello --image trireme/hello:1 --dry-run=client -o yaml"
)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    what: Option<What>,
}

/// Flags of every form of `create`.
#[derive(Debug, Clone, Default, Args)]
struct Common {
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Objects that are made from flags.
#[derive(Debug, Subcommand)]
enum What {
    /// A namespace
    #[command(visible_alias = "ns")]
    Namespace {
        /// Its name
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// A map of texts
    #[command(visible_alias = "cm")]
    Configmap(DataArgs),
    /// A secret
    Secret {
        #[command(subcommand)]
        kind: SecretKind,
    },
    /// A deployment
    #[command(visible_alias = "deploy")]
    Deployment(DeploymentArgs),
}

#[derive(Debug, Subcommand)]
enum SecretKind {
    /// From files and literal values
    Generic(DataArgs),
}

#[derive(Debug, Args)]
struct DataArgs {
    /// Its name
    name: String,
    /// KEY=VALUE; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// [KEY=]FILE; repeatable
    #[arg(long, value_name = "[KEY=]FILE")]
    from_file: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct DeploymentArgs {
    /// Its name
    name: String,
    /// Image of a container; repeatable
    #[arg(long, required = true)]
    image: Vec<String>,
    /// How many pods
    #[arg(long, default_value_t = 1)]
    replicas: u32,
    /// Port that the first container listens on
    #[arg(long)]
    port: Option<u16>,
    /// What to run instead of the image's own program
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Runs the verb.
pub(crate) async fn run(args: CreateArgs, session: &Session) -> Result<()> {
    let Some(what) = args.what else {
        if args.files.filename.is_empty() {
            return Err(Failure::usage("nothing to create is given")
                .help("pass -f FILE, or see `trireme create --help`")
                .into());
        }
        return create(manifest::read(&args.files)?, &args.common, session).await;
    };
    let (object, common) = match what {
        What::Namespace { name, common } => (
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            common,
        ),
        What::Configmap(args) => (config_map(&args)?, args.common),
        What::Secret {
            kind: SecretKind::Generic(args),
        } => (secret(&args)?, args.common),
        What::Deployment(args) => (deployment(&args), args.common),
    };
    let object = Object::new(object).context("a generated object is well-formed")?;
    create(
        vec![Document {
            object,
            place: String::new(),
        }],
        &common,
        session,
    )
    .await
}

async fn create(documents: Vec<Document>, common: &Common, session: &Session) -> Result<()> {
    if common.write.dry_run == DryRun::Client {
        let objects: Vec<Object> = documents.into_iter().map(|d| d.object).collect();
        let name = |object: &Object| format!("{}/{}", object.kind().to_lowercase(), object.name());
        return match &common.output.output {
            Some(format) => print_objects(format, &objects, objects.len() == 1, name),
            None => objects
                .iter()
                .try_for_each(|o| say(format!("{} created{}", name(o), common.write.suffix()))),
        };
    }
    let discovery = session.discovery().await?;
    let resources = session.resources();
    let mut created = Vec::new();
    for document in documents {
        let resource = discovery
            .of_object(&document.object)
            .with_context(|| document.place.clone())?;
        let mut object = document.object;
        if resource.namespaced && object.namespace().is_empty() {
            object.set_namespace(&session.namespace);
        }
        let place = reference(resource, object.namespace(), "");
        let item = resources
            .create(&place, &object, common.write.options())
            .await
            .with_context(|| document.place.clone())?;
        warn_all(&item.warnings);
        let object = object_of(&item)?;
        if common.output.output.is_none() {
            say(format!(
                "{} created{}",
                name_of(&object, &discovery),
                common.write.suffix()
            ))?;
        }
        created.push(object);
    }
    match &common.output.output {
        Some(format) => print_objects(format, &created, created.len() == 1, |object| {
            name_of(object, &discovery)
        }),
        None => Ok(()),
    }
}

/// The keys and bytes that the flags give.
fn data(args: &DataArgs) -> Result<Vec<(String, Vec<u8>)>> {
    let mut data = Vec::new();
    for literal in &args.from_literal {
        let (key, value) = literal
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{literal:?} is not KEY=VALUE")))?;
        data.push((key.to_owned(), value.as_bytes().to_vec()));
    }
    for file in &args.from_file {
        let (key, path) = match file.split_once('=') {
            Some((key, path)) => (key.to_owned(), PathBuf::from(path)),
            None => {
                let path = PathBuf::from(file);
                let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
                (
                    name.ok_or_else(|| Failure::usage(format!("{file:?} is not a file")))?,
                    path,
                )
            }
        };
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if bytes.len() > limits::MANIFEST_MAX_BYTES {
            return Err(Failure::new(Exit::Invalid, format!("{} is too large", path.display())).into());
        }
        data.push((key, bytes));
    }
    Ok(data)
}

fn config_map(args: &DataArgs) -> Result<Value> {
    let (mut texts, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in data(args)? {
        match String::from_utf8(bytes) {
            Ok(text) => texts.insert(key, text.into()),
            Err(error) => binary.insert(key, STANDARD.encode(error.as_bytes()).into()),
        };
    }
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": args.name}});
    for (field, map) in [("data", texts), ("binaryData", binary)] {
        if !map.is_empty() {
            object[field] = Value::Object(map);
        }
    }
    Ok(object)
}

fn secret(args: &DataArgs) -> Result<Value> {
    let encoded = data(args)?
        .into_iter()
        .map(|(key, bytes)| (key, Value::from(STANDARD.encode(bytes))));
    let data: Map<String, Value> = encoded.collect();
    Ok(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": args.name}, "type": "Opaque", "data": data}))
}

fn deployment(args: &DeploymentArgs) -> Value {
    let labels = json!({"app": args.name});
    let container = |(position, image): (usize, &String)| {
        let name = if args.image.len() == 1 {
            args.name.clone()
        } else {
            format!("{}-{position}", args.name)
        };
        let mut container = json!({"name": name, "image": image});
        if position == 0 {
            if let Some(port) = args.port {
                container["ports"] = json!([{"containerPort": port}]);
            }
            if !args.command.is_empty() {
                container["command"] = json!(args.command);
            }
        }
        container
    };
    let containers: Vec<Value> = args.image.iter().enumerate().map(container).collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": args.name, "labels": labels},
        "spec": {
            "replicas": args.replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    })
}
