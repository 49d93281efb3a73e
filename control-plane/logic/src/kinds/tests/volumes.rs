//! The kinds about volumes.

use expect_test::expect;
use serde_json::{Value, json};

use super::{cells, complaints, create::created, defaults, invalid::check, invalid::example, json_of, updates};
use crate::{limits, testing::at};

/// One object of each of these kinds, as users write them.
pub(super) fn examples() -> Vec<Value> {
    let storage = "storage.k8s.io/v1";
    vec![
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v1"},
            "spec": {"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "csi": {"driver": "disks.example.com", "volumeHandle": "1"},
                "claimRef": {"namespace": "shop", "name": "data"}}}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "fast"}}),
        json!({"apiVersion": storage, "kind": "StorageClass", "metadata": {"name": "fast",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "disks.example.com", "parameters": {"kind": "ssd"},
            "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]}),
        json!({"apiVersion": storage, "kind": "CSIDriver", "metadata": {"name": "disks.example.com"},
            "spec": {"tokenRequests": [{"audience": "disks", "expirationSeconds": 600}]}}),
        json!({"apiVersion": storage, "kind": "CSINode", "metadata": {"name": "n1"},
            "spec": {"drivers": [{"name": "disks.example.com", "nodeID": "1", "topologyKeys": ["zone"], "allocatable": {"count": 8}}]}}),
        json!({"apiVersion": storage, "kind": "VolumeAttachment", "metadata": {"name": "a1"},
            "spec": {"attacher": "disks.example.com", "nodeName": "n1", "source": {"persistentVolumeName": "v1"}}}),
    ]
}

#[test]
fn what_they_are_filled_up_with() {
    for (kind, expected) in [
        (
            "PersistentVolume",
            expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "PersistentVolume",
              "metadata": {
                "name": "v1"
              },
              "spec": {
                "accessModes": [
                  "ReadWriteOnce"
                ],
                "capacity": {
                  "storage": "10Gi"
                },
                "claimRef": {
                  "name": "data",
                  "namespace": "shop"
                },
                "csi": {
                  "driver": "disks.example.com",
                  "volumeHandle": "1"
                },
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "fast",
                "volumeMode": "Filesystem"
              },
              "status": {
                "phase": "Pending"
              }
            }"#]],
        ),
        (
            "PersistentVolumeClaim",
            expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "PersistentVolumeClaim",
              "metadata": {
                "name": "data",
                "namespace": "shop"
              },
              "spec": {
                "accessModes": [
                  "ReadWriteOnce"
                ],
                "resources": {
                  "requests": {
                    "storage": "10Gi"
                  }
                },
                "storageClassName": "fast",
                "volumeMode": "Filesystem"
              },
              "status": {
                "phase": "Pending"
              }
            }"#]],
        ),
        (
            "StorageClass",
            expect![[r#"
            {
              "allowedTopologies": [
                {
                  "matchLabelExpressions": [
                    {
                      "key": "zone",
                      "values": [
                        "a",
                        "b"
                      ]
                    }
                  ]
                }
              ],
              "apiVersion": "storage.k8s.io/v1",
              "kind": "StorageClass",
              "metadata": {
                "annotations": {
                  "storageclass.kubernetes.io/is-default-class": "true"
                },
                "name": "fast"
              },
              "parameters": {
                "kind": "ssd"
              },
              "provisioner": "disks.example.com",
              "reclaimPolicy": "Delete",
              "volumeBindingMode": "Immediate"
            }"#]],
        ),
        (
            "CSIDriver",
            expect![[r#"
            {
              "apiVersion": "storage.k8s.io/v1",
              "kind": "CSIDriver",
              "metadata": {
                "name": "disks.example.com"
              },
              "spec": {
                "attachRequired": true,
                "fsGroupPolicy": "ReadWriteOnceWithFSType",
                "podInfoOnMount": false,
                "requiresRepublish": false,
                "seLinuxMount": false,
                "storageCapacity": false,
                "tokenRequests": [
                  {
                    "audience": "disks",
                    "expirationSeconds": 600
                  }
                ],
                "volumeLifecycleModes": [
                  "Persistent"
                ]
              }
            }"#]],
        ),
    ] {
        defaults::check(&example(kind, json!({})), &expected);
    }
    let source = |source: Value| {
        let mut volume = super::object(&volume(source));
        volume.set_defaults();
        json_of(&*volume)["spec"].clone()
    };
    assert_eq!(
        source(json!({"rbd": {"monitors": ["a"], "image": "b"}}))["rbd"],
        json!({"monitors": ["a"], "image": "b", "pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"})
    );
    assert_eq!(
        source(json!({"hostPath": {"path": "/a"}}))["hostPath"],
        json!({"path": "/a", "type": ""})
    );
    assert_eq!(
        source(json!({"azureDisk": {"diskName": "a", "diskURI": "b"}}))["azureDisk"],
        json!({"diskName": "a", "diskURI": "b", "cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": false})
    );
}

#[test]
fn how_they_begin() {
    let made = |kind: &str, status: Value| created(&example(kind, json!({"status": status})))["status"].clone();
    assert_eq!(
        made("PersistentVolume", json!({"phase": "Bound"})),
        json!({"phase": "Pending"})
    );
    assert_eq!(
        made(
            "PersistentVolumeClaim",
            json!({"phase": "Bound", "capacity": {"storage": "1"}})
        ),
        json!({"phase": "Pending"})
    );
    assert_eq!(
        made("VolumeAttachment", json!({"attached": true})),
        json!({"attached": false})
    );
}

#[test]
fn the_moment_of_a_volumes_phase_is_kept() {
    let since = |old: Option<Value>, new: Value| {
        let object = |status: Value| super::object(&example("PersistentVolume", json!({"status": status})));
        let old = old.map(object);
        let mut new = object(new);
        new.stamp(old.as_deref(), at(60));
        json_of(&*new)["status"]["lastPhaseTransitionTime"].clone()
    };
    let (then, now, told) = (at(0).to_string(), at(60).to_string(), at(30).to_string());
    let pending = json!({"phase": "Pending", "lastPhaseTransitionTime": then});
    assert_eq!(since(None, json!({"phase": "Pending"})), json!(now));
    assert_eq!(since(Some(pending.clone()), json!({"phase": "Pending"})), json!(then));
    assert_eq!(since(Some(pending.clone()), json!({"phase": "Bound"})), json!(now));
    assert_eq!(
        since(
            Some(pending.clone()),
            json!({"phase": "Bound", "lastPhaseTransitionTime": then})
        ),
        json!(now)
    );
    assert_eq!(
        since(
            Some(pending),
            json!({"phase": "Bound", "lastPhaseTransitionTime": told})
        ),
        json!(told)
    );
}

#[test]
fn both_fields_say_what_a_claim_is_filled_from() {
    let made = |spec: Value| {
        let spec = created(&example("PersistentVolumeClaim", json!({"spec": spec})))["spec"].clone();
        (spec["dataSource"].clone(), spec["dataSourceRef"].clone())
    };
    let claim = json!({"kind": "PersistentVolumeClaim", "name": "old"});
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "old"});
    let other = json!({"apiGroup": "example.com", "kind": "Tape", "name": "old"});
    for source in [&claim, &snapshot] {
        assert_eq!(made(json!({"dataSource": source})), (source.clone(), source.clone()));
        assert_eq!(made(json!({"dataSourceRef": source})), (source.clone(), source.clone()));
    }
    assert_eq!(made(json!({"dataSource": other})), (Value::Null, Value::Null));
    assert_eq!(made(json!({"dataSourceRef": other})), (other.clone(), other));
    let mut elsewhere = claim;
    elsewhere["namespace"] = json!("bank");
    assert_eq!(made(json!({"dataSourceRef": elsewhere})), (Value::Null, Value::Null));
}

/// A volume whose data is somewhere else.
fn volume(spec: Value) -> Value {
    let mut volume = example("PersistentVolume", json!({"spec": {"csi": null}}));
    json_patch::merge(&mut volume["spec"], &spec);
    volume
}

#[test]
fn bad_volumes_are_refused() {
    check(
        &example(
            "PersistentVolume",
            json!({"spec": {"capacity": {"storage": "0", "cpu": "1"}, "accessModes": ["ReadWriteOncePod", "ReadOnlyMany", "Any"],
                "persistentVolumeReclaimPolicy": "Burn", "volumeMode": "Tape", "storageClassName": "A", "volumeAttributesClassName": "",
                "nodeAffinity": {}}}),
        ),
        &expect![[r#"
            spec.accessModes: Unsupported value: "Any": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
            spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
            spec.capacity: Unsupported value: {"cpu":"1","storage":"0"}: supported values: "storage"
            spec.capacity[storage]: Invalid value: "0": must be greater than zero
            spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain"
            spec.nodeAffinity.required: Required value: must specify required node constraints
            spec.storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"
            spec.volumeAttributesClassName: Required value: an empty string is disallowed
        "#]],
    );
    check(
        &example(
            "PersistentVolume",
            json!({"spec": {"capacity": null, "accessModes": [], "nfs": {"server": "", "path": "a"}}}),
        ),
        &expect![[r#"
            spec.accessModes: Required value
            spec.capacity: Required value
            spec.capacity: Unsupported value: {}: supported values: "storage"
            spec.csi: Forbidden: may not specify more than 1 volume type
        "#]],
    );
    check(
        &volume(
            json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle", "volumeAttributesClassName": "A"}),
        ),
        &expect![[r#"
            spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'
            spec.volumeAttributesClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.csi: Required value: has to be specified when using volumeAttributesClassName
        "#]],
    );
}

#[test]
fn bad_sources_are_refused() {
    for (source, expected) in [
        (
            json!({}),
            expect![[r#"
            spec: Required value: must specify a volume type
        "#]],
        ),
        (
            json!({"hostPath": {"path": "/a/../b", "type": "Ship"}}),
            expect![[r#"
            spec.hostPath.path: Invalid value: "/a/../b": must not contain '..'
            spec.hostPath.type: Unsupported value: "Ship": supported values: "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"
        "#]],
        ),
        (
            json!({"nfs": {"server": "", "path": "a"}}),
            expect![[r#"
            spec.nfs.server: Required value
            spec.nfs.path: Invalid value: "a": must be an absolute path
        "#]],
        ),
        (
            json!({"local": {"path": "/a/.."}}),
            expect![[r#"
            spec.local.path: Invalid value: "/a/..": must not contain '..'
            spec.nodeAffinity: Required value: Local volume requires node affinity
        "#]],
        ),
        (
            json!({"local": {"path": ""}, "nodeAffinity": {"required": {"nodeSelectorTerms": []}}}),
            expect![[r#"
                spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least one node selector term
                spec.local.path: Required value
            "#]],
        ),
        (
            json!({"iscsi": {"targetPortal": "", "iqn": "x", "lun": 256, "chapAuthSession": true, "initiatorName": "y"}}),
            expect![[r#"
                spec.iscsi.targetPortal: Required value
                spec.iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa
                spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive
                spec.iscsi.secretRef: Required value
                spec.iscsi.initiatorName: Invalid value: "y": must be valid format starting with iqn, eui, or naa
            "#]],
        ),
        (
            json!({"fc": {}}),
            expect![[r#"
            spec.fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both
        "#]],
        ),
        (
            json!({"fc": {"targetWWNs": ["a"], "wwids": ["b"], "lun": 300}}),
            expect![[r#"
                spec.fc.targetWWNs: Invalid value: ["a"]: must specify either targetWWNs or wwids, but not both
                spec.fc.lun: Invalid value: 300: must be between 0 and 255, inclusive
            "#]],
        ),
        (
            json!({"storageos": {"volumeName": "A", "volumeNamespace": "B", "secretRef": {}}}),
            expect![[r#"
                spec.storageos.volumeName: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
                spec.storageos.volumeNamespace: Invalid value: "B": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
                spec.storageos.secretRef.name: Required value
                spec.storageos.secretRef.namespace: Required value
            "#]],
        ),
        (
            json!({"flocker": {}}),
            expect![[r#"
            spec.flocker: Required value: one of datasetName and datasetUUID is required
        "#]],
        ),
        (
            json!({"flocker": {"datasetName": "a/b", "datasetUUID": "1"}}),
            expect![[r#"
                spec.flocker: Invalid value: "resource": datasetName and datasetUUID can not be specified simultaneously
                spec.flocker.datasetName: Invalid value: "a/b": must not contain '/'
            "#]],
        ),
        (
            json!({"gcePersistentDisk": {"pdName": "", "partition": 256}}),
            expect![[r#"
                spec.gcePersistentDisk.pdName: Required value
                spec.gcePersistentDisk.partition: Invalid value: 256: must be between 0 and 255, inclusive
            "#]],
        ),
        (
            json!({"awsElasticBlockStore": {"volumeID": "", "partition": -1}}),
            expect![[r#"
                spec.awsElasticBlockStore.volumeID: Required value
                spec.awsElasticBlockStore.partition: Invalid value: -1: must be between 0 and 255, inclusive
            "#]],
        ),
        (
            json!({"cinder": {"volumeID": "", "secretRef": {}}}),
            expect![[r#"
            spec.cinder.volumeID: Required value
            spec.cinder.secretRef.name: Required value
            spec.cinder.secretRef.namespace: Required value
        "#]],
        ),
        (
            json!({"azureFile": {"secretName": "", "shareName": "", "secretNamespace": ""}}),
            expect![[r#"
                spec.azureFile.secretName: Required value
                spec.azureFile.shareName: Required value
                spec.azureFile.secretNamespace: Required value
            "#]],
        ),
        (
            json!({"azureDisk": {"diskName": "", "diskURI": "", "cachingMode": "Some"}}),
            expect![[r#"
                spec.azureDisk.diskName: Required value
                spec.azureDisk.diskURI: Required value
                spec.azureDisk.cachingMode: Unsupported value: "Some": supported values: "None", "ReadOnly", "ReadWrite"
            "#]],
        ),
        (
            json!({"vsphereVolume": {"volumePath": ""}}),
            expect![[r#"
            spec.vsphereVolume.volumePath: Required value
        "#]],
        ),
        (
            json!({"photonPersistentDisk": {"pdID": ""}}),
            expect![[r#"
            spec.photonPersistentDisk.pdID: Required value
        "#]],
        ),
        (
            json!({"glusterfs": {"endpoints": "", "path": "", "endpointsNamespace": ""}}),
            expect![[r#"
                spec.glusterfs.endpoints: Required value
                spec.glusterfs.path: Required value
                spec.glusterfs.endpointsNamespace: Invalid value: "": if the endpointnamespace is set, it must be a valid namespace name
            "#]],
        ),
        (
            json!({"rbd": {"monitors": [], "image": ""}}),
            expect![[r#"
            spec.rbd.monitors: Required value
            spec.rbd.image: Required value
        "#]],
        ),
        (
            json!({"cephfs": {"monitors": []}}),
            expect![[r#"
            spec.cephfs.monitors: Required value
        "#]],
        ),
        (
            json!({"quobyte": {"registry": "", "volume": ""}}),
            expect![[r#"
            spec.quobyte.registry: Required value
            spec.quobyte.volume: Required value
        "#]],
        ),
        (
            json!({"flexVolume": {"driver": ""}}),
            expect![[r#"
            spec.flexVolume.driver: Required value
        "#]],
        ),
        (
            json!({"portworxVolume": {"volumeID": ""}}),
            expect![[r#"
            spec.portworxVolume.volumeID: Required value
        "#]],
        ),
        (
            json!({"scaleIO": {"gateway": "", "system": "", "volumeName": ""}}),
            expect![[r#"
                spec.scaleIO.gateway: Required value
                spec.scaleIO.system: Required value
                spec.scaleIO.volumeName: Required value
            "#]],
        ),
    ] {
        check(&volume(source), &expected);
    }
    check(
        &example(
            "PersistentVolume",
            json!({"spec": {"csi": {"driver": "A_b", "volumeHandle": "", "nodePublishSecretRef": {"name": "A"}}}}),
        ),
        &expect![[r#"
            spec.csi.driver: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.csi.volumeHandle: Required value
            spec.csi.nodePublishSecretRef.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.csi.nodePublishSecretRef.namespace: Required value
        "#]],
    );
    let driver = |bytes: usize| {
        complaints(&example(
            "PersistentVolume",
            json!({"spec": {"csi": {"driver": "a".repeat(bytes)}}}),
        ))
    };
    assert_eq!(driver(limits::CSI_DRIVER_NAME_BYTES), "");
    assert!(driver(limits::CSI_DRIVER_NAME_BYTES + 1).starts_with("spec.csi.driver: Too long"));
}

#[test]
fn bad_claims_are_refused() {
    for (spec, expected) in [
        (
            json!({"accessModes": null, "resources": null, "volumeMode": "Tape", "storageClassName": "A",
                "volumeAttributesClassName": "B", "selector": {"matchLabels": {"a b": "c"}}}),
            expect![[r#"
                spec.accessModes: Required value: at least 1 access mode is required
                spec.selector.matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
                spec.resources[storage]: Required value
                spec.storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"
                spec.volumeAttributesClassName: Invalid value: "B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            "#]],
        ),
        (
            json!({"accessModes": ["Any", "ReadWriteOncePod"], "resources": {"requests": {"storage": "-1"}}}),
            expect![[r#"
                spec.accessModes: Unsupported value: "Any": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
                spec.resources[storage]: Invalid value: "-1": must be greater than zero
            "#]],
        ),
        (
            json!({"dataSourceRef": {"kind": "Tape", "name": ""}}),
            expect![[r#"
            spec.dataSource.name: Required value
            spec.dataSource: Invalid value: "Tape": must be 'PersistentVolumeClaim' when referencing the default apiGroup
            spec.dataSourceRef.name: Required value
            spec.dataSourceRef: Invalid value: "Tape": must be 'PersistentVolumeClaim' when referencing the default apiGroup
        "#]],
        ),
        (
            json!({"dataSourceRef": {"kind": "Tape", "name": "a", "apiGroup": "A_b"}}),
            expect![[r#"
                spec.dataSource.apiGroup: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                spec.dataSourceRef.apiGroup: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            "#]],
        ),
        (
            json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}, "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"}}),
            expect![[r#"
                spec: Invalid value: {"kind":"PersistentVolumeClaim","name":"a"}: must match dataSourceRef
            "#]],
        ),
    ] {
        check(&example("PersistentVolumeClaim", json!({"spec": spec})), &expected);
    }
}

#[test]
fn bad_classes_are_refused() {
    let place = json!({"key": "zone", "values": ["a", "a"]});
    check(
        &example(
            "StorageClass",
            json!({"provisioner": "a b", "parameters": {"": "x"}, "reclaimPolicy": "Recycle", "volumeBindingMode": "Later",
            "allowedTopologies": [
                {"matchLabelExpressions": [place, place, {"key": "a b", "values": []}]},
                {"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]},
                {"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]},
            ]}),
        ),
        &expect![[r#"
            provisioner: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            parameters: Invalid value: "": field can not be empty.
            reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"
            volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"
            allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"
            allowedTopologies[0].matchLabelExpressions[1].values[1]: Duplicate value: "a"
            allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "zone"
            allowedTopologies[0].matchLabelExpressions[2].values: Required value
            allowedTopologies[0].matchLabelExpressions[2].key: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            allowedTopologies[2].matchLabelExpressions: Duplicate value: ""
        "#]],
    );
    check(
        &example("StorageClass", json!({"provisioner": ""})),
        &expect![[r#"
        provisioner: Required value
    "#]],
    );
    let parameters = |count: usize, bytes: usize| {
        let list: Value = (0..count)
            .map(|index| (format!("{index:08}"), json!("a".repeat(bytes))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let mut class = example("StorageClass", json!({"parameters": null}));
        class["parameters"] = list;
        complaints(&class)
    };
    assert_eq!(parameters(limits::STORAGE_PARAMETERS, 1), "");
    assert!(parameters(limits::STORAGE_PARAMETERS + 1, 1).starts_with("parameters: Too long"));
    assert_eq!(parameters(1, limits::STORAGE_PARAMETERS_SIZE_BYTES - 8), "");
    assert!(parameters(1, limits::STORAGE_PARAMETERS_SIZE_BYTES - 7).starts_with("parameters: Too long"));
}

#[test]
fn bad_drivers_are_refused() {
    let driver = |spec: Value| complaints(&example("CSIDriver", json!({"spec": spec})));
    check(
        &example(
            "CSIDriver",
            json!({"spec": {"fsGroupPolicy": "Some", "volumeLifecycleModes": ["Eternal"], "serviceAccountTokenInSecrets": true,
                "tokenRequests": null}}),
        ),
        &expect![[r#"
            spec.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", "ReadWriteOnceWithFSType"
            spec.volumeLifecycleModes: Unsupported value: "Eternal": supported values: "Persistent", "Ephemeral"
            spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no tokenRequests are specified
        "#]],
    );
    check(
        &example(
            "CSIDriver",
            json!({"spec": {"tokenRequests": [{"audience": ""}, {"audience": ""}]}}),
        ),
        &expect![[r#"
            spec.tokenRequests[1].audience: Duplicate value: ""
        "#]],
    );
    let token = |seconds: i64| driver(json!({"tokenRequests": [{"audience": "a", "expirationSeconds": seconds}]}));
    assert_eq!(token(limits::TOKEN_EXPIRATION_SECONDS_MIN), "");
    assert!(token(limits::TOKEN_EXPIRATION_SECONDS_MIN - 1).contains("less than 10 minutes"));
    assert_eq!(token(limits::TOKEN_EXPIRATION_SECONDS_MAX), "");
    assert!(token(limits::TOKEN_EXPIRATION_SECONDS_MAX + 1).contains("larger than 2^32 seconds"));
    let period = |seconds: i64| driver(json!({"nodeAllocatableUpdatePeriodSeconds": seconds}));
    assert_eq!(period(limits::NODE_ALLOCATABLE_UPDATE_SECONDS_MIN), "");
    assert!(period(limits::NODE_ALLOCATABLE_UPDATE_SECONDS_MIN - 1).contains("10 seconds"));
    let node = |more: Value| {
        let mut driver = json!({"name": "a", "nodeID": "1"});
        json_patch::merge(&mut driver, &more);
        driver
    };
    check(
        &example(
            "CSINode",
            json!({"spec": {"drivers": [
                node(json!({"nodeID": "", "allocatable": {"count": -1}})),
                node(json!({"topologyKeys": ["zone", "zone", "", "a b"]})),
            ]}}),
        ),
        &expect![[r#"
            spec.drivers[0].nodeID: Required value
            spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0
            spec.drivers[1]: Duplicate value: "zone"
            spec.drivers[1]: Required value
            spec.drivers[1]: Invalid value: "": name part must be non-empty
            spec.drivers[1]: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.drivers[1]: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.drivers[1].name: Duplicate value: "a"
        "#]],
    );
    let id = |bytes: usize| {
        complaints(&example(
            "CSINode",
            json!({"spec": {"drivers": [node(json!({"nodeID": "a".repeat(bytes)}))]}}),
        ))
    };
    assert_eq!(id(limits::CSI_NODE_ID_BYTES), "");
    assert!(id(limits::CSI_NODE_ID_BYTES + 1).contains("256 characters or less"));
}

#[test]
fn bad_attachments_are_refused() {
    for (spec, expected) in [
        (
            json!({"attacher": "", "nodeName": "N", "source": null}),
            expect![[r#"
            spec.attacher: Required value
            spec.attacher: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName
            spec.nodeName: Invalid value: "N": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
        ),
        (
            json!({"source": {"persistentVolumeName": "v1", "inlineVolumeSpec": {}}}),
            expect![[r#"
                spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName
            "#]],
        ),
        (
            json!({"source": {"persistentVolumeName": ""}}),
            expect![[r#"
            spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName
        "#]],
        ),
        (
            json!({"source": {"persistentVolumeName": null, "inlineVolumeSpec": {
                "capacity": {"storage": "1"}, "claimRef": {}, "persistentVolumeReclaimPolicy": "Delete", "nodeAffinity": {},
                "storageClassName": "a", "volumeMode": "Block", "hostPath": {"path": "/a"}}}}),
            expect![[r#"
                spec.source.inlineVolumeSpec.claimRef: Forbidden: may not be specified in the context of inline volumes
                spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes
                spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes
                spec.source.inlineVolumeSpec.accessModes: Required value
                spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes
                spec.source.inlineVolumeSpec.nodeAffinity: Forbidden: may not be specified in the context of inline volumes
                spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes
                spec.source.inlineVolumeSpec.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes
            "#]],
        ),
        (
            json!({"source": {"persistentVolumeName": null, "inlineVolumeSpec": {
                "accessModes": ["ReadWriteOnce"], "csi": {"driver": "a", "volumeHandle": "1"}}}}),
            expect![[""]],
        ),
    ] {
        check(&example("VolumeAttachment", json!({"spec": spec})), &expected);
    }
}

#[test]
fn what_may_change() {
    for (kind, patch, expected) in [
        (
            "PersistentVolume",
            json!({"spec": {"csi": {"volumeHandle": "2"}, "volumeMode": "Block"}}),
            expect![[r#"
                spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
                volumeMode: Invalid value: "Block": field is immutable
            "#]],
        ),
        (
            "PersistentVolume",
            json!({"spec": {"csi": {"controllerExpandSecretRef": {"name": "a", "namespace": "b"}}, "capacity": {"storage": "20Gi"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}}),
            expect![[""]],
        ),
        (
            "PersistentVolumeClaim",
            json!({"spec": {"volumeName": "v1"}}),
            expect![[""]],
        ),
        (
            "PersistentVolumeClaim",
            json!({"spec": {"resources": {"requests": {"storage": "20Gi"}}}}),
            expect![[r#"
                spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
            "#]],
        ),
        (
            "PersistentVolumeClaim",
            json!({"spec": {"storageClassName": "slow", "volumeMode": "Block"}}),
            expect![[r#"
                spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
                volumeMode: Invalid value: "Block": field is immutable
            "#]],
        ),
        (
            "PersistentVolumeClaim",
            json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "slow"}}}),
            expect![[r#"
                metadata.annotations[volume.beta.kubernetes.io/storage-class]: Invalid value: "slow": field is immutable
            "#]],
        ),
        (
            "StorageClass",
            json!({"provisioner": "other", "parameters": null, "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer"}),
            expect![[r#"
                parameters: Forbidden: updates to parameters are forbidden.
                provisioner: Forbidden: updates to provisioner are forbidden.
                reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.
                volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable
            "#]],
        ),
        ("StorageClass", json!({"allowVolumeExpansion": true}), expect![[""]]),
        (
            "CSIDriver",
            json!({"spec": {"attachRequired": false, "volumeLifecycleModes": ["Ephemeral"], "podInfoOnMount": true}}),
            expect![[r#"
                spec.attachedRequired: Invalid value: false: field is immutable
                spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable
            "#]],
        ),
        (
            "CSINode",
            json!({"spec": {"drivers": [{"name": "disks.example.com", "nodeID": "2", "topologyKeys": ["zone"]}]}}),
            expect![[r#"
                spec.drivers: Invalid value: {"name":"disks.example.com","nodeID":"2","topologyKeys":["zone"]}: field is immutable
            "#]],
        ),
        (
            "CSINode",
            json!({"spec": {"drivers": [{"name": "disks.example.com", "nodeID": "1", "topologyKeys": ["zone"], "allocatable": {"count": 9}}]}}),
            expect![[""]],
        ),
        (
            "VolumeAttachment",
            json!({"spec": {"nodeName": "n2"}}),
            expect![[r#"
            spec: Invalid value: {"attacher":"disks.example.com","source":{"persistentVolumeName":"v1"},"nodeName":"n2"}: field is immutable
        "#]],
        ),
    ] {
        updates::check(kind, &patch, &expected);
    }
}

/// A change of a bound claim that has 10 GiB: what is wrong with it.
fn change_bound(old: Value, new: Value) -> String {
    let claim = |spec: Value| {
        let mut json = example(
            "PersistentVolumeClaim",
            json!({"spec": {"volumeName": "v1"}, "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}}}),
        );
        json_patch::merge(&mut json["spec"], &spec);
        super::object(&json)
    };
    let (old, mut new) = (claim(old), claim(new));
    new.prepare_update(&*old);
    let mut errors = crate::field_error::FieldErrors::default();
    new.validate_update(&*old, &mut errors);
    super::lines(errors)
}

#[test]
fn bound_claims_may_grow() {
    let size = |size: &str| json!({"resources": {"requests": {"storage": size}}});
    assert_eq!(change_bound(size("10Gi"), size("20Gi")), "");
    assert_eq!(change_bound(size("20Gi"), size("15Gi")), "");
    assert_eq!(
        change_bound(size("20Gi"), size("10Gi")),
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity\n"
    );
    let class = |name: Value| json!({"volumeAttributesClassName": name});
    assert_eq!(change_bound(class(json!("a")), class(json!("b"))), "");
    assert_eq!(change_bound(json!({}), class(json!("b"))), "");
    expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden
    "#]].assert_eq(&change_bound(class(json!("a")), class(Value::Null)));
    expect![[r#"
        spec.volumeAttributesClassName: Forbidden: update from non-nil value to an empty string is forbidden
    "#]]
    .assert_eq(&change_bound(class(json!("a")), class(json!(""))));
    expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
    "#]].assert_eq(&change_bound(json!({}), json!({"volumeName": "v2"})));
}

#[test]
fn a_claim_without_a_class_may_get_one() {
    assert_eq!(
        change_bound(json!({"storageClassName": null}), json!({"storageClassName": "slow"})),
        ""
    );
    expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
    "#]].assert_eq(&change_bound(json!({}), json!({"storageClassName": "slow"})));
}

#[test]
fn bad_states_are_refused() {
    updates::check_status(
        "PersistentVolumeClaim",
        &json!({}),
        &json!({"capacity": {"storage": "-1"}, "allocatedResources": {"storage": "-1", "cpu": "1"},
            "allocatedResourceStatuses": {"storage": "Growing", "a b": "NodeResizePending", "example.com/iops": "NodeResizePending"}}),
        &expect![[r#"
            status.capacity[storage]: Invalid value: "-1": must be a valid resource quantity
            status.allocatedResourceStatus: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            status.allocatedResourceStatus: Unsupported value: "a b": supported values: "storage"
            status.allocatedResourceStatus: Unsupported value: "storage": supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"
            status.allocatedResources: Unsupported value: "cpu": supported values: "storage"
            status.allocatedResources[storage]: Invalid value: "-1": must be a valid resource quantity
        "#]],
    );
    let attachment = |status: Value| {
        let object = super::object(&example("VolumeAttachment", json!({"status": status})));
        let mut errors = crate::field_error::FieldErrors::default();
        object.validate_status_update(&*object, &mut errors);
        super::lines(errors)
    };
    let told = |bytes: usize| attachment(json!({"attached": true, "attachmentMetadata": {"a": "a".repeat(bytes - 1)}}));
    assert_eq!(told(limits::ATTACHMENT_METADATA_SIZE_BYTES), "");
    assert!(told(limits::ATTACHMENT_METADATA_SIZE_BYTES + 1).starts_with("status.attachmentMetadata: Too long"));
    let failed = |bytes: usize| attachment(json!({"attached": false, "attachError": {"message": "a".repeat(bytes)}}));
    assert_eq!(failed(limits::VOLUME_ERROR_MESSAGE_BYTES), "");
    assert!(failed(limits::VOLUME_ERROR_MESSAGE_BYTES + 1).starts_with("status.attachError.message: Too long"));
    expect![[r#"
        status.detachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive
    "#]]
    .assert_eq(&attachment(
        json!({"attached": false, "detachError": {"errorCode": -1}}),
    ));
}

#[test]
fn tables() {
    cells::check(
        &example(
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteMany", "ReadWriteOnce"], "volumeMode": "Block"}, "status": {"phase": "Bound", "reason": "Taken"}}),
        ),
        &expect![[r#"
            Capacity: 10Gi
            Access Modes: RWO,RWX
            Reclaim Policy: 
            Status: Bound
            Claim: shop/data
            StorageClass: fast
            VolumeAttributesClass: <unset>
            Reason: Taken
            Age: 3h
            *VolumeMode: Block
        "#]],
    );
    cells::check(
        &example(
            "PersistentVolume",
            json!({"metadata": {"deletionTimestamp": at(0).to_string(), "annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
                "spec": {"claimRef": null, "accessModes": ["ReadOnlyMany"], "persistentVolumeReclaimPolicy": "Retain"}, "status": {"phase": "Bound"}}),
        ),
        &expect![[r#"
            Capacity: 10Gi
            Access Modes: ROX
            Reclaim Policy: Retain
            Status: Terminating
            Claim: 
            StorageClass: old
            VolumeAttributesClass: <unset>
            Reason: 
            Age: 3h
            *VolumeMode: <unset>
        "#]],
    );
    cells::check(
        &example(
            "PersistentVolumeClaim",
            json!({"status": {"phase": "Pending", "capacity": {"storage": "1Gi"}}}),
        ),
        &expect![[r#"
            Status: Pending
            Volume: 
            Capacity: 
            Access Modes: 
            StorageClass: fast
            VolumeAttributesClass: <unset>
            Age: 3h
            *VolumeMode: <unset>
        "#]],
    );
    cells::check(
        &example(
            "PersistentVolumeClaim",
            json!({"spec": {"volumeName": "v1", "volumeMode": "Filesystem", "volumeAttributesClassName": "gold"},
                "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOncePod"]}}),
        ),
        &expect![[r#"
            Status: Bound
            Volume: v1
            Capacity: 10Gi
            Access Modes: RWOP
            StorageClass: fast
            VolumeAttributesClass: gold
            Age: 3h
            *VolumeMode: Filesystem
        "#]],
    );
    cells::check(
        &example("StorageClass", json!({})),
        &expect![[r#"
        Name: fast (default)
        Provisioner: disks.example.com
        ReclaimPolicy: Delete
        VolumeBindingMode: Immediate
        AllowVolumeExpansion: false
        Age: 3h
    "#]],
    );
    cells::check(
        &example(
            "StorageClass",
            json!({"metadata": {"annotations": null}, "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true}),
        ),
        &expect![[r#"
            Name: fast
            Provisioner: disks.example.com
            ReclaimPolicy: Retain
            VolumeBindingMode: WaitForFirstConsumer
            AllowVolumeExpansion: true
            Age: 3h
        "#]],
    );
    cells::check(
        &example("CSIDriver", json!({})),
        &expect![[r#"
        AttachRequired: true
        PodInfoOnMount: false
        StorageCapacity: false
        TokenRequests: disks
        RequiresRepublish: false
        Modes: <none>
        Age: 3h
    "#]],
    );
    cells::check(
        &example(
            "CSIDriver",
            json!({"spec": {"tokenRequests": null, "attachRequired": false, "volumeLifecycleModes": ["Persistent", "Ephemeral"]}}),
        ),
        &expect![[r#"
            AttachRequired: false
            PodInfoOnMount: false
            StorageCapacity: false
            TokenRequests: <unset>
            RequiresRepublish: false
            Modes: Persistent,Ephemeral
            Age: 3h
        "#]],
    );
    cells::check(
        &example("CSINode", json!({})),
        &expect![[r#"
        Drivers: 1
        Age: 3h
    "#]],
    );
    cells::check(
        &example("VolumeAttachment", json!({"status": {"attached": true}})),
        &expect![[r#"
            Attacher: disks.example.com
            PV: v1
            Node: n1
            Attached: true
            Age: 3h
        "#]],
    );
}
