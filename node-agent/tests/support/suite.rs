//! The conformance suite of the `Runtime` trait: what every implementation promises.

use super::eventually;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use trireme_node_agent::image::pack::HELLO_IMAGE;
use trireme_node_agent::runtime::{
    ContainerConfig, ContainerInfo, ContainerState, Mount, PodIdentity, Runtime, SandboxConfig, SandboxState,
};

const GRACE: Duration = Duration::from_secs(15);
const KILLED_EXIT_CODE: i32 = 137;

/// A runtime under test.
pub struct Subject {
    /// The runtime, with the `hello` image imported.
    pub runtime: Arc<dyn Runtime>,
    /// Opens the same runtime anew, as a new agent does.
    pub reopen: Box<dyn Fn() -> Arc<dyn Runtime> + Send + Sync>,
    /// Where logs go; none if the runtime runs nothing real.
    pub logs: Option<PathBuf>,
    /// Containers see volumes at their paths, rather than below `TRIREME_VOLUMES`.
    pub has_mounts: bool,
}

/// Runs the whole suite. Everything it makes is removed at its end.
pub async fn run(subject: &Subject) {
    version_and_images(subject).await;
    what_is_gone_may_be_stopped_again(subject).await;
    life_of_a_container(subject).await;
    exit_codes(subject).await;
    a_command_that_is_not_there(subject).await;
    stopping_a_sandbox(subject).await;
    adoption(subject).await;
    if subject.logs.is_some() {
        environment_and_logs(subject).await;
        volumes(subject).await;
        serving(subject).await;
        commands_inside(subject).await;
    }
    let left = subject.runtime.inventory().await.unwrap();
    assert!(
        left.sandboxes.is_empty() && left.containers.is_empty(),
        "something was left: {left:?}"
    );
}

fn sandbox(subject: &Subject, name: &str) -> SandboxConfig {
    let uid = format!("uid-of-{name}");
    SandboxConfig {
        pod: PodIdentity {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: uid.clone(),
        },
        hostname: name.to_owned(),
        log_directory: subject
            .logs
            .clone()
            .unwrap_or_else(|| PathBuf::from("/nonexistent"))
            .join(uid),
        ..SandboxConfig::default()
    }
}

fn container(name: &str, arguments: &[&str]) -> ContainerConfig {
    ContainerConfig {
        name: name.to_owned(),
        image: HELLO_IMAGE.to_owned(),
        args: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        ..ContainerConfig::default()
    }
}

async fn start(subject: &Subject, sandbox_id: &str, sandbox: &SandboxConfig, config: &ContainerConfig) -> String {
    let id = subject
        .runtime
        .create_container(sandbox_id, sandbox, config)
        .await
        .unwrap();
    subject.runtime.start_container(&id).await.unwrap();
    id
}

async fn find(runtime: &dyn Runtime, id: &str) -> Option<ContainerInfo> {
    runtime
        .inventory()
        .await
        .unwrap()
        .containers
        .into_iter()
        .find(|container| container.id == id)
}

async fn exited(subject: &Subject, id: &str) -> ContainerInfo {
    eventually("the container ends", || async {
        find(subject.runtime.as_ref(), id)
            .await
            .filter(|found| found.state == ContainerState::Exited)
    })
    .await
}

fn log_of(sandbox: &SandboxConfig, name: &str) -> PathBuf {
    sandbox.log_directory.join(name).join("0.log")
}

async fn version_and_images(subject: &Subject) {
    let runtime = subject.runtime.as_ref();
    assert!(!runtime.version().await.unwrap().name.is_empty());
    runtime.check_ready().await.unwrap();
    assert!(runtime.image(HELLO_IMAGE).await.unwrap().is_some());
    assert_eq!(runtime.image("trireme.local/absent:1").await.unwrap(), None);
}

async fn what_is_gone_may_be_stopped_again(subject: &Subject) {
    let runtime = subject.runtime.as_ref();
    runtime.stop_container("absent", Duration::ZERO).await.unwrap();
    runtime.remove_container("absent").await.unwrap();
    runtime.stop_sandbox("absent").await.unwrap();
    runtime.remove_sandbox("absent").await.unwrap();
    assert!(runtime.start_container("absent").await.is_err());
    let config = sandbox(subject, "absent");
    assert!(
        runtime
            .create_container("absent", &config, &container("main", &[]))
            .await
            .is_err()
    );
}

async fn life_of_a_container(subject: &Subject) {
    let runtime = subject.runtime.as_ref();
    let config = sandbox(subject, "life");
    let sandbox_id = runtime.run_sandbox(&config).await.unwrap();
    let listed = runtime.inventory().await.unwrap().sandboxes;
    let found = listed.iter().find(|sandbox| sandbox.id == sandbox_id).unwrap();
    assert_eq!((&found.pod, found.state), (&config.pod, SandboxState::Ready));
    assert_eq!(found.addresses.len(), 1, "a pod has an address");

    let sleeper = ContainerConfig {
        attempt: 3,
        ..container("main", &["sleep", "1000"])
    };
    let id = runtime.create_container(&sandbox_id, &config, &sleeper).await.unwrap();
    let created = find(runtime, &id).await.unwrap();
    assert_eq!((created.state, created.attempt), (ContainerState::Created, 3));
    assert_eq!((created.name.as_str(), &created.pod), ("main", &config.pod));
    assert_eq!(created.image, HELLO_IMAGE);
    assert_eq!(created.sandbox_id, sandbox_id);
    runtime.start_container(&id).await.unwrap();
    let running = find(runtime, &id).await.unwrap();
    assert_eq!(running.state, ContainerState::Running);
    assert!(!running.started_at.is_unset());

    // The program needs a moment to be able to hear TERM.
    if subject.logs.is_some() {
        let log = config.log_directory.join("main").join("3.log");
        eventually("the program says that it is up", || async {
            std::fs::read_to_string(&log)
                .ok()
                .filter(|text| text.contains("sleeping"))
        })
        .await;
    }
    runtime.stop_container(&id, GRACE).await.unwrap();
    let ended = exited(subject, &id).await;
    assert_eq!((ended.exit_code, ended.reason.as_str()), (0, "Completed"));
    assert!(ended.finished_at >= ended.started_at);
    assert_eq!(ended.started_at, running.started_at);
    runtime.remove_container(&id).await.unwrap();
    assert!(find(runtime, &id).await.is_none());
    runtime.remove_sandbox(&sandbox_id).await.unwrap();
}

async fn exit_codes(subject: &Subject) {
    let config = sandbox(subject, "codes");
    let sandbox_id = subject.runtime.run_sandbox(&config).await.unwrap();
    for (code, reason) in [(0, "Completed"), (3, "Error")] {
        let name = format!("exit-{code}");
        let id = start(
            subject,
            &sandbox_id,
            &config,
            &container(&name, &["exit", &code.to_string()]),
        )
        .await;
        let ended = exited(subject, &id).await;
        assert_eq!((ended.exit_code, ended.reason.as_str()), (code, reason));
    }
    let id = start(
        subject,
        &sandbox_id,
        &config,
        &container("stubborn", &["sleep", "1000"]),
    )
    .await;
    subject.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(
        exited(subject, &id).await.exit_code,
        KILLED_EXIT_CODE,
        "no grace is a kill"
    );
    subject.runtime.remove_sandbox(&sandbox_id).await.unwrap();
}

async fn a_command_that_is_not_there(subject: &Subject) {
    if subject.logs.is_none() {
        return;
    }
    let config = sandbox(subject, "bad-command");
    let sandbox_id = subject.runtime.run_sandbox(&config).await.unwrap();
    let bad = ContainerConfig {
        command: vec!["/absent".to_owned()],
        ..container("main", &[])
    };
    let created = subject.runtime.create_container(&sandbox_id, &config, &bad).await;
    let outcome = match created {
        Ok(id) => subject.runtime.start_container(&id).await,
        Err(error) => Err(error),
    };
    assert!(outcome.is_err(), "a command that is not in the image was started");
    let listed = subject.runtime.inventory().await.unwrap().containers;
    assert!(
        listed
            .iter()
            .all(|container| container.state != ContainerState::Running)
    );
    subject.runtime.remove_sandbox(&sandbox_id).await.unwrap();
}

async fn stopping_a_sandbox(subject: &Subject) {
    let runtime = subject.runtime.as_ref();
    let (first, second) = (sandbox(subject, "first"), sandbox(subject, "second"));
    let first_id = runtime.run_sandbox(&first).await.unwrap();
    let second_id = runtime.run_sandbox(&second).await.unwrap();
    let listed = runtime.inventory().await.unwrap().sandboxes;
    let addresses: std::collections::BTreeSet<_> = listed.iter().flat_map(|sandbox| &sandbox.addresses).collect();
    assert_eq!(addresses.len(), 2, "two pods have two addresses");
    let id = start(subject, &first_id, &first, &container("main", &["sleep", "1000"])).await;
    let other = start(subject, &second_id, &second, &container("main", &["sleep", "1000"])).await;
    runtime.stop_sandbox(&first_id).await.unwrap();
    assert_eq!(exited(subject, &id).await.sandbox_id, first_id);
    assert_eq!(
        find(runtime, &other).await.unwrap().state,
        ContainerState::Running,
        "the other pod goes on"
    );
    let listed = runtime.inventory().await.unwrap().sandboxes;
    let stopped = listed.iter().find(|sandbox| sandbox.id == first_id).unwrap();
    assert_eq!((stopped.state, stopped.addresses.len()), (SandboxState::NotReady, 0));
    assert!(
        runtime
            .create_container(&first_id, &first, &container("late", &[]))
            .await
            .is_err()
    );
    runtime.remove_sandbox(&first_id).await.unwrap();
    assert!(
        find(runtime, &id).await.is_none(),
        "a sandbox takes its containers along"
    );
    runtime.remove_sandbox(&second_id).await.unwrap();
}

/// A new agent finds what the one before it started, with the same start times, and can stop it.
async fn adoption(subject: &Subject) {
    let config = sandbox(subject, "adopted");
    let sandbox_id = subject.runtime.run_sandbox(&config).await.unwrap();
    let id = start(subject, &sandbox_id, &config, &container("main", &["sleep", "1000"])).await;
    let before = find(subject.runtime.as_ref(), &id).await.unwrap();
    let reopened = (subject.reopen)();
    let after = find(reopened.as_ref(), &id).await.unwrap();
    assert_eq!(after, before, "nothing about the container changed");
    reopened.stop_container(&id, GRACE).await.unwrap();
    let ended = eventually("the adopted container ends", || async {
        find(reopened.as_ref(), &id)
            .await
            .filter(|found| found.state == ContainerState::Exited)
    })
    .await;
    assert_eq!(ended.started_at, before.started_at);
    reopened.remove_sandbox(&sandbox_id).await.unwrap();
    eventually("the first agent sees it too", || async {
        subject
            .runtime
            .inventory()
            .await
            .unwrap()
            .sandboxes
            .is_empty()
            .then_some(())
    })
    .await;
}

async fn environment_and_logs(subject: &Subject) {
    let config = sandbox(subject, "env");
    let sandbox_id = subject.runtime.run_sandbox(&config).await.unwrap();
    let printer = ContainerConfig {
        env: vec![
            ("COLOUR".to_owned(), "green".to_owned()),
            ("COLOUR".to_owned(), "red".to_owned()),
        ],
        ..container("printer", &["env"])
    };
    let id = start(subject, &sandbox_id, &config, &printer).await;
    exited(subject, &id).await;
    let log = eventually("the log is written", || async {
        std::fs::read_to_string(log_of(&config, "printer"))
            .ok()
            .filter(|text| text.contains("COLOUR"))
    })
    .await;
    assert!(log.contains(" stdout F COLOUR=red\n"), "later entries win: {log}");
    let id = start(subject, &sandbox_id, &config, &container("many", &["log", "20"])).await;
    exited(subject, &id).await;
    let log = eventually("all lines are there", || async {
        let text = std::fs::read_to_string(log_of(&config, "many")).ok()?;
        (text.lines().count() == 20).then_some(text)
    })
    .await;
    assert_eq!(log.lines().filter(|line| line.contains(" stderr F ")).count(), 2);
    subject.runtime.remove_sandbox(&sandbox_id).await.unwrap();
}

async fn volumes(subject: &Subject) {
    let config = sandbox(subject, "volumes");
    let sandbox_id = subject.runtime.run_sandbox(&config).await.unwrap();
    let volume = tempfile::tempdir().unwrap();
    std::fs::write(volume.path().join("greeting"), "from the volume\n").unwrap();
    let mount = Mount {
        volume: "app".to_owned(),
        container_path: "/etc/app".to_owned(),
        host_path: volume.path().to_owned(),
        sub_path: PathBuf::new(),
        read_only: true,
    };
    if subject.has_mounts {
        let reader = ContainerConfig {
            mounts: vec![mount],
            ..container("reader", &["cat", "/etc/app/greeting"])
        };
        let id = start(subject, &sandbox_id, &config, &reader).await;
        exited(subject, &id).await;
        expect_in_log(&log_of(&config, "reader"), "from the volume").await;
    } else {
        let printer = ContainerConfig {
            mounts: vec![mount],
            ..container("printer", &["env"])
        };
        let id = start(subject, &sandbox_id, &config, &printer).await;
        exited(subject, &id).await;
        let log = expect_in_log(&log_of(&config, "printer"), "TRIREME_VOLUMES=").await;
        let line = log.lines().find(|line| line.contains("TRIREME_VOLUMES=")).unwrap();
        let volumes = Path::new(line.split_once('=').unwrap().1);
        assert_eq!(
            std::fs::read_to_string(volumes.join("etc/app/greeting")).unwrap(),
            "from the volume\n"
        );
    }
    subject.runtime.remove_sandbox(&sandbox_id).await.unwrap();
}

async fn expect_in_log(path: &Path, text: &str) -> String {
    eventually("the log says it", || async {
        std::fs::read_to_string(path).ok().filter(|log| log.contains(text))
    })
    .await
}

/// A pod serves at its own address, and another at the same port of its own.
async fn serving(subject: &Subject) {
    let mut sandboxes = Vec::new();
    for name in ["web-1", "web-2"] {
        let config = sandbox(subject, name);
        let sandbox_id = subject.runtime.run_sandbox(&config).await.unwrap();
        let server = ContainerConfig {
            env: vec![("POD_NAME".to_owned(), name.to_owned())],
            ..container("web", &["serve"])
        };
        start(subject, &sandbox_id, &config, &server).await;
        sandboxes.push((name, sandbox_id));
    }
    let listed = subject.runtime.inventory().await.unwrap().sandboxes;
    for (name, sandbox_id) in &sandboxes {
        let found = listed.iter().find(|sandbox| sandbox.id == *sandbox_id).unwrap();
        let address = SocketAddr::new(found.addresses[0], 8080);
        let answer = eventually("the pod answers", || async move {
            tokio::task::spawn_blocking(move || get(address)).await.unwrap()
        })
        .await;
        assert!(answer.contains(&format!("Hello from {name}!")), "{answer}");
    }
    for (_, sandbox_id) in sandboxes {
        subject.runtime.remove_sandbox(&sandbox_id).await.unwrap();
    }
}

fn get(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

async fn commands_inside(subject: &Subject) {
    let config = sandbox(subject, "exec");
    let sandbox_id = subject.runtime.run_sandbox(&config).await.unwrap();
    let id = start(subject, &sandbox_id, &config, &container("main", &["sleep", "1000"])).await;
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (command, code) in [("/hello exit 0", 0), ("/hello exit 4", 4)] {
        let outcome = subject.runtime.exec(&id, &words(command), DEADLINE).await.unwrap();
        assert_eq!(outcome.exit_code, code, "{command}");
    }
    let outcome = subject
        .runtime
        .exec(&id, &words("/hello log 2"), DEADLINE)
        .await
        .unwrap();
    assert_eq!(String::from_utf8(outcome.output).unwrap(), "line 1\nline 2\n");
    subject.runtime.remove_sandbox(&sandbox_id).await.unwrap();
}

const DEADLINE: Duration = super::DEADLINE;
