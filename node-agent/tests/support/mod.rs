//! What the runtime tests share: the static `hello` program and its images, and waiting for a
//! condition with a deadline.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "tests, and not each uses everything"
)]

pub mod cluster;
pub mod suite;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::Instant;
use trireme_node_agent::image::pack::{HELLO_IMAGE, PAUSE_IMAGE, PackRequest, pack_image};

/// How long a condition may take to hold.
pub const DEADLINE: Duration = Duration::from_secs(20);
const POLL_PERIOD: Duration = Duration::from_millis(20);

/// Waits until `condition` gives something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(POLL_PERIOD).await;
    }
}

/// The `hello` program, linked statically so that it runs in an image with nothing else. It has no
/// dependencies, so the compiler alone builds it, once a test directory.
pub fn hello_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build_hello_program)
}

fn build_hello_program() -> PathBuf {
    if let Some(path) = std::env::var_os("TRIREME_HELLO_BINARY") {
        return PathBuf::from(path);
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hello/src");
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hello-static");
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let newest = std::fs::read_dir(&source)
        .unwrap()
        .filter_map(|entry| modified(&entry.unwrap().path()))
        .max();
    if modified(&output) >= newest {
        return output;
    }
    // Built beside its place and renamed, since another test process may be building it too.
    let temporary = output.with_extension(std::process::id().to_string());
    let status = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-o"])
        .arg(&temporary)
        .arg(source.join("main.rs"))
        .status()
        .unwrap();
    assert!(status.success(), "the hello program does not compile");
    std::fs::rename(&temporary, &output).unwrap();
    output
}

/// Packs the images that the tests run into `directory`; gives their archives.
pub fn pack_images(directory: &Path) -> Vec<PathBuf> {
    let program = hello_program();
    let images = [
        (HELLO_IMAGE, "/hello", "hello.tar"),
        (PAUSE_IMAGE, "/pause", "pause.tar"),
    ];
    images
        .map(|(name, entrypoint, file)| {
            let output = directory.join(file);
            pack_image(
                PackRequest {
                    binary: program,
                    name,
                    entrypoint,
                    arguments: &[],
                },
                &output,
            )
            .unwrap();
            output
        })
        .to_vec()
}
