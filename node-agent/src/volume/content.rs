//! Which files a volume has, from the objects that it names. Pure.

use crate::paths::join_relative;
use crate::pod::env::{ConfigProblem, Context, field_value, resource_value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trireme_proto::api::core::v1::{DownwardApiVolumeFile, HostPathVolumeSource, KeyToPath, Volume};

const FILE_MODE_DEFAULT: i32 = 0o644;
const FILE_MODE_MASK: i32 = 0o777;

/// What a volume is.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// A directory that the pod fills.
    Empty,
    /// Exactly these files.
    Files(BTreeMap<PathBuf, File>),
    /// A path of the host.
    Host(HostPathVolumeSource),
}

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

/// The keys of a configuration object, with their values.
type Data = BTreeMap<String, Vec<u8>>;

/// What `volume` is to hold.
pub(super) fn of(context: &Context<'_>, volume: &Volume) -> Result<Content, ConfigProblem> {
    let Some(source) = &volume.volume_source else {
        return Ok(Content::Empty);
    };
    if source.empty_dir.is_some() {
        return Ok(Content::Empty);
    }
    if let Some(host) = &source.host_path {
        return Ok(Content::Host(host.clone()));
    }
    let mut files = BTreeMap::new();
    if let Some(map) = &source.config_map {
        let name = map
            .local_object_reference
            .as_ref()
            .map_or("", |name| name.name.as_str());
        let data = config_map(context, name, map.optional.unwrap_or(false))?;
        add_keys(
            &mut files,
            &data,
            &map.items,
            map.default_mode,
            map.optional.unwrap_or(false),
        )?;
    } else if let Some(secret) = &source.secret {
        let data = secret_data(context, &secret.secret_name, secret.optional.unwrap_or(false))?;
        add_keys(
            &mut files,
            &data,
            &secret.items,
            secret.default_mode,
            secret.optional.unwrap_or(false),
        )?;
    } else if let Some(downward) = &source.downward_api {
        add_fields(context, &mut files, &downward.items, downward.default_mode)?;
    } else if let Some(projected) = &source.projected {
        for part in &projected.sources {
            add_projection(context, &mut files, part, projected.default_mode)?;
        }
    } else {
        return Err(ConfigProblem("volumes of this type are not supported".to_owned()));
    }
    Ok(Content::Files(files))
}

fn add_projection(
    context: &Context<'_>,
    files: &mut BTreeMap<PathBuf, File>,
    part: &trireme_proto::api::core::v1::VolumeProjection,
    mode: Option<i32>,
) -> Result<(), ConfigProblem> {
    if let Some(map) = &part.config_map {
        let name = map
            .local_object_reference
            .as_ref()
            .map_or("", |name| name.name.as_str());
        let optional = map.optional.unwrap_or(false);
        add_keys(files, &config_map(context, name, optional)?, &map.items, mode, optional)
    } else if let Some(secret) = &part.secret {
        let name = secret
            .local_object_reference
            .as_ref()
            .map_or("", |name| name.name.as_str());
        let optional = secret.optional.unwrap_or(false);
        add_keys(
            files,
            &secret_data(context, name, optional)?,
            &secret.items,
            mode,
            optional,
        )
    } else if let Some(downward) = &part.downward_api {
        add_fields(context, files, &downward.items, mode)
    } else {
        Err(ConfigProblem(
            "a projected source of this type is not supported".to_owned(),
        ))
    }
}

fn namespaced(context: &Context<'_>, name: &str) -> (String, String) {
    let namespace = context
        .pod
        .metadata
        .as_ref()
        .map(|meta| meta.namespace.clone())
        .unwrap_or_default();
    (namespace, name.to_owned())
}

fn config_map(context: &Context<'_>, name: &str, optional: bool) -> Result<Data, ConfigProblem> {
    let Some(map) = context.references.config_maps.get(&namespaced(context, name)) else {
        return if optional {
            Ok(Data::new())
        } else {
            Err(ConfigProblem(format!("configmap {name:?} not found")))
        };
    };
    let texts = map
        .data
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binaries = map.binary_data.iter().map(|(key, value)| (key.clone(), value.to_vec()));
    Ok(texts.chain(binaries).collect())
}

fn secret_data(context: &Context<'_>, name: &str, optional: bool) -> Result<Data, ConfigProblem> {
    match context.references.secrets.get(&namespaced(context, name)) {
        Some(secret) => Ok(secret
            .data
            .iter()
            .map(|(key, value)| (key.clone(), value.to_vec()))
            .collect()),
        None if optional => Ok(Data::new()),
        None => Err(ConfigProblem(format!("secret {name:?} not found"))),
    }
}

fn add_keys(
    files: &mut BTreeMap<PathBuf, File>,
    data: &Data,
    items: &[KeyToPath],
    default_mode: Option<i32>,
    optional: bool,
) -> Result<(), ConfigProblem> {
    if items.is_empty() {
        for (key, value) in data {
            add(files, key, value.clone(), default_mode)?;
        }
        return Ok(());
    }
    for item in items {
        match data.get(&item.key) {
            Some(value) => add(files, &item.path, value.clone(), item.mode.or(default_mode))?,
            None if optional => {}
            None => return Err(ConfigProblem(format!("key {:?} is not there", item.key))),
        }
    }
    Ok(())
}

fn add_fields(
    context: &Context<'_>,
    files: &mut BTreeMap<PathBuf, File>,
    items: &[DownwardApiVolumeFile],
    default_mode: Option<i32>,
) -> Result<(), ConfigProblem> {
    for item in items {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => field_value(context, &field.field_path)?,
            (None, Some(resource)) => resource_value(context, None, resource)?,
            (None, None) => return Err(ConfigProblem(format!("file {:?} names no field", item.path))),
        };
        add(files, &item.path, value.into_bytes(), item.mode.or(default_mode))?;
    }
    Ok(())
}

fn add(
    files: &mut BTreeMap<PathBuf, File>,
    path: &str,
    content: Vec<u8>,
    mode: Option<i32>,
) -> Result<(), ConfigProblem> {
    join_relative(Path::new("/"), Path::new(path)).map_err(|error| ConfigProblem(error.to_string()))?;
    let mode = mode.unwrap_or(FILE_MODE_DEFAULT) & FILE_MODE_MASK;
    let mode = u32::try_from(mode).map_err(|_| ConfigProblem(format!("{mode} is no file mode")))?;
    files.insert(PathBuf::from(path), File { content, mode });
    Ok(())
}
