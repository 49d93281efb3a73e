//! Join tokens: made, listed, revoked and checked. The store holds only a hash of the secret.
//!
//! An ended token is remembered for a while, so that whoever still uses it learns why it does not work.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use trireme_client::token::{CaDigest, Token, TokenRole};
use trireme_store::kv::{
    Compare, CompareResult, CompareTarget, Consistency, KeyRange, KeyValue, Kv, KvError, Op, RangeRequest, Txn,
};

use crate::{environment::Environment, limits};

const PREFIX: &str = "/trireme/tokens/";

/// The tokens of one cluster.
pub struct TokenStore {
    kv: Arc<dyn Kv>,
    environment: Environment,
    ca_digest: CaDigest,
}

/// What a new token should be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Who may join with it.
    pub role: TokenRole,
    /// How long it is valid; zero for [`limits::TOKEN_TTL_DEFAULT`].
    pub ttl: Duration,
    /// A note for people.
    pub description: String,
}

/// What may be known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSummary {
    /// Its id.
    pub id: String,
    /// Who may join with it.
    pub role: TokenRole,
    /// When it ends, in seconds since 1970.
    pub expires_at_seconds: i64,
    /// A note for people.
    pub description: String,
}

/// Why a token does not let anyone in, or could not be handled.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It was made for another cluster.
    #[error(
        "the join token was made for another cluster (its CA digest is {token}, this cluster's is {cluster}); use a token of this cluster: `trireme token create`"
    )]
    WrongCluster {
        /// The digest in the token.
        token: CaDigest,
        /// This cluster's.
        cluster: CaDigest,
    },
    /// No such token, or its secret is wrong.
    #[error("the join token is not known to this cluster; make a new one with `trireme token create --role {role}`")]
    Unknown {
        /// The role that was asked for.
        role: TokenRole,
    },
    /// It has ended.
    #[error("the join token expired at {expired_at}; make a new one with `trireme token create --role {role}`")]
    Expired {
        /// When.
        expired_at: jiff::Timestamp,
        /// Its role.
        role: TokenRole,
    },
    /// Somebody ended it.
    #[error("the join token has been revoked; make a new one with `trireme token create --role {role}`")]
    Revoked {
        /// Its role.
        role: TokenRole,
    },
    /// It is for another role.
    #[error(
        "the join token is for a {token}, not for a {wanted}; make one with `trireme token create --role {wanted}`"
    )]
    WrongRole {
        /// What it is for.
        token: TokenRole,
        /// What was asked for.
        wanted: TokenRole,
    },
    /// A wish for a new token breaks a limit.
    #[error("{0}")]
    Wish(String),
    /// There is no token of this id.
    #[error("there is no token {0:?}; `trireme token list` shows those there are")]
    NoSuchId(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] KvError),
}

/// A token as stored.
#[derive(Clone, PartialEq, Message)]
struct StoredToken {
    #[prost(bytes = "vec", tag = "1")]
    secret_sha256: Vec<u8>,
    #[prost(string, tag = "2")]
    role: String,
    #[prost(int64, tag = "3")]
    expires_at_seconds: i64,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(bool, tag = "5")]
    revoked: bool,
}

impl StoredToken {
    fn role(&self) -> Option<TokenRole> {
        [TokenRole::Server, TokenRole::Node]
            .into_iter()
            .find(|role| role.as_str() == self.role)
    }

    fn summary(&self, id: &str) -> Option<TokenSummary> {
        Some(TokenSummary {
            id: id.to_owned(),
            role: self.role()?,
            expires_at_seconds: self.expires_at_seconds,
            description: self.description.clone(),
        })
    }
}

impl TokenStore {
    /// The tokens of the cluster whose CA has this digest.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, environment: Environment, ca_digest: CaDigest) -> Self {
        Self {
            kv,
            environment,
            ca_digest,
        }
    }

    /// Makes a token. The secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`TokenError::Wish`], [`TokenError::Store`].
    pub async fn create(&self, new: NewToken) -> Result<(Token, TokenSummary), TokenError> {
        let ttl = if new.ttl.is_zero() {
            limits::TOKEN_TTL_DEFAULT
        } else {
            new.ttl
        };
        if ttl > limits::TOKEN_TTL_MAX {
            let days = limits::TOKEN_TTL_MAX.as_secs() / 86_400;
            return Err(TokenError::Wish(format!(
                "a token may be valid for at most {days} days"
            )));
        }
        if new.description.len() > limits::TOKEN_DESCRIPTION_MAX_BYTES {
            let limit = limits::TOKEN_DESCRIPTION_MAX_BYTES;
            return Err(TokenError::Wish(format!(
                "a token's description may have at most {limit} bytes"
            )));
        }
        let now_seconds = self.environment.timestamp().as_second();
        self.forget_ended(now_seconds).await?;
        let token = Token {
            role: new.role,
            ca_digest: self.ca_digest,
            id: hex::encode(self.environment.bytes::<{ limits::TOKEN_ID_BYTES }>()),
            secret: hex::encode(self.environment.bytes::<{ limits::TOKEN_SECRET_BYTES }>()),
        };
        let stored = StoredToken {
            secret_sha256: hash(&token.secret).to_vec(),
            role: new.role.as_str().to_owned(),
            expires_at_seconds: now_seconds.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
            description: new.description,
            revoked: false,
        };
        let summary = stored.summary(&token.id).expect("the role was just written");
        let put = self.replace(&token.id, 0, &stored);
        if !self.kv.txn(put, None).await?.succeeded {
            return Err(TokenError::Wish(
                "the token's random id is taken already; try again".to_owned(),
            ));
        }
        Ok((token, summary))
    }

    /// Every token that is still good, ordered by id.
    ///
    /// # Errors
    /// [`TokenError::Store`].
    pub async fn list(&self) -> Result<Vec<TokenSummary>, TokenError> {
        let now_seconds = self.environment.timestamp().as_second();
        let all = self.read_all().await?;
        let good = all
            .iter()
            .filter(|(_, stored, _)| !stored.revoked && stored.expires_at_seconds > now_seconds);
        Ok(good.filter_map(|(id, stored, _)| stored.summary(id)).collect())
    }

    /// Makes a token useless at once.
    ///
    /// # Errors
    /// [`TokenError::NoSuchId`], [`TokenError::Store`].
    pub async fn revoke(&self, id: &str) -> Result<(), TokenError> {
        loop {
            let Some((mut stored, revision)) = self.read(id).await? else {
                return Err(TokenError::NoSuchId(id.to_owned()));
            };
            if stored.revoked {
                return Ok(());
            }
            stored.revoked = true;
            if self.kv.txn(self.replace(id, revision, &stored), None).await?.succeeded {
                return Ok(());
            }
        }
    }

    /// Checks a token for a role. Reads through the leader, so that a revocation holds everywhere at once.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn verify(&self, token: &Token, wanted: TokenRole) -> Result<(), TokenError> {
        if token.ca_digest != self.ca_digest {
            return Err(TokenError::WrongCluster {
                token: token.ca_digest,
                cluster: self.ca_digest,
            });
        }
        let unknown = TokenError::Unknown { role: wanted };
        let Some((stored, _)) = self.read(&token.id).await? else {
            return Err(unknown);
        };
        // Nothing is said about a token to someone who does not know its secret.
        if !equal_in_constant_time(&stored.secret_sha256, &hash(&token.secret)) {
            return Err(unknown);
        }
        let Some(role) = stored.role() else {
            return Err(unknown);
        };
        if stored.revoked {
            return Err(TokenError::Revoked { role });
        }
        if stored.expires_at_seconds <= self.environment.timestamp().as_second() {
            let expired_at = jiff::Timestamp::from_second(stored.expires_at_seconds).unwrap_or_default();
            return Err(TokenError::Expired { expired_at, role });
        }
        // The role in the token's text is for people; the stored one counts.
        if role != wanted || token.role != wanted {
            return Err(TokenError::WrongRole { token: role, wanted });
        }
        Ok(())
    }

    async fn forget_ended(&self, now_seconds: i64) -> Result<(), TokenError> {
        let memory_seconds = i64::try_from(limits::TOKEN_MEMORY.as_secs()).unwrap_or(i64::MAX);
        for (id, stored, revision) in self.read_all().await? {
            if stored.expires_at_seconds.saturating_add(memory_seconds) < now_seconds {
                let delete = Op::Delete {
                    range: KeyRange::key(key(&id)),
                    prev_kv: false,
                };
                let compares = vec![unchanged(&id, revision)];
                self.kv
                    .txn(
                        Txn {
                            compares,
                            success: vec![delete],
                            failure: Vec::new(),
                        },
                        None,
                    )
                    .await?;
            }
        }
        Ok(())
    }

    fn replace(&self, id: &str, revision: i64, stored: &StoredToken) -> Txn {
        let value = Bytes::from(stored.encode_to_vec());
        Txn {
            compares: vec![unchanged(id, revision)],
            success: vec![Op::put(key(id), value)],
            failure: Vec::new(),
        }
    }

    async fn read(&self, id: &str) -> Result<Option<(StoredToken, i64)>, TokenError> {
        let request = RangeRequest::latest(KeyRange::key(key(id)));
        let answer = self.kv.range(request, Consistency::Linearizable).await?;
        Ok(answer
            .kvs
            .first()
            .and_then(decode)
            .map(|(_, stored, revision)| (stored, revision)))
    }

    async fn read_all(&self) -> Result<Vec<(String, StoredToken, i64)>, TokenError> {
        let request = RangeRequest::latest(KeyRange::prefix(PREFIX));
        let answer = self.kv.range(request, Consistency::Linearizable).await?;
        Ok(answer.kvs.iter().filter_map(decode).collect())
    }
}

fn key(id: &str) -> Bytes {
    Bytes::from(format!("{PREFIX}{id}"))
}

fn unchanged(id: &str, revision: i64) -> Compare {
    Compare {
        range: KeyRange::key(key(id)),
        result: CompareResult::Equal,
        target: CompareTarget::ModRevision(revision),
    }
}

fn decode(kv: &KeyValue) -> Option<(String, StoredToken, i64)> {
    let id = std::str::from_utf8(kv.key.strip_prefix(PREFIX.as_bytes())?).ok()?;
    Some((
        id.to_owned(),
        StoredToken::decode(kv.value.clone()).ok()?,
        kv.mod_revision,
    ))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Takes the same time wherever the two differ.
fn equal_in_constant_time(one: &[u8], two: &[u8]) -> bool {
    let differences = one
        .iter()
        .zip(two)
        .fold(0_u8, |differences, (a, b)| differences | (a ^ b));
    one.len() == two.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::environment::testing::{ManualClock, manual};

    fn tokens() -> (Arc<ManualClock>, TokenStore) {
        let (clock, environment) = manual();
        let kv = Arc::new(trireme_store::LocalKv::new());
        (clock, TokenStore::new(kv, environment, CaDigest::of_der(b"ca")))
    }

    async fn make(tokens: &TokenStore, role: TokenRole, ttl_seconds: u64) -> Token {
        let new = NewToken {
            role,
            ttl: Duration::from_secs(ttl_seconds),
            description: "note".to_owned(),
        };
        tokens.create(new).await.expect("made").0
    }

    #[tokio::test]
    async fn a_good_token_lets_its_role_in() {
        let (_, tokens) = tokens();
        for role in [TokenRole::Node, TokenRole::Server] {
            let token = make(&tokens, role, 60).await;
            tokens.verify(&token, role).await.expect("good");
        }
        assert_eq!(tokens.list().await.expect("listed").len(), 2);
    }

    #[tokio::test]
    async fn a_bad_token_says_what_is_wrong_and_what_to_do() {
        let (clock, tokens) = tokens();
        let token = make(&tokens, TokenRole::Node, 60).await;
        let refusal = async |token: &Token, role| tokens.verify(token, role).await.expect_err("refused").to_string();

        let wrong_role = refusal(&token, TokenRole::Server).await;
        assert!(wrong_role.contains("is for a node, not for a server"), "{wrong_role}");
        let dressed_up = Token {
            role: TokenRole::Server,
            ..token.clone()
        };
        let wrong_role = refusal(&dressed_up, TokenRole::Server).await;
        assert!(wrong_role.contains("is for a node, not for a server"), "{wrong_role}");
        for stranger in [
            Token {
                secret: "0".repeat(48),
                ..token.clone()
            },
            Token {
                id: "nobody".to_owned(),
                ..token.clone()
            },
        ] {
            let unknown = refusal(&stranger, TokenRole::Node).await;
            assert!(
                unknown.contains("not known") && unknown.contains("token create --role node"),
                "{unknown}"
            );
        }
        let elsewhere = Token {
            ca_digest: CaDigest::of_der(b"other"),
            ..token.clone()
        };
        let other_cluster = refusal(&elsewhere, TokenRole::Node).await;
        assert!(other_cluster.contains("made for another cluster"), "{other_cluster}");

        clock.0.fetch_add(61, Ordering::SeqCst);
        let expired = refusal(&token, TokenRole::Node).await;
        assert!(
            expired.contains("expired at 20") && expired.contains("token create"),
            "{expired}"
        );
        assert!(tokens.list().await.expect("listed").is_empty());
    }

    #[tokio::test]
    async fn a_revoked_token_is_useless_at_once() {
        let (_, tokens) = tokens();
        let token = make(&tokens, TokenRole::Node, 0).await;
        tokens.revoke(&token.id).await.expect("revoked");
        tokens.revoke(&token.id).await.expect("again is no failure");
        let error = tokens.verify(&token, TokenRole::Node).await.expect_err("refused");
        assert!(
            matches!(error, TokenError::Revoked { role: TokenRole::Node }),
            "{error}"
        );
        let error = tokens.revoke("none").await.expect_err("refused");
        assert!(matches!(error, TokenError::NoSuchId(_)), "{error}");
    }

    #[tokio::test]
    async fn the_store_does_not_hold_the_secret() {
        let (_, tokens) = tokens();
        let token = make(&tokens, TokenRole::Node, 0).await;
        let all = tokens
            .kv
            .range(
                RangeRequest::latest(KeyRange::prefix(PREFIX)),
                Consistency::Serializable,
            )
            .await;
        let value = &all.expect("read").kvs[0].value;
        assert!(
            !value
                .windows(token.secret.len())
                .any(|window| window == token.secret.as_bytes())
        );
    }

    #[tokio::test]
    async fn ended_tokens_are_forgotten_in_time() {
        let (clock, tokens) = tokens();
        make(&tokens, TokenRole::Node, 60).await;
        let memory = i64::try_from(limits::TOKEN_MEMORY.as_secs()).expect("fits");
        clock.0.fetch_add(memory + 61, Ordering::SeqCst);
        make(&tokens, TokenRole::Node, 60).await;
        assert_eq!(tokens.read_all().await.expect("read").len(), 1);
    }

    #[tokio::test]
    async fn wishes_have_limits() {
        let (_, tokens) = tokens();
        let new = |ttl, description: String| NewToken {
            role: TokenRole::Node,
            ttl,
            description,
        };
        let long = limits::TOKEN_TTL_MAX + Duration::from_secs(1);
        assert!(matches!(
            tokens.create(new(long, String::new())).await,
            Err(TokenError::Wish(_))
        ));
        let wordy = "x".repeat(limits::TOKEN_DESCRIPTION_MAX_BYTES + 1);
        assert!(matches!(
            tokens.create(new(Duration::ZERO, wordy)).await,
            Err(TokenError::Wish(_))
        ));
    }
}
