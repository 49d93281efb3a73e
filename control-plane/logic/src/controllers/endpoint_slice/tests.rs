//! Slices of services, as pods come and go.

use std::collections::BTreeSet;

use trireme_proto::api::{
    core::v1::{ContainerPort, Pod, Service},
    discovery::v1::EndpointSlice,
    meta::v1::{IntOrString, ObjectMeta},
};

use super::{EndpointSliceController, MANAGED_BY, MANAGER, SERVICE_NAME};
use crate::{
    controllers::conditions,
    kind::metadata_of,
    testing::{at, harness::Harness, labels, mk_pod, mk_service},
};

fn cluster() -> Harness {
    Harness::with(vec![Box::new(EndpointSliceController)], 1)
}

fn running(name: &str, index: usize) -> Pod {
    let mut pod = mk_pod("default", name);
    let meta = pod.metadata.as_mut().unwrap();
    meta.labels = labels(&[("app", "web")]);
    meta.uid = format!("uid-{name}");
    pod.spec.as_mut().unwrap().node_name = "node-0".into();
    let status = pod.status.get_or_insert_default();
    status.phase = "Running".into();
    status.pod_ip = format!("10.0.{}.{}", index / 250, index % 250);
    conditions::set(&mut status.conditions, "Ready", "True", "", "", at(0));
    pod
}

fn slices(harness: &Harness) -> Vec<EndpointSlice> {
    harness.list::<EndpointSlice>().into_iter().cloned().collect()
}

fn unready(pod: &mut Pod) {
    conditions::set(
        &mut pod.status.as_mut().unwrap().conditions,
        "Ready",
        "False",
        "",
        "",
        at(9),
    );
}

fn terminate(pod: &mut Pod) {
    pod.metadata.as_mut().unwrap().deletion_timestamp = Some(at(9));
}

#[test]
fn endpoints_follow_the_pods() {
    let mut harness = cluster();
    harness.create(mk_service("default", "web"));
    harness.settle();
    let slice = &slices(&harness)[0];
    assert_eq!((slice.endpoints.len(), slice.address_type.as_str()), (0, "IPv4"));
    assert_eq!(slice.ports[0].port, Some(80));
    let meta = metadata_of(slice);
    assert_eq!(
        (meta.labels[SERVICE_NAME].as_str(), meta.labels[MANAGED_BY].as_str()),
        ("web", MANAGER)
    );
    assert_eq!(meta.owner_references[0].name, "web");

    harness.put(Box::new(running("a", 1)));
    harness.put(Box::new(running("b", 2)));
    harness.put(Box::new(mk_pod("default", "other")));
    harness.settle();
    let slice = &slices(&harness)[0];
    assert_eq!(slice.endpoints.len(), 2);
    let endpoint = &slice.endpoints[0];
    assert_eq!(
        (endpoint.addresses[0].as_str(), endpoint.node_name.as_deref()),
        ("10.0.0.1", Some("node-0"))
    );
    assert_eq!(endpoint.target_ref.as_ref().unwrap().uid, "uid-a");

    for (change, ready, serving, terminating) in [
        (terminate as fn(&mut Pod), false, true, true),
        (unready, false, false, false),
    ] {
        let mut pod = running("a", 1);
        change(&mut pod);
        harness.put(Box::new(pod));
        harness.settle();
        let found = slices(&harness)[0]
            .endpoints
            .iter()
            .find(|endpoint| endpoint.addresses[0] == "10.0.0.1")
            .cloned()
            .unwrap();
        let conditions = found.conditions.unwrap();
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(ready), Some(serving), Some(terminating))
        );
    }
    let mut done = running("a", 1);
    done.status.as_mut().unwrap().phase = "Succeeded".into();
    harness.put(Box::new(done));
    harness.settle();
    assert_eq!(slices(&harness)[0].endpoints.len(), 1);
    assert_eq!(harness.created["endpointslices"], 1);
}

#[test]
fn one_pod_changes_one_slice() {
    let mut harness = cluster();
    harness.create(mk_service("default", "web"));
    for index in 0..250 {
        harness.put(Box::new(running(&format!("p{index:03}"), index)));
    }
    harness.settle();
    let before = slices(&harness);
    let sizes: BTreeSet<usize> = before.iter().map(|slice| slice.endpoints.len()).collect();
    assert_eq!((before.len(), sizes), (3, BTreeSet::from([50, 100])));

    let mut changed = running("p007", 7);
    changed.status.as_mut().unwrap().pod_ip = "10.9.9.9".into();
    harness.put(Box::new(changed));
    harness.put(Box::new(running("p900", 900)));
    harness.settle();
    let after = slices(&harness);
    let changed = before.iter().zip(&after).filter(|(one, other)| one != other).count();
    assert!(changed <= 2, "{changed} slices changed for two pods");
    assert_eq!(after.iter().map(|slice| slice.endpoints.len()).sum::<usize>(), 251);
    let count = harness.store.revision();
    harness.full_pass();
    harness.settle();
    assert_eq!(harness.store.revision(), count, "I8: nothing more to write");
}

#[test]
fn named_ports_are_looked_up_in_each_pod() {
    let mut harness = cluster();
    let mut service = mk_service("default", "web");
    service.spec.as_mut().unwrap().ports[0].target_port = Some(IntOrString::from("http"));
    harness.create(service);
    for (name, index, port) in [("a", 1, 8080), ("b", 2, 9090), ("c", 3, 8080)] {
        let mut pod = running(name, index);
        let port = ContainerPort {
            name: "http".into(),
            container_port: port,
            protocol: "TCP".into(),
            ..ContainerPort::default()
        };
        pod.spec.as_mut().unwrap().containers[0].ports.push(port);
        harness.put(Box::new(pod));
    }
    harness.settle();
    let mut found: Vec<(Option<i32>, usize)> = slices(&harness)
        .iter()
        .map(|slice| (slice.ports[0].port, slice.endpoints.len()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(Some(8080), 2), (Some(9090), 1)]);
}

#[test]
fn slices_of_people_and_services_without_selector_stay() {
    let mut harness = cluster();
    let mut service = mk_service("default", "manual");
    service.spec.as_mut().unwrap().selector.clear();
    harness.create(service);
    harness.create(mk_service("default", "web"));
    for service in ["manual", "web"] {
        let metadata = ObjectMeta {
            namespace: "default".into(),
            name: format!("{service}-mine"),
            labels: labels(&[(SERVICE_NAME, service)]),
            ..ObjectMeta::default()
        };
        harness.create(EndpointSlice {
            metadata: Some(metadata),
            address_type: "IPv4".into(),
            ..EndpointSlice::default()
        });
    }
    harness.settle();
    let names: Vec<String> = slices(&harness)
        .iter()
        .map(|slice| metadata_of(slice).name.clone())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"manual-mine".to_owned()) && names.contains(&"web-mine".to_owned()));
    harness.change::<Service>("default", "web", |service| {
        service.spec.as_mut().unwrap().ports[0].target_port = Some(IntOrString::from(81));
    });
    harness.settle();
    let managed = slices(&harness)
        .into_iter()
        .filter(|slice| metadata_of(slice).labels.contains_key(MANAGED_BY));
    assert_eq!(managed.map(|slice| slice.ports[0].port).collect::<Vec<_>>(), [Some(81)]);
}
