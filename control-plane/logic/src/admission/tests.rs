//! What each plugin does, and the arithmetic of quotas.
#![allow(clippy::needless_pass_by_value, reason = "tables of `json!` values read better")]

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use trireme_proto::api::{
    core::v1::{LimitRange, PersistentVolumeClaim, Pod, ResourceQuota},
    scheduling::v1::PriorityClass,
    storage::v1::StorageClass,
};

use super::{
    AdmissionLookup, AdmissionReason, AdmissionRequest, NamespacePhase, Operation, PriorityClasses, QuotaExceeded,
    Usage, charge, charge_change, default_storage_class_of, mutate, recalculate, usage_of, validate,
};
use crate::{
    field_error::FieldErrors,
    kind::Kind,
    object::Object,
    testing::{at, mk_deployment, mk_namespace, mk_node, mk_pod, mk_pod_with_requests, mk_service, quantity},
};

/// A cluster of the namespaces `shop` and `ending`, with limit ranges for all.
#[derive(Default)]
struct Cluster {
    limit_ranges: Vec<Arc<LimitRange>>,
    priority_classes: Arc<PriorityClasses>,
    default_storage_class: Option<String>,
}

impl AdmissionLookup for Cluster {
    fn namespace(&self, name: &str) -> Option<NamespacePhase> {
        match name {
            "shop" => Some(NamespacePhase::Active),
            "ending" => Some(NamespacePhase::Terminating),
            _ => None,
        }
    }

    fn limit_ranges(&self, _namespace: &str) -> Vec<Arc<LimitRange>> {
        self.limit_ranges.clone()
    }

    fn priority_classes(&self) -> Arc<PriorityClasses> {
        self.priority_classes.clone()
    }

    fn default_storage_class(&self) -> Option<String> {
        self.default_storage_class.clone()
    }
}

fn request(operation: Operation, object: &dyn Object) -> AdmissionRequest {
    AdmissionRequest {
        operation,
        info: object.info(),
        key: object.key(),
    }
}

fn refusal(operation: Operation, object: &dyn Object) -> Option<(AdmissionReason, String)> {
    let refused = validate(&request(operation, object), object, &Cluster::default()).err()?;
    Some((refused.reason, refused.message))
}

fn from_json<K: Kind>(json: Value) -> K {
    let mut object: K = serde_json::from_value(json).expect("an object");
    object.set_defaults();
    object
}

#[test]
fn namespaces_must_exist_and_not_be_ending() {
    let forbidden = |message: &str| Some((AdmissionReason::Forbidden, message.to_owned()));
    assert_eq!(refusal(Operation::Create, &mk_pod("shop", "web")), None);
    assert_eq!(
        refusal(Operation::Create, &mk_pod("none", "web")),
        Some((AdmissionReason::NotFound, "namespaces \"none\" not found".into()))
    );
    let why = "is forbidden: unable to create new content in namespace ending because it is being terminated";
    assert_eq!(
        refusal(Operation::Create, &mk_pod("ending", "web")),
        forbidden(&format!("pods \"web\" {why}"))
    );
    assert_eq!(
        refusal(Operation::Create, &mk_deployment("ending", "web", 1)),
        forbidden(&format!("deployments.apps \"web\" {why}"))
    );
    assert_eq!(refusal(Operation::Update, &mk_pod("ending", "web")), None);
    assert_eq!(refusal(Operation::Create, &mk_node("n1")), None);
}

#[test]
fn some_namespaces_may_not_be_deleted() {
    for name in ["default", "kube-system", "kube-public"] {
        let refused = refusal(Operation::Delete, &mk_namespace(name)).expect("refused");
        assert_eq!(
            refused.1,
            format!("namespaces {name:?} is forbidden: this namespace may not be deleted")
        );
    }
    assert_eq!(refusal(Operation::Delete, &mk_namespace("shop")), None);
    assert_eq!(refusal(Operation::Delete, &mk_pod("default", "default")), None);
}

#[test]
fn pods_get_an_account_and_tolerations() {
    let mut pod = mk_pod("shop", "web");
    for _ in 0..2 {
        let admission = request(Operation::Create, &pod);
        mutate(&admission, &mut pod, &Cluster::default());
    }
    let spec = pod.spec.expect("a spec");
    assert_eq!(
        (spec.service_account_name.as_str(), spec.service_account.as_str()),
        ("default", "default")
    );
    let tolerations: Vec<_> = spec
        .tolerations
        .iter()
        .map(|given| (given.key.as_str(), given.operator.as_str(), given.toleration_seconds))
        .collect();
    assert_eq!(
        tolerations,
        [
            ("node.kubernetes.io/not-ready", "Exists", Some(30)),
            ("node.kubernetes.io/unreachable", "Exists", Some(30)),
        ]
    );
}

#[test]
fn given_tolerations_stay() {
    for (given, count) in [
        (json!([{"operator": "Exists"}]), 1),
        (
            json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]),
            2,
        ),
        (
            json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}]),
            3,
        ),
    ] {
        let mut pod: Pod =
            from_json(json!({"metadata": {"namespace": "shop"}, "spec": {"tolerations": given, "containers": []}}));
        let admission = request(Operation::Create, &pod);
        mutate(&admission, &mut pod, &Cluster::default());
        assert_eq!(pod.spec.expect("a spec").tolerations.len(), count, "{given}");
    }
}

fn limit_range(limits: Value) -> Vec<Arc<LimitRange>> {
    vec![Arc::new(from_json(json!({"spec": {"limits": limits}})))]
}

fn limited(resources: Value, limits: Value) -> (Value, String) {
    let cluster = Cluster {
        limit_ranges: limit_range(limits),
        ..Cluster::default()
    };
    let mut pod: Pod = from_json(json!({"metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": "a:1", "resources": resources}]}}));
    let admission = request(Operation::Create, &pod);
    mutate(&admission, &mut pod, &cluster);
    let refused = validate(&admission, &pod, &cluster)
        .err()
        .map(|error| error.message)
        .unwrap_or_default();
    let mut errors = FieldErrors::default();
    super::check_limit_ranges(&pod, &cluster.limit_ranges, &mut errors);
    assert_eq!(errors.is_empty(), refused.is_empty(), "both ways of asking agree");
    (
        serde_json::to_value(&pod).expect("has JSON")["spec"]["containers"][0]["resources"].clone(),
        refused,
    )
}

#[test]
fn limit_ranges_fill_in() {
    let limits =
        || json!([{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m", "memory": "1Mi"}}]);
    let (resources, refused) = limited(json!({}), limits());
    assert_eq!(
        resources,
        json!({"limits": {"cpu": "1"}, "requests": {"cpu": "100m", "memory": "1Mi"}})
    );
    assert_eq!(refused, "");
    let (resources, _) = limited(json!({"limits": {"cpu": "2"}}), limits());
    assert_eq!(
        resources,
        json!({"limits": {"cpu": "2"}, "requests": {"cpu": "2", "memory": "1Mi"}})
    );
}

#[test]
fn limit_ranges_bound() {
    for (resources, limits, message) in [
        (
            json!({"requests": {"cpu": "50m"}}),
            json!([{"type": "Container", "min": {"cpu": "100m"}}]),
            "pods \"web\" is forbidden: minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            json!({"limits": {"cpu": "2"}}),
            json!([{"type": "Container", "max": {"cpu": "1"}}]),
            "pods \"web\" is forbidden: maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            json!({}),
            json!([{"type": "Pod", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}}]),
            "pods \"web\" is forbidden: [minimum memory usage per Pod is 1Mi.  No request is specified, \
             maximum cpu usage per Pod is 1.  No limit is specified]",
        ),
        (
            json!({"limits": {"cpu": "2"}, "requests": {"cpu": "500m"}}),
            json!([{"type": "Container", "maxLimitRequestRatio": {"cpu": "3"}}]),
            "pods \"web\" is forbidden: cpu max limit to request ratio per Container is 3, but provided ratio is 4.000000",
        ),
        (
            json!({"limits": {"cpu": "1"}}),
            json!([{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "1"}}]),
            "",
        ),
    ] {
        assert_eq!(limited(resources, limits).1, message);
    }
}

fn quota(hard: Value, used: Value) -> ResourceQuota {
    from_json(
        json!({"metadata": {"name": "q", "namespace": "shop"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}}),
    )
}

fn used_of(quota: &ResourceQuota) -> Value {
    serde_json::to_value(quota).expect("has JSON")["status"]["used"].clone()
}

#[test]
fn usage_of_objects() {
    let amounts = |object: &dyn Object| -> BTreeMap<String, String> {
        usage_of(object)
            .amounts
            .into_iter()
            .map(|(name, amount)| (name, amount.to_string()))
            .collect()
    };
    let expect = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter()
            .map(|(name, amount)| ((*name).into(), (*amount).into()))
            .collect()
    };
    assert_eq!(amounts(&mk_node("n1")), expect(&[]));
    assert_eq!(
        amounts(&mk_deployment("shop", "web", 3)),
        expect(&[("count/deployments.apps", "1")])
    );
    assert_eq!(
        amounts(&mk_service("shop", "web")),
        expect(&[("count/services", "1"), ("services", "1")])
    );
    let pod = mk_pod_with_requests("shop", "web", &[("cpu", "500m"), ("example.com/gpu", "2")]);
    assert_eq!(
        amounts(&pod),
        expect(&[
            ("count/pods", "1"),
            ("pods", "1"),
            ("cpu", "500m"),
            ("requests.cpu", "500m"),
            ("requests.example.com/gpu", "2")
        ])
    );
    let mut finished = pod;
    finished.status.get_or_insert_default().phase = "Succeeded".into();
    assert_eq!(amounts(&finished), expect(&[("count/pods", "1")]));
}

#[test]
fn init_containers_count_by_their_largest_step() {
    let mut pod: Pod = from_json(json!({"metadata": {"namespace": "shop"}, "spec": {
        "overhead": {"cpu": "100m"},
        "initContainers": [
            {"name": "side", "image": "a:1", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
            {"name": "init", "image": "a:1", "resources": {"requests": {"cpu": "4", "memory": "1Gi"}}},
        ],
        "containers": [{"name": "main", "image": "a:1", "resources": {"requests": {"cpu": "2"}}}],
    }}));
    Kind::prepare_create(&mut pod);
    let usage = usage_of(&pod);
    assert_eq!(usage.amounts["requests.cpu"].to_string(), "5100m");
    assert_eq!(usage.amounts["requests.memory"].to_string(), "1Gi");
}

#[test]
fn quotas_are_charged_until_they_are_full() {
    let one = usage_of(&mk_pod_with_requests("shop", "web", &[("cpu", "600m")]));
    let empty = quota(
        json!({"pods": "3", "requests.cpu": "1500m"}),
        json!({"pods": "0", "requests.cpu": "0"}),
    );
    let first = charge(&empty, &one).expect("room").expect("concerned");
    assert_eq!(used_of(&first), json!({"pods": "1", "requests.cpu": "600m"}));
    let second = charge(&first, &one).expect("room").expect("concerned");
    let error = charge(&second, &one).expect_err("full");
    assert_eq!(
        error.to_string(),
        "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=1200m, limited: requests.cpu=1500m"
    );
    let full = quota(json!({"pods": "3"}), json!({"pods": "3"}));
    let error = charge(&full, &one).expect_err("full");
    assert_eq!(
        error.to_string(),
        "exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3"
    );
}

#[test]
fn quotas_of_other_things_are_not_charged() {
    let configmaps = quota(json!({"configmaps": "0"}), json!({"configmaps": "0"}));
    assert_eq!(charge(&configmaps, &usage_of(&mk_pod("shop", "web"))), Ok(None));
}

#[test]
fn quotas_ask_for_requests() {
    let bound = quota(
        json!({"requests.cpu": "1", "limits.memory": "1Gi"}),
        json!({"requests.cpu": "0", "limits.memory": "0"}),
    );
    let bare = usage_of(&mk_pod_with_requests("shop", "web", &[("memory", "1Mi")]));
    // The quota is about what the pod leaves open, though the pod takes nothing of it.
    let error = charge(&bound, &bare).expect_err("must say");
    assert_eq!(
        error.to_string(),
        "failed quota: q: must specify limits.memory for: main; requests.cpu for: main"
    );
}

#[test]
fn new_quotas_must_be_summed_up_first() {
    let fresh = quota(json!({"pods": "3"}), json!({}));
    let error = charge(&fresh, &usage_of(&mk_pod("shop", "web"))).expect_err("not known");
    assert!(matches!(error, QuotaExceeded::NotCalculated { .. }));
    assert_eq!(error.to_string(), "status unknown for quota: q, resources: pods");
    let objects = [mk_pod("shop", "a"), mk_pod("shop", "b"), mk_pod("other", "c")];
    let summed = recalculate(&fresh, objects.iter().map(|pod| pod as &dyn Object));
    assert_eq!(used_of(&summed), json!({"pods": "2"}));
    assert!(charge(&summed, &usage_of(&mk_pod("shop", "web"))).is_ok());
}

#[test]
fn changes_charge_the_difference() {
    let bound = quota(json!({"requests.cpu": "1"}), json!({"requests.cpu": "900m"}));
    let of = |cpu: &str| usage_of(&mk_pod_with_requests("shop", "web", &[("cpu", cpu)]));
    let change = |from: &str, to: &str| charge_change(&bound, &of(from), &of(to));
    assert_eq!(change("500m", "500m"), Ok(None));
    assert_eq!(
        used_of(&change("500m", "600m").expect("room").expect("changed")),
        json!({"requests.cpu": "1"})
    );
    assert!(change("500m", "601m").is_err());
    // Giving back is possible even when too much is used.
    let over = quota(json!({"requests.cpu": "1"}), json!({"requests.cpu": "5"}));
    let less = charge_change(&over, &of("2"), &of("1"))
        .expect("gives back")
        .expect("changed");
    assert_eq!(used_of(&less), json!({"requests.cpu": "4"}));
    let gone = charge_change(&over, &of("2"), &Usage::default())
        .expect("gives back")
        .expect("changed");
    assert_eq!(used_of(&gone), json!({"requests.cpu": "3"}));
}

#[test]
fn scopes_narrow_a_quota() {
    let scoped = |scopes: Value| {
        let mut quota = quota(json!({"pods": "0"}), json!({"pods": "0"}));
        quota.spec.get_or_insert_default().scopes = serde_json::from_value(scopes).expect("scopes");
        quota
    };
    let best_effort = usage_of(&mk_pod("shop", "web"));
    let burstable = usage_of(&mk_pod_with_requests("shop", "web", &[("cpu", "1")]));
    for (scopes, usage, concerned) in [
        (json!(["BestEffort"]), &best_effort, true),
        (json!(["BestEffort"]), &burstable, false),
        (json!(["NotBestEffort", "NotTerminating"]), &burstable, true),
        (json!(["Terminating"]), &burstable, false),
    ] {
        assert_eq!(charge(&scoped(scopes.clone()), usage).is_err(), concerned, "{scopes}");
    }
    let service = usage_of(&mk_service("shop", "web"));
    assert_eq!(charge(&scoped(json!(["BestEffort"])), &service), Ok(None));
}

#[test]
fn quota_names_and_amounts_are_canonical() {
    let bound = quota(json!({"requests.memory": "2Gi"}), json!({"requests.memory": "1Gi"}));
    let usage = usage_of(&mk_pod_with_requests("shop", "web", &[("memory", "512Mi")]));
    let charged = charge(&bound, &usage).expect("room").expect("concerned");
    assert_eq!(
        charged.status.expect("a status").used["requests.memory"],
        quantity("1536Mi")
    );
}

/// A cluster of the classes `high` and `quiet`, and one more that is the default.
fn ranked() -> Cluster {
    let class = |json: Value| {
        let class: PriorityClass = from_json(json);
        let name = class.metadata.as_ref().expect("metadata").name.clone();
        (name, Arc::new(class))
    };
    let classes = [
        class(json!({"metadata": {"name": "high"}, "value": 1000})),
        class(json!({"metadata": {"name": "quiet"}, "value": -5, "preemptionPolicy": "Never"})),
        class(json!({"metadata": {"name": "usual"}, "value": 10, "globalDefault": true})),
        class(json!({"metadata": {"name": "zealous"}, "value": 20, "globalDefault": true})),
    ];
    Cluster {
        priority_classes: Arc::new(classes.into_iter().collect()),
        ..Cluster::default()
    }
}

/// Class, priority and preemption of a pod that is admitted, or why it is not.
fn ranked_pod(cluster: &Cluster, spec: Value) -> Result<(String, i32, String), String> {
    let mut json = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}});
    json_patch::merge(&mut json["spec"], &spec);
    let mut pod: Pod = from_json(json);
    let admission = request(Operation::Create, &pod);
    for _ in 0..2 {
        mutate(&admission, &mut pod, cluster);
    }
    validate(&admission, &pod, cluster).map_err(|refused| refused.message)?;
    let spec = pod.spec.expect("a spec");
    Ok((
        spec.priority_class_name,
        spec.priority.expect("a priority"),
        spec.preemption_policy.expect("a policy"),
    ))
}

#[test]
fn pods_get_the_priority_of_their_class() {
    let lower = "PreemptLowerPriority";
    let none = Cluster::default();
    for (cluster, spec, expected) in [
        (&none, json!({}), ("", 0, lower)),
        (&none, json!({"priority": 0}), ("", 0, lower)),
        (
            &none,
            json!({"priorityClassName": "system-node-critical"}),
            ("system-node-critical", 2_000_001_000, lower),
        ),
        (&ranked(), json!({}), ("usual", 10, lower)),
        (&ranked(), json!({"priorityClassName": "high"}), ("high", 1000, lower)),
        (
            &ranked(),
            json!({"priorityClassName": "quiet", "priority": -5, "preemptionPolicy": "Never"}),
            ("quiet", -5, "Never"),
        ),
    ] {
        let expected = Ok((expected.0.to_owned(), expected.1, expected.2.to_owned()));
        assert_eq!(ranked_pod(cluster, spec.clone()), expected, "{spec}");
    }
}

#[test]
fn pods_give_themselves_no_priority() {
    for (spec, why) in [
        (
            json!({"priorityClassName": "none"}),
            "no PriorityClass with name none was found",
        ),
        (
            json!({"priority": 11}),
            "the integer value of priority (11) must not be provided in pod spec; priority admission controller computed \
             10 from the given PriorityClass name",
        ),
        (
            json!({"priorityClassName": "quiet", "preemptionPolicy": "PreemptLowerPriority"}),
            "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority \
             admission controller computed Never from the given PriorityClass name",
        ),
    ] {
        let refused = ranked_pod(&ranked(), spec.clone()).expect_err("refused");
        assert_eq!(refused, format!("pods \"web\" is forbidden: {why}"), "{spec}");
    }
}

#[test]
fn one_priority_class_is_the_default() {
    let judge = |operation: Operation, cluster: &Cluster, name: &str, global_default: bool| {
        let class: PriorityClass =
            from_json(json!({"metadata": {"name": name}, "value": 1, "globalDefault": global_default}));
        let refused = validate(&request(operation, &class), &class, cluster).err();
        refused.map(|refused| refused.message)
    };
    let already = |name: &str| {
        Some(format!(
            "priorityclasses.scheduling.k8s.io {name:?} is forbidden: PriorityClass usual is already marked as default. \
             Only one default can exist"
        ))
    };
    for operation in [Operation::Create, Operation::Update] {
        assert_eq!(judge(operation, &ranked(), "new", true), already("new"));
        assert_eq!(judge(operation, &ranked(), "new", false), None);
        assert_eq!(judge(operation, &ranked(), "usual", true), None);
        assert_eq!(judge(operation, &Cluster::default(), "new", true), None);
    }
    let protected = Some(
        "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and \
         cannot be deleted"
            .to_owned(),
    );
    assert_eq!(
        judge(Operation::Delete, &ranked(), "system-node-critical", false),
        protected
    );
    assert_eq!(judge(Operation::Delete, &ranked(), "usual", true), None);
}

fn claim(spec: Value) -> PersistentVolumeClaim {
    let mut json = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}});
    json_patch::merge(&mut json["spec"], &spec);
    from_json(json)
}

#[test]
fn claims_without_a_class_get_the_default_one() {
    let class_of = |mut claim: PersistentVolumeClaim, default: Option<&str>, operation: Operation| {
        let cluster = Cluster {
            default_storage_class: default.map(str::to_owned),
            ..Cluster::default()
        };
        for _ in 0..2 {
            mutate(&request(operation, &claim), &mut claim, &cluster);
        }
        claim.spec.unwrap_or_default().storage_class_name
    };
    let old_style = || {
        let mut claim = claim(json!({}));
        let annotations = &mut claim.metadata_mut().annotations;
        annotations.insert("volume.beta.kubernetes.io/storage-class".into(), "old".into());
        claim
    };
    for (claim, default, operation, expected) in [
        (claim(json!({})), Some("fast"), Operation::Create, Some("fast")),
        (claim(json!({})), None, Operation::Create, None),
        (claim(json!({})), Some("fast"), Operation::Update, None),
        (
            claim(json!({"storageClassName": "slow"})),
            Some("fast"),
            Operation::Create,
            Some("slow"),
        ),
        (
            claim(json!({"storageClassName": ""})),
            Some("fast"),
            Operation::Create,
            Some(""),
        ),
        (old_style(), Some("fast"), Operation::Create, None),
    ] {
        assert_eq!(class_of(claim, default, operation).as_deref(), expected);
    }
}

#[test]
fn the_newest_default_class_is_taken() {
    let class = |name: &str, created: i64, mark: &str, value: &str| -> StorageClass {
        from_json(
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "a.b",
            "metadata": {"name": name, "creationTimestamp": at(created).to_string(), "annotations": {mark: value}}}),
        )
    };
    let (mark, old_mark) = (
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    );
    let classes = [
        class("a", 1, mark, "true"),
        class("c", 5, mark, "true"),
        class("b", 5, old_mark, "true"),
        class("d", 9, mark, "false"),
        class("e", 9, "other", "true"),
    ];
    assert_eq!(default_storage_class_of(&classes), Some("b"));
    assert_eq!(default_storage_class_of(&classes[..1]), Some("a"));
    assert_eq!(default_storage_class_of(&classes[3..]), None);
}

#[test]
fn claims_take_up_their_size() {
    let amounts = |claim: &PersistentVolumeClaim| {
        let usage = usage_of(claim).amounts;
        usage
            .into_iter()
            .map(|(name, amount)| format!("{name}={amount}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        amounts(&claim(json!({}))),
        "count/persistentvolumeclaims=1 persistentvolumeclaims=1 requests.storage=10Gi"
    );
    assert_eq!(
        amounts(&claim(json!({"storageClassName": "fast"}))),
        "count/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
         fast.storageclass.storage.k8s.io/requests.storage=10Gi persistentvolumeclaims=1 requests.storage=10Gi"
    );
    let mut growing = claim(json!({}));
    growing.status =
        Some(serde_json::from_value(json!({"allocatedResources": {"storage": "20Gi"}})).expect("a status"));
    assert!(
        amounts(&growing).ends_with("requests.storage=20Gi"),
        "{}",
        amounts(&growing)
    );
}

#[test]
fn claims_stay_within_limit_ranges() {
    let range: LimitRange = from_json(
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "sizes", "namespace": "shop"},
        "spec": {"limits": [{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "20Gi"}}]}}),
    );
    let cluster = Cluster {
        limit_ranges: vec![Arc::new(range)],
        ..Cluster::default()
    };
    let refused = |size: &str| {
        let claim = claim(json!({"resources": {"requests": {"storage": size}}}));
        validate(&request(Operation::Create, &claim), &claim, &cluster)
            .err()
            .map(|error| error.message)
    };
    assert_eq!(refused("1Gi"), None);
    assert_eq!(refused("20Gi"), None);
    assert_eq!(
        refused("21Gi").as_deref(),
        Some(
            "persistentvolumeclaims \"data\" is forbidden: maximum storage usage per PersistentVolumeClaim is 20Gi, but request is 21Gi"
        )
    );
    assert_eq!(
        refused("1Mi").as_deref(),
        Some(
            "persistentvolumeclaims \"data\" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"
        )
    );
}
