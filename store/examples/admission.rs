//! What it costs to be let into a lane that has room, measured: a seat is taken and given back, by one thread and by
//! several at once.
//!
//! `cargo run --release -p trireme-store --example admission -- [TIMES] [THREADS]`

use std::sync::Arc;

use futures::FutureExt;
use tokio::time::Instant;
use trireme_store::lanes::{Asker, Flow, Lane, LaneSizes, Lanes};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut next = |default: usize| numbers.next().unwrap_or(Ok(default));
    let (times, threads) = (next(5_000_000)?, next(2)?);
    let lanes = Lanes::new(LaneSizes::of_machine());
    for threads in [1, threads] {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let lanes = &lanes;
                scope.spawn(move || enter(lanes, thread as u64, times));
            }
        });
        let nanoseconds = start.elapsed().as_nanos() as f64 / times as f64;
        println!("{threads} threads, {times} times each: {nanoseconds:.0} ns to enter and leave a lane");
    }
    Ok(())
}

/// Enters the users' lane and leaves it, again and again.
fn enter(lanes: &Arc<Lanes>, flow: u64, times: usize) {
    let asker = Asker {
        lane: Lane::Users,
        flow: Flow(flow),
    };
    for _ in 0..times {
        // It never waits, so it needs no runtime.
        let seat = lanes.admit(asker, 256).now_or_never();
        std::hint::black_box(&seat);
    }
}
