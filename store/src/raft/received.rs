//! A snapshot that another server has sent, before consensus gets to see it.

use std::io;

use super::snapshot::ReceivedSnapshot;
use super::state_machine::position_log_id;
use super::types::LogId;
use crate::blocking;
use crate::engine;

/// Checks all of it: that it is a snapshot, whole, and of what was announced. Consensus could not go on after it had begun to
/// install one that is not (I9).
///
/// # Errors
/// What is wrong with it, or what the system says.
pub(super) async fn checked(received: ReceivedSnapshot, announced: Option<LogId>) -> io::Result<ReceivedSnapshot> {
    let check = move || {
        let header = engine::verify_snapshot(&mut received.open()?).map_err(io::Error::other)?;
        let found = header.position.as_ref().map(position_log_id);
        if found == announced {
            return Ok(received);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the snapshot is of {found:?}, but was announced as of {announced:?}"),
        ))
    };
    blocking::run(check)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}
