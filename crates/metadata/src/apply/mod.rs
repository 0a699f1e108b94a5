//! The rules. Each command is judged here, against the state and nothing else.

mod assign;
mod configs;
mod members;
mod nodes;
mod operations;
mod partitions;
mod placement;
mod topics;

use walrus_types::limits::{CHANGES_PER_COMMAND_MAX, PRODUCER_ID_BLOCK, TOPIC_PARTITIONS_MAX};

use crate::{
    command::Command,
    metadata::Metadata,
    reply::{ProducerIdBlock, ProducerIdsSpent, Reply},
};

/// States of up to this many partitions, with up to this many segments in each, are checked as a
/// whole after each command in debug builds; in greater ones the chains' ends are, where they
/// change.
const CHECKED_WHOLE_MAX: usize = 64;

impl Metadata {
    /// Applies one committed command.
    ///
    /// Total and pure: every command has an answer, and the same log gives the same state on every
    /// node and after every restart.
    ///
    /// # Panics
    /// When `index` is not past everything applied: the log would be played twice.
    pub fn apply(&mut self, index: u64, command: &Command) -> Reply {
        self.skip(index);
        let reply = match length_limit(command) {
            Some(limit) => Reply::TooMany { limit: limit as u64 },
            None => self.judge(command),
        };
        if cfg!(debug_assertions) && self.is_small() {
            let checked = self.verify();
            assert_eq!(checked, Ok(()), "after {command} at {index}");
        }
        reply
    }

    fn is_small(&self) -> bool {
        self.partitions <= CHECKED_WHOLE_MAX
            && self.partitions().all(|(_, partition)| partition.segments() <= CHECKED_WHOLE_MAX)
    }

    /// Notes an entry of the log that is no command.
    ///
    /// # Panics
    /// When `index` is not past everything applied.
    pub fn skip(&mut self, index: u64) {
        let applied = self.applied;
        assert!(index > applied, "entry {index} after {applied}: again, or out of log order");
        self.applied = index;
    }

    fn judge(&mut self, command: &Command) -> Reply {
        match command {
            Command::Register(node) => Reply::Registered(self.register(node)),
            Command::CreateTopics(topics) => {
                Reply::TopicsCreated(topics.iter().map(|topic| self.create_topic(topic)).collect())
            }
            Command::DeleteTopics(topics) => {
                Reply::TopicsDeleted(topics.iter().map(|id| self.delete_topic(*id)).collect())
            }
            Command::AddPartitions(add) => Reply::PartitionsAdded(self.add_partitions(add)),
            Command::SetConfigs(sets) => {
                Reply::ConfigsSet(sets.iter().map(|set| self.set_configs(set)).collect())
            }
            Command::Roll(rolls) => {
                Reply::Rolled(rolls.iter().map(|roll| self.roll(roll)).collect())
            }
            Command::Prune(prunes) => {
                Reply::Pruned(prunes.iter().map(|prune| self.prune(prune)).collect())
            }
            Command::ProducerIds => Reply::ProducerIds(self.hand_out_producer_ids()),
            Command::Fence(fence) => Reply::Fenced(self.fence(*fence)),
            Command::SetNodeState(set) => Reply::NodeStateSet(self.set_node_state(*set)),
            Command::SetMembers(sets) => Reply::MembersSet(self.set_members(sets)),
            Command::Assign(assigns) => {
                Reply::Assigned(assigns.iter().map(|assign| self.assign(assign)).collect())
            }
            Command::BeginOperation(begin) => Reply::Operation(self.begin_operation(begin)),
            Command::EndOperation(end) => Reply::Operation(self.end_operation(end)),
        }
    }

    fn hand_out_producer_ids(&mut self) -> Result<ProducerIdBlock, ProducerIdsSpent> {
        let first = self.next_producer;
        let next = first.0.checked_add(PRODUCER_ID_BLOCK).ok_or(ProducerIdsSpent)?;
        self.next_producer.0 = next;
        Ok(ProducerIdBlock { first, count: PRODUCER_ID_BLOCK })
    }
}

/// The limit that a command's list is past, if it is.
fn length_limit(command: &Command) -> Option<usize> {
    let all = CHANGES_PER_COMMAND_MAX;
    let of_topic = usize::try_from(TOPIC_PARTITIONS_MAX).expect("a positive constant");
    let (length, limit) = match command {
        Command::Register(_)
        | Command::ProducerIds
        | Command::Fence(_)
        | Command::SetNodeState(_)
        | Command::BeginOperation(_)
        | Command::EndOperation(_) => (0, all),
        Command::CreateTopics(topics) => (topics.len(), all),
        Command::DeleteTopics(topics) => (topics.len(), all),
        Command::AddPartitions(add) => (add.partitions.len(), of_topic),
        Command::SetConfigs(sets) => (sets.len(), all),
        Command::Roll(rolls) => (rolls.len(), all),
        Command::Prune(prunes) => (prunes.len(), all),
        Command::SetMembers(sets) => (sets.len(), all),
        Command::Assign(assigns) => (assigns.len(), all),
    };
    (length > limit).then_some(limit)
}
