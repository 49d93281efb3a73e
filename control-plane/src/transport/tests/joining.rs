//! Joining, tokens, members and renewal, as a joining program sees them.

use trireme_client::{
    ApiError, ClientError, JoinError, JoinParams, Joined, join,
    join::renew,
    token::{CaDigest, Token, TokenRole},
};
use trireme_proto::{
    api::core::v1::Node,
    v1::{
        CreateTokenRequest, JoinRole, ListTokensRequest, PromoteMemberRequest, RevokeTokenRequest,
        cluster_client::ClusterClient,
    },
};

use super::*;
use crate::pki::certificate_expiry;

async fn cluster(client: &Client) -> ClusterClient<tonic::transport::Channel> {
    client.cluster().await.expect("connected").0
}

async fn make_token(server: &TestServer, role: JoinRole) -> Token {
    let request = CreateTokenRequest {
        role: role as i32,
        ttl_seconds: 60,
        description: "test".to_owned(),
    };
    let answer = cluster(&server.admin())
        .await
        .create_token(request)
        .await
        .expect("made")
        .into_inner();
    answer.token.parse().expect("a token")
}

fn params(server: &TestServer, token: Token, name: &str) -> JoinParams {
    let is_server = token.role == TokenRole::Server;
    let address = |port: u16| {
        if is_server {
            format!("127.0.0.1:{port}")
        } else {
            String::new()
        }
    };
    JoinParams {
        servers: vec![server.address.clone()],
        role: token.role,
        token,
        name: name.to_owned(),
        api_address: address(16443),
        peer_address: address(16444),
        subject_alt_names: vec![],
    }
}

fn as_client(server: &TestServer, joined: &Joined) -> Client {
    server.client_as(&joined.ca_pem, Some(joined.identity.clone()))
}

fn refusal(outcome: Result<Joined, JoinError>) -> ApiError {
    match outcome {
        Err(JoinError::Call(ClientError::Api(error))) => *error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_joins_and_is_that_node() {
    let server = TestServer::start().await;
    let token = make_token(&server, JoinRole::Node).await;
    let joined = join(params(&server, token, "n1")).await.expect("joined");
    assert_eq!(joined.cluster_id, "test-cluster");
    assert_eq!(joined.servers, std::slice::from_ref(&server.address));
    assert!(joined.ca_key_pem.is_empty(), "a node never sees the CA's key");
    let client = as_client(&server, &joined);
    let nodes = trireme_client::Api::<Node>::all(&client);
    let own = nodes.get("n1").await.expect_err("not registered yet");
    assert!(own.is_not_found(), "{own}");
    let other = nodes.get("n2").await.expect_err("not its own");
    assert_eq!(other.api().expect("refused").reason, "Forbidden");

    let renewed = renew(&client).await.expect("renewed");
    let (before, after) = (
        certificate_expiry(&joined.identity.cert_pem).expect("dates"),
        certificate_expiry(&renewed.cert_pem).expect("dates"),
    );
    assert!(after.1 >= before.1);
    let renewed = server.client_as(&joined.ca_pem, Some(renewed));
    assert!(
        trireme_client::Api::<Node>::all(&renewed)
            .get("n1")
            .await
            .expect_err("the same node")
            .is_not_found()
    );
}

#[tokio::test]
async fn a_server_joins_as_a_learner_and_is_promoted() {
    let server = TestServer::start().await;
    let token = make_token(&server, JoinRole::Server).await;
    let joined = join(params(&server, token.clone(), "s2")).await.expect("joined");
    assert_eq!(joined.server_id, 2);
    let authority = CertificateAuthority::from_pem(&joined.ca_pem, &joined.ca_key_pem).expect("the CA itself");
    assert_eq!(authority.digest(), token.ca_digest);
    assert!(!server.control.members()[1].voter);

    // Trying again after a crash takes the learner's place; a voter's place is taken.
    let again = join(params(&server, token.clone(), "s2")).await.expect("joined");
    assert_eq!(again.server_id, 3);
    let ids: Vec<u64> = server.control.members().iter().map(|member| member.id).collect();
    assert_eq!(ids, [1, 3]);
    let client = as_client(&server, &again);
    cluster(&client)
        .await
        .promote_member(PromoteMemberRequest { id: 3 })
        .await
        .expect("promoted");
    let error = refusal(join(params(&server, token.clone(), "s2")).await);
    assert_eq!(error.reason, "Conflict");
    assert!(error.message.contains("trireme cluster remove 3"), "{error}");
    let error = refusal(join(params(&server, token, "s3")).await);
    assert!(
        error
            .message
            .contains("the peer address of server \"s3\" belongs to server 3"),
        "{error}"
    );

    let status = client.cluster_status().await.expect("status");
    assert_eq!((status.leader_id, status.term, status.members.len()), (1, 3, 2));
    let (own, other) = (&status.members[0], &status.members[1]);
    assert_eq!((own.role.as_str(), own.health.as_str()), ("Leader", "Healthy"));
    assert_eq!(own.process_id, i64::from(std::process::id()));
    assert_eq!((other.role.as_str(), other.health.as_str()), ("Unknown", "Unreachable"));
    assert!(
        other.health_message.contains("connection refused"),
        "{}",
        other.health_message
    );
}

#[tokio::test]
async fn a_bad_token_lets_nobody_in_and_says_why() {
    let server = TestServer::start().await;
    let token = make_token(&server, JoinRole::Node).await;

    let elsewhere = Token {
        ca_digest: CaDigest::of_der(b"other"),
        ..token.clone()
    };
    let error = join(params(&server, elsewhere, "n1"))
        .await
        .expect_err("another cluster's");
    assert!(matches!(error, JoinError::WrongCluster { .. }), "{error}");

    let guessed = Token {
        secret: "0".repeat(48),
        ..token.clone()
    };
    let error = refusal(join(params(&server, guessed, "n1")).await);
    assert_eq!(error.reason, "Unauthorized");
    assert!(error.message.contains("not known to this cluster"), "{error}");

    let dressed_up = Token {
        role: TokenRole::Server,
        ..token.clone()
    };
    let error = refusal(join(params(&server, dressed_up, "s2")).await);
    assert_eq!(error.reason, "Forbidden");
    assert!(error.message.contains("is for a node, not for a server"), "{error}");

    let error = refusal(join(params(&server, token.clone(), "Not_A_Name")).await);
    assert_eq!(error.reason, "BadRequest");

    let mut admin = cluster(&server.admin()).await;
    assert_eq!(
        admin
            .list_tokens(ListTokensRequest {})
            .await
            .expect("listed")
            .into_inner()
            .tokens
            .len(),
        1
    );
    admin
        .revoke_token(RevokeTokenRequest { id: token.id.clone() })
        .await
        .expect("revoked");
    let error = refusal(join(params(&server, token, "n1")).await);
    assert!(error.message.contains("has been revoked"), "{error}");
    let error = admin
        .revoke_token(RevokeTokenRequest { id: "none".to_owned() })
        .await
        .expect_err("unknown");
    assert_eq!(error.code(), tonic::Code::NotFound);
    assert_eq!(server.control.members().len(), 1, "nothing was changed");
}

#[tokio::test]
async fn a_removed_server_cannot_renew() {
    let server = TestServer::start().await;
    let token = make_token(&server, JoinRole::Server).await;
    let joined = join(params(&server, token, "s2")).await.expect("joined");
    let client = as_client(&server, &joined);
    renew(&client).await.expect("still a member");
    server.control.remove(joined.server_id).await.expect("removed");
    let error = renew(&client).await.expect_err("gone");
    assert!(
        error.to_string().contains("no member of this cluster any more"),
        "{error}"
    );
}
