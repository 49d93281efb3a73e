//! From stored objects to what an answer carries of them.

use bytes::Bytes;
use prost::Message;
use trireme_logic::kind::KindInfo;
use trireme_proto::{
    api::{autoscaling::v1::Scale, meta::v1::Time},
    v1::{Column, Encoding, Item, View},
};

use crate::{
    registry::{Stored, Told, ToldAs},
    services::verbs::{Outcome, metadata_of},
    status::ApiError,
};

/// The version of `meta.k8s.io` that metadata alone is in.
const META_VERSION: &str = "v1";

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
        self.with_object(stored, self.object(stored)?)
    }

    /// One object of a watch. Its bytes are shared with others who want them so.
    pub(super) fn told(&self, told: &Told) -> Result<Item, ApiError> {
        let form = ToldAs {
            event: None,
            encoding: self.encoding,
            metadata: (self.view == View::Metadata).then_some(META_VERSION),
        };
        let object = match self.view {
            View::Table => Bytes::new(),
            View::Object | View::ObjectAndTable | View::Metadata => told.in_form(form, |stored| self.object(stored))?,
        };
        self.with_object(told, object)
    }

    fn object(&self, stored: &Stored) -> Result<Bytes, ApiError> {
        match self.view {
            View::Object | View::ObjectAndTable => self.encode_object(stored),
            View::Metadata => self.encode_metadata(stored),
            View::Table => Ok(Bytes::new()),
        }
    }

    fn with_object(&self, stored: &Stored, object: Bytes) -> Result<Item, ApiError> {
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

#[cfg(test)]
mod tests {
    use trireme_logic::testing::mk_pod;

    use super::*;
    use crate::registry::{ops_of, shared_for_tests};

    /// In every form, what a watch tells and shares is what a list says of the object.
    #[test]
    fn what_is_told_is_the_item_of_a_list() {
        let stored = Stored::made_up(Box::new(mk_pod("shop", "web")), ops_of("", "pods"), 7);
        let told = shared_for_tests(&stored);
        let mut objects = Vec::new();
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            for view in [View::Object, View::Metadata, View::Table, View::ObjectAndTable] {
                let answer = Answer::new(encoding as i32, view as i32, Time::default()).expect("a form");
                let item = answer.told(&told).expect("told");
                assert_eq!(item, answer.item(&stored).expect("listed"), "{encoding:?} {view:?}");
                let again = answer.told(&told).expect("told");
                assert_eq!(item.object.as_ptr(), again.object.as_ptr(), "{encoding:?} {view:?}");
                objects.push(item.object);
            }
        }
        objects.sort();
        objects.dedup();
        assert_eq!(objects.len(), 5, "nothing, and two of each encoding");
    }
}
