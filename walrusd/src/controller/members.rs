//! Who should be in the metadata group, and who of it should vote.

use walrus_metadata::{Metadata, NodeState};
use walrus_raft::{Member, RaftId, VOTERS_MAX};
use walrus_types::{NodeId, StorageId};

use super::cluster::Chore;

/// A learner that lacks no more entries than this may vote.
const LAG_MAX: u64 = 64;

/// The next change of the group's members, if one is due. Only the group's leader asks.
pub fn chore(
    members: &[Member],
    me: StorageId,
    metadata: &Metadata,
    hears: impl Fn(NodeId) -> bool,
) -> Option<Chore> {
    let is_gone = |member: &&Member| metadata.disk_is_removed(StorageId::from(member.id));
    let is_fit = |member: &&Member| {
        let node = metadata.node(member.peer.node);
        node.is_some_and(|node| {
            node.state == NodeState::Active && node.storage == StorageId::from(member.id)
        }) && hears(member.peer.node)
            && member.lag_entries.is_some_and(|lag| lag <= LAG_MAX)
    };
    let me = RaftId::from(me);
    if let Some(gone) = members.iter().find(is_gone) {
        if gone.id != me {
            return Some(Chore::Expel(gone.id));
        }
        // A leader cannot take itself out: its successor does.
        let heir = members.iter().filter(|member| member.votes && member.id != me).find(is_fit);
        return heir.map(|heir| Chore::HandOver(heir.id));
    }
    if members.iter().filter(|member| member.votes).count() >= VOTERS_MAX {
        return None;
    }
    let learner = members.iter().filter(|member| !member.votes).find(is_fit);
    learner.map(|learner| Chore::Promote(learner.id))
}

#[cfg(test)]
mod tests {
    use walrus_metadata::{Command, NodeChange, SetNodeState};
    use walrus_raft::RaftPeer;

    use super::*;
    use crate::controller::fake;

    fn raft_id(node: i32) -> RaftId {
        RaftId::from(fake::member(node).storage)
    }

    fn members(voters: &[i32], learners: &[(i32, u64)]) -> Vec<Member> {
        let member = |node: i32, votes, lag| Member {
            id: raft_id(node),
            peer: RaftPeer { node: NodeId(node), host: "h".into(), port: 1 },
            votes,
            lag_entries: Some(lag),
        };
        let voters = voters.iter().map(|node| member(*node, true, 0));
        voters.chain(learners.iter().map(|(node, lag)| member(*node, false, *lag))).collect()
    }

    fn due(members: &[Member], metadata: &Metadata) -> Option<Chore> {
        chore(members, fake::member(1).storage, metadata, |_| true)
    }

    #[test]
    fn a_learner_votes_once_it_has_caught_up_registered_and_is_heard() {
        let metadata = fake::cluster(3, 0);
        let promote = Some(Chore::Promote(raft_id(2)));
        assert_eq!(due(&members(&[1], &[(2, 3)]), &metadata), promote);
        assert_eq!(due(&members(&[1], &[(2, 1000)]), &metadata), None);
        assert_eq!(due(&members(&[1], &[(4, 0)]), &metadata), None);
        let me = fake::member(1).storage;
        assert_eq!(chore(&members(&[1], &[(2, 3)]), me, &metadata, |_| false), None);
        let mut fenced = metadata;
        fake::apply(&mut fenced, &fake::fence(2, 1));
        assert_eq!(due(&members(&[1], &[(2, 3)]), &fenced), None);
    }

    #[test]
    fn five_vote_and_no_more() {
        let metadata = fake::cluster(6, 0);
        let promote = Some(Chore::Promote(raft_id(5)));
        assert_eq!(due(&members(&[1, 2, 3, 4], &[(5, 0), (6, 0)]), &metadata), promote);
        assert_eq!(due(&members(&[1, 2, 3, 4, 5], &[(6, 0)]), &metadata), None);
    }

    #[test]
    fn who_was_removed_is_expelled_and_a_leader_hands_over_first() {
        let remove = |node| {
            let mut metadata = fake::cluster(3, 0);
            for change in [NodeChange::Drain, NodeChange::Remove] {
                let set = SetNodeState { node: NodeId(node), expected: None, change };
                fake::apply(&mut metadata, &Command::SetNodeState(set));
            }
            metadata
        };
        let three = members(&[1, 2, 3], &[]);
        assert_eq!(due(&three, &remove(3)), Some(Chore::Expel(raft_id(3))));
        assert_eq!(due(&three, &remove(1)), Some(Chore::HandOver(raft_id(2))));
        assert_eq!(due(&three, &fake::cluster(3, 0)), None);
    }
}
