//! The chaos test at its short length, and the proof that it can fail.

use trireme_tests::{
    chaos::{ChaosOptions, ChaosReport, faults::Fault, run},
    harness::{ClusterOptions, faults_trireme},
};

/// Leaders broken in one short run.
const FAULTS: usize = 5;
/// Concurrent writers.
const WRITERS: usize = 8;

/// Runs with the planted bug until one comes to its end. The bug leaves followers with different logs, of which each takes its own
/// for committed: one of them may end when the next leader has another, and then nobody is left to be asked what was lost.
const PLANTED_RUNS: usize = 10;

async fn run_short(fault: Fault, faults: usize, cluster: ClusterOptions) -> anyhow::Result<ChaosReport> {
    let report = run(&ChaosOptions {
        cluster,
        faults,
        fault,
        writers: WRITERS,
        leave_broken: faults == 1,
        verbose: true,
    })
    .await?;
    eprintln!(
        "{} acknowledged, {} unknown, {} watched, gaps {:?}",
        report.acknowledged, report.unknown, report.watched, report.write_gaps
    );
    Ok(report)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_leaders_lose_no_acknowledged_write() -> anyhow::Result<()> {
    let report = run_short(Fault::Kill, FAULTS, ClusterOptions::default()).await?;
    assert_eq!(report.violations, [], "kept in {:?}", report.kept);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_continued_leaders_break_no_promise() -> anyhow::Result<()> {
    let report = run_short(Fault::Stop, FAULTS, ClusterOptions::default()).await?;
    assert_eq!(report.violations, [], "kept in {:?}", report.kept);
    Ok(())
}

/// A leader that acknowledges before its followers have the entry loses writes when it is killed. The killed leader stays dead: it would find on its return that
/// the others have gone on without what it had committed, and refuse to start.
#[tokio::test(flavor = "multi_thread")]
async fn a_planted_bug_is_caught() {
    let mut report = None;
    for _ in 0..PLANTED_RUNS {
        let cluster = ClusterOptions {
            trireme: faults_trireme(),
            environment: vec![("TRIREME_PLANTED".to_owned(), "ack-before-replication".to_owned())],
            ..ClusterOptions::default()
        };
        match run_short(Fault::Kill, 1, cluster).await {
            Ok(ended) => {
                report = Some(ended);
                break;
            }
            Err(error) => eprintln!("a run with the planted bug broke off: {error:#}"),
        }
    }
    let report = report.expect("one of the runs comes to its end");
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
