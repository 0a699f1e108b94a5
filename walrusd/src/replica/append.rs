//! The leader's messages: batches, and questions where this member stands.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;
use walrus_replication::{Append, Position, Refusal, Writer};
use walrus_types::{
    SegmentId,
    batch::{self, BatchHeader},
};

use super::{
    OpenError, Replicas,
    open::{Standing, standing},
    segment::NotTaken,
};
use crate::peer::{
    PeerIdentity,
    append::{AnswerMessage, AppendAnswer, AppendMessage},
    server::Back,
};

impl Replicas {
    /// A leader's message. It is answered over `back`, at once or when the flush is done. Never
    /// waits.
    pub fn appended(self: &Arc<Self>, from: PeerIdentity, message: AppendMessage, back: &Back) {
        let AppendMessage { partition, base, append, batch } = message;
        // Who sent it is what the connection says, not what the message does.
        let from = Writer { node: from.node, incarnation: from.incarnation };
        let append = Append { from, ..append };
        let id = SegmentId { partition, base, epoch: append.epoch };
        let answer = match self.take(id, &append, batch, back) {
            Ok(Some(position)) => AppendAnswer::Position(position),
            Ok(None) => return,
            Err(refusal) => {
                AppendAnswer::Refused { epoch: append.epoch, stream: append.stream, refusal }
            }
        };
        back.answer(AnswerMessage { partition, answer });
    }

    fn take(
        self: &Arc<Self>,
        id: SegmentId,
        append: &Append,
        batch: Option<Bytes>,
        back: &Back,
    ) -> Result<Option<Position>, Refusal> {
        let batch = batch.map(judge).transpose()?;
        if let Some(replica) = self.opened(id) {
            match replica.append(append, batch.clone(), &self.fences, back) {
                Ok(position) => return Ok(position),
                Err(NotTaken::Refused(refusal)) => return Err(refusal),
                Err(NotTaken::Closed) => self.forget(&replica),
            }
        }
        self.refuse_unless_open(id, append)?;
        // The segment before this one may not have been told yet that it has ended; when it was
        // in use, that opens this one.
        self.settle_partition(id.partition);
        if let Some(replica) = self.opened(id) {
            return match replica.append(append, batch, &self.fences, back) {
                Ok(position) => Ok(position),
                Err(NotTaken::Refused(refusal)) => Err(refusal),
                Err(NotTaken::Closed) => Err(Refusal::Busy),
            };
        }
        // The disk may have to be asked: the leader comes again.
        let replicas = Arc::clone(self);
        self.jobs.spawn(async move {
            match replicas.replica(id).await {
                Ok(_) | Err(OpenError::NotMember | OpenError::Led) => {}
                Err(why) => debug!(segment = %id, %why, "a replica cannot be opened"),
            }
        });
        Err(Refusal::Busy)
    }

    /// Judges a message about a segment that is not open here by the metadata alone.
    fn refuse_unless_open(&self, id: SegmentId, append: &Append) -> Result<(), Refusal> {
        let metadata = self.state();
        let chain = metadata.partition(id.partition);
        let open = match standing(chain.map(|chain| &**chain), id) {
            Standing::Open(open) => open,
            Standing::Unknown => {
                return Err(Refusal::of_unknown(append, &self.fences.read(), metadata.applied()));
            }
            Standing::Sealed(sealed) => return Err(Refusal::Sealed { end: sealed.end }),
            Standing::Dropped => return Err(Refusal::Sealed { end: id.base }),
        };
        let leader = Writer { node: open.leader.node, incarnation: open.leader.incarnation };
        if leader != append.from || self.fences.read().covers(append.from) {
            return Err(Refusal::Fenced);
        }
        if !open.members.iter().any(|member| member.node == self.me.node) {
            return Err(Refusal::NotMember);
        }
        Ok(())
    }
}

/// The header of a batch whose bytes are what its sender wrote.
fn judge(batch: Bytes) -> Result<(BatchHeader, Bytes), Refusal> {
    match batch::check(&batch) {
        Ok(header) if header.batch_bytes == batch.len() => Ok((header, batch)),
        Ok(_) | Err(_) => Err(Refusal::Malformed),
    }
}
