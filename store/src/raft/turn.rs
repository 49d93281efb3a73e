//! Whose turn it is to send a snapshot to this server: one at a time, and the latest.
//!
//! A sender that begins again knows that its earlier attempt is over, even if this server has not noticed yet: its
//! connection may have gone silent without an end. So a new attempt does not wait for an old one, it ends it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    latest: Mutex<CancellationToken>,
    turn: tokio::sync::Mutex<()>,
}

/// The turn of one attempt. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    displaced: CancellationToken,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Turns {
    /// Ends the attempt that has its turn and waits until it has given it back, at most for `patience`.
    pub(crate) async fn take(&self, patience: Duration) -> Option<Turn<'_>> {
        let displaced = CancellationToken::new();
        let earlier = std::mem::replace(
            &mut *self.latest.lock().unwrap_or_else(PoisonError::into_inner),
            displaced.clone(),
        );
        earlier.cancel();
        let turn = tokio::time::timeout(patience, self.turn.lock()).await.ok()?;
        Some(Turn { displaced, _turn: turn })
    }
}

impl Turn<'_> {
    /// Waits until a later attempt takes this one's place.
    pub(crate) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_latest_attempt_has_its_turn() {
        let turns = Turns::default();
        let patience = Duration::from_secs(1);
        let first = turns.take(patience).await.unwrap();
        assert!(first.displaced().now_or_never().is_none());
        let second = async {
            let turn = turns.take(patience).await.unwrap();
            assert!(turn.displaced().now_or_never().is_none());
            turn
        };
        let give_way = async {
            first.displaced().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(second, give_way);

        // One that does not give way is not waited for for ever.
        assert!(turns.take(patience).await.is_none());
        assert!(second.displaced().now_or_never().is_some());
    }
}
