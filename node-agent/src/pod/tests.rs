//! Scripts for the pod machine: a small world carries out what it decides, and the operations and
//! statuses are compared.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::machine::plan;
use super::probe::Verdict;
use super::{
    Failure, Goal, ImageObservation, Input, NodeFacts, Observed, Operation, Plan, References, VolumeObservation,
};
use crate::paths::Layout;
use crate::runtime::{ContainerInfo, ContainerState, PodIdentity, SandboxInfo, SandboxState};
use crate::time::Moment;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;
use trireme_proto::api::core::v1::{
    ConfigMap, ConfigMapEnvSource, Container, EnvFromSource, EnvVar, EnvVarSource, LocalObjectReference,
    ObjectFieldSelector, Pod, PodSpec, PodStatus, Probe,
};
use trireme_proto::api::meta::v1::{ObjectMeta, Time};

const START: i64 = 1_700_000_000;

/// A world with one pod and a runtime that does what it is told.
struct World {
    pod: Option<Pod>,
    identity: PodIdentity,
    goal: Goal,
    references: References,
    node: NodeFacts,
    observed: Observed,
    now: Moment,
    next_id: u32,
}

fn mk_container(name: &str) -> Container {
    Container {
        name: name.to_owned(),
        image: "trireme.local/hello:1".to_owned(),
        ..Container::default()
    }
}

fn mk_pod(restart_policy: &str, containers: Vec<Container>) -> Pod {
    Pod {
        metadata: Some(ObjectMeta {
            name: "web".to_owned(),
            namespace: "default".to_owned(),
            uid: "uid-1".to_owned(),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            restart_policy: restart_policy.to_owned(),
            containers,
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

impl World {
    fn new(pod: Pod) -> Self {
        let identity = PodIdentity {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: "uid-1".to_owned(),
        };
        let node = NodeFacts {
            name: "node-1".to_owned(),
            addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))],
            cpu_millis: 2_000,
            memory_bytes: 1 << 30,
            runtime_name: "fake".to_owned(),
            layout: Layout::new(PathBuf::from("/data")),
        };
        Self {
            pod: Some(pod),
            identity,
            goal: Goal::Run,
            references: References::default(),
            node,
            observed: Observed::default(),
            now: Moment::from_seconds(START),
            next_id: 0,
        }
    }

    fn plan(&self) -> Plan {
        plan(&Input {
            identity: &self.identity,
            pod: self.pod.as_ref(),
            goal: self.goal,
            references: &self.references,
            node: &self.node,
            observed: &self.observed,
            now: self.now,
        })
    }

    /// Decides, carries the decision out, and gives a short name of it.
    fn step(&mut self) -> String {
        let plan = self.plan();
        self.observed.journal.clone_from(&plan.journal);
        self.observed.last_status.clone_from(&plan.status);
        match plan.operation {
            Some(operation) => self.carry_out(operation),
            None if plan.gone => "gone".to_owned(),
            None => "nothing".to_owned(),
        }
    }

    /// Steps until nothing is to be done; gives the names of all steps.
    fn settle(&mut self) -> Vec<String> {
        let mut steps = Vec::new();
        for _ in 0..50 {
            let step = self.step();
            if step == "nothing" {
                return steps;
            }
            let is_gone = step == "gone";
            steps.push(step);
            if is_gone {
                return steps;
            }
        }
        panic!("the machine does not settle: {steps:?}");
    }

    fn carry_out(&mut self, operation: Operation) -> String {
        self.next_id += 1;
        match operation {
            Operation::PrepareVolumes => {
                self.observed.volumes = VolumeObservation::Ready;
                "volumes".to_owned()
            }
            Operation::RunSandbox(config) => {
                self.observed.sandboxes.push(SandboxInfo {
                    id: format!("s{}", self.next_id),
                    pod: config.pod,
                    attempt: config.attempt,
                    state: SandboxState::Ready,
                    created_at: self.now,
                    addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))],
                });
                format!("sandbox {}", config.attempt)
            }
            Operation::EnsureImage { image, policy } => {
                self.observed.images.insert(image, ImageObservation::Present);
                format!("image {policy:?}")
            }
            Operation::RunContainer {
                sandbox_id, container, ..
            } => {
                self.observed.images.clear();
                self.observed.containers.push(ContainerInfo {
                    id: format!("c{}", self.next_id),
                    sandbox_id,
                    pod: self.identity.clone(),
                    name: container.name.clone(),
                    attempt: container.attempt,
                    state: ContainerState::Running,
                    image: container.image,
                    image_id: "sha256:1".to_owned(),
                    created_at: self.now,
                    started_at: self.now,
                    finished_at: Moment::default(),
                    exit_code: 0,
                    reason: String::new(),
                    message: String::new(),
                });
                format!("run {} {}", container.name, container.attempt)
            }
            Operation::StartContainer { container_id } => {
                let found = self
                    .observed
                    .containers
                    .iter_mut()
                    .find(|found| found.id == container_id)
                    .unwrap();
                found.state = ContainerState::Running;
                found.started_at = self.now;
                format!("start {}", found.name)
            }
            Operation::StopContainers { container_ids, grace } => {
                let mut names = Vec::new();
                for id in container_ids {
                    let found = self
                        .observed
                        .containers
                        .iter_mut()
                        .find(|found| found.id == id)
                        .unwrap();
                    end(found, 0, self.now);
                    names.push(found.name.clone());
                }
                format!("stop {} in {} s", names.join("+"), grace.as_secs())
            }
            Operation::StopSandbox { sandbox_id } => {
                let found = self
                    .observed
                    .sandboxes
                    .iter_mut()
                    .find(|found| found.id == sandbox_id)
                    .unwrap();
                found.state = SandboxState::NotReady;
                "stop sandbox".to_owned()
            }
            Operation::RemoveContainer {
                container_id,
                name,
                attempt,
            } => {
                self.observed.containers.retain(|found| found.id != container_id);
                format!("remove {name} {attempt}")
            }
            Operation::RemoveSandbox { sandbox_id } => {
                self.observed.sandboxes.retain(|found| found.id != sandbox_id);
                self.observed.containers.retain(|found| found.sandbox_id != sandbox_id);
                "remove sandbox".to_owned()
            }
            Operation::RemoveData => {
                self.observed.journal.has_data = false;
                "remove data".to_owned()
            }
        }
    }

    /// The newest run of a container ends by itself.
    fn exit(&mut self, name: &str, exit_code: i32) {
        let now = self.now;
        let found = self.observed.containers.iter_mut().filter(|found| found.name == name);
        end(found.max_by_key(|found| found.attempt).unwrap(), exit_code, now);
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn status(&self) -> PodStatus {
        self.plan().status.unwrap()
    }

    /// Phase, then for each container its state, restarts and readiness.
    fn summary(&self) -> String {
        let status = self.status();
        let mut words = vec![status.phase.clone()];
        for container in status.init_container_statuses.iter().chain(&status.container_statuses) {
            let state = container.state.as_ref().unwrap();
            let state = match (&state.waiting, &state.running, &state.terminated) {
                (Some(waiting), _, _) => waiting.reason.clone(),
                (_, Some(_), _) => "Running".to_owned(),
                (_, _, Some(terminated)) => format!("{}({})", terminated.reason, terminated.exit_code),
                _ => "?".to_owned(),
            };
            let ready = if container.ready { " ready" } else { "" };
            words.push(format!(
                "{}:{state} x{}{ready}",
                container.name, container.restart_count
            ));
        }
        words.join(", ")
    }

    fn condition(&self, kind: &str) -> String {
        let status = self.status();
        let condition = status
            .conditions
            .iter()
            .find(|condition| condition.r#type == kind)
            .unwrap();
        format!("{} {}", condition.status, condition.reason).trim().to_owned()
    }

    fn delete(&mut self, grace_seconds: i64) {
        let meta = self.pod.as_mut().unwrap().metadata.as_mut().unwrap();
        meta.deletion_timestamp = Some(Time::default());
        self.goal = Goal::End { grace_seconds };
    }
}

fn end(found: &mut ContainerInfo, exit_code: i32, now: Moment) {
    found.state = ContainerState::Exited;
    found.exit_code = exit_code;
    found.finished_at = now;
}

#[test]
fn a_pod_starts_one_transition_at_a_time() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a"), mk_container("b")]));
    assert_eq!(
        world.summary(),
        "Pending, a:ContainerCreating x0, b:ContainerCreating x0"
    );
    assert_eq!(
        world.settle(),
        [
            "volumes",
            "sandbox 0",
            "image IfNotPresent",
            "run a 0",
            "image IfNotPresent",
            "run b 0"
        ]
    );
    assert_eq!(world.summary(), "Running, a:Running x0 ready, b:Running x0 ready");
    let status = world.status();
    assert_eq!(
        (status.pod_ip.as_str(), status.host_ip.as_str()),
        ("10.0.0.7", "192.0.2.1")
    );
    assert_eq!(status.start_time.unwrap().seconds, START);
    assert_eq!(status.qos_class, "BestEffort");
    for kind in [
        "PodReadyToStartContainers",
        "Initialized",
        "ContainersReady",
        "Ready",
        "PodScheduled",
    ] {
        assert_eq!(world.condition(kind), "True", "{kind}");
    }
}

#[test]
fn an_adopted_pod_is_left_alone() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    let before = world.observed.containers.clone();
    // A new agent knows the runtime's list and the journal, nothing else.
    let mut again = World::new(mk_pod("Always", vec![mk_container("a")]));
    again.observed.sandboxes = world.observed.sandboxes.clone();
    again.observed.containers = before.clone();
    again.observed.journal = world.observed.journal.clone();
    again.pass(60);
    assert_eq!(again.settle(), ["volumes"]);
    assert_eq!(again.observed.containers, before);
    assert_eq!(
        again.status().start_time.unwrap().seconds,
        START,
        "the start time is the journal's"
    );
}

#[test]
fn restarts_back_off_and_are_counted() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    world.exit("a", 1);
    assert_eq!(
        world.settle(),
        ["image IfNotPresent", "run a 1"],
        "the first restart is immediate"
    );
    let mut waits = Vec::new();
    for _ in 0..4 {
        world.exit("a", 1);
        world.step();
        let wake_at = world.plan().wake_at.unwrap();
        waits.push(wake_at.since(world.now).as_secs());
        assert!(
            world.summary().starts_with("Running, a:CrashLoopBackOff"),
            "{}",
            world.summary()
        );
        world.now = wake_at;
        assert!(world.settle().iter().any(|step| step.starts_with("run a")));
    }
    assert_eq!(waits, [10, 20, 40, 80]);
    assert_eq!(world.summary(), "Running, a:Running x5 ready");
    let status = world.status();
    let last = status.container_statuses[0]
        .last_state
        .clone()
        .unwrap()
        .terminated
        .unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (1, "Error"));
    let kept: Vec<u32> = world
        .observed
        .containers
        .iter()
        .map(|container| container.attempt)
        .collect();
    assert_eq!(kept, [4, 5], "the newest run and the one before it are kept");
}

#[test]
fn back_off_survives_a_restart_of_the_agent() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    for _ in 0..3 {
        world.exit("a", 1);
        world.step();
        if let Some(wake_at) = world.plan().wake_at {
            world.now = wake_at;
        }
        world.settle();
    }
    world.exit("a", 1);
    let text = serde_json::to_string(&world.plan().journal).unwrap();
    world.observed.journal = serde_json::from_str(&text).unwrap();
    world.step();
    assert_eq!(world.plan().wake_at.unwrap().since(world.now).as_secs(), 40);
}

#[test]
fn ten_minutes_of_running_forgive() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    world.exit("a", 1);
    world.settle();
    world.pass(600);
    world.exit("a", 1);
    assert_eq!(world.settle()[..2], ["image IfNotPresent", "run a 2"]);
}

#[test]
fn completion_by_restart_policy() {
    for (policy, codes, expected) in [
        ("Never", [0, 0], "Succeeded, a:Completed(0) x0, b:Completed(0) x0"),
        ("Never", [0, 3], "Failed, a:Completed(0) x0, b:Error(3) x0"),
        ("OnFailure", [0, 0], "Succeeded, a:Completed(0) x0, b:Completed(0) x0"),
    ] {
        let mut world = World::new(mk_pod(policy, vec![mk_container("a"), mk_container("b")]));
        world.settle();
        world.exit("a", codes[0]);
        assert!(world.settle().is_empty(), "the other container still runs");
        assert!(world.summary().starts_with("Running"), "{}", world.summary());
        world.exit("b", codes[1]);
        assert_eq!(world.settle(), ["stop sandbox"], "{policy}");
        assert_eq!(world.summary(), expected);
        world.pass(10_000);
        assert!(world.settle().is_empty(), "a finished pod does not start again");
    }
}

#[test]
fn on_failure_restarts_only_failures() {
    let mut world = World::new(mk_pod("OnFailure", vec![mk_container("a")]));
    world.settle();
    world.exit("a", 1);
    assert_eq!(world.settle(), ["image IfNotPresent", "run a 1"]);
    world.exit("a", 0);
    world.settle();
    assert_eq!(world.summary(), "Succeeded, a:Completed(0) x1");
    assert_eq!(world.condition("Ready"), "False PodCompleted");
}

#[test]
fn a_pod_that_the_cluster_knows_as_finished_does_not_start() {
    let mut pod = mk_pod("Never", vec![mk_container("a")]);
    pod.status = Some(PodStatus {
        phase: "Succeeded".to_owned(),
        ..PodStatus::default()
    });
    let mut world = World::new(pod);
    assert!(world.settle().is_empty(), "even though the journal was lost");
    assert!(world.status().phase == "Succeeded");
}

#[test]
fn init_containers_run_in_order_before_the_others() {
    let mut pod = mk_pod("Always", vec![mk_container("main")]);
    pod.spec.as_mut().unwrap().init_containers = vec![mk_container("i1"), mk_container("i2")];
    let mut world = World::new(pod);
    assert_eq!(
        world.settle(),
        ["volumes", "sandbox 0", "image IfNotPresent", "run i1 0"]
    );
    assert_eq!(
        world.summary(),
        "Pending, i1:Running x0, i2:ContainerCreating x0, main:PodInitializing x0"
    );
    assert_eq!(world.condition("Initialized"), "False ContainersNotInitialized");
    world.exit("i1", 1);
    assert_eq!(
        world.settle(),
        ["image IfNotPresent", "run i1 1"],
        "a failure is tried again"
    );
    world.exit("i1", 0);
    assert_eq!(world.settle(), ["image IfNotPresent", "run i2 0"]);
    world.exit("i2", 0);
    assert_eq!(world.settle(), ["image IfNotPresent", "run main 0"]);
    assert_eq!(
        world.summary(),
        "Running, i1:Completed(0) x1 ready, i2:Completed(0) x0 ready, main:Running x0 ready"
    );
    world.exit("main", 1);
    assert_eq!(
        world.settle(),
        ["image IfNotPresent", "run main 1"],
        "init containers do not run again"
    );
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let mut pod = mk_pod("Never", vec![mk_container("main")]);
    pod.spec.as_mut().unwrap().init_containers = vec![mk_container("i1")];
    let mut world = World::new(pod);
    world.settle();
    world.exit("i1", 2);
    assert_eq!(world.settle(), ["stop sandbox"]);
    assert_eq!(world.status().phase, "Failed");
}

#[test]
fn a_sidecar_runs_beside_the_others_and_ends_with_them() {
    let mut pod = mk_pod("Never", vec![mk_container("main")]);
    let sidecar = Container {
        restart_policy: Some("Always".to_owned()),
        ..mk_container("side")
    };
    pod.spec.as_mut().unwrap().init_containers = vec![sidecar];
    let mut world = World::new(pod);
    let steps = world.settle();
    assert_eq!(steps[3..], ["run side 0", "image IfNotPresent", "run main 0"]);
    world.exit("side", 1);
    assert_eq!(world.settle(), ["image IfNotPresent", "run side 1"]);
    world.exit("main", 0);
    assert_eq!(world.settle(), ["stop side in 30 s", "stop sandbox"]);
    assert_eq!(world.status().phase, "Succeeded");
}

#[test]
fn deletion_stops_gracefully_and_leaves_nothing() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a"), mk_container("b")]));
    world.settle();
    world.delete(7);
    assert_eq!(
        world.settle(),
        [
            "stop a+b in 7 s",
            "stop sandbox",
            "remove sandbox",
            "remove data",
            "gone"
        ]
    );
    assert_eq!(world.status().phase, "Succeeded");
}

#[test]
fn the_grace_period_runs_from_the_first_order_and_only_shortens() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    world.delete(30);
    let first = world.plan();
    world.observed.journal = first.journal;
    world.pass(10);
    let grace = |world: &World| match world.plan().operation {
        Some(Operation::StopContainers { grace, .. }) => grace.as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!(grace(&world), 20, "an agent that was restarted goes on where it was");
    world.delete(15);
    assert_eq!(grace(&world), 5);
    world.delete(300);
    assert_eq!(grace(&world), 20, "longer than the first order is not possible");
    world.pass(60);
    assert_eq!(grace(&world), 0);
}

#[test]
fn what_only_the_runtime_knows_is_removed_when_it_is_unwanted() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    world.pod = None;
    world.observed.journal = crate::journal::PodJournal::default();
    assert_eq!(
        world.step(),
        "nothing",
        "before the cluster has spoken nothing is ended"
    );
    world.goal = Goal::End { grace_seconds: 30 };
    assert_eq!(
        world.settle(),
        ["stop a in 30 s", "stop sandbox", "remove sandbox", "gone"]
    );
    assert!(world.plan().status.is_none(), "there is no object to report on");
}

#[test]
fn a_pod_that_never_started_is_removed_at_once() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.delete(30);
    assert_eq!(world.settle(), ["gone"]);
    assert_eq!(world.status().phase, "Failed");
}

#[test]
fn a_dead_sandbox_is_replaced() {
    let mut pod = mk_pod("Always", vec![mk_container("main")]);
    pod.spec.as_mut().unwrap().init_containers = vec![mk_container("init")];
    let mut world = World::new(pod);
    world.settle();
    world.exit("init", 0);
    world.settle();
    world.observed.sandboxes[0].state = SandboxState::NotReady;
    world.exit("main", 137);
    assert_eq!(
        world.settle(),
        ["remove sandbox", "sandbox 1", "image IfNotPresent", "run init 1"],
        "the new sandbox is initialized again"
    );
    world.exit("init", 0);
    assert_eq!(world.settle(), ["image IfNotPresent", "run main 1"]);
    assert_eq!(
        world.summary(),
        "Running, init:Completed(0) x1 ready, main:Running x1 ready"
    );
}

#[test]
fn a_surplus_sandbox_of_a_crashed_agent_is_removed() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    let mut surplus = world.observed.sandboxes[0].clone();
    surplus.id = "s-older".to_owned();
    world.observed.sandboxes.insert(0, surplus);
    assert_eq!(world.settle(), ["stop sandbox", "remove sandbox"]);
    assert_eq!(world.observed.sandboxes.len(), 1);
    assert_eq!(world.summary(), "Running, a:Running x0 ready");
}

#[test]
fn a_container_that_was_made_but_not_started_is_started() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    world.observed.containers[0].state = ContainerState::Created;
    assert_eq!(world.settle(), ["start a"]);
}

#[test]
fn a_missing_reference_waits_and_says_so() {
    let mut container = mk_container("a");
    let name = Some(LocalObjectReference {
        name: "settings".to_owned(),
    });
    container.env_from = vec![EnvFromSource {
        config_map_ref: Some(ConfigMapEnvSource {
            local_object_reference: name,
            optional: None,
        }),
        ..EnvFromSource::default()
    }];
    let mut world = World::new(mk_pod("Always", vec![container]));
    world.settle();
    let status = world.status();
    let waiting = status.container_statuses[0].state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.reason, "CreateContainerConfigError");
    assert_eq!(waiting.message, "configmap \"settings\" not found");
    let map = ConfigMap {
        data: [("COLOUR".to_owned(), "red".to_owned())].into(),
        ..ConfigMap::default()
    };
    world
        .references
        .config_maps
        .insert(("default".to_owned(), "settings".to_owned()), map);
    match world.plan().operation {
        Some(Operation::RunContainer { container, .. }) => {
            assert_eq!(container.env, [("COLOUR".to_owned(), "red".to_owned())]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn fields_and_variables_are_resolved() {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(
            EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    field_path: path.to_owned(),
                    ..ObjectFieldSelector::default()
                }),
                ..EnvVarSource::default()
            }
            .into(),
        ),
        ..EnvVar::default()
    };
    let container = Container {
        env: vec![
            field("POD_NAME", "metadata.name"),
            field("POD_IP", "status.podIP"),
            field("NODE", "spec.nodeName"),
            EnvVar {
                name: "URL".to_owned(),
                value: "http://$(POD_IP)/$(OTHER)".to_owned(),
                ..EnvVar::default()
            },
        ],
        args: vec!["--name=$(POD_NAME)".to_owned(), "$$(POD_NAME)".to_owned()],
        ..mk_container("a")
    };
    let mut world = World::new(mk_pod("Always", vec![container]));
    for _ in 0..3 {
        world.step();
    }
    match world.plan().operation {
        Some(Operation::RunContainer { container, .. }) => {
            assert_eq!(container.args, ["--name=web", "$(POD_NAME)"]);
            let values: Vec<&str> = container.env.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(values, ["web", "10.0.0.7", "node-1", "http://10.0.0.7/$(OTHER)"]);
        }
        other => panic!("{other:?}"),
    }
}

fn failure(world: &World, reason: &'static str, count: u32) -> Failure {
    Failure {
        reason,
        message: "no".to_owned(),
        count,
        retry_at: world.now.plus(Duration::from_secs(10)),
    }
}

#[test]
fn a_failed_pull_backs_off() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.step();
    world.step();
    let image = "trireme.local/hello:1".to_owned();
    world.observed.images.insert(
        image.clone(),
        ImageObservation::Failed(failure(&world, "ErrImagePull", 1)),
    );
    assert_eq!(world.summary(), "Pending, a:ErrImagePull x0");
    world
        .observed
        .images
        .insert(image, ImageObservation::Failed(failure(&world, "ErrImagePull", 2)));
    assert_eq!(world.summary(), "Pending, a:ImagePullBackOff x0");
    assert_eq!(world.step(), "nothing");
    assert_eq!(world.plan().wake_at.unwrap().since(world.now).as_secs(), 10);
    world.pass(10);
    assert_eq!(world.step(), "image IfNotPresent");
}

#[test]
fn a_container_that_cannot_be_made_does_not_hold_up_the_others() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a"), mk_container("b")]));
    world.step();
    world.step();
    let failed = failure(&world, "CreateContainerError", 1);
    world.observed.failures.insert("a".to_owned(), failed);
    assert_eq!(world.settle(), ["image IfNotPresent", "run b 0"]);
    assert_eq!(
        world.summary(),
        "Pending, a:CreateContainerError x0, b:Running x0 ready"
    );
}

#[test]
fn a_failed_sandbox_holds_the_pod_and_is_not_counted() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.step();
    let failed = failure(&world, "FailedCreatePodSandBox", 1);
    world.observed.failures.insert(String::new(), failed);
    for _ in 0..3 {
        assert_eq!(world.step(), "nothing");
    }
    assert_eq!(world.observed.journal.sandbox_attempts, 0);
    let status = world.status();
    assert_eq!(
        status.container_statuses[0]
            .state
            .clone()
            .unwrap()
            .waiting
            .unwrap()
            .message,
        "no"
    );
    world.pass(10);
    assert_eq!(world.step(), "sandbox 0");
}

#[test]
fn probes_decide_readiness_and_restarts() {
    let probe = || Some(Box::new(Probe::default()));
    let container = Container {
        readiness_probe: probe(),
        liveness_probe: probe(),
        ..mk_container("a")
    };
    let mut world = World::new(mk_pod("Always", vec![container]));
    world.settle();
    assert_eq!(
        world.summary(),
        "Running, a:Running x0",
        "not ready before a probe said so"
    );
    assert_eq!(world.condition("Ready"), "False ContainersNotReady");
    let id = world.observed.containers[0].id.clone();
    let ready = Verdict {
        ready: true,
        started: true,
        must_restart: false,
    };
    world.observed.probes.insert(id.clone(), ready);
    assert_eq!(world.summary(), "Running, a:Running x0 ready");
    world.observed.probes.insert(
        id,
        Verdict {
            must_restart: true,
            ..ready
        },
    );
    assert_eq!(world.settle(), ["stop a in 30 s", "image IfNotPresent", "run a 1"]);
}

#[test]
fn an_active_deadline_ends_the_pod() {
    let mut pod = mk_pod("Always", vec![mk_container("a")]);
    pod.spec.as_mut().unwrap().active_deadline_seconds = Some(60);
    let mut world = World::new(pod);
    world.settle();
    assert_eq!(world.plan().wake_at, Some(Moment::from_seconds(START + 60)));
    world.pass(60);
    assert_eq!(world.settle(), ["stop a in 30 s", "stop sandbox"]);
    let status = world.status();
    assert_eq!(
        (status.phase.as_str(), status.reason.as_str()),
        ("Failed", "DeadlineExceeded")
    );
}

#[test]
fn a_changed_image_restarts_its_container_alone() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a"), mk_container("b")]));
    world.settle();
    world.pod.as_mut().unwrap().spec.as_mut().unwrap().containers[0].image = "trireme.local/hello:2".to_owned();
    assert_eq!(world.settle(), ["stop a in 30 s", "image IfNotPresent", "run a 1"]);
    assert_eq!(world.summary(), "Running, a:Running x1 ready, b:Running x0 ready");
}

#[test]
fn a_container_that_vanished_counts_as_ended() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    world.observed.containers.clear();
    assert_eq!(world.settle(), ["image IfNotPresent", "run a 1"]);
    let status = world.status();
    let last = status.container_statuses[0]
        .last_state
        .clone()
        .unwrap()
        .terminated
        .unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (137, "ContainerStatusUnknown"));
}

#[test]
fn conditions_keep_their_time_while_nothing_changes() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    world.settle();
    let time = |world: &World| {
        let status = world.status();
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.r#type == "Ready")
            .unwrap()
            .clone();
        ready.last_transition_time.unwrap().seconds
    };
    world.pass(100);
    assert_eq!(time(&world), START);
    world.pass(5);
    world.exit("a", 1);
    assert_eq!(time(&world), START + 105, "a change of truth takes the present time");
}

#[test]
fn deciding_twice_gives_the_same() {
    let mut world = World::new(mk_pod("Always", vec![mk_container("a")]));
    for _ in 0..6 {
        let (first, second) = (world.plan(), world.plan());
        assert_eq!((first.operation, first.status), (second.operation, second.status));
        world.step();
    }
}
