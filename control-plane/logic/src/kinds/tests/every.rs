//! What must hold for every kind on the list; a kind that is new there, and has nothing here, fails.

use expect_test::expect;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{complaints, defaults};
use crate::{
    kinds::{self, KINDS, api_version},
    object::{KindOps, Object},
    testing::full_object,
};

fn read(ops: &dyn KindOps, json: &Value) -> Box<dyn Object> {
    let what = format!("{} {}", api_version(ops.info()), ops.info().kind);
    let object = ops.from_json(json.to_string().as_bytes(), &mut |path| {
        panic!("{what} does not know {path}")
    });
    object.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The JSON in the version of these functions.
fn shown(ops: &dyn KindOps, object: &dyn Object) -> Value {
    serde_json::from_slice(&ops.json_of(object).expect("has JSON")).expect("is JSON")
}

/// JSON, protobuf and what is stored say the same, whichever field is set.
#[test]
fn each_form_says_the_same() {
    for ops in KINDS {
        let given = full_object(*ops);
        let object = read(*ops, &given);
        let json = shown(*ops, &*object);
        if kinds::is_same(ops.stored().info(), ops.info()) {
            assert_eq!(json, given, "what is shown is what was sent");
        }
        let sent_back = read(*ops, &json);
        assert_eq!(shown(*ops, &*sent_back), json);
        let protobuf = ops.protobuf_of(&*object);
        let from_protobuf = ops.from_protobuf(protobuf.clone()).expect("is protobuf");
        assert_eq!(ops.protobuf_of(&*from_protobuf), protobuf, "{}", ops.info().kind);
        assert_eq!(shown(*ops, &*from_protobuf), json);
        let stored = object.to_protobuf();
        let from_store = ops.stored().from_protobuf(stored.clone()).expect("was stored");
        assert_eq!(from_store.to_protobuf(), stored, "{}", ops.info().kind);
        assert_eq!(shown(*ops, &*from_store), json);
    }
}

/// The bytes of an object with every field. Stores hold such bytes and other programs read them: a field that is new makes them
/// more, and nothing may make them others.
#[test]
fn what_is_stored_is_golden() {
    let line = |ops: &&dyn KindOps| {
        let bytes = ops.protobuf_of(&*read(*ops, &full_object(*ops)));
        let digest: String = Sha256::digest(&bytes)[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            "{} {}: {} bytes {digest}\n",
            api_version(ops.info()),
            ops.info().kind,
            bytes.len()
        )
    };
    let all: String = KINDS.iter().map(line).collect();
    expect![[r#"
        v1 ConfigMap: 286 bytes 4c024e2fdd38
        v1 Endpoints: 450 bytes d6ee9a30fce7
        v1 Event: 484 bytes 3c0c56d4d2c5
        v1 LimitRange: 343 bytes f36cc246b7c1
        v1 Namespace: 313 bytes 3a3417869c60
        v1 Node: 779 bytes 7cec43221115
        v1 PersistentVolume: 1439 bytes afe907206997
        v1 PersistentVolumeClaim: 577 bytes a9c9be2e381b
        v1 Pod: 7901 bytes efcc10bdaa47
        v1 PodTemplate: 6763 bytes 68d12e2c51e7
        v1 ReplicationController: 6841 bytes 3620c21337e0
        v1 ResourceQuota: 339 bytes f32b45c25942
        v1 Secret: 294 bytes 126e15de6885
        v1 Service: 538 bytes 2b63a62021b7
        v1 ServiceAccount: 321 bytes 8b26862ccd29
        apps/v1 ControllerRevision: 297 bytes 299cb6834ad7
        apps/v1 DaemonSet: 6901 bytes 5805a6a5a913
        apps/v1 Deployment: 6913 bytes aa5f5eed9bdc
        apps/v1 ReplicaSet: 6871 bytes e790b8956dec
        apps/v1 StatefulSet: 7527 bytes ff3b729376f5
        autoscaling/v2 HorizontalPodAutoscaler: 1103 bytes 61f4ca7698e5
        autoscaling/v1 HorizontalPodAutoscaler: 434 bytes ebadbb66537b
        batch/v1 CronJob: 7286 bytes f413346606cf
        batch/v1 Job: 7034 bytes 5421540c4050
        coordination.k8s.io/v1 Lease: 307 bytes 39b2a72e13e9
        discovery.k8s.io/v1 EndpointSlice: 427 bytes 77df9fd12752
        events.k8s.io/v1 Event: 483 bytes 28d62d4926cb
        policy/v1 PodDisruptionBudget: 395 bytes f1e0aa818f04
        scheduling.k8s.io/v1 PriorityClass: 271 bytes 79e56e94f699
        networking.k8s.io/v1 Ingress: 454 bytes cc07de315f54
        networking.k8s.io/v1 IngressClass: 303 bytes 506a5b767c5e
        networking.k8s.io/v1 NetworkPolicy: 563 bytes 6ec5ecdb51ba
        storage.k8s.io/v1 StorageClass: 322 bytes 3e75e1574cf7
        storage.k8s.io/v1 CSIDriver: 297 bytes df7c36a75ca5
        storage.k8s.io/v1 CSINode: 283 bytes f3b49ba2fae3
        storage.k8s.io/v1 VolumeAttachment: 1496 bytes e63e4859e693
        node.k8s.io/v1 RuntimeClass: 332 bytes 6062bc9ea68c
        rbac.authorization.k8s.io/v1 Role: 293 bytes 3f67499e183d
        rbac.authorization.k8s.io/v1 RoleBinding: 311 bytes 07bdad338391
        rbac.authorization.k8s.io/v1 ClusterRole: 340 bytes 30ed825c256f
        rbac.authorization.k8s.io/v1 ClusterRoleBinding: 311 bytes 07bdad338391
        certificates.k8s.io/v1 CertificateSigningRequest: 380 bytes b6ae802ba92c
    "#]]
    .assert_eq(&all);
}

#[test]
fn defaults_are_set_once_whatever_is_there() {
    for ops in KINDS {
        for given in [full_object(*ops), json!({}), json!({"metadata": {}, "spec": {}})] {
            let Ok(mut once) = ops.from_json(given.to_string().as_bytes(), &mut |_| {}) else {
                panic!("{given}")
            };
            once.set_defaults();
            let bytes = once.to_protobuf();
            once.set_defaults();
            assert_eq!(once.to_protobuf(), bytes, "{given}");
        }
        // What a client read and sends back has its defaults.
        let mut once = read(*ops, &full_object(*ops));
        once.set_defaults();
        let mut back = read(*ops, &shown(*ops, &*once));
        back.set_defaults();
        assert_eq!(shown(*ops, &*back), shown(*ops, &*once), "{}", ops.info().kind);
    }
}

/// What is made wrong with the example of each kind, and the path of the field that is told.
#[rustfmt::skip]
fn rejects() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    vec![
        ("v1", "ConfigMap", json!({"data": {"a b": "1"}}), "data[a b]"),
        ("v1", "Endpoints", json!({"subsets": [{"addresses": [{"ip": "x"}], "ports": [{"port": 80}]}]}), "subsets[0].addresses[0].ip"),
        ("v1", "Event", json!({"involvedObject": {"namespace": "other"}}), "involvedObject.namespace"),
        ("v1", "LimitRange", json!({"spec": {"limits": [{"type": "Ship"}]}}), "spec.limits[0].type"),
        ("v1", "Namespace", json!({"metadata": {"name": "a.b"}}), "metadata.name"),
        ("v1", "Node", json!({"spec": {"taints": [{"key": "a", "effect": ""}]}}), "spec.taints[0].effect"),
        ("v1", "PersistentVolume", json!({"spec": {"capacity": {"storage": "-1"}}}), "spec.capacity[storage]"),
        ("v1", "PersistentVolumeClaim", json!({"spec": {"accessModes": ["Sometimes"]}}), "spec.accessModes"),
        ("v1", "Pod", json!({"spec": {"containers": [{"name": "A", "image": "x"}]}}), "spec.containers[0].name"),
        ("v1", "PodTemplate", json!({"template": {"spec": {"containers": []}}}), "template.spec.containers"),
        ("v1", "ReplicationController", json!({"spec": {"template": null}}), "spec.template"),
        ("v1", "ResourceQuota", json!({"spec": {"hard": {"pods": "1.5"}}}), "spec.hard[pods]"),
        ("v1", "Secret", json!({"data": {"a/b": ""}}), "data[a/b]"),
        ("v1", "Service", json!({"spec": {"ports": [{"port": 0}]}}), "spec.ports[0].port"),
        ("v1", "ServiceAccount", json!({"metadata": {"name": "A"}}), "metadata.name"),
        ("apps/v1", "ControllerRevision", json!({"revision": -1}), "revision"),
        ("apps/v1", "DaemonSet", json!({"spec": {"minReadySeconds": -1}}), "spec.minReadySeconds"),
        ("apps/v1", "Deployment", json!({"spec": {"strategy": {"type": "Quick"}}}), "spec.strategy.type"),
        ("apps/v1", "ReplicaSet", json!({"spec": {"replicas": -1}}), "spec.replicas"),
        ("apps/v1", "StatefulSet", json!({"spec": {"podManagementPolicy": "Random"}}), "spec.podManagementPolicy"),
        ("autoscaling/v2", "HorizontalPodAutoscaler", json!({"spec": {"maxReplicas": 0}}), "spec.maxReplicas"),
        ("autoscaling/v1", "HorizontalPodAutoscaler", json!({"spec": {"minReplicas": 9}}), "spec.maxReplicas"),
        ("batch/v1", "CronJob", json!({"spec": {"schedule": "often"}}), "spec.schedule"),
        ("batch/v1", "Job", json!({"spec": {"parallelism": -1}}), "spec.parallelism"),
        ("coordination.k8s.io/v1", "Lease", json!({"spec": {"leaseDurationSeconds": 0}}), "spec.leaseDurationSeconds"),
        ("discovery.k8s.io/v1", "EndpointSlice", json!({"endpoints": [{"addresses": []}]}), "endpoints[0].addresses"),
        ("events.k8s.io/v1", "Event", json!({"type": "Odd"}), "type"),
        ("policy/v1", "PodDisruptionBudget", json!({"spec": {"minAvailable": "half"}}), "spec.minAvailable"),
        ("scheduling.k8s.io/v1", "PriorityClass", json!({"preemptionPolicy": "Maybe"}), "preemptionPolicy"),
        ("networking.k8s.io/v1", "Ingress", json!({"spec": {"rules": [{"host": "10.0.0.1"}]}}), "spec.rules[0].host"),
        ("networking.k8s.io/v1", "IngressClass", json!({"spec": {"controller": "no path"}}), "spec.controller"),
        ("networking.k8s.io/v1", "NetworkPolicy", json!({"spec": {"ingress": [{"from": [{}]}]}}), "spec.ingress[0].from[0]"),
        ("storage.k8s.io/v1", "StorageClass", json!({"reclaimPolicy": "Burn"}), "reclaimPolicy"),
        ("storage.k8s.io/v1", "CSIDriver", json!({"spec": {"fsGroupPolicy": "Maybe"}}), "spec.fsGroupPolicy"),
        ("storage.k8s.io/v1", "CSINode", json!({"spec": {"drivers": [{"name": "disks.example.com", "nodeID": ""}]}}), "spec.drivers[0].nodeID"),
        ("storage.k8s.io/v1", "VolumeAttachment", json!({"spec": {"attacher": ""}}), "spec.attacher"),
        ("node.k8s.io/v1", "RuntimeClass", json!({"handler": "A.b"}), "handler"),
        ("rbac.authorization.k8s.io/v1", "Role", json!({"rules": [{}]}), "rules[0].verbs"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", json!({"roleRef": {"kind": "Node"}}), "roleRef.kind"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", json!({"rules": [{"verbs": []}]}), "rules[0].verbs"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", json!({"subjects": [{"kind": "User", "name": ""}]}), "subjects[0].name"),
        ("certificates.k8s.io/v1", "CertificateSigningRequest", json!({"spec": {"signerName": "no path"}}), "spec.signerName"),
    ]
}

#[test]
fn every_kind_refuses_by_the_fields_path() {
    let (examples, rejects) = (defaults::examples(), rejects());
    for (version, kind, more, field) in &rejects {
        let mut given = examples
            .iter()
            .find(|json| json["apiVersion"] == *version && json["kind"] == *kind)
            .cloned()
            .unwrap_or_else(|| panic!("an example of {version} {kind}"));
        json_patch::merge(&mut given, more);
        let found = complaints(&given);
        assert!(
            found.lines().any(|line| line.starts_with(&format!("{field}: "))),
            "{version} {kind} {more}: {found:?} does not tell {field}"
        );
    }
    let is_named = |ops: &&&dyn KindOps| {
        let (version, kind) = (api_version(ops.info()), ops.info().kind);
        rejects
            .iter()
            .any(|(named, of_kind, ..)| *named == version && *of_kind == kind)
    };
    let named = KINDS.iter().filter(is_named).count();
    assert_eq!(named, KINDS.len(), "a kind has no example of what it refuses");
    assert_eq!(rejects.len(), KINDS.len());
}
