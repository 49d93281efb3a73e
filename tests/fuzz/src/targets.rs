//! The one list of what is fuzzed: a name, what it decodes, and a function of any bytes.
//!
//! A function asserts what must hold whatever the bytes are, and says whether it accepted them. That it ends, does not panic
//! and holds no more memory than its bound is asserted for all of them by the runner.

mod api;
mod machine;
mod owners;
mod snapshot;

use trireme_control_plane::fuzz as server;
use trireme_store::fuzz as store;

/// Something that decodes bytes from outside.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// What it decodes.
    pub about: &'static str,
    /// Decodes; whether the bytes were accepted.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that real encodings make.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that its language has, to be put into inputs.
    pub words: &'static [&'static str],
    /// The most memory that it may hold at once: in bytes, and in bytes for each byte of input.
    pub memory: (usize, usize),
}

impl Target {
    /// The most memory that it may hold at once with an input of `length` bytes.
    #[must_use]
    pub fn memory_of(&self, length: usize) -> usize {
        self.memory.0 + self.memory.1 * length
    }
}

const REQUEST_WORDS: &[&str] = &[
    "%2F",
    "%00",
    "%ff",
    "+",
    "&watch=1",
    "&limit=",
    "&resourceVersion=",
    "&resourceVersionMatch=Exact",
    "&fieldSelector=metadata.name%3D",
    "&labelSelector=a+notin+(b)",
    "/namespaces/",
    "/status",
    "/proxy/",
    "/watch/",
    "..",
    ";q=0.",
    ";as=Table;v=v1;g=meta.k8s.io",
    "*/*",
    "\n",
];
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

macro_rules! target {
    ($name:literal, $about:literal, $run:expr, $seeds:expr, $memory:expr) => {
        target!($name, $about, $run, $seeds, $memory, &[])
    };
    ($name:literal, $about:literal, $run:expr, $seeds:expr, $memory:expr, $words:expr) => {
        Target {
            name: $name,
            about: $about,
            run: $run,
            seeds: $seeds,
            words: $words,
            memory: $memory,
        }
    };
}

/// Every target.
pub static ALL: &[Target] = &[
    target!(
        "command",
        "a command of the state machine, as the log holds it",
        machine::command,
        machine::command_seeds,
        (16 * KIB, 128)
    ),
    target!(
        "apply",
        "commands, applied by two replicas in different chunks",
        machine::apply,
        machine::apply_seeds,
        (64 * MIB, 4 * KIB)
    ),
    target!(
        "outcome",
        "the leader's answer to a command",
        machine::outcome,
        machine::outcome_seeds,
        (16 * KIB, 256)
    ),
    target!(
        "stored-row",
        "a version of a key, the keys of all tables, and the state's own row",
        machine::stored_row,
        machine::stored_row_seeds,
        (16 * KIB, 64)
    ),
    target!(
        "snapshot",
        "the stream of a whole state",
        snapshot::stream,
        snapshot::seeds,
        (4 * MIB, 256)
    ),
    target!(
        "backup",
        "a backup file, and the snapshot in it",
        snapshot::backup,
        snapshot::backup_seeds,
        (8 * MIB, 512)
    ),
    target!(
        "log-frame",
        "a frame of the Raft log: votes, checkpoints, entries",
        store::log_frame,
        store::log_frame_seeds,
        (16 * KIB, 32)
    ),
    target!(
        "log-record",
        "the record of a log entry, on disk and between servers",
        store::log_record,
        store::log_record_seeds,
        (16 * KIB, 256)
    ),
    target!(
        "log-recovery",
        "the Raft log's files, as a server finds them when it starts",
        store::log_recovery,
        store::log_recovery_seeds,
        (2 * MIB, 64)
    ),
    target!(
        "membership",
        "the membership as the state holds it",
        store::stored_membership,
        store::stored_membership_seeds,
        (16 * KIB, 256)
    ),
    target!(
        "peer",
        "a message of another server",
        store::peer_message,
        store::peer_message_seeds,
        (64 * KIB, 256)
    ),
    target!(
        "etcd",
        "a request of etcd's API",
        store::etcd_request,
        store::etcd_request_seeds,
        (64 * KIB, 256)
    ),
    target!(
        "join-token",
        "a join token",
        api::join_token,
        api::join_token_seeds,
        (4 * KIB, 32)
    ),
    target!(
        "object-json",
        "an object of any kind, as JSON",
        api::object_json,
        api::object_json_seeds,
        (MIB, 2 * KIB),
        api::JSON_WORDS
    ),
    target!(
        "object-protobuf",
        "an object of any kind, as Protocol Buffers",
        api::object_protobuf,
        api::object_protobuf_seeds,
        (MIB, 2 * KIB)
    ),
    target!(
        "patch",
        "a patch of any form, and the object it is for",
        api::patch,
        api::patch_seeds,
        (16 * MIB, 2 * KIB),
        api::JSON_WORDS
    ),
    target!(
        "configuration",
        "a configuration that is applied, and the object it is for",
        owners::configuration,
        owners::configuration_seeds,
        (16 * MIB, 4 * KIB),
        api::JSON_WORDS
    ),
    target!(
        "managed-fields",
        "the set of fields that somebody owns",
        owners::managed_fields,
        owners::managed_fields_seeds,
        (64 * KIB, 512),
        api::JSON_WORDS
    ),
    target!(
        "rest-body",
        "the body of a create over REST, in JSON, YAML and Protocol Buffers",
        server::rest_body,
        server::rest_body_seeds,
        (96 * MIB, 4 * KIB),
        api::YAML_WORDS
    ),
    target!(
        "rest-request",
        "what a request over REST asks for: path, parameters, media types",
        server::rest_request,
        server::rest_request_seeds,
        (256 * KIB, 256),
        REQUEST_WORDS
    ),
    target!(
        "continue-token",
        "where the next page of a list begins",
        server::continue_token,
        server::continue_token_seeds,
        (16 * KIB, 64)
    ),
    target!(
        "manifest",
        "YAML documents, as people write them",
        api::manifest,
        api::manifest_seeds,
        (192 * MIB, 2 * KIB),
        api::YAML_WORDS
    ),
    target!(
        "quantity",
        "an amount of a resource",
        api::quantity,
        api::quantity_seeds,
        (4 * KIB, 32),
        api::QUANTITY_WORDS
    ),
    target!(
        "selector",
        "a selector of labels, and one of fields",
        api::selector,
        api::selector_seeds,
        (64 * KIB, 256),
        api::SELECTOR_WORDS
    ),
    target!("time", "a time of day", api::time, api::time_seeds, (4 * KIB, 32)),
];

/// The target of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
