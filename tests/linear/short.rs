//! The proof at its short length, against etcd where it is installed and against Trireme, and the proof that it can fail.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use trireme_tests::{
    harness::etcd::{EtcdOptions, Peer},
    linear::{
        Report, RunOptions,
        faults::{Fault, Needs},
        regressions::Regression,
        run,
    },
};

/// Rounds within which the planted bug must be caught.
const PLANTED_ROUNDS_MAX: usize = 5;

async fn rounds(members: EtcdOptions, faults: &[Fault]) -> Vec<Report> {
    let root = nix::unistd::geteuid().is_root();
    let faults: Vec<Fault> = faults
        .iter()
        .copied()
        .filter(|fault| root || fault.needs() == Needs::Nothing)
        .collect();
    let options = RunOptions {
        members,
        rounds: Some(faults.len()),
        faults,
        duration: None,
        seed: 1,
        clients: 12,
        strikes: 1,
        hold: Duration::from_secs(2),
        verbose: true,
    };
    run(&options)
        .await
        .unwrap_or_else(|error| panic!("the run broke off: {error:#}"))
}

fn assert_sound(reports: &[Report]) {
    for report in reports {
        assert_eq!(report.findings, [], "kept in {:?}", report.kept);
        // All the faults that are chosen here strike the leader.
        let elections = report.fault == Fault::None || report.terms > 0;
        assert!(elections, "{:?} led to no election: it broke nothing", report.fault);
    }
}

/// etcd is the reference: if it does not pass, the proof is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn etcd_keeps_its_promises() {
    let installed = std::process::Command::new("etcd").arg("--version").output().is_ok();
    if !installed {
        eprintln!("not tested: etcd is not installed");
        return;
    }
    assert_sound(&rounds(EtcdOptions::new(Peer::Etcd), &[Fault::None, Fault::Kill]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn trireme_keeps_its_promises() {
    let faults = [Fault::Kill, Fault::Stop, Fault::Partition, Fault::Power];
    assert_sound(&rounds(EtcdOptions::new(Peer::Trireme), &faults).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_once_broke_etcd_does_not_break_trireme() {
    for regression in Regression::ALL {
        let result = regression.run(&EtcdOptions::new(Peer::Trireme)).await;
        assert!(result.is_ok(), "{regression:?}: {result:?}");
    }
}

/// The program that acknowledges before its followers have the entry loses writes when its leader is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_planted_bug_is_caught() {
    let trireme = std::env::var_os("TRIREME_PLANTED_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/planted/trireme"),
        PathBuf::from,
    );
    let members = EtcdOptions {
        trireme,
        ..EtcdOptions::new(Peer::Trireme)
    };
    // The kill must fall between an acknowledgement and the entry's way to a follower, which it need not do at once.
    for _ in 0..PLANTED_ROUNDS_MAX {
        let reports = rounds(members.clone(), &[Fault::Kill]).await;
        for kept in reports.iter().filter_map(|report| report.kept.as_deref()) {
            // It failed as it should: there is nothing to look into.
            std::fs::remove_dir_all(kept).expect("the run's folder can be deleted");
        }
        let mut findings = reports.iter().flat_map(|report| &report.findings);
        if findings.any(|(rule, _)| rule == "linearizable") {
            return;
        }
    }
    panic!("acknowledged writes were lost, and nobody noticed in {PLANTED_ROUNDS_MAX} rounds");
}
