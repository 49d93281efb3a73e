//! Quotas are exact, however many create at once and through whichever server.

use std::collections::BTreeMap;

use trireme_proto::api::{
    core::v1::{ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, Service, ServicePort, ServiceSpec},
    meta::v1::Quantity,
};

use super::*;

fn amounts(list: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    list.iter()
        .map(|(name, text)| {
            (
                (*name).to_owned(),
                Quantity {
                    string: (*text).to_owned(),
                },
            )
        })
        .collect()
}

/// A quota on pods that the quota controller has summed up.
pub(super) async fn quota_of_pods(harness: &Harness, hard: &str, used: &str) {
    let spec = ResourceQuotaSpec {
        hard: amounts(&[("pods", hard)]),
        ..ResourceQuotaSpec::default()
    };
    let quota = ResourceQuota {
        metadata: mk_meta("few"),
        spec: Some(spec),
        ..ResourceQuota::default()
    };
    harness.create(quota).await.expect("created");
    sum_up_pods(harness, hard, used).await;
}

/// What the quota controller does: says how many pods there are.
pub(super) async fn sum_up_pods(harness: &Harness, hard: &str, used: &str) {
    let mut quota: ResourceQuota = typed(&stored_quota(harness).await);
    quota.status = Some(ResourceQuotaStatus {
        hard: amounts(&[("pods", hard)]),
        used: amounts(&[("pods", used)]),
    });
    let decoded = Decoded::internal(Box::new(quota));
    harness
        .registry
        .update_status(&system(), decoded, false)
        .await
        .expect("summed up");
}

async fn stored_quota(harness: &Harness) -> Stored {
    let key = in_default("few");
    harness.get("", "resourcequotas", &key).await.expect("there")
}

async fn used_pods(harness: &Harness) -> String {
    typed::<ResourceQuota>(&stored_quota(harness).await)
        .status
        .expect("present")
        .used["pods"]
        .string
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_creates_never_exceed_a_quota() {
    const ROOM: usize = 10;
    let harness = Harness::new().await;
    let other = harness.another_server();
    quota_of_pods(&harness, "10", "0").await;
    let attempts = (0..40).map(|index| {
        let registry = if index % 2 == 0 {
            harness.registry.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            let pod = Decoded::internal(Box::new(mk_pod(&format!("web-{index}"))));
            registry.create(&system(), pod, false).await
        })
    });
    let outcomes = futures::future::join_all(attempts).await;
    let (created, refused): (Vec<_>, Vec<_>) = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("no panic"))
        .partition(Result::is_ok);
    assert_eq!(created.len(), ROOM);
    for outcome in refused {
        let error = outcome.expect_err("partitioned");
        assert_eq!(error.reason(), Reason::Forbidden, "{error}");
        assert!(error.message().contains("exceeded quota: few"), "{error}");
    }
    assert_eq!(used_pods(&harness).await, "10");
}

#[tokio::test]
async fn a_quota_counts_from_its_first_moment() {
    let harness = Harness::new().await;
    quota_of_pods(&harness, "1", "1").await;
    // At once, though the follower may not have seen the quota.
    assert_eq!(reason(harness.create(mk_pod("web")).await), Reason::Forbidden);
    assert_eq!(used_pods(&harness).await, "1");
    harness
        .create(mk_config_map("settings"))
        .await
        .expect("it is not about these");
}

#[tokio::test]
async fn a_create_that_fails_charges_nothing() {
    let harness = Harness::new().await;
    quota_of_pods(&harness, "5", "0").await;
    harness.create(mk_pod("web")).await.expect("created");
    assert_eq!(reason(harness.create(mk_pod("web")).await), Reason::AlreadyExists);
    assert_eq!(reason(harness.create(mk_pod("Bad Name")).await), Reason::Invalid);
    assert_eq!(used_pods(&harness).await, "1");
}

#[tokio::test]
async fn a_change_that_takes_up_more_is_charged_and_what_it_gives_up_is_given_back() {
    let harness = Harness::new().await;
    let quota = ResourceQuota {
        metadata: mk_meta("ports"),
        spec: Some(ResourceQuotaSpec {
            hard: amounts(&[("services.nodeports", "2")]),
            ..ResourceQuotaSpec::default()
        }),
        ..ResourceQuota::default()
    };
    let mut quota: ResourceQuota = typed(&harness.create(quota).await.expect("created"));
    quota.status = Some(ResourceQuotaStatus {
        hard: amounts(&[("services.nodeports", "2")]),
        used: amounts(&[("services.nodeports", "0")]),
    });
    let summed = Decoded::internal(Box::new(quota));
    harness
        .registry
        .update_status(&system(), summed, false)
        .await
        .expect("summed up");
    let service = |kind: &str, ports: i32| {
        let opens = kind == "NodePort";
        let port = |number: i32| ServicePort {
            name: format!("p{number}"),
            port: number,
            node_port: if opens { 30_000 + number } else { 0 },
            ..ServicePort::default()
        };
        Service {
            metadata: mk_meta("web"),
            spec: Some(ServiceSpec {
                r#type: kind.to_owned(),
                ports: (1..=ports).map(port).collect(),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    };
    let used = || async {
        let stored = harness
            .get("", "resourcequotas", &in_default("ports"))
            .await
            .expect("there");
        let quota = typed::<ResourceQuota>(&stored).status.expect("present");
        quota.used["services.nodeports"].string.clone()
    };
    harness.create(service("ClusterIP", 1)).await.expect("created");
    for (kind, ports, accepted, after) in [
        ("NodePort", 3, false, "0"),
        ("NodePort", 2, true, "2"),
        ("NodePort", 3, false, "2"),
        ("NodePort", 1, true, "1"),
        ("ClusterIP", 1, true, "0"),
    ] {
        let decoded = Decoded::internal(Box::new(service(kind, ports)));
        let outcome = harness.registry.update(&system(), decoded, false).await;
        match outcome {
            Ok(_) => assert!(accepted, "{kind} is accepted"),
            Err(error) => {
                assert!(!accepted, "{error:?}");
                assert_eq!(error.reason(), Reason::Forbidden);
                assert!(error.message().contains("exceeded quota: ports"), "{}", error.message());
            }
        }
        assert_eq!(used().await, after);
    }
}
