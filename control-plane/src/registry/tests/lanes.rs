//! Lists and objects in the lanes of the store: what is large waits for its turn, what is small does not notice.

use trireme_store::lanes::{Flow, Lanes, LanesUse, Seat};

use super::*;
use crate::limits;
use crate::registry::{ListAhead, ListEnd, ListPage, ListRequest, ObjectWatch, Selection, WatchChange, WatchRequest};

async fn list(harness: &Harness, limit: usize) -> Result<ListPage, ApiError> {
    let permit = admin(Verb::List, "configmaps", "", "");
    let ops = ops_of("", "configmaps");
    let request = ListRequest { limit, ..everything() };
    harness.registry.list(&permit, ops, &request).await
}

async fn watch(harness: &Harness) -> Result<ObjectWatch, ApiError> {
    let request = WatchRequest {
        namespace: String::new(),
        name: String::new(),
        selection: Selection::everything(),
        start: 0,
        bookmarks: false,
    };
    let permit = admin(Verb::Watch, "configmaps", "", "");
    let ops = ops_of("", "configmaps");
    harness.registry.watch(&permit, ops, request).await
}

fn lanes(harness: &Harness) -> &Arc<Lanes> {
    harness.kv.lanes().expect("this store has lanes")
}

/// So many objects of half a megabyte.
async fn create_large(harness: &Harness, count: usize) {
    for index in 0..count {
        let mut map = mk_config_map(&format!("large-{index}"));
        map.data.insert("text".to_owned(), "x".repeat(500_000));
        harness.create(map).await.expect("created");
    }
}

/// Takes all seats of large work.
async fn take_all(harness: &Harness) -> Seat {
    lanes(harness).slice(Flow(99)).await.expect("a seat")
}

#[tokio::test(start_paused = true)]
async fn what_is_large_is_refused_when_no_turn_comes_and_what_is_small_is_not() {
    let harness = Harness::new().await;
    harness.create(mk_config_map("a")).await.expect("created");
    let taken = take_all(&harness).await;
    for outcome in [list(&harness, 0).await.map(drop), watch(&harness).await.map(drop)] {
        let error = outcome.expect_err("no turn comes");
        assert_eq!(error.reason(), Reason::TooManyRequests);
        assert!(error.message().contains("the lane bulk is full"), "{error}");
        assert!(error.retry_delay().is_some_and(|delay| !delay.is_zero()));
    }
    assert_eq!(list(&harness, 10).await.expect("a page").items.len(), 1);
    let permit = admin(Verb::Get, "configmaps", "default", "a");
    assert!(harness.registry.admit(&permit, 0).await.is_ok());
    // How many follow a page may be much to count, so it is not told now.
    harness.create(mk_config_map("b")).await.expect("created");
    assert_eq!(list(&harness, 1).await.expect("a page").remaining, None);
    drop(taken);
    assert_eq!(list(&harness, 1).await.expect("a page").remaining, Some(1));
    assert_eq!(list(&harness, 0).await.expect("all").items.len(), 2);
}

#[tokio::test]
async fn a_list_holds_room_until_its_client_has_it() {
    let harness = Harness::new().await;
    create_large(&harness, 6).await;
    let before = lanes(&harness).usage().bulk.admitted;
    let page = list(&harness, 0).await.expect("all");
    assert_eq!(page.items.len(), 6);
    let LanesUse { bulk, .. } = lanes(&harness).usage();
    assert!(bulk.admitted > before + 2, "it was read in several turns");
    assert!(bulk.answer_bytes >= 3_000_000, "{bulk:?}");
    assert_eq!(bulk.seats_in_use, 0);
    // A page of few objects may be large as well: what follows its first chunk has its turns.
    let small = list(&harness, 5).await.expect("a page");
    assert_eq!(small.items.len(), 5);
    drop((page, small));
    let LanesUse { users, bulk, .. } = lanes(&harness).usage();
    assert_eq!((users.answer_bytes, bulk.answer_bytes), (0, 0));
}

#[tokio::test]
async fn a_list_in_slices_holds_room_for_one_of_them() {
    let harness = Harness::new().await;
    create_large(&harness, 8).await;
    let permit = admin(Verb::List, "configmaps", "", "");
    let request = everything();
    let ops = ops_of("", "configmaps");
    let mut list = harness.registry.list_in_slices(&permit, ops, &request).expect("begun");
    let (mut names, mut slices) = (Vec::new(), 0);
    while list.end().is_none() {
        let objects = list.next().await.expect("a slice");
        if slices == 0 {
            // What happens meanwhile is not seen: all slices show one revision.
            harness.create(mk_config_map("large-2-late")).await.expect("created");
        }
        slices += 1;
        names.extend(objects.iter().map(|stored| stored.key().name.clone()));
        let LanesUse { bulk, .. } = lanes(&harness).usage();
        let most = (limits::LIST_CHUNK_BYTES + limits::OBJECT_MAX_BYTES) as u64;
        assert!(bulk.answer_bytes <= most, "{bulk:?}");
        assert_eq!(bulk.seats_in_use, 0);
    }
    let expected: Vec<String> = (0..8).map(|index| format!("large-{index}")).collect();
    assert_eq!((names, slices > 2), (expected, true));
    assert!(list.revision() < harness.revision());
    drop(list);
    // The rest of a list that is read again is the same rest.
    let mut list = harness.registry.list_in_slices(&permit, ops, &request).expect("begun");
    let first = list.next().await.expect("a slice").len();
    let mut again = list.rest_again(&permit);
    let mut rest = 0;
    while again.end().is_none() {
        rest += again.next().await.expect("a slice").len();
    }
    assert_eq!(first + rest, 9);
    drop((list, again));
    assert_eq!(lanes(&harness).usage().bulk.answer_bytes, 0);
}

#[tokio::test]
async fn a_list_that_is_read_ahead_holds_room_for_two_slices_and_no_seat() {
    let harness = Harness::new().await;
    create_large(&harness, 8).await;
    let permit = admin(Verb::List, "configmaps", "", "");
    let request = everything();
    let ops = ops_of("", "configmaps");
    let bulk = || lanes(&harness).usage().bulk;
    let mut list = harness.registry.list_in_slices(&permit, ops, &request).expect("begun");
    let mut slices = vec![list.next().await.expect("a slice")];
    let admitted = bulk().admitted;
    let mut ahead = ListAhead::new(list);
    // The next one is read though nobody takes it, and no more than that.
    until(|| bulk().admitted > admitted && bulk().seats_in_use == 0).await;
    harness.create(mk_config_map("large-2-late")).await.expect("created");
    assert_eq!((bulk().admitted, ahead.end()), (admitted + 1, None));
    while let Some(slice) = ahead.next().await.expect("a slice") {
        slices.push(slice);
        until(|| bulk().seats_in_use == 0).await;
        let most = 2 * (limits::LIST_CHUNK_BYTES + limits::OBJECT_MAX_BYTES) as u64;
        assert!(bulk().answer_bytes <= most, "{:?}", bulk());
    }
    assert_eq!((ahead.end(), slices.len() > 2), (Some(&ListEnd::default()), true));
    let names: Vec<String> = slices
        .iter()
        .flatten()
        .map(|stored| stored.key().name.clone())
        .collect();
    let expected: Vec<String> = (0..8).map(|index| format!("large-{index}")).collect();
    assert_eq!(names, expected, "all slices show one revision");
    drop(ahead);
    // Nothing is read ahead while large work waits: what others want comes first.
    let mut list = harness.registry.list_in_slices(&permit, ops, &request).expect("begun");
    let first = list.next().await.expect("a slice").len();
    let taken = take_all(&harness).await;
    let mut ahead = ListAhead::new(list);
    let admitted = bulk().admitted;
    drop(taken);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bulk().admitted, admitted);
    let mut rest = 0;
    while let Some(slice) = ahead.next().await.expect("a slice") {
        rest += slice.len();
    }
    assert_eq!(first + rest, 9);
    drop(ahead);
    // Who goes away leaves nothing behind, whatever is read for it just then.
    let mut list = harness.registry.list_in_slices(&permit, ops, &request).expect("begun");
    list.next().await.expect("a slice");
    drop(ListAhead::new(list));
    until(|| bulk().seats_in_use == 0 && bulk().answer_bytes == 0).await;
}

#[tokio::test]
async fn a_watch_reads_what_it_begins_with_as_its_client_takes_it() {
    let harness = Harness::new().await;
    create_large(&harness, 6).await;
    let before = lanes(&harness).usage().bulk.admitted;
    let mut watch = watch(&harness).await.expect("a watch");
    let begun = lanes(&harness).usage().bulk.admitted;
    assert_eq!(begun, before + 1, "only the first chunk is read");
    // What happens meanwhile comes after what was there.
    harness.create(mk_config_map("late")).await.expect("created");
    let mut seen = Vec::new();
    loop {
        match watch.next().await.expect("no failure") {
            WatchChange::Added(stored) => seen.push(stored.key().name.clone()),
            WatchChange::Bookmark {
                initial_events_end: true,
                ..
            } => seen.push("|".to_owned()),
            other => panic!("{other:?}"),
        }
        if seen.last().is_some_and(|name| name == "late") {
            break;
        }
    }
    let expected = [
        "large-0", "large-1", "large-2", "large-3", "large-4", "large-5", "|", "late",
    ];
    assert_eq!(seen, expected);
    assert!(lanes(&harness).usage().bulk.admitted > begun + 1);
}
