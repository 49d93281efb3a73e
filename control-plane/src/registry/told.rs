//! A state of an object as watches tell it: the bytes of each form are made once for all who want them.

use std::{
    ops::Deref,
    sync::{Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use trireme_proto::v1::Encoding;

use super::{
    Stored,
    shared_events::{EventKey, SharedEvents},
};
use crate::status::ApiError;

/// See the module. It is the stored state, with what was made of it.
pub struct Told {
    stored: Stored,
    /// `None` for a state that only one watch tells.
    shared: Option<Shared>,
}

/// What determines the bytes in which a state is told, beside the state and the API version that it is shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldAs {
    /// Whose frame it is.
    pub door: Door,
    /// What happened, as the frame says it.
    pub event: &'static str,
    /// Of the object.
    pub encoding: Encoding,
    /// Only the metadata, in this version of `meta.k8s.io`.
    pub metadata: Option<&'static str>,
}

/// The interface that a watch is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// That of this program's own services.
    Grpc,
    /// Kubernetes' own.
    Rest,
}

struct Shared {
    made: Mutex<Vec<(ToldAs, Bytes)>>,
    /// Where it counts what is made.
    events: Weak<SharedEvents>,
    key: EventKey,
}

impl Told {
    /// A state that only one watch tells. What is made of it is not kept.
    pub(crate) fn alone(stored: Stored) -> Self {
        Self { stored, shared: None }
    }

    /// A state of the event `key`, which counts as part of `events`.
    pub(super) fn shared(stored: Stored, events: Weak<SharedEvents>, key: EventKey) -> Self {
        let made = Mutex::default();
        Self {
            stored,
            shared: Some(Shared { made, events, key }),
        }
    }

    /// Its bytes in a form: those that `make` gives, which must be the same for everybody who asks for this form. Others who
    /// ask meanwhile wait for them, since it takes less than making them again.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn in_form(
        &self,
        form: ToldAs,
        make: impl FnOnce(&Stored) -> Result<Bytes, ApiError>,
    ) -> Result<Bytes, ApiError> {
        let Some(shared) = &self.shared else {
            return make(&self.stored);
        };
        let bytes = {
            let mut made = shared.made.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, bytes)) = made.iter().find(|(known, _)| *known == form) {
                return Ok(bytes.clone());
            }
            let bytes = make(&self.stored)?;
            made.push((form, bytes.clone()));
            bytes
        };
        if let Some(events) = shared.events.upgrade() {
            events.count(&shared.key, bytes.len());
        }
        Ok(bytes)
    }
}

/// A state as it is shared in an event of its own.
#[cfg(test)]
pub(crate) fn shared_for_tests(stored: &Stored) -> Told {
    Told::shared(stored.clone(), Weak::new(), EventKey::default())
}

impl Deref for Told {
    type Target = Stored;

    fn deref(&self) -> &Stored {
        &self.stored
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stored.fmt(formatter)
    }
}
