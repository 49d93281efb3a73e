//! A read of the past gives what was there, on whichever server.

use super::Record;
use crate::linear::{past, replay::Replay};

pub(super) const NAME: &str = "reads of the past";

pub(super) fn judge(record: &Record, replay: &Replay) -> Vec<String> {
    past::check(&record.history.past_reads, replay)
}
