//! The chaos test at its short length, and the proof that it can fail.

use std::path::{Path, PathBuf};

use trireme_tests::{
    chaos::{ChaosOptions, ChaosReport, faults::Fault, run},
    harness::ClusterOptions,
};

/// Leaders broken in one short run.
const FAULTS: usize = 5;
/// Concurrent writers.
const WRITERS: usize = 8;

async fn run_short(fault: Fault, faults: usize, cluster: ClusterOptions) -> ChaosReport {
    let report = run(&ChaosOptions {
        cluster,
        faults,
        fault,
        writers: WRITERS,
        leave_broken: faults == 1,
        verbose: true,
    })
    .await
    .unwrap_or_else(|error| panic!("the run broke off: {error:#}"));
    eprintln!(
        "{} acknowledged, {} unknown, {} watched, gaps {:?}",
        report.acknowledged, report.unknown, report.watched, report.write_gaps
    );
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_leaders_lose_no_acknowledged_write() {
    let report = run_short(Fault::Kill, FAULTS, ClusterOptions::default()).await;
    assert_eq!(report.violations, [], "kept in {:?}", report.kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_continued_leaders_break_no_promise() {
    let report = run_short(Fault::Stop, FAULTS, ClusterOptions::default()).await;
    assert_eq!(report.violations, [], "kept in {:?}", report.kept);
}

/// A leader that acknowledges before its followers have the entry loses writes when it is killed. The program with
/// that bug is built by `./x test` beside the sound one. The killed leader stays dead: it would find on its return that
/// the others have gone on without what it had committed, and refuse to start.
#[tokio::test(flavor = "multi_thread")]
async fn a_planted_bug_is_caught() {
    let trireme = planted_trireme();
    let report = run_short(
        Fault::Kill,
        1,
        ClusterOptions {
            trireme,
            ..ClusterOptions::default()
        },
    )
    .await;
    let caught = report.violations.iter().any(|violation| violation.rule.contains("I1"));
    assert!(
        caught,
        "acknowledged writes were lost, and nobody noticed: {:?}",
        report.violations
    );
    if let Some(kept) = report.kept.as_deref().and_then(|kept| kept.parent()) {
        // It failed as it should: there is nothing to look into.
        std::fs::remove_dir_all(kept).expect("the run's folder can be deleted");
    }
}

fn planted_trireme() -> PathBuf {
    std::env::var_os("TRIREME_PLANTED_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/planted/trireme"),
        PathBuf::from,
    )
}
