//! `token`: join tokens.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use trireme_client::Link;
use trireme_proto::v1::cluster_client::ClusterClient;
use trireme_proto::v1::{CreateTokenRequest, JoinRole, ListTokensRequest, RevokeTokenRequest, TokenInfo};

use crate::duration;
use crate::output::table::Table;
use crate::output::{Format, OutputArgs, print, say};
use crate::session::Session;

/// Flags of `token`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme token create --role node
  trireme token create --role server --ttl 1h --description 'for oar-3'
  trireme token list
  trireme token revoke 7f3k2m")]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: Verb,
}

/// Who may join.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Server,
    Node,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and print it; it is shown only now
    Create {
        /// Who may join with it
        #[arg(long, value_enum)]
        role: Role,
        /// How long it is valid
        #[arg(long, default_value = "24h", value_parser = duration::parse, value_name = "DURATION")]
        ttl: Duration,
        /// A note
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// List the tokens, without their secrets
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a token useless at once
    Revoke {
        /// Its id, or the token itself
        id: String,
    },
}

/// Runs the verb.
pub(crate) async fn run(args: TokenArgs, session: &Session) -> Result<()> {
    match args.verb {
        Verb::Create { role, ttl, description } => {
            let role = match role {
                Role::Server => JoinRole::Server,
                Role::Node => JoinRole::Node,
            };
            let request = CreateTokenRequest {
                role: role.into(),
                ttl_seconds: ttl.as_secs().max(1),
                description,
            };
            let call = |link: Link| {
                let request = request.clone();
                async move { ClusterClient::new(link.channel).create_token(request).await }
            };
            say(session.client.write(call).await?.token)
        }
        Verb::List { output } => {
            let call =
                |link: Link| async move { ClusterClient::new(link.channel).list_tokens(ListTokensRequest {}).await };
            show(&session.client.read(call).await?.tokens, &output.format())
        }
        Verb::Revoke { id } => {
            let id = id.parse::<trireme_client::token::Token>().map_or(id, |token| token.id);
            let call = |link: Link| {
                let request = RevokeTokenRequest { id: id.clone() };
                async move { ClusterClient::new(link.channel).revoke_token(request).await }
            };
            session.client.write(call).await?;
            say(format!("token/{id} revoked"))
        }
    }
}

fn show(tokens: &[TokenInfo], format: &Format) -> Result<()> {
    let role = |token: &TokenInfo| match token.role() {
        JoinRole::Server => "server",
        JoinRole::Node => "node",
        JoinRole::Unspecified => "none",
    };
    let time = |token: &TokenInfo| {
        jiff::Timestamp::from_second(token.expires_at_seconds)
            .map(|t| t.to_string())
            .unwrap_or_default()
    };
    if *format == Format::Json {
        let one =
            |t: &TokenInfo| json!({"id": t.id, "role": role(t), "expiresAt": time(t), "description": t.description});
        let all: Vec<Value> = tokens.iter().map(one).collect();
        return print(&format!("{:#}\n", Value::Array(all)));
    }
    let mut table = Table::new(["Id", "Role", "Expires", "Description"]);
    let now = jiff::Timestamp::now().as_second();
    for token in tokens {
        let left = token.expires_at_seconds - now;
        let expires = if left > 0 {
            format!("in {}", duration::human(left))
        } else {
            "expired".to_owned()
        };
        table.row([token.id.as_str(), role(token), &expires, &token.description]);
    }
    print(&table.render(true))
}
