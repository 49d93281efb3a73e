//! A server dies at every point at which it can be made to, one after the other, while clients and watchers work on all
//! three. Each time it is started again and the three are whole again; at the end the whole history is judged: every
//! acknowledged write is kept, all answers have one order, the states' hashes agree, every watch was told everything.
//!
//! The list of points is the store's: a new one without a scenario does not compile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scenario;
mod stage;

use trireme_store::Failpoint;

use crate::scenario::Scenario;
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_breaks_no_promise() {
    let mut stage = Stage::start().await.unwrap_or_else(|error| panic!("{error:#}"));
    for point in Failpoint::ALL {
        let began = tokio::time::Instant::now();
        if let Err(error) = Scenario::of(point).play(&mut stage, point).await {
            panic!("{}: {error:#}\n{}", point.name(), stage.keep());
        }
        eprintln!("{}: {:.1} s", point.name(), began.elapsed().as_secs_f64());
    }
    let (findings, kept) = stage.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(findings, [], "kept in {kept:?}");
}

#[test]
fn every_point_is_known_by_its_name() {
    assert_eq!(Failpoint::LogBeforeWrite.name(), "log-before-write");
    for (position, point) in Failpoint::ALL.into_iter().enumerate() {
        assert_eq!((point as usize, point.name().parse()), (position, Ok(point)));
    }
    assert!("none".parse::<Failpoint>().is_err());
}
