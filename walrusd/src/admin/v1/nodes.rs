//! Nodes: what each is needed for; drain, undrain, remove.

use std::sync::Arc;

use axum::{
    extract::{Path, State as Extract, rejection::PathRejection},
    http::Uri,
};
use walrus_admin::{
    ApiError, Code,
    node::{Addresses, Change, ChangeAnswer, ChangeRequest, Node, NodeList, NodeState, RaftPart},
};
use walrus_metadata::{Command, Metadata, NodeChange, Reply, SetNodeState, Topic};
use walrus_raft::RaftId;
use walrus_types::{Incarnation, NodeId};

use super::{
    answer::{
        Answer, Live, Refused, Sent, Told, admin_address, broken_off, elsewhere,
        membership_unchanged, node_id, not_proposed, parameters, shown, unexpected,
    },
    census::{self, Census, Latest},
    plan::{Facts, Plan, plan},
};
use crate::{admin::routes::Sources, broker::Broker};

/// Changes of members that one command carries.
const SETS_MAX: usize = 1_000;

/// The part of a path that names a node.
type Named = Result<Path<String>, PathRejection>;

pub(super) async fn list(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    uri: Uri,
) -> Answer<NodeList> {
    parameters(&uri, &[])?;
    let (metadata, census) = look(&broker, sources.census.clone()).await?;
    let items = all(&sources, &broker, &metadata, &census);
    Ok(Told(NodeList { metadata_version: metadata.applied(), items }))
}

/// The metadata of one moment, and what was counted in it.
async fn look(
    broker: &Arc<Broker>,
    latest: Latest,
) -> Result<(Arc<Metadata>, Arc<Census>), ApiError> {
    let (metadata, counting) = (broker.metadata(), Arc::clone(broker));
    let counted = Arc::clone(&metadata);
    let count = move || latest.of(&counted, |topic| min_insync(&counting, topic));
    let census = tokio::task::spawn_blocking(count).await.map_err(|why| broken_off(&why))?;
    Ok((metadata, census))
}

/// What a topic's acks=all needs.
pub(super) fn min_insync(broker: &Broker, topic: &Arc<Topic>) -> usize {
    usize::try_from(broker.view(topic).config.min_insync_replicas).unwrap_or(1)
}

/// Every node, removed ones too.
pub(super) fn all(
    sources: &Sources,
    broker: &Broker,
    metadata: &Metadata,
    census: &Census,
) -> Vec<Node> {
    let group = broker.raft.group();
    let (members, leader) = (group.members(), group.leader());
    let of = |(id, node): (&NodeId, &Arc<walrus_metadata::Node>)| {
        let member = members.iter().find(|member| member.id == RaftId::from(node.storage));
        Node {
            node: *id,
            state: state(node.state),
            drains: node.drains,
            storage: node.storage,
            incarnation: node.incarnation,
            rack: node.rack.clone(),
            addresses: Addresses {
                client: shown(&node.addresses.client),
                peer: shown(&node.addresses.peer),
                admin: admin_address(sources, broker.identity.node, metadata, *id),
            },
            raft: member.map(|member| RaftPart {
                leads: leader == Some(member.id),
                votes: member.votes,
                lag_entries: member.lag_entries,
            }),
            holding: census.holding(*id),
            fences: node.fences.count,
        }
    };
    metadata.nodes().iter().map(of).collect()
}

const fn state(state: walrus_metadata::NodeState) -> NodeState {
    match state {
        walrus_metadata::NodeState::Active => NodeState::Active,
        walrus_metadata::NodeState::Draining => NodeState::Draining,
        walrus_metadata::NodeState::Fenced => NodeState::Fenced,
        walrus_metadata::NodeState::Removed => NodeState::Removed,
    }
}

pub(super) async fn drain(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    named: Named,
    Sent(request): Sent<ChangeRequest>,
) -> Answer<ChangeAnswer> {
    change(&sources, &broker, named, Change::Drain, request).await
}

pub(super) async fn undrain(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    named: Named,
    Sent(request): Sent<ChangeRequest>,
) -> Answer<ChangeAnswer> {
    change(&sources, &broker, named, Change::Undrain, request).await
}

pub(super) async fn remove(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    named: Named,
    Sent(request): Sent<ChangeRequest>,
) -> Answer<ChangeAnswer> {
    change(&sources, &broker, named, Change::Remove, request).await
}

/// Plans a change and, unless it is a dry run or something stands against it, makes it.
async fn change(
    sources: &Sources,
    broker: &Arc<Broker>,
    named: Named,
    change: Change,
    request: ChangeRequest,
) -> Answer<ChangeAnswer> {
    let Path(named) = named.map_err(|why| ApiError::new(Code::BadRequest, why.body_text()))?;
    let id = node_id(&named)?;
    let planned = judge(broker, id, change).await?;
    if request.dry_run {
        return Ok(Told(answer(broker, id, change, (true, planned)).await?));
    }
    if let Some(first) = planned.refusals.first() {
        return Err(Refused(first.clone()));
    }
    if planned.changes {
        // Only the leader of the metadata group takes a member out of it.
        let group = broker.raft.group();
        if change == Change::Remove && !group.leads() {
            let leader = super::raft::leader(&group);
            let what = "this node does not lead the metadata group and takes nobody out of it";
            return Err(elsewhere(sources, broker, leader, what).into());
        }
        make(broker, id, change, request).await?;
    }
    Ok(Told(answer(broker, id, change, (false, planned)).await?))
}

async fn judge(broker: &Arc<Broker>, id: NodeId, change: Change) -> Result<Plan, ApiError> {
    let (metadata, census) = look(broker, Latest::default()).await?;
    let group = broker.raft.group();
    let (members, leader) = (group.members(), group.leader());
    let facts = Facts { metadata: &metadata, census: &census, members: &members, leader };
    plan(facts, id, change)
}

async fn make(
    broker: &Broker,
    id: NodeId,
    change: Change,
    request: ChangeRequest,
) -> Result<(), ApiError> {
    let member = set(broker, id, change, request.incarnation).await?;
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

async fn answer(
    broker: &Arc<Broker>,
    id: NodeId,
    change: Change,
    (dry_run, plan): (bool, Plan),
) -> Result<ChangeAnswer, ApiError> {
    let (metadata, census) = look(broker, Latest::default()).await?;
    let node = metadata
        .node(id)
        .ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no {id}")))?;
    let state = state(node.state);
    let is_member =
        broker.raft.group().members().iter().any(|member| member.id == RaftId::from(node.storage));
    let Plan { changes, effects, warnings, refusals } = plan;
    Ok(ChangeAnswer {
        node: id,
        change,
        dry_run,
        changes,
        state,
        effects,
        warnings,
        refusals,
        holding: census.holding(id),
        safe_to_switch_off: state == NodeState::Removed && !is_member,
    })
}
