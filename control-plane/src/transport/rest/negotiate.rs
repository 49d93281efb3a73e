//! In which form a client wants its answer, and in which it sends. Pure.
//!
//! What a client accepts is tried in its order, by weight; the first that can be made is made.

use trireme_logic::patch::PatchType;

use crate::{status::ApiError, transport::media::Media};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes protobuf, in its envelope.
    Protobuf,
}

/// What an answer shows of each object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// All of it.
    Object,
    /// Its metadata, in this version of `meta.k8s.io`. `is_list` if the client named the form of lists.
    Metadata { version: &'static str, is_list: bool },
    /// The cells of a table, in this version of `meta.k8s.io`.
    Table { version: &'static str },
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// How it is written.
    pub(super) format: Format,
    /// What it shows.
    pub(super) shape: Shape,
}

/// What an answer is of, as far as its form depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerOf {
    /// One object, or a status.
    One,
    /// A list.
    Range,
    /// A stream of events.
    Events,
}

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchForm {
    /// One of the older three, in JSON.
    Patch(PatchType),
    /// What its manager declares, in YAML.
    Apply,
}

const FORMATS: [Format; 3] = [Format::Json, Format::Yaml, Format::Protobuf];
const META_GROUP: &str = "meta.k8s.io";
const META_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const PATCHES: [(&str, PatchForm); 4] = [
    ("application/json-patch+json", PatchForm::Patch(PatchType::Json)),
    ("application/merge-patch+json", PatchForm::Patch(PatchType::Merge)),
    (
        "application/strategic-merge-patch+json",
        PatchForm::Patch(PatchType::StrategicMerge),
    ),
    ("application/apply-patch+yaml", PatchForm::Apply),
];

impl Format {
    /// Its media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// The form of a body that was sent as `content_type`; without one it is JSON.
    ///
    /// # Errors
    /// `UnsupportedMediaType`.
    pub(super) fn of_body(content_type: &str) -> Result<Self, ApiError> {
        let essence = Media::parse(content_type).essence;
        if essence.is_empty() {
            return Ok(Self::Json);
        }
        let found = FORMATS.into_iter().find(|format| format.media_type() == essence);
        found.ok_or_else(|| ApiError::unsupported_media_type(&FORMATS.map(Self::media_type)))
    }
}

impl PatchForm {
    /// The form of a patch that was sent as `content_type`.
    ///
    /// # Errors
    /// `UnsupportedMediaType`.
    pub(super) fn of_body(content_type: &str) -> Result<Self, ApiError> {
        let essence = Media::parse(content_type).essence;
        let found = PATCHES.into_iter().find(|(name, _)| *name == essence);
        found
            .map(|(_, form)| form)
            .ok_or_else(|| ApiError::unsupported_media_type(&PATCHES.map(|(name, _)| name)))
    }
}

impl Accepted {
    /// What everybody understands.
    pub(super) const JSON: Self = Self {
        format: Format::Json,
        shape: Shape::Object,
    };

    /// The form of an answer to somebody who accepts this.
    ///
    /// # Errors
    /// `NotAcceptable`.
    pub(super) fn negotiate(accept: &str, answer: AnswerOf) -> Result<Self, ApiError> {
        if accept.trim().is_empty() {
            return Ok(Self::JSON);
        }
        let clauses = Media::accepted(accept);
        let found = clauses.iter().find_map(|media| {
            formats(answer)
                .iter()
                .find_map(|format| form_of(media, *format, answer))
        });
        found.ok_or_else(|| {
            let made: Vec<&str> = formats(answer).iter().map(|format| format.media_type()).collect();
            ApiError::not_acceptable(&made)
        })
    }

    /// The form of a failure, for somebody who accepts this.
    pub(super) fn of_failure(accept: &str) -> Format {
        let plain = |text: &str| Self::negotiate(text, AnswerOf::One).ok();
        plain(accept).map_or(Format::Json, |accepted| accepted.format)
    }
}

/// What can be made, the first choice first. There is no way to write YAML as a stream.
fn formats(answer: AnswerOf) -> &'static [Format] {
    match answer {
        AnswerOf::One | AnswerOf::Range => &FORMATS,
        AnswerOf::Events => &[Format::Json, Format::Protobuf],
    }
}

/// The form of an answer in this format, if the media types that a client accepts are of one that can be made.
fn form_of(media: &Media, format: Format, answer: AnswerOf) -> Option<Accepted> {
    let stream_fits = media.stream.is_empty() || (answer == AnswerOf::Events && media.stream == "watch");
    if !media.covers(format.media_type()) || !stream_fits {
        return None;
    }
    let shape = shape_of(media, format)?;
    let shape_fits = match (shape, answer) {
        (Shape::Metadata { is_list, .. }, AnswerOf::One | AnswerOf::Events) => !is_list,
        (Shape::Metadata { is_list, .. }, AnswerOf::Range) => is_list,
        (Shape::Object | Shape::Table { .. }, _) => true,
    };
    shape_fits.then_some(Accepted { format, shape })
}

/// What such an answer shows, if that can be made.
fn shape_of(media: &Media, format: Format) -> Option<Shape> {
    if media.kind.is_empty() && media.group.is_empty() && media.version.is_empty() {
        return Some(Shape::Object);
    }
    let version = META_VERSIONS.into_iter().find(|version| *version == media.version)?;
    if media.group != META_GROUP {
        return None;
    }
    match media.kind.as_str() {
        // A table has no protobuf.
        "Table" if format != Format::Protobuf => Some(Shape::Table { version }),
        "PartialObjectMetadata" => Some(Shape::Metadata {
            version,
            is_list: false,
        }),
        "PartialObjectMetadataList" => Some(Shape::Metadata { version, is_list: true }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Shape = Shape::Table { version: "v1" };
    const METADATA: Shape = Shape::Metadata {
        version: "v1",
        is_list: false,
    };
    const METADATA_LIST: Shape = Shape::Metadata {
        version: "v1",
        is_list: true,
    };

    #[test]
    fn the_first_that_can_be_made_is_made() {
        use AnswerOf::{Events, One, Range};
        use Format::{Json, Protobuf, Yaml};
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        for (accept, answer, format, shape) in [
            ("", One, Json, Shape::Object),
            ("*/*", One, Json, Shape::Object),
            ("application/*", Range, Json, Shape::Object),
            ("application/json, */*", One, Json, Shape::Object),
            ("application/yaml", One, Yaml, Shape::Object),
            ("APPLICATION/JSON; charset=utf-8", One, Json, Shape::Object),
            ("application/vnd.kubernetes.protobuf", Range, Protobuf, Shape::Object),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                Range,
                Protobuf,
                Shape::Object,
            ),
            (
                "text/html, application/json;q=0.9, application/yaml;q=0.95",
                One,
                Yaml,
                Shape::Object,
            ),
            (
                "application/json;q=0.5, application/yaml;q=0.5",
                One,
                Json,
                Shape::Object,
            ),
            ("application/json;q=0, application/yaml;q=0.1", One, Yaml, Shape::Object),
            (kubectl, Range, Json, TABLE),
            (kubectl, One, Json, TABLE),
            (kubectl, Events, Json, TABLE),
            (
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
                Range,
                Json,
                Shape::Table { version: "v1beta1" },
            ),
            (
                "application/json;as=Table;v=v9;g=meta.k8s.io,application/json",
                Range,
                Json,
                Shape::Object,
            ),
            // A table has no protobuf: the next is taken.
            (
                "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io",
                Range,
                Json,
                TABLE,
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json",
                Range,
                Protobuf,
                METADATA_LIST,
            ),
            (
                "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                One,
                Json,
                METADATA,
            ),
            (
                "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                Events,
                Json,
                METADATA,
            ),
            (
                "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io, application/json",
                Range,
                Json,
                Shape::Object,
            ),
            (
                "application/vnd.kubernetes.protobuf;stream=watch",
                Events,
                Protobuf,
                Shape::Object,
            ),
            (
                "application/json;stream=watch,application/json",
                Range,
                Json,
                Shape::Object,
            ),
            ("application/yaml, application/json", Events, Json, Shape::Object),
        ] {
            let accepted = Accepted::negotiate(accept, answer).unwrap_or_else(|error| panic!("{accept}: {error}"));
            assert_eq!(accepted, Accepted { format, shape }, "{accept} {answer:?}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_said() {
        for (accept, answer) in [
            ("text/html", AnswerOf::One),
            ("application/yaml", AnswerOf::Events),
            ("application/json;as=Table;v=v1;g=example.com", AnswerOf::Range),
            ("application/json;as=Ship;v=v1;g=meta.k8s.io", AnswerOf::Range),
            (
                "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
                AnswerOf::Range,
            ),
            (
                "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                AnswerOf::Range,
            ),
            ("application/json;stream=watch", AnswerOf::Range),
            ("application/json;q=0", AnswerOf::One),
        ] {
            let error = Accepted::negotiate(accept, answer).expect_err(accept);
            assert_eq!(error.reason().http_code(), 406, "{accept}");
            assert!(
                error
                    .message()
                    .starts_with("only the following media types are accepted: application/json, application"),
                "{error}"
            );
        }
    }

    #[test]
    fn bodies_are_of_known_forms() {
        assert_eq!(Format::of_body("").expect("JSON"), Format::Json);
        assert_eq!(
            Format::of_body("application/yaml; charset=utf-8").expect("YAML"),
            Format::Yaml
        );
        let error = Format::of_body("text/plain").expect_err("refused");
        assert_eq!(error.reason().http_code(), 415);
        assert!(
            error
                .message()
                .ends_with("application/json, application/yaml, application/vnd.kubernetes.protobuf")
        );
        let merge = PatchForm::of_body("application/merge-patch+json").expect("known");
        assert_eq!(merge, PatchForm::Patch(PatchType::Merge));
        assert_eq!(
            PatchForm::of_body("application/apply-patch+yaml").expect("known"),
            PatchForm::Apply
        );
        assert_eq!(
            PatchForm::of_body("application/json")
                .expect_err("refused")
                .reason()
                .http_code(),
            415
        );
        assert_eq!(PatchForm::of_body("").expect_err("refused").reason().http_code(), 415);
    }
}
