//! The contract: Kubernetes' objects and Trireme's services, as `.proto` files and as Rust types.
//!
//! Objects have Kubernetes' names, field numbers and JSON, so one type gives gRPC, REST and Kubernetes'
//! own protobuf. Nothing here performs I/O or reads a clock, and nothing decides: defaults, validation and
//! behaviour live in `trireme-logic`.
#![forbid(unsafe_code)]

pub mod json;
pub mod limits;
pub mod parts;
pub mod quantity;
mod scalars;
pub mod schema;
pub mod selector;
mod typed_object;
pub mod wire;

pub use kubernetes as api;
pub use runtime as cri;
pub use scalars::{InvalidIntOrPercent, InvalidTime, Rounding};
pub use trireme::{peer, v1};
pub use typed_object::TypedObject;

/// The descriptors of every service and message but etcd's, without comments, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The same for etcd's API, which has a listener of its own.
pub const ETCD_FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/etcd_descriptors.bin"));

/// Includes the code that the build script generated for one package. Its form is prost's and tonic's,
/// so our lints do not apply to it.
macro_rules! generated {
    ($package:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
    };
}

/// The same for a package of Kubernetes objects, with their JSON.
macro_rules! generated_objects {
    ($package:literal) => {
        use crate::json;
        generated!($package);
        include!(concat!(env!("OUT_DIR"), "/", $package, ".json.rs"));
    };
}

/// Kubernetes' objects, by API group and version.
#[allow(unused_qualifications, rustdoc::all, clippy::all, reason = "generated code")]
pub mod kubernetes {
    /// Kinds that keep pods running.
    pub mod apps {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.apps.v1");
        }
    }
    /// Questions about who somebody is.
    pub mod authentication {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.authentication.v1");
        }
    }
    /// Questions about what somebody may do.
    pub mod authorization {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.authorization.v1");
        }
    }
    /// Autoscalers, and the scale subresource.
    pub mod autoscaling {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.autoscaling.v1");
        }
        /// Version 2.
        pub mod v2 {
            generated_objects!("kubernetes.autoscaling.v2");
        }
    }
    /// Kinds that run pods until work is done.
    pub mod batch {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.batch.v1");
        }
    }
    /// Requests for certificates.
    pub mod certificates {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.certificates.v1");
        }
    }
    /// Leases.
    pub mod coordination {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.coordination.v1");
        }
    }
    /// Pods, nodes, services and the other kinds of the core group.
    pub mod core {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.core.v1");
        }
    }
    /// Where the pods behind a service are.
    pub mod discovery {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.discovery.v1");
        }
    }
    /// What happened to objects, in the newer version.
    pub mod events {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.events.v1");
        }
    }
    /// What all kinds share.
    pub mod meta {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.meta.v1");
        }
    }
    /// How many pods may be missing at once.
    pub mod policy {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.policy.v1");
        }
    }
    /// Which pods matter more than others.
    pub mod scheduling {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.scheduling.v1");
        }
    }
    /// How traffic comes in, and who may talk to whom.
    pub mod networking {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.networking.v1");
        }
    }
    /// Ways to run containers.
    pub mod node {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.node.v1");
        }
    }
    /// Who may do what.
    pub mod rbac {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.rbac.v1");
        }
    }
    /// Classes of volumes, and the drivers that make and attach them.
    pub mod storage {
        /// Version 1.
        pub mod v1 {
            generated_objects!("kubernetes.storage.v1");
        }
    }
}

/// The container runtime interface that containerd and CRI-O serve.
#[allow(
    deprecated,
    unused_qualifications,
    rustdoc::all,
    clippy::all,
    reason = "generated code"
)]
pub mod runtime {
    /// Version 1.
    pub mod v1 {
        generated!("runtime.v1");
    }
}

/// etcd's API, version 3. The modules are named as its packages are, because generated code looks for its
/// neighbours there; the shorter names are for everybody else.
#[allow(unused_qualifications, rustdoc::all, clippy::all, reason = "generated code")]
pub mod etcd {
    pub use {etcdserverpb as server, mvccpb as kv, v3electionpb as election, v3lockpb as lock};

    /// Keys, watches, leases, members, maintenance.
    pub mod etcdserverpb {
        generated!("etcdserverpb");
    }
    /// Versions of keys and their changes.
    pub mod mvccpb {
        generated!("mvccpb");
    }
    /// Elections.
    pub mod v3electionpb {
        generated!("v3electionpb");
    }
    /// Locks.
    pub mod v3lockpb {
        generated!("v3lockpb");
    }
}

/// Trireme's services.
#[allow(unused_qualifications, rustdoc::all, clippy::all, reason = "generated code")]
pub mod trireme {
    /// What servers' stores say to each other.
    pub mod peer {
        /// Version 1.
        pub mod v1 {
            generated!("trireme.peer.v1");
        }
    }
    /// Version 1 of the services for clients, agents and servers.
    pub mod v1 {
        generated!("trireme.v1");
    }
}
