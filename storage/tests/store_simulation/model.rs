//! What the store should hold: plain maps, and the operations that change them.

use std::collections::BTreeMap;

use bytes::Bytes;
use walrus_types::{Offset, SegmentId, batch::BatchHeader};

/// One thing that was asked of the store and goes through its WAL.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Append(SegmentId, Bytes),
    Truncate(SegmentId, Offset),
    Seal(SegmentId, Offset),
    State(SegmentId, Bytes),
    Prune(SegmentId),
    Control(u32, Bytes),
}

impl Op {
    /// For the trace.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Append(id, batch) => format!("append {id} {}", header(batch).base_offset),
            Self::Truncate(id, end) => format!("truncate {id} {end}"),
            Self::Seal(id, end) => format!("seal {id} {end}"),
            Self::State(id, _) => format!("state {id}"),
            Self::Prune(id) => format!("prune {id}"),
            Self::Control(key, _) => format!("control {key}"),
        }
    }
}

/// One segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct SegmentModel {
    pub(crate) batches: Vec<Bytes>,
    pub(crate) sealed: bool,
    pub(crate) state: Option<Bytes>,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// Pruned ones are no longer in it.
    pub(crate) segments: BTreeMap<SegmentId, SegmentModel>,
    pub(crate) controls: BTreeMap<u32, Bytes>,
}

impl SegmentModel {
    pub(crate) fn end(&self, id: SegmentId) -> Offset {
        self.batches.last().map_or(id.base, |batch| header(batch).end())
    }

    fn cut(&mut self, end: Offset) {
        self.batches.retain(|batch| header(batch).base_offset < end);
    }
}

impl Model {
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Append(id, batch) => self.segment(*id).batches.push(batch.clone()),
            Op::Truncate(id, end) => self.segment(*id).cut(*end),
            Op::Seal(id, end) => {
                self.segment(*id).cut(*end);
                self.segment(*id).sealed = true;
            }
            Op::State(id, bytes) => self.segment(*id).state = Some(bytes.clone()),
            Op::Prune(id) => drop(self.segments.remove(id)),
            Op::Control(key, value) => drop(self.controls.insert(*key, value.clone())),
        }
    }

    fn segment(&mut self, id: SegmentId) -> &mut SegmentModel {
        self.segments.entry(id).or_default()
    }
}

pub(crate) fn header(batch: &[u8]) -> BatchHeader {
    BatchHeader::parse(batch).expect("the model holds whole batches")
}
