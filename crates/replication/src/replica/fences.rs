//! Which lives of which nodes may write here no more.
//!
//! A fence is per node and not per segment, so it covers segments that this node has not heard of
//! yet (M8). It holds from the moment it is known, and is spoken of only when it is durable,
//! together with everything that was accepted before it (M7): the shell writes it to the WAL
//! behind those batches, and one flush serves both.
//!
//! A request to fence names the metadata index of the `Fence` command, and the shell applies up to
//! that index first: then it knows every segment that the fenced life leads, for no later Roll
//! may name it (M20), and a hostile request fences nobody.
//!
//! Owns no segment: `replica.rs` asks here before it accepts, and before it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use walrus_types::{Incarnation, NodeId};

/// Who writes a segment, and alone ever does: one life of one node (I1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Writer {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
}

/// What to do about a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceEffect {
    /// Write it behind all that was accepted, flush, report [`Fences::durable`], then answer.
    FlushThenAnswer,
    /// It is on disk already: answer.
    Answer,
}

/// One node's fence. Invariant: `durable <= up_to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fence {
    /// This life and all before it.
    up_to: Incarnation,
    durable: Option<Incarnation>,
}

/// All fences that a node knows of. Never more than the cluster has nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fences(BTreeMap<NodeId, Fence>);

impl Fences {
    /// The fences that were found on disk.
    pub fn restore(found: impl IntoIterator<Item = Writer>) -> Self {
        let mut fences = Self::default();
        for writer in found {
            fences.fence(writer);
            fences.durable(writer);
        }
        fences
    }

    /// From now on nothing of this life, or of one before it, is accepted.
    pub fn fence(&mut self, Writer { node, incarnation }: Writer) -> FenceEffect {
        let fence = self.0.entry(node).or_insert(Fence { up_to: incarnation, durable: None });
        fence.up_to = fence.up_to.max(incarnation);
        if fence.durable >= Some(incarnation) {
            FenceEffect::Answer
        } else {
            FenceEffect::FlushThenAnswer
        }
    }

    /// The flush behind [`FenceEffect::FlushThenAnswer`] is done.
    ///
    /// # Panics
    /// When that life was never fenced.
    pub fn durable(&mut self, Writer { node, incarnation }: Writer) {
        let fence = self.0.get_mut(&node).expect("a fence is known before it is durable");
        assert!(incarnation <= fence.up_to, "{node} is fenced up to life {}", fence.up_to);
        fence.durable = fence.durable.max(Some(incarnation));
    }

    /// Whether this life is fenced, on disk or not yet.
    #[must_use]
    pub fn covers(&self, writer: Writer) -> bool {
        self.0.get(&writer.node).is_some_and(|fence| writer.incarnation <= fence.up_to)
    }

    /// Whether this life stays fenced whatever happens to this process.
    #[must_use]
    pub fn covers_durably(&self, writer: Writer) -> bool {
        self.0.get(&writer.node).is_some_and(|fence| Some(writer.incarnation) <= fence.durable)
    }

    /// What to write down so that [`Fences::restore`] finds it. One that is not durable yet may be
    /// among them: a fence on disk that nobody heard of does no harm.
    pub fn records(&self) -> impl Iterator<Item = Writer> + '_ {
        self.0.iter().map(|(&node, fence)| Writer { node, incarnation: fence.up_to })
    }
}
