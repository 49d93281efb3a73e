//! The assignment stream: the full set of what this node is to run, then differences.

use super::connection::{CallError, Cluster};
use super::{AssignmentChange, Removal, SessionEvent, reconnect};
use crate::limits;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use trireme_proto::api::core::v1::{ConfigMap, Pod, Secret};
use trireme_proto::v1::{self, AssignedKind};

/// Hears assignments for as long as the agent runs.
pub(super) async fn run(cluster: Cluster, events: mpsc::Sender<SessionEvent>) {
    let mut failures = 0;
    let mut seen_revision = 0;
    loop {
        let began = Instant::now();
        let Err(error) = one_stream(&cluster, &events, &mut seen_revision).await;
        failures = if began.elapsed() > limits::RECONNECT_BACKOFF_MAX {
            0
        } else {
            failures + 1
        };
        let delay = reconnect::delay(failures);
        tracing::info!(
            error = crate::error_chain(&error),
            delay_ms = delay.as_millis(),
            "the assignments ended"
        );
        tokio::time::sleep(delay).await;
    }
}

async fn one_stream(
    cluster: &Cluster,
    events: &mpsc::Sender<SessionEvent>,
    seen_revision: &mut i64,
) -> Result<std::convert::Infallible, CallError> {
    let (mut stub, link) = cluster.node_agent().await?;
    let outcome = async {
        let mut stream = stub.assignments(v1::AssignmentsRequest {}).await?.into_inner();
        let mut sequence = Sequence {
            seen_revision,
            had_complete: false,
        };
        loop {
            let message = stream.message().await?.ok_or(CallError::Ended)?;
            let change = sequence.accept(&message)?;
            // The driver is gone only when the agent ends.
            let _ = events.send(SessionEvent::Assignments(change)).await;
        }
    };
    let outcome: Result<std::convert::Infallible, CallError> = outcome.await;
    if outcome.is_err() {
        cluster.abandon(&link);
    }
    outcome
}

/// The rules of one stream: it begins with the complete set, and revisions never go back, not even
/// from one stream to the next.
struct Sequence<'a> {
    seen_revision: &'a mut i64,
    had_complete: bool,
}

impl Sequence<'_> {
    fn accept(&mut self, message: &v1::AssignmentsMessage) -> Result<AssignmentChange, CallError> {
        if message.revision < *self.seen_revision {
            return Err(CallError::Behind {
                got: message.revision,
                seen: *self.seen_revision,
            });
        }
        if !message.complete && !self.had_complete {
            return Err(CallError::Malformed(
                "a difference came before the complete set".to_owned(),
            ));
        }
        let change = decode(message)?;
        self.had_complete = true;
        *self.seen_revision = message.revision;
        Ok(change)
    }
}

fn decode(message: &v1::AssignmentsMessage) -> Result<AssignmentChange, CallError> {
    let malformed = |error: prost::DecodeError| CallError::Malformed(error.to_string());
    let mut change = AssignmentChange {
        complete: message.complete,
        ..AssignmentChange::default()
    };
    for object in &message.upserts {
        let bytes = object.object.clone();
        match AssignedKind::try_from(object.kind) {
            Ok(AssignedKind::Pod) => change.pods.push(Pod::decode(bytes).map_err(malformed)?),
            Ok(AssignedKind::ConfigMap) => change.config_maps.push(ConfigMap::decode(bytes).map_err(malformed)?),
            Ok(AssignedKind::Secret) => change.secrets.push(Secret::decode(bytes).map_err(malformed)?),
            // A newer server may send kinds that this agent does not know.
            Err(_) => {}
        }
    }
    for removed in &message.removals {
        if let Ok(kind) = AssignedKind::try_from(removed.kind) {
            change.removals.push(Removal {
                kind,
                namespace: removed.namespace.clone(),
                name: removed.name.clone(),
                uid: removed.uid.clone(),
            });
        }
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(complete: bool, revision: i64) -> v1::AssignmentsMessage {
        v1::AssignmentsMessage {
            complete,
            revision,
            ..Default::default()
        }
    }

    #[test]
    fn a_revision_that_goes_back_is_refused() {
        let mut seen = 0;
        let mut first = Sequence {
            seen_revision: &mut seen,
            had_complete: false,
        };
        assert!(first.accept(&message(true, 7)).unwrap().complete);
        assert!(first.accept(&message(false, 9)).is_ok());
        assert!(matches!(
            first.accept(&message(false, 8)),
            Err(CallError::Behind { got: 8, seen: 9 })
        ));
        let mut second = Sequence {
            seen_revision: &mut seen,
            had_complete: false,
        };
        assert!(
            matches!(second.accept(&message(true, 8)), Err(CallError::Behind { .. })),
            "nor on the next stream"
        );
        assert!(second.accept(&message(true, 9)).is_ok());
    }

    #[test]
    fn a_stream_begins_with_the_complete_set() {
        let mut seen = 0;
        let mut sequence = Sequence {
            seen_revision: &mut seen,
            had_complete: false,
        };
        assert!(matches!(
            sequence.accept(&message(false, 1)),
            Err(CallError::Malformed(_))
        ));
    }

    #[test]
    fn an_object_that_cannot_be_decoded_is_refused() {
        let object = v1::AssignedObject {
            kind: AssignedKind::Pod.into(),
            object: vec![0xff; 3].into(),
        };
        let bad = v1::AssignmentsMessage {
            complete: true,
            upserts: vec![object],
            ..Default::default()
        };
        assert!(matches!(decode(&bad), Err(CallError::Malformed(_))));
    }
}
