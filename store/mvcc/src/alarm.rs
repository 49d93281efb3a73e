//! Alarms: what is wrong with the cluster or with one of its servers, kept in the state so that every server knows.
//!
//! They are raised and cleared by commands, so all servers judge a write by the same alarms (invariant I2). An
//! alarm of want of space refuses whatever would take more of it, but not deletions nor what the cluster keeps for itself:
//! the way out must stay open. A corruption alarm of the whole cluster refuses every write.

use std::collections::BTreeMap;

use crate::codec::{DecodeError, Reader, Writer};
use crate::limits::{ALARM_CAUSE_BYTES_MAX, ALARMS_MAX};
use crate::outcome::Refusal;
use crate::types::{Op, Txn};

/// What the keys begin with that the cluster keeps for itself: server ids, join tokens.
pub const SYSTEM_PREFIX: &[u8] = b"/trireme/";

/// The member of an alarm that concerns the cluster as a whole.
pub const WHOLE_CLUSTER: u64 = 0;

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// A server's disk is nearly full.
    NoSpace,
    /// A server's data is damaged, or differs from the others'; of [`WHOLE_CLUSTER`]: no majority agrees on the data.
    Corrupt,
}

/// One alarm. There is at most one of a kind and member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// The Raft id of the server that it concerns, or [`WHOLE_CLUSTER`].
    pub member: u64,
    /// Why, for people.
    pub cause: String,
}

/// The alarms that are raised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alarms(BTreeMap<(AlarmKind, u64), String>);

impl AlarmKind {
    pub(crate) fn tag(self) -> u8 {
        match self {
            Self::NoSpace => 1,
            Self::Corrupt => 2,
        }
    }

    pub(crate) fn from_tag(tag: u8) -> Result<Self, DecodeError> {
        match tag {
            1 => Ok(Self::NoSpace),
            2 => Ok(Self::Corrupt),
            tag => Err(DecodeError::UnknownTag { what: "alarm", tag }),
        }
    }
}

impl Alarms {
    /// All of them, by kind and member.
    pub fn iter(&self) -> impl Iterator<Item = Alarm> + '_ {
        self.0.iter().map(|((kind, member), cause)| Alarm {
            kind: *kind,
            member: *member,
            cause: cause.clone(),
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is raised.
    pub fn contains(&self, kind: AlarmKind, member: u64) -> bool {
        self.0.contains_key(&(kind, member))
    }

    /// Raises one; false if it is raised already, or if there are too many.
    pub(crate) fn raise(&mut self, alarm: Alarm) -> bool {
        let Alarm {
            kind,
            member,
            mut cause,
        } = alarm;
        if self.contains(kind, member) || self.0.len() >= ALARMS_MAX {
            return false;
        }
        let mut end = cause.len().min(ALARM_CAUSE_BYTES_MAX);
        while !cause.is_char_boundary(end) {
            end -= 1;
        }
        cause.truncate(end);
        self.0.insert((kind, member), cause);
        true
    }

    /// Clears one; false if it is not raised.
    pub(crate) fn clear(&mut self, kind: AlarmKind, member: u64) -> bool {
        self.0.remove(&(kind, member)).is_some()
    }

    /// Why the alarms forbid a transaction, if they do.
    pub(crate) fn refuse(&self, txn: &Txn) -> Option<Refusal> {
        if self.is_empty() {
            return None;
        }
        if self.contains(AlarmKind::Corrupt, WHOLE_CLUSTER) && any(txn, &|op| !matches!(op, Op::Range(_))) {
            return Some(Refusal::Corrupt);
        }
        let no_space = self.0.keys().any(|(kind, _)| *kind == AlarmKind::NoSpace);
        let takes_space = |op: &Op| matches!(op, Op::Put { key, .. } if !key.starts_with(SYSTEM_PREFIX));
        (no_space && any(txn, &takes_space)).then_some(Refusal::NoSpace)
    }

    /// Why the alarms forbid what only adds to the state, such as a lease, if they do.
    pub(crate) fn refuse_growth(&self) -> Option<Refusal> {
        if self.contains(AlarmKind::Corrupt, WHOLE_CLUSTER) {
            return Some(Refusal::Corrupt);
        }
        let no_space = self.0.keys().any(|(kind, _)| *kind == AlarmKind::NoSpace);
        no_space.then_some(Refusal::NoSpace)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.count(self.0.len());
        for ((kind, member), cause) in &self.0 {
            writer.byte(kind.tag());
            writer.number(*member);
            writer.slice(cause.as_bytes());
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let count = reader.count()?;
        let mut alarms = BTreeMap::new();
        for _ in 0..count {
            let kind = AlarmKind::from_tag(reader.byte()?)?;
            let member = reader.number()?;
            let cause = String::from_utf8_lossy(&reader.slice()?).into_owned();
            alarms.insert((kind, member), cause);
        }
        Ok(Self(alarms))
    }
}

/// Whether an operation of either side, nested ones too, is of this sort.
fn any(txn: &Txn, sort: &impl Fn(&Op) -> bool) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::Txn(nested) => any(nested, sort),
        other => sort(other),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::types::{KeyRange, RangeRequest};

    fn alarm(kind: AlarmKind, member: u64) -> Alarm {
        Alarm {
            kind,
            member,
            cause: "because".into(),
        }
    }

    fn delete(key: &'static str) -> Op {
        Op::Delete {
            range: KeyRange::key(key),
            prev_kv: false,
        }
    }

    fn of(op: Op) -> Txn {
        Txn {
            failure: vec![Op::Txn(Box::new(Txn {
                success: vec![op],
                ..Txn::default()
            }))],
            ..Txn::default()
        }
    }

    #[test]
    fn what_each_alarm_forbids() {
        let put = |key: &'static str| crate::testing::put(key, "v");
        let read = || Op::Range(RangeRequest::latest(KeyRange::prefix("")));
        let check = |raised: &[(AlarmKind, u64)], expected: [Option<Refusal>; 4]| {
            let mut alarms = Alarms::default();
            for (kind, member) in raised {
                assert!(alarms.raise(alarm(*kind, *member)));
            }
            let found =
                [put("k"), put("/trireme/last-server-id"), delete("k"), read()].map(|op| alarms.refuse(&of(op)));
            assert_eq!(found, expected, "{raised:?}");
        };
        check(&[], [None, None, None, None]);
        check(&[(AlarmKind::NoSpace, 2)], [Some(Refusal::NoSpace), None, None, None]);
        // One damaged server is no reason to stop the others.
        check(&[(AlarmKind::Corrupt, 2)], [None, None, None, None]);
        let stop = Some(Refusal::Corrupt);
        check(
            &[(AlarmKind::Corrupt, WHOLE_CLUSTER), (AlarmKind::NoSpace, 1)],
            [stop.clone(), stop.clone(), stop, None],
        );
    }

    #[test]
    fn they_are_bounded_and_come_back() {
        let mut alarms = Alarms::default();
        assert!(alarms.raise(Alarm {
            cause: "é".repeat(ALARM_CAUSE_BYTES_MAX),
            ..alarm(AlarmKind::Corrupt, 3)
        }));
        assert!(!alarms.raise(alarm(AlarmKind::Corrupt, 3)));
        for member in 1..100 {
            alarms.raise(alarm(AlarmKind::NoSpace, member));
        }
        assert_eq!(alarms.iter().count(), ALARMS_MAX);
        let mut writer = Writer::default();
        alarms.write(&mut writer);
        let mut reader = Reader::new(writer.out.into());
        assert_eq!(Alarms::read(&mut reader).unwrap(), alarms);
        reader.finish().unwrap();
        assert!(alarms.clear(AlarmKind::Corrupt, 3) && !alarms.clear(AlarmKind::Corrupt, 3));
    }
}
