//! Whether a segment may be written and stored as a command says. Where it is best placed is for
//! others to find; here is only what would be wrong.

use std::{collections::BTreeSet, sync::Arc};

use walrus_types::TimestampMs;

use crate::{
    command::Placement,
    limits::MEMBERS_MAX,
    metadata::Metadata,
    node::{Member, NodeState},
    partition::{Open, Reason, SegmentKey},
    reply::PlacementRefusal,
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

    fn judge_placement(
        &self,
        placement: &Placement,
        replicas_target: u8,
    ) -> Result<(), PlacementRefusal> {
        let Placement { leader, members, w } = placement;
        let different: BTreeSet<_> = members.iter().take(MEMBERS_MAX).map(|m| m.node).collect();
        if members.is_empty() || different.len() != members.len() {
            return Err(PlacementRefusal::Members { limit: MEMBERS_MAX as u64 });
        }
        if let Some(Member { node, storage }) = members.iter().find(|m| !self.may_store(**m)) {
            return Err(PlacementRefusal::UnknownMember { node: *node, storage: *storage });
        }
        if !different.contains(&leader.node) {
            return Err(PlacementRefusal::LeaderNoMember { node: leader.node });
        }
        if !self.may_lead(*leader) {
            let known = self.nodes.get(&leader.node).map_or(leader.incarnation, |n| n.incarnation);
            let (node, given) = (leader.node, leader.incarnation);
            return Err(PlacementRefusal::PastIncarnation { node, known, given });
        }
        let active = self.nodes.iter().filter(|(_, node)| node.state == NodeState::Active).count();
        let least = active.min(usize::from(replicas_target));
        if members.len() < least {
            let (given, least) = (members.len() as u64, least as u64);
            return Err(PlacementRefusal::TooFew { given, least });
        }
        let quorum = usize::from(*w);
        if quorum <= members.len() / 2 || quorum > members.len() {
            return Err(PlacementRefusal::Quorum { w: *w, members: members.len() as u64 });
        }
        Ok(())
    }
}
