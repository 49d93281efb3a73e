//! Claims for storage: which class they get, and what they take up.

use std::collections::BTreeMap;

use trireme_proto::api::{
    core::v1::{
        PersistentVolumeClaim, PersistentVolumeClaimSpec, ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus,
        VolumeResourceRequirements,
    },
    meta::v1::Quantity,
    storage::v1::StorageClass,
};

use super::*;

fn storage(name: &str, size: &str) -> BTreeMap<String, Quantity> {
    let quantity = Quantity {
        string: size.to_owned(),
    };
    BTreeMap::from([(name.to_owned(), quantity)])
}

fn mk_claim(name: &str) -> PersistentVolumeClaim {
    let spec = PersistentVolumeClaimSpec {
        access_modes: vec!["ReadWriteOnce".to_owned()],
        resources: Some(VolumeResourceRequirements {
            requests: storage("storage", "10Gi"),
            ..VolumeResourceRequirements::default()
        }),
        ..PersistentVolumeClaimSpec::default()
    };
    PersistentVolumeClaim {
        metadata: mk_meta(name),
        spec: Some(spec),
        ..PersistentVolumeClaim::default()
    }
}

async fn class_of_new_claim(registry: &Registry, name: &str) -> Option<String> {
    let claim = Decoded::internal(Box::new(mk_claim(name)));
    let stored = registry.create(&system(), claim, false).await.expect("created");
    typed::<PersistentVolumeClaim>(&stored)
        .spec
        .expect("present")
        .storage_class_name
}

#[tokio::test]
async fn claims_get_the_default_class() {
    let harness = Harness::new().await;
    assert_eq!(class_of_new_claim(&harness.registry, "before").await, None);
    let mut class = StorageClass {
        metadata: mk_meta("fast"),
        provisioner: "disks.example.com".to_owned(),
        ..StorageClass::default()
    };
    let annotations = &mut class.metadata.get_or_insert_default().annotations;
    annotations.insert(
        "storageclass.kubernetes.io/is-default-class".to_owned(),
        "true".to_owned(),
    );
    harness.create(class).await.expect("created");

    // A server that starts now has read the class before it follows, or else asks the store.
    let other = harness.another_server();
    assert_eq!(class_of_new_claim(&other, "elsewhere").await.as_deref(), Some("fast"));
    // One that follows hears of it.
    let heard = async {
        for attempt in 0.. {
            if class_of_new_claim(&harness.registry, &format!("after-{attempt}"))
                .await
                .as_deref()
                == Some("fast")
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, heard)
        .await
        .expect("the class is heard of");
}

/// A quota on storage that the quota controller has summed up.
async fn quota_of_storage(harness: &Harness, hard: &str) {
    let quota = ResourceQuota {
        metadata: mk_meta("disk"),
        spec: Some(ResourceQuotaSpec {
            hard: storage("requests.storage", hard),
            ..ResourceQuotaSpec::default()
        }),
        ..ResourceQuota::default()
    };
    let mut quota: ResourceQuota = typed(&harness.create(quota).await.expect("created"));
    quota.status = Some(ResourceQuotaStatus {
        hard: storage("requests.storage", hard),
        used: storage("requests.storage", "0"),
    });
    let decoded = Decoded::internal(Box::new(quota));
    let summed_up = harness.registry.update_status(&system(), decoded, false).await;
    summed_up.expect("summed up");
}

async fn used_storage(harness: &Harness) -> String {
    let stored = harness
        .get("", "resourcequotas", &in_default("disk"))
        .await
        .expect("there");
    let status = typed::<ResourceQuota>(&stored).status.expect("present");
    status.used["requests.storage"].string.clone()
}

#[tokio::test]
async fn growing_claims_are_charged() {
    let harness = Harness::new().await;
    quota_of_storage(&harness, "15Gi").await;
    let mut claim: PersistentVolumeClaim = typed(&harness.create(mk_claim("data")).await.expect("created"));
    assert_eq!(used_storage(&harness).await, "10Gi");
    assert_eq!(reason(harness.create(mk_claim("more")).await), Reason::Forbidden);

    claim.status.get_or_insert_default().phase = "Bound".to_owned();
    let bound = Decoded::internal(Box::new(claim));
    let changed = harness
        .registry
        .update_status(&system(), bound, false)
        .await
        .expect("bound");
    let permit = system();
    let grow = |size: &str| {
        let mut claim: PersistentVolumeClaim = typed(&changed.stored);
        claim.metadata.get_or_insert_default().resource_version.clear();
        let resources = claim.spec.get_or_insert_default().resources.get_or_insert_default();
        resources.requests = storage("storage", size);
        harness
            .registry
            .update(&permit, Decoded::internal(Box::new(claim)), false)
    };
    grow("14Gi").await.expect("there is room");
    assert_eq!(used_storage(&harness).await, "14Gi");
    assert_eq!(reason(grow("20Gi").await), Reason::Forbidden);
    assert_eq!(used_storage(&harness).await, "14Gi");
}
