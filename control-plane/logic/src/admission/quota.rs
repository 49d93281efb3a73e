//! Quotas: how much each object takes up, and whether a quota has room for it.
//!
//! Pure arithmetic. The registry reads the quotas of a namespace, charges them here, and stores object and
//! quotas in one transaction, so that two creates at once can never both take the last place. What is given
//! back when objects go is found by [`recalculate`], which a controller calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use trireme_proto::{
    api::{
        core::v1::{PersistentVolumeClaim, Pod, PodSpec, ResourceQuota, ResourceQuotaStatus, Service},
        meta::v1::Quantity,
    },
    quantity::Amount,
};

use super::group_resource;
use crate::{
    kinds::{
        persistent_volume_claim::{storage_class, storage_of},
        pod::{is_finished, qos_class, resources::pod_totals},
    },
    object::Object,
    validation::quantities::amount,
};

/// Kinds that may also be counted by their plural alone.
const PLAIN_COUNTS: &[&str] = &[
    "pods",
    "services",
    "secrets",
    "configmaps",
    "replicationcontrollers",
    "resourcequotas",
    "persistentvolumeclaims",
];
/// Resources that a container must name if a quota of the namespace bounds them.
const COMPUTE: &[&str] = &["cpu", "memory"];

/// What stands between the name of a storage class and that of a resource, where only claims of the class count.
const OF_STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";

/// What an object takes up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// By the names that quotas use.
    pub amounts: BTreeMap<String, Amount>,
    /// The scopes that the object falls into; pods only.
    scopes: BTreeSet<&'static str>,
    /// The priority class of a pod.
    priority_class: String,
    /// Containers that leave a resource open, by the name that quotas use.
    unspecified: BTreeMap<String, Vec<String>>,
}

/// Why a quota has no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuotaExceeded {
    /// It would be exceeded.
    #[error("exceeded quota: {quota}, requested: {requested}, used: {used}, limited: {limited}")]
    Exceeded {
        /// Its name.
        quota: String,
        /// What was asked for, of what is exceeded.
        requested: Amounts,
        /// What is used already.
        used: Amounts,
        /// What there is.
        limited: Amounts,
    },
    /// Containers must say how much they ask for of what the quota bounds.
    #[error("failed quota: {quota}: must specify {}", missing(.unspecified))]
    Unspecified {
        /// Its name.
        quota: String,
        /// Containers, by resource.
        unspecified: BTreeMap<String, Vec<String>>,
    },
    /// It is new, and what is used was not summed up yet.
    #[error("status unknown for quota: {quota}, resources: {}", .resources.join(","))]
    NotCalculated {
        /// Its name.
        quota: String,
        /// What is not known.
        resources: Vec<String>,
    },
}

/// Amounts as messages show them: `cpu=1,pods=3`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts(pub BTreeMap<String, Amount>);

impl fmt::Display for Amounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, amount)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{name}={amount}")?;
        }
        Ok(())
    }
}

/// What an object takes up.
pub fn usage_of(object: &dyn Object) -> Usage {
    let info = object.info();
    let mut usage = Usage::default();
    // Quotas bound what is in a namespace.
    if !info.namespaced {
        return usage;
    }
    let one = Amount::from_units(1, trireme_proto::quantity::Format::DecimalSi);
    usage.amounts.insert(format!("count/{}", group_resource(info)), one);
    if info.group.is_empty() && PLAIN_COUNTS.contains(&info.plural) {
        usage.amounts.insert(info.plural.to_owned(), one);
    }
    if let Some(pod) = object.downcast_ref::<Pod>() {
        add_pod(pod, &mut usage);
    }
    if let Some(service) = object.downcast_ref::<Service>() {
        add_service(service, &mut usage);
    }
    if let Some(claim) = object.downcast_ref::<PersistentVolumeClaim>() {
        add_claim(claim, one, &mut usage);
    }
    usage
}

/// Charges a quota for a new object. `None` if the quota is not about such objects.
///
/// # Errors
/// If the quota has no room, or cannot tell.
pub fn charge(quota: &ResourceQuota, usage: &Usage) -> Result<Option<ResourceQuota>, QuotaExceeded> {
    charge_change(quota, &Usage::default(), usage)
}

/// Charges a quota for a change of an object; what the object gives back is given back. `None` if that
/// changes nothing of the quota.
///
/// # Errors
/// If the quota has no room for what the object takes up more than before, or cannot tell.
pub fn charge_change(quota: &ResourceQuota, old: &Usage, new: &Usage) -> Result<Option<ResourceQuota>, QuotaExceeded> {
    let name = || {
        quota
            .metadata
            .as_ref()
            .map(|meta| meta.name.clone())
            .unwrap_or_default()
    };
    let hard = hard_of(quota);
    if old.amounts.is_empty() {
        must_be_specified(quota, new, &hard)?;
    }
    let delta = delta(quota, old, new);
    if delta.is_empty() {
        return Ok(None);
    }
    let mut status = quota.status.clone().unwrap_or_default();
    let unknown: Vec<String> = delta
        .keys()
        .filter(|name| !status.used.contains_key(*name))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        return Err(QuotaExceeded::NotCalculated {
            quota: name(),
            resources: unknown,
        });
    }
    let (mut requested, mut used, mut limited) = (Amounts::default(), Amounts::default(), Amounts::default());
    for (resource, change) in &delta {
        let before = status.used.get(resource).map(amount).unwrap_or_default();
        let after = before + *change;
        let bound = hard.get(resource).map(amount).unwrap_or_default();
        // Giving back is always possible, even where a quota was made smaller than what is used.
        if *change > Amount::ZERO && after > bound {
            requested.0.insert(resource.clone(), *change);
            used.0.insert(resource.clone(), before);
            limited.0.insert(resource.clone(), bound);
        }
        status.used.insert(resource.clone(), after.max(Amount::ZERO).into());
    }
    if !requested.0.is_empty() {
        return Err(QuotaExceeded::Exceeded {
            quota: name(),
            requested,
            used,
            limited,
        });
    }
    Ok(Some(ResourceQuota {
        status: Some(status),
        ..quota.clone()
    }))
}

/// The quota with its status summed up anew over every object of its namespace.
pub fn recalculate<'a>(quota: &ResourceQuota, objects: impl IntoIterator<Item = &'a dyn Object>) -> ResourceQuota {
    let hard = quota.spec.as_ref().map(|spec| spec.hard.clone()).unwrap_or_default();
    let mut used: BTreeMap<String, Amount> = hard.keys().map(|name| (name.clone(), Amount::ZERO)).collect();
    let namespace = quota.metadata.as_ref().map_or("", |meta| &meta.namespace);
    for object in objects {
        if object.metadata().namespace != namespace {
            continue;
        }
        let usage = usage_of(object);
        if !in_scope(quota, &usage) {
            continue;
        }
        for (name, amount) in usage.amounts {
            if let Some(sum) = used.get_mut(&name) {
                *sum += amount;
            }
        }
    }
    let used = used.into_iter().map(|(name, amount)| (name, amount.into())).collect();
    ResourceQuota {
        status: Some(ResourceQuotaStatus { hard, used }),
        ..quota.clone()
    }
}

/// A new pod must say how much it asks for of everything that the quota bounds.
fn must_be_specified(
    quota: &ResourceQuota,
    usage: &Usage,
    hard: &BTreeMap<String, Quantity>,
) -> Result<(), QuotaExceeded> {
    let bounded = |(name, _): &(&String, &Vec<String>)| hard.contains_key(*name);
    let unspecified: BTreeMap<String, Vec<String>> = usage
        .unspecified
        .iter()
        .filter(bounded)
        .map(|(name, list)| (name.clone(), list.clone()))
        .collect();
    if unspecified.is_empty() || !in_scope(quota, usage) {
        return Ok(());
    }
    let quota = quota
        .metadata
        .as_ref()
        .map(|meta| meta.name.clone())
        .unwrap_or_default();
    Err(QuotaExceeded::Unspecified { quota, unspecified })
}

/// What a change adds to each resource that the quota bounds; nothing that stays the same.
fn delta(quota: &ResourceQuota, old: &Usage, new: &Usage) -> BTreeMap<String, Amount> {
    let hard = hard_of(quota);
    let mut delta: BTreeMap<String, Amount> = BTreeMap::new();
    for (usage, give_back) in [(new, false), (old, true)] {
        if !in_scope(quota, usage) {
            continue;
        }
        for (name, amount) in usage.amounts.iter().filter(|(name, _)| hard.contains_key(*name)) {
            let sum = delta.entry(name.clone()).or_default();
            if give_back {
                *sum -= *amount;
            } else {
                *sum += *amount;
            }
        }
    }
    delta.retain(|_, amount| !amount.is_zero());
    delta
}

/// The bounds in force: the spec's, which the status follows.
fn hard_of(quota: &ResourceQuota) -> BTreeMap<String, Quantity> {
    quota.spec.as_ref().map(|spec| spec.hard.clone()).unwrap_or_default()
}

/// True if the quota is about such objects.
fn in_scope(quota: &ResourceQuota, usage: &Usage) -> bool {
    let Some(spec) = &quota.spec else { return false };
    let of_scopes = spec.scopes.iter().all(|scope| usage.scopes.contains(scope.as_str()));
    let of_selector = spec
        .scope_selector
        .iter()
        .flat_map(|selector| &selector.match_expressions)
        .all(|requirement| {
            let inside = match requirement.scope_name.as_str() {
                "PriorityClass" => !usage.priority_class.is_empty(),
                scope => usage.scopes.contains(scope),
            };
            match requirement.operator.as_str() {
                "In" => inside && requirement.values.contains(&usage.priority_class),
                "NotIn" => !requirement.values.contains(&usage.priority_class),
                "Exists" => inside,
                "DoesNotExist" => !inside,
                _ => false,
            }
        });
    of_scopes && of_selector
}

fn add_pod(pod: &Pod, usage: &mut Usage) {
    let spec = pod.spec.clone().unwrap_or_default();
    let best_effort = qos_class(pod) == "BestEffort";
    usage
        .scopes
        .insert(if best_effort { "BestEffort" } else { "NotBestEffort" });
    usage.scopes.insert(if spec.active_deadline_seconds.is_some() {
        "Terminating"
    } else {
        "NotTerminating"
    });
    usage.priority_class.clone_from(&spec.priority_class_name);
    if !usage.priority_class.is_empty() {
        usage.scopes.insert("PriorityClass");
    }
    // A finished pod is an object still, but holds nothing of a node.
    if is_finished(pod) {
        usage.amounts.remove("pods");
        return;
    }
    let totals = pod_totals(pod);
    for (name, amount) in totals.requests {
        usage.amounts.insert(format!("requests.{name}"), amount);
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.amounts.insert(name, amount);
        }
    }
    for (name, amount) in totals.limits {
        usage.amounts.insert(format!("limits.{name}"), amount);
    }
    add_unspecified(&spec, usage);
}

fn add_unspecified(spec: &PodSpec, usage: &mut Usage) {
    for container in spec.init_containers.iter().chain(&spec.containers) {
        let resources = container.resources.clone().unwrap_or_default();
        for name in COMPUTE {
            let mut leaves_open = |key: String| usage.unspecified.entry(key).or_default().push(container.name.clone());
            if !resources.requests.contains_key(*name) {
                leaves_open(format!("requests.{name}"));
                leaves_open((*name).to_owned());
            }
            if !resources.limits.contains_key(*name) {
                leaves_open(format!("limits.{name}"));
            }
        }
    }
}

fn add_service(service: &Service, usage: &mut Usage) {
    let Some(spec) = &service.spec else { return };
    let ports = i64::try_from(spec.ports.len()).unwrap_or(i64::MAX);
    let count = |count| Amount::from_units(count, trireme_proto::quantity::Format::DecimalSi);
    match spec.r#type.as_str() {
        "NodePort" => {
            usage.amounts.insert("services.nodeports".into(), count(ports));
        }
        "LoadBalancer" => {
            usage.amounts.insert("services.loadbalancers".into(), count(1));
            if spec.allocate_load_balancer_node_ports != Some(false) {
                usage.amounts.insert("services.nodeports".into(), count(ports));
            }
        }
        _ => {}
    }
}

/// A claim takes up its size, in all and of its class.
fn add_claim(claim: &PersistentVolumeClaim, one: Amount, usage: &mut Usage) {
    let of_class = |resource: &str| {
        let class = storage_class(claim).filter(|class| !class.is_empty());
        class.map(|class| format!("{class}{OF_STORAGE_CLASS}{resource}"))
    };
    usage
        .amounts
        .extend(of_class("persistentvolumeclaims").map(|name| (name, one)));
    let Some(size) = storage_of(claim).map(amount) else {
        return;
    };
    usage.amounts.insert("requests.storage".into(), size);
    usage
        .amounts
        .extend(of_class("requests.storage").map(|name| (name, size)));
}

/// `limits.cpu for: main,side; requests.memory for: main`
fn missing(unspecified: &BTreeMap<String, Vec<String>>) -> String {
    let parts: Vec<String> = unspecified
        .iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.join(",")))
        .collect();
    parts.join("; ")
}
