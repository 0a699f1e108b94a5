//! What a leader pushes to a member of its segment, and what the member says back.
//!
//! An append is the body of a push with the subject [`Subject::Append`]:
//!
//! ```text
//!  0  u128  topic
//! 16  i32   partition
//! 20  i64   base offset of the segment
//! 28  i32   epoch of the segment
//! 32  u128  the disk that the segment's record names for the member
//! 48  i64   where the leader thinks that the member's log ends
//! 56  i64   commit offset
//! 64  u32   stream                            goes back as it came
//! 68  u64   when it was sent, in milliseconds of the leader's clock: goes back as it came
//! 76  …     the batch, as it is stored; when there is none the message is a question
//! ```
//!
//! Who leads is not in it: that is the node that connected, in the life that its hello names.
//!
//! Answers are the body of a push back with the subject [`Subject::Position`], one behind the
//! other, each at least 29 bytes long:
//!
//! ```text
//!  0  u128  topic
//! 16  i32   partition
//! 20  i32   epoch of the segment
//! 24  u32   stream
//! 28  u8    kind, and what it carries:
//!             0 position       i64 end, i64 durable end, u64 when the append was sent
//!             1 not yet        u64 applied index
//!             2 fenced         –
//!             3 sealed         i64 end
//!             4 other storage  u128 that is there, u128 that was expected
//!             5 not a member   –
//!             6 gap            i64 end
//!             7 busy           –
//!             8 malformed      –
//!             9 not fenced     –
//!            10 failed         –
//! ```
//!
//! Nothing here counts what follows, so nothing can be claimed that did not come. Whether what is
//! said makes sense is for the deciders to judge.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut, TryGetError};
use uuid::Uuid;
use walrus_replication::{Append, Position, Refusal, UptimeMs, Writer};
use walrus_types::{Epoch, Offset, PartitionIndex, StorageId, TopicId, TopicPartition};

use super::{
    frame::{Outgoing, PUSH_HEAD_BYTES_MAX, Subject},
    hello::PeerIdentity,
};

/// What comes before the batch.
pub const APPEND_HEAD_BYTES: usize = 76;
/// A position, which nearly all answers are.
const POSITION_BYTES: usize = 29 + 24;

const _: () = assert!(APPEND_HEAD_BYTES <= PUSH_HEAD_BYTES_MAX);

/// Bytes that are no append, or no answer to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too soon.
    #[error("{given} bytes are there, {needed} are needed")]
    Short {
        /// What comes next takes so many.
        needed: usize,
        /// So many are there.
        given: usize,
    },
    /// No log begins or ends there.
    #[error("{0} is no offset")]
    Offset(i64),
    /// A newer peer may know it.
    #[error("an answer is of the unknown kind {0}")]
    Kind(u8),
}

impl From<TryGetError> for Malformed {
    fn from(short: TryGetError) -> Self {
        Self::Short { needed: short.requested, given: short.available }
    }
}

/// What a leader pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendMessage {
    /// Of which partition the segment is.
    pub partition: TopicPartition,
    /// The first offset of the segment.
    pub base: Offset,
    /// What it says beside the batch. `from` is not sent: the receiver knows it from the hello.
    pub append: Append,
    /// The batch, or nothing: then it asks where the member stands. Never empty.
    pub batch: Option<Bytes>,
}

/// What a member says back about a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAnswer {
    /// Where it stands.
    Position(Position),
    /// Nothing was taken.
    Refused {
        /// Of which segment.
        epoch: Epoch,
        /// The stream of the append that was refused.
        stream: u32,
        /// Why.
        refusal: Refusal,
    },
}

/// An answer, and which partition it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerMessage {
    /// Of which partition the segment is.
    pub partition: TopicPartition,
    /// What is said.
    pub answer: AppendAnswer,
}

impl AppendMessage {
    /// The frame that carries it. The batch is shared with it, not copied.
    ///
    /// # Panics
    /// When the batch is there and empty.
    pub fn frame(&self) -> Outgoing {
        let batch = self.batch.clone().inspect(|batch| {
            assert!(!batch.is_empty(), "a batch of {} has no bytes", self.partition);
        });
        Outgoing::push(Subject::Append, &self.head(), batch.unwrap_or_default())
    }

    fn head(&self) -> [u8; APPEND_HEAD_BYTES] {
        let Self { partition: TopicPartition { topic, partition }, base, append, batch: _ } = self;
        let Append { from: _, storage, epoch, prev_end, commit, stream, sent_at } = append;
        let mut head = [0; APPEND_HEAD_BYTES];
        let mut out = &mut head[..];
        out.put_u128(topic.0.as_u128());
        out.put_i32(partition.0);
        out.put_i64(base.0);
        out.put_i32(epoch.0);
        out.put_u128(storage.0.as_u128());
        out.put_i64(prev_end.0);
        out.put_i64(commit.0);
        out.put_u32(*stream);
        out.put_u64(sent_at.0);
        assert!(out.is_empty(), "the head of an append is drawn with {APPEND_HEAD_BYTES} bytes");
        head
    }

    /// Reads what `from` pushed. The batch stays where it came.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(from: &PeerIdentity, mut body: Bytes) -> Result<Self, Malformed> {
        let Some(mut head) = body.get(..APPEND_HEAD_BYTES) else {
            return Err(Malformed::Short { needed: APPEND_HEAD_BYTES, given: body.len() });
        };
        let from = Writer { node: from.node, incarnation: from.incarnation };
        let partition = partition(&mut head)?;
        let base = offset(&mut head)?;
        let append = Append {
            from,
            epoch: Epoch(head.try_get_i32()?),
            storage: StorageId(Uuid::from_u128(head.try_get_u128()?)),
            prev_end: offset(&mut head)?,
            commit: offset(&mut head)?,
            stream: head.try_get_u32()?,
            sent_at: UptimeMs(head.try_get_u64()?),
        };
        body.advance(APPEND_HEAD_BYTES);
        let batch = Some(body).filter(|batch| !batch.is_empty());
        Ok(Self { partition, base, append, batch })
    }
}

impl AnswerMessage {
    /// Puts it behind what is in `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let Self { partition: TopicPartition { topic, partition }, answer } = self;
        let (epoch, stream) = match answer {
            AppendAnswer::Position(Position { epoch, stream, .. })
            | AppendAnswer::Refused { epoch, stream, .. } => (epoch, stream),
        };
        out.put_u128(topic.0.as_u128());
        out.put_i32(partition.0);
        out.put_i32(epoch.0);
        out.put_u32(*stream);
        match answer {
            AppendAnswer::Position(Position { epoch: _, end, durable, stream: _, sent_at }) => {
                out.put_u8(0);
                out.put_i64(end.0);
                out.put_i64(durable.0);
                out.put_u64(sent_at.0);
            }
            AppendAnswer::Refused { epoch: _, stream: _, refusal } => encode_refusal(refusal, out),
        }
    }

    fn decode(body: &mut &[u8]) -> Result<Self, Malformed> {
        let partition = partition(body)?;
        let epoch = Epoch(body.try_get_i32()?);
        let stream = body.try_get_u32()?;
        let refusal = match body.try_get_u8()? {
            0 => {
                let (end, durable) = (offset(body)?, offset(body)?);
                let sent_at = UptimeMs(body.try_get_u64()?);
                let answer =
                    AppendAnswer::Position(Position { epoch, end, durable, stream, sent_at });
                return Ok(Self { partition, answer });
            }
            1 => Refusal::NotYet { applied: body.try_get_u64()? },
            2 => Refusal::Fenced,
            3 => Refusal::Sealed { end: offset(body)? },
            4 => Refusal::OtherStorage {
                known: StorageId(Uuid::from_u128(body.try_get_u128()?)),
                given: StorageId(Uuid::from_u128(body.try_get_u128()?)),
            },
            5 => Refusal::NotMember,
            6 => Refusal::Gap { end: offset(body)? },
            7 => Refusal::Busy,
            8 => Refusal::Malformed,
            9 => Refusal::NotFenced,
            10 => Refusal::Failed,
            kind => return Err(Malformed::Kind(kind)),
        };
        Ok(Self { partition, answer: AppendAnswer::Refused { epoch, stream, refusal } })
    }
}

fn encode_refusal(refusal: &Refusal, out: &mut BytesMut) {
    match refusal {
        Refusal::NotYet { applied } => {
            out.put_u8(1);
            out.put_u64(*applied);
        }
        Refusal::Fenced => out.put_u8(2),
        Refusal::Sealed { end } => {
            out.put_u8(3);
            out.put_i64(end.0);
        }
        Refusal::OtherStorage { known, given } => {
            out.put_u8(4);
            out.put_u128(known.0.as_u128());
            out.put_u128(given.0.as_u128());
        }
        Refusal::NotMember => out.put_u8(5),
        Refusal::Gap { end } => {
            out.put_u8(6);
            out.put_i64(end.0);
        }
        Refusal::Busy => out.put_u8(7),
        Refusal::Malformed => out.put_u8(8),
        Refusal::NotFenced => out.put_u8(9),
        Refusal::Failed => out.put_u8(10),
    }
}

/// Reads the answers of one frame, in the order in which they were given.
///
/// # Errors
/// [`Malformed`]; then none of them counts.
pub fn decode_answers(mut body: &[u8]) -> Result<Vec<AnswerMessage>, Malformed> {
    let mut answers = Vec::with_capacity(body.len() / POSITION_BYTES);
    while !body.is_empty() {
        answers.push(AnswerMessage::decode(&mut body)?);
    }
    Ok(answers)
}

fn partition(from: &mut &[u8]) -> Result<TopicPartition, Malformed> {
    let topic = TopicId(Uuid::from_u128(from.try_get_u128()?));
    Ok(TopicPartition { topic, partition: PartitionIndex(from.try_get_i32()?) })
}

fn offset(from: &mut &[u8]) -> Result<Offset, Malformed> {
    match from.try_get_i64()? {
        offset @ 0.. => Ok(Offset(offset)),
        negative => Err(Malformed::Offset(negative)),
    }
}

#[cfg(test)]
mod tests;
