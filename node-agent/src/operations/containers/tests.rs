//! Hooks, and what people are told, against the runtime in memory.

use super::*;
use crate::journal::JournalStore;
use crate::paths::Layout;
use crate::pod::{NodeFacts, Operation, PullPolicy};
use crate::runtime::fake::FakeRuntime;
use crate::runtime::{ContainerState, PodIdentity};
use crate::session::event_recorder::EventRecorder;
use trireme_proto::api::core::v1::{ExecAction, Lifecycle, Pod, PodSpec, SleepAction};

struct Bench {
    workshop: Workshop,
    order: Order,
    _directory: tempfile::TempDir,
}

/// A pod with one container, whose hooks run these commands.
fn bench(post_start: Option<LifecycleHandler>, pre_stop: Option<LifecycleHandler>) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path().to_owned());
    let container = Container {
        name: "web".to_owned(),
        image: "shop/web:1".to_owned(),
        lifecycle: Some(Box::new(Lifecycle {
            post_start,
            pre_stop,
            ..Lifecycle::default()
        })),
        ..Container::default()
    };
    let pod = Pod {
        spec: Some(PodSpec {
            containers: vec![container],
            ..PodSpec::default()
        }),
        ..Pod::default()
    };
    let node = NodeFacts {
        name: "n".to_owned(),
        addresses: Vec::new(),
        cpu_millis: 1_000,
        memory_bytes: 1,
        runtime_name: "fake".to_owned(),
        layout: layout.clone(),
    };
    Bench {
        workshop: Workshop {
            runtime: Arc::new(FakeRuntime::with_images(&["shop/web:1"])),
            journals: JournalStore::open(&layout).unwrap(),
            layout,
            node: Arc::new(node),
            events: EventRecorder::default(),
        },
        order: Order {
            identity: PodIdentity::default(),
            journal: None,
            operation: None,
            pod: Some(pod),
            references: Arc::default(),
            pod_addresses: Vec::new(),
            targets: Targets::new(),
        },
        _directory: directory,
    }
}

fn command(words: &[&str]) -> Option<LifecycleHandler> {
    Some(LifecycleHandler {
        exec: Some(ExecAction {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
        }),
        ..LifecycleHandler::default()
    })
}

fn sleep(seconds: i64) -> Option<LifecycleHandler> {
    Some(LifecycleHandler {
        sleep: Some(SleepAction { seconds }),
        ..LifecycleHandler::default()
    })
}

impl Bench {
    async fn operate(&self, operation: Operation, targets: Targets) -> Result<(), OrderFailure> {
        let order = Order {
            operation: Some(operation),
            targets,
            ..self.order.clone()
        };
        self.workshop.carry_out(order).await.result
    }

    async fn start(&self) -> Result<(), OrderFailure> {
        let runtime = &self.workshop.runtime;
        let sandbox_id = runtime.run_sandbox(&SandboxConfig::default()).await.unwrap();
        let policy = PullPolicy::IfNotPresent;
        let image = "shop/web:1".to_owned();
        self.operate(
            Operation::EnsureImage {
                image: image.clone(),
                policy,
            },
            Targets::new(),
        )
        .await?;
        let container = ContainerConfig {
            name: "web".to_owned(),
            image,
            ..ContainerConfig::default()
        };
        let operation = Operation::RunContainer {
            sandbox_id,
            sandbox: Box::default(),
            container: Box::new(container),
        };
        self.operate(operation, Targets::new()).await
    }

    async fn container(&self) -> (String, ContainerState, i32) {
        let inventory = self.workshop.runtime.inventory().await.unwrap();
        let found = &inventory.containers[0];
        (found.id.clone(), found.state, found.exit_code)
    }

    async fn stop(&self, grace: Duration, is_ending: bool) {
        let (id, ..) = self.container().await;
        let target = Target {
            name: "web".to_owned(),
            failed_probe: None,
            is_ending,
        };
        let operation = Operation::StopContainers {
            container_ids: vec![id.clone()],
            grace,
        };
        self.operate(operation, Targets::from([(id, target)])).await.unwrap();
    }
}

#[tokio::test]
async fn a_start_is_told_and_its_hook_runs() {
    let bench = bench(command(&["warm-up"]), None);
    bench.start().await.unwrap();
    assert_eq!(bench.container().await.1, ContainerState::Running);
    assert_eq!(bench.workshop.events.reasons(), ["Pulled", "Created", "Started"]);
}

#[tokio::test]
async fn a_container_whose_first_hook_fails_is_ended() {
    let bench = bench(command(&["exit", "3"]), None);
    let failure = bench.start().await.unwrap_err();
    assert_eq!(failure.reason, "PostStartHookError");
    assert_eq!(failure.message, "PostStartHook failed: command exited with code 3");
    assert_eq!(bench.container().await.1, ContainerState::Exited);
    let told = bench.workshop.events.reasons();
    assert_eq!(told, ["Pulled", "Created", "Started", "FailedPostStartHook", "Killing"]);
}

#[tokio::test]
async fn a_hook_that_takes_all_of_the_grace_period_leaves_a_little_of_it() {
    for (seconds, grace, told) in [(0, 30, 1), (1_000, 1, 2)] {
        let bench = bench(None, sleep(seconds));
        bench.start().await.unwrap();
        bench.stop(Duration::from_secs(grace), false).await;
        // It was asked to end, not killed.
        let (_, state, exit_code) = bench.container().await;
        assert_eq!((state, exit_code), (ContainerState::Exited, 0));
        let about_end = bench.workshop.events.reasons().split_off(3);
        assert_eq!(about_end, ["Killing", "FailedPreStopHook"][..told]);
    }
}

#[tokio::test]
async fn a_kill_and_a_second_order_run_no_hook() {
    for (grace, is_ending, told) in [(0, false, 1), (30, true, 0)] {
        let bench = bench(None, sleep(1_000));
        bench.start().await.unwrap();
        let stopped = bench.stop(Duration::from_secs(grace), is_ending);
        tokio::time::timeout(Duration::from_secs(60), stopped).await.unwrap();
        let killings = bench.workshop.events.reasons();
        assert_eq!(killings.iter().filter(|reason| **reason == "Killing").count(), told);
        assert_eq!(bench.container().await.1, ContainerState::Exited);
    }
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told() {
    let bench = bench(None, None);
    let operation = Operation::EnsureImage {
        image: "shop/none:1".to_owned(),
        policy: PullPolicy::IfNotPresent,
    };
    let failure = bench.operate(operation, Targets::new()).await.unwrap_err();
    assert_eq!(failure.reason, "ErrImagePull");
    assert_eq!(bench.workshop.events.reasons(), ["Pulling", "Failed", "Failed"]);
}
