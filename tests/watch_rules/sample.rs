//! A sound watch of a few changes, for the tests of the rules to damage.

use std::collections::BTreeMap;

use super::{Body, Message, Rule, Watch};
use crate::linear::{
    model::{Event, KeyOp, KeyRange, Op, State, Txn},
    replay::Replay,
};

/// Revision 2 puts `b`, 3 puts `a`, 4 puts both in a transaction, 5 deletes `a`.
fn events() -> BTreeMap<i64, Vec<Event>> {
    let put = |key: &str, value: &str| KeyOp::Put {
        key: key.to_owned(),
        value: value.to_owned(),
        lease: 0,
    };
    let both = Txn {
        compares: Vec::new(),
        success: vec![put("a", "3"), put("b", "4")],
        failure: Vec::new(),
    };
    let ops = [
        Op::One(put("b", "1")),
        Op::One(put("a", "2")),
        Op::Txn(both),
        Op::One(KeyOp::Delete {
            range: KeyRange::one("a"),
        }),
    ];
    let mut state = State::default();
    let mut events = BTreeMap::new();
    for op in &ops {
        let applied = state.evaluate(op).unwrap();
        state.commit(&applied);
        events.insert(applied.revision, applied.events);
    }
    events
}

/// What was written.
pub(super) fn replay() -> Replay {
    Replay::of_events(events())
}

/// A watch from revision 3 on that was sent all: the creation, revision 3, revision 4, revision 5, progress.
pub(super) fn watch() -> Watch {
    let message = |revision: i64, body: Body| Message { revision, body };
    let mut messages = vec![message(2, Body::Created)];
    let sent = events().split_off(&3);
    messages.extend(
        sent.into_iter()
            .map(|(revision, events)| message(revision, Body::Events(events))),
    );
    messages.push(message(5, Body::Progress));
    Watch {
        name: "sample".to_owned(),
        range: KeyRange::all(),
        start: 3,
        no_put: false,
        no_delete: false,
        prev_kv: true,
        fragment: false,
        messages,
    }
}

/// A rule finds nothing wrong with what is right: the sample, narrower ones, and one of which only the beginning came.
pub(super) fn assert_sound(rule: Rule) {
    let whole = watch();
    let mut only_a = whole.clone();
    only_a.range = KeyRange::one("a");
    let mut no_delete = whole.clone();
    no_delete.no_delete = true;
    let mut from_now = whole.clone();
    from_now.start = 0;
    let mut cut = whole.clone();
    cut.messages.truncate(2);
    let narrowed = [only_a, no_delete].map(|mut watch| {
        let wanted = watch.clone();
        for message in &mut watch.messages {
            if let Body::Events(events) = &mut message.body {
                events.retain(|event| wanted.wants(event));
            }
        }
        watch
    });
    for sound in narrowed.iter().chain([&whole, &from_now, &cut]) {
        assert_eq!(rule(sound, &replay()), Vec::<String>::new(), "{sound:?}");
    }
}
