//! Operations that begin and end. What they do in between is proposed by whoever carries them out.

use std::sync::Arc;

use walrus_types::{NodeId, OperationId, TimestampMs};

use crate::{
    command::{NodeChange, SetNodeState},
    limits::{
        ACTOR_BYTES_MAX, OPERATION_REASON_BYTES_MAX, OPERATION_TARGETS_MAX, OPERATIONS_MAX,
        OPERATIONS_RUNNING_MAX,
    },
    metadata::Metadata,
    node::NodeState,
    operation::{BeginOperation, End, EndOperation, Operation, Outcome, Rollover, Work},
    reply::OperationRefusal,
};

impl Metadata {
    /// What is asked of a node's state is done with it. The plan that was carried out already is
    /// answered with its operation.
    pub(super) fn begin_operation(
        &mut self,
        asked: &BeginOperation,
    ) -> Result<OperationId, OperationRefusal> {
        let BeginOperation { work, plan, actor, reason, segments, at } = asked.clone();
        if let Some((id, _)) = self.operations.iter().find(|(_, known)| known.plan == plan) {
            return Ok(*id);
        }
        self.judge_operation(asked)?;
        let drained_before =
            work.node().and_then(|node| self.nodes.get(&node)).is_some_and(|node| node.drains);
        let mut end = None;
        match work {
            Work::Drain(node) => self.operate_on_node(node, NodeChange::Drain)?,
            // Of one that was removed before its vote may be left to end.
            Work::Remove { node, .. } if self.is_removed(node) => {}
            Work::Remove { node, .. } => self.operate_on_node(node, NodeChange::Drain)?,
            Work::Undrain(node) => {
                self.operate_on_node(node, NodeChange::Undrain)?;
                self.supersede(node, &actor, at);
                end = Some(End { outcome: Outcome::Done, at });
            }
            Work::Rollover(_) | Work::TransferRaft { .. } | Work::UnsafeSeal { .. } => {}
        }
        let operation =
            Operation { work, plan, actor, reason, segments, drained_before, began_at: at, end };
        let id = OperationId(self.applied);
        self.operations.insert(id, Arc::new(operation));
        self.forget_operations();
        Ok(id)
    }

    fn is_removed(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|known| known.state == NodeState::Removed)
    }

    /// Who lets a node take part again takes back whatever was to empty it.
    fn supersede(&mut self, node: NodeId, actor: &str, at: TimestampMs) {
        let running = self.operations.iter().filter(|(_, known)| known.is_running());
        let of_node = running.filter(|(_, known)| known.work.node() == Some(node));
        let ended: Vec<_> = of_node.map(|(id, known)| (*id, Operation::clone(known))).collect();
        for (id, operation) in ended {
            let end = Some(End { outcome: Outcome::Cancelled { by: actor.to_owned() }, at });
            self.operations.insert(id, Arc::new(Operation { end, ..operation }));
        }
    }

    fn operate_on_node(
        &mut self,
        node: NodeId,
        change: NodeChange,
    ) -> Result<(), OperationRefusal> {
        self.set_node_state(SetNodeState { node, expected: None, change })?;
        Ok(())
    }

    fn judge_operation(&self, asked: &BeginOperation) -> Result<(), OperationRefusal> {
        let BeginOperation { work, actor, reason, .. } = asked;
        if actor.len() > ACTOR_BYTES_MAX || reason.len() > OPERATION_REASON_BYTES_MAX {
            return Err(OperationRefusal::TooLong {
                actor_max: ACTOR_BYTES_MAX as u64,
                reason_max: OPERATION_REASON_BYTES_MAX as u64,
            });
        }
        let running = || self.operations.iter().filter(|(_, known)| known.is_running());
        if running().count() >= OPERATIONS_RUNNING_MAX {
            return Err(OperationRefusal::TooMany { limit: OPERATIONS_RUNNING_MAX as u64 });
        }
        let other = running().find(|(_, known)| known.work.keeps_out(work));
        if let Some((id, _)) = other {
            return Err(OperationRefusal::Busy { id: *id });
        }
        match work {
            Work::Rollover(Rollover { targets, .. }) => {
                let limit = OPERATION_TARGETS_MAX;
                if targets.is_empty() || targets.len() > limit {
                    return Err(OperationRefusal::Targets { limit: limit as u64 });
                }
            }
            Work::Remove { node, storage } => {
                let known = self.nodes.get(node).map(|known| known.storage);
                if known.is_some_and(|known| known != *storage) {
                    return Err(OperationRefusal::OtherStorage);
                }
            }
            Work::Drain(_)
            | Work::Undrain(_)
            | Work::TransferRaft { .. }
            | Work::UnsafeSeal { .. } => {}
        }
        Ok(())
    }

    /// The ended ones that are past the limit, oldest first.
    fn forget_operations(&mut self) {
        let surplus = self.operations.len().saturating_sub(OPERATIONS_MAX);
        let ended = self.operations.iter().filter(|(_, known)| !known.is_running());
        let forgotten: Vec<OperationId> = ended.map(|(id, _)| *id).take(surplus).collect();
        for id in forgotten {
            self.operations.remove(&id);
        }
    }

    /// One that was cancelled leaves its node as it was, unless that is gone for good by then.
    pub(super) fn end_operation(
        &mut self,
        asked: &EndOperation,
    ) -> Result<OperationId, OperationRefusal> {
        let EndOperation { id, outcome, at } = asked.clone();
        let text = match &outcome {
            Outcome::Done => "",
            Outcome::Cancelled { by } => by,
            Outcome::Failed { why } => why,
        };
        if text.len() > OPERATION_REASON_BYTES_MAX {
            return Err(OperationRefusal::TooLong {
                actor_max: OPERATION_REASON_BYTES_MAX as u64,
                reason_max: OPERATION_REASON_BYTES_MAX as u64,
            });
        }
        let known = self.operations.get(&id).ok_or(OperationRefusal::Unknown { id })?;
        if !known.is_running() {
            return Err(OperationRefusal::Ended { id });
        }
        let mut operation = Operation::clone(known);
        let taken_back = matches!(outcome, Outcome::Cancelled { .. }) && !operation.drained_before;
        let node = operation.work.node().filter(|_| taken_back);
        if let Some(node) = node.filter(|node| !self.is_removed(*node)) {
            self.operate_on_node(node, NodeChange::Undrain)?;
        }
        if let Work::Rollover(rollover) = &mut operation.work {
            rollover.targets = Vec::new();
        }
        operation.end = Some(End { outcome, at });
        self.operations.insert(id, Arc::new(operation));
        Ok(id)
    }
}
