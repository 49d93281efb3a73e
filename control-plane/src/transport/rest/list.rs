//! A list as it is sent: slice by slice from the registry, object by object into pieces, and never in one buffer.
//!
//! What a list is said to be stands at its head, if it is known by then. The place of a next page is not, of a list with more
//! than one slice and a limit: it comes last then. Protobuf wants the length of it all first, so that the slices are read
//! twice, at one revision.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{StreamExt, stream};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use trireme_logic::{kind::KindInfo, kinds};
use trireme_proto::api::meta::v1::ListMeta;

use super::{
    answer::Pieces,
    envelope,
    form::{Form, meta_version},
    negotiate::{Format, Shape},
    table, yaml,
};
use crate::{
    limits,
    pipeline::Permit,
    registry::{ListEnd, ObjectList, Stored},
    services::verbs::requested,
    status::ApiError,
};

/// Fields of a list's message.
const METADATA_TAG: u32 = 1;
const ITEMS_TAG: u32 = 2;

/// A list that is being written.
struct Writing {
    list: ObjectList,
    form: Form,
    info: &'static KindInfo,
    /// Read, and not written yet.
    read: VecDeque<Stored>,
    /// What stands before the objects, until it is sent.
    head: Vec<u8>,
    is_first: bool,
    /// Whether the head says what the list is.
    is_told: bool,
    is_over: bool,
}

/// Begins to send a list, of at most `limit` objects; 0 for no bound.
///
/// # Errors
/// Those of the registry for its first slice.
pub(super) async fn pieces(
    mut list: ObjectList,
    permit: &Permit,
    limit: usize,
    form: Form,
) -> Result<Pieces, ApiError> {
    let info = requested(permit)?;
    let read: VecDeque<Stored> = list.next().await?.into();
    let mut writing = Writing {
        list,
        form,
        info: info.kind(),
        read,
        head: Vec::new(),
        is_first: true,
        is_told: false,
        is_over: false,
    };
    writing.head = match writing.form.accepted.format {
        Format::Protobuf => writing.protobuf_head(permit).await?,
        Format::Json => writing.json_head(limit)?,
        Format::Yaml => writing.yaml_head(),
    };
    let pieces = stream::unfold(Some(writing), |writing| async move {
        let mut writing = writing?;
        match writing.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(writing))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(pieces.boxed())
}

impl Writing {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let mut piece = std::mem::take(&mut self.head);
        while piece.len() < limits::ANSWER_PIECE_BYTES && !self.is_over {
            if let Some(stored) = self.read.pop_front() {
                self.write(&stored, &mut piece)?;
            } else if self.list.end().is_none() {
                if !piece.is_empty() {
                    // What is there is sent before more is waited for.
                    break;
                }
                self.read = self.list.next().await?.into();
            } else {
                self.is_over = true;
                self.write_tail(&mut piece)?;
            }
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }

    fn write(&mut self, stored: &Stored, piece: &mut Vec<u8>) -> Result<(), ApiError> {
        let item = self.form.item(stored)?;
        let is_first = std::mem::take(&mut self.is_first);
        match self.form.accepted.format {
            Format::Protobuf => {
                encode_key(ITEMS_TAG, WireType::LengthDelimited, piece);
                encode_varint(item.len() as u64, piece);
                piece.extend_from_slice(&item);
            }
            Format::Json => {
                if !is_first {
                    piece.push(b',');
                }
                piece.extend_from_slice(&item);
            }
            Format::Yaml => {
                if is_first {
                    piece.extend_from_slice(b"\n");
                }
                push_item(&yaml::write(&item)?, piece);
            }
        }
        Ok(())
    }

    fn write_tail(&self, piece: &mut Vec<u8>) -> Result<(), ApiError> {
        match self.form.accepted.format {
            Format::Protobuf => {}
            Format::Json if self.is_told => piece.extend_from_slice(b"]}\n"),
            Format::Json => {
                let meta = meta_json(&self.meta(self.list.end()))?;
                piece.extend_from_slice(format!("],\"metadata\":{meta}}}\n").as_bytes());
            }
            Format::Yaml => {
                if self.is_first {
                    piece.extend_from_slice(b" []\n");
                }
                let meta = format!(
                    "{{\"kind\":\"{}\",\"metadata\":{}}}",
                    self.kind(),
                    meta_json(&self.meta(self.list.end()))?
                );
                piece.extend_from_slice(yaml::write(meta.as_bytes())?.as_bytes());
            }
        }
        Ok(())
    }

    fn json_head(&mut self, limit: usize) -> Result<Vec<u8>, ApiError> {
        // Without a limit there is no next page.
        let end = self.list.end().cloned().or_else(|| (limit == 0).then(ListEnd::default));
        let mut head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\"",
            self.kind(),
            self.api_version()
        );
        if end.is_some() {
            self.is_told = true;
            head += &format!(",\"metadata\":{}", meta_json(&self.meta(end.as_ref()))?);
        }
        if let Shape::Table { .. } = self.form.accepted.shape {
            let columns = table::definitions(self.info.kind, self.info.columns);
            head += &format!(",\"columnDefinitions\":{columns},\"rows\":[");
        } else {
            head += ",\"items\":[";
        }
        Ok(head.into_bytes())
    }

    /// As Kubernetes has it, keys are in the order of the alphabet.
    fn yaml_head(&self) -> Vec<u8> {
        let mut head = format!("apiVersion: {}\n", self.api_version());
        if let Shape::Table { .. } = self.form.accepted.shape {
            let columns = table::definitions(self.info.kind, self.info.columns);
            // JSON is YAML, too.
            head = format!("columnDefinitions: {columns}\n{head}rows:");
        } else {
            head += "items:";
        }
        head.into_bytes()
    }

    /// With the length of everything, for which the rest of the list is read ahead, and given away again.
    async fn protobuf_head(&mut self, permit: &Permit) -> Result<Vec<u8>, ApiError> {
        let mut length = 0;
        for stored in &self.read {
            length += self.item_length(stored)?;
        }
        let mut end = self.list.end().cloned();
        if end.is_none() {
            let mut rest = self.list.rest_again(permit);
            while end.is_none() {
                for stored in rest.next().await? {
                    length += self.item_length(&stored)?;
                }
                end = rest.end().cloned();
            }
        }
        let meta = self.meta(end.as_ref()).encode_to_vec();
        let mut field = Vec::new();
        encode_key(METADATA_TAG, WireType::LengthDelimited, &mut field);
        encode_varint(meta.len() as u64, &mut field);
        field.extend_from_slice(&meta);
        let head = envelope::head(&self.api_version(), &self.kind(), length + field.len());
        Ok([head, field].concat())
    }

    fn item_length(&self, stored: &Stored) -> Result<usize, ApiError> {
        let length = self.form.item(stored)?.len();
        // The key of such a field is one byte.
        Ok(1 + encoded_len_varint(length as u64) + length)
    }

    fn meta(&self, end: Option<&ListEnd>) -> ListMeta {
        let end = end.cloned().unwrap_or_default();
        ListMeta {
            resource_version: self.list.revision().to_string(),
            r#continue: end.continue_token,
            remaining_item_count: end.remaining,
            ..ListMeta::default()
        }
    }

    fn kind(&self) -> String {
        match self.form.accepted.shape {
            Shape::Object => format!("{}List", self.info.kind),
            Shape::Metadata { .. } => "PartialObjectMetadataList".to_owned(),
            Shape::Table { .. } => "Table".to_owned(),
        }
    }

    fn api_version(&self) -> String {
        match self.form.accepted.shape {
            Shape::Object => kinds::api_version(self.info),
            Shape::Metadata { version, .. } | Shape::Table { version } => meta_version(version),
        }
    }
}

fn meta_json(meta: &ListMeta) -> Result<String, ApiError> {
    serde_json::to_string(meta).map_err(|error| ApiError::internal("a list has no JSON").context(error))
}

/// One item of a YAML list: its first line behind the dash, and the others below that.
fn push_item(text: &str, piece: &mut Vec<u8>) {
    for (index, line) in text.lines().enumerate() {
        let indent = if index == 0 { "- " } else { "  " };
        if !line.is_empty() {
            piece.extend_from_slice(indent.as_bytes());
        }
        piece.extend_from_slice(line.as_bytes());
        piece.push(b'\n');
    }
}
