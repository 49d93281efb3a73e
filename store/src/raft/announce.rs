//! A server that has moved tells the others where it is now.
//!
//! The membership holds every server's addresses, and only the leader changes it. A leader cannot reach a server that has
//! moved, so that server may not even know who leads: it asks whoever it can reach, by the addresses that it knows, until
//! its own stand in the membership.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::change_members_request::Change as WireChange;
use trireme_proto::peer::v1::change_members_response::Outcome as WireOutcome;

use super::membership::Change;
use super::node::Node;
use super::pool::Purpose;
use super::view::Member;
use super::wire;
use crate::limits;

/// Runs until the membership has this server's addresses, or until `stop`. A server that is no member waits until it is.
pub(crate) async fn run(node: Arc<Node>, stop: CancellationToken) {
    let mut members = node.views.members.clone();
    loop {
        let moved = {
            let members = members.borrow_and_update();
            let own = members.iter().find(|member| member.id == node.config.server_id);
            own.map(|own| !is_where(own, &node))
        };
        let round = async {
            match moved {
                Some(true) => {
                    announce(&node).await;
                    tokio::time::sleep(limits::ANNOUNCE_PERIOD).await;
                }
                // An error means that the store has stopped.
                Some(false) | None => {
                    if members.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = node.gate.closed() => return,
            () = round => {}
        }
    }
}

/// Lets the connections follow the members, until `stop`.
pub(crate) async fn follow_members(node: Arc<Node>, stop: CancellationToken) {
    let mut members = node.views.members.clone();
    loop {
        let known = members.borrow_and_update().clone();
        let reachable = known.iter().filter(|member| !member.peer_address.is_empty());
        node.pool.set_addresses(
            reachable
                .map(|member| (member.id, member.peer_address.clone()))
                .collect(),
        );
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = members.changed() => if changed.is_err() { return },
        }
    }
}

fn is_where(member: &Member, node: &Node) -> bool {
    let wanted = &node.config.node;
    member.api_address == wanted.api_address && member.peer_address == wanted.peer_address
}

async fn announce(node: &Node) {
    let change = Change::AddLearner(node.config.server_id, node.config.node.clone());
    if node.leader().is_some() {
        // It is known who leads: the usual way.
        match node.change_members(change).await {
            Ok(_) => tracing::info!(
                peer = node.config.node.peer_address,
                "the others know this server's addresses"
            ),
            Err(error) => tracing::debug!(%error, "the others do not know this server's addresses yet"),
        }
        return;
    }
    let members = node.view().members;
    for member in members.iter().filter(|member| member.id != node.config.server_id) {
        if tell(node, member).await {
            return;
        }
    }
}

/// Tells one server, which is of use only if it leads.
async fn tell(node: &Node, member: &Member) -> bool {
    let Ok(mut pick) = node.pool.get(member.id, &member.peer_address, Purpose::Forward) else {
        return false;
    };
    let change = WireChange::AddLearner(wire::node_to_wire(node.config.server_id, &node.config.node));
    let request = proto::ChangeMembersRequest { change: Some(change) };
    match tokio::time::timeout(limits::APPEND_TIMEOUT, pick.client.change_members(request)).await {
        Ok(Ok(answer)) => matches!(answer.into_inner().outcome, Some(WireOutcome::ServerId(_))),
        Ok(Err(_)) | Err(_) => {
            node.pool.discard(member.id, Purpose::Forward, &pick);
            false
        }
    }
}
