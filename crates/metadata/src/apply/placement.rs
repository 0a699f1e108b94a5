//! Whether a segment may be written and stored as a command says. Where it is best placed is for
//! others to find; here is only what would be wrong.

use std::{collections::BTreeSet, sync::Arc};

use walrus_types::{NodeId, TimestampMs};

use crate::{
    command::Placement,
    limits::MEMBERS_MAX,
    metadata::Metadata,
    node::Member,
    reply::PlacementRefusal,
    segment::{Open, Reason, SegmentKey},
};

impl Metadata {
    /// The segment `key` as `placement` wants it, if that is allowed for a topic that wants
    /// `replicas_target` members. `before` are the members of the segment before; the same are
    /// shared, not kept twice.
    pub(super) fn open_segment(
        &self,
        key: SegmentKey,
        placement: &Placement,
        replicas_target: u8,
        before: Option<&Arc<[Member]>>,
        (reason, opened_at): (Reason, TimestampMs),
    ) -> Result<Open, PlacementRefusal> {
        self.judge_placement(placement, replicas_target)?;
        let members = match before {
            Some(before) if **before == *placement.members => Arc::clone(before),
            _ => placement.members.as_slice().into(),
        };
        let Placement { leader, w, .. } = *placement;
        Ok(Open { key, leader, members, w, opened_at, reason })
    }

    /// Beside what is wrong with any placement: one with fewer members than there are active nodes
    /// for, so that a leader which reaches nobody does not go on alone (M5); and one that could
    /// commit nothing, for too many of its members are fenced. A fenced one alone is no fault: it
    /// may be back in a moment, and keeps its place until it was away for long.
    fn judge_placement(
        &self,
        placement: &Placement,
        replicas_target: u8,
    ) -> Result<(), PlacementRefusal> {
        let Placement { leader, members, w } = placement;
        let different = self.judge_members(members)?;
        if !different.contains(&leader.node) {
            return Err(PlacementRefusal::LeaderNoMember { node: leader.node });
        }
        if !self.may_lead(*leader) {
            let known = self.nodes.get(&leader.node).map_or(leader.incarnation, |n| n.incarnation);
            let (node, given) = (leader.node, leader.incarnation);
            return Err(PlacementRefusal::PastIncarnation { node, known, given });
        }
        let least = self.active_total().min(usize::from(replicas_target));
        if members.len() < least {
            let (given, least) = (members.len() as u64, least as u64);
            return Err(PlacementRefusal::TooFew { given, least });
        }
        let quorum = usize::from(*w);
        if quorum <= members.len() / 2 || quorum > members.len() {
            return Err(PlacementRefusal::Quorum { w: *w, members: members.len() as u64 });
        }
        let serves = |id: &&NodeId| self.nodes.get(*id).is_some_and(|node| node.state.serves());
        let live = different.iter().filter(serves).count();
        if live < quorum {
            return Err(PlacementRefusal::Dead { live: live as u64, w: *w });
        }
        Ok(())
    }

    /// Whether a segment can have these members; answers their nodes.
    pub(super) fn judge_members(
        &self,
        members: &[Member],
    ) -> Result<BTreeSet<NodeId>, PlacementRefusal> {
        let different: BTreeSet<_> = members.iter().take(MEMBERS_MAX).map(|m| m.node).collect();
        if members.is_empty() || different.len() != members.len() {
            return Err(PlacementRefusal::Members { limit: MEMBERS_MAX as u64 });
        }
        match members.iter().find(|member| !self.may_store(**member)) {
            Some(Member { node, storage }) => {
                Err(PlacementRefusal::UnknownMember { node: *node, storage: *storage })
            }
            None => Ok(different),
        }
    }
}
