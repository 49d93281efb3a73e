//! The planted bug [`AckBeforeReplication`](crate::faults::Planted), which speaks openraft; without the feature, nothing.
//!
//! With it, once a follower has taken one append, the leader counts every further append to it as
//! done before it is sent. It then commits, applies and acknowledges writes that no other server has,
//! and loses them when it is killed.

#[cfg(not(feature = "faults"))]
pub(crate) use off::EarlyAcknowledger;
#[cfg(feature = "faults")]
pub(crate) use on::EarlyAcknowledger;

#[cfg(not(feature = "faults"))]
mod off {
    use openraft::errors::RPCError;
    use openraft::raft::AppendEntriesResponse;
    use trireme_proto::peer::v1 as proto;

    use super::super::network::Peer;
    use super::super::pool::Purpose;
    use super::super::types::TypeConfig;
    use crate::faults::Faults;

    /// Does nothing.
    pub(crate) struct EarlyAcknowledger;

    impl EarlyAcknowledger {
        pub(crate) fn new(_faults: Faults) -> Self {
            Self
        }

        pub(crate) fn is_at_work(&self) -> bool {
            false
        }

        pub(crate) fn take(
            &mut self,
            _peer: &Peer,
            _purpose: Purpose,
            _request: &mut proto::AppendRequest,
        ) -> Option<AppendEntriesResponse<TypeConfig>> {
            None
        }

        pub(crate) fn observe(&mut self, _answer: &Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>>) {}
    }
}

#[cfg(feature = "faults")]
mod on {
    use std::time::Duration;

    use openraft::errors::RPCError;
    use openraft::raft::AppendEntriesResponse;
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use trireme_proto::peer::v1 as proto;

    use super::super::network::Peer;
    use super::super::pool::Purpose;
    use super::super::types::TypeConfig;
    use crate::faults::Faults;

    /// How late the followers get what was acknowledged: long enough that a kill hits.
    const DELAY: Duration = Duration::from_millis(50);
    const TIMEOUT: Duration = Duration::from_secs(2);
    /// How long a connection is sound at first. While members join it is made anew again and again, and what an early
    /// acknowledgement has left out would keep them from ever being whole.
    const SOUND_AT_FIRST: Duration = Duration::from_secs(1);

    /// Acknowledges appends first and sends them later, in order.
    pub(crate) struct EarlyAcknowledger {
        faults: Faults,
        made: Instant,
        follower_matches: bool,
        late: Option<mpsc::UnboundedSender<(Instant, proto::AppendRequest)>>,
    }

    impl EarlyAcknowledger {
        pub(crate) fn new(faults: Faults) -> Self {
            Self {
                faults,
                made: Instant::now(),
                follower_matches: false,
                late: None,
            }
        }

        pub(crate) fn is_at_work(&self) -> bool {
            self.faults.acknowledges_before_replication()
        }

        pub(crate) fn take(
            &mut self,
            peer: &Peer,
            purpose: Purpose,
            request: &mut proto::AppendRequest,
        ) -> Option<AppendEntriesResponse<TypeConfig>> {
            if !self.faults.acknowledges_before_replication() || self.made.elapsed() < SOUND_AT_FIRST {
                return None;
            }
            if purpose == Purpose::Heartbeat {
                // The follower does not have what it has been counted for, and must not say so; nor may it take for committed
                // what it may never get, because then it would not survive the next leader.
                request.previous = None;
                request.leader_commit = None;
            }
            // Everything that follows must keep its order, commit positions included.
            if !self.follower_matches || purpose != Purpose::Append {
                return None;
            }
            let late = self.late.get_or_insert_with(|| {
                let (sender, receiver) = mpsc::unbounded_channel();
                // Tests wait for this: a leader that is killed before has lost nothing.
                tracing::warn!("planted: appends are acknowledged before they are sent");
                tokio::spawn(send_late(peer.clone(), receiver));
                sender
            });
            let due = Instant::now() + DELAY;
            late.send((due, request.clone()))
                .ok()
                .map(|()| AppendEntriesResponse::Success)
        }

        pub(crate) fn observe(&mut self, answer: &Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>>) {
            self.follower_matches |= matches!(answer, Ok(AppendEntriesResponse::Success));
        }
    }

    /// Each comes late by the same time, however many there are: a follower lags, but does not fall behind for good.
    async fn send_late(mut peer: Peer, mut requests: mpsc::UnboundedReceiver<(Instant, proto::AppendRequest)>) {
        while let Some((due, request)) = requests.recv().await {
            tokio::time::sleep_until(due).await;
            while peer.append(Purpose::Append, request.clone(), TIMEOUT).await.is_err() {
                tokio::time::sleep(DELAY).await;
            }
        }
    }
}
