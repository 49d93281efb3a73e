//! From stored objects to what an answer carries of them.

use bytes::Bytes;
use prost::Message;
use trireme_logic::kind::KindInfo;
use trireme_proto::{
    api::{autoscaling::v1::Scale, meta::v1::Time},
    v1::{Column, Encoding, Item, View, WatchEvent, watch_event::Type},
};

use super::watch_wire::frame;
use crate::{
    registry::{Door, Stored, Told, ToldAs},
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

    /// The frame of an event. All who want it in the same form get the same bytes, but for tables: they have columns or none,
    /// and ages as of the beginning of a watch.
    pub(super) fn event(&self, happened: Type, told: &Told, columns: Vec<Column>) -> Result<Bytes, ApiError> {
        let make = |stored: &Stored| {
            let event = WatchEvent {
                r#type: happened as i32,
                revision: stored.revision(),
                item: Some(self.item(stored)?),
                initial_events_end: false,
                columns,
            };
            frame(&event)
        };
        if self.is_table() {
            return make(told);
        }
        let form = ToldAs {
            door: Door::Grpc,
            event: happened.as_str_name(),
            encoding: self.encoding,
            metadata: (self.view == View::Metadata).then_some(META_VERSION),
        };
        told.in_form(form, make)
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

    /// In every form, what a watch tells is the item of a list, and shared but for tables.
    #[test]
    fn what_is_told_is_the_item_of_a_list() {
        let stored = Stored::made_up(Box::new(mk_pod("shop", "web")), ops_of("", "pods"), 7);
        let told = shared_for_tests(&stored);
        let mut frames = Vec::new();
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            for view in [View::Object, View::Metadata, View::Table, View::ObjectAndTable] {
                let answer = Answer::new(encoding as i32, view as i32, Time::default()).expect("a form");
                for happened in [Type::Added, Type::Modified, Type::Deleted] {
                    let what = format!("{encoding:?} {view:?} {happened:?}");
                    let columns = answer.columns(stored.kind());
                    let told = || answer.event(happened, &told, columns.clone()).expect("told");
                    let expected = WatchEvent {
                        r#type: happened as i32,
                        revision: 7,
                        item: Some(answer.item(&stored).expect("listed")),
                        columns: columns.clone(),
                        ..WatchEvent::default()
                    };
                    let first = told();
                    assert_eq!(first, frame(&expected).expect("framed"), "{what}");
                    assert_eq!(first.as_ptr() == told().as_ptr(), !answer.is_table(), "{what}");
                    frames.push(first);
                }
            }
        }
        frames.sort();
        frames.dedup();
        assert_eq!(frames.len(), 21, "a table has no encoding");
    }
}
