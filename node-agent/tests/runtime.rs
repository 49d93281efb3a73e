//! The conformance suite of the `Runtime` trait on each of its implementations.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::suite::{self, Subject};
use trireme_node_agent::ShimCommand;
use trireme_node_agent::network::PodCidr;
use trireme_node_agent::runtime::Runtime;
use trireme_node_agent::runtime::containerd::{Containerd, ContainerdConfig, is_installed};
use trireme_node_agent::runtime::fake::FakeRuntime;
use trireme_node_agent::runtime::process::ProcessRuntime;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fake_runtime() {
    let runtime = Arc::new(FakeRuntime::with_images(&[
        trireme_node_agent::image::pack::HELLO_IMAGE,
    ]));
    let again = Arc::clone(&runtime);
    let subject = Subject {
        runtime,
        reopen: Box::new(move || Arc::clone(&again) as Arc<dyn Runtime>),
        logs: None,
        has_mounts: false,
    };
    suite::run(&subject).await;
}

fn open_process_runtime(directory: &Path) -> Arc<dyn Runtime> {
    let shim = ShimCommand {
        program: PathBuf::from(env!("CARGO_BIN_EXE_trireme-shim")),
        arguments: Vec::<OsString>::new(),
    };
    let addresses = PodCidr::for_loopback(&directory.display().to_string());
    Arc::new(ProcessRuntime::open(directory, addresses, shim).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("process");
    let runtime = open_process_runtime(&place);
    for archive in support::pack_images(directory.path()) {
        runtime.import_image(&archive).await.unwrap();
    }
    let subject = Subject {
        runtime,
        reopen: Box::new(move || open_process_runtime(&place)),
        logs: Some(directory.path().join("logs")),
        has_mounts: false,
    };
    suite::run(&subject).await;
}

/// Whether an own containerd can run here. Where it must, the reason why not is a failure.
fn containerd_is_available() -> bool {
    let reason = if !nix::unistd::geteuid().is_root() {
        "it needs root"
    } else if !is_installed() {
        "containerd, runc or the network plugins are not installed"
    } else {
        return true;
    };
    let is_required = std::env::var_os("TRIREME_REQUIRE_CONTAINERD").is_some_and(|value| value == "1");
    assert!(!is_required, "the containerd runtime cannot be tested: {reason}");
    eprintln!("NOT TESTED: the containerd runtime: {reason}");
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_runtime() {
    if !containerd_is_available() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let node = format!("test-{}", std::process::id());
    let config = ContainerdConfig {
        directory: directory.path().join("containerd"),
        run_directory: directory.path().join("run"),
        pod_cidr: PodCidr::for_bridge(&node),
        node,
    };
    let containerd = Containerd::start(config.clone()).await.unwrap();
    // Whatever the suite finds, the processes and the network are taken down.
    let outcome = tokio::spawn(check_containerd(config, directory.path().to_owned())).await;
    for sandbox in containerd.runtime().inventory().await.unwrap().sandboxes {
        containerd.runtime().remove_sandbox(&sandbox.id).await.unwrap();
    }
    containerd.remove_network().await;
    containerd.stop().await.unwrap();
    containerd.remove_run_directory();
    outcome.unwrap();
}

async fn check_containerd(config: ContainerdConfig, directory: PathBuf) {
    // A second start finds the first one's containerd.
    let containerd = Containerd::start(config).await.unwrap();
    let runtime: Arc<dyn Runtime> = Arc::new(containerd.runtime());
    for archive in support::pack_images(&directory) {
        runtime.import_image(&archive).await.unwrap();
    }
    let subject = Subject {
        runtime,
        reopen: Box::new(move || Arc::new(containerd.runtime())),
        logs: Some(directory.join("logs")),
        has_mounts: true,
    };
    suite::run(&subject).await;
}
