//! Where partitions are to be. What that brings about is done by rolls and by changes of members,
//! each judged on its own.

use std::sync::Arc;

use crate::{
    command::Assign, limits::MEMBERS_MAX, metadata::Metadata, node::NodeState,
    partition::Assignment, reply::AssignRefusal,
};

impl Metadata {
    pub(super) fn assign(&mut self, assign: &Assign) -> Result<(), AssignRefusal> {
        let partition = self.partition(assign.partition).ok_or(AssignRefusal::UnknownPartition)?;
        if partition.assignment.as_deref() != assign.expected.as_ref() {
            return Err(AssignRefusal::OtherAssignment);
        }
        if let Some(assignment) = &assign.assignment {
            self.judge_assignment(assignment)?;
        }
        let partition = self.partition_mut(assign.partition).expect("it was looked up above");
        partition.assignment = assign.assignment.clone().map(Arc::new);
        if let Some(assignment) = &assign.assignment {
            let topic = self.topics.get_mut(&assign.partition.topic);
            let topic = topic.expect("it has the partition");
            let target = u8::try_from(assignment.to.len()).expect("no more than members may be");
            if topic.replicas_target != target {
                Arc::make_mut(topic).replicas_target = target;
            }
        }
        Ok(())
    }

    fn judge_assignment(&self, assignment: &Assignment) -> Result<(), AssignRefusal> {
        let Assignment { to, from } = assignment;
        let is_twice = |(at, node)| to[..at].contains(node);
        let is_list = (1..=MEMBERS_MAX).contains(&to.len()) && from.len() <= MEMBERS_MAX;
        if !is_list || to.iter().enumerate().any(is_twice) {
            return Err(AssignRefusal::Nodes { limit: MEMBERS_MAX as u64 });
        }
        for node in to {
            let known = self.nodes.get(node).filter(|known| known.state != NodeState::Removed);
            known.ok_or(AssignRefusal::UnknownNode { node: *node })?;
        }
        Ok(())
    }
}
