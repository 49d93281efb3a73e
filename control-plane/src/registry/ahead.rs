//! A list that is read one slice ahead, so that a slice is read while the one before it is written.
//!
//! A slice is read by a task of its own, so that its seat is free again as soon as it is there, however late it is taken. It
//! and the one that is being written take room, so no more than one is read ahead, and none while others wait for large work.

use tokio_util::task::AbortOnDropHandle;

use super::{ListEnd, ObjectList, Stored};
use crate::status::ApiError;

/// See the module.
pub struct ListAhead {
    /// Reads the next slice.
    reading: Option<Reading>,
    /// The list while nothing is read. It holds the room of its newest slices.
    list: Option<ObjectList>,
}

type Reading = AbortOnDropHandle<(ObjectList, Result<Vec<Stored>, ApiError>)>;

impl ListAhead {
    /// Reads on from where a list is, of which the newest slice is about to be written. To be called within a tokio runtime.
    #[must_use]
    pub fn new(list: ObjectList) -> Self {
        let mut ahead = Self {
            reading: None,
            list: None,
        };
        ahead.go_on(list);
        ahead
    }

    /// The next objects, which may be none; `None` after the last. Those before them must be with the client.
    ///
    /// # Errors
    /// As [`ObjectList::next`]. Then there is nothing more to ask for.
    pub async fn next(&mut self) -> Result<Option<Vec<Stored>>, ApiError> {
        if self.end().is_some() {
            return Ok(None);
        }
        let not_read = ApiError::internal("a list was not read");
        let (list, slice) = match (self.reading.take(), self.list.take()) {
            (Some(reading), _) => reading.await.map_err(|error| not_read.context(error))?,
            (None, Some(mut list)) => {
                let slice = list.next().await;
                (list, slice)
            }
            (None, None) => return Err(not_read),
        };
        let slice = slice?;
        self.go_on(list);
        Ok(Some(slice))
    }

    /// What comes after the last object, once that has been taken.
    #[must_use]
    pub fn end(&self) -> Option<&ListEnd> {
        self.list.as_ref()?.end()
    }

    fn go_on(&mut self, mut list: ObjectList) {
        if list.end().is_some() || list.is_bulk_busy() {
            self.list = Some(list);
            return;
        }
        let reading = tokio::spawn(async move {
            let slice = list.next_beside().await;
            (list, slice)
        });
        self.reading = Some(AbortOnDropHandle::new(reading));
    }
}
