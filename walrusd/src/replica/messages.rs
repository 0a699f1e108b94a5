//! What a controller asks of members, and members of each other. The bytes are postcard's; what a
//! read answers is batches as they lie in the log.
//!
//! The appends of a leader are drawn in `peer/append.rs`.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use walrus_metadata::Digest;
use walrus_replication::{Held, Member, Writer, seal::Report};
use walrus_types::{Offset, SegmentId, StorageId};

use super::Replicas;
use crate::peer::{Lane, Links, Subject};

/// Where a node's peer port is.
pub type PeerAddress = (String, u16);

/// A controller has fenced a life of a node: nothing of it may be accepted from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRequest {
    /// That life. The fence holds for all before it, too.
    pub fenced: Writer,
    /// The metadata index of the fence: the member applies up to it first.
    pub index: u64,
    /// The segments to report.
    pub segments: Vec<SegmentId>,
}

/// The fence is durable, and so is all that was accepted before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceReply {
    /// What is here of the segments that were asked for, in their order.
    pub reports: Vec<(SegmentId, Report)>,
}

/// A controller that seals wants this node to have `[from, to)` of a fenced segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOrder {
    /// Of which segment.
    pub segment: SegmentId,
    /// Who has it.
    pub from_member: Member,
    /// Where that is.
    pub from_addr: PeerAddress,
    /// The disk that it is for.
    pub to_storage: StorageId,
    /// Where the log ends here, as the controller knows.
    pub from: Offset,
    /// Where it should end.
    pub to: Offset,
}

/// What became of a [`CopyOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyReply {
    /// What is durable here by now; `None` when that is no vote.
    pub held: Option<Held>,
}

/// A controller wants this node to have a sealed segment that it is no member of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairOrder {
    /// Which segment.
    pub segment: SegmentId,
    /// The disk that it is for.
    pub to_storage: StorageId,
    /// The metadata that the order was made by.
    pub index: u64,
    /// Who has it, to be asked in this order.
    pub sources: Vec<Member>,
    /// As fast at most, on average.
    pub bytes_per_second: u64,
}

/// How it stands with a [`RepairOrder`]. It is asked again and again until it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RepairReply {
    /// It is being copied.
    UnderWay,
    /// All of it is durable here and was read back.
    Whole {
        /// Its length.
        bytes: u64,
        /// Of all its bytes.
        digest: Digest,
    },
}

/// Whole batches of a segment are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRequest {
    /// Of which segment.
    pub segment: SegmentId,
    /// The disk that is expected to have them.
    pub storage: StorageId,
    /// From the batch that holds this on.
    pub from: Offset,
    /// Nothing at or past it.
    pub to: Offset,
    /// As much at most, but for the first batch.
    pub bytes_max: u32,
}

/// The producers' table at the end of a sealed segment is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducersRequest {
    /// Which segment.
    pub segment: SegmentId,
    /// The disk that is expected to have it.
    pub storage: StorageId,
}

/// What one node wants to have from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// Batches.
    Batches(ReadRequest),
    /// The producers' table, as `ProducerTable::encode` writes it.
    Producers(ProducersRequest),
}

/// The bytes of a request or a reply.
pub fn encode(message: &impl Serialize) -> Bytes {
    Bytes::from(postcard::to_stdvec(message).expect("a message has only plain data"))
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// Why it is nothing of the kind, for people.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(bytes).map_err(|why| format!("malformed: {why}"))
}

/// Reads a reply that may be a reason why there is none.
///
/// # Errors
/// The other node's reason, or that the bytes are no reply.
pub fn decode_reply<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    decode::<Result<T, String>>(bytes)?
}

/// What a read found, or why it found nothing: one byte, then the bytes or the reason.
pub fn encode_found(found: &Result<Bytes, String>) -> Bytes {
    let (code, rest): (u8, &[u8]) = match found {
        Ok(bytes) => (0, bytes),
        Err(why) => (1, why.as_bytes()),
    };
    let mut out = BytesMut::with_capacity(1 + rest.len());
    out.put_u8(code);
    out.extend_from_slice(rest);
    out.freeze()
}

/// Reads what [`encode_found`] wrote.
///
/// # Errors
/// The other node's reason, or that the bytes are no answer.
pub fn decode_found(bytes: &Bytes) -> Result<Bytes, String> {
    match bytes.first() {
        Some(0) => Ok(bytes.slice(1..)),
        Some(1) => Err(String::from_utf8_lossy(&bytes[1..]).into_owned()),
        Some(_) | None => Err("malformed: no answer to a read".into()),
    }
}

impl Replicas {
    /// The answer to another node's request, in bytes.
    pub async fn answer(self: Arc<Self>, subject: Subject, body: Bytes) -> Bytes {
        match subject {
            Subject::Fence => {
                let reply = match decode(&body) {
                    Ok(request) => self.fence(request).await,
                    Err(why) => Err(why),
                };
                encode(&reply)
            }
            Subject::Copy => {
                let reply = match decode(&body) {
                    Ok(order) => self.copy(order).await,
                    Err(why) => Err(why),
                };
                encode(&reply)
            }
            Subject::Repair => {
                let reply = match decode(&body) {
                    Ok(order) => self.repair(order).await,
                    Err(why) => Err(why),
                };
                encode(&reply)
            }
            Subject::Read => {
                let found = match decode(&body) {
                    Ok(Wanted::Batches(request)) => self.read(request).await,
                    Ok(Wanted::Producers(request)) => self.read_producers(request).await,
                    Err(why) => Err(why),
                };
                encode_found(&found)
            }
            Subject::Raft
            | Subject::Join
            | Subject::Beat
            | Subject::Append
            | Subject::Position
            | Subject::Order
            | Subject::Text => Bytes::new(),
        }
    }
}

/// Has the node at `at`, with that disk, fence a life and report.
///
/// # Errors
/// Its reason, or that no answer came within `limit`.
pub async fn ask_fence(
    links: &Links,
    (at, storage): ((&str, u16), StorageId),
    request: &FenceRequest,
    limit: Duration,
) -> Result<FenceReply, String> {
    ask(links, (at, storage), (Lane::Control, Subject::Fence), request, limit).await
}

/// Has the node at `at`, with that disk, copy a suffix from another.
///
/// # Errors
/// Its reason, or that no answer came within `limit`.
pub async fn ask_copy(
    links: &Links,
    (at, storage): ((&str, u16), StorageId),
    order: &CopyOrder,
    limit: Duration,
) -> Result<CopyReply, String> {
    ask(links, (at, storage), (Lane::Copy, Subject::Copy), order, limit).await
}

async fn ask<T: DeserializeOwned>(
    links: &Links,
    (at, storage): ((&str, u16), StorageId),
    how: (Lane, Subject),
    request: &impl Serialize,
    limit: Duration,
) -> Result<T, String> {
    let asked = links.ask(at, Some(storage), how, encode(request), limit).await;
    let (_peer, bytes) = asked.map_err(|why| why.to_string())?;
    decode_reply(&bytes)
}

#[cfg(test)]
mod tests {
    use walrus_types::{Incarnation, NodeId};

    use super::*;

    #[test]
    fn requests_come_back_as_they_went_and_no_part_of_one_does() {
        let fenced = Writer { node: NodeId(3), incarnation: Incarnation(4) };
        let request = FenceRequest { fenced, index: 99, segments: vec![SegmentId::default(); 2] };
        let bytes = encode(&request);
        assert_eq!(decode(&bytes), Ok(request));
        for cut in 0..bytes.len() {
            assert!(decode::<FenceRequest>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let reply = FenceReply { reports: vec![(SegmentId::default(), Report::NoMember)] };
        assert_eq!(decode_reply(&encode(&Ok::<_, String>(reply.clone()))), Ok(reply));
        let refused: Result<FenceReply, String> = Err("still leads".into());
        assert_eq!(decode_reply(&encode(&refused)), refused);
    }

    #[test]
    fn what_was_read_is_told_apart_from_why_nothing_was() {
        for found in [Ok(Bytes::from_static(b"batches")), Ok(Bytes::new()), Err("gone".into())] {
            assert_eq!(decode_found(&encode_found(&found)), found);
        }
        assert!(decode_found(&Bytes::new()).is_err());
        assert!(decode_found(&Bytes::from_static(&[7])).is_err());
    }
}
