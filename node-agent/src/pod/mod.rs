//! The pod machine: from what is wanted and what is observed to the next single operation. Pure.
//!
//! [`machine::plan`] is called whenever anything about a pod changed. It gives at most one operation,
//! the pod's status, the journal to save before the operation runs, and the moment at which to ask
//! again although nothing changed. It reads no clock and touches nothing.

pub(crate) mod containers;
pub(crate) mod env;
pub(crate) mod hosts;
pub(crate) mod machine;
pub(crate) mod probe;
pub(crate) mod restart;
pub(crate) mod spec;
pub(crate) mod status;
#[cfg(test)]
mod tests;

use crate::journal::PodJournal;
use crate::runtime::{ContainerConfig, ContainerInfo, PodIdentity, SandboxConfig, SandboxInfo};
use crate::time::Moment;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use trireme_proto::api::core::v1::{ConfigMap, Pod, PodStatus, Secret};

/// What is wanted of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It runs.
    Run,
    /// It ends, with this much time between TERM and KILL.
    End {
        /// Seconds, already bounded.
        grace_seconds: i64,
    },
}

/// The objects that pods name, by namespace and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct References {
    pub(crate) config_maps: BTreeMap<(String, String), ConfigMap>,
    pub(crate) secrets: BTreeMap<(String, String), Secret>,
}

/// What pods may know of their node.
#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) cpu_millis: i64,
    pub(crate) memory_bytes: i64,
    /// The scheme of container ids, such as `containerd`.
    pub(crate) runtime_name: String,
    pub(crate) layout: crate::paths::Layout,
}

impl NodeFacts {
    /// Whether containers have a file system of their own, in which files can be put.
    pub(crate) fn isolates_files(&self) -> bool {
        self.runtime_name != "process"
    }
}

/// What is known of an image that a pod names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageObservation {
    /// It is there.
    Present,
    /// It could not be had.
    Failed(Failure),
}

/// What is known of a pod's volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum VolumeObservation {
    /// Nothing was done since the agent started.
    #[default]
    Unprepared,
    /// They are as the objects want them.
    Ready,
    /// They could not be made.
    Failed(Failure),
}

/// Something that failed and is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// One word.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Failures in a row.
    pub(crate) count: u32,
    pub(crate) retry_at: Moment,
}

/// Everything that is observed of a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) sandboxes: Vec<SandboxInfo>,
    pub(crate) containers: Vec<ContainerInfo>,
    pub(crate) journal: PodJournal,
    pub(crate) images: BTreeMap<String, ImageObservation>,
    pub(crate) volumes: VolumeObservation,
    /// The last operation on each container, if it failed; the key of the pod itself is empty.
    pub(crate) failures: BTreeMap<String, Failure>,
    /// Probe results by container id.
    pub(crate) probes: BTreeMap<String, probe::Verdict>,
    /// Why the pod may not stay on this node, if it may not.
    pub(crate) eviction: Option<String>,
    /// The status before this one, for the times of its conditions.
    pub(crate) last_status: Option<PodStatus>,
}

/// What the machine works on.
pub(crate) struct Input<'a> {
    pub(crate) identity: &'a PodIdentity,
    /// The object; none if only the runtime or the journal knows the pod.
    pub(crate) pod: Option<&'a Pod>,
    pub(crate) goal: Goal,
    pub(crate) references: &'a References,
    pub(crate) node: &'a NodeFacts,
    pub(crate) observed: &'a Observed,
    pub(crate) now: Moment,
}

/// One thing to do to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Bring the pod's volumes to what the objects say.
    PrepareVolumes,
    /// Make a sandbox.
    RunSandbox(Box<SandboxConfig>),
    /// Make sure that an image is there.
    EnsureImage { image: String, policy: PullPolicy },
    /// Make a container and start it.
    RunContainer {
        sandbox_id: String,
        sandbox: Box<SandboxConfig>,
        container: Box<ContainerConfig>,
    },
    /// Start a container that an earlier agent made and did not come to start.
    StartContainer { container_id: String },
    /// End containers, all at the same time.
    StopContainers {
        container_ids: Vec<String>,
        grace: Duration,
    },
    /// Give a sandbox's network back.
    StopSandbox { sandbox_id: String },
    /// Remove an ended container, and its log.
    RemoveContainer {
        container_id: String,
        name: String,
        attempt: u32,
    },
    /// Remove a stopped sandbox.
    RemoveSandbox { sandbox_id: String },
    /// Remove the pod's volumes and logs.
    RemoveData,
}

impl Operation {
    /// True for what ends or removes, and makes nothing.
    pub(crate) fn is_ending(&self) -> bool {
        match self {
            Self::StopContainers { .. }
            | Self::StopSandbox { .. }
            | Self::RemoveContainer { .. }
            | Self::RemoveSandbox { .. }
            | Self::RemoveData => true,
            Self::PrepareVolumes
            | Self::RunSandbox(_)
            | Self::EnsureImage { .. }
            | Self::RunContainer { .. }
            | Self::StartContainer { .. } => false,
        }
    }
}

/// When to fetch an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// Before each start.
    Always,
    /// If it is not there.
    IfNotPresent,
    /// Not at all.
    Never,
}

/// What the machine decided.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What to do next.
    pub(crate) operation: Option<Operation>,
    /// To be saved before the operation runs, if it differs from the observed one.
    pub(crate) journal: PodJournal,
    /// To be reported; none for a pod whose object is not known.
    pub(crate) status: Option<PodStatus>,
    /// Nothing of the pod is left on this node.
    pub(crate) gone: bool,
    /// Ask again at this moment although nothing changed.
    pub(crate) wake_at: Option<Moment>,
}
