use walrus_types::{Incarnation, StorageId};

use super::*;
use crate::{
    cluster::{Group, Segments},
    node::{Addresses, Holding, RaftPart},
};

/// A cluster of so many nodes that all vote, led by n1.
fn cluster(nodes: i32) -> ClusterStatus {
    let voters = u64::try_from(nodes).unwrap();
    let node = |id: i32| Node {
        node: NodeId(id),
        state: NodeState::Active,
        drains: false,
        storage: StorageId::default(),
        incarnation: Incarnation(1),
        rack: None,
        addresses: Addresses {
            client: "h:9091".into(),
            peer: "h:6001".into(),
            admin: "h:7071".into(),
        },
        raft: Some(RaftPart { leads: id == 1, votes: true, lag_entries: None }),
        holding: Holding::default(),
        fences: 0,
    };
    ClusterStatus {
        cluster: "c".into(),
        answered_by: NodeId(1),
        metadata_version: 7,
        group: Group { leader: Some(NodeId(1)), term: 1, voters, quorum: voters / 2 + 1 },
        topics: 1,
        partitions: 4,
        segments: Segments { total: 4, open: 4, ..Segments::default() },
        nodes: (1..=nodes).map(node).collect(),
    }
}

fn answered(node: i32, state: &str) -> NodeCheck {
    let answer = SelfStatus {
        version: "0".into(),
        state: state.into(),
        reason: None,
        awaits_bootstrap: false,
        identity: None,
        disk_full: false,
    };
    NodeCheck { node: NodeId(node), admin: "h:7071".into(), answer: Some(answer), error: None }
}

fn silent(node: i32) -> NodeCheck {
    NodeCheck { answer: None, error: Some("connection refused".into()), ..answered(node, "") }
}

#[track_caller]
fn check(status: &ClusterStatus, checks: Vec<NodeCheck>, verdict: Verdict, codes: &[&str]) {
    let health = judge(status, checks);
    let found: Vec<&str> = health.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!((health.verdict, &found[..]), (verdict, codes), "{health:?}");
    assert!(health.summary.starts_with(&verdict.to_string()), "{}", health.summary);
}

#[test]
fn a_cluster_whose_nodes_all_serve_is_ok() {
    check(&cluster(3), vec![answered(2, "ready")], Verdict::Ok, &[]);
    check(&cluster(2), vec![], Verdict::Ok, &["two_voters"]);
    check(&cluster(1), vec![], Verdict::Ok, &["one_node"]);
    assert_eq!(judge(&cluster(3), vec![]).summary, "OK: 3 nodes, 4 partitions");
}

#[test]
fn a_voter_that_is_silent_leaves_the_quorum_at_its_edge_and_two_lose_it() {
    let edge = ["node_unreachable", "quorum_at_edge"];
    check(&cluster(3), vec![silent(2)], Verdict::Degraded, &edge);
    let lost = ["quorum_lost", "node_unreachable", "node_unreachable"];
    check(&cluster(3), vec![silent(2), silent(3)], Verdict::Failed, &lost);
    // Four of five are one more than must.
    check(&cluster(5), vec![silent(2)], Verdict::Degraded, &["node_unreachable"]);
}

#[test]
fn a_node_is_to_have_a_vote_unless_enough_others_have() {
    let mut status = cluster(3);
    status.nodes[2].raft.as_mut().unwrap().votes = false;
    status.group = Group { voters: 2, quorum: 2, ..status.group };
    check(&status, vec![], Verdict::Degraded, &["awaits_vote", "two_voters"]);
    let mut status = cluster(6);
    status.nodes[5].raft.as_mut().unwrap().votes = false;
    status.group = Group { voters: 5, quorum: 3, ..status.group };
    check(&status, vec![], Verdict::Ok, &[]);
}

#[test]
fn a_fenced_node_is_one_finding_whether_it_answers_or_not() {
    let mut status = cluster(5);
    status.nodes[2].state = NodeState::Fenced;
    for checks in [vec![], vec![silent(3)], vec![answered(3, "ready")]] {
        check(&status, checks, Verdict::Degraded, &["node_fenced"]);
    }
    status.nodes[2].state = NodeState::Draining;
    check(&status, vec![], Verdict::Ok, &["node_draining"]);
}

#[test]
fn a_node_says_itself_that_it_does_not_serve() {
    check(&cluster(3), vec![answered(1, "draining")], Verdict::Degraded, &["node_not_ready"]);
    let mut full = answered(1, "ready");
    full.answer.as_mut().unwrap().disk_full = true;
    check(&cluster(3), vec![full], Verdict::Failed, &["disk_full"]);
}

#[test]
fn segments_are_judged_by_whether_somebody_misses_them_now() {
    let with = |segments| ClusterStatus { segments, ..cluster(3) };
    let none = Segments::default();
    for (segments, verdict, code) in [
        (Segments { leaderless: 1, ..none }, Verdict::Failed, "leaderless"),
        (Segments { below_min_insync: 1, ..none }, Verdict::Failed, "below_min_insync"),
        (Segments { unreachable: 1, ..none }, Verdict::Failed, "unreachable"),
        (Segments { losses: 1, ..none }, Verdict::Degraded, "loss"),
        (Segments { below_target: 2, repairable: 2, ..none }, Verdict::Degraded, "short_of_copies"),
        (Segments { below_target: 2, ..none }, Verdict::Ok, "below_target"),
    ] {
        check(&with(segments), vec![], verdict, &[code]);
    }
    let one = judge(&with(Segments { leaderless: 1, ..none }), vec![]);
    assert!(one.summary.contains("1 partition has no leader"), "{}", one.summary);
    let two = judge(&with(Segments { unreachable: 2, ..none }), vec![]);
    assert!(two.summary.contains("2 segments lie on no node"), "{}", two.summary);
}

#[test]
fn without_a_leader_of_the_group_nothing_can_be_changed() {
    let mut status = cluster(3);
    status.group.leader = None;
    check(&status, vec![], Verdict::Failed, &["no_controller"]);
}
