//! Alarms in words: what is wrong, and what to do about it.

use std::collections::BTreeMap;

use trireme_proto::v1;
use trireme_store::{Alarm, AlarmKind, Member, WHOLE_CLUSTER};

use super::ApiError;

/// The alarms that are raised, and those that will be: a server may say that it is quarantined before the leader has
/// asked it.
pub(super) fn describe(raised: &[Alarm], members: &[Member], quarantined: &BTreeMap<u64, String>) -> Vec<v1::Alarm> {
    let is_raised = |id: u64| {
        raised
            .iter()
            .any(|alarm| alarm.kind == AlarmKind::Corrupt && alarm.member == id)
    };
    let coming = quarantined
        .iter()
        .filter(|(id, _)| !is_raised(**id))
        .map(|(id, cause)| Alarm {
            kind: AlarmKind::Corrupt,
            member: *id,
            cause: cause.clone(),
        });
    // Those of a server that has just been removed end in a moment.
    let known = |alarm: &Alarm| alarm.member == WHOLE_CLUSTER || members.iter().any(|member| member.id == alarm.member);
    let all = raised.iter().cloned().chain(coming);
    all.filter(known).map(|alarm| in_words(alarm, members)).collect()
}

fn in_words(alarm: Alarm, members: &[Member]) -> v1::Alarm {
    let member = members.iter().find(|member| member.id == alarm.member);
    let name = match member {
        Some(member) => member.name.clone(),
        None => String::new(),
    };
    v1::Alarm {
        kind: kind_to_wire(alarm.kind).to_owned(),
        member_id: alarm.member,
        remedy: remedy(alarm.kind, &name),
        member: name,
        cause: alarm.cause,
    }
}

fn remedy(kind: AlarmKind, server: &str) -> String {
    match kind {
        AlarmKind::Corrupt if server.is_empty() => {
            "nothing is written any more; restore a backup with `trireme cluster restore`, or find out which server is \
             right and remove the others"
                .to_owned()
        }
        AlarmKind::Corrupt => format!("`trireme cluster replace {server}`"),
        AlarmKind::NoSpace => format!(
            "give server {server} more room on its disk, or delete objects; writes go on by themselves once there is \
             room"
        ),
    }
}

fn kind_to_wire(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NoSpace",
        AlarmKind::Corrupt => "Corrupt",
    }
}

/// Reads a kind.
pub(super) fn kind_from_wire(kind: &str) -> Result<AlarmKind, ApiError> {
    match kind {
        "NoSpace" => Ok(AlarmKind::NoSpace),
        "Corrupt" => Ok(AlarmKind::Corrupt),
        other => Err(ApiError::bad_request(format!(
            "there is no alarm {other:?}; the kinds are NoSpace and Corrupt"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alarm_names_its_server_and_a_remedy() {
        let member = Member {
            id: 2,
            name: "oar-2".into(),
            api_address: String::new(),
            peer_address: String::new(),
            voter: true,
        };
        let alarm = |kind, member| Alarm {
            kind,
            member,
            cause: "why".into(),
        };
        let raised = [
            alarm(AlarmKind::NoSpace, 2),
            alarm(AlarmKind::Corrupt, WHOLE_CLUSTER),
            alarm(AlarmKind::Corrupt, 7),
        ];
        let quarantined = BTreeMap::from([(2, "damaged".to_owned()), (7, "known already".to_owned())]);
        let told = describe(&raised, &[member], &quarantined);
        let lines: Vec<(&str, &str, &str)> = told
            .iter()
            .map(|alarm| (alarm.kind.as_str(), alarm.member.as_str(), alarm.cause.as_str()))
            .collect();
        assert_eq!(
            lines,
            [
                ("NoSpace", "oar-2", "why"),
                ("Corrupt", "", "why"),
                ("Corrupt", "oar-2", "damaged"),
            ]
        );
        assert!(told.iter().all(|alarm| !alarm.remedy.is_empty()));
        assert_eq!(told[2].remedy, "`trireme cluster replace oar-2`");
        for kind in [AlarmKind::NoSpace, AlarmKind::Corrupt] {
            assert_eq!(kind_from_wire(kind_to_wire(kind)).expect("known"), kind);
        }
        assert!(kind_from_wire("Fire").is_err());
    }
}
