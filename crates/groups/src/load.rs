//! From the records of a partition to the coordinator of its groups.

use std::collections::BTreeMap;

use crate::{
    coordinator::Coordinator,
    effects::Effect,
    group::Group,
    limits::GroupLimits,
    offsets::Offsets,
    records::{GroupValue, Record},
    requests::At,
};

/// What the records that were read so far say.
#[derive(Debug, Default)]
pub struct Loader {
    groups: BTreeMap<String, Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    value: Option<GroupValue>,
    offsets: Offsets,
}

impl Loader {
    /// The next record of the log.
    pub fn replay(&mut self, record: Record) {
        match record {
            Record::Offset { key, value: Some(offset) } => {
                let group = self.groups.entry(key.group).or_default();
                group.offsets.set((key.topic, key.partition), offset);
            }
            Record::Offset { key, value: None } => {
                if let Some(group) = self.groups.get_mut(&key.group) {
                    group.offsets.forget(&key.topic, key.partition);
                }
            }
            Record::Group { group, value } => {
                self.groups.entry(group).or_default().value = value;
            }
        }
    }

    /// All committed records were read: members are as the last ones say, and their sessions begin
    /// now, so that who stays notices nothing of the move.
    #[must_use]
    pub fn finish(self, limits: GroupLimits, at: At, out: &mut Vec<Effect>) -> Coordinator {
        let groups = self.groups.into_iter().map(|(id, loaded)| {
            let group = Group::restored(&id, loaded.value, loaded.offsets, at.now);
            (id, group)
        });
        let groups = groups.filter(|(_, group)| !group.is_vacant()).collect();
        Coordinator::restored(limits, groups, at, out)
    }
}
