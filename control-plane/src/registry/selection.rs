//! Which objects of a range are meant: label and field selectors, checked against the kind; and in which of the kind's
//! versions they are shown.

use trireme_logic::{kind::KindInfo, kinds, object::KindOps};
use trireme_proto::selector::{FieldSelector, LabelSelector};

use super::{
    Stored,
    topics::{self, NODE},
};
use crate::status::ApiError;

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// Label and field selectors.
#[derive(Clone, Default)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// The version in which the objects are shown; the stored one if unset.
    version: Option<&'static dyn KindOps>,
}

impl Selection {
    /// Everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Reads the selectors of a request for objects of a kind.
    ///
    /// # Errors
    /// `BadRequest` for text that is no selector, or a field that cannot be selected by.
    pub fn parse(info: &KindInfo, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = labels
            .parse()
            .map_err(|error| ApiError::bad_request(format!("unable to parse label selector: {error}")))?;
        let fields: FieldSelector = fields
            .parse()
            .map_err(|error| ApiError::bad_request(format!("unable to parse field selector: {error}")))?;
        for requirement in fields.requirements() {
            let path = requirement.path.as_str();
            if path != NAME && path != NAMESPACE && !info.selectable_fields.contains(&path) {
                let mut known = vec![NAME, NAMESPACE];
                known.extend(info.selectable_fields);
                return Err(ApiError::bad_request(format!(
                    "field label not supported for {}: {path}; supported are {}",
                    info.kind,
                    known.join(", ")
                )));
            }
        }
        let version = kinds::by_resource(info.group, info.version, info.plural);
        Ok(Self {
            labels,
            fields,
            version,
        })
    }

    /// The object in the version in which it is to be shown.
    pub(super) fn shown(&self, stored: Option<Stored>) -> Option<Stored> {
        match self.version {
            Some(version) => stored.map(|stored| stored.shown_by(version)),
            None => stored,
        }
    }

    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// What labels must be.
    #[must_use]
    pub fn labels(&self) -> &LabelSelector {
        &self.labels
    }

    /// What fields must be.
    #[must_use]
    pub fn fields(&self) -> &FieldSelector {
        &self.fields
    }

    /// The one name that it admits, if it names one.
    pub(super) fn only_name(&self) -> Option<&str> {
        self.fields
            .required_value(NAME)
            .filter(|name| !name.is_empty() && !name.contains('/'))
    }

    /// Whether an object is meant. Looks inside only if it must.
    ///
    /// # Errors
    /// `InternalError` if the object cannot be decoded.
    pub fn matches(&self, stored: &Stored) -> Result<bool, ApiError> {
        for requirement in self.fields.requirements() {
            let equal = match requirement.path.as_str() {
                NAME => stored.key().name == requirement.value,
                NAMESPACE => stored.key().namespace == requirement.value,
                NODE if topics::tells_nodes(stored.ops()) => topics::is_on_node(stored, &requirement.value),
                path => stored.object()?.selectable_field(path).unwrap_or_default() == requirement.value,
            };
            if equal != requirement.equal {
                return Ok(false);
            }
        }
        Ok(self.labels.is_everything() || self.labels.matches(&stored.object()?.metadata().labels))
    }
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} {:?}", self.labels, self.fields)
    }
}
