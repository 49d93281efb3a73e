//! The chaos test at its short length, and the proof that it can fail.

use trireme_tests::{
    chaos::{ChaosOptions, ChaosReport, faults::Fault, run},
    harness::{ClusterOptions, faults_trireme},
};

/// Leaders broken in one short run.
const FAULTS: usize = 5;
/// Concurrent writers.
const WRITERS: usize = 8;

/// What a leader with the planted bug logs once it is at work, which it is not while the members join.
const AT_WORK: &str = "planted: appends are acknowledged before they are sent";

async fn run_short(fault: Fault, faults: usize, logged: &'static str, cluster: ClusterOptions) -> ChaosReport {
    let report = run(&ChaosOptions {
        cluster,
        faults,
        fault,
        logged,
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
    let report = run_short(Fault::Kill, FAULTS, "", ClusterOptions::default()).await;
    assert_eq!(report.violations, [], "kept in {:?}", report.kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_continued_leaders_break_no_promise() {
    let report = run_short(Fault::Stop, FAULTS, "", ClusterOptions::default()).await;
    assert_eq!(report.violations, [], "kept in {:?}", report.kept);
}

/// A leader that acknowledges before its followers have the entry loses writes when it is killed. The killed leader stays dead: it would find on its return that
/// the others have gone on without what it had committed, and refuse to start.
#[tokio::test(flavor = "multi_thread")]
async fn a_planted_bug_is_caught() {
    let report = run_short(
        Fault::Kill,
        1,
        AT_WORK,
        ClusterOptions {
            trireme: faults_trireme(),
            environment: vec![("TRIREME_PLANTED".to_owned(), "ack-before-replication".to_owned())],
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
