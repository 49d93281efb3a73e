//! Old events, and quotas that get something back.

use std::collections::BTreeMap;

use trireme_proto::api::{
    core::v1::{Event, Pod, ResourceQuota, ResourceQuotaSpec},
    meta::v1::ObjectMeta,
};

use crate::{
    controllers::{event_ttl::EventTtl, times},
    limits::EVENT_TTL_SECONDS,
    testing::{harness::Harness, mk_pod_with_requests, resources},
};

#[test]
fn events_go_an_hour_after_they_last_happened() {
    let mut harness = Harness::with(vec![Box::new(EventTtl)], 1);
    for (name, age) in [("old", EVENT_TTL_SECONDS), ("young", EVENT_TTL_SECONDS - 3)] {
        let metadata = ObjectMeta {
            namespace: "default".into(),
            name: name.into(),
            ..ObjectMeta::default()
        };
        let last_timestamp = Some(times::plus_seconds(harness.now, -age));
        harness.put(Box::new(Event {
            metadata: Some(metadata),
            last_timestamp,
            ..Event::default()
        }));
    }
    harness.settle();
    assert_eq!(harness.list::<Event>().len(), 1);
    harness.pass_seconds(2);
    assert_eq!(harness.list::<Event>().len(), 1);
    harness.pass_seconds(1);
    assert!(harness.list::<Event>().is_empty());
}

fn used(harness: &Harness) -> BTreeMap<String, String> {
    let status = harness.get::<ResourceQuota>("default", "all").status.clone().unwrap();
    status
        .used
        .into_iter()
        .map(|(name, quantity)| (name, quantity.to_string()))
        .collect()
}

#[test]
fn quotas_are_counted_and_get_back_what_goes() {
    let mut harness = Harness::new(1, 2);
    for name in ["a", "b"] {
        harness.create(mk_pod_with_requests("default", name, &[("cpu", "500m")]));
    }
    let metadata = ObjectMeta {
        namespace: "default".into(),
        name: "all".into(),
        ..ObjectMeta::default()
    };
    let spec = ResourceQuotaSpec {
        hard: resources(&[("pods", "5"), ("requests.cpu", "4")]),
        ..ResourceQuotaSpec::default()
    };
    harness.create(ResourceQuota {
        metadata: Some(metadata),
        spec: Some(spec),
        ..ResourceQuota::default()
    });
    harness.settle();
    let expected = |pods: &str, cpu: &str| {
        BTreeMap::from([
            ("pods".to_owned(), pods.to_owned()),
            ("requests.cpu".to_owned(), cpu.to_owned()),
        ])
    };
    assert_eq!(used(&harness), expected("2", "1"));
    harness.delete::<Pod>("default", "a", None);
    harness.settle();
    assert_eq!(used(&harness), expected("1", "500m"));
    harness.change::<Pod>("default", "b", |_| {});
    let mut done = harness.get::<Pod>("default", "b").clone();
    done.status.as_mut().unwrap().phase = "Succeeded".into();
    harness.put(Box::new(done));
    harness.settle();
    assert_eq!(used(&harness), expected("0", "0"));
}
