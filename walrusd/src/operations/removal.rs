//! Takes a node out of the cluster that nothing needs any more.

use std::sync::Arc;

use walrus_admin::{ApiError, Code, node::Change};
use walrus_metadata::{Command, NodeChange, Reply, SetNodeState};
use walrus_raft::RaftId;
use walrus_types::NodeId;

use super::{
    Look, census, node_change,
    refusal::{membership_unchanged, not_proposed, unexpected},
};
use crate::broker::Broker;

/// Changes of members that one command carries.
const SETS_MAX: usize = 1_000;

/// Removes a node against which nothing spoke. To take it out of the metadata group is for the
/// leader of that.
///
/// # Errors
/// What stands against it by now; it may have been done in part, and the same again ends it.
pub async fn remove(broker: &Broker, id: NodeId) -> Result<(), ApiError> {
    // In this order: a node that is out of the group and not removed would hear of nothing. Broken
    // off in between, the same again ends it.
    let member = set_removed(broker, id).await?;
    let expelled = broker.raft.group().expel(member).await;
    expelled.map_err(|why| membership_unchanged(&why))
}

/// Says in the metadata that a node is removed; answers which member of the metadata group it is.
async fn set_removed(broker: &Broker, id: NodeId) -> Result<RaftId, ApiError> {
    let metadata = broker.metadata();
    let node = metadata.node(id).ok_or_else(|| node_change::no_such_node(id))?;
    // What was judged is this life: with another one the judgement proves nothing.
    let expected = Some(node.incarnation);
    let command =
        Command::SetNodeState(SetNodeState { node: id, expected, change: NodeChange::Remove });
    tracing::info!(node = %id, "a node is removed");
    give_up_copies(broker, id).await?;
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
    let look = Look::take(broker).await?;
    let planned = node_change::plan(look.facts(), id, Change::Remove)?;
    if let Some(first) = planned.refusals.into_iter().next() {
        return Err(first);
    }
    let state = broker.metadata().node(id).map(|node| node.state);
    if state == Some(walrus_metadata::NodeState::Removed) {
        return Err(ApiError::new(Code::NotFound, format!("{id} was removed already")));
    }
    set_removed(broker, id).await.map(drop)
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
