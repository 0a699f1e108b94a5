//! Takes a node out of the cluster that nothing needs any more.

use std::sync::Arc;

use walrus_admin::{ApiError, Code, node::Change};
use walrus_metadata::{Command, NodeChange, Reply, SetNodeState};
use walrus_raft::RaftId;
use walrus_types::{Incarnation, NodeId};

use super::{
    Look, census, node_change,
    refusal::{membership_unchanged, not_proposed, unexpected},
};
use crate::broker::Broker;

/// Changes of members that one command carries.
const SETS_MAX: usize = 1_000;

/// What a change of a node comes to now.
///
/// # Errors
/// There is no such node, or the look at all segments was broken off.
pub async fn judge(
    broker: &Arc<Broker>,
    id: NodeId,
    change: Change,
) -> Result<node_change::Plan, ApiError> {
    let look = Look::take(broker).await?;
    node_change::plan(look.facts(), id, change)
}

/// Makes a change that was judged. To take a node out of the metadata group is for its leader.
///
/// # Errors
/// What stands against it by now; it may have been made in part, and the same again ends it.
pub async fn make(
    broker: &Broker,
    id: NodeId,
    change: Change,
    incarnation: Option<Incarnation>,
) -> Result<(), ApiError> {
    let member = set(broker, id, change, incarnation).await?;
    if change == Change::Remove {
        // In this order: a node that is out of the group and not removed would hear of nothing.
        // Broken off in between, the same request ends it.
        let expelled = broker.raft.group().expel(member).await;
        expelled.map_err(|why| membership_unchanged(&why))?;
    }
    Ok(())
}

/// Says in the metadata what a node may do; answers which member of the metadata group it is.
async fn set(
    broker: &Broker,
    id: NodeId,
    change: Change,
    incarnation: Option<Incarnation>,
) -> Result<RaftId, ApiError> {
    let metadata = broker.metadata();
    let node = metadata
        .node(id)
        .ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no {id}")))?;
    // What was judged is this life: with another one the judgement proves nothing.
    let expected = incarnation.or_else(|| (change == Change::Remove).then_some(node.incarnation));
    let what = match change {
        Change::Drain => NodeChange::Drain,
        Change::Undrain => NodeChange::Undrain,
        Change::Remove => NodeChange::Remove,
    };
    let command = Command::SetNodeState(SetNodeState { node: id, expected, change: what });
    tracing::info!(node = %id, change = change.verb(), "an operator changes a node");
    if change == Change::Remove {
        give_up_copies(broker, id).await?;
    }
    match broker.raft.propose(&command).await {
        Ok(Reply::NodeStateSet(Ok(_state))) => Ok(RaftId::from(node.storage)),
        Ok(Reply::NodeStateSet(Err(refused))) => Err(not_set(id, &refused)),
        Ok(other) => Err(unexpected(&other)),
        Err(why) => Err(not_proposed(&why)),
    }
}

/// Removes a node against which nothing speaks. Whoever leads the metadata group takes it out of
/// that by itself.
///
/// # Errors
/// What stands against it, as for an operator who removes it; `NotFound` when it is gone already.
pub async fn unregister(broker: &Arc<Broker>, id: NodeId) -> Result<(), ApiError> {
    let planned = judge(broker, id, Change::Remove).await?;
    if let Some(first) = planned.refusals.into_iter().next() {
        return Err(first);
    }
    let state = broker.metadata().node(id).map(|node| node.state);
    if state == Some(walrus_metadata::NodeState::Removed) {
        return Err(ApiError::new(Code::NotFound, format!("{id} was removed already")));
    }
    set(broker, id, Change::Remove, None).await.map(drop)
}

/// Takes a node off the sealed segments that others have enough copies of. What is left names it
/// still, and metadata refuses to remove it.
async fn give_up_copies(broker: &Broker, id: NodeId) -> Result<(), ApiError> {
    loop {
        let sets = census::spare(&broker.metadata(), id, SETS_MAX);
        if sets.is_empty() {
            return Ok(());
        }
        match broker.raft.propose(&Command::SetMembers(sets)).await {
            Ok(Reply::MembersSet(each)) if each.iter().any(Result::is_ok) => {}
            // All of them have other members by now.
            Ok(Reply::MembersSet(_)) => return Ok(()),
            Ok(other) => return Err(unexpected(&other)),
            Err(why) => return Err(not_proposed(&why)),
        }
    }
}

/// The metadata changed between the judgement and the command.
fn not_set(id: NodeId, refused: &walrus_metadata::NodeStateRefusal) -> ApiError {
    use walrus_metadata::NodeStateRefusal as Why;
    let code = match refused {
        Why::UnknownNode { .. } => Code::NotFound,
        Why::OtherIncarnation { .. } | Why::Removed => Code::Changed,
        Why::Active => Code::NotDrained,
        Why::Needed(_) => Code::Needed,
    };
    ApiError::new(code, format!("{id}: {refused}")).hint("look again: walrusctl node list")
}
