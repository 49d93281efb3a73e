//! What holds for any configurations and any order of requests.

use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
    test_runner::RngSeed,
};

use super::*;

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        (-20..20_i64).prop_map(Scalar::Integer),
        "[a-c\"\\\\é]{0,3}".prop_map(|text| Scalar::Text(text.into())),
        any::<bool>().prop_map(Scalar::Bool),
    ]
}

fn element() -> impl Strategy<Value = PathElement> {
    prop_oneof![
        4 => "[a-d]".prop_map(|name| PathElement::Field(name.into())),
        1 => "[a-c\"\\\\/.\n é]{0,3}".prop_map(|name| PathElement::Field(name.into())),
        2 => btree_map("[a-c]", scalar(), 1..3).prop_map(|fields| {
            PathElement::Key(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
        }),
        1 => scalar().prop_map(PathElement::Value),
        1 => (0..12_i64).prop_map(PathElement::Index),
    ]
}

fn field_set() -> impl Strategy<Value = FieldSet> {
    vec(vec(element(), 1..4), 0..12).prop_map(|paths| {
        let mut set = FieldSet::default();
        for path in paths {
            set.insert(&path);
        }
        set
    })
}

/// Configurations of a Deployment, over few names, so that they meet.
fn config() -> impl Strategy<Value = Value> {
    let words = || select(vec!["1", "2"]);
    let labels = option::of(btree_map(select(vec!["a", "b", "c"]), words(), 0..3));
    let finalizers = option::of(btree_set(select(vec!["x/a", "x/b", "x/c"]), 0..3));
    let port = (select(vec![80, 81]), option::of(select(vec!["TCP", "UDP"])));
    let ports = option::of(btree_set(port, 0..3).prop_map(|ports| {
        let mut ports: Vec<(i32, Option<&str>)> = ports.into_iter().collect();
        ports.dedup_by_key(|(port, protocol)| (*port, protocol.unwrap_or("TCP")));
        ports
    }));
    let container = (
        option::of(words()),
        option::of(vec(words(), 0..3)),
        option::of(btree_map(select(vec!["A", "B"]), words(), 0..3)),
        ports,
    );
    let containers = btree_map(select(vec!["web", "side", "log"]), container, 0..3);
    (labels, finalizers, option::of(0..3), containers, any::<bool>()).prop_map(
        |(labels, finalizers, replicas, containers, reverse)| {
            let mut config = json!({"metadata": {}, "spec": {}});
            if let Some(labels) = labels {
                config["metadata"]["labels"] = json!(labels);
            }
            if let Some(finalizers) = finalizers {
                config["metadata"]["finalizers"] = json!(finalizers);
            }
            if let Some(replicas) = replicas {
                config["spec"]["replicas"] = json!(replicas);
            }
            let mut containers: Vec<Value> = containers
                .into_iter()
                .map(|(name, (image, args, env, ports))| {
                    let mut container = json!({"name": name});
                    if let Some(image) = image {
                        container["image"] = image.into();
                    }
                    if let Some(args) = args {
                        container["args"] = json!(args);
                    }
                    if let Some(env) = env {
                        container["env"] = env
                            .into_iter()
                            .map(|(name, value)| json!({"name": name, "value": value}))
                            .collect();
                    }
                    if let Some(ports) = ports {
                        container["ports"] = ports
                            .into_iter()
                            .map(|(port, protocol)| match protocol {
                                Some(protocol) => json!({"containerPort": port, "protocol": protocol}),
                                None => json!({"containerPort": port}),
                            })
                            .collect();
                    }
                    container
                })
                .collect();
            if reverse {
                containers.reverse();
            }
            if !containers.is_empty() {
                config["spec"]["template"] = json!({"spec": {"containers": containers}});
            }
            config
        },
    )
}

/// JSON of any shape whose names are those of fields.
fn any_json() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 14] = [
        "metadata",
        "labels",
        "finalizers",
        "managedFields",
        "annotations",
        "spec",
        "replicas",
        "selector",
        "template",
        "containers",
        "name",
        "ports",
        "containerPort",
        "protocol",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..100_i64).prop_map(Value::from),
        Just(json!(0.5)),
        Just(json!(u64::MAX)),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 60, 4, |inner| {
        prop_oneof![
            3 => btree_map(select(NAMES.to_vec()), inner.clone(), 0..5).prop_map(|fields| json!(fields)),
            1 => vec(inner, 0..4).prop_map(Value::from),
        ]
    })
}

/// Who makes the next request, with what configuration.
fn requests() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    vec((select(vec!["one", "two", "three"]), config()), 1..5)
}

fn server_after(requests: &[(&'static str, Value)]) -> Server {
    let mut server = Server::new("apps", "Deployment");
    for (manager, config) in requests {
        server.force(manager, config.clone());
    }
    server
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stored_sets_are_read_as_they_were(set in field_set()) {
        let text = to_json(&set);
        prop_assert_eq!(&from_json(&text).expect("readable"), &set);
        // The form is JSON in canonical order: it says the same after another program read and wrote it.
        let value: Value = serde_json::from_slice(&text).expect("is JSON");
        prop_assert_eq!(from_json(value.to_string().as_bytes()).expect("readable"), set);
    }

    #[test]
    fn sets_have_their_algebra(one in field_set(), two in field_set()) {
        let (both, all) = (one.intersection(&two), one.union(&two));
        prop_assert_eq!(one.len() + two.len(), both.len() + all.len());
        prop_assert_eq!(one.difference(&two).union(&both), one.clone());
        prop_assert_eq!(all.difference(&one), two.difference(&one));
        prop_assert!(one.difference_below(&two).difference(&one).is_empty());
        for path in all.paths() {
            prop_assert_eq!(both.has(&path), one.has(&path) && two.has(&path));
        }
    }

    #[test]
    fn applying_again_changes_nothing(requests in requests(), manager in select(vec!["one", "two", "new"]), config in config()) {
        let mut server = server_after(&requests);
        server.at(5).force(manager, config.clone());
        let before = server.clone();
        server.at(10).apply(manager, config);
        prop_assert_eq!(server.live, before.live);
        prop_assert_eq!(server.managers, before.managers);
    }

    /// Who applies what conflicts with nothing, and then nothing at all, leaves the object as it was.
    #[test]
    fn applying_and_giving_up_restores(requests in requests(), config in config()) {
        let mut server = server_after(&requests);
        let before = server.clone();
        let applied = server.apply_part(Server::object(), "guest", false, config);
        prop_assume!(applied.is_ok());
        server.apply("guest", json!({}));
        let sorted = |server: &Server| sort_lists(server.live.clone().expect("there is one"));
        prop_assert_eq!(sorted(&server), sorted(&before));
        prop_assert_eq!(server.owners(), before.owners());
    }

    /// Neither an object nor a configuration need be what their kind asks for: that is found out by decoding the outcome.
    #[test]
    fn values_of_any_shape_are_merged_or_refused(live in any_json(), config in any_json(), force in any::<bool>()) {
        let server = Server::new("apps", "Deployment");
        let change = server.change(Server::object());
        let live = live.is_object().then_some(live);
        let config = config.as_object().cloned().unwrap_or_default();
        let wanted = Config { json: &config, manager: "kubectl", force };
        if let Ok(applied) = apply(&change, wanted, live.as_ref(), &[]) {
            prop_assert!(Managers::decode(&applied.managers).is_ok());
            let again = apply(&change, wanted, Some(&applied.object), &applied.managers);
            prop_assert!(again.is_ok_and(|again| again.object == applied.object));
        }
        let live = live.unwrap_or_default();
        let changed = owners_of_changed(&change, Some("me"), &server.managers, &live, &Value::Object(config.clone()));
        prop_assert!(changed.is_empty());
        let compared = Comparison::of(types::Type::root(server.ops.schema()), &live, &Value::Object(config));
        prop_assert!(compared.added.intersection(&compared.removed).is_empty());
    }

    /// Whatever was asked, every field that is owned is there.
    #[test]
    fn nobody_owns_what_is_not_there(requests in requests()) {
        let server = server_after(&requests);
        let live = server.live.as_ref().expect("there is one");
        let there = new_fields(server.ops.schema(), live).expect("has JSON");
        let there = there.union(&extract::fields_of(types::Type::root(server.ops.schema()), live));
        for entry in &server.managers {
            let raw = &entry.fields_v1.as_ref().expect("a set").raw;
            let owned = from_json(raw).expect("readable");
            for path in owned.difference(&there).paths() {
                // What is empty or null has a place in the configuration alone.
                let last = path.last().expect("no path is empty").to_string();
                prop_assert!([".spec", ".labels", ".env", ".ports", ".args", ".replicas"].contains(&last.as_str()), "{:?}", path);
            }
        }
    }
}

/// A guest may have put items in another order, which nobody owns.
fn sort_lists(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(sort_lists).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, sort_lists(value)))
            .collect(),
        scalar => scalar,
    }
}
