//! Every limit of the API's decisions, each with its unit.
//!
//! Numbers only: the code that keeps a limit names it from here, and a test beside that code meets it
//! (invariant I9).

/// The deepest nesting of JSON that is read: of objects, of patches, and of what a patch makes.
pub const JSON_DEPTH: usize = trireme_proto::limits::JSON_DEPTH_MAX;
/// The most values of JSON that is read: scalars, lists and objects. Some seven bytes of text can take several hundred of memory.
pub const JSON_VALUES: usize = 200_000;
/// The most messages of an object that is read, itself and everything in it.
pub const OBJECT_MESSAGES: usize = trireme_proto::limits::MESSAGES_MAX;
/// The most things that are told to be wrong with one object; further ones are dropped.
pub const FIELD_ERRORS: usize = 1_000;
/// The most operations of one JSON patch.
pub const PATCH_OPERATIONS: usize = 10_000;
/// The most bytes that the `copy` operations of one JSON patch may add together.
pub const PATCH_COPIED_BYTES: usize = 3 << 20;
/// The most bytes of a patch.
pub const PATCH_SIZE_BYTES: usize = 3 << 20;

/// The most entries of managers that update; the oldest of them are merged into one.
pub const UPDATE_MANAGERS: usize = 10;
/// The most bytes of a field manager's name.
pub const FIELD_MANAGER_BYTES: usize = 128;

/// The most bytes that the annotations of an object may have together, keys and values.
pub const ANNOTATIONS_SIZE_BYTES: usize = 256 << 10;
/// The most bytes of a DNS label: names of namespaces, containers, ports.
pub const DNS_LABEL_BYTES: usize = 63;
/// The most bytes of a DNS subdomain: most names.
pub const DNS_SUBDOMAIN_BYTES: usize = 253;
/// The most bytes of a label's value, and of the name part of its key.
pub const LABEL_BYTES: usize = 63;
/// The most bytes of a port's name.
pub const PORT_NAME_BYTES: usize = 15;
/// The most bytes of a key of a ConfigMap or Secret.
pub const DATA_KEY_BYTES: usize = 253;
/// The most bytes of the data of a ConfigMap or Secret.
pub const DATA_SIZE_BYTES: usize = 1 << 20;
/// The most bytes of a condition's message.
pub const CONDITION_MESSAGE_BYTES: usize = 32 << 10;
/// The most bytes of a condition's reason.
pub const CONDITION_REASON_BYTES: usize = 1024;
/// The most bytes of a cron job's name: its jobs have eleven more, and are labels.
pub const CRON_JOB_NAME_BYTES: usize = 52;
/// The most bytes of what an event says was being done, in its newer version.
pub const EVENT_ACTION_BYTES: usize = 128;
/// The most bytes of the name of the instance that reports an event, in its newer version.
pub const EVENT_REPORTER_BYTES: usize = 128;
/// The most bytes of an event's message.
pub const EVENT_MESSAGE_BYTES: usize = 1024;
/// The most bytes of an event's reason.
pub const EVENT_REASON_BYTES: usize = 128;
/// The most addresses of an EndpointSlice.
pub const ENDPOINTS_PER_SLICE: usize = 1000;
/// The most ports of an EndpointSlice.
pub const ENDPOINT_PORTS_PER_SLICE: usize = 20_000;
/// The most addresses of one endpoint.
pub const ADDRESSES_PER_ENDPOINT: usize = 100;
/// The most seconds of which an autoscaler may look at earlier findings.
pub const STABILIZATION_WINDOW_SECONDS: i32 = 3_600;
/// The most seconds of a period that a policy of an autoscaler is about.
pub const SCALING_PERIOD_SECONDS: i32 = 1_800;
/// The most pods that an indexed job may run at once.
pub const INDEXED_JOB_PARALLELISM: i32 = 100_000;
/// The most indexes of a job that may fail before it does.
pub const FAILED_INDEXES: i32 = 100_000;
/// A job with more completions than these, and a bound of failures for each index, has the two bounds below.
pub const MANY_COMPLETIONS: i32 = 100_000;
/// The most pods that a job of many completions may run at once.
pub const MANY_COMPLETIONS_PARALLELISM: i32 = 10_000;
/// The most indexes of a job of many completions that may fail before it does.
pub const MANY_COMPLETIONS_FAILED_INDEXES: i32 = 10_000;
/// The most rules about failed pods, and about success, of a job.
pub const JOB_POLICY_RULES: usize = 20;
/// The most exit codes of one rule.
pub const EXIT_CODES_PER_RULE: usize = 255;
/// The most conditions of one rule.
pub const CONDITIONS_PER_RULE: usize = 20;
/// The most bytes of the indexes of one rule about success.
pub const SUCCEEDED_INDEXES_BYTES: usize = 64 << 10;
/// The most bytes of the name of a job's controller.
pub const MANAGED_BY_BYTES: usize = 63;
/// The highest priority that a class of users may have.
pub const USER_PRIORITY: i32 = 1_000_000_000;
/// The most bytes of the name of an ingress class's controller.
pub const INGRESS_CONTROLLER_BYTES: usize = 250;
/// The most parameters of a storage class.
pub const STORAGE_PARAMETERS: usize = 512;
/// The most bytes of the parameters of a storage class together, keys and values.
pub const STORAGE_PARAMETERS_SIZE_BYTES: usize = 256 << 10;
/// The most bytes of a CSI driver's name.
pub const CSI_DRIVER_NAME_BYTES: usize = 63;
/// The most bytes of what a CSI driver calls a node.
pub const CSI_NODE_ID_BYTES: usize = 256;
/// The fewest seconds between two updates of how many volumes a node can have.
pub const NODE_ALLOCATABLE_UPDATE_SECONDS_MIN: i64 = 10;
/// The fewest seconds for which a token that a CSI driver is given is good.
pub const TOKEN_EXPIRATION_SECONDS_MIN: i64 = 600;
/// The most seconds for which a token that a CSI driver is given is good.
pub const TOKEN_EXPIRATION_SECONDS_MAX: i64 = 1 << 32;
/// The most bytes that a driver may say of an attached volume together, keys and values.
pub const ATTACHMENT_METADATA_SIZE_BYTES: usize = 256 << 10;
/// The most bytes of a message about a failure to attach or detach a volume.
pub const VOLUME_ERROR_MESSAGE_BYTES: usize = 1024;
/// The fewest seconds for which a certificate may be asked for.
pub const CERTIFICATE_SECONDS_MIN: i32 = 600;
/// The most bytes of a signer's name: a domain, a slash, a label, a dot and a subdomain.
pub const SIGNER_NAME_BYTES: usize = 571;
/// The most seconds of a service's client affinity.
pub const AFFINITY_TIMEOUT_SECONDS: i32 = 86_400;

/// Seconds a pod stays on a node that is not ready or unreachable, unless its tolerations say otherwise.
pub const DEFAULT_EVICTION_TOLERATION_SECONDS: i64 = 30;
/// Seconds a pod's containers have to end, unless the pod says otherwise.
pub const DEFAULT_TERMINATION_GRACE_PERIOD_SECONDS: i64 = 30;
/// Old states kept by a workload that does not say how many.
pub const DEFAULT_REVISION_HISTORY: i32 = 10;
/// Pods of a job that may fail before it does, unless it says otherwise.
pub const DEFAULT_BACKOFF_LIMIT: i32 = 6;
/// Jobs that succeeded, kept by a cron job that does not say how many.
pub const DEFAULT_SUCCESSFUL_JOBS_HISTORY: i32 = 3;
/// Jobs that failed, kept by a cron job that does not say how many.
pub const DEFAULT_FAILED_JOBS_HISTORY: i32 = 1;
/// The share of the processor time asked for that an autoscaler aims at unless it says otherwise, in percent.
pub const DEFAULT_CPU_UTILIZATION_PERCENT: i32 = 80;
/// Seconds after which a Deployment without progress is reported as failed, unless it says otherwise.
pub const DEFAULT_PROGRESS_DEADLINE_SECONDS: i32 = 600;

// What the leader's loops may do at once, and how long they wait.

/// Milliseconds without a heartbeat after which a node is reported as unreachable.
pub const NODE_SILENCE_LIMIT_MS: u64 = 15_000;
/// Milliseconds for which a new leader leaves nodes as they are that it has not heard yet: time to find it
/// and to send one heartbeat more than the silence limit allows.
pub const NODE_TAKEOVER_GRACE_MS: u64 = 20_000;
/// Seconds after which a held-back eviction is looked at again.
pub const EVICTION_RECHECK_SECONDS: i64 = 5;
/// Seconds after which an eviction may be tried again whose budget is not up to date. A fact of Kubernetes.
pub const BUDGET_RETRY_SECONDS: u64 = 10;
/// With more evicted pods than these that a budget has not seen go, it lets no more go. A fact of Kubernetes.
pub const DISRUPTED_PODS: usize = 2_000;
/// Seconds for which a pod that was let go counts as gone though it is not being deleted. A fact of Kubernetes.
pub const DISRUPTED_POD_MEMORY_SECONDS: i64 = 120;
/// The most writes of one kind in one pass of a controller; the pass is repeated as soon as they are seen.
pub const WRITES_PER_RECONCILE: usize = 500;
/// The most events of one kind in one pass of a controller; more become one that counts them.
pub const EVENTS_PER_RECONCILE: usize = 10;
/// The most endpoints that the control plane puts in one EndpointSlice.
pub const MANAGED_ENDPOINTS_PER_SLICE: usize = 100;
/// Seconds for which an event is kept after it last happened.
pub const EVENT_TTL_SECONDS: i64 = 3_600;
/// A pod that fails within so many seconds of its creation makes its owner wait before the next.
pub const SHORT_LIFE_SECONDS: i64 = 60;
/// The most seconds that an owner waits whose pods fail at once.
pub const FAILED_POD_BACKOFF_SECONDS: i64 = 300;
/// Seconds for which failed pods are remembered against their owner.
pub const FAILED_POD_MEMORY_SECONDS: i64 = 3_600;
/// Seconds after which an unfinished rollout is looked at again even if nothing was reported.
pub const ROLLOUT_RECHECK_SECONDS: i64 = 10;
/// The most pods whose "unschedulable" condition is written in one scheduling pass.
pub const UNSCHEDULABLE_WRITES_PER_PASS: usize = 500;
/// Seconds after which a quota is counted again even if nothing was given back.
pub const QUOTA_RECOUNT_SECONDS: i64 = 300;
