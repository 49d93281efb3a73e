//! The Maintenance service: how this member stands, its alarms, hashes and backup.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use tonic::{Request, Response, Status};
use trireme_proto::etcd::server as pb;
use trireme_proto::etcd::server::alarm_request::AlarmAction;
use trireme_proto::etcd::server::maintenance_server;

use super::cluster::refusal;
use super::lanes::{self, Call};
use super::{ETCD_VERSION, Etcd, errors};
use crate::kv::{Kv, KvError};
use crate::raft::Role;
use trireme_mvcc::alarm::{Alarm, AlarmKind};

/// The version of etcd whose form of data would hold all that is served.
const STORAGE_VERSION: &str = "3.6.0";

/// See the module.
pub(super) struct MaintenanceService(pub(super) Arc<Etcd>);

#[async_trait::async_trait]
impl maintenance_server::Maintenance for MaintenanceService {
    type SnapshotStream = BoxStream<'static, Result<pb::SnapshotResponse, Status>>;

    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let pb::AlarmRequest {
            action,
            member_id,
            alarm,
        } = request.into_inner();
        let action = AlarmAction::try_from(action).map_err(|_| unknown("action"))?;
        let kind = kind_of(pb::AlarmType::try_from(alarm).map_err(|_| unknown("type"))?);
        let changed = |kind: AlarmKind, changed: bool| {
            let alarm = pb::AlarmMember {
                member_id,
                alarm: type_of(kind).into(),
            };
            Vec::from_iter(changed.then_some(alarm))
        };
        let store = &self.0.store;
        let alarms = match (action, kind) {
            (AlarmAction::Get, wanted) => {
                let alarms = store.alarms().into_iter();
                let alarms = alarms.filter(|alarm| wanted.is_none_or(|wanted| wanted == alarm.kind));
                alarms.map(|alarm| alarm_member(&alarm)).collect()
            }
            (AlarmAction::Activate, Some(kind)) => {
                let alarm = Alarm {
                    kind,
                    member: member_id,
                    cause: "raised by a client of etcd's API".to_owned(),
                };
                changed(kind, store.set_alarm(alarm).await.map_err(errors::status)?)
            }
            (AlarmAction::Deactivate, Some(kind)) => {
                let cleared = store.clear_alarm(kind, member_id).await;
                changed(kind, cleared.map_err(errors::status)?)
            }
            (AlarmAction::Activate | AlarmAction::Deactivate, None) => Vec::new(),
        };
        Ok(Response::new(pb::AlarmResponse {
            header: Some(self.0.header_now()),
            alarms,
        }))
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let _seat = self.0.admit(lanes::flow(&request), Call::Status).await?;
        let status = self.0.store.status();
        let engine = &self.0.store.node().engine;
        let used = engine
            .state_use()
            .map_err(|error| errors::status(KvError::Stopped(error.to_string())))?;
        let room = used.database_bytes.saturating_add(self.0.store.space().free_bytes);
        let leader = status.leader_id.unwrap_or(0);
        let alarms = self.0.store.alarms();
        let mut complaints: Vec<String> = alarms.iter().map(complaint).collect();
        if !self.0.has_leader() {
            complaints.insert(0, errors::NO_LEADER.text().to_owned());
        }
        Ok(Response::new(pb::StatusResponse {
            header: Some(self.0.header(status.applied_revision)),
            version: ETCD_VERSION.to_owned(),
            db_size: as_i64(used.database_bytes),
            leader,
            raft_index: status.last_log_index,
            raft_term: status.term,
            raft_applied_index: status.applied_index,
            errors: complaints,
            db_size_in_use: as_i64(used.content_bytes),
            is_learner: status.role == Role::Learner,
            storage_version: STORAGE_VERSION.to_owned(),
            db_size_quota: as_i64(room),
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }))
    }

    /// There is nothing to do: space comes back by itself.
    async fn defragment(
        &self,
        _request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        Ok(Response::new(pb::DefragmentResponse {
            header: Some(self.0.header_now()),
        }))
    }

    async fn hash(&self, request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        let _seat = self.0.admit(lanes::flow(&request), Call::Everything).await?;
        let hash = self.0.store.hash_kv(0).await.map_err(errors::status)?;
        Ok(Response::new(pb::HashResponse {
            header: Some(self.0.header(hash.hash_revision)),
            hash: hash.hash,
        }))
    }

    async fn hash_kv(&self, request: Request<pb::HashKvRequest>) -> Result<Response<pb::HashKvResponse>, Status> {
        let _seat = self.0.admit(lanes::flow(&request), Call::Everything).await?;
        let revision = request.into_inner().revision.max(0);
        let hash = self.0.store.hash_kv(revision).await.map_err(errors::status)?;
        Ok(Response::new(pb::HashKvResponse {
            header: Some(self.0.header_now()),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.hash_revision,
        }))
    }

    async fn snapshot(&self, request: Request<pb::SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let _seat = self.0.admit(lanes::flow(&request), Call::Everything).await?;
        let backup = self.0.store.backup().await.map_err(errors::status)?;
        let header = self.0.header(backup.header.revision);
        let mut remaining_bytes = backup.estimated_bytes;
        let pieces = backup.stream.map(move |piece| {
            let blob = piece.map_err(errors::status)?;
            remaining_bytes = remaining_bytes.saturating_sub(blob.len() as u64);
            Ok(pb::SnapshotResponse {
                header: Some(header),
                remaining_bytes,
                blob,
                version: STORAGE_VERSION.to_owned(),
            })
        });
        Ok(Response::new(pieces.boxed()))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let target = request.into_inner().target_id;
        if self.0.store.status().role != Role::Leader {
            return Err(errors::NOT_LEADER.into());
        }
        let members = self.0.store.members();
        if !members.iter().any(|member| member.id == target && member.voter) {
            return Err(errors::BAD_TRANSFEREE.into());
        }
        self.0.store.transfer_leadership(target).await.map_err(refusal)?;
        Ok(Response::new(pb::MoveLeaderResponse {
            header: Some(self.0.header_now()),
        }))
    }

    async fn downgrade(
        &self,
        _request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        let why = "a downgrade of etcd's storage has no meaning here: this is not etcd's storage";
        Err(Status::unimplemented(why))
    }
}

fn as_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn unknown(what: &str) -> Status {
    Status::invalid_argument(format!("etcdserver: unknown alarm {what}"))
}

fn kind_of(alarm: pb::AlarmType) -> Option<AlarmKind> {
    match alarm {
        pb::AlarmType::None => None,
        pb::AlarmType::Nospace => Some(AlarmKind::NoSpace),
        pb::AlarmType::Corrupt => Some(AlarmKind::Corrupt),
    }
}

fn type_of(kind: AlarmKind) -> pb::AlarmType {
    match kind {
        AlarmKind::NoSpace => pb::AlarmType::Nospace,
        AlarmKind::Corrupt => pb::AlarmType::Corrupt,
    }
}

fn alarm_member(alarm: &Alarm) -> pb::AlarmMember {
    pb::AlarmMember {
        member_id: alarm.member,
        alarm: type_of(alarm.kind).into(),
    }
}

/// An alarm as a member's status tells it.
fn complaint(alarm: &Alarm) -> String {
    format!("memberID:{} alarm:{}", alarm.member, type_of(alarm.kind).as_str_name())
}
