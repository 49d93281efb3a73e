//! etcd's API as its clients know it: names, numbers and paths.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use prost::Message;
use trireme_proto::etcd::{kv, server};

fn services(set: &[u8]) -> BTreeSet<String> {
    let files = prost_types::FileDescriptorSet::decode(set).unwrap();
    let of_file = |file: &prost_types::FileDescriptorProto| {
        let package = file.package().to_owned();
        file.service
            .iter()
            .map(move |service| format!("{package}.{}", service.name()))
            .collect::<Vec<_>>()
    };
    files.file.iter().flat_map(of_file).collect()
}

#[test]
fn services_have_their_names_and_are_told_apart_from_the_others() {
    let etcd = services(trireme_proto::ETCD_FILE_DESCRIPTOR_SET);
    let expected = [
        "etcdserverpb.Cluster",
        "etcdserverpb.KV",
        "etcdserverpb.Lease",
        "etcdserverpb.Maintenance",
        "etcdserverpb.Watch",
        "v3electionpb.Election",
        "v3lockpb.Lock",
    ];
    assert_eq!(etcd, expected.map(str::to_owned).into());
    assert!(services(trireme_proto::FILE_DESCRIPTOR_SET).is_disjoint(&etcd));
}

/// Bytes that etcd's own client sends and receives.
#[test]
fn messages_have_their_numbers() {
    let compare = server::Compare {
        result: server::compare::CompareResult::NotEqual.into(),
        target: server::compare::CompareTarget::Lease.into(),
        key: "k".into(),
        target_union: Some(server::compare::TargetUnion::Lease(5)),
        range_end: "l".into(),
    };
    let expected = [8, 3, 16, 4, 26, 1, b'k', 64, 5, 0x82, 0x04, 1, b'l'];
    assert_eq!(compare.encode_to_vec(), expected);

    let response = server::WatchResponse {
        watch_id: 1,
        events: vec![kv::Event {
            r#type: kv::event::EventType::Delete.into(),
            kv: Some(kv::KeyValue {
                key: "k".into(),
                mod_revision: 3,
                ..kv::KeyValue::default()
            }),
            prev_kv: None,
        }],
        ..server::WatchResponse::default()
    };
    let expected = [16, 1, 0x5a, 9, 8, 1, 18, 5, 10, 1, b'k', 24, 3];
    assert_eq!(response.encode_to_vec(), expected);
}
