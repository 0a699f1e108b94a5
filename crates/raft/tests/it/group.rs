//! Several members: they agree, they go on without the one that is gone, and never without most.

use std::time::Duration;

use walrus_metadata::Reply;
use walrus_raft::{MembershipError, ProposeError, RaftConfig, VOTERS_MAX};

use crate::{
    hub::{Group, id},
    world::{create, register, small},
};

fn quick() -> RaftConfig {
    RaftConfig { propose_timeout: Duration::from_secs(5), ..small() }
}

/// Proposes topic `number` at a member.
fn make(group: &Group, at: u32, number: u32) -> Result<(), ProposeError> {
    match group.life(at).propose(&create(number))? {
        Reply::TopicsCreated(made) if made[0].is_ok() => Ok(()),
        other => panic!("{other:?}"),
    }
}

fn topics(group: &Group, at: u32) -> usize {
    group.life(at).state().topics_total()
}

#[test]
fn a_member_that_joins_gets_the_state_and_a_vote() {
    let mut group = Group::of(1, quick());
    group.life(1).propose(&register(1)).unwrap();
    // More than the log keeps: the new ones begin with a snapshot.
    for number in 1..=120 {
        make(&group, 1, number).unwrap();
    }
    for number in [2, 3] {
        group.start(number);
        group.admit(number);
        group.eventually("the state", |group| topics(group, number) == 120);
        group.promote(number);
    }
    let members = group.life(1).node.group().members();
    assert_eq!(members.iter().filter(|member| member.votes).count(), 3, "{members:?}");
    assert_eq!(group.life(3).state().nodes().len(), 1);
}

#[test]
fn any_member_takes_a_proposal_and_then_sees_its_effect() {
    let group = Group::of(3, quick());
    group.life(2).propose(&register(1)).unwrap();
    for (number, at) in (1..).zip([1, 2, 3, 3, 2, 1]) {
        make(&group, at, number).unwrap();
        assert_eq!(topics(&group, at), usize::try_from(number).unwrap());
    }
}

#[test]
fn the_group_goes_on_without_a_leader_that_was_killed_and_takes_it_back() {
    let mut group = Group::of(3, quick());
    group.life(1).propose(&register(1)).unwrap();
    for round in 0..3_u32 {
        group.eventually("a leader", |group| group.leader().is_some());
        let leader = group.leader().unwrap();
        group.kill(leader);
        let at = *group.lives.keys().next().unwrap();
        make(&group, at, 2 * round + 1).unwrap();
        group.start(leader);
        make(&group, leader, 2 * round + 2).unwrap();
        for member in 1..=3 {
            let expected = usize::try_from(2 * round + 2).unwrap();
            group.eventually("all topics", |group| topics(group, member) == expected);
        }
    }
}

#[test]
fn a_new_leader_that_has_caught_up_has_all_that_anybody_was_told_of() {
    let mut group = Group::of(3, quick());
    group.life(1).propose(&register(1)).unwrap();
    for round in 1..=4_u32 {
        group.eventually("a leader", |group| group.leader().is_some());
        let leader = group.leader().unwrap();
        // The others have the entry and are told that it is committed a moment later, or not.
        make(&group, leader, round).unwrap();
        group.kill(leader);
        group.eventually("a leader", |group| group.leader().is_some());
        let life = group.life(group.leader().unwrap());
        let term = life.node.leadership().borrow().term;
        life.runtime.block_on(life.node.group().caught_up(term)).unwrap();
        assert_eq!(life.state().topics_total(), usize::try_from(round).unwrap());
        group.start(leader);
    }
}

#[test]
fn a_minority_decides_nothing_and_learns_what_was_decided() {
    let group = Group::of(3, RaftConfig { propose_timeout: Duration::from_secs(2), ..small() });
    group.life(1).propose(&register(1)).unwrap();
    let alone = group.leader().unwrap();
    group.isolate(alone);
    let refused = make(&group, alone, 1).unwrap_err();
    let open = matches!(refused, ProposeError::Unknown | ProposeError::NotLeader { .. });
    assert!(open, "{refused:?}");
    let other = if alone == 1 { 2 } else { 1 };
    group.eventually("a decision of the majority", |group| {
        group.life(other).propose(&create(2)).is_ok()
    });
    assert_eq!(topics(&group, alone), 0, "the minority sees what was there before");
    group.heal();
    group.eventually("the decision, at the minority", |group| {
        group.life(alone).state().topic_named("t2").is_some()
    });
    // What the minority had begun is decided by all alike, or by none.
    group.eventually("agreement", |group| {
        let views = [1, 2, 3].map(|member| group.life(member).state());
        views.iter().all(|view| **view == *views[0])
    });
}

#[test]
fn a_member_that_was_cut_off_does_not_unseat_the_leader_when_it_is_back() {
    let group = Group::of(3, quick());
    group.life(1).propose(&register(1)).unwrap();
    let leader = group.leader().unwrap();
    let term = |group: &Group| group.life(leader).node.metrics()["current_term"].clone();
    let before = term(&group);
    let away = if leader == 1 { 2 } else { 1 };
    group.isolate(away);
    // It has lost patience more than once by then.
    std::thread::sleep(Duration::from_millis(1500));
    make(&group, leader, 1).unwrap();
    group.heal();
    group.eventually("the topic", |group| topics(group, away) == 1);
    assert_eq!(term(&group), before, "it asked first, and nobody would have voted for it");
}

#[test]
fn the_lead_is_handed_over_and_a_member_is_let_go() {
    let group = Group::of(3, quick());
    group.life(1).propose(&register(1)).unwrap();
    let leader = group.leader().unwrap();
    let to = if leader == 3 { 2 } else { 3 };
    let life = group.life(leader);
    life.runtime.block_on(life.node.group().transfer(id(to))).unwrap();
    group.eventually("the new leader", |group| group.leader() == Some(to));

    let life = group.life(to);
    let itself = life.runtime.block_on(life.node.group().expel(id(to)));
    assert!(matches!(itself, Err(MembershipError::Refused(_))), "{itself:?}");
    // A leader that has just begun changes no members before it has committed something.
    group.eventually("the member's end", |_| {
        life.runtime.block_on(life.node.group().expel(id(leader))).is_ok()
    });
    assert_eq!(life.node.group().members().len(), 2);
    make(&group, to, 1).unwrap();
    let follower = group.life(leader);
    let refused = follower.runtime.block_on(follower.node.group().promote(id(leader)));
    assert_eq!(refused, Err(MembershipError::NotLeader));
}

#[test]
fn changes_of_members_that_meet_are_made_one_after_the_other() {
    let group = Group::of(5, quick());
    group.life(1).propose(&register(1)).unwrap();
    let leader = group.leader().unwrap();
    let mut others = (1..=5).filter(|member| *member != leader);
    let (first, second) = (others.next().unwrap(), others.next().unwrap());
    let life = group.life(leader);
    let members = life.node.group();
    // Each change is two entries, and these fall between each other's.
    let made = life.runtime.block_on(async {
        tokio::join!(members.expel(id(first)), members.expel(id(first)), members.expel(id(second)),)
    });
    assert_eq!(made, (Ok(()), Ok(()), Ok(())));
    assert_eq!(members.members().len(), 3);
}

#[test]
fn five_members_vote_and_a_sixth_listens() {
    let mut group = Group::of(u32::try_from(VOTERS_MAX).unwrap(), quick());
    group.life(1).propose(&register(1)).unwrap();
    group.start(6);
    group.admit(6);
    let leader = group.leader().unwrap();
    let life = group.life(leader);
    let refused = life.runtime.block_on(life.node.group().promote(id(6)));
    assert!(matches!(refused, Err(MembershipError::Refused(_))), "{refused:?}");
    make(&group, 6, 1).unwrap();
    assert_eq!(topics(&group, 6), 1, "it proposes and sees like any other");
}

#[test]
fn every_member_tells_how_far_all_of_them_are_as_the_leader_knows() {
    let mut group = Group::of(3, quick());
    group.life(1).propose(&register(1)).unwrap();
    group.start(4);
    group.admit(4);
    make(&group, 1, 1).unwrap();
    group.eventually("the state", |group| (1..=4).all(|at| topics(group, at) == 1));
    let told = |group: &Group, at: u32| {
        let life = group.life(at);
        life.runtime.block_on(life.node.group().standing())
    };
    group.eventually("all that the leader has", |group| {
        (1..=4).all(|at| {
            told(group, at).is_some_and(|standing| {
                let end = standing.committed_end;
                standing.members.iter().all(|member| member.end == Some(end))
            })
        })
    });
    for at in 1..=4 {
        let standing = told(&group, at).expect("there is a leader");
        assert_eq!(standing.leader, id(1), "asked {at}");
        let votes: Vec<bool> = standing.members.iter().map(|member| member.votes).collect();
        assert_eq!(votes, [true, true, true, false]);
        assert!(standing.members.iter().all(|member| member.heard_ms.is_some()), "{standing:?}");
    }
    group.kill(2);
    group.kill(3);
    group.isolate(4);
    assert_eq!(told(&group, 4), None, "nobody can be asked");
}
