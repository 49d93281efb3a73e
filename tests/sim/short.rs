//! The simulation at its short length, and the proof that a seed decides everything.

use std::process::{Command, Output};

/// Seeds of the short run.
const SEEDS: &str = "16";

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(arguments)
        .output()
        .expect("the simulation can be started")
}

#[test]
fn promises_are_kept_whatever_goes_wrong() {
    let output = sim(&["--seeds", SEEDS, "--first", "1", "--fault-seconds", "6"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{told}");
}

/// Bugs that the faults bring to light, and which check finds each.
#[cfg(feature = "faults")]
const PLANTED: [(&str, &str); 6] = [
    ("ack-before-fsync", "log agreement"),
    ("ack-before-replication", "log agreement"),
    ("applied-index-outside-batch", "state hashes"),
    ("stale-follower-read", "linearizable"),
    ("vote-not-persisted", "opens again"),
    ("snapshot-newer-than-metadata", "liveness"),
];
/// Seeds within which a planted bug must be found.
#[cfg(feature = "faults")]
const PLANTED_SEEDS_MAX: u64 = 64;

#[cfg(feature = "faults")]
#[test]
fn planted_bugs_are_found() {
    for (bug, check) in PLANTED {
        let found = (1..=PLANTED_SEEDS_MAX).step_by(4).find(|first| {
            let first = first.to_string();
            let output = sim(&[
                "--seeds",
                "4",
                "--first",
                &first,
                "--fault-seconds",
                "6",
                "--plant",
                bug,
            ]);
            let told = String::from_utf8_lossy(&output.stdout);
            !output.status.success() && told.contains(&format!("BROKEN {check}"))
        });
        let first = found.unwrap_or_else(|| panic!("{bug} was not found in {PLANTED_SEEDS_MAX} seeds by {check}"));
        eprintln!("{bug}: found by {check} in one of four seeds from {first} on");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let traces: Vec<Vec<u8>> = ["one", "two"]
        .map(|name| {
            let path = folder.path().join(name);
            let output = sim(&[
                "--seed",
                "11",
                "--fault-seconds",
                "5",
                "--trace",
                &path.to_string_lossy(),
            ]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            std::fs::read(path).expect("the trace was written")
        })
        .to_vec();
    assert!(traces[0].len() > 10_000, "next to nothing happened");
    let differs = traces[0].iter().zip(&traces[1]).position(|(one, other)| one != other);
    assert!(traces[0] == traces[1], "the traces differ from byte {differs:?} on");
}
