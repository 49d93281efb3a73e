//! `cluster`: the cluster's servers, and what can be done with them.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use trireme_client::Link;
use trireme_proto::v1::cluster_client::ClusterClient;
use trireme_proto::v1::{
    CreateTokenRequest, JoinRole, Member, RemoveMemberRequest, StatusResponse, TransferLeadershipRequest,
};

use crate::exit::{Exit, Failure};
use crate::output::table::Table;
use crate::output::{Format, OutputArgs, print, say, yaml};
use crate::session::Session;

/// Flags of `cluster`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme cluster status
  trireme cluster status -o json
  trireme cluster members
  trireme cluster add oar-4
  trireme cluster remove oar-2
  trireme cluster transfer-leader oar-3")]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show each server's role, progress and health
    Status {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the servers
    Members {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a join token for a new server, and show the command that uses it
    Add {
        /// The new server's name
        name: String,
    },
    /// Remove a server; its id is never used again
    Remove {
        /// Its name or id
        member: String,
    },
    /// Hand the leadership to another server
    TransferLeader {
        /// Its name or id
        member: String,
    },
}

/// Runs the verb.
pub(crate) async fn run(args: ClusterArgs, session: &Session) -> Result<()> {
    let status = session.client.cluster_status().await?;
    match args.verb {
        Verb::Status { output } => show(&status, &output.format(), true),
        Verb::Members { output } => show(&status, &output.format(), false),
        Verb::Add { name } => add(session, &name).await,
        Verb::Remove { member } => {
            let member = find(&status, &member)?;
            let id = member.id;
            let call = |link: Link| async move {
                ClusterClient::new(link.channel)
                    .remove_member(RemoveMemberRequest { id })
                    .await
            };
            session.client.write(call).await?;
            say(format!(
                "server/{} removed (id {id}); stop its process and delete its data",
                member.name
            ))
        }
        Verb::TransferLeader { member } => {
            let member = find(&status, &member)?;
            let to = member.id;
            if to == status.leader_id {
                return say(format!("server/{} leads already", member.name));
            }
            let request = TransferLeadershipRequest { to };
            let call = |link: Link| async move { ClusterClient::new(link.channel).transfer_leadership(request).await };
            session.client.write(call).await?;
            say(format!("leadership handed to server/{}", member.name))
        }
    }
}

fn find<'s>(status: &'s StatusResponse, server: &str) -> Result<&'s Member, Failure> {
    let server = server.trim_start_matches("server/");
    let found = status
        .members
        .iter()
        .find(|m| m.name == server || m.id.to_string() == server);
    found.ok_or_else(|| {
        let names: Vec<&str> = status.members.iter().map(|m| m.name.as_str()).collect();
        Failure::new(Exit::NotFound, format!("there is no server {server:?}"))
            .help(format!("the servers are {}", names.join(", ")))
    })
}

async fn add(session: &Session, name: &str) -> Result<()> {
    let request = CreateTokenRequest {
        role: JoinRole::Server.into(),
        ttl_seconds: 0,
        description: format!("for server {name}"),
    };
    let call = |link: Link| {
        let request = request.clone();
        async move { ClusterClient::new(link.channel).create_token(request).await }
    };
    let token = session.client.write(call).await?.token;
    let address = session
        .client
        .connection()
        .endpoints()
        .into_iter()
        .next()
        .unwrap_or_default();
    say(format!(
        "On the new server's machine, within 24 hours:\n\n  trireme server --name {name} --join {address} --token {token}\n"
    ))
}

fn show(status: &StatusResponse, format: &Format, whole: bool) -> Result<()> {
    match format {
        Format::Json => print(&format!("{:#}\n", to_json(status))),
        Format::Yaml => print(&yaml::to_string(&to_json(status))),
        Format::Name => print(
            &status
                .members
                .iter()
                .map(|m| format!("server/{}\n", m.name))
                .collect::<String>(),
        ),
        Format::JsonPath(template) => say(template.render(&to_json(status))),
        Format::Columns(_) => Err(Failure::usage("custom-columns shows objects, and servers are none").into()),
        Format::Table | Format::Wide if whole => print(&status_text(status, *format == Format::Wide)),
        Format::Table | Format::Wide => {
            let mut table = Table::new(["Id", "Name", "Address", "Peer-Address", "Role"]);
            for m in &status.members {
                table.row([
                    m.id.to_string().as_str(),
                    &m.name,
                    &m.api_address,
                    &m.peer_address,
                    &m.role,
                ]);
            }
            print(&table.render(true))
        }
    }
}

fn status_text(status: &StatusResponse, wide: bool) -> String {
    let mut header = vec!["Id", "Name", "Address", "Process", "Role", "Revision", "Health"];
    if wide {
        header.extend(["Index", "State-Hash", "Version"]);
    }
    let mut table = Table::new(header);
    for m in &status.members {
        let health = if m.health_message.is_empty() {
            m.health.clone()
        } else {
            format!("{}: {}", m.health, m.health_message)
        };
        let known = |number: String| if number == "0" { "-".to_owned() } else { number };
        let mut row = vec![
            m.id.to_string(),
            m.name.clone(),
            m.api_address.clone(),
            known(m.process_id.to_string()),
            m.role.clone(),
            known(m.applied_revision.to_string()),
            health,
        ];
        if wide {
            row.extend([
                known(m.applied_index.to_string()),
                m.state_hash.clone(),
                m.version.clone(),
            ]);
        }
        table.row(row);
    }
    let leader = status
        .members
        .iter()
        .find(|m| m.id == status.leader_id)
        .map_or("none", |m| m.name.as_str());
    format!(
        "Cluster {}, leader {leader}, term {}\n\n{}",
        status.cluster_id,
        status.term,
        table.render(true)
    )
}

/// The status as JSON, whose field names scripts rely on.
fn to_json(status: &StatusResponse) -> Value {
    let members: Vec<Value> = status
        .members
        .iter()
        .map(|m| {
            json!({
                "id": m.id,
                "name": m.name,
                "address": m.api_address,
                "peerAddress": m.peer_address,
                "processId": m.process_id,
                "role": m.role,
                "appliedRevision": m.applied_revision,
                "appliedIndex": m.applied_index,
                "health": m.health,
                "healthMessage": m.health_message,
                "stateHash": m.state_hash,
                "version": m.version,
            })
        })
        .collect();
    json!({"clusterId": status.cluster_id, "leaderId": status.leader_id, "term": status.term, "members": members})
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn looks() {
        let member = |id: u64, name: &str, role: &str| Member {
            id,
            name: name.to_owned(),
            api_address: format!("127.0.0.1:644{id}"),
            role: role.to_owned(),
            health: "Healthy".to_owned(),
            process_id: 100,
            applied_revision: 7,
            ..Default::default()
        };
        let mut lost = member(2, "server-2", "Unknown");
        (lost.process_id, lost.applied_revision) = (0, 0);
        (lost.health, lost.health_message) = ("Unreachable".to_owned(), "connection refused".to_owned());
        let members = vec![member(1, "server-1", "Leader"), lost];
        let status = StatusResponse {
            cluster_id: "c".to_owned(),
            members,
            leader_id: 1,
            term: 3,
        };
        expect![[r#"
            Cluster c, leader server-1, term 3

            ID   NAME       ADDRESS          PROCESS   ROLE      REVISION   HEALTH
            1    server-1   127.0.0.1:6441   100       Leader    7          Healthy
            2    server-2   127.0.0.1:6442   -         Unknown   -          Unreachable: connection refused
        "#]]
        .assert_eq(&status_text(&status, false));
        assert_eq!(to_json(&status)["members"][0]["processId"], 100);
    }
}
