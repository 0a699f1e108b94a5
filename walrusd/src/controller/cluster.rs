//! What a controller asks of the world around it: the metadata group, the other nodes, the clocks.
//! One implementation is the broker, another the fake of the tests.

use std::sync::Arc;

use tokio::sync::watch;
use walrus_metadata::{Address, Command, Metadata, NodeState, Reply, Topic};
use walrus_raft::{Leadership, ProposeError, RaftId};
use walrus_replication::{Held, Member, UptimeMs, Writer, placement::LeaderPolicy, seal::Report};
use walrus_types::{NodeId, Offset, SegmentId, TimestampMs};

use super::messages::{BeatReply, Orders};
use crate::replica::messages::{RepairOrder, RepairReply};

/// A suffix that a member of a fenced segment is to pull from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copying {
    /// Of which segment.
    pub segment: SegmentId,
    /// Who has it.
    pub from_member: Member,
    /// Who lacks it.
    pub to_member: Member,
    /// The end that it has.
    pub from: Offset,
    /// The end that it should have.
    pub to: Offset,
}

/// What members of a segment are asked to fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fencing {
    /// The life that may write no more.
    pub fenced: Writer,
    /// The metadata that says so.
    pub index: u64,
    /// What is to be reported.
    pub segments: Vec<SegmentId>,
}

/// What is in force for a topic and matters to its placement and its seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicTerms {
    /// `min.insync.replicas`.
    pub min_insync: usize,
    /// Who leads the next segment.
    pub policy: LeaderPolicy,
    /// A power cut takes what was acknowledged (L17).
    pub lax: bool,
}

/// A change of the metadata group's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// A learner is given a vote.
    Promote(RaftId),
    /// A member goes, for its node was removed.
    Expel(RaftId),
    /// Another voter leads, for this node was removed.
    HandOver(RaftId),
}

/// Whether a cluster has one node and no more: nobody watches it and it tells nobody anything.
pub fn is_alone(metadata: &Metadata) -> bool {
    let there = metadata.nodes().iter().filter(|(_, node)| node.state != NodeState::Removed);
    there.count() <= 1
}

/// The world, as a controller needs it.
pub trait Cluster: Send + Sync + 'static {
    /// The node that this is.
    fn me(&self) -> Member;

    /// For everything that measures how long something took.
    fn uptime(&self) -> UptimeMs;

    /// For what is written down.
    fn now(&self) -> TimestampMs;

    /// The metadata as it changes.
    fn views(&self) -> watch::Receiver<Arc<Metadata>>;

    /// Who leads the metadata group, as it changes.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// What is in force for a topic.
    fn terms_of(&self, topic: &Arc<Topic>) -> TopicTerms;

    /// Proposes a command; its effect is in this node's own view when it returns.
    fn propose(&self, command: Command)
    -> impl Future<Output = Result<Reply, ProposeError>> + Send;

    /// Asks a node to fence and to report.
    fn fence(
        &self,
        node: NodeId,
        fencing: Fencing,
    ) -> impl Future<Output = Result<Vec<(SegmentId, Report)>, String>> + Send;

    /// Has a member pull what it lacks.
    fn copy(&self, copying: Copying) -> impl Future<Output = Result<Option<Held>, String>> + Send;

    /// Has a node copy a sealed segment that it is no member of, and asks how far that is.
    fn repair(
        &self,
        node: NodeId,
        order: RepairOrder,
    ) -> impl Future<Output = Result<RepairReply, String>> + Send;

    /// Tells a leader which of its segments to roll.
    fn order(
        &self,
        node: NodeId,
        orders: Orders,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Whether nobody listens at a node's peer port.
    fn is_refused(&self, at: Address) -> impl Future<Output = bool> + Send;

    /// Tells whoever leads the metadata group that this node is alive.
    fn beat(&self, leader: RaftId) -> impl Future<Output = Result<BeatReply, String>> + Send;

    /// The controller has answered the heartbeat that was sent at `sent`.
    fn beat_answered(&self, sent: UptimeMs, reply: &BeatReply);

    /// How long ago a majority of the metadata group's voters last answered this node, if it leads.
    fn quorum_age_ms(&self) -> Option<u64>;

    /// Waits until this node, which leads in `term`, has applied all that was committed before;
    /// false when the group has stopped.
    fn caught_up(&self, term: u64) -> impl Future<Output = bool> + Send;

    /// Asks the voters to let this node lead: the leader's process is gone.
    fn elect(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// The members of the metadata group.
    fn members(&self) -> Vec<walrus_raft::Member>;

    /// Changes them.
    fn carry_out(&self, chore: Chore) -> impl Future<Output = Result<(), String>> + Send;
}
