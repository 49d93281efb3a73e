//! Listing: pages of one revision, selectors, consistency.

use trireme_logic::kind::KindInfo;
use trireme_store::kv::Kv;

use super::*;
use crate::{
    registry::{Finder, Found, ListPage},
    run::world_cache::WorldCache,
};

async fn list(harness: &Harness, request: ListRequest) -> Result<ListPage, ApiError> {
    harness.registry.list(&system(), ops_of("", "pods"), &request).await
}

fn selected(labels: &str, fields: &str) -> ListRequest {
    let selection = Selection::parse(ops_of("", "pods").info(), labels, fields).expect("a selector");
    ListRequest {
        selection,
        ..everything()
    }
}

fn names(page: &ListPage) -> Vec<String> {
    page.items.iter().map(|stored| stored.key().name.clone()).collect()
}

async fn create_pods(harness: &Harness, count: usize) {
    for index in 0..count {
        let mut pod = mk_pod(&format!("web-{index:02}"));
        let parity = if index % 2 == 0 { "even" } else { "odd" };
        pod.metadata
            .as_mut()
            .expect("present")
            .labels
            .insert("parity".to_owned(), parity.to_owned());
        harness.create(pod).await.expect("created");
    }
}

#[tokio::test]
async fn pages_show_one_revision() {
    let harness = Harness::new().await;
    create_pods(&harness, 10).await;
    let first = list(
        &harness,
        ListRequest {
            limit: 4,
            ..everything()
        },
    )
    .await
    .expect("listed");
    assert_eq!(names(&first), ["web-00", "web-01", "web-02", "web-03"]);
    assert_eq!(first.remaining, Some(6));

    // What happens between the pages is not seen on them.
    harness.create(mk_pod("web-05a")).await.expect("created");
    let (ops, key) = (ops_of("", "pods"), in_default("web-06"));
    harness
        .registry
        .delete(&system(), ops, &key, &Default::default())
        .await
        .expect("deleted");

    let mut seen = names(&first);
    let mut token = first.continue_token.clone();
    while !token.is_empty() {
        let request = ListRequest {
            limit: 4,
            continue_token: token,
            ..everything()
        };
        let page = list(&harness, request).await.expect("listed");
        assert_eq!(page.revision, first.revision);
        seen.extend(names(&page));
        token = page.continue_token;
    }
    let expected: Vec<String> = (0..10).map(|index| format!("web-{index:02}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_page_that_ends_exactly_is_the_last() {
    let harness = Harness::new().await;
    create_pods(&harness, 4).await;
    let page = list(
        &harness,
        ListRequest {
            limit: 4,
            ..everything()
        },
    )
    .await
    .expect("listed");
    assert_eq!(
        (page.items.len(), page.continue_token.as_str(), page.remaining),
        (4, "", None)
    );
}

#[tokio::test]
async fn a_page_that_is_too_old_is_gone() {
    let harness = Harness::new().await;
    create_pods(&harness, 4).await;
    let first = list(
        &harness,
        ListRequest {
            limit: 2,
            ..everything()
        },
    )
    .await
    .expect("listed");
    create_pods_after(&harness).await;
    harness.kv.compact(harness.revision()).await.expect("compacted");
    let request = ListRequest {
        limit: 2,
        continue_token: first.continue_token,
        ..everything()
    };
    let error = list(&harness, request).await.expect_err("gone");
    assert_eq!(error.reason(), Reason::Expired);
    assert!(
        error
            .message()
            .contains("start a new list without the continue parameter"),
        "{error}"
    );
}

async fn create_pods_after(harness: &Harness) {
    harness.create(mk_pod("later")).await.expect("created");
}

#[tokio::test]
async fn selectors_select() {
    let harness = Harness::new().await;
    create_pods(&harness, 6).await;
    harness
        .registry
        .bind(&system(), &in_default("web-03"), "", "n1")
        .await
        .expect("bound");
    for (labels, fields, expected) in [
        ("parity=even", "", vec!["web-00", "web-02", "web-04"]),
        ("parity in (odd)", "metadata.name!=web-05", vec!["web-01", "web-03"]),
        ("", "metadata.name=web-02", vec!["web-02"]),
        ("", "spec.nodeName=n1", vec!["web-03"]),
        (
            "",
            "spec.nodeName=,metadata.name!=web-00",
            vec!["web-01", "web-02", "web-04", "web-05"],
        ),
        ("!parity", "", vec![]),
        ("", "metadata.namespace=kube-system", vec![]),
    ] {
        let page = list(&harness, selected(labels, fields)).await.expect("listed");
        assert_eq!(names(&page), expected, "{labels} {fields}");
    }
    // A page is filled with what is selected.
    let page = list(
        &harness,
        ListRequest {
            limit: 2,
            ..selected("parity=odd", "")
        },
    )
    .await
    .expect("listed");
    assert_eq!(names(&page), ["web-01", "web-03"]);
    assert_eq!(
        page.remaining, None,
        "what a selector would keep of the rest is not known"
    );
    let request = ListRequest {
        limit: 2,
        continue_token: page.continue_token,
        ..selected("parity=odd", "")
    };
    assert_eq!(names(&list(&harness, request).await.expect("listed")), ["web-05"]);
}

#[tokio::test]
async fn bad_selectors_are_refused() {
    let info = ops_of("", "pods").info();
    for (labels, fields, words) in [
        ("a in (", "", "unable to parse label selector"),
        ("", "spec.nodeName", "unable to parse field selector"),
        ("", "spec.color=red", "field label not supported for Pod: spec.color"),
    ] {
        let error = Selection::parse(info, labels, fields).expect_err("refused");
        assert_eq!(error.reason(), Reason::BadRequest);
        assert!(error.message().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_namespace_is_listed_alone() {
    let harness = Harness::new().await;
    create_pods(&harness, 2).await;
    let mut pod = mk_pod("system");
    pod.metadata.as_mut().expect("present").namespace = "kube-system".to_owned();
    harness.create(pod).await.expect("created");
    let of = async |namespace: &str| {
        let request = ListRequest {
            namespace: namespace.to_owned(),
            ..everything()
        };
        names(&list(&harness, request).await.expect("listed"))
    };
    assert_eq!(of("default").await, ["web-00", "web-01"]);
    assert_eq!(of("kube-system").await, ["system"]);
    assert_eq!(of("").await.len(), 3);
}

#[tokio::test]
async fn lists_longer_than_a_chunk_are_whole() {
    let harness = Harness::new().await;
    let count = crate::limits::LIST_CHUNK_ITEMS + 5;
    for index in 0..count {
        harness
            .create(mk_config_map(&format!("c-{index:05}")))
            .await
            .expect("created");
    }
    let page = harness
        .registry
        .list(&system(), ops_of("", "configmaps"), &everything())
        .await
        .expect("listed");
    assert_eq!(page.items.len(), count);
    let last = page.items.last().expect("some");
    assert_eq!(last.key().name, format!("c-{:05}", count - 1));
}

#[tokio::test(start_paused = true)]
async fn a_read_does_not_wait_for_ever_for_a_revision() {
    let harness = Harness::new().await;
    create_pods(&harness, 1).await;
    let present = ReadFrom::NotOlderThan(harness.revision());
    let read = |from| {
        let registry = harness.registry.clone();
        async move {
            registry
                .get(&system(), ops_of("", "pods"), &in_default("web-00"), from)
                .await
        }
    };
    read(present).await.expect("read");
    read(ReadFrom::Anything).await.expect("read");
    assert_eq!(
        reason(read(ReadFrom::NotOlderThan(harness.revision() + 1_000)).await),
        Reason::Timeout
    );
    for text in ["x", "-1", "1.5"] {
        assert_eq!(reason(ReadFrom::parse(text)), Reason::BadRequest, "{text}");
    }
}

/// A world that follows the harness's store, as a server's does.
fn find_by_world(harness: &Harness) -> Arc<WorldCache> {
    let world = WorldCache::new();
    harness.registry.find_by(world.clone());
    tokio::spawn(world.clone().follow(harness.kv.clone()));
    world
}

#[tokio::test]
async fn what_an_index_finds_is_what_the_range_holds() {
    let indexed = Harness::new().await;
    create_pods(&indexed, 10).await;
    let world = find_by_world(&indexed);
    world.wait_for(indexed.revision()).await.expect("it follows");
    let (reading, requests) = (
        indexed.another_server(),
        [
            selected("parity=even", ""),
            selected("parity in (odd,none)", "metadata.namespace=default"),
            selected("parity=none", ""),
            selected("", "spec.nodeName=n1"),
            selected("parity=odd", "spec.nodeName!=n1"),
            selected("parity!=odd", ""),
        ],
    );
    for request in requests {
        for from in [
            ReadFrom::Latest,
            ReadFrom::Anything,
            ReadFrom::NotOlderThan(indexed.revision()),
        ] {
            for limit in [0, 3, 100] {
                let request = ListRequest {
                    from,
                    limit,
                    ..request.clone()
                };
                let found = list(&indexed, request.clone()).await.expect("listed");
                let read = reading
                    .list(&system(), ops_of("", "pods"), &request)
                    .await
                    .expect("listed");
                assert_eq!(names(&found), names(&read), "{request:?}");
                assert_eq!(found.revision, read.revision);
                assert_eq!(found.continue_token.is_empty(), read.continue_token.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn what_an_index_finds_is_of_one_revision_that_is_not_too_old() {
    let harness = Harness::new().await;
    create_pods(&harness, 4).await;
    let world = find_by_world(&harness);
    for step in 0..20 {
        let (ops, key) = (ops_of("", "pods"), in_default("web-02"));
        if step % 2 == 0 {
            harness
                .registry
                .delete(&system(), ops, &key, &Default::default())
                .await
                .expect("deleted");
        } else {
            let mut pod = mk_pod("web-02");
            pod.metadata
                .as_mut()
                .expect("present")
                .labels
                .insert("parity".to_owned(), "even".to_owned());
            harness.create(pod).await.expect("created");
        }
        let page = list(&harness, selected("parity=even", "")).await.expect("listed");
        let expected: &[&str] = if step % 2 == 0 {
            &["web-00"]
        } else {
            &["web-00", "web-02"]
        };
        assert_eq!(names(&page), expected, "what was acknowledged is seen");
        assert_eq!(page.revision, harness.revision());
        assert!(world.revision() >= page.revision);
    }
}

/// Knows nothing in time, or names what is long gone.
struct Useless(Option<Found>);

#[async_trait::async_trait]
impl Finder for Useless {
    async fn find(&self, _: &KindInfo, _: &str, _: &Selection, _: i64, _: usize) -> Option<Found> {
        self.0.clone()
    }
}

#[tokio::test]
async fn a_range_is_read_where_an_index_is_no_help() {
    for compacted in [false, true] {
        let harness = Harness::new().await;
        create_pods(&harness, 4).await;
        let found = Found {
            revision: 2,
            keys: vec![in_default("web-00")],
        };
        harness.kv.compact(harness.revision()).await.expect("compacted");
        harness.registry.find_by(Arc::new(Useless(compacted.then_some(found))));
        let page = list(&harness, selected("parity=even", "")).await.expect("listed");
        assert_eq!(names(&page), ["web-00", "web-02"]);
    }
}

/// Is not to be asked.
struct Unasked;

#[async_trait::async_trait]
impl Finder for Unasked {
    async fn find(&self, info: &KindInfo, _: &str, selection: &Selection, _: i64, _: usize) -> Option<Found> {
        panic!("asked for {} by {selection:?}", info.plural);
    }
}

#[tokio::test]
async fn an_index_is_not_asked_for_what_it_cannot_tell() {
    let harness = Harness::new().await;
    create_pods(&harness, 4).await;
    harness.registry.find_by(Arc::new(Unasked));
    for (labels, fields) in [
        ("", ""),
        ("parity!=none", ""),
        ("parity", ""),
        ("", "metadata.namespace=default"),
        ("", "spec.nodeName!=n1"),
    ] {
        let page = list(&harness, selected(labels, fields)).await.expect("listed");
        assert_eq!(page.items.len(), 4, "{labels} {fields}");
    }
    // What is named is read at once, and a later page is of the revision of the first.
    let page = list(&harness, selected("parity=even", "metadata.name=web-00")).await;
    assert_eq!(names(&page.expect("listed")), ["web-00"]);
    let exactly = ListRequest {
        from: ReadFrom::Exactly(harness.revision()),
        ..selected("parity=even", "")
    };
    let page = list(&harness, exactly).await.expect("listed");
    assert_eq!(names(&page), ["web-00", "web-02"]);
}
