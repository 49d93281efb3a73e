//! What creates, updates and loops do to the owners of fields.

use super::*;

fn config_map() -> Server {
    Server::new("", "ConfigMap")
}

#[test]
fn a_creator_owns_what_it_made_and_what_was_filled_in() {
    let mut server = Server::new("", "Pod");
    server.create(
        "kubectl-run",
        json!({"metadata": {"labels": {"run": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}, "status": {"phase": "Running"}}),
    );
    server.check_owners(&[concat!(
        r#"kubectl-run Update {"f:metadata":{"f:labels":{".":{},"f:run":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":"#,
        r#"{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{},"f:terminationMessagePath":{},"#,
        r#""f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"#,
        r#""f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}"#
    )]);
}

#[test]
fn whoever_changes_a_field_owns_it() {
    let mut server = config_map();
    server
        .create("one", json!({"data": {"a": "1", "b": "1"}}))
        .at(5)
        .patch("two", json!({"data": {"b": "2", "c": "2"}}))
        .at(10)
        .patch("one", json!({"data": {"c": null}}));
    server.check_owners(&[
        r#"one Update {"f:data":{".":{},"f:a":{}}}"#,
        r#"two Update {"f:data":{"f:b":{}}}"#,
    ]);
    assert_eq!(
        server.managers.iter().map(|entry| entry.time).collect::<Vec<_>>(),
        [Some(at(0)), Some(at(5))],
        "who only removes has nothing new"
    );
    server.patch("one", json!({"data": {"a": "3"}}));
    assert_eq!(server.managers[1].time, Some(at(10)));
}

#[test]
fn a_change_of_nothing_leaves_the_entries_alone() {
    let mut server = config_map();
    server.create("one", json!({"data": {"a": "1"}}));
    let before = server.managers.clone();
    server.at(5).patch("two", json!({"data": {"a": "1"}}));
    assert_eq!(server.managers, before);
    // Nor does a change of what nobody can own.
    server.patch("two", json!({"metadata": {"generation": 7}}));
    assert_eq!(server.managers, before);
}

#[test]
fn loops_own_nothing_but_take_what_they_change() {
    let mut server = config_map();
    server.apply("me", json!({"data": {"a": "1", "b": "1"}})).patch_part(
        Server::object(),
        None,
        json!({"data": {"b": "2", "c": "2"}}),
    );
    server.check_owners(&[r#"me Apply {"f:data":{"f:a":{}}}"#]);
    assert_eq!(server.value("/data"), json!({"a": "1", "b": "2", "c": "2"}));
}

#[test]
fn an_object_without_owners_stays_so_until_somebody_applies() {
    let mut server = config_map();
    server.create("loop", json!({"data": {"a": "1"}}));
    server.managers.clear();
    server.patch("editor", json!({"data": {"a": "2"}}));
    server.check_owners(&[]);
}

#[test]
fn status_and_object_are_owned_apart() {
    let mut server = Server::new("apps", "Deployment");
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": []}}});
    server.create("me", json!({"spec": spec}));
    let both = json!({"spec": {"replicas": 5}, "status": {"replicas": 5}});
    server.patch_part(Part::Status, Some("me"), both);
    assert_eq!(
        server.owners().last().map(String::as_str),
        Some(r#"me/status Update {"f:status":{"f:replicas":{}}}"#)
    );
    assert!(
        server.owners()[0].contains("f:replicas"),
        "the spec is not changed through the status"
    );
}

#[test]
fn the_oldest_of_many_updaters_are_merged() {
    let mut server = config_map();
    server.create("u00", json!({"data": {"k00": "1"}}));
    for index in 1..=limits_cap() + 2 {
        let key = format!("k{index:02}");
        server
            .at(i64::try_from(index).expect("is small"))
            .patch(&format!("u{index:02}"), json!({"data": {key: "1"}}));
    }
    let owners = server.owners();
    assert_eq!(owners.len(), limits_cap());
    assert_eq!(
        owners[0],
        r#"ancient-changes Update {"f:data":{".":{},"f:k00":{},"f:k01":{},"f:k02":{},"f:k03":{}}}"#
    );
    assert_eq!(server.managers[0].time, Some(at(3)), "that of the most recent in it");
    assert_eq!(owners[1], r#"u04 Update {"f:data":{"f:k04":{}}}"#);
    // Appliers are not counted.
    for index in 0..3 {
        server.apply(
            &format!("a{index}"),
            json!({"metadata": {"labels": {format!("l{index}"): "1"}}}),
        );
    }
    server.patch("u04", json!({"data": {"more": "1"}}));
    assert_eq!(server.owners().len(), limits_cap() + 3);
}

fn limits_cap() -> usize {
    crate::limits::UPDATE_MANAGERS
}

#[test]
fn entries_are_ordered_by_operation_time_and_name() {
    let mut server = config_map();
    server
        .create("z", json!({"data": {"z": "1"}}))
        .at(1)
        .patch("b", json!({"data": {"b": "1"}}))
        .patch("a", json!({"data": {"a": "1"}}))
        .at(9)
        .apply("late", json!({"data": {"late": "1"}}));
    let names: Vec<_> = server.managers.iter().map(|entry| entry.manager.as_str()).collect();
    assert_eq!(names, ["late", "z", "a", "b"]);
}

#[test]
fn entries_are_read_whole_or_not_at_all() {
    let mut server = config_map();
    server.apply("me", json!({"data": {"a": "1"}}));
    let good = server.managers[0].clone();
    assert!(Managers::decode(std::slice::from_ref(&good)).is_ok());
    for (change, expected) in [
        (
            (|entry| entry.operation = "Create".to_owned()) as fn(&mut ManagedFieldsEntry),
            "operation must be `Apply` or `Update`",
        ),
        (|entry| entry.api_version.clear(), "apiVersion must not be empty"),
        (
            |entry| entry.fields_type.clear(),
            "invalid fieldsType \"\" in a managed fields entry",
        ),
        (
            |entry| entry.fields_v1.get_or_insert_default().raw = "[]".into(),
            "error decoding set",
        ),
    ] {
        let mut entry = good.clone();
        change(&mut entry);
        assert_eq!(
            Managers::decode(&[entry.clone()]).expect_err(expected).to_string(),
            expected
        );
        // An update starts over without owners; an apply will not guess.
        server.managers = vec![entry];
        let mut updated = server.clone();
        updated.patch("other", json!({"data": {"b": "1"}}));
        updated.check_owners(&[]);
        assert!(matches!(
            server.refusal("me", json!({"data": {"a": "1"}})),
            ApplyError::UnreadableManagers(_)
        ));
    }
    // Entries of another version than there is go with the next change.
    server.managers = vec![ManagedFieldsEntry {
        api_version: "v0".to_owned(),
        ..good
    }];
    server.patch("other", json!({"data": {"b": "1"}}));
    server.check_owners(&[r#"other Update {"f:data":{"f:b":{}}}"#]);
}

#[test]
fn owners_of_another_version_lose_what_changes_there() {
    let mut server = Server::new("autoscaling", "HorizontalPodAutoscaler");
    assert_eq!(server.api_version, "autoscaling/v2");
    server.create("maker", json!({"spec": {"maxReplicas": 5, "minReplicas": 2,
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}}));
    let fields = r#"{"f:spec":{"f:maxReplicas":{},"f:minReplicas":{},"f:targetCPUUtilizationPercentage":{}}}"#;
    server.managers = vec![ManagedFieldsEntry {
        manager: "older".to_owned(),
        operation: "Update".to_owned(),
        api_version: "autoscaling/v1".to_owned(),
        fields_type: "FieldsV1".to_owned(),
        fields_v1: Some(trireme_proto::api::meta::v1::FieldsV1 { raw: fields.into() }),
        ..ManagedFieldsEntry::default()
    }];
    server.patch("newer", json!({"spec": {"minReplicas": 3}}));
    server.check_owners(&[
        r#"older Update {"f:spec":{"f:maxReplicas":{},"f:targetCPUUtilizationPercentage":{}}}"#,
        r#"newer Update {"f:spec":{"f:minReplicas":{}}}"#,
    ]);
    // The same field has another name in each.
    server.patch("newer", json!({"spec": {"metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}]}}));
    server.check_owners(&[
        r#"older Update {"f:spec":{"f:maxReplicas":{}}}"#,
        r#"newer Update {"f:spec":{"f:metrics":{},"f:minReplicas":{}}}"#,
    ]);
    let conflict = server.refusal("applier", json!({"spec": {"maxReplicas": 9}}));
    let ApplyError::Conflict(conflicts) = conflict else {
        panic!("{conflict}")
    };
    assert!(conflicts.to_string().contains("using autoscaling/v1"), "{conflicts}");
    server.force("applier", json!({"spec": {"maxReplicas": 9}}));
    server.check_owners(&[
        r#"applier Apply {"f:spec":{"f:maxReplicas":{}}}"#,
        r#"newer Update {"f:spec":{"f:metrics":{},"f:minReplicas":{}}}"#,
    ]);
}

#[test]
fn owners_can_be_set_and_forgotten_through_the_object() {
    let entry = |manager: &str, operation: &str| ManagedFieldsEntry {
        manager: manager.to_owned(),
        operation: operation.to_owned(),
        api_version: "v1".to_owned(),
        fields_type: "FieldsV1".to_owned(),
        fields_v1: Some(trireme_proto::api::meta::v1::FieldsV1 {
            raw: r#"{"f:data":{".":7,"z:new":[1]}}"#.into(),
        }),
        ..ManagedFieldsEntry::default()
    };
    let meta = |entries: Vec<ManagedFieldsEntry>| trireme_proto::api::meta::v1::ObjectMeta {
        managed_fields: entries,
        ..Default::default()
    };
    let old = meta(vec![entry("old", "Apply")]);
    let choose = |part, new: Vec<ManagedFieldsEntry>| {
        let entries = owners_before(part, &old, &meta(new));
        entries.into_iter().map(|entry| entry.manager).collect::<Vec<_>>()
    };
    let object = Server::object();
    assert_eq!(choose(object, vec![entry("new", "Update")]), ["new"]);
    assert_eq!(
        choose(object, vec![]),
        ["old"],
        "who does not know of them does not delete them"
    );
    assert_eq!(choose(object, vec![entry("new", "Nonsense")]), ["old"]);
    assert_eq!(choose(object, vec![ManagedFieldsEntry::default()]), [""; 0]);
    assert_eq!(choose(Part::Status, vec![ManagedFieldsEntry::default()]), ["old"]);
    assert_eq!(choose(Part::Status, vec![entry("new", "Update")]), ["old"]);
    // Of what a client says, only what is understood is stored.
    let taken = owners_before(object, &old, &meta(vec![entry("new", "Update")]));
    let raw = taken[0].fields_v1.as_ref().expect("a set").raw.clone();
    assert_eq!(raw, r#"{"f:data":{}}"#);
}
