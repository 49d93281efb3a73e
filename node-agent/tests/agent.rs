//! The whole agent against a stand-in for the cluster: joining, running, restarting, being cut off.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use support::cluster::TestCluster;
use support::eventually;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trireme_node_agent::image::pack::HELLO_IMAGE;
use trireme_node_agent::runtime::containerd::is_installed;
use trireme_node_agent::{AgentConfig, AgentError, RuntimeChoice, ShimCommand, teardown};
use trireme_proto::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use trireme_proto::api::meta::v1::ObjectMeta;
use trireme_proto::v1;

/// An agent that runs until it is stopped.
struct Agent {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Agent {
    fn start(config: &AgentConfig) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(trireme_node_agent::run(config.clone(), shutdown.clone()));
        Self { shutdown, task }
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Drop for Agent {
    /// A test that fails must not leave its agent running.
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn config(directory: &Path, cluster: &TestCluster, runtime: RuntimeChoice) -> AgentConfig {
    support::pack_images(directory);
    let name = format!(
        "node-{}",
        directory.file_name().unwrap().to_str().unwrap().trim_start_matches('.')
    );
    let mut config = AgentConfig::new(
        name.to_lowercase(),
        directory.join("data"),
        vec![cluster.address.to_string()],
    );
    config.token = Some(cluster.token());
    config.runtime = runtime;
    config.image_dir = Some(directory.to_owned());
    config.shim = ShimCommand {
        program: env!("CARGO_BIN_EXE_trireme-shim").into(),
        arguments: Vec::new(),
    };
    config
}

fn pod(name: &str, restart_policy: &str, arguments: &[&str]) -> Pod {
    let container = Container {
        name: "main".to_owned(),
        image: HELLO_IMAGE.to_owned(),
        args: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        ..Container::default()
    };
    Pod {
        metadata: Some(ObjectMeta {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            restart_policy: restart_policy.to_owned(),
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

async fn reported(cluster: &TestCluster, uid: &str, wanted: impl Fn(&PodStatus) -> bool) -> PodStatus {
    eventually(
        &format!("the wanted status of {uid}; last: {:?}", cluster.status(uid)),
        || async { cluster.status(uid).filter(|status| wanted(status)) },
    )
    .await
}

fn main_container(status: &PodStatus) -> &ContainerStatus {
    &status.container_statuses[0]
}

fn is_ready(status: &PodStatus) -> bool {
    status.phase == "Running" && main_container(status).ready
}

fn started_at(status: &PodStatus) -> (String, i64) {
    let container = main_container(status);
    let running = container.state.as_ref().unwrap().running.as_ref().unwrap();
    (
        container.container_id.clone(),
        running.started_at.as_ref().unwrap().seconds,
    )
}

async fn log_of(cluster: &TestCluster, request_id: &str, uid: &str, logs: v1::LogsRequest) -> (String, String) {
    cluster
        .fetch_logs(
            request_id,
            uid,
            v1::LogsRequest {
                container: "main".to_owned(),
                ..logs
            },
        )
        .await;
    let ended = format!("{request_id} ended");
    eventually("the log arrives", || async {
        cluster.log(&ended)?;
        cluster.log(request_id)
    })
    .await
}

/// The journey of a pod on one runtime: run, read its log, survive the agent, survive the cluster, end.
async fn journey(runtime: RuntimeChoice) {
    let directory = tempfile::tempdir().unwrap();
    let cluster = TestCluster::new().await;
    let server = cluster.serve().await;
    let config = config(directory.path(), &cluster, runtime);
    let agent = Agent::start(&config);
    let outcome = tokio::spawn(journey_steps(cluster.clone(), config.clone(), agent, server)).await;
    eventually("everything is taken down", || async { teardown(&config).await.ok() }).await;
    outcome.unwrap();
}

async fn journey_steps(cluster: TestCluster, config: AgentConfig, agent: Agent, server: support::cluster::Running) {
    let node = eventually("the node registers", || async { cluster.node() }).await;
    assert_eq!(node.metadata.unwrap().name, config.node_name);
    eventually("heartbeats say that it is ready", || async {
        cluster.heartbeats().last().filter(|heartbeat| heartbeat.ready).cloned()
    })
    .await;

    // Two replicas with the same port, and a log.
    cluster.put_pod(&pod("web-1", "Always", &[]));
    cluster.put_pod(&pod("web-2", "Always", &[]));
    let first = reported(&cluster, "uid-web-1", is_ready).await;
    let second = reported(&cluster, "uid-web-2", is_ready).await;
    assert_ne!(first.pod_ip, second.pod_ip);
    let (log, error) = eventually("the server says where it serves", || async {
        let id = format!("log-{}", cluster.heartbeats().len());
        let (log, error) = log_of(&cluster, &id, "uid-web-1", v1::LogsRequest::default()).await;
        log.contains("hello: serving on").then_some((log, error))
    })
    .await;
    assert_eq!((log.lines().count(), error.as_str()), (1, ""));
    let (_, error) = log_of(
        &cluster,
        "prev",
        "uid-web-1",
        v1::LogsRequest {
            previous: true,
            ..Default::default()
        },
    )
    .await;
    assert!(error.contains("no previous run"), "{error}");

    // The agent restarts: the same containers, with the same start times and counts.
    let before = (started_at(&first), started_at(&second));
    agent.stop().await;
    cluster.forget_statuses();
    let agent = Agent::start(&config);
    let first = reported(&cluster, "uid-web-1", is_ready).await;
    let second = reported(&cluster, "uid-web-2", is_ready).await;
    assert_eq!((started_at(&first), started_at(&second)), before);
    assert_eq!(main_container(&first).restart_count, 0);

    // The cluster goes away and comes back: nothing is ended, and the agent finds it again.
    server.kill().await;
    cluster.forget_statuses();
    let heartbeats = cluster.heartbeats().len();
    let server = cluster.serve().await;
    eventually("the agent comes back", || async {
        (cluster.heartbeats().len() > heartbeats).then_some(())
    })
    .await;

    // A pod that fails is restarted and counted, and its earlier log can be read.
    cluster.put_pod(&pod("crash", "Always", &["exit", "3"]));
    let status = reported(&cluster, "uid-crash", |status| {
        main_container(status).restart_count >= 1 && has_reason(status, "CrashLoopBackOff")
    })
    .await;
    let last = main_container(&status).last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (3, "Error"));
    cluster.put_pod(&pod("job", "Never", &["exit", "0"]));
    reported(&cluster, "uid-job", |status| status.phase == "Succeeded").await;

    // Graceful deletion, and removal without waiting.
    cluster.delete_pod("uid-web-1", 10);
    eventually("the pod is reported as ended", || async {
        (!cluster.has_pod("uid-web-1")).then_some(())
    })
    .await;
    for uid in ["uid-web-2", "uid-crash", "uid-job"] {
        cluster.remove_pod(uid);
    }
    eventually("nothing is left", || async {
        let journals = std::fs::read_dir(config.data_dir.join("journal")).unwrap().count();
        let pods = std::fs::read_dir(config.data_dir.join("pods")).unwrap().count();
        (journals + pods == 0).then_some(())
    })
    .await;
    agent.stop().await;
    drop(server);
}

fn has_reason(status: &PodStatus, reason: &str) -> bool {
    let waiting = main_container(status)
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref());
    waiting.is_some_and(|waiting| waiting.reason == reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_journey_as_a_process() {
    journey(RuntimeChoice::Process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_journey_in_containerd() {
    let is_required = std::env::var_os("TRIREME_REQUIRE_CONTAINERD").is_some_and(|value| value == "1");
    if !is_installed() || !nix::unistd::geteuid().is_root() {
        assert!(
            !is_required,
            "containerd cannot be tested: it is not installed, or this is not root"
        );
        eprintln!("NOT TESTED: containerd is not installed, or this is not root");
        return;
    }
    journey(RuntimeChoice::Containerd).await;
}

/// What an earlier agent started is ended only once the cluster has said what it wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_containers_wait_for_the_clusters_word() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = TestCluster::new().await;
    let _server = cluster.serve().await;
    let config = config(directory.path(), &cluster, RuntimeChoice::Process);
    let agent = Agent::start(&config);
    cluster.put_pod(&pod("web", "Always", &[]));
    reported(&cluster, "uid-web", is_ready).await;
    agent.stop().await;

    cluster.withhold_assignments(true);
    cluster.remove_pod("uid-web");
    let heartbeats = cluster.heartbeats().len();
    let agent = Agent::start(&config);
    eventually(
        "the agent is in session and has listed its runtime several times",
        || async {
            let fresh = cluster.heartbeats().split_off(heartbeats);
            (fresh.iter().filter(|heartbeat| heartbeat.ready).count() > 10).then_some(())
        },
    )
    .await;
    let containers = config.data_dir.join("process/containers");
    let is_running = || {
        std::fs::read_dir(&containers)
            .unwrap()
            .any(|entry| !entry.unwrap().path().join("exit.json").exists())
    };
    assert!(is_running(), "a container was ended before the cluster had spoken");
    cluster.withhold_assignments(false);
    eventually("the unwanted container is removed", || async {
        (!is_running()).then_some(())
    })
    .await;
    agent.stop().await;
    teardown(&config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_clear() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = TestCluster::new().await;
    let _server = cluster.serve().await;
    let good = config(directory.path(), &cluster, RuntimeChoice::Process);
    let outcome = |config: AgentConfig| async move {
        let error = trireme_node_agent::run(config, CancellationToken::new())
            .await
            .unwrap_err();
        let source = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        format!("{error}: {source}")
    };
    let no_token = outcome(AgentConfig {
        token: None,
        ..good.clone()
    })
    .await;
    assert!(no_token.contains("give it a join token"), "{no_token}");
    let nonsense = outcome(AgentConfig {
        token: Some("nonsense".to_owned()),
        ..good.clone()
    })
    .await;
    assert!(nonsense.contains("token"), "{nonsense}");
    let wrong = good.token.clone().unwrap().replace("openSesame", "closed");
    let wrong = outcome(AgentConfig {
        token: Some(wrong),
        ..good.clone()
    })
    .await;
    assert!(wrong.contains("joining the cluster failed"), "{wrong}");

    let agent = Agent::start(&good);
    eventually("the node registers", || async { cluster.node() }).await;
    let in_use = outcome(good.clone()).await;
    assert!(in_use.contains("another agent is using"), "{in_use}");
    agent.stop().await;
}
