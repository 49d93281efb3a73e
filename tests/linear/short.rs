//! The proof at its short length, against etcd where it is installed and against Trireme. That it can fail is shown by
//! `tests/planted/`.

use std::time::Duration;

use trireme_tests::{
    harness::etcd::{EtcdOptions, Peer},
    linear::{
        Report, RunOptions,
        faults::{Fault, Needs},
        regressions::Regression,
        run,
    },
};

async fn rounds(members: EtcdOptions, faults: &[Fault]) -> Vec<Report> {
    let root = nix::unistd::geteuid().is_root();
    let (faults, left_out): (Vec<Fault>, Vec<Fault>) =
        faults.iter().partition(|fault| root || fault.needs() == Needs::Nothing);
    if !left_out.is_empty() {
        eprintln!("not tested: {left_out:?} need root, for network namespaces or file systems");
    }
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
        // All the others that are chosen here take the lead away from whoever has it.
        let elections = matches!(report.fault, Fault::None | Fault::FullDisk) || report.terms > 0;
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
    let faults = [
        Fault::Kill,
        Fault::Stop,
        Fault::Partition,
        Fault::OneWay,
        Fault::Power,
        Fault::PowerAll,
        Fault::FullDisk,
        Fault::ReplaceLeader,
    ];
    assert_sound(&rounds(EtcdOptions::new(Peer::Trireme), &faults).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_once_broke_etcd_does_not_break_trireme() {
    for regression in Regression::ALL {
        let result = regression.run(&EtcdOptions::new(Peer::Trireme)).await;
        assert!(result.is_ok(), "{regression:?}: {result:?}");
    }
}
