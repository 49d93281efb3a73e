//! Namespaces that end, and what every namespace has.

use trireme_proto::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, ServiceAccount},
    meta::v1::ObjectMeta,
};

use crate::{
    kind::metadata_of,
    testing::{harness::Harness, mk_deployment, mk_namespace, mk_service},
};

fn config(namespace: &str, finalizers: &[&str]) -> ConfigMap {
    let metadata = ObjectMeta {
        namespace: namespace.into(),
        name: "settings".into(),
        finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect(),
        ..ObjectMeta::default()
    };
    ConfigMap {
        metadata: Some(metadata),
        ..ConfigMap::default()
    }
}

#[test]
fn pods_go_first_then_the_rest_then_the_namespace() {
    let mut harness = Harness::new(2, 1);
    harness.create(mk_namespace("team"));
    harness.create(mk_deployment("team", "web", 3));
    harness.create(mk_service("team", "web"));
    harness.create(config("team", &[]));
    harness.create(config("default", &[]));
    harness.settle();
    harness.always(|world| {
        let pods = world.list::<Pod>("team").count();
        let rest = world.list::<ConfigMap>("team").count();
        assert!(pods == 0 || rest == 1, "{pods} pods outlived what was beside them");
    });
    harness.delete::<Namespace>("", "team", None);
    assert_eq!(
        harness.get::<Namespace>("", "team").status.as_ref().unwrap().phase,
        "Terminating"
    );
    harness.settle();
    assert!(
        harness
            .list::<Namespace>()
            .iter()
            .all(|namespace| metadata_of(*namespace).name == "default")
    );
    assert!(harness.store.tables().all(|table| table.list("team").next().is_none()));
    assert_eq!(harness.list::<ConfigMap>().len(), 1);
    assert!(harness.list::<Deployment>().is_empty());
}

#[test]
fn a_finalizer_holds_the_namespace_and_is_named() {
    let mut harness = Harness::new(0, 2);
    harness.create(mk_namespace("team"));
    harness.create(config("team", &["example.com/keep"]));
    harness.settle();
    harness.delete::<Namespace>("", "team", None);
    harness.settle();
    let conditions = harness.get::<Namespace>("", "team").status.clone().unwrap().conditions;
    assert!(
        conditions[0]
            .message
            .contains("configmaps; held by finalizers: example.com/keep"),
        "{conditions:?}"
    );
    harness.change::<ConfigMap>("team", "settings", |config| {
        config.metadata.as_mut().unwrap().finalizers.clear();
    });
    harness.settle();
    assert_eq!(harness.list::<Namespace>().len(), 1);
}

#[test]
fn every_namespace_has_a_default_account() {
    let mut harness = Harness::new(0, 3);
    harness.create(mk_namespace("team"));
    harness.settle();
    assert_eq!(harness.list::<ServiceAccount>().len(), 2);
    harness.delete::<ServiceAccount>("team", "default", None);
    harness.settle();
    assert_eq!(harness.list::<ServiceAccount>().len(), 2);
}
