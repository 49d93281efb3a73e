//! One object in the form that was asked for. Pure.

use bytes::Bytes;
use prost::Message;
use serde_json::Value;
use trireme_logic::{kind::ColumnDefinition, kinds};
use trireme_proto::api::{
    autoscaling::v1::Scale,
    meta::v1::{ObjectMeta, PartialObjectMetadata, Time},
};

use super::{
    envelope,
    negotiate::{Accepted, Format, Shape},
    query::Query,
    table,
};
use crate::{registry::Stored, services::verbs::Outcome, status::ApiError};

const PARTIAL: &str = "PartialObjectMetadata";

/// What the row of a table carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// What an answer shows: an object, or its scale.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown<'a> {
    /// The object.
    Object(&'a Stored),
    /// The scale.
    Scale(&'a Scale),
}

/// The form of an answer.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) accepted: Accepted,
    pub(super) include: Include,
    /// Ages are counted up to here.
    pub(super) now: Time,
}

impl Include {
    /// Reads `includeObject`.
    ///
    /// # Errors
    /// `BadRequest` for another value than the three.
    pub(super) fn parse(query: &Query) -> Result<Self, ApiError> {
        match query.get("includeObject") {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(ApiError::bad_request(format!(
                "unrecognized includeObject value: {other:?}"
            ))),
        }
    }
}

impl<'a> From<&'a Outcome> for Shown<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Object(stored) => Self::Object(stored),
            Outcome::Scale(scale, _) => Self::Scale(scale),
        }
    }
}

impl<'a> Shown<'a> {
    fn api_version(self) -> String {
        match self {
            Self::Object(stored) => kinds::api_version(stored.kind()),
            Self::Scale(_) => "autoscaling/v1".to_owned(),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Object(stored) => stored.kind().kind,
            Self::Scale(_) => "Scale",
        }
    }

    fn metadata(self) -> Result<&'a ObjectMeta, ApiError> {
        match self {
            Self::Object(stored) => Ok(stored.object()?.metadata()),
            Self::Scale(scale) => scale
                .metadata
                .as_ref()
                .ok_or_else(|| ApiError::internal("a scale has no metadata")),
        }
    }

    fn columns(self) -> &'static [ColumnDefinition] {
        match self {
            Self::Object(stored) => stored.kind().columns,
            Self::Scale(_) => table::SCALE_COLUMNS,
        }
    }

    fn cells(self, now: Time) -> Result<Vec<Value>, ApiError> {
        match self {
            Self::Object(stored) => {
                let object = stored.object()?;
                let (info, name) = (stored.kind(), object.metadata().name.as_str());
                Ok(table::cells(info.kind, info.columns, name, object.cells(now)))
            }
            Self::Scale(scale) => Ok(table::scale_cells(scale, now)),
        }
    }

    fn json(self) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::Object(stored) => stored.to_json(),
            Self::Scale(scale) => serde_json::to_vec(scale).map_err(no_json),
        }
    }

    fn protobuf(self) -> Result<Bytes, ApiError> {
        match self {
            Self::Object(stored) => stored.to_protobuf(),
            Self::Scale(scale) => Ok(scale.encode_to_vec().into()),
        }
    }
}

impl Form {
    /// A whole answer of one object: JSON, or protobuf in its envelope. A table has its columns if they are `wanted`.
    pub(super) fn whole(&self, shown: Shown<'_>, columns_wanted: bool) -> Result<Vec<u8>, ApiError> {
        let (api_version, kind) = match self.accepted.shape {
            Shape::Object => (shown.api_version(), shown.kind()),
            Shape::Metadata { version, .. } => (meta_version(version), PARTIAL),
            Shape::Table { version } => return self.table_of_one(shown, version, columns_wanted),
        };
        match self.accepted.format {
            Format::Protobuf => Ok(envelope::wrap(&api_version, kind, &self.protobuf(shown)?)),
            Format::Json | Format::Yaml => self.json(shown),
        }
    }

    /// One object of a list: JSON as it stands there, or its protobuf message.
    pub(super) fn item(&self, stored: &Stored) -> Result<Vec<u8>, ApiError> {
        let shown = Shown::Object(stored);
        match (self.accepted.shape, self.accepted.format) {
            (Shape::Table { version }, _) => self.row(shown, version),
            (_, Format::Protobuf) => Ok(self.protobuf(shown)?.into()),
            (Shape::Metadata { .. }, _) => self.json(shown),
            (Shape::Object, _) => stored.to_json_in_list(),
        }
    }

    fn protobuf(&self, shown: Shown<'_>) -> Result<Bytes, ApiError> {
        match self.accepted.shape {
            Shape::Object | Shape::Table { .. } => shown.protobuf(),
            Shape::Metadata { .. } => {
                let metadata = Some(shown.metadata()?.clone());
                Ok(PartialObjectMetadata { metadata }.encode_to_vec().into())
            }
        }
    }

    fn json(&self, shown: Shown<'_>) -> Result<Vec<u8>, ApiError> {
        match self.accepted.shape {
            Shape::Object | Shape::Table { .. } => shown.json(),
            Shape::Metadata { version, .. } => partial(shown, version),
        }
    }

    fn row(&self, shown: Shown<'_>, version: &str) -> Result<Vec<u8>, ApiError> {
        let object = match self.include {
            Include::None => b"null".to_vec(),
            Include::Metadata => partial(shown, version)?,
            Include::Object => shown.json()?,
        };
        let cells = serde_json::to_vec(&shown.cells(self.now)?).map_err(no_json)?;
        Ok([b"{\"cells\":", cells.as_slice(), b",\"object\":", &object, b"}"].concat())
    }

    fn table_of_one(&self, shown: Shown<'_>, version: &str, columns_wanted: bool) -> Result<Vec<u8>, ApiError> {
        let columns = if columns_wanted {
            table::definitions(shown.kind(), shown.columns())
        } else {
            Value::Null
        };
        let revision = &shown.metadata()?.resource_version;
        let head = format!(
            "{{\"kind\":\"Table\",\"apiVersion\":\"{}\",\"metadata\":{},\"columnDefinitions\":{columns},\"rows\":[",
            meta_version(version),
            serde_json::json!({"resourceVersion": revision}),
        );
        Ok([head.as_bytes(), &self.row(shown, version)?, b"]}"].concat())
    }
}

/// `meta.k8s.io/v1`.
pub(super) fn meta_version(version: &str) -> String {
    format!("meta.k8s.io/{version}")
}

fn partial(shown: Shown<'_>, version: &str) -> Result<Vec<u8>, ApiError> {
    let metadata = serde_json::to_vec(shown.metadata()?).map_err(no_json)?;
    let head = format!("{{\"kind\":\"{PARTIAL}\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":");
    Ok([head.as_bytes(), &metadata, b"}"].concat())
}

fn no_json(error: serde_json::Error) -> ApiError {
    ApiError::internal("an answer has no JSON").context(error)
}
