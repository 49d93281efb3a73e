//! The chaos test at its short length, and the proof that it can fail.

use trireme_tests::{
    chaos::{ChaosOptions, ChaosReport, faults::Fault, run},
    harness::ClusterOptions,
};

/// Leaders broken in one short run.
const FAULTS: usize = 5;
/// Concurrent writers.
const WRITERS: usize = 8;
/// Names the planted bug to a program that was built with `planted-bugs`.
const PLANTED_BUG: &str = "TRIREME_PLANTED_BUG";

async fn run_short(fault: Fault, faults: usize, environment: Vec<(String, String)>) -> ChaosReport {
    let report = run(&ChaosOptions {
        cluster: ClusterOptions {
            environment,
            ..ClusterOptions::default()
        },
        faults,
        fault,
        writers: WRITERS,
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
    let report = run_short(Fault::Kill, FAULTS, Vec::new()).await;
    assert_eq!(report.violations, [], "kept in {:?}", report.kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_continued_leaders_break_no_promise() {
    let report = run_short(Fault::Stop, FAULTS, Vec::new()).await;
    assert_eq!(report.violations, [], "kept in {:?}", report.kept);
}
