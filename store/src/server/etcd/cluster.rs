//! The Cluster service: the members, and changing them.
//!
//! A member's id is its server's Raft id. Whoever is added begins as a learner, also if a voter was asked for: a
//! vote that nobody casts would only be in the way, and a learner can be promoted once it has caught up.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::{Request, Response, Status};
use trireme_proto::etcd::server as pb;
use trireme_proto::etcd::server::cluster_server;

use super::{Etcd, errors};
use crate::kv::{Consistency, KeyRange, Kv, RangeRequest};
use crate::raft::{Member, MemberNode, MembershipError};

/// What the keys begin with under which each server tells where etcd's clients reach it.
pub const ETCD_CLIENT_URL_PREFIX: &[u8] = b"/trireme/etcd/";

/// The forms of a URL, and what is before its address.
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// See the module.
pub(super) struct ClusterService(pub(super) Arc<Etcd>);

#[async_trait::async_trait]
impl cluster_server::Cluster for ClusterService {
    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let peer_address = address(&request.into_inner().peer_urls)?;
        let members = self.0.store.members();
        if members.iter().any(|member| member.peer_address == peer_address) {
            return Err(errors::PEER_URL_EXISTS.into());
        }
        let id = self.0.store.allocate_server_id().await.map_err(refusal)?;
        let node = MemberNode {
            peer_address,
            ..MemberNode::default()
        };
        self.0.store.add_learner(id, node.clone()).await.map_err(refusal)?;
        let new = Member {
            id,
            name: node.name,
            api_address: node.api_address,
            peer_address: node.peer_address,
            voter: false,
        };
        let members = self.0.members_with(&new).await?;
        Ok(Response::new(pb::MemberAddResponse {
            header: Some(self.0.header_now()),
            member: Some(self.0.member(&new, &BTreeMap::new())),
            members,
        }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let id = request.into_inner().id;
        self.0.known(id)?;
        self.0.store.remove(id).await.map_err(refusal)?;
        let members = self.0.members().await?;
        Ok(Response::new(pb::MemberRemoveResponse {
            header: Some(self.0.header_now()),
            members: members.into_iter().filter(|member| member.id != id).collect(),
        }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let request = request.into_inner();
        let member = self.0.known(request.id)?;
        let peer_address = address(&request.peer_urls)?;
        let taken = |other: &Member| other.id != member.id && other.peer_address == peer_address;
        if self.0.store.members().iter().any(taken) {
            return Err(errors::PEER_URL_EXISTS.into());
        }
        let node = MemberNode {
            name: member.name.clone(),
            api_address: member.api_address.clone(),
            peer_address: peer_address.clone(),
        };
        self.0.store.add_learner(member.id, node).await.map_err(refusal)?;
        let members = self.0.members_with(&Member { peer_address, ..member }).await?;
        Ok(Response::new(pb::MemberUpdateResponse {
            header: Some(self.0.header_now()),
            members,
        }))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            self.0.store.node().linearizable().await.map_err(errors::status)?;
        }
        Ok(Response::new(pb::MemberListResponse {
            header: Some(self.0.header_now()),
            members: self.0.members().await?,
        }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let member = self.0.known(request.into_inner().id)?;
        if member.voter {
            return Err(errors::MEMBER_NOT_LEARNER.into());
        }
        match self.0.store.promote_ready(member.id).await {
            Err(MembershipError::Refused(_)) => return Err(errors::LEARNER_NOT_READY.into()),
            promoted => promoted.map_err(refusal)?,
        }
        let members = self.0.members_with(&Member { voter: true, ..member }).await?;
        Ok(Response::new(pb::MemberPromoteResponse {
            header: Some(self.0.header_now()),
            members,
        }))
    }
}

impl Etcd {
    fn known(&self, id: u64) -> Result<Member, Status> {
        let members = self.store.members();
        let member = members.into_iter().find(|member| member.id == id);
        member.ok_or_else(|| errors::MEMBER_NOT_FOUND.into())
    }

    async fn members(&self) -> Result<Vec<pb::Member>, Status> {
        let urls = self.client_urls().await?;
        let members = self.store.members();
        Ok(members.iter().map(|member| self.member(member, &urls)).collect())
    }

    /// The members, one of which was just changed: this server may not have heard of it yet.
    async fn members_with(&self, changed: &Member) -> Result<Vec<pb::Member>, Status> {
        let urls = self.client_urls().await?;
        let mut members = self.store.members();
        members.retain(|member| member.id != changed.id);
        members.push(changed.clone());
        members.sort_unstable_by_key(|member| member.id);
        Ok(members.iter().map(|member| self.member(member, &urls)).collect())
    }

    fn member(&self, member: &Member, urls: &BTreeMap<u64, String>) -> pb::Member {
        pb::Member {
            id: member.id,
            name: member.name.clone(),
            peer_urls: vec![format!("https://{}", member.peer_address)],
            client_urls: urls.get(&member.id).cloned().into_iter().collect(),
            is_learner: !member.voter,
        }
    }

    /// Where etcd's clients reach each server, as far as it is known.
    async fn client_urls(&self) -> Result<BTreeMap<u64, String>, Status> {
        let request = RangeRequest::latest(KeyRange::prefix(ETCD_CLIENT_URL_PREFIX));
        let response = self.store.range(request, Consistency::Serializable).await;
        let response = response.map_err(errors::status)?;
        let urls = response.kvs.iter().filter_map(|kv| {
            let id = std::str::from_utf8(&kv.key[ETCD_CLIENT_URL_PREFIX.len()..]).ok()?;
            Some((id.parse().ok()?, String::from_utf8(kv.value.to_vec()).ok()?))
        });
        Ok(urls.collect())
    }
}

/// The address (`host:port`) of the one URL that a member has.
pub(super) fn address(urls: &[String]) -> Result<String, Status> {
    let [url] = urls else {
        return Err(errors::MEMBER_BAD_URLS.into());
    };
    let address = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
    let port = |address: &&str| {
        let (host, port) = address.rsplit_once(':')?;
        (!host.is_empty() && !host.contains('/')).then_some(())?;
        port.parse::<u16>().ok()
    };
    match address.filter(|address| port(address).is_some()) {
        Some(address) => Ok(address.to_owned()),
        None => Err(errors::MEMBER_BAD_URLS.into()),
    }
}

pub(super) fn refusal(error: MembershipError) -> Status {
    match error {
        MembershipError::Refused(why) => Status::failed_precondition(format!("etcdserver: {why}")),
        MembershipError::Unavailable(_) => errors::UNHEALTHY.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_one_url_with_a_port() {
        let check = |urls: &[&str], expected: Option<&str>| {
            let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
            assert_eq!(address(&urls).ok().as_deref(), expected, "{urls:?}");
        };
        check(&["http://10.0.0.1:2380"], Some("10.0.0.1:2380"));
        check(&["https://host:1"], Some("host:1"));
        check(&["https://[::1]:2380"], Some("[::1]:2380"));
        for bad in [
            "10.0.0.1:2380",
            "http://",
            "http://host",
            "http://:2380",
            "http://host:x",
            "http://host:2380/path",
            "ftp://host:1",
        ] {
            check(&[bad], None);
        }
        check(&[], None);
        check(&["http://a:1", "http://b:1"], None);
    }
}
