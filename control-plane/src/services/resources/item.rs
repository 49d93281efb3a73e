//! From stored objects to what an answer carries of them.

use bytes::Bytes;
use prost::Message;
use trireme_logic::kind::KindInfo;
use trireme_proto::{
    api::{autoscaling::v1::Scale, meta::v1::Time},
    v1::{Column, Encoding, Item, View},
};

use crate::{
    registry::Stored,
    services::verbs::{Outcome, metadata_of},
    status::ApiError,
};

/// How a request wants its answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    encoding: Encoding,
    view: View,
    now: Time,
}

impl Answer {
    pub(super) fn new(encoding: i32, view: i32, now: Time) -> Result<Self, ApiError> {
        Ok(Self {
            encoding: Encoding::try_from(encoding).map_err(|_| super::unknown("encoding", encoding))?,
            view: View::try_from(view).map_err(|_| super::unknown("view", view))?,
            now,
        })
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn is_table(&self) -> bool {
        matches!(self.view, View::Table | View::ObjectAndTable)
    }

    /// One object among others.
    pub(super) fn item(&self, stored: &Stored) -> Result<Item, ApiError> {
        let object = match self.view {
            View::Object | View::ObjectAndTable => self.encode_object(stored)?,
            View::Metadata => self.encode_metadata(stored)?,
            View::Table => Bytes::new(),
        };
        let cells = if self.is_table() {
            stored.object()?.cells(self.now)
        } else {
            Vec::new()
        };
        Ok(Item {
            object,
            cells,
            namespace: stored.key().namespace.clone(),
            name: stored.key().name.clone(),
            revision: stored.revision(),
            warnings: Vec::new(),
            columns: Vec::new(),
        })
    }

    /// What was read or written.
    pub(super) fn outcome(&self, outcome: &Outcome, warnings: Vec<String>) -> Result<Item, ApiError> {
        match outcome {
            Outcome::Object(stored) => self.single(stored, warnings),
            Outcome::Scale(scale, stored) => self.scale(scale, stored),
        }
    }

    /// The only object of an answer.
    fn single(&self, stored: &Stored, warnings: Vec<String>) -> Result<Item, ApiError> {
        Ok(Item {
            warnings,
            columns: self.columns(stored.kind()),
            ..self.item(stored)?
        })
    }

    /// The scale of an object.
    fn scale(&self, scale: &Scale, stored: &Stored) -> Result<Item, ApiError> {
        let object = match self.encoding {
            Encoding::Protobuf => scale.encode_to_vec(),
            Encoding::Json => serde_json::to_vec(scale).map_err(no_json)?,
        };
        Ok(Item {
            object: object.into(),
            namespace: stored.key().namespace.clone(),
            name: stored.key().name.clone(),
            revision: stored.revision(),
            ..Item::default()
        })
    }

    /// The columns of a kind's table, if the answer is a table.
    pub(super) fn columns(&self, info: &KindInfo) -> Vec<Column> {
        if !self.is_table() {
            return Vec::new();
        }
        let columns = info.columns.iter().map(|column| Column {
            name: column.name.to_owned(),
            priority: column.priority,
            description: column.description.to_owned(),
        });
        columns.collect()
    }

    fn encode_object(&self, stored: &Stored) -> Result<Bytes, ApiError> {
        match self.encoding {
            Encoding::Protobuf => stored.to_protobuf(),
            Encoding::Json => Ok(stored.to_json()?.into()),
        }
    }

    fn encode_metadata(&self, stored: &Stored) -> Result<Bytes, ApiError> {
        let metadata = metadata_of(stored)?;
        match self.encoding {
            Encoding::Protobuf => Ok(metadata.encode_to_vec().into()),
            Encoding::Json => Ok(serde_json::to_vec(&metadata).map_err(no_json)?.into()),
        }
    }
}

fn no_json(error: serde_json::Error) -> ApiError {
    ApiError::internal("an answer has no JSON").context(error)
}
