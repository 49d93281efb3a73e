//! The network between the simulated machines: what is sent on one arrives on the other when the world says so.
//!
//! It behaves as TCP does: bytes come in order or not at all, a connection breaks as a whole, and what cannot pass a cut
//! link waits until it is mended, or until somebody gives up. All that happens is ordered by (millisecond, order of
//! sending), so a seed decides everything.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::sync::mpsc;

use super::{stream::SimStream, trace::Trace};

/// A machine's number. No other machine ever has it.
pub type MachineId = usize;

/// Milliseconds since the simulation began.
pub type Millis = u64;

/// How long a packet usually takes, in milliseconds.
const USUAL_DELAY_MS: (Millis, Millis) = (1, 3);
/// Bytes under way on one direction of a connection, beyond which the sender waits.
const PIPE_BYTES: usize = 256 << 10;

/// One direction of a connection.
pub(super) type PipeId = u64;

/// The network. Shared by all machines.
pub struct Net {
    state: Mutex<State>,
    trace: Trace,
}

struct State {
    now: Millis,
    random: SmallRng,
    packets: BTreeMap<(Millis, u64), Packet>,
    packets_sent: u64,
    pipes: BTreeMap<PipeId, Pipe>,
    pipes_made: PipeId,
    dials: BTreeMap<u64, Dial>,
    dials_made: u64,
    listeners: BTreeMap<MachineId, Listener>,
    /// Directions in which nothing passes.
    cut: BTreeSet<(MachineId, MachineId)>,
    /// What waits at a cut link.
    waiting: BTreeMap<(MachineId, MachineId), Vec<Event>>,
    delays: BTreeMap<(MachineId, MachineId), (Millis, Millis)>,
    /// Ends of connections that nobody took. They are closed outside of the lock.
    untaken: Vec<SimStream>,
}

struct Listener {
    /// Who is there.
    server_id: u64,
    accept: mpsc::UnboundedSender<SimStream>,
}

struct Packet {
    from: MachineId,
    to: MachineId,
    event: Event,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// Asks for a connection.
    Dial(u64),
    /// Says that there is one, or that nobody listens.
    Answer(u64),
    /// The next of what is under way on a pipe arrives.
    Arrives(PipeId),
}

/// What goes through a pipe.
enum Payload {
    Bytes(Bytes),
    End,
    Broken,
}

struct Pipe {
    from: MachineId,
    to: MachineId,
    /// The other direction.
    back: PipeId,
    under_way: VecDeque<Payload>,
    under_way_bytes: usize,
    /// Nothing that is sent later arrives before.
    last_due: Millis,
    arrived: VecDeque<Bytes>,
    ended: bool,
    /// The connection broke: for the reader once it has read what had arrived, for the writer at once.
    broken: bool,
    /// The reader is gone without a word: whatever arrives meets nobody.
    orphaned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Dial {
    from: MachineId,
    to: MachineId,
    server_id: u64,
    outcome: Option<Result<SimStream, &'static str>>,
    waker: Option<Waker>,
}

/// What a read finds.
pub(super) enum Found {
    Bytes(Bytes),
    End,
    Broken,
    Nothing,
}

impl Net {
    /// A network without machines.
    pub fn new(seed: u64, trace: Trace) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                now: 0,
                random: SmallRng::seed_from_u64(seed),
                packets: BTreeMap::new(),
                packets_sent: 0,
                pipes: BTreeMap::new(),
                pipes_made: 0,
                dials: BTreeMap::new(),
                dials_made: 0,
                listeners: BTreeMap::new(),
                cut: BTreeSet::new(),
                waiting: BTreeMap::new(),
                delays: BTreeMap::new(),
                untaken: Vec::new(),
            }),
            trace,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everything arrive that is due at `now`.
    pub fn advance(self: &Arc<Self>, now: Millis) {
        let mut wake = Vec::new();
        let mut state = self.state();
        state.now = now;
        while let Some(entry) = state.packets.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let Packet { from, to, event } = entry.remove();
            if state.cut.contains(&(from, to)) {
                state.waiting.entry((from, to)).or_default().push(event);
            } else {
                state.arrive(self, from, to, event, &mut wake);
            }
        }
        let untaken = std::mem::take(&mut state.untaken);
        drop(state);
        drop(untaken);
        wake.into_iter().for_each(Waker::wake);
    }

    /// A machine listens from now on; connections come out of the answer.
    pub fn listen(&self, machine: MachineId, server_id: u64) -> mpsc::UnboundedReceiver<SimStream> {
        let (accept, accepted) = mpsc::unbounded_channel();
        let listener = Listener { server_id, accept };
        self.state().listeners.insert(machine, listener);
        accepted
    }

    /// A machine's process ends. Its connections break, and the other ends hear of it, unless it was power that failed.
    pub fn end_process(&self, machine: MachineId, silently: bool) {
        let mut state = self.state();
        // Their tasks end, too: nobody waits any more.
        let listener = state.listeners.remove(&machine);
        let own: Vec<PipeId> = state
            .pipes
            .iter()
            .filter(|(_, pipe)| pipe.from == machine)
            .map(|(id, _)| *id)
            .collect();
        for id in own {
            if !silently {
                state.send(id, Payload::Broken);
            }
            let back = state.pipes.get(&id).map(|pipe| pipe.back);
            if let Some(reading) = back.and_then(|back| state.pipes.get_mut(&back)) {
                reading.orphaned = true;
            }
        }
        drop(state);
        drop(listener);
    }

    /// Breaks every connection between two machines.
    pub fn reset(&self, one: MachineId, other: MachineId) {
        let mut wake = Vec::new();
        let mut state = self.state();
        for pipe in state.pipes.values_mut() {
            if [(one, other), (other, one)].contains(&(pipe.from, pipe.to)) {
                pipe.under_way.clear();
                pipe.under_way_bytes = 0;
                pipe.broken = true;
                wake.extend(pipe.reader.take());
                wake.extend(pipe.writer.take());
            }
        }
        drop(state);
        wake.into_iter().for_each(Waker::wake);
    }

    /// From now on nothing passes in these directions, and in all others everything does.
    pub fn cut(&self, directions: BTreeSet<(MachineId, MachineId)>) {
        let mut state = self.state();
        let mended: Vec<_> = state.cut.difference(&directions).copied().collect();
        state.cut = directions;
        for (from, to) in mended {
            for event in state.waiting.remove(&(from, to)).unwrap_or_default() {
                state.enqueue(from, to, event);
            }
        }
    }

    /// From now on packets take so long in these directions, and as long as usual in all others.
    pub fn delay(&self, delays: BTreeMap<(MachineId, MachineId), (Millis, Millis)>) {
        self.state().delays = delays;
    }

    /// Asks for a connection. The number is to be asked about with [`dialled`](Self::dialled).
    pub(super) fn dial(&self, from: MachineId, to: MachineId, server_id: u64) -> u64 {
        let mut state = self.state();
        state.dials_made += 1;
        let id = state.dials_made;
        state.dials.insert(
            id,
            Dial {
                from,
                to,
                server_id,
                outcome: None,
                waker: None,
            },
        );
        state.enqueue(from, to, Event::Dial(id));
        id
    }

    /// What became of a call, once.
    pub(super) fn dialled(&self, id: u64, waker: &Waker) -> Option<Result<SimStream, &'static str>> {
        let mut state = self.state();
        let Some(dial) = state.dials.get_mut(&id) else {
            return Some(Err("the call was given up"));
        };
        dial.waker = Some(waker.clone());
        let outcome = dial.outcome.take();
        if outcome.is_some() {
            state.dials.remove(&id);
        }
        outcome
    }

    /// Nobody waits for a call any more.
    pub(super) fn give_up(&self, id: u64) {
        // A connection that came too late is closed outside of the lock.
        let dial = self.state().dials.remove(&id);
        drop(dial);
    }

    /// Sends bytes; how many of them there was room for, or an error if the connection is broken.
    pub(super) fn write(&self, pipe: PipeId, bytes: &[u8], waker: &Waker) -> Result<usize, ()> {
        let mut state = self.state();
        let found = state.pipes.get_mut(&pipe).ok_or(())?;
        if found.broken {
            return Err(());
        }
        let count = bytes.len().min(PIPE_BYTES.saturating_sub(found.under_way_bytes));
        if count == 0 {
            found.writer = Some(waker.clone());
        } else {
            state.send(pipe, Payload::Bytes(Bytes::copy_from_slice(&bytes[..count])));
        }
        Ok(count)
    }

    /// Nothing more is sent.
    pub(super) fn end(&self, pipe: PipeId) {
        let mut state = self.state();
        if state.pipes.get(&pipe).is_some_and(|pipe| !pipe.broken) {
            state.send(pipe, Payload::End);
        }
    }

    /// An end of a connection is closed: it reads `incoming` and writes `outgoing` no more.
    pub(super) fn close(&self, incoming: PipeId, outgoing: PipeId) {
        let mut state = self.state();
        if let Some(pipe) = state.pipes.get_mut(&incoming) {
            pipe.orphaned = true;
            pipe.arrived.clear();
        }
        let known = state.pipes.get(&outgoing).is_some_and(|pipe| !pipe.broken);
        let alive = known && state.listeners.contains_key(&state.pipes[&outgoing].from);
        if alive {
            state.send(outgoing, Payload::End);
        }
        state.forget(incoming);
    }

    /// Takes what has arrived.
    pub(super) fn read(&self, pipe: PipeId, waker: &Waker) -> Found {
        let mut state = self.state();
        let Some(pipe) = state.pipes.get_mut(&pipe) else {
            return Found::Broken;
        };
        if let Some(bytes) = pipe.arrived.pop_front() {
            return Found::Bytes(bytes);
        }
        if pipe.broken {
            return Found::Broken;
        }
        if pipe.ended {
            return Found::End;
        }
        pipe.reader = Some(waker.clone());
        Found::Nothing
    }

    /// Gives back what did not fit where it was read to.
    pub(super) fn unread(&self, pipe: PipeId, bytes: Bytes) {
        if let Some(pipe) = self.state().pipes.get_mut(&pipe) {
            pipe.arrived.push_front(bytes);
        }
    }
}

impl State {
    fn enqueue(&mut self, from: MachineId, to: MachineId, event: Event) {
        let (least, most) = self.delays.get(&(from, to)).copied().unwrap_or(USUAL_DELAY_MS);
        let mut due = self.now + self.random.random_range(least..=most);
        if let Event::Arrives(id) = event
            && let Some(pipe) = self.pipes.get_mut(&id)
        {
            due = due.max(pipe.last_due);
            pipe.last_due = due;
        }
        self.packets_sent += 1;
        self.packets
            .insert((due, self.packets_sent), Packet { from, to, event });
    }

    fn send(&mut self, id: PipeId, payload: Payload) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if let Payload::Bytes(bytes) = &payload {
            pipe.under_way_bytes += bytes.len();
        }
        pipe.under_way.push_back(payload);
        let (from, to) = (pipe.from, pipe.to);
        self.enqueue(from, to, Event::Arrives(id));
    }

    fn arrive(&mut self, net: &Arc<Net>, from: MachineId, to: MachineId, event: Event, wake: &mut Vec<Waker>) {
        match event {
            Event::Dial(id) => self.answer(net, id),
            Event::Answer(id) => {
                net.trace.note(self.now, || format!("net {from} answers {to}"));
                if let Some(dial) = self.dials.get_mut(&id) {
                    wake.extend(dial.waker.take());
                }
            }
            Event::Arrives(id) => self.deliver(net, id, wake),
        }
    }

    /// A call has arrived at its goal.
    fn answer(&mut self, net: &Arc<Net>, id: u64) {
        let Some(dial) = self.dials.get(&id) else { return };
        let (from, to, server_id) = (dial.from, dial.to, dial.server_id);
        let outcome = match self.listeners.get(&to) {
            None => Err("nobody listens there"),
            Some(listener) if listener.server_id != server_id => Err("another server is there"),
            Some(listener) => {
                let accept = listener.accept.clone();
                let (there, back) = self.connect(from, to);
                if let Err(untaken) = accept.send(SimStream::new(net.clone(), there, back)) {
                    self.untaken.push(untaken.0);
                }
                Ok(SimStream::new(net.clone(), back, there))
            }
        };
        net.trace
            .note(self.now, || format!("net {from} calls {to}: {}", outcome.is_ok()));
        if let Some(dial) = self.dials.get_mut(&id) {
            dial.outcome = Some(outcome);
        }
        self.enqueue(to, from, Event::Answer(id));
    }

    fn connect(&mut self, from: MachineId, to: MachineId) -> (PipeId, PipeId) {
        let (there, back) = (self.pipes_made + 1, self.pipes_made + 2);
        self.pipes_made = back;
        for (id, from, to, back) in [(there, from, to, back), (back, to, from, there)] {
            let pipe = Pipe {
                from,
                to,
                back,
                under_way: VecDeque::new(),
                under_way_bytes: 0,
                last_due: 0,
                arrived: VecDeque::new(),
                ended: false,
                broken: false,
                orphaned: false,
                reader: None,
                writer: None,
            };
            self.pipes.insert(id, pipe);
        }
        (there, back)
    }

    fn deliver(&mut self, net: &Net, id: PipeId, wake: &mut Vec<Waker>) {
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        // A reset has thrown it away.
        let Some(payload) = pipe.under_way.pop_front() else {
            return;
        };
        let (from, to) = (pipe.from, pipe.to);
        if pipe.orphaned {
            // A system that is up says that there is nobody; one without power says nothing.
            let back = pipe.back;
            if self.listeners.contains_key(&to) && !matches!(payload, Payload::Broken) {
                self.send(back, Payload::Broken);
            }
            return;
        }
        match payload {
            Payload::Bytes(bytes) => {
                net.trace
                    .note(now, || format!("net {from}-{to} {} bytes on {id}", bytes.len()));
                pipe.under_way_bytes -= bytes.len();
                pipe.arrived.push_back(bytes);
            }
            Payload::End => pipe.ended = true,
            Payload::Broken => pipe.broken = true,
        }
        wake.extend(pipe.reader.take());
        wake.extend(pipe.writer.take());
        if pipe.broken {
            let back = pipe.back;
            if let Some(back) = self.pipes.get_mut(&back) {
                back.broken = true;
                wake.extend(back.reader.take());
                wake.extend(back.writer.take());
            }
        }
    }

    /// Forgets a connection once neither end reads any more.
    fn forget(&mut self, id: PipeId) {
        let Some(pipe) = self.pipes.get(&id) else { return };
        let back = pipe.back;
        if pipe.orphaned && self.pipes.get(&back).is_none_or(|back| back.orphaned) {
            self.pipes.remove(&id);
            self.pipes.remove(&back);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::sim::stream::Dialling;

    /// Two machines with a connection between them, and the time.
    struct Pair {
        net: Arc<Net>,
        now: Millis,
        here: SimStream,
        there: SimStream,
    }

    impl Pair {
        fn new() -> Self {
            let net = Net::new(7, Trace::new(false));
            let mut accepted = net.listen(2, 20);
            let mut dialling = Dialling::new(&net, 1, 2, 20);
            let mut here = None;
            let mut now = 0;
            while here.is_none() {
                here = (&mut dialling).now_or_never();
                now += 1;
                net.advance(now);
            }
            Self {
                here: here.unwrap().unwrap(),
                there: accepted.try_recv().unwrap(),
                net,
                now,
            }
        }

        fn pass(&mut self, millis: Millis) {
            for _ in 0..millis {
                self.now += 1;
                self.net.advance(self.now);
            }
        }

        fn write(&mut self, text: &str) {
            self.here.write_all(text.as_bytes()).now_or_never().unwrap().unwrap();
        }

        /// What the other side can read now; none if there is nothing.
        fn read(&mut self) -> Option<std::io::Result<String>> {
            let mut buffer = [0; 64];
            let count = self.there.read(&mut buffer).now_or_never()?;
            Some(count.map(|count| String::from_utf8_lossy(&buffer[..count]).into_owned()))
        }
    }

    #[test]
    fn bytes_take_their_time_and_keep_their_order() {
        let mut pair = Pair::new();
        pair.write("one");
        assert!(pair.read().is_none(), "nothing arrives at once");
        pair.pass(1);
        pair.write("two");
        pair.pass(2 * USUAL_DELAY_MS.1);
        assert_eq!(pair.read().unwrap().unwrap(), "one");
        assert_eq!(pair.read().unwrap().unwrap(), "two");
        assert!(pair.read().is_none());
        pair.here.shutdown().now_or_never().unwrap().unwrap();
        pair.pass(USUAL_DELAY_MS.1);
        assert_eq!(pair.read().unwrap().unwrap(), "", "that is its end");
    }

    #[test]
    fn what_meets_a_cut_waits_for_its_end() {
        let mut pair = Pair::new();
        pair.write("one");
        pair.net.cut(BTreeSet::from([(1, 2)]));
        pair.pass(500);
        pair.write("two");
        assert!(pair.read().is_none());
        pair.net.cut(BTreeSet::new());
        pair.pass(4 * USUAL_DELAY_MS.1);
        assert_eq!(pair.read().unwrap().unwrap(), "one");
        assert_eq!(pair.read().unwrap().unwrap(), "two");
    }

    #[test]
    fn a_connection_breaks_as_a_whole() {
        let mut pair = Pair::new();
        pair.write("lost");
        pair.net.reset(2, 1);
        pair.pass(10);
        assert!(pair.read().unwrap().is_err());
        assert!(pair.here.write_all(b"more").now_or_never().unwrap().is_err());
    }

    #[test]
    fn a_process_that_is_killed_is_heard_of_and_one_without_power_is_not() {
        for silently in [false, true] {
            let mut pair = Pair::new();
            pair.net.end_process(2, silently);
            pair.pass(10);
            let mut byte = [0];
            let heard = pair.here.read(&mut byte).now_or_never();
            assert_eq!(heard.is_some(), !silently);
            // Once the machine is back, its system says that it knows of no such connection.
            let _accepted = pair.net.listen(2, 20);
            let _ = pair.here.write_all(b"?").now_or_never();
            pair.pass(10);
            assert!(pair.here.read(&mut byte).now_or_never().unwrap().is_err());
        }
    }

    #[test]
    fn nobody_answers_for_another_server() {
        let net = Net::new(7, Trace::new(false));
        let _accepted = net.listen(2, 21);
        for (machine, server_id, from) in [(2, 20, 1), (3, 30, 20)] {
            let mut dialling = Dialling::new(&net, 1, machine, server_id);
            (from..from + 19).for_each(|now| net.advance(now));
            assert!((&mut dialling).now_or_never().unwrap().is_err());
        }
    }
}
