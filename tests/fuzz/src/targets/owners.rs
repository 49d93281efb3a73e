//! What those send who declare part of an object, and the sets of fields that they own.

use serde_json::Value;
use trireme_logic::apply::{self, Change, Config, Managers, Part};
use trireme_logic::json;
use trireme_logic::kinds::{KINDS, api_version};
use trireme_logic::object::KindOps;
use trireme_proto::api::meta::v1::{ManagedFieldsEntry, Time};

use super::api;

/// When everything happens.
const NOW: Time = Time {
    seconds: 1_700_000_000,
    nanos: 0,
};

/// A set of fields as an object stores it: written again it is the same, and JSON in canonical order.
pub(super) fn managed_fields(input: &[u8]) -> bool {
    let Ok(set) = apply::from_json(input) else {
        return false;
    };
    let text = apply::to_json(&set);
    assert_eq!(apply::from_json(&text).ok().as_ref(), Some(&set));
    let value: Value = serde_json::from_slice(&text).expect("it is written as JSON");
    assert_eq!(apply::from_json(value.to_string().as_bytes()).ok().as_ref(), Some(&set));
    let (with, without) = (set.union(&set), set.difference(&set));
    assert!(with == set && without.is_empty());
    true
}

pub(super) fn managed_fields_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "{}",
        r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}},"f:finalizers":{"v:\"example.com/a\"":{}}}}"#,
        r#"{"f:spec":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"i:3":{}}}"#,
        r#"{"f:list":{"v:1":{},"v:1.5":{},"v:true":{},"v:null":{}},"f:a\"b":{}}"#,
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// `kind (1) | force (1) | length (2) | the object's JSON | the configuration`.
///
/// Somebody else has made the object. Who has applied a configuration meets no conflict with it afterwards, and applying it
/// again changes nothing.
pub(super) fn configuration(input: &[u8]) -> bool {
    let Some(([which, force, high, low], rest)) = input.split_first_chunk::<4>() else {
        return false;
    };
    let ops = KINDS[usize::from(*which) % KINDS.len()].stored();
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (live, config) = rest.split_at(length);
    let (Ok(live), Ok(Value::Object(config))) = (json::parse(live), json::parse(config)) else {
        return false;
    };
    let Some(live) = stored(ops, &live) else {
        return false;
    };
    let version = api_version(ops.info());
    let change = Change {
        schema: ops.schema(),
        api_version: &version,
        part: Part::Object { status_apart: true },
        now: NOW,
    };
    let made = apply::new_fields(ops.schema(), &live).expect("it has JSON");
    let owners = apply::owners_of_new(&change, "creator", made);
    let wanted = Config {
        json: &config,
        manager: "applier",
        force: force % 2 == 1,
    };
    let Ok(applied) = apply::apply(&change, wanted, Some(&live), &owners) else {
        return false;
    };
    check_owners(&applied.managers);
    // The outcome need not be an object of its kind: whoever decodes it finds out.
    let Some(object) = stored(ops, &applied.object) else {
        return true;
    };
    let unforced = Config { force: false, ..wanted };
    let again = apply::apply(&change, unforced, Some(&object), &applied.managers);
    let again = again.unwrap_or_else(|error| panic!("who has applied meets no conflict: {error}"));
    assert_eq!(owners_of(&again.managers), owners_of(&applied.managers));
    assert_eq!(
        stored(ops, &again.object),
        Some(object),
        "applying again changes nothing"
    );
    true
}

/// As it would be stored: decoded and encoded, with the defaults of its kind. `None` if it is no object of the kind.
fn stored(ops: &dyn KindOps, json: &Value) -> Option<Value> {
    let mut object = ops.from_json_value(json.clone()).ok()?;
    object.set_defaults();
    object.metadata_mut().managed_fields.clear();
    object.to_json_value().ok()
}

/// Who owns what, but for the times.
fn owners_of(entries: &[ManagedFieldsEntry]) -> Vec<ManagedFieldsEntry> {
    let timeless = |entry: &ManagedFieldsEntry| ManagedFieldsEntry {
        time: None,
        ..entry.clone()
    };
    entries.iter().map(timeless).collect()
}

fn check_owners(entries: &[ManagedFieldsEntry]) {
    assert!(Managers::decode(entries).is_ok(), "what is written can be read");
    for entry in entries {
        let fields = entry.fields_v1.as_ref().expect("every entry has fields");
        assert!(managed_fields(&fields.raw));
    }
}

pub(super) fn configuration_seeds() -> Vec<Vec<u8>> {
    let seed = |(which, force, live, config): (u8, u8, &Value, &str)| {
        let live = live.to_string();
        let length = u16::try_from(live.len()).expect("a seed is short").to_be_bytes();
        [&[which, force][..], &length, live.as_bytes(), config.as_bytes()].concat()
    };
    let (pod, live) = api::pod();
    let configs = [
        // Nobody else's fields, and an item of its own in a list that others have items of.
        (
            0,
            r#"{"metadata":{"labels":{"c":"d"},"finalizers":["z/w"]},"spec":{"containers":[{"name":"side","image":"s"}]}}"#,
        ),
        // What the creator owns, with the same value and with another.
        (0, r#"{"spec":{"containers":[{"name":"c","image":"i:1"}]}}"#),
        (
            1,
            r#"{"spec":{"containers":[{"name":"c","image":"j","ports":[{"containerPort":80,"protocol":"UDP"}]}],"tolerations":[]}}"#,
        ),
        // Values that say nothing, and one that is stored in another form.
        (
            1,
            r#"{"metadata":{"annotations":{},"labels":null},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"2000m"}}}]}}"#,
        ),
    ];
    configs
        .into_iter()
        .map(|(force, config)| seed((pod, force, &live, config)))
        .collect()
}
