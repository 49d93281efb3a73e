//! Join tokens: how they are written, read and shown. Not how they are stored or checked.
//!
//! `trireme.<role>.<digest>.<id>.<secret>`: the role that may join, the SHA-256 of the CA certificate's DER in
//! hexadecimal, the token's public id, and its secret. The digest lets a joining program know the
//! cluster it reaches before it says the secret.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// First part of every token.
const PREFIX: &str = "trireme";

/// Longest id or secret, in bytes.
const PART_MAX_BYTES: usize = 128;

/// Who may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenRole {
    /// A server.
    Server,
    /// A node agent.
    Node,
}

impl TokenRole {
    /// As it stands in a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaDigest([u8; 32]);

impl CaDigest {
    /// The digest of a certificate in DER.
    #[must_use]
    pub fn of_der(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The digest of the first certificate in a PEM text, if there is one.
    #[must_use]
    pub fn of_pem(pem: &str) -> Option<Self> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        Some(Self::of_der(&der))
    }
}

impl fmt::Display for CaDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CaDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaDigest({self})")
    }
}

impl FromStr for CaDigest {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| TokenError::Digest)?;
        Ok(Self(bytes))
    }
}

/// A join token. `Debug` hides the secret; [`fmt::Display`] writes the whole token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Who may join.
    pub role: TokenRole,
    /// The cluster's CA.
    pub ca_digest: CaDigest,
    /// The public id: lower-case letters and digits.
    pub id: String,
    /// The secret: letters and digits.
    pub secret: String,
}

/// Why a text is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not five parts, or the first is not `trireme`.
    #[error("a join token reads trireme.<role>.<digest>.<id>.<secret>, and this does not")]
    Shape,
    /// The role is unknown.
    #[error("the token's role is {0:?}, and only \"server\" and \"node\" exist")]
    Role(String),
    /// The digest is not 64 hexadecimal digits.
    #[error("the token's CA digest is not 64 hexadecimal digits")]
    Digest,
    /// The id or the secret is empty, too long, or has other characters than letters and digits.
    #[error("the token's {0} must be 1 to {PART_MAX_BYTES} letters and digits")]
    Part(&'static str),
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [PREFIX, role, digest, id, secret] = parts[..] else {
            return Err(TokenError::Shape);
        };
        let role = match role {
            "server" => TokenRole::Server,
            "node" => TokenRole::Node,
            other => return Err(TokenError::Role(other.to_owned())),
        };
        for (name, part) in [("id", id), ("secret", secret)] {
            let plain = part.bytes().all(|b| b.is_ascii_alphanumeric());
            if part.is_empty() || part.len() > PART_MAX_BYTES || !plain {
                return Err(TokenError::Part(name));
            }
        }
        Ok(Self {
            role,
            ca_digest: digest.parse()?,
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}.{}.{}.{}.{}",
            self.role, self.ca_digest, self.id, self.secret
        )
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}.{}.<secret>)", self.role, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Token {
        Token {
            role: TokenRole::Node,
            ca_digest: CaDigest::of_der(b"certificate"),
            id: "abc123".to_owned(),
            secret: "S3cretS3cret".to_owned(),
        }
    }

    #[test]
    fn round_trip() {
        let token = sample();
        assert_eq!(token.to_string().parse::<Token>(), Ok(token.clone()));
        assert_eq!(format!("  {token}\n").parse::<Token>(), Ok(token));
    }

    #[test]
    fn debug_hides_the_secret() {
        assert!(!format!("{:?}", sample()).contains("S3cret"));
    }

    #[test]
    fn refusals_name_the_part() {
        let digest = CaDigest::of_der(b"certificate");
        let check = |text: String, expected: TokenError| assert_eq!(text.parse::<Token>(), Err(expected), "{text}");
        check(String::new(), TokenError::Shape);
        check(format!("trireme.node.{digest}.id"), TokenError::Shape);
        check(format!("galley.node.{digest}.id.secret"), TokenError::Shape);
        check(format!("trireme.node.{digest}.id.secret.more"), TokenError::Shape);
        check(
            format!("trireme.admin.{digest}.id.secret"),
            TokenError::Role("admin".to_owned()),
        );
        check("trireme.node.abcd.id.secret".to_owned(), TokenError::Digest);
        check(format!("trireme.node.{digest}..secret"), TokenError::Part("id"));
        check(format!("trireme.node.{digest}.id.se-cret"), TokenError::Part("secret"));
        let long = "x".repeat(PART_MAX_BYTES + 1);
        check(format!("trireme.node.{digest}.id.{long}"), TokenError::Part("secret"));
    }
}
