//! The order of items after a merge, as structured-merge-diff has it.

use super::*;

/// Merges finalizers, which are a set; each letter is one.
fn merged(present: &str, config: &str) -> String {
    let list = |letters: &str| -> Value { letters.chars().map(String::from).collect() };
    let object = |letters| json!({"metadata": {"finalizers": list(letters)}});
    let of_type = types::Type::root(kinds::by_kind("", "ConfigMap").expect("a kind").schema());
    let merged = merge::merge(of_type, &object(present), &object(config));
    let items = merged["metadata"]["finalizers"].as_array().expect("a list").clone();
    items.iter().filter_map(Value::as_str).collect()
}

#[test]
fn sets_keep_both_orders_where_they_can() {
    for (present, config, expected) in [
        ("abc", "ab", "abc"),
        ("ab", "abc", "abc"),
        ("abc", "", "abc"),
        ("", "abc", "abc"),
        ("ab", "ba", "ba"),
        ("abc", "def", "abcdef"),
        ("abc", "cdef", "abcdef"),
        ("abcgf", "cdef", "abcgdef"),
        ("cdef", "ace", "acdef"),
        ("abcxyz", "def", "abcxyzdef"),
        ("abcxyz", "defxyz", "abcdefxyz"),
        ("cagf", "cfag", "cfag"),
        ("abcd", "defa", "bcdefa"),
        ("cdefghij", "2h3e4kl", "cdfg2hij3e4kl"),
        ("abcdefghij", "1b2h3e4kl", "a1bcdfg2hij3e4kl"),
        // The object may have items twice.
        ("abb", "c", "abbc"),
        ("abb", "b", "ab"),
        ("abb", "a", "abb"),
        ("abcdec", "1b2ed", "a1bc2ecd"),
        ("abcdec", "1b2ced", "a1b2ced"),
        ("aabb", "bcd", "aabcd"),
        ("aabb", "", "aabb"),
        ("cagfca", "cfag", "cfag"),
    ] {
        assert_eq!(merged(present, config), expected, "{config:?} into {present:?}");
    }
}

#[test]
fn items_merge_by_all_their_keys() {
    let of_type = types::Type::root(kinds::by_kind("", "Pod").expect("a kind").schema());
    let container = |ports| json!({"spec": {"containers": [{"name": "a", "image": "x", "ports": ports}]}});
    let present = container(json!([
        {"containerPort": 53, "protocol": "TCP", "name": "tcp"},
        {"containerPort": 53, "protocol": "UDP"},
    ]));
    // A port without a protocol is one of TCP.
    let config = container(json!([
        {"containerPort": 80},
        {"containerPort": 53, "protocol": "UDP", "name": "udp"},
        {"containerPort": 53, "name": "dns"},
    ]));
    let expected = container(json!([
        {"containerPort": 80},
        {"containerPort": 53, "protocol": "UDP", "name": "udp"},
        {"containerPort": 53, "protocol": "TCP", "name": "dns"},
    ]));
    assert_eq!(merge::merge(of_type, &present, &config), expected);
}

#[test]
fn what_is_atomic_is_replaced() {
    let of_type = types::Type::root(kinds::by_kind("", "Pod").expect("a kind").schema());
    for (field, present, config) in [
        ("nodeSelector", json!({"a": "1"}), json!({"b": "2"})),
        ("tolerations", json!([{"key": "a"}]), json!([{"key": "b"}])),
    ] {
        let object = |value: &Value| json!({"spec": {field: value}});
        assert_eq!(
            merge::merge(of_type, &object(&present), &object(&config)),
            object(&config)
        );
    }
    // A selector is one value wherever it stands.
    let of_type = types::Type::root(kinds::by_kind("apps", "Deployment").expect("a kind").schema());
    let object = |app: &str| json!({"spec": {"selector": {"matchLabels": {app: "1"}}}});
    assert_eq!(merge::merge(of_type, &object("a"), &object("b")), object("b"));
}
