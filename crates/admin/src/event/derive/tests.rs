use walrus_types::{OperationId, PlanId};

use super::*;

const SEEN: Seen = Seen { version: 9, at_ms: TimestampMs(50) };

fn facts_of(state: NodeState, life: u64, fenced_at: Option<i64>) -> NodeFacts {
    NodeFacts {
        state,
        drains: state == NodeState::Draining,
        incarnation: Incarnation(life),
        fenced_at: fenced_at.map(TimestampMs),
        leads: 3,
    }
}

fn told(events: &[Event]) -> Vec<(&str, &str, Severity)> {
    events.iter().map(|one| (one.id.as_str(), one.message.as_str(), one.severity)).collect()
}

#[test]
fn of_a_node_is_told_what_became_of_each_life() {
    use NodeState::{Active, Draining, Fenced};
    let fenced = "is fenced, was active; 3 partitions wait for another leader";
    let cases = [
        (None, Some((Active, 1, None)), vec![("node/n2/life/1", "joined, active")]),
        (Some((Active, 1, None)), None, vec![("node/n2/gone/9", "is in the cluster no more")]),
        (Some((Active, 1, None)), Some((Active, 1, None)), vec![]),
        (Some((Active, 1, None)), Some((Fenced, 1, Some(7))), vec![("node/n2/fenced/1", fenced)]),
        // A snapshot does not say when.
        (Some((Active, 1, None)), Some((Fenced, 1, None)), vec![("node/n2/fenced/1", fenced)]),
        // It was fenced and came back between two looks.
        (
            Some((Active, 1, Some(3))),
            Some((Active, 2, Some(7))),
            vec![("node/n2/fenced/1", fenced), ("node/n2/life/2", "began life 2, active")],
        ),
        // It was restarted, and nobody fenced it.
        (
            Some((Active, 1, Some(3))),
            Some((Active, 2, Some(3))),
            vec![("node/n2/life/2", "began life 2, active")],
        ),
        (
            Some((Active, 1, None)),
            Some((Draining, 1, None)),
            vec![("node/n2/draining/9", "is draining, was active")],
        ),
    ];
    for (before, now, expected) in cases {
        let of = |of: Option<(NodeState, u64, Option<i64>)>| {
            of.map(|(state, life, at)| facts_of(state, life, at))
        };
        let mut out = Vec::new();
        node(SEEN, NodeId(2), of(before).as_ref(), of(now).as_ref(), &mut out);
        let found: Vec<_> = told(&out).into_iter().map(|(id, text, _)| (id, text)).collect();
        assert_eq!(found, expected, "{before:?} to {now:?}");
    }
}

#[test]
fn a_fence_is_told_with_its_own_time() {
    let (before, now) =
        (facts_of(NodeState::Active, 1, None), facts_of(NodeState::Fenced, 1, Some(7)));
    let mut out = Vec::new();
    node(SEEN, NodeId(2), Some(&before), Some(&now), &mut out);
    assert_eq!((out[0].at_ms, out[0].severity), (TimestampMs(7), Severity::Error));
}

#[test]
fn each_segment_that_was_opened_is_told_with_its_epoch_and_reason() {
    let step = |epoch, base, leader, reason: &str, at: Option<i64>| Step {
        epoch: Epoch(epoch),
        base: Offset(base),
        leader: NodeId(leader),
        reason: reason.into(),
        at_ms: at.map(TimestampMs),
    };
    let steps = [
        step(3, 10, 1, "bytes", None),
        step(6, 2_000, 2, "failover", Some(40)),
        step(7, 2_000, 2, "unsafe seal", Some(45)),
    ];
    let place = (TopicName { name: "a", id: Some("ID") }, PartitionIndex(4));
    let mut out = Vec::new();
    rolls(SEEN, place, (Epoch(2), NodeId(1)), steps, &mut out);
    assert_eq!(
        told(&out),
        [
            ("lease/ID/4/3", "segment 3 at 10 led by n1 (bytes)", Severity::Info),
            (
                "lease/ID/4/6",
                "segment 6 at 2 000 led by n2, before n1 (failover, 3 rolls)",
                Severity::Warn
            ),
            ("lease/ID/4/7", "segment 7 at 2 000 led by n2 (unsafe seal)", Severity::Error),
        ]
    );
    let times: Vec<i64> = out.iter().map(|one| one.at_ms.0).collect();
    assert_eq!(times, [50, 40, 45]);
    assert!(out.iter().all(|one| one.subject == "a/4" && one.topic.as_deref() == Some("a")));
}

#[test]
fn settings_are_told_by_what_is_another() {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let cases = [
        (vec![("a", "1")], vec![("a", "1")], None),
        (
            vec![("a", "1"), ("c", "3")],
            vec![("a", "2"), ("b", "5")],
            Some("a is 2, was 1; b is 5, was not set; c is not set any more"),
        ),
        (
            vec![],
            vec![("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1")],
            Some(
                "a is 1, was not set; b is 1, was not set; c is 1, was not set; \
                 d is 1, was not set; and 2 more",
            ),
        ),
    ];
    for (before, now, expected) in cases {
        let mut out = Vec::new();
        settings(SEEN, ("t", None, Some("t")), &map(&before), &map(&now), &mut out);
        assert_eq!(out.first().map(|one| one.message.as_str()), expected);
    }
}

#[test]
fn topics_come_go_and_grow_and_logs_begin_later() {
    let name = TopicName { name: "a", id: None };
    let mut out = Vec::new();
    for pair in [(None, Some(3)), (Some(3), Some(5)), (Some(5), Some(5)), (Some(5), None)] {
        topic(SEEN, name, pair, &mut out);
    }
    for pair in [(5, 5), (5, 3), (5, 1_200)] {
        let pair = (Offset(pair.0), Offset(pair.1));
        log_start(SEEN, (name, PartitionIndex(0)), pair, &mut out);
    }
    let texts: Vec<_> = out.iter().map(|one| one.message.as_str()).collect();
    let expected = [
        "made, with 3 partitions",
        "has 5 partitions, had 3",
        "deleted",
        "log begins at 1 200, before that at 5",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn an_operation_is_told_when_it_begins_and_when_it_ends() {
    use OperationState::{Cancelled, Done, Failed, Running};
    let of = |state, now: &str| Operation {
        id: OperationId(42),
        plan: PlanId::of(1),
        verb: "drain".into(),
        subject: "n2".into(),
        state,
        actor: "ann".into(),
        reason: "a disk".into(),
        began_at_ms: TimestampMs(7),
        ended_at_ms: (state != Running).then_some(TimestampMs(8)),
        done: 0,
        total: 3,
        left_ms: None,
        now: now.into(),
        blockers: vec![],
    };
    let began = "operation 42, drain n2, began, asked by ann: a disk";
    let ended = |text: &str| format!("operation 42, drain n2, {text}");
    let cases = [
        (None, of(Running, "waits"), vec![began.to_owned()]),
        (Some(of(Running, "waits")), of(Running, "goes on"), vec![]),
        (Some(of(Running, "waits")), of(Done, ""), vec![ended("is done")]),
        (None, of(Done, ""), vec![began.to_owned(), ended("is done")]),
        (
            Some(of(Running, "")),
            of(Cancelled, "taken back by bob"),
            vec![ended("is taken back by bob")],
        ),
        (Some(of(Running, "")), of(Failed, "n2 is gone"), vec![ended("failed: n2 is gone")]),
        (Some(of(Done, "")), of(Done, ""), vec![]),
    ];
    for (before, now, expected) in cases {
        let mut out = Vec::new();
        operation(SEEN, before.as_ref(), &now, &mut out);
        let texts: Vec<&str> = out.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(texts, expected, "{before:?} to {now:?}");
        let times: Vec<i64> = out.iter().map(|one| one.at_ms.0).collect();
        assert!(times.iter().all(|at| [7, 8].contains(at)), "by their own times: {times:?}");
    }
}
