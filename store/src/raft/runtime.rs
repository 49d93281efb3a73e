//! The runtime that consensus runs on: tokio's. In a simulation its random choices, which are the election timeouts,
//! come from the simulation's seed.

#[cfg(not(feature = "sim"))]
pub(crate) use openraft_rt_tokio::TokioRuntime as Runtime;
#[cfg(feature = "sim")]
pub(crate) use seeded::SeededRuntime as Runtime;

#[cfg(feature = "sim")]
mod seeded {
    use std::convert::Infallible;
    use std::fmt;
    use std::time::Duration;

    use openraft::{AsyncRuntime, OptionalSend};
    use openraft_rt_tokio::TokioRuntime;
    use rand::TryRng;
    use rand::rngs::{SmallRng, ThreadRng};

    /// tokio's runtime with random numbers of the simulation's, if there is one on this thread.
    pub(crate) struct SeededRuntime(TokioRuntime);

    impl fmt::Debug for SeededRuntime {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("SeededRuntime").finish_non_exhaustive()
        }
    }

    /// Where random numbers come from.
    pub(crate) enum Chance {
        System(ThreadRng),
        Simulation(SmallRng),
    }

    impl TryRng for Chance {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            match self {
                Self::System(random) => random.try_next_u32(),
                Self::Simulation(random) => random.try_next_u32(),
            }
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            match self {
                Self::System(random) => random.try_next_u64(),
                Self::Simulation(random) => random.try_next_u64(),
            }
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            match self {
                Self::System(random) => random.try_fill_bytes(bytes),
                Self::Simulation(random) => random.try_fill_bytes(bytes),
            }
        }
    }

    impl AsyncRuntime for SeededRuntime {
        type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
        type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
        type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
        type Instant = <TokioRuntime as AsyncRuntime>::Instant;
        type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
        type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
        type ThreadLocalRng = Chance;
        type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
        type Watch = <TokioRuntime as AsyncRuntime>::Watch;
        type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
        type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

        fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
        where
            T: Future + OptionalSend + 'static,
            T::Output: OptionalSend + 'static,
        {
            TokioRuntime::spawn(future)
        }

        fn sleep(duration: Duration) -> Self::Sleep {
            TokioRuntime::sleep(duration)
        }

        fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
            TokioRuntime::sleep_until(deadline)
        }

        fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
            TokioRuntime::timeout(duration, future)
        }

        fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
            deadline: Self::Instant,
            future: F,
        ) -> Self::Timeout<R, F> {
            TokioRuntime::timeout_at(deadline, future)
        }

        fn is_panic(error: &Self::JoinError) -> bool {
            TokioRuntime::is_panic(error)
        }

        fn thread_rng() -> Chance {
            crate::sim::chance().map_or_else(|| Chance::System(rand::rng()), Chance::Simulation)
        }

        fn new(threads: usize) -> Self {
            Self(TokioRuntime::new(threads))
        }

        fn block_on<F, T>(&mut self, future: F) -> T
        where
            F: Future<Output = T>,
        {
            self.0.block_on(future)
        }
    }
}
