//! The core by tables, and what tasks see of it.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::core::{Arrival, Ask, Core, Growth};
use super::*;
use crate::limits::{BULK_SLICE_BYTES, BULK_SLICE_SEATS};

const SLICE: u64 = BULK_SLICE_BYTES as u64;

/// Lanes small enough to be filled: two of each in work, three waiting, two of a flow.
pub(super) fn small_sizes() -> LaneSizes {
    let lane = |seats| LaneSize {
        seats,
        waiting: 3,
        waiting_of_flow: 2,
        patience: Duration::from_secs(5),
        retry_after: Duration::from_millis(100),
        answer_bytes: 3 * SLICE,
        answer_bytes_of_flow: 2 * SLICE,
    };
    LaneSizes {
        system: lane(2),
        users: lane(2),
        bulk: lane(BULK_SLICE_SEATS),
        spare_seats: 2 * BULK_SLICE_SEATS + 1,
        senior_answer_bytes: 4 * SLICE,
    }
}

fn ask(lane: Lane, flow: u64) -> Ask {
    Ask {
        lane,
        flow: Flow(flow),
        seats: if lane == Lane::Bulk { BULK_SLICE_SEATS } else { 1 },
        growth: None,
        patient: false,
    }
}

/// What becomes of each of several who arrive at once: `+` works, `.` waits, or why not.
fn arrive(core: &mut Core<u64>, asks: &[Ask]) -> Vec<&'static str> {
    let now = Instant::now();
    let told = asks
        .iter()
        .enumerate()
        .map(|(number, ask)| match core.arrive(*ask, || now, || number as u64) {
            Ok(Arrival::Admitted) => "+",
            Ok(Arrival::Waits(..)) => ".",
            Err(refused) => match refused.full {
                Full::Queue => "queue",
                Full::QueueOfFlow => "flow",
                Full::Waited | Full::Answers | Full::Proposals => "other",
            },
        });
    told.collect()
}

#[test]
fn a_lane_works_then_waits_then_refuses() {
    for lane in [Lane::System, Lane::Users] {
        let mut core = Core::new(small_sizes());
        let asks: Vec<Ask> = [1, 1, 1, 1, 1, 2, 3].map(|flow| ask(lane, flow)).to_vec();
        // Two work, two of the flow wait, a third one may not; one of another flow may, and then the queue is full.
        assert_eq!(arrive(&mut core, &asks), ["+", "+", ".", ".", "flow", ".", "queue"]);
        let used = core.usage().by_lane()[lane.index()].1;
        assert_eq!(
            (used.seats_in_use, used.waiting, used.admitted, used.refused),
            (2, 3, 2, 2)
        );
    }
}

#[test]
fn bulk_takes_what_is_spare_and_leaves_the_reserve() {
    let mut core = Core::new(small_sizes());
    let bulk = |flow| ask(Lane::Bulk, flow);
    // Nobody else is there: it has its own slice and the spare one, and no more.
    assert_eq!(arrive(&mut core, &[bulk(1), bulk(2), bulk(3)]), ["+", "+", "."]);
    // The others have what is theirs.
    let others = [ask(Lane::System, 1), ask(Lane::Users, 1), ask(Lane::Users, 2)];
    assert_eq!(arrive(&mut core, &others), ["+", "+", "+"]);
    // They are more than a quiet machine has, so only one slice goes on.
    core.finish(Lane::Bulk, BULK_SLICE_SEATS);
    assert_eq!(core.admit_next(), None);
    core.finish(Lane::Bulk, BULK_SLICE_SEATS);
    assert_eq!(core.admit_next(), Some(2));
    // And when they have gone, the spare one is there again.
    assert_eq!(arrive(&mut core, &[bulk(4)]), ["."]);
    core.finish(Lane::Users, 1);
    core.finish(Lane::Users, 1);
    assert_eq!(core.admit_next(), Some(0));
}

#[test]
fn flows_take_turns_and_each_keeps_its_order() {
    let mut sizes = small_sizes();
    (sizes.users.waiting, sizes.users.waiting_of_flow) = (100, 100);
    let mut core = Core::new(sizes);
    let users = |flow| ask(Lane::Users, flow);
    // A flood of one flow, and then two others.
    let flows = [1, 1, 1, 1, 1, 1, 2, 3, 2];
    arrive(&mut core, &flows.map(users));
    let mut order = Vec::new();
    while order.len() < 7 {
        core.finish(Lane::Users, 1);
        order.extend(core.admit_next());
    }
    assert_eq!(order, [2, 6, 7, 3, 8, 4, 5]);
}

#[test]
fn those_who_wait_too_long_are_told_so() {
    let mut core = Core::new(small_sizes());
    arrive(&mut core, &[1, 1, 1, 2].map(|flow| ask(Lane::Users, flow)));
    let patient = Ask {
        patient: true,
        ..ask(Lane::Users, 9)
    };
    arrive(&mut core, &[patient]);
    let now = Instant::now();
    assert!(core.tick(now).is_empty());
    let told = core.tick(now + Duration::from_secs(6));
    let told: Vec<(u64, Full)> = told.into_iter().map(|(who, refused)| (who, refused.full)).collect();
    assert_eq!(told, [(2, Full::Waited), (3, Full::Waited)]);
    // The patient one is still there.
    assert_eq!(core.usage().users.waiting, 1);
    core.finish(Lane::Users, 1);
    assert_eq!(core.admit_next(), Some(0));
}

#[test]
fn what_asks_for_more_than_there_is_gets_all_of_it() {
    let core: Core<u64> = Core::new(small_sizes());
    assert_eq!(core.clamp(Lane::Users, 1_000), 2);
    assert_eq!(core.clamp(Lane::Users, 0), 1);
}

/// A slice of an answer: whose, which, and whether it is the first.
fn growing(flow: u64, answer: u64, is_first: bool) -> Ask {
    Ask {
        growth: Some(Growth {
            answer,
            bytes: SLICE,
            is_first,
        }),
        ..ask(Lane::Bulk, flow)
    }
}

#[test]
fn one_answer_at_a_time_may_go_beyond_the_bound_and_gets_finished() {
    let mut core = Core::new(small_sizes());
    let slice = |core: &mut Core<u64>, ask| {
        let told = arrive(core, &[ask])[0];
        if told == "+" {
            core.finish(Lane::Bulk, BULK_SLICE_SEATS);
        }
        told
    };
    for (flow, answer) in [(1, 1), (2, 2), (3, 3)] {
        assert_eq!(slice(&mut core, growing(flow, answer, true)), "+");
    }
    // There is no room any more: nobody may begin, and the first who goes on is the senior.
    assert_eq!(slice(&mut core, growing(2, 2, false)), "+");
    assert_eq!(core.usage().bulk.answer_bytes, 4 * SLICE);
    assert_eq!(slice(&mut core, growing(4, 4, true)), ".");
    assert_eq!(slice(&mut core, growing(3, 3, false)), ".");
    // The senior goes past those who wait for room.
    assert_eq!(slice(&mut core, growing(2, 2, false)), ".");
    assert_eq!(core.admit_next(), Some(0));
    core.finish(Lane::Bulk, BULK_SLICE_SEATS);
    assert_eq!(core.admit_next(), None);
    // It is done, but its client has not taken it: another one may be finished as far as the second bound allows.
    core.complete(Lane::Bulk, 2);
    assert_eq!(core.admit_next(), Some(0), "the answer 3 is the senior now");
    core.finish(Lane::Bulk, BULK_SLICE_SEATS);
    // The client has taken it: the one who waited to begin still has to wait for the senior.
    core.shrink(Lane::Bulk, Flow(2), 3 * SLICE);
    assert_eq!(core.usage().bulk.answer_bytes, 3 * SLICE);
    core.shrink(Lane::Bulk, Flow(3), 2 * SLICE);
    assert_eq!(core.admit_next(), Some(0), "now there is room to begin");
}

#[test]
fn a_flow_that_does_not_take_its_answers_leaves_room_for_others() {
    let mut core = Core::new(small_sizes());
    for answer in 0..2 {
        assert_eq!(arrive(&mut core, &[growing(1, answer, true)]), ["+"]);
        core.finish(Lane::Bulk, BULK_SLICE_SEATS);
    }
    // Its share is used up, although there is room.
    assert_eq!(
        arrive(&mut core, &[growing(1, 2, true), growing(2, 3, true)]),
        [".", "."]
    );
    assert_eq!(core.admit_next(), Some(1));
    core.finish(Lane::Bulk, BULK_SLICE_SEATS);
    assert_eq!(core.admit_next(), None);
    let refused = core.tick(Instant::now() + Duration::from_secs(6));
    assert_eq!(refused[0].1.full, Full::Answers);
}

#[test]
fn answers_that_are_there_already_are_held_or_refused_at_once() {
    let mut core: Core<u64> = Core::new(small_sizes());
    let mut hold = |flow, slices: u64| core.hold(Lane::Users, Flow(flow), slices * SLICE).is_ok();
    // The largest answer is held even if it is more than a flow's share.
    assert!(hold(1, 3));
    assert!(!hold(2, 1), "there is no room");
    core.shrink(Lane::Users, Flow(1), 2 * SLICE);
    assert_eq!(
        core.hold(Lane::Users, Flow(1), 2 * SLICE)
            .map_err(|refused| refused.full),
        Err(Full::Answers)
    );
    assert!(core.hold(Lane::Users, Flow(2), SLICE).is_ok());
}

fn lanes() -> Arc<Lanes> {
    Lanes::new(small_sizes())
}

fn users(flow: u64) -> Asker {
    Asker {
        lane: Lane::Users,
        flow: Flow(flow),
    }
}

#[tokio::test]
async fn a_task_that_waits_is_woken_by_one_that_ends() {
    let lanes = lanes();
    let first = lanes.admit(users(1), 1).await.expect("a seat");
    let _second = lanes.admit(users(1), 1).await.expect("a seat");
    let waits = tokio::spawn({
        let lanes = lanes.clone();
        async move { lanes.admit(users(2), 1).await.map(drop) }
    });
    while lanes.usage().users.waiting == 0 {
        tokio::task::yield_now().await;
    }
    drop(first);
    assert_eq!(waits.await.expect("no panic"), Ok(()));
    assert_eq!(lanes.usage().users.seats_in_use, 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_too_long_is_refused_with_a_hint() {
    let lanes = lanes();
    let _seats = (lanes.admit(users(1), 1).await, lanes.admit(users(1), 1).await);
    let refused = lanes.admit(users(2), 1).await.expect_err("nobody ends");
    assert_eq!((refused.lane, refused.full), (Lane::Users, Full::Waited));
    let text = refused.to_string();
    assert!(
        text.contains("the lane users is full") && text.contains("100ms"),
        "{text}"
    );
    assert_eq!(lanes.usage().users.waiting, 0);
}

#[tokio::test]
async fn a_task_that_goes_away_leaves_nothing_behind() {
    let lanes = lanes();
    let first = lanes.admit(users(1), 1).await.expect("a seat");
    let second = lanes.admit(users(1), 1).await.expect("a seat");
    // It goes while it waits.
    let mut waits = Box::pin(lanes.admit(users(2), 1));
    assert!(waits.as_mut().now_or_never().is_none());
    drop(waits);
    assert_eq!(lanes.usage().users.waiting, 0);
    // It goes when it has been let in, but has not seen it yet.
    let mut waits = Box::pin(lanes.admit(users(2), 1));
    assert!(waits.as_mut().now_or_never().is_none());
    drop(first);
    assert_eq!(lanes.usage().users.seats_in_use, 2);
    drop(waits);
    assert_eq!(lanes.usage().users.seats_in_use, 1);
    drop(second);
    // The same with room for an answer.
    let seat = lanes.slice(Flow(3)).await.expect("a seat");
    let other = lanes.slice(Flow(3)).await.expect("a seat");
    let mut answer = lanes.answer(Flow(4));
    let mut waits = Box::pin(answer.slice());
    assert!(waits.as_mut().now_or_never().is_none());
    drop(seat);
    assert_eq!(lanes.usage().bulk.answer_bytes, SLICE);
    drop(waits);
    drop((answer, other));
    let LanesUse { users, bulk, .. } = lanes.usage();
    assert_eq!((users.seats_in_use, bulk.seats_in_use, bulk.answer_bytes), (0, 0, 0));
}

#[tokio::test]
async fn an_answer_moves_from_small_to_large_and_takes_what_it_needs() {
    let lanes = lanes();
    let mut answer = lanes.answer(Flow(1));
    answer.hold(Lane::Users, 100).expect("small answers take no room");
    assert!(!answer.is_held());
    answer.hold(Lane::Users, 100_000).expect("there is room");
    assert_eq!(lanes.usage().users.answer_bytes, 100_000);
    let seat = answer.slice().await.expect("a seat");
    let LanesUse { users, bulk, .. } = lanes.usage();
    assert_eq!((users.answer_bytes, bulk.answer_bytes), (0, 100_000 + SLICE));
    drop(seat);
    answer.keep(150_000);
    assert_eq!(lanes.usage().bulk.answer_bytes, 150_000);
    // One value may be more than a slice.
    drop(answer.slice().await.expect("a seat"));
    answer.keep(2 * BULK_SLICE_BYTES);
    assert_eq!(lanes.usage().bulk.answer_bytes, 2 * SLICE);
    drop(answer);
    assert_eq!(lanes.usage().bulk.answer_bytes, 0);
}

/// Or under a flood all would be begun, and nothing finished.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_begun_is_not_refused_where_nobody_else_may_even_wait() {
    let lanes = lanes();
    let mut answer = lanes.answer(Flow(1));
    drop(answer.slice().await.expect("a seat"));
    answer.keep(BULK_SLICE_BYTES);
    let seats = [
        lanes.slice(Flow(2)).await.expect("a seat"),
        lanes.slice(Flow(2)).await.expect("a seat"),
    ];
    let mut waiting: Vec<_> = [3, 3, 4].map(|flow| Box::pin(lanes.slice(Flow(flow)))).into();
    for waits in &mut waiting {
        assert!(waits.as_mut().now_or_never().is_none());
    }
    let mut begins = lanes.answer(Flow(5));
    assert_eq!(begins.slice().await.expect_err("the queue is full").full, Full::Queue);
    let mut goes_on = Box::pin(answer.slice());
    assert!(goes_on.as_mut().now_or_never().is_none(), "it waits");
    // Not even when all the others have given up.
    tokio::time::sleep(2 * small_sizes().bulk.patience).await;
    assert!(goes_on.as_mut().now_or_never().is_none(), "it still waits");
    drop((seats, waiting));
    drop(goes_on.await.expect("its turn"));
}

#[tokio::test]
async fn a_stream_has_a_seat_only_while_it_makes_a_piece() {
    use futures::StreamExt;
    let lanes = lanes();
    let seen = Arc::clone(&lanes);
    let pieces = futures::stream::iter(0..3).map(move |piece| Ok((piece, seen.usage().bulk.seats_in_use)));
    let mut made = in_turns(&lanes, pieces.boxed());
    for piece in 0..3 {
        let (made, seats) = made.next().await.expect("a piece").expect("no failure");
        assert_eq!((made, seats), (piece, u64::from(BULK_SLICE_SEATS)));
        assert_eq!(lanes.usage().bulk.seats_in_use, 0, "while its reader is slow");
    }
    assert!(made.next().await.is_none());
}
