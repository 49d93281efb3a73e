//! What the program's end means: the one table of exit codes, and the error that carries one with its remedy.

use trireme_client::{ApiError, ClientError, ConfigError, JoinError, KubeconfigError};

/// Exit codes. Scripts rely on them: a number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    Other = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// What was waited for did not come in time.
    Timeout = 3,
    /// The object or the kind does not exist.
    NotFound = 4,
    /// The object changed meanwhile, or exists already.
    Conflict = 5,
    /// The input or the object is against the rules, or too large.
    Invalid = 6,
    /// The credentials are missing, expired, or not allowed to do this.
    Forbidden = 7,
    /// No server can be reached, or the cluster cannot answer; nothing was changed.
    Unavailable = 8,
    /// The request was sent and its outcome is not known.
    UnknownOutcome = 9,
    /// Something on this machine is in the way: a file, a port, a process.
    Local = 10,
    /// The server, the data directory or the token belongs to another cluster.
    WrongCluster = 11,
}

/// The table for `--help` and the documentation.
pub(crate) const EXIT_CODES: &[(Exit, &str)] = &[
    (Exit::Other, "another failure"),
    (Exit::Usage, "the command line makes no sense"),
    (Exit::Timeout, "what was waited for did not come in time"),
    (Exit::NotFound, "the object or the kind does not exist"),
    (Exit::Conflict, "the object changed meanwhile, or exists already"),
    (Exit::Invalid, "the input is against the rules, or too large"),
    (Exit::Forbidden, "not authenticated, or not allowed"),
    (Exit::Unavailable, "no server can be reached; nothing was changed"),
    (
        Exit::UnknownOutcome,
        "the request was sent, and its outcome is not known",
    ),
    (Exit::Local, "a file, port or process on this machine is in the way"),
    (
        Exit::WrongCluster,
        "the server, data directory or token belongs to another cluster",
    ),
];

/// A failure with its exit code, and the way out of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// One line.
    pub(crate) message: String,
    /// What to do about it; may be empty.
    pub(crate) help: String,
}

impl Failure {
    /// A failure without a remedy.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            help: String::new(),
        }
    }

    /// Adds the remedy.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// A mistake in the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The failure that an error chain stands for. Context that was wrapped around it stays in front.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let mut found = error.chain().find_map(known);
        let line = one_line(error);
        match &mut found {
            Some(failure) => {
                let wrapped = error.chain().next().is_some_and(|outer| known(outer).is_none());
                if wrapped {
                    failure.message = line;
                }
                failure.clone()
            }
            None => Self::new(Exit::Other, line),
        }
    }
}

/// An error and its causes in one line, without repetitions.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let mut text = cause.to_string();
        // Rust's number of a system error says nothing that the words before it do not.
        if let Some(end) = text.find(" (os error ") {
            text.truncate(end);
        }
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line
}

fn known(error: &(dyn std::error::Error + 'static)) -> Option<Failure> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.clone());
    }
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return Some(of_client(error));
    }
    if let Some(error) = error.downcast_ref::<trireme_client::ConnectError>() {
        return Some(of_connect(error));
    }
    if let Some(error) = error.downcast_ref::<JoinError>() {
        return Some(of_join(error));
    }
    if let Some(error) = error.downcast_ref::<KubeconfigError>() {
        return Some(of_kubeconfig(error));
    }
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        return Some(Failure::new(Exit::Usage, error.to_string()));
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        let message = error.to_string();
        let end = message.find(" (os error ").unwrap_or(message.len());
        return Some(Failure::new(Exit::Local, &message[..end]));
    }
    None
}

fn of_client(error: &ClientError) -> Failure {
    match error {
        ClientError::Api(error) => of_api(error),
        ClientError::Connect(error) => of_connect(error),
        ClientError::Unavailable { .. } => Failure::new(Exit::Unavailable, error.to_string())
            .help("nothing was changed; see `trireme cluster status`, and try again"),
        ClientError::UnknownOutcome { .. } => Failure::new(Exit::UnknownOutcome, error.to_string())
            .help("the change may have been made: look with `trireme get` before you repeat it"),
        ClientError::Decode(_) => Failure::new(Exit::Other, error.to_string())
            .help("the server and this program may be of different versions; see `trireme version`"),
    }
}

fn of_connect(error: &trireme_client::ConnectError) -> Failure {
    let help = if error.untrusted {
        "the server does not accept this certificate, or is of another cluster; check KUBECONFIG and --server"
    } else {
        "check that the servers run and that KUBECONFIG or --server names the right addresses"
    };
    let exit = if error.untrusted {
        Exit::Forbidden
    } else {
        Exit::Unavailable
    };
    Failure::new(exit, error.to_string()).help(help)
}

fn of_api(error: &ApiError) -> Failure {
    let (exit, help) = match error.reason.as_str() {
        "NotFound" => (Exit::NotFound, ""),
        "AlreadyExists" => (Exit::Conflict, "change it with `trireme apply`, or delete it first"),
        // Others, such as a change of the servers that makes no sense now, say themselves what to do.
        "Conflict" if !error.message.starts_with("Operation cannot be fulfilled") => (Exit::Conflict, ""),
        "Conflict" => (
            Exit::Conflict,
            "read the object again and repeat the change on its latest version",
        ),
        "Invalid" | "BadRequest" => (
            Exit::Invalid,
            "correct the named field; `trireme explain` documents the fields",
        ),
        "RequestEntityTooLarge" => (Exit::Invalid, "make the object smaller, or split it"),
        "Unauthorized" => (
            Exit::Forbidden,
            "use valid credentials: check KUBECONFIG, or make a new join token",
        ),
        "Forbidden" => (Exit::Forbidden, "use credentials of a role that may do this"),
        "Expired" | "Gone" => (Exit::Conflict, "start over without the old resource version"),
        "MethodNotAllowed" => (Exit::Usage, "see `trireme api-resources` for what this kind supports"),
        "Timeout" | "ServerTimeout" => (Exit::UnknownOutcome, "look with `trireme get` before you repeat it"),
        "TooManyRequests" | "ServiceUnavailable" => (Exit::Unavailable, "try again shortly"),
        _ => (Exit::Other, ""),
    };
    Failure::new(exit, error.message.replace('\n', " ")).help(help)
}

fn of_join(error: &JoinError) -> Failure {
    match error {
        JoinError::WrongCluster { .. } => Failure::new(Exit::WrongCluster, error.to_string())
            .help("use the address of a server of the cluster that made the token, or a token of this cluster"),
        JoinError::WrongRole { wanted, .. } => Failure::new(Exit::Forbidden, error.to_string())
            .help(format!("make one with `trireme token create --role {wanted}`")),
        JoinError::Config(error) => Failure::new(Exit::Usage, error.to_string()),
        JoinError::Request(_) => Failure::new(Exit::Other, error.to_string()),
        JoinError::Call(ClientError::Api(error)) => {
            let failure = of_api(error);
            if failure.exit == Exit::Forbidden {
                failure.help("the token may have expired or been revoked: make one with `trireme token create`")
            } else {
                failure
            }
        }
        JoinError::Call(error) => of_client(error),
    }
}

fn of_kubeconfig(error: &KubeconfigError) -> Failure {
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        message = format!("{message}: {source}");
        message.truncate(message.find(" (os error ").unwrap_or(message.len()));
    }
    let exit = match error {
        KubeconfigError::Read { .. } | KubeconfigError::Write { .. } => Exit::Local,
        KubeconfigError::TooLarge { .. } | KubeconfigError::Syntax { .. } | KubeconfigError::Missing(_) => {
            Exit::Invalid
        }
    };
    Failure::new(exit, message).help("set KUBECONFIG, or pass --kubeconfig FILE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_table_is_complete_and_in_order() {
        let codes: Vec<u8> = EXIT_CODES.iter().map(|(exit, _)| *exit as u8).collect();
        assert_eq!(codes, (1..=11).collect::<Vec<u8>>());
    }

    #[test]
    fn causes_decide_the_code() {
        let api = |reason: &str| {
            let status = tonic::Status::not_found("pods \"x\" not found");
            let mut error = ApiError::from_status(&status);
            error.reason = reason.to_owned();
            ClientError::Api(Box::new(error))
        };
        let check = |error: anyhow::Error, expected: Exit| assert_eq!(Failure::of(&error).exit, expected, "{error:#}");
        check(api("NotFound").into(), Exit::NotFound);
        check(api("Conflict").into(), Exit::Conflict);
        check(api("AlreadyExists").into(), Exit::Conflict);
        check(api("Invalid").into(), Exit::Invalid);
        check(api("Forbidden").into(), Exit::Forbidden);
        check(
            ClientError::UnknownOutcome { message: String::new() }.into(),
            Exit::UnknownOutcome,
        );
        check(
            ClientError::Unavailable { message: String::new() }.into(),
            Exit::Unavailable,
        );
        check(Failure::usage("x").into(), Exit::Usage);
        check(std::io::Error::other("x").into(), Exit::Local);
        check(anyhow::anyhow!("x"), Exit::Other);
        let wrapped = Err::<(), _>(api("NotFound"))
            .context("hello.yaml, document 2")
            .expect_err("it is an error");
        let failure = Failure::of(&wrapped);
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.message, "hello.yaml, document 2: pods \"x\" not found");
    }
}
