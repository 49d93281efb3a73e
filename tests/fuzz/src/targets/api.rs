//! What people and their tools send to the API: objects, patches, manifests, and the small languages in them.

use bytes::Bytes;
use serde_json::Value;
use trireme_client::token::{CaDigest, Token, TokenRole};
use trireme_logic::field_error::FieldErrors;
use trireme_logic::json;
use trireme_logic::kinds::{self, KINDS};
use trireme_logic::limits;
use trireme_logic::object::{KindOps, Object};
use trireme_logic::patch::{self, Patch, PatchType};
use trireme_logic::testing::full_object;
use trireme_proto::api::meta::v1::{MicroTime, Time};
use trireme_proto::json::transcode;
use trireme_proto::parts;
use trireme_proto::quantity::Amount;
use trireme_proto::selector::{FieldSelector, LabelSelector};

/// The command line's own reader: a program has no library that it could be taken from.
#[expect(dead_code, reason = "the command line's other reader is not needed here")]
#[path = "../../../../cli/src/input/yaml.rs"]
mod yaml;

pub(super) const JSON_WORDS: &[&str] = &[
    "{}",
    "[]",
    "null",
    "true",
    "-1",
    "1e999",
    "\"\"",
    "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/a\"}",
    "$patch",
    "replace",
    "delete",
    "$setElementOrder/containers",
    "$retainKeys",
    "$deleteFromPrimitiveList/finalizers",
    "/-",
    "~0",
    "~1",
    "\\u0000",
    "\\ud800",
    "[[[[[[[[[[[[[[[[",
];
pub(super) const YAML_WORDS: &[&str] = &[
    "&a",
    "*a",
    "<<: *a",
    "---\n",
    "...\n",
    "- ",
    ": ",
    "? ",
    "!!binary ",
    "!!merge ",
    "|\n ",
    ">-\n ",
    "%YAML 1.2\n",
    "\u{feff}",
    "\r\n",
    "{",
    "[",
    "#",
    "'",
    "\"",
    "\t",
    "~",
    ".inf",
    "0x",
    "\\x",
];
pub(super) const QUANTITY_WORDS: &[&str] = &[
    "n",
    "u",
    "m",
    "k",
    "Ki",
    "Mi",
    "Gi",
    "Ti",
    "Pi",
    "Ei",
    "E",
    "e",
    "e-9",
    "E+18",
    ".",
    "-",
    "+",
    "00",
    "999999999",
];
pub(super) const SELECTOR_WORDS: &[&str] = &[
    " in (",
    " notin (",
    ")",
    "!",
    "=",
    "==",
    "!=",
    ",",
    "\\",
    "a/",
    "kubernetes.io/",
    "x in (a,b)",
];

fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// A token that is read and written again is the same token.
pub(super) fn join_token(input: &[u8]) -> bool {
    let Some(token) = text(input).and_then(|text| text.parse::<Token>().ok()) else {
        return false;
    };
    assert_eq!(token.to_string().parse().ok().as_ref(), Some(&token));
    assert!(
        !format!("{token:?}").contains(&format!("{:?}", token.secret)),
        "a secret is not shown"
    );
    true
}

pub(super) fn join_token_seeds() -> Vec<Vec<u8>> {
    let token = |role| {
        let token = Token {
            role,
            ca_digest: CaDigest::of_der(b"a certificate"),
            id: "a1b2c".into(),
            secret: "S3cretS3cretS3cret".into(),
        };
        token.to_string().into_bytes()
    };
    vec![token(TokenRole::Server), token(TokenRole::Node)]
}

/// The first byte says of which kind; the pipeline's checks come first, as in the pipeline.
pub(super) fn object_json(input: &[u8]) -> bool {
    let Some((ops, body)) = kind_of(input) else {
        return false;
    };
    if json::check(body).is_err() {
        return false;
    }
    let Ok(object) = ops.from_json(body, &mut |_unknown| {}) else {
        return false;
    };
    check_object(ops, object, Encoding::Json);
    true
}

/// As for JSON.
pub(super) fn object_protobuf(input: &[u8]) -> bool {
    let Some((ops, body)) = kind_of(input) else {
        return false;
    };
    let Ok(object) = ops.from_protobuf(Bytes::copy_from_slice(body)) else {
        return false;
    };
    check_object(ops, object, Encoding::Protobuf);
    true
}

fn kind_of(input: &[u8]) -> Option<(&'static dyn KindOps, &[u8])> {
    let (which, body) = input.split_first()?;
    Some((KINDS[usize::from(*which) % KINDS.len()], body))
}

/// How an object came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    Protobuf,
}

/// No kind has required messages nested deeper than this.
const LEVELS_MAX: usize = 8;

/// An object that was accepted is stored, read back, shown, given defaults and judged; it means the same all along.
fn check_object(ops: &'static dyn KindOps, mut object: Box<dyn Object>, encoding: Encoding) {
    // In whichever version it came, it is of the stored one now.
    let ops = ops.stored();
    let stored = object.to_protobuf();
    let back = ops.from_protobuf(stored.clone()).expect("what was stored can be read");
    assert_eq!(back.to_protobuf(), stored);
    // Some values of Protocol Buffers have no JSON: a time beyond the calendar, an amount that is no number.
    let shown = object.to_json().ok().filter(|shown| {
        let is_read = ops.from_json(shown, &mut |_| {}).is_ok();
        assert!(
            is_read || encoding == Encoding::Protobuf,
            "what is shown can be sent back"
        );
        is_read
    });
    if let Some(mut shown) = shown {
        // An absent message that must be shown is shown as {}, which, sent back, is a message that must show its own fields: each
        // time one level deeper.
        for _ in 0..LEVELS_MAX {
            let back = ops.from_json(&shown, &mut |path| panic!("{path} is not known when it comes back"));
            let back = back.expect("what is shown can be sent back");
            let again = back.to_json().expect("it had a JSON form before");
            if again == shown {
                break;
            }
            shown = again;
        }
        let back = ops
            .from_json(&shown, &mut |_| {})
            .expect("what is shown can be sent back");
        let text = String::from_utf8_lossy;
        let again = back.to_json().expect("it had a JSON form before");
        assert_eq!(text(&again), text(&shown), "what is sent back is shown alike");
    }
    let _ = object.cells(Time::from_unix_seconds(1_700_000_000));
    let _ = (object.scale(), object.key(), object.graceful_deletion_seconds(Some(-1)));
    let _ = object.selectable_field("metadata.name");
    object.set_defaults();
    let once = object.to_protobuf();
    object.set_defaults();
    assert_eq!(object.to_protobuf(), once, "defaults are set once");
    object.validate(&mut FieldErrors::default());
    let old = object.clone_object();
    object.prepare_create();
    object.validate_update(&*old, &mut FieldErrors::default());
    object.validate_status_update(&*old, &mut FieldErrors::default());
}

/// The largest JSON of a seed, in bytes: objects with every field that are larger are many times the same, those of pods.
const SEED_BYTES_MAX: usize = 6 << 10;

/// An object of every kind with every field, unless that is large.
fn full_objects() -> impl Iterator<Item = (u8, Value)> {
    let full = |(place, ops): (usize, &&'static dyn KindOps)| {
        (u8::try_from(place).expect("there are few kinds"), full_object(*ops))
    };
    let all = KINDS.iter().enumerate().map(full);
    all.filter(|(_, value)| value.to_string().len() <= SEED_BYTES_MAX)
}

/// Objects of many kinds: those of the demonstration, and some that use the odd corners.
fn objects() -> Vec<(u8, Value)> {
    let demonstration = include_str!("../../../../examples/hello.yaml");
    let documents = yaml::read_all(demonstration).expect("the demonstration is sound");
    let odd = [
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"a":"b"},"finalizers":["x/y"],
            "creationTimestamp":"2024-02-29T23:59:59Z"},"spec":{"containers":[{"name":"c","image":"i:1",
            "resources":{"requests":{"cpu":"100m","memory":"1.5Gi"},"limits":{"cpu":2}},"ports":[{"containerPort":80}],
            "livenessProbe":{"httpGet":{"port":"http","path":"/"}},"env":[{"name":"A","valueFrom":{"fieldRef":
            {"fieldPath":"status.podIP"}}}]}],"tolerations":[{"key":"k","operator":"Exists","tolerationSeconds":5}],
            "affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"z",
            "labelSelector":{"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]}}]}}}}"#,
        r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"a":"AAEC"},"stringData":{"b":"c"}}"#,
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":3,"selector":
            {"matchLabels":{"a":"b"}},"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":1}},"template":
            {"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
        r#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l","namespace":"n"},"spec":
            {"holderIdentity":"h","renewTime":"2024-01-01T00:00:00.000001Z","leaseDurationSeconds":15}}"#,
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[{"port":80,"targetPort":"x"}]}}"#,
        r#"{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"spec":{"hard":{"pods":"10","cpu":"1k"}}}"#,
    ];
    let odd = odd.map(|text| serde_json::from_str(text).expect("it is JSON"));
    let named = |value: Value| {
        let place = KINDS.iter().position(|ops| {
            value["kind"] == ops.info().kind && value["apiVersion"] == kinds::api_version(ops.info()).as_str()
        });
        Some((u8::try_from(place?).ok()?, value))
    };
    documents
        .into_iter()
        .map(|(_, value)| value)
        .chain(odd)
        .filter_map(named)
        .collect()
}

pub(super) fn object_json_seeds() -> Vec<Vec<u8>> {
    let seed = |(which, value): (u8, Value)| [vec![which], value.to_string().into_bytes()].concat();
    objects().into_iter().chain(full_objects()).map(seed).collect()
}

pub(super) fn object_protobuf_seeds() -> Vec<Vec<u8>> {
    let seed = |(which, value): (u8, Value)| {
        let ops = KINDS[usize::from(which)];
        let object = ops.from_json_value(value).expect("a seed is sound");
        [&[which][..], &ops.protobuf_of(&*object)].concat()
    };
    objects().into_iter().chain(full_objects()).map(seed).collect()
}

const PATCH_TYPES: [PatchType; 3] = [PatchType::Json, PatchType::Merge, PatchType::StrategicMerge];

/// `form (1) | kind (1) | length (2) | the object's JSON | the patch`.
pub(super) fn patch(input: &[u8]) -> bool {
    let Some(([form, which, high, low], rest)) = input.split_first_chunk::<4>() else {
        return false;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (current, patch) = rest.split_at(length);
    let Ok(current) = json::parse(current) else {
        return false;
    };
    let form = PATCH_TYPES[usize::from(*form) % PATCH_TYPES.len()];
    let ops = KINDS[usize::from(*which) % KINDS.len()];
    let schema = ops.schema();
    if let Ok(patch) = Patch::read(form, patch) {
        patch_of_what_is_stored(ops, &current, &patch);
    }
    let Ok(patched) = patch::apply(schema, form, &current, patch) else {
        return false;
    };
    assert!(json::value_depth(&patched) <= limits::JSON_DEPTH);
    let most = 2 * (json::value_size(&current) + patch.len()) + limits::PATCH_COPIED_BYTES;
    assert!(
        json::value_size(&patched) <= most,
        "a patch adds what it holds, and what it may copy"
    );
    let text = patched.to_string();
    assert_eq!(
        json::parse(text.as_bytes()).ok(),
        Some(patched),
        "the outcome has a JSON form"
    );
    if form != PatchType::Json {
        let patched: Value = serde_json::from_str(&text).expect("it was just written");
        let twice = patch::apply(schema, form, &patched, patch).expect("it applied before");
        assert_eq!(
            twice, patched,
            "a patch that merges, applied twice, changes nothing more"
        );
    }
    true
}

/// A patch of nothing but what it names of the stored bytes comes to what one of the whole object does.
fn patch_of_what_is_stored(ops: &'static dyn KindOps, current: &Value, patch: &Patch) {
    let Some((schema, names)) = ops.schema().zip(patch.names()) else {
        return;
    };
    if !kinds::is_same(ops.info(), ops.stored().info()) {
        return;
    }
    let stored = match ops.from_json_value(current.clone()) {
        Ok(object) => object.to_protobuf(),
        Err(_) => return,
    };
    let patched = |protobuf: &[u8]| {
        let mut text = Vec::new();
        transcode(schema, protobuf, true, &mut text).ok()?;
        let before: Value = serde_json::from_slice(&text).expect("JSON was written");
        ops.from_json_value(patch.apply(Some(schema), &before).ok()?).ok()
    };
    let Some(pieces) = parts::named_by(schema, &stored, names) else {
        return;
    };
    let of_the_whole = patched(&stored);
    let of_what_is_named = patched(&pieces.named).map(|object| {
        let whole = [&*object.to_protobuf(), &pieces.rest].concat();
        ops.from_protobuf(whole.into()).expect("two messages are one")
    });
    assert_eq!(settled(of_what_is_named), settled(of_the_whole));
}

/// The JSON of an object once it was read and written so often that everything shows which always does.
fn settled(object: Option<Box<dyn Object>>) -> Option<Value> {
    const MESSAGES_DEEP: usize = 8;
    let mut json = object?.to_json_value().ok()?;
    for _ in 0..MESSAGES_DEEP {
        let read = json.as_object()?.clone();
        let ops = kinds::by_api_version(read["apiVersion"].as_str()?, read["kind"].as_str()?)?;
        json = ops.from_json_value(json).ok()?.to_json_value().ok()?;
    }
    Some(json)
}

/// The pod among the seeds, behind the byte of its kind.
pub(super) fn pod() -> (u8, Value) {
    let mut pods = objects().into_iter().filter(|(_, value)| value["kind"] == "Pod");
    pods.next_back().expect("there is a pod among the seeds")
}

pub(super) fn patch_seeds() -> Vec<Vec<u8>> {
    let (which, current) = pod();
    let current = current.to_string();
    let patches = [
        (
            0,
            r#"[{"op":"add","path":"/metadata/labels/x","value":"y"},{"op":"test","path":"/kind","value":"Pod"},
            {"op":"copy","from":"/metadata/labels","path":"/metadata/annotations"},{"op":"remove","path":"/spec/affinity"}]"#,
        ),
        (
            1,
            r#"{"metadata":{"labels":{"a":null,"c":"d"}},"spec":{"containers":[]}}"#,
        ),
        (
            2,
            r#"{"spec":{"containers":[{"name":"c","image":"j"},{"name":"new","image":"k"}],"$setElementOrder/containers":
            [{"name":"new"},{"name":"c"}],"tolerations":[{"$patch":"replace"}]}}"#,
        ),
        (
            2,
            r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["x/y"]},"spec":{"containers":[{"name":"c","$patch":"delete"}]}}"#,
        ),
    ];
    let length = u16::try_from(current.len()).expect("a seed is short").to_be_bytes();
    let seed = |(form, patch): (u8, &str)| [&[form, which][..], &length, current.as_bytes(), patch.as_bytes()].concat();
    patches.into_iter().map(seed).collect()
}

/// Documents that are accepted are within the limits, and can be read again when they are written as JSON.
pub(super) fn manifest(input: &[u8]) -> bool {
    let Some(text) = text(input) else { return false };
    let documents = match yaml::read_all(text) {
        Ok(documents) => documents,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "an error is one line: {error}");
            return false;
        }
    };
    assert!(documents.len() <= crate::limits::MANIFEST_MAX_DOCUMENTS);
    for (_, value) in &documents {
        assert!(json::value_depth(value) <= crate::limits::MANIFEST_MAX_DEPTH);
    }
    !documents.is_empty()
}

pub(super) fn manifest_seeds() -> Vec<Vec<u8>> {
    let texts = [
        include_str!("../../../../examples/hello.yaml"),
        "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: [*b, *b]\n",
        "a: 1\r\nb: |\r\n  one\r\n  two\r\n---\r\nc: 'd'\r\n",
        "\u{feff}{\"a\": [1, 2.5, null, true, \"\\u00e9\"]}",
        "? complex\n: !!binary AAEC\n# comment\n...\n---\n- >-\n  folded\n  text\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// An amount in its canonical form is the same amount.
pub(super) fn quantity(input: &[u8]) -> bool {
    let Some(amount) = text(input).and_then(|text| text.parse::<Amount>().ok()) else {
        return false;
    };
    let canonical = amount.to_string();
    let again: Amount = canonical.parse().expect("the canonical form can be read");
    assert_eq!(again, amount, "{canonical}");
    assert_eq!(again.to_string(), canonical);
    let _ = (amount.value(), amount.milli_value(), amount + again);
    assert!((amount - again).is_zero());
    true
}

pub(super) fn quantity_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "100m",
        "1.5Gi",
        "-0.000001",
        "12e6",
        "9223372036854775807",
        "1Ei",
        "500n",
        "+2k",
        "0",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// A selector that is written again selects the same.
pub(super) fn selector(input: &[u8]) -> bool {
    let Some(text) = text(input) else { return false };
    let labels = [("a".to_owned(), "b".to_owned()), ("tier".to_owned(), String::new())].into();
    let mut accepted = false;
    if let Ok(selector) = text.parse::<LabelSelector>() {
        let again: LabelSelector = selector.to_string().parse().expect("what was written can be read");
        assert_eq!(again, selector);
        assert_eq!(again.matches(&labels), selector.matches(&labels));
        accepted = true;
    }
    if let Ok(selector) = text.parse::<FieldSelector>() {
        let again: FieldSelector = selector.to_string().parse().expect("what was written can be read");
        assert_eq!(again, selector);
        let _ = selector.matches(|path| if path == "metadata.name" { "a" } else { "" });
        let _ = selector.required_value("metadata.name");
        accepted = true;
    }
    accepted
}

pub(super) fn selector_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "a=b,tier!=web,!x,y",
        "app in (a, b,),example.com/env notin (c)",
        "a==b",
        "metadata.name=a,spec.nodeName!=,status.phase==Run\\,ning",
        "",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// A time that is written again is the same time.
pub(super) fn time(input: &[u8]) -> bool {
    let Some(text) = text(input) else { return false };
    let mut accepted = false;
    if let Ok(time) = text.parse::<Time>() {
        let written = time.to_rfc3339().expect("what was read is in the calendar");
        assert_eq!(written.parse().ok(), Some(time));
        accepted = true;
    }
    if let Ok(time) = text.parse::<MicroTime>() {
        let written = time.to_rfc3339().expect("what was read is in the calendar");
        assert_eq!(written.parse().ok(), Some(time));
        accepted = true;
    }
    accepted
}

pub(super) fn time_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "2024-02-29T23:59:59Z",
        "1970-01-01T00:00:00+14:00",
        "2024-01-01T00:00:00.000001Z",
        "9999-12-31T23:59:59.999999999-12:00",
        "0001-01-01T00:00:00Z",
        "2016-12-31T23:59:60Z",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
