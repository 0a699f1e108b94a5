//! Who holds a sealed segment. Repair, drain and verification end here, in one compare-and-set.

use std::sync::Arc;

use crate::{
    command::SetMembers, metadata::Metadata, node::Member, partition::Partition,
    reply::MembersRefusal, segment::SegmentKey,
};

impl Metadata {
    pub(super) fn set_members(&mut self, sets: &[SetMembers]) -> Vec<Result<(), MembersRefusal>> {
        let mut last = None;
        sets.iter().map(|set| self.set_members_of_one(set, &mut last)).collect()
    }

    /// `last` is the list that was set last: repairs mostly move many segments alike.
    fn set_members_of_one(
        &mut self,
        set: &SetMembers,
        last: &mut Option<Arc<[Member]>>,
    ) -> Result<(), MembersRefusal> {
        let partition = self.partition(set.partition).ok_or(MembersRefusal::UnknownPartition)?;
        if partition.open.key == set.segment {
            return Err(MembersRefusal::Open);
        }
        let sealed = partition.sealed.get(&set.segment).ok_or(MembersRefusal::UnknownSegment)?;
        if *sealed.members != *set.expected {
            return Err(MembersRefusal::OtherMembers);
        }
        self.judge_members(&set.members)?;
        if !set.members.iter().any(|member| sealed.members.contains(member)) {
            return Err(MembersRefusal::NoneStays);
        }
        if let (Some(known), Some(given)) = (sealed.digest, set.digest)
            && known != given
        {
            return Err(MembersRefusal::OtherDigest { known, given });
        }
        let same_digest = set.digest.is_none() || sealed.digest.is_some();
        if same_digest && set.members == set.expected {
            return Ok(());
        }
        let members = last.take().filter(|list| **list == *set.members);
        let members = members.unwrap_or_else(|| shared(partition, set.segment, &set.members));
        *last = Some(Arc::clone(&members));
        let partition = self.partition_mut(set.partition).expect("it was looked up above");
        partition.set_members(set.segment, members, set.digest);
        Ok(())
    }
}

/// `members` as one list with the segment itself, its neighbours or the open one, if theirs is the
/// same.
fn shared(partition: &Partition, at: SegmentKey, members: &[Member]) -> Arc<[Member]> {
    let (own, before) = (
        partition.sealed.last_where(|key| *key <= at),
        partition.sealed.last_where(|key| *key < at),
    );
    let near = [own, before].into_iter().flatten().map(|(_, sealed)| &sealed.members);
    let mut near = near.chain([&partition.open.members]);
    near.find(|list| ***list == *members).map_or_else(|| members.into(), Arc::clone)
}
