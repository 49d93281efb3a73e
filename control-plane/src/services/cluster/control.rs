//! What the cluster service asks of the store: the members, and changes of them, wherever the leader is.

use trireme_store::kv::{Consistency, KeyRange, Kv, RangeRequest};
use trireme_store::{Alarm, AlarmKind, Backup, Member, MemberNode, MembershipError, Store, StoreStatus};

use crate::status::ApiError;

/// Membership. A server that does not lead brings changes to the one that does.
#[async_trait::async_trait]
pub trait ClusterControl: Send + Sync + 'static {
    /// How this server stands.
    fn status(&self) -> StoreStatus;

    /// The members, ordered by id, as this server knows them.
    fn members(&self) -> Vec<Member>;

    /// A Raft id that was never used and never will be again.
    ///
    /// # Errors
    /// `ServiceUnavailable` without a leader.
    async fn allocate_server_id(&self) -> Result<u64, ApiError>;

    /// Adds a server that receives everything but does not vote yet.
    ///
    /// # Errors
    /// `Conflict` if it makes no sense, `ServiceUnavailable` without a leader.
    async fn add_learner(&self, id: u64, node: MemberNode) -> Result<(), ApiError>;

    /// Makes a learner that has caught up a voter.
    ///
    /// # Errors
    /// As [`add_learner`](Self::add_learner).
    async fn promote(&self, id: u64) -> Result<(), ApiError>;

    /// Removes a server for good.
    ///
    /// # Errors
    /// As [`add_learner`](Self::add_learner).
    async fn remove(&self, id: u64) -> Result<(), ApiError>;

    /// Hands leadership to another voter.
    ///
    /// # Errors
    /// As [`add_learner`](Self::add_learner).
    async fn transfer_leadership(&self, to: u64) -> Result<(), ApiError>;

    /// The alarms that are raised, as this server knows.
    fn alarms(&self) -> Vec<Alarm>;

    /// Ends an alarm. Returns whether it was raised.
    ///
    /// # Errors
    /// As any write.
    async fn clear_alarm(&self, kind: AlarmKind, member: u64) -> Result<bool, ApiError>;

    /// A backup of this server's replica.
    ///
    /// # Errors
    /// `ServiceUnavailable` if this server is stopping.
    async fn backup(&self) -> Result<Backup, ApiError>;
}

impl From<MembershipError> for ApiError {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Refused(why) => Self::conflict_other(why),
            MembershipError::Unavailable(_) => Self::unavailable(error.to_string()),
        }
    }
}

#[async_trait::async_trait]
impl ClusterControl for Store {
    fn status(&self) -> StoreStatus {
        Self::status(self)
    }

    fn members(&self) -> Vec<Member> {
        Self::members(self)
    }

    async fn allocate_server_id(&self) -> Result<u64, ApiError> {
        Ok(Self::allocate_server_id(self).await?)
    }

    async fn add_learner(&self, id: u64, node: MemberNode) -> Result<(), ApiError> {
        Ok(Self::add_learner(self, id, node).await?)
    }

    async fn promote(&self, id: u64) -> Result<(), ApiError> {
        Ok(Self::promote(self, id).await?)
    }

    async fn remove(&self, id: u64) -> Result<(), ApiError> {
        Ok(Self::remove(self, id).await?)
    }

    async fn transfer_leadership(&self, to: u64) -> Result<(), ApiError> {
        Ok(Self::transfer_leadership(self, to).await?)
    }

    fn alarms(&self) -> Vec<Alarm> {
        Self::alarms(self)
    }

    async fn clear_alarm(&self, kind: AlarmKind, member: u64) -> Result<bool, ApiError> {
        Ok(Self::clear_alarm(self, kind, member).await?)
    }

    async fn backup(&self) -> Result<Backup, ApiError> {
        // Any server can give it, but not one that is behind: what was acknowledged before is to be in it.
        let nothing = RangeRequest {
            count_only: true,
            ..RangeRequest::latest(KeyRange::key(""))
        };
        self.range(nothing, Consistency::Linearizable).await?;
        Ok(Self::backup(self).await?)
    }
}
