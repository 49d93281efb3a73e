//! Which objects carry a label, or have a value in one of the fields by which objects are often looked for.
//!
//! A mark is a label with its value, or a field with its value; it is kept as 64 bits of hash. Two marks may share
//! them, so that what is found are candidates, to be compared with what is looked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Bound,
    sync::Arc,
};

use trireme_proto::selector::{Condition, FieldSelector, LabelSelector};

use super::table::TypeKey;
use crate::{
    kind::KindInfo,
    object::{Object, ObjectKey},
};

/// Fields by which objects are found, by the plural name of their kind: what an agent asks for its pods by, and what
/// people are shown the events of an object by.
const FIELDS: &[(&str, &[&str])] = &[
    ("pods", &["spec.nodeName"]),
    ("events", &["involvedObject.name", "involvedObject.uid"]),
];

/// All marks.
#[derive(Debug, Default)]
pub(super) struct Marks {
    kinds: BTreeMap<TypeKey, BTreeMap<u64, Carriers>>,
}

/// Who carries a mark. Most marks that are worth looking for have one carrier.
#[derive(Debug)]
enum Carriers {
    One(Arc<ObjectKey>),
    Many(BTreeSet<Arc<ObjectKey>>),
}

impl Marks {
    /// Follows the change of one object.
    pub(super) fn update(
        &mut self,
        info: &'static KindInfo,
        key: &Arc<ObjectKey>,
        old: Option<&dyn Object>,
        new: Option<&dyn Object>,
    ) {
        if let (Some(old), Some(new)) = (old, new)
            && carry_the_same(info, old, new)
        {
            return;
        }
        let (before, after) = (marks_of(info, old), marks_of(info, new));
        let marks = self.kinds.entry(TypeKey::of(info)).or_default();
        for gone in before.difference(&after) {
            let is_last = marks.get_mut(gone).is_some_and(|carriers| carriers.remove(key));
            if is_last {
                marks.remove(gone);
            }
        }
        for come in after.difference(&before) {
            match marks.get_mut(come) {
                Some(carriers) => carriers.add(key),
                None => {
                    marks.insert(*come, Carriers::One(Arc::clone(key)));
                }
            }
        }
    }

    /// See [`World::candidates`](super::World::candidates).
    pub(super) fn candidates(
        &self,
        info: &KindInfo,
        namespace: &str,
        labels: &LabelSelector,
        fields: &FieldSelector,
        most: usize,
    ) -> Option<Vec<ObjectKey>> {
        let of_kind = self.kinds.get(&TypeKey::of(info));
        let mut fewest: Option<BTreeSet<&ObjectKey>> = None;
        for wanted in wanted_marks(info, labels, fields) {
            let mut found = BTreeSet::new();
            for mark in wanted {
                let carriers = of_kind.and_then(|marks| marks.get(&mark));
                found.extend(
                    carriers
                        .into_iter()
                        .flat_map(|carriers| carriers.within(namespace, most + 1)),
                );
            }
            if found.len() <= most && fewest.as_ref().is_none_or(|fewest| found.len() < fewest.len()) {
                fewest = Some(found);
            }
        }
        fewest.map(|keys| keys.into_iter().cloned().collect())
    }
}

impl Carriers {
    fn add(&mut self, key: &Arc<ObjectKey>) {
        match self {
            Self::One(first) if first == key => {}
            Self::One(first) => *self = Self::Many(BTreeSet::from([Arc::clone(first), Arc::clone(key)])),
            Self::Many(keys) => {
                keys.insert(Arc::clone(key));
            }
        }
    }

    /// True if nobody is left.
    fn remove(&mut self, key: &Arc<ObjectKey>) -> bool {
        match self {
            Self::One(first) => first == key,
            Self::Many(keys) => {
                keys.remove(key);
                keys.is_empty()
            }
        }
    }

    /// The first so many in a namespace, or in all if it is empty.
    fn within(&self, namespace: &str, most: usize) -> Vec<&ObjectKey> {
        let is_within = |key: &&ObjectKey| namespace.is_empty() || key.namespace == namespace;
        match self {
            Self::One(key) => Some(&**key).filter(is_within).into_iter().collect(),
            Self::Many(keys) => keys
                .range::<ObjectKey, _>((Bound::Included(&ObjectKey::new(namespace, "")), Bound::Unbounded))
                .map(|key| &**key)
                .take_while(is_within)
                .take(most)
                .collect(),
        }
    }
}

/// Whether two versions of an object carry the same marks, as most do: states change more often than labels.
fn carry_the_same(info: &KindInfo, old: &dyn Object, new: &dyn Object) -> bool {
    let is_same = |path: &&str| old.selectable_field(path) == new.selectable_field(path);
    old.metadata().labels == new.metadata().labels && fields_of(info).iter().all(is_same)
}

/// Every mark that an object carries.
fn marks_of(info: &KindInfo, object: Option<&dyn Object>) -> BTreeSet<u64> {
    let Some(object) = object else {
        return BTreeSet::new();
    };
    let labels = &object.metadata().labels;
    let mut marks: BTreeSet<u64> = labels.iter().map(|(key, value)| label_mark(key, value)).collect();
    for path in fields_of(info) {
        let value = object.selectable_field(path).filter(|value| !value.is_empty());
        marks.extend(value.map(|value| field_mark(path, &value)));
    }
    marks
}

/// For each requirement that marks can tell: the marks of which an object must carry one.
fn wanted_marks(info: &KindInfo, labels: &LabelSelector, fields: &FieldSelector) -> Vec<Vec<u64>> {
    let of_labels = labels
        .requirements()
        .iter()
        .filter_map(|wanted| match &wanted.condition {
            Condition::In(values) => Some(
                values
                    .iter()
                    .map(|value| label_mark(&wanted.key, value))
                    .collect::<Vec<u64>>(),
            ),
            _ => None,
        });
    let of_fields = fields.requirements().iter().filter_map(|wanted| {
        let is_told = wanted.equal && !wanted.value.is_empty() && fields_of(info).contains(&wanted.path.as_str());
        is_told.then(|| vec![field_mark(&wanted.path, &wanted.value)])
    });
    of_labels.chain(of_fields).collect()
}

fn fields_of(info: &KindInfo) -> &'static [&'static str] {
    let of_kind = FIELDS.iter().find(|(plural, _)| *plural == info.plural);
    of_kind.map_or(&[][..], |(_, fields)| *fields)
}

fn label_mark(key: &str, value: &str) -> u64 {
    mark("label", key, value)
}

fn field_mark(path: &str, value: &str) -> u64 {
    mark("field", path, value)
}

fn mark(what: &str, name: &str, value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (what, name, value).hash(&mut hasher);
    hasher.finish()
}
