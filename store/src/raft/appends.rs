//! The leader's side of a stream of appends to one follower: they follow each other without waiting for the answers.
//!
//! One call of the peer service carries them all, so they keep their order, and the answers come in the same. How many may be
//! under way is bounded; whatever is proposed beyond that goes with the next one. The call is made once there is something to
//! send, and ends with the stream: a stream that fails is dropped with its connection, and consensus begins another one behind
//! what was acknowledged.
//!
//! The requests are drawn here and not by the call, which may outlive the stream for a while: as long as they are being drawn,
//! consensus cannot begin another stream.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use trireme_proto::peer::v1 as proto;

use super::network::{self, CallError};
use super::types::{LogId, TypeConfig};
use super::wire::WireError;
use crate::limits;

/// What one answer comes to.
pub(super) type Answer = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// Makes the call that carries a stream to one follower.
pub(super) trait Carrier: Send {
    /// Begins a call, within `timeout`.
    fn open(&mut self, timeout: Duration) -> impl Future<Output = Result<Call, CallError>> + Send;

    /// What consensus is told of a call that has failed. The next one shall not use its connection.
    fn failed(&mut self, error: CallError) -> RPCError<TypeConfig>;
}

/// A call that carries a stream.
pub(super) struct Call {
    /// What is to be sent. It has room for [`limits::APPENDS_IN_FLIGHT`].
    pub(super) messages: mpsc::Sender<proto::AppendRequest>,
    /// One answer a message, in the same order.
    pub(super) answers: BoxStream<'static, Result<proto::AppendResponse, Status>>,
}

/// From where to where an append reaches.
#[derive(Debug, Clone, Copy)]
struct Span {
    previous: Option<LogId>,
    last: Option<LogId>,
}

impl Span {
    fn answered(self, answer: proto::AppendResponse) -> Result<StreamAppendResult<TypeConfig>, WireError> {
        let Self { previous, last } = self;
        match network::append_response(answer)? {
            AppendEntriesResponse::Conflict if previous.is_none() => {
                Err(WireError::Answer("a conflict before the log's first entry"))
            }
            // Who takes a part only cannot take what follows, which is on its way already.
            AppendEntriesResponse::PartialSuccess(_) => Err(WireError::Answer("a part of its entries")),
            response => Ok(response.into_stream_result(previous, last)),
        }
    }
}

/// See the module.
pub(super) struct Appends<C, S> {
    carrier: C,
    /// `None` once there are no more.
    requests: Option<S>,
    /// `None` before the first request.
    call: Option<Call>,
    /// What was sent and not answered yet, in order.
    under_way: VecDeque<Span>,
    /// How long the follower may take to answer anything, once something is under way.
    timeout: Duration,
    /// When that time is over.
    deadline: Instant,
}

/// What happens next on a stream.
enum Event {
    Request(AppendEntriesRequest<TypeConfig>),
    NoMoreRequests,
    Answer(Option<Result<proto::AppendResponse, Status>>),
    NoAnswerInTime,
}

impl<C, S> Appends<C, S>
where
    C: Carrier,
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin,
{
    pub(super) fn new(carrier: C, requests: S, timeout: Duration) -> Self {
        Self {
            carrier,
            requests: Some(requests),
            call: None,
            under_way: VecDeque::with_capacity(limits::APPENDS_IN_FLIGHT),
            timeout,
            deadline: Instant::now(),
        }
    }

    /// The answers, as consensus wants them. They end with the first that is no success.
    pub(super) fn answers(self) -> impl Stream<Item = Answer> + Send + use<C, S> {
        futures::stream::unfold(Some(self), |appends| async move {
            let mut appends = appends?;
            let answer = appends.next().await?;
            let goes_on = matches!(answer, Ok(Ok(_)));
            Some((answer, goes_on.then_some(appends)))
        })
    }

    /// The next answer; `None` once there are no more requests and all are answered.
    async fn next(&mut self) -> Option<Answer> {
        loop {
            let failure = match self.event().await? {
                Event::Request(request) => match self.send(request).await {
                    Ok(()) => continue,
                    Err(failure) => failure,
                },
                Event::NoMoreRequests => {
                    self.requests = None;
                    continue;
                }
                Event::Answer(Some(Ok(answer))) => return Some(self.answered(answer)),
                Event::Answer(Some(Err(status))) => CallError::Failed(status.to_string()),
                Event::Answer(None) => CallError::Failed("the follower has ended the stream of appends".into()),
                Event::NoAnswerInTime => CallError::Timeout(self.timeout),
            };
            return Some(Err(self.carrier.failed(failure)));
        }
    }

    /// Waits for what happens next; `None` if nothing can.
    async fn event(&mut self) -> Option<Event> {
        let is_waiting = !self.under_way.is_empty();
        let has_room = self.under_way.len() < limits::APPENDS_IN_FLIGHT;
        if self.requests.is_none() && !is_waiting {
            return None;
        }
        let (requests, call) = (&mut self.requests, &mut self.call);
        let request = async {
            match requests {
                Some(requests) if has_room => requests.next().await.map_or(Event::NoMoreRequests, Event::Request),
                Some(_) | None => std::future::pending().await,
            }
        };
        let answer = async {
            match call {
                Some(call) => Event::Answer(call.answers.next().await),
                None => std::future::pending().await,
            }
        };
        // What can be sent goes first, so that the follower has it while the answers are looked at.
        Some(tokio::select! {
            biased;
            event = request => event,
            event = answer => event,
            () = tokio::time::sleep_until(self.deadline), if is_waiting => Event::NoAnswerInTime,
        })
    }

    async fn send(&mut self, request: AppendEntriesRequest<TypeConfig>) -> Result<(), CallError> {
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(previous);
        let call = match &mut self.call {
            Some(call) => call,
            None => self.call.insert(self.carrier.open(self.timeout).await?),
        };
        if self.under_way.is_empty() {
            self.deadline = Instant::now() + self.timeout;
        }
        self.under_way.push_back(Span { previous, last });
        // There is room for all that may be under way, so this fails only if the call has ended.
        let sent = call.messages.try_send(network::append_request(request));
        sent.map_err(|_| CallError::Failed("the stream of appends has ended".into()))
    }

    /// Takes the answer to the first append that is under way.
    fn answered(&mut self, answer: proto::AppendResponse) -> Answer {
        self.deadline = Instant::now() + self.timeout;
        let span = self.under_way.pop_front();
        span.ok_or(WireError::Answer("one answer too many"))
            .and_then(|span| span.answered(answer))
            .map_err(|error| network::malformed(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use openraft::entry::RaftEntry;
    use openraft::errors::{Timeout, Unreachable};
    use openraft::network::RPCTypes;
    use openraft::raft::StreamAppendError;
    use trireme_proto::peer::v1::append_response::Outcome;

    use super::super::types::{LogEntry, Payload, Vote, log_id};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);
    const MOST: usize = limits::APPENDS_IN_FLIGHT;

    /// The follower's end of a call.
    struct Follower {
        messages: mpsc::Receiver<proto::AppendRequest>,
        answers: mpsc::UnboundedSender<Result<proto::AppendResponse, Status>>,
    }

    impl Follower {
        /// How many messages have come since the last time.
        fn take(&mut self) -> usize {
            std::iter::from_fn(|| self.messages.try_recv().ok()).count()
        }

        fn answer(&self, outcome: Outcome) {
            let answer = proto::AppendResponse { outcome: Some(outcome) };
            self.answers.send(Ok(answer)).unwrap();
        }

        fn accept(&self) {
            self.answer(Outcome::Success(proto::Unit {}));
        }
    }

    /// Leads to a follower in the test, if it can be reached.
    #[derive(Clone, Default)]
    struct Line(Arc<Mutex<Option<Follower>>>);

    impl Line {
        fn follower(&self) -> Option<Follower> {
            self.0.lock().unwrap().take()
        }
    }

    impl Carrier for Line {
        async fn open(&mut self, _: Duration) -> Result<Call, CallError> {
            let (sender, messages) = mpsc::channel(MOST);
            let (answers, mut answered) = mpsc::unbounded_channel();
            *self.0.lock().unwrap() = Some(Follower { messages, answers });
            Ok(Call {
                messages: sender,
                answers: futures::stream::poll_fn(move |context| answered.poll_recv(context)).boxed(),
            })
        }

        fn failed(&mut self, error: CallError) -> RPCError<TypeConfig> {
            match error {
                CallError::Timeout(timeout) => RPCError::Timeout(Timeout {
                    action: RPCTypes::AppendEntries,
                    id: 1,
                    target: 2,
                    timeout,
                }),
                CallError::Failed(what) => RPCError::Unreachable(Unreachable::from_string(what)),
            }
        }
    }

    /// An append of the one entry `index`.
    fn append(index: u64) -> AppendEntriesRequest<TypeConfig> {
        AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: index.checked_sub(1).map(|before| log_id(1, before)),
            entries: vec![LogEntry::new(log_id(1, index), Payload::Blank)],
            leader_commit: None,
        }
    }

    /// A stream on which nothing happens but what the test does: to whom it leads, what is to be sent, what is answered.
    fn begin() -> (
        Line,
        mpsc::UnboundedSender<AppendEntriesRequest<TypeConfig>>,
        BoxStream<'static, Answer>,
    ) {
        let line = Line::default();
        let (sender, mut requests) = mpsc::unbounded_channel();
        let requests = futures::stream::poll_fn(move |context| requests.poll_recv(context));
        let answers = Appends::new(line.clone(), requests, PATIENCE).answers().boxed();
        (line, sender, answers)
    }

    /// What the stream gives at once: an answer, or its end; `None` if it waits.
    fn poll(answers: &mut BoxStream<'static, Answer>) -> Option<Option<Answer>> {
        // A test that never waits would use up what a task may do at a time.
        tokio::task::unconstrained(answers.next()).now_or_never()
    }

    /// The index up to which the next answer says that the follower has everything; `None` if there is no answer yet.
    fn matching(answers: &mut BoxStream<'static, Answer>) -> Option<u64> {
        let answer = poll(answers)?;
        Some(answer.unwrap().unwrap().unwrap().unwrap().index)
    }

    #[tokio::test(start_paused = true)]
    async fn appends_follow_each_other_up_to_the_bound_and_are_answered_in_order() {
        let (line, requests, mut answers) = begin();
        assert_eq!(matching(&mut answers), None);
        assert!(line.follower().is_none(), "nobody is called for nothing");
        for index in 0..3 * MOST as u64 {
            requests.send(append(index)).unwrap();
        }
        assert_eq!(matching(&mut answers), None);
        let mut follower = line.follower().unwrap();
        assert_eq!(follower.take(), MOST);
        for index in 0..3 * MOST as u64 {
            assert_eq!(matching(&mut answers), None);
            follower.accept();
            assert_eq!(matching(&mut answers), Some(index));
            assert_eq!(matching(&mut answers), None);
            let more = index < 2 * MOST as u64;
            assert_eq!(follower.take(), usize::from(more), "after answer {index}");
        }
        drop(requests);
        assert!(poll(&mut answers).unwrap().is_none(), "it ends with the requests");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_at_the_end_is_answered() {
        let (line, requests, mut answers) = begin();
        requests.send(append(0)).unwrap();
        requests.send(append(1)).unwrap();
        drop(requests);
        assert_eq!(matching(&mut answers), None);
        let follower = line.follower().unwrap();
        follower.accept();
        follower.accept();
        assert_eq!(matching(&mut answers), Some(0));
        assert_eq!(matching(&mut answers), Some(1));
        assert!(poll(&mut answers).unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_refusal_ends_the_stream() {
        let higher = Vote::new(7, 3);
        for (outcome, expected) in [
            (
                Outcome::Conflict(proto::Unit {}),
                StreamAppendError::Conflict(log_id(1, 4)),
            ),
            (
                Outcome::HigherVote(super::super::wire::vote_to_wire(&higher)),
                StreamAppendError::HigherVote(higher),
            ),
        ] {
            let (line, requests, mut answers) = begin();
            requests.send(append(5)).unwrap();
            requests.send(append(6)).unwrap();
            assert_eq!(matching(&mut answers), None);
            let follower = line.follower().unwrap();
            follower.answer(outcome);
            let refused = poll(&mut answers).flatten().unwrap().unwrap();
            assert_eq!(refused, Err(expected));
            assert!(poll(&mut answers).unwrap().is_none());
            assert!(requests.is_closed(), "nothing more is drawn");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_breaks_says_so_and_lets_go_of_the_requests() {
        type Break = fn(Follower);
        let breaks: [(&str, Break); 5] = [
            ("quarantined", |follower| {
                follower.answers.send(Err(Status::unavailable("quarantined"))).unwrap();
            }),
            ("has ended", drop),
            ("`outcome`", |follower| {
                follower.answers.send(Ok(proto::AppendResponse::default())).unwrap();
            }),
            ("a part of its entries", |follower| {
                follower.answer(Outcome::PartialSuccess(proto::PartialSuccess { matching: None }));
            }),
            ("a conflict before", |follower| {
                follower.answer(Outcome::Conflict(proto::Unit {}));
            }),
        ];
        for (words, break_it) in breaks {
            let (line, requests, mut answers) = begin();
            requests.send(append(0)).unwrap();
            assert_eq!(matching(&mut answers), None);
            break_it(line.follower().unwrap());
            let error = poll(&mut answers).flatten().unwrap().unwrap_err();
            assert!(error.to_string().contains(words), "{words}: {error}");
            assert!(poll(&mut answers).unwrap().is_none());
            assert!(requests.is_closed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_nothing_is_refused() {
        let (line, requests, mut answers) = begin();
        requests.send(append(0)).unwrap();
        assert_eq!(matching(&mut answers), None);
        let follower = line.follower().unwrap();
        follower.accept();
        follower.accept();
        assert_eq!(matching(&mut answers), Some(0));
        let error = poll(&mut answers).flatten().unwrap().unwrap_err();
        assert!(error.to_string().contains("one answer too many"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_only_while_an_answer_is_due() {
        let (line, requests, mut answers) = begin();
        requests.send(append(0)).unwrap();
        assert_eq!(matching(&mut answers), None);
        let mut follower = line.follower().unwrap();
        // Each answer gives the next one its time.
        requests.send(append(1)).unwrap();
        assert_eq!(matching(&mut answers), None);
        assert_eq!(follower.take(), 2);
        tokio::time::advance(PATIENCE - Duration::from_millis(1)).await;
        follower.accept();
        assert_eq!(matching(&mut answers), Some(0));
        tokio::time::advance(PATIENCE - Duration::from_millis(1)).await;
        follower.accept();
        assert_eq!(matching(&mut answers), Some(1));
        // Nothing is due.
        tokio::time::advance(100 * PATIENCE).await;
        assert_eq!(matching(&mut answers), None);
        requests.send(append(2)).unwrap();
        assert_eq!(matching(&mut answers), None);
        tokio::time::advance(PATIENCE).await;
        let error = answers.next().await.unwrap().unwrap_err();
        assert!(matches!(error, RPCError::Timeout(_)), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_dropped_lets_go_of_the_requests_and_ends_the_call() {
        let (line, requests, mut answers) = begin();
        requests.send(append(0)).unwrap();
        assert_eq!(matching(&mut answers), None);
        let mut follower = line.follower().unwrap();
        assert_eq!(follower.take(), 1);
        drop(answers);
        assert!(requests.is_closed());
        assert!(follower.messages.recv().await.is_none());
        assert!(follower.answers.is_closed());
    }
}
