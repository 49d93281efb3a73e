//! What was sent: from bytes to an object of the kind that the permit is for.
//!
//! Size, depth and number are checked before anything is parsed (invariant I9).

use bytes::Bytes;
use trireme_logic::{
    json,
    kind::KindInfo,
    kinds,
    object::{KindOps, Object},
    patch::Patch,
};
use trireme_proto::{
    api::{autoscaling::v1::Scale, core::v1::Binding, meta::v1::ManagedFieldsEntry},
    v1::Encoding,
    wire,
};

use super::{Permit, owners::Owners};
use crate::{limits, status::ApiError};

/// How unknown fields of JSON objects are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// Named in warnings.
    Warn,
    /// Refused.
    Strict,
    /// Dropped silently.
    Ignore,
}

/// An object that someone sent, of the kind it should be; nothing else of it is checked yet.
#[derive(Debug)]
pub struct Decoded {
    object: Box<dyn Object>,
    warnings: Vec<String>,
    owners: Owners,
}

impl Decoded {
    /// Decodes the body of a create or update.
    ///
    /// # Errors
    /// `RequestEntityTooLarge`, or `BadRequest` with the path of what is wrong.
    pub fn decode(permit: &Permit, body: Bytes, encoding: Encoding, validation: Validation) -> Result<Self, ApiError> {
        let info = permit
            .request_info()
            .ok_or_else(|| ApiError::bad_request("there is no request to decode"))?;
        Self::of_kind(info.ops(), body, encoding, validation)
    }

    /// Decodes the body of a create of a review, which is one of [`REVIEWS`](kinds::REVIEWS).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_review(
        ops: &'static dyn KindOps,
        body: Bytes,
        encoding: Encoding,
        validation: Validation,
    ) -> Result<Self, ApiError> {
        Self::of_kind(ops, body, encoding, validation)
    }

    /// Takes an object that this process made.
    pub(crate) fn internal(object: Box<dyn Object>) -> Self {
        Self {
            object,
            warnings: Vec::new(),
            owners: Owners::ToBeFound,
        }
    }

    /// Decodes the outcome of applying, with who owns its fields then.
    pub(crate) fn from_applied(
        ops: &'static dyn KindOps,
        applied: &serde_json::Value,
        managers: Vec<ManagedFieldsEntry>,
        validation: Validation,
    ) -> Result<Self, ApiError> {
        let mut decoded = Self::from_patched(ops, applied, Vec::new(), validation)?;
        decoded.object.metadata_mut().managed_fields = managers;
        decoded.owners = Owners::Settled;
        Ok(decoded)
    }

    /// The same object, as whose owners are known or not.
    pub(crate) fn with_owners(mut self, owners: Owners) -> Self {
        self.owners = owners;
        self
    }

    /// Whether who owns the object's fields is known.
    pub(crate) fn owners(&self) -> Owners {
        self.owners
    }

    /// Decodes the outcome of a patch; `remarks` are what is known to be wrong with the patch itself.
    pub(crate) fn from_patched(
        ops: &'static dyn KindOps,
        patched: &serde_json::Value,
        remarks: Vec<String>,
        validation: Validation,
    ) -> Result<Self, ApiError> {
        let text = serde_json::to_vec(patched)
            .map_err(|error| ApiError::internal("the patched object has no JSON").context(error))?;
        check_size(text.len(), limits::REQUEST_MAX_BYTES)?;
        check_extent(&text)?;
        read_json(ops, &text, remarks, validation)
    }

    /// The object whose other fields are `rest`, in the protobuf of the stored version. Of a field that is in both, which can
    /// only be one that JSON always shows, `rest` counts.
    pub(crate) fn beside(self, rest: &[u8]) -> Result<Self, ApiError> {
        if rest.is_empty() {
            return Ok(self);
        }
        let ops = self.object.ops();
        let whole = Bytes::from([&*self.object.to_protobuf(), rest].concat());
        let whole = read_protobuf(ops, whole)?;
        Ok(Self { object: whole, ..self })
    }

    fn of_kind(
        ops: &'static dyn KindOps,
        body: Bytes,
        encoding: Encoding,
        validation: Validation,
    ) -> Result<Self, ApiError> {
        check_size(body.len(), limits::REQUEST_MAX_BYTES)?;
        match encoding {
            Encoding::Protobuf => read_protobuf(ops, body).map(Self::internal),
            Encoding::Json => from_json(ops, &body, validation),
        }
    }

    /// Sentences for the user about what was dropped.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Takes the warnings out.
    #[must_use]
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    pub(crate) fn object(&self) -> &dyn Object {
        &*self.object
    }

    pub(crate) fn into_object(self) -> Box<dyn Object> {
        self.object
    }
}

/// Decodes the body of an update of the scale subresource.
///
/// # Errors
/// As [`Decoded::decode`].
pub fn decode_scale(body: Bytes, encoding: Encoding) -> Result<Scale, ApiError> {
    decode_message("Scale", body, encoding)
}

/// Decodes the body of a create of the binding subresource.
///
/// # Errors
/// As [`Decoded::decode`].
pub fn decode_binding(body: Bytes, encoding: Encoding) -> Result<Binding, ApiError> {
    decode_message("Binding", body, encoding)
}

/// Decodes a message that is no stored object.
///
/// # Errors
/// As [`Decoded::decode`].
pub(crate) fn decode_message<M>(kind: &str, body: Bytes, encoding: Encoding) -> Result<M, ApiError>
where
    M: prost::Message + Default + serde::de::DeserializeOwned,
{
    check_size(body.len(), limits::OPTIONS_MAX_BYTES)?;
    match encoding {
        Encoding::Protobuf => M::decode(body).map_err(|error| no_message(kind, &error)),
        Encoding::Json => {
            check_extent(&body)?;
            serde_json::from_slice(&body).map_err(|error| no_message(kind, &error))
        }
    }
}

fn from_json(ops: &'static dyn KindOps, body: &[u8], validation: Validation) -> Result<Decoded, ApiError> {
    check_extent(body)?;
    match read_json(ops, body, Vec::new(), validation) {
        Err(error) => {
            // A field that stands twice is what the reader does not get over; it is rare, and told apart only then.
            let Ok((value, twice)) = json::parse_last_wins(body) else {
                return Err(error);
            };
            if twice.is_empty() {
                return Err(error);
            }
            read_json(ops, value.to_string().as_bytes(), remarks_of(&twice), validation)
        }
        decoded => decoded,
    }
}

/// What is said of fields that stand twice in a patch, which is no object of a kind itself; nothing if nobody wants to know.
pub(crate) fn remarks_of_patch(patch: &Patch, validation: Validation) -> Vec<String> {
    match validation {
        Validation::Ignore => Vec::new(),
        Validation::Warn | Validation::Strict => remarks_of(patch.twice()),
    }
}

fn remarks_of(twice: &[String]) -> Vec<String> {
    twice.iter().map(|path| format!("duplicate field {path:?}")).collect()
}

fn read_protobuf(ops: &'static dyn KindOps, bytes: Bytes) -> Result<Box<dyn Object>, ApiError> {
    let unreadable = |error: &dyn std::fmt::Display| not_readable(ops.info(), error);
    if let Some(schema) = ops.schema() {
        wire::check_messages(schema, &bytes).map_err(|error| unreadable(&error))?;
    }
    ops.from_protobuf(bytes).map_err(|error| unreadable(&error))
}

/// `remarks` are what is known to be wrong already.
fn read_json(
    ops: &'static dyn KindOps,
    body: &[u8],
    mut remarks: Vec<String>,
    validation: Validation,
) -> Result<Decoded, ApiError> {
    check_type(ops, body)?;
    let mut note = |path: String| remarks.push(format!("unknown field {path:?}"));
    let mut object = ops
        .from_json(body, &mut note)
        .map_err(|error| not_readable(ops.info(), &error))?;
    if object.metadata().managed_fields.is_empty() && resets_owners(body) {
        object.metadata_mut().managed_fields = vec![ManagedFieldsEntry::default()];
    }
    remarks.truncate(limits::WARNINGS_MAX);
    let mut decoded = Decoded::internal(object);
    match validation {
        Validation::Strict if !remarks.is_empty() => {
            let error = format!("strict decoding error: {}", remarks.join(", "));
            return Err(not_readable(ops.info(), &error));
        }
        Validation::Strict | Validation::Ignore => {}
        Validation::Warn => decoded.warnings = remarks,
    }
    Ok(decoded)
}

/// Whether a document has an empty list of who owns what, which asks to forget it. Afterwards, as in protobuf, one entry that
/// says nothing asks for the same.
fn resets_owners(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Document {
        metadata: Metadata,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        managed_fields: Vec<serde::de::IgnoredAny>,
    }
    memchr::memmem::find(body, b"\"managedFields\"").is_some()
        && serde_json::from_slice(body).is_ok_and(|document: Document| document.metadata.managed_fields.is_empty())
}

/// What a document says that it is.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    api_version: Option<String>,
    kind: Option<String>,
}

/// A document that says what it is must say what it is sent as.
fn check_type(ops: &'static dyn KindOps, body: &[u8]) -> Result<(), ApiError> {
    let info = ops.info();
    let named: TypeMeta = serde_json::from_slice(body).map_err(|error| not_readable(info, &error))?;
    let expected = kinds::api_version(info);
    match (
        named.kind.filter(|kind| !kind.is_empty()),
        named.api_version.filter(|version| !version.is_empty()),
    ) {
        (Some(kind), _) if kind != info.kind => Err(ApiError::bad_request(format!(
            "the object provided is a {kind}, but was sent to {}, which takes a {}",
            info.plural, info.kind
        ))),
        (_, Some(version)) if version != expected => Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        ))),
        _ => Ok(()),
    }
}

fn check_size(length: usize, limit: usize) -> Result<(), ApiError> {
    if length > limit {
        return Err(ApiError::too_large(format!(
            "the object has {length} bytes; a request may have at most {limit}"
        )));
    }
    Ok(())
}

fn check_extent(body: &[u8]) -> Result<(), ApiError> {
    json::check(body).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// In Kubernetes' words, which its clients show.
fn not_readable(info: &KindInfo, error: &dyn std::fmt::Display) -> ApiError {
    let KindInfo { kind, version, .. } = info;
    ApiError::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {error}"
    ))
}

fn no_message(kind: &str, error: &dyn std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("the body is not a {kind}: {error}"))
}

#[cfg(test)]
mod tests {
    use trireme_logic::kinds;

    use super::*;
    use crate::status::Reason;

    fn decode(json: &str, validation: Validation) -> Result<Decoded, ApiError> {
        let pods = kinds::by_resource("", "v1", "pods").expect("a kind");
        Decoded::of_kind(
            pods,
            Bytes::copy_from_slice(json.as_bytes()),
            Encoding::Json,
            validation,
        )
    }

    const TYPO: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"contianers":[]}}"#;

    #[test]
    fn unknown_fields_are_warned_about_refused_or_ignored() {
        let warned = decode(TYPO, Validation::Warn).expect("accepted");
        assert_eq!(warned.warnings(), [r#"unknown field "spec.contianers""#]);
        assert!(
            decode(TYPO, Validation::Ignore)
                .expect("accepted")
                .warnings()
                .is_empty()
        );
        let error = decode(TYPO, Validation::Strict).expect_err("refused");
        assert_eq!(
            error.message(),
            r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.contianers""#
        );
        assert_eq!(error.reason(), Reason::BadRequest);
    }

    #[test]
    fn fields_that_stand_twice_are_warned_about_refused_or_overruled() {
        let twice =
            r#"{"metadata":{"name":"a","labels":{"x":"1","x":"2"}},"spec":{"nodeName":"m","nodeName":"n","oars":2}}"#;
        let remarks = [
            r#"duplicate field "metadata.labels.x""#,
            r#"duplicate field "spec.nodeName""#,
            r#"unknown field "spec.oars""#,
        ];
        let warned = decode(twice, Validation::Warn).expect("accepted");
        assert_eq!(warned.warnings(), remarks);
        assert_eq!(warned.object().metadata().labels["x"], "2");
        assert_eq!(warned.object().selectable_field("spec.nodeName").as_deref(), Some("n"));
        let ignored = decode(twice, Validation::Ignore).expect("accepted");
        assert!(ignored.warnings().is_empty());
        let error = decode(twice, Validation::Strict).expect_err("refused");
        let words = format!("strict decoding error: {}", remarks.join(", "));
        assert!(error.message().ends_with(&words), "{error}");
        let kinds = r#"{"kind":"Pod","kind":"Pod","metadata":{"name":"a"}}"#;
        assert_eq!(
            decode(kinds, Validation::Warn).expect("accepted").warnings(),
            [r#"duplicate field "kind""#]
        );
    }

    #[test]
    fn bad_bodies_say_where() {
        for (json, words) in [
            ("{", "cannot be handled as a Pod"),
            ("[]", "cannot be handled as a Pod"),
            (r#"{"spec":{"containers":"none"}}"#, "spec.containers"),
            (
                r#"{"kind":"Service","apiVersion":"v1"}"#,
                "is a Service, but was sent to pods",
            ),
            (
                r#"{"kind":"Pod","apiVersion":"v2"}"#,
                "does not match the expected API version (v1)",
            ),
        ] {
            let error = decode(json, Validation::Warn).expect_err(json);
            assert_eq!(error.reason(), Reason::BadRequest, "{json}");
            assert!(error.message().contains(words), "{json}: {error}");
        }
    }

    fn decode_bytes(protobuf: Vec<u8>) -> Result<Decoded, ApiError> {
        let pods = kinds::by_resource("", "v1", "pods").expect("a kind");
        Decoded::of_kind(pods, protobuf.into(), Encoding::Protobuf, Validation::Strict)
    }

    /// A pod's protobuf with so many containers that say nothing: two bytes each.
    fn containers(count: usize) -> Vec<u8> {
        use prost::Message;
        use trireme_proto::api::core::v1::{Container, Pod, PodSpec};
        let spec = PodSpec {
            containers: vec![Container::default(); count],
            ..PodSpec::default()
        };
        Pod {
            spec: Some(spec),
            ..Pod::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn small_objects_are_counted_before_they_are_made() {
        let most = trireme_logic::limits::OBJECT_MESSAGES;
        // The pod and its spec are messages, too.
        decode_bytes(containers(most - 2)).expect("at the limit");
        let text = |count: usize| format!(r#"{{"spec":{{"containers":[{}]}}}}"#, vec!["{}"; count].join(","));
        decode(&text(most - 2), Validation::Warn).expect("at the limit");
        for refused in [
            decode_bytes(containers(most - 1)),
            decode(&text(most - 1), Validation::Warn),
        ] {
            let error = refused.expect_err("over it");
            assert_eq!(error.reason(), Reason::BadRequest);
            assert!(
                error.message().contains("there are more than 50000 objects in it"),
                "{error}"
            );
        }
        let values = format!(r#"{{"x":[{}0]}}"#, "0,".repeat(trireme_logic::limits::JSON_VALUES));
        let error = decode(&values, Validation::Ignore).expect_err("too many values");
        assert!(error.message().contains("more than 200000 values"), "{error}");
    }

    /// The published ways to make a reader of protobuf recurse or believe a length.
    #[test]
    fn hostile_protobuf_is_refused() {
        // Field 900 as a group that begins again and again, and one that is never ended.
        let nested = |levels: usize| [[0xa3_u8, 0x38].repeat(levels), [0xa4, 0x38].repeat(levels)].concat();
        decode_bytes(nested(50)).expect("what is not known is skipped");
        // Metadata that says it is longer than there are bytes, a list with a length of 2^63, a field of number 0.
        let long = [&[0x0a_u8][..], &[0xff; 9], &[0x01]].concat();
        for hostile in [
            nested(100_000),
            [0xa3, 0x38].repeat(50),
            vec![0x0a, 0x7f],
            long,
            vec![0x02, 0x00],
        ] {
            let error = decode_bytes(hostile).expect_err("refused");
            assert_eq!(error.reason(), Reason::BadRequest);
        }
    }

    #[test]
    fn options_have_a_limit_of_their_own() {
        let options = |length: usize| {
            let body = [b"{}".to_vec(), vec![b' '; length - 2]].concat();
            decode_scale(body.into(), Encoding::Json)
        };
        options(limits::OPTIONS_MAX_BYTES).expect("at the limit");
        let error = options(limits::OPTIONS_MAX_BYTES + 1).expect_err("over it");
        assert_eq!(error.reason(), Reason::RequestEntityTooLarge);
        let entries = [0x3a_u8, 0x00].repeat(limits::OPTIONS_MAX_BYTES);
        assert!(decode_scale(entries.into(), Encoding::Protobuf).is_err());
    }

    #[test]
    fn size_and_depth_are_checked_first() {
        let large = " ".repeat(limits::REQUEST_MAX_BYTES + 1);
        assert_eq!(
            decode(&large, Validation::Warn).expect_err("refused").reason(),
            Reason::RequestEntityTooLarge
        );
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(
            decode(&deep, Validation::Warn)
                .expect_err("refused")
                .message()
                .contains("nests deeper")
        );
    }
}
