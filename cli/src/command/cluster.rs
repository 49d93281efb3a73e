//! `cluster`: the cluster's servers, and what can be done with them.

mod backup;
mod refound;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use trireme_client::Link;
use trireme_proto::v1::cluster_client::ClusterClient;
use trireme_proto::v1::{
    Alarm, ClearAlarmRequest, CreateTokenRequest, JoinRole, LaneUse, Member, RemoveMemberRequest, StatusResponse,
    TransferLeadershipRequest,
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
  trireme cluster replace oar-2
  trireme cluster transfer-leader oar-3
  trireme cluster backup monday.backup
  trireme cluster restore monday.backup --data-dir /var/lib/trireme --name oar-1
  trireme cluster recover --data-dir /var/lib/trireme")]
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
    /// Remove a dead or quarantined server, and show the command that starts the one in its place
    Replace {
        /// Its name or id
        member: String,
        /// The new server's name; otherwise that of the old one
        #[arg(long)]
        name: Option<String>,
        /// Replace it although it answers
        #[arg(long)]
        force: bool,
    },
    /// Hand the leadership to another server
    TransferLeader {
        /// Its name or id
        member: String,
    },
    /// End an alarm; one whose cause goes on is raised again
    ClearAlarm {
        /// What it is about: NoSpace or Corrupt
        kind: String,
        /// The name or id of the server that it concerns; the whole cluster if left out
        member: Option<String>,
    },
    /// Save everything that the cluster stores to a file, while it works on
    Backup(backup::BackupArgs),
    /// Make the first server of a new cluster out of a backup
    Restore(refound::RestoreArgs),
    /// Make a new cluster out of one server that is left, after too many others were lost for good
    Recover(refound::RecoverArgs),
}

impl ClusterArgs {
    /// Runs the verbs that need no running cluster; gives the others back.
    pub(crate) async fn run_offline(self) -> Result<Option<Self>> {
        match self.verb {
            Verb::Restore(args) => refound::restore(args).await.map(|()| None),
            Verb::Recover(args) => refound::recover(args).await.map(|()| None),
            verb => Ok(Some(Self { verb })),
        }
    }
}

/// Runs the verb.
pub(crate) async fn run(args: ClusterArgs, session: &Session) -> Result<()> {
    if let Verb::Backup(args) = args.verb {
        return backup::run(args, session).await;
    }
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
        Verb::Replace { member, name, force } => replace(session, find(&status, &member)?, name, force).await,
        Verb::ClearAlarm { kind, member } => {
            let member_id = match &member {
                Some(member) => find(&status, member)?.id,
                None => 0,
            };
            let call = |link: Link| {
                let request = ClearAlarmRequest {
                    kind: kind.clone(),
                    member_id,
                };
                async move { ClusterClient::new(link.channel).clear_alarm(request).await }
            };
            let cleared = session.client.write(call).await?.was_raised;
            say(if cleared {
                "alarm ended"
            } else {
                "there is no such alarm"
            })
        }
        Verb::Backup(_) | Verb::Restore(_) | Verb::Recover(_) => unreachable!("handled before"),
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
    let command = join_command(session, name).await?;
    say(format!(
        "On the new server's machine, within 24 hours:\n\n  {command}\n"
    ))
}

/// Removes a server that takes no part any more. The token comes first: if anything fails in between, the same
/// command can be given again.
async fn replace(session: &Session, dead: &Member, name: Option<String>, force: bool) -> Result<()> {
    let gone = matches!(dead.health.as_str(), "Unreachable" | "Quarantined");
    if !gone && !force {
        let message = format!(
            "server/{} is {}, so nothing has to take its place",
            dead.name, dead.health
        );
        return Err(Failure::new(Exit::Conflict, message)
            .help("stop it first, or pass --force")
            .into());
    }
    let command = join_command(session, name.as_deref().unwrap_or(&dead.name)).await?;
    let id = dead.id;
    let call = |link: Link| async move {
        ClusterClient::new(link.channel)
            .remove_member(RemoveMemberRequest { id })
            .await
    };
    session.client.write(call).await?;
    say(format!(
        "server/{} removed (id {id}); stop its process, if it runs, and delete its data.\n\
         On the machine that takes its place, within 24 hours:\n\n  {command}\n",
        dead.name
    ))
}

/// The command by which a server of this name joins, with a token of its own.
async fn join_command(session: &Session, name: &str) -> Result<String> {
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
    Ok(format!("trireme server --name {name} --join {address} --token {token}"))
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
        header.extend(["Index", "State-Hash", "Version", "Waiting", "Refused"]);
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
                by_lane(m, |lane| lane.waiting),
                by_lane(m, |lane| lane.refused),
            ]);
        }
        table.row(row);
    }
    let leader = status
        .members
        .iter()
        .find(|m| m.id == status.leader_id)
        .map_or("none", |m| m.name.as_str());
    let alarms: String = status.alarms.iter().map(alarm_text).collect();
    format!(
        "Cluster {}, leader {leader}, term {}\n{alarms}\n{}",
        status.cluster_id,
        status.term,
        table.render(true)
    )
}

/// A figure of each lane: `system 0, users 3, bulk 12`.
fn by_lane(member: &Member, figure: impl Fn(&LaneUse) -> u64) -> String {
    let lanes = member.lanes.iter();
    let told: Vec<String> = lanes.map(|lane| format!("{} {}", lane.lane, figure(lane))).collect();
    told.join(", ")
}

fn lane_json(lane: &LaneUse) -> Value {
    json!({
        "lane": lane.lane,
        "seatsInUse": lane.seats_in_use,
        "seats": lane.seats,
        "waiting": lane.waiting,
        "answerBytes": lane.answer_bytes,
        "admitted": lane.admitted,
        "refused": lane.refused,
    })
}

fn alarm_text(alarm: &Alarm) -> String {
    let whom = if alarm.member.is_empty() {
        "the whole cluster".to_owned()
    } else {
        alarm.member.clone()
    };
    format!(
        "\nALARM {}: {whom}: {}\n  remedy: {}\n",
        alarm.kind, alarm.cause, alarm.remedy
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
                "lanes": m.lanes.iter().map(lane_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    let alarms: Vec<Value> = status
        .alarms
        .iter()
        .map(|alarm| {
            json!({
                "kind": alarm.kind,
                "memberId": alarm.member_id,
                "member": alarm.member,
                "cause": alarm.cause,
                "remedy": alarm.remedy,
            })
        })
        .collect();
    json!({
        "clusterId": status.cluster_id,
        "leaderId": status.leader_id,
        "term": status.term,
        "members": members,
        "alarms": alarms,
    })
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
            alarms: vec![Alarm {
                kind: "Corrupt".to_owned(),
                member_id: 2,
                member: "server-2".to_owned(),
                cause: "its log is damaged".to_owned(),
                remedy: "`trireme cluster replace server-2`".to_owned(),
            }],
        };
        expect![[r#"
            Cluster c, leader server-1, term 3

            ALARM Corrupt: server-2: its log is damaged
              remedy: `trireme cluster replace server-2`

            ID   NAME       ADDRESS          PROCESS   ROLE      REVISION   HEALTH
            1    server-1   127.0.0.1:6441   100       Leader    7          Healthy
            2    server-2   127.0.0.1:6442   -         Unknown   -          Unreachable: connection refused
        "#]]
        .assert_eq(&status_text(&status, false));
        assert_eq!(to_json(&status)["members"][0]["processId"], 100);
    }
}
